//! `arus demo` and `arus serve`: settings, logs, ports, engine (recovery), the demo's world, servers, signal, drain with a
//! timeout.

use std::{
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use arus::{
    config::Settings,
    convert,
    demo::{self, Choices},
    ports::Ports,
    server::Servers,
    telemetry, traces,
};
use arus_engine::{
    gate::caller::Answering,
    runtime::threads::{Drained, Running},
    watched_thread::abort_on_panic,
};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::options::Options;

/// What is served.
#[derive(Clone, Copy)]
pub(super) enum Mode<'a> {
    /// A small world with moving rates.
    Demo(&'a Choices),
    /// What the data directory has.
    Serve,
}

/// Serves until a signal comes, then drains.
pub(super) fn serve(options: &Options, mode: Mode<'_>) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(options.config.as_ref(), &options.flags())?;
    telemetry::install(&settings.log).context("the log's thread cannot be started")?;
    abort_on_panic(telemetry::flush);
    let on_fatal = Arc::new(|why: &str| {
        tracing::error!(why, "the engine cannot go on; restart it: it recovers from its journal");
        telemetry::flush();
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
        // A log at the largest size that a file may have (ulimit -f) would end the process; taken, the signal leaves an
        // error of that one write.
        let _unread = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        traces::install(&settings.trace)?
    };
    // Before anything is written: a start that cannot serve leaves nothing behind.
    let ports = Ports::take(&settings)?;
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
    let served = runtime.block_on(serve_until_signal(&running, &settings, ports, mode));
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
async fn serve_until_signal(
    running: &Running,
    settings: &Settings,
    ports: Ports,
    mode: Mode<'_>,
) -> anyhow::Result<Instant> {
    // Before the ports open: a signal that comes early must drain, not kill.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut signalled = pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let until = || Instant::now() + Duration::from_secs(settings.drain_max_s);
    if let Mode::Demo(choices) = mode {
        // Nobody is let in before there is a world to pay in.
        tokio::select! {
            () = &mut signalled => return Ok(until()),
            made = demo::prepare(running.engine(), choices) => made?,
        }
    }
    let exposed = ports.beyond_loopback();
    if !exposed.is_empty() {
        let ports: Vec<_> = exposed.iter().map(ToString::to_string).collect();
        tracing::warn!(
            ports = ports.join(" "),
            "other machines may reach these ports, and there is no authentication: whoever reaches them can move money; \
             let a firewall or a proxy decide who does, or listen on 127.0.0.1 (listen.*)"
        );
    }
    let mut servers = Servers::start(running.engine().clone(), settings, ports).await?;
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
    if let Mode::Demo(_) = mode {
        demo::welcome(&servers.addresses);
    }
    let failed = tokio::select! {
        () = signalled => Ok(()),
        error = servers.failed() => Err(error),
    };
    tracing::info!("draining");
    let until = until();
    servers.drain(until.into()).await;
    failed.map(|()| until)
}
