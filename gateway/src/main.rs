//! The `arus` binary: `demo`, `serve`, `verify`, `recover`, `backup`, `restore`, `ready`, `inspect`.
//!
//! Main runs in this order: settings, logs, engine (recovery), servers, signal, drain with a timeout.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use arus::{
    backup, config::Settings, convert, demo, inspect, ready, recover, server::Servers, telemetry, traces, verify,
};
use arus_engine::{
    answer::Answering,
    runtime::{
        threads::{Drained, Running},
        watch::abort_on_panic,
    },
};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Most allocations of a payment are freed on another thread, which mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An actor-based, real-time, multi-currency payment engine.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Seed a small world in ./data, make sample payments, and serve.
    Demo {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        choices: demo::Choices,
    },
    /// Serve.
    Serve(Options),
    /// Check the whole data directory against its journal; read-only.
    Verify {
        /// The data directory.
        #[arg(long, env = "ARUS_DATA_DIR", default_value = "data")]
        data_dir: PathBuf,
    },
    /// List acknowledged entries that a journal has lost, and, told to, go on without them.
    Recover {
        /// Go on without what stood behind this entry: where the journal ends now. Without it nothing is changed.
        #[arg(long, value_name = "LSN")]
        accept_loss_after: Option<u64>,
        /// The data directory.
        #[arg(long, env = "ARUS_DATA_DIR", default_value = "data")]
        data_dir: PathBuf,
    },
    /// Copy a data directory, also one that a server writes to; the copy is verified.
    Backup {
        /// Where the copy goes: a directory that is empty or not there.
        to: PathBuf,
        /// The data directory.
        #[arg(long, env = "ARUS_DATA_DIR", default_value = "data")]
        data_dir: PathBuf,
    },
    /// Make a data directory out of a backup; both are verified.
    Restore {
        /// The backup.
        from: PathBuf,
        /// The data directory: empty or not there.
        #[arg(long, env = "ARUS_DATA_DIR", default_value = "data")]
        data_dir: PathBuf,
    },
    /// Ask a running server whether it takes commands; exit code 0 if so.
    Ready {
        /// Its REST port.
        #[arg(long, default_value = "127.0.0.1:8080")]
        rest: SocketAddr,
    },
    /// Print one entry whole: block, entry, postings, index rows; read-only.
    Inspect {
        /// A journal position, a payment id, or a tx_id (tx_id=777 where it looks like one of the others).
        what: String,
        /// The data directory.
        #[arg(long, env = "ARUS_DATA_DIR", default_value = "data")]
        data_dir: PathBuf,
    },
}

#[derive(Args)]
struct Options {
    /// A TOML file; see ops/arus.toml for every key.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The data directory; the same as --set data_dir=DIR.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Any setting, such as --set engine.arbiters=4. May be given often.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Clone, Copy)]
enum Mode<'a> {
    Demo(&'a demo::Choices),
    Serve,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Cmd::Demo { options, choices } => serve(&options, Mode::Demo(&choices)),
        Cmd::Serve(options) => serve(&options, Mode::Serve),
        Cmd::Verify { data_dir } => print_checks(&data_dir),
        Cmd::Recover { accept_loss_after, data_dir } => recover::run(&data_dir, accept_loss_after).map(|text| {
            say(text.trim_end());
            ExitCode::SUCCESS
        }),
        Cmd::Backup { to, data_dir } => copy("backed up", &data_dir, &to),
        Cmd::Restore { from, data_dir } => copy("restored", &from, &data_dir),
        Cmd::Ready { rest } => ready::ask(rest).map(|()| {
            say("ready");
            ExitCode::SUCCESS
        }),
        Cmd::Inspect { what, data_dir } => inspect::run(&data_dir, &what).map(|text| {
            say(text.trim_end());
            ExitCode::SUCCESS
        }),
    };
    result.unwrap_or_else(|error| {
        complain(&format!("arus: {error:#}"));
        ExitCode::FAILURE
    })
}

