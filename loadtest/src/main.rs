//! `arus-load`: unary CreatePayment against a running server, closed loop, beside an empty tonic echo of the same
//! message sizes in the same run; then every balance is held against what was acknowledged.

mod drive;
mod echo;
mod world;

use anyhow::Context;
use clap::Parser;

/// Most allocations are freed on another thread, which mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load on a running Arus (start it with `--set engine.risk.velocity_per_minute_max=4000000000`).
#[derive(Parser, Debug, Clone)]
struct Args {
    /// PaymentsService.
    #[arg(long, default_value = "http://127.0.0.1:9091")]
    payments: String,
    /// WalletService.
    #[arg(long, default_value = "http://127.0.0.1:9093")]
    wallet: String,
    /// Payments to make.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Calls in flight.
    #[arg(long, default_value_t = 256)]
    concurrency: u64,
    /// Connections they share.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Accounts, created and funded by the run.
    #[arg(long, default_value_t = 2_000)]
    accounts: u64,
    /// Everybody pays account 0.
    #[arg(long)]
    hot_payee: bool,
    /// How often payments and echo take turns.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let clients = drive::connect(&args.payments, args.connections).await.context("PaymentsService")?;
    let mut world = world::World::make(&args).await.context("WalletService")?;
    let sample = drive::sample(&clients, &world).await?;
    let echo = echo::start(sample).await?;
    let echoes = drive::connect(&echo, args.connections).await.context("echo")?;
    say(&format!(
        "{:<8} {:>9} {:>11} {:>8} {:>8} {:>8} {:>8}",
        "what", "calls", "calls/s", "p50 us", "p99 us", "max us", "share"
    ));
    for round in 0..args.rounds {
        let ceiling = drive::run(&echoes, &world, &args, &format!("echo{round}")).await?;
        report("echo", &ceiling, None);
        let payments = drive::run(&clients, &world, &args, &format!("{}-{round}", world.run)).await?;
        report("payments", &payments, Some(payments.per_second() / ceiling.per_second()));
        world.note(&payments, &args);
    }
    let checked = world.check(&args.wallet).await?;
    say(&format!("oracle   {checked} balances equal what was acknowledged"));
    Ok(())
}

fn report(what: &str, run: &drive::Run, share: Option<f64>) {
    let share = share.map_or(String::new(), |share| format!("{share:.2}"));
    let at = |q| run.times.value_at_quantile(q);
    say(&format!(
        "{what:<8} {:>9} {:>11.0} {:>8} {:>8} {:>8} {share:>8}",
        run.calls,
        run.per_second(),
        at(0.5),
        at(0.99),
        run.times.max()
    ));
}

#[allow(clippy::print_stdout, reason = "a load test reports to a person")]
fn say(line: &str) {
    println!("{line}");
}
