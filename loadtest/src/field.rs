//! A plan on its accounts, and a run over it: driven, measured, caught up, checked.

use std::{
    ops::Range,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;

use crate::{
    drive::{self, Payments, Run},
    options::Options,
    oracle::Oracle,
    report::{self, Report},
    server::Server,
    workload::Plan,
    world::{self, World},
};

/// A plan on its accounts, with connections to the server that has them.
pub(crate) struct Field {
    pub(crate) plan: Plan,
    pub(crate) clients: Vec<Payments>,
    pub(crate) world: World,
    server: Server,
}

impl Field {
    /// Connects, opens and funds the accounts, waits until the server has indexed that.
    pub(crate) async fn set_up(options: &Options) -> anyhow::Result<Self> {
        options.check()?;
        let clients = drive::connect(&options.payments, options.connections).await.context("PaymentsService")?;
        let server = Server::at(&options.metrics).await?;
        let run = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        let plan = Plan::new(options, run)?;
        let world = world::make(options, &plan).await.context("WalletService")?;
        server.caught_up().await?;
        Ok(Self { plan, clients, world, server })
    }

    /// A connection.
    pub(crate) fn client(&self) -> anyhow::Result<&Payments> {
        self.clients.first().context("there is a connection")
    }

    /// An oracle for so many payments of the plan.
    pub(crate) fn oracle(&self, payments: u64) -> Arc<Oracle> {
        Oracle::new(self.plan.clone(), payments)
    }

    /// Drives some payments of the plan and measures them and what they cost.
    pub(crate) async fn drive(
        &self,
        options: &Options,
        payments: Range<u64>,
        oracle: &Arc<Oracle>,
    ) -> anyhow::Result<Report> {
        let before = self.server.look().await?;
        let (started, run) = (Instant::now(), Run::new(&self.plan, payments, Some(Arc::clone(oracle))));
        run.drive(options, &self.clients).await?;
        let took = run.recorder.elapsed();
        let answered = self.server.look().await?;
        let after = self.server.caught_up().await?;
        let mut report = Report::new(report::name(options), took, &run.recorder.finish());
        let indexed_s = started.elapsed().as_secs_f64();
        report.cost = Some(before.cost(&answered, &after, &report, indexed_s));
        Ok(report)
    }

    /// Drives the whole plan once and holds what came of it against what was acknowledged.
    pub(crate) async fn drive_and_check(&self, options: &Options) -> anyhow::Result<Report> {
        let total = options.payments_total();
        let oracle = self.oracle(total);
        let mut report = self.drive(options, 0..total, &oracle).await?;
        report.oracle = Some(self.check(&oracle).await?);
        Ok(report)
    }

    /// Asks the oracle.
    pub(crate) async fn check(&self, oracle: &Arc<Oracle>) -> anyhow::Result<String> {
        oracle.check(self.client()?, &self.world).await.context("the oracle")
    }
}