fn copy(done: &str, from: &Path, to: &Path) -> anyhow::Result<ExitCode> {
    let held = backup::copy(from, to)?;
    let (segments, entries, head) = (held.segments, held.entries, held.head.lsn);
    say(&format!(
        "{done} {} to {}: {segments} segments, {entries} entries, head lsn {head}; verified",
        from.display(),
        to.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn serve(options: &Options, mode: Mode<'_>) -> anyhow::Result<ExitCode> {
    let mut flags = options.set.clone();
    flags.extend(options.data_dir.iter().map(|dir| format!("data_dir={}", dir.display())));
    let settings = Settings::load(options.config.as_ref(), &flags)?;
    telemetry::install(&settings.log);
    abort_on_panic();
    let on_fatal = Arc::new(|why: &str| {
        tracing::error!(why, "the engine cannot go on; restart it: it recovers from its journal");
        std::process::abort();
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.grpc.threads)
        .thread_name("arus-grpc")
        .enable_all()
        .build()
        .context("the gRPC threads cannot be started")?;
    let exporting = {
        let _within = runtime.enter();
        traces::install(&settings.trace)?
    };
    let answering = Answering::On(runtime.handle().clone());
    let (running, started) = Running::start(&settings.data_dir, settings.engine.clone(), answering, on_fatal)?;
    if let Some(why) = &started.rebuilt {
        tracing::warn!(why, "the index is built anew from the journal");
    }
    if let Some(torn) = &started.torn {
        tracing::warn!(
            segment = torn.segment,
            offset = torn.offset,
            kept = torn.kept,
            "cut a torn block that nobody was told about; its bytes are kept"
        );
    }
    if let Some([journal, clock]) = started.journal_ahead {
        tracing::warn!(
            last_block = convert::rfc3339(journal),
            clock = convert::rfc3339(clock),
            "the journal is ahead of the clock: one of them was or is wrong; check the machine's time. Entries keep the \
             last block's time until the clock has caught up"
        );
    }
    tracing::info!(
        head_lsn = started.head.0,
        behind_index = started.recovered,
        took_ms = u64::try_from(started.took.as_millis()).unwrap_or(u64::MAX),
        "recovered"
    );
    let served = runtime.block_on(serve_until_signal(&running, &settings, mode));
    let left = served.as_ref().map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
    let drained = running.shut_down(left);
    drop(exporting);
    served?;
    match drained {
        Drained::Clean => {
            tracing::info!("drained; everything answered is durable");
            Ok(ExitCode::SUCCESS)
        }
        Drained::TimedOut(left) => {
            tracing::error!(left, "the drain ran out of time; what was appended is durable");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Says until when the rest of the drain may take.
async fn serve_until_signal(running: &Running, settings: &Settings, mode: Mode<'_>) -> anyhow::Result<Instant> {
    // Before the ports: a signal that comes early must drain, not kill.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut servers = Servers::start(running.engine().clone(), settings).await?;
    tracing::info!(
        payments = %servers.addresses.payments,
        fx = %servers.addresses.fx,
        wallet = %servers.addresses.wallet,
        risk = %servers.addresses.risk,
        rest = servers.addresses.rest.map(tracing::field::display),
        payments_metrics = %servers.addresses.metrics[0],
        fx_metrics = %servers.addresses.metrics[1],
        wallet_metrics = %servers.addresses.metrics[2],
        risk_metrics = %servers.addresses.metrics[3],
        "serving"
    );
    let signalled = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let addresses = servers.addresses.clone();
    let demo = async {
        if let Mode::Demo(choices) = mode {
            demo::run(running.engine(), &addresses, choices).await?;
        }
        std::future::pending::<anyhow::Result<Infallible>>().await
    };
    let failed = tokio::select! {
        () = signalled => Ok(()),
        ended = demo => ended.map(drop),
        error = servers.failed() => Err(error),
    };
    tracing::info!("draining");
    let until = Instant::now() + Duration::from_secs(settings.drain_max_s);
    servers.drain(until.into()).await;
    failed.map(|()| until)
}

fn print_checks(data_dir: &Path) -> anyhow::Result<ExitCode> {
    let checks = verify::run(data_dir)?;
    let mut code = ExitCode::SUCCESS;
    for check in checks {
        match check.outcome {
            Ok(found) => say(&format!("ok      {:<28} {found}", check.name)),
            Err(wrong) => {
                say(&format!("FAILED  {:<28} {wrong}", check.name));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

#[allow(clippy::print_stdout, reason = "commands print their result")]
fn say(text: &str) {
    println!("{text}");
}

#[allow(clippy::print_stderr, reason = "a command that fails says why")]
fn complain(text: &str) {
    eprintln!("{text}");
}
