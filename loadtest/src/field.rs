//! A plan on its accounts, and a run over it: driven, measured, caught up, checked.

use std::{
    ops::Range,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;

use crate::{
    audit::Audit,
    clients::{self, Payments},
    options::Options,
    oracle::Oracle,
    report::{self, Report},
    run::Run,
    server::{Cost, Look, Server, Work},
    workload::Plan,
    world::{self, World},
};

/// Why a run is given up.
const SILENT: &str = "every answer was lost and nothing was decided any more";

/// A plan on its accounts, with connections to the server that has them.
pub(crate) struct Field {
    pub(crate) plan: Plan,
    pub(crate) clients: Vec<Payments>,
    pub(crate) world: World,
    server: Server,
    /// What the server had counted before the run.
    began: Look,
    address: String,
}

impl Field {
    /// Connects, opens and funds the accounts, waits until the server has indexed that.
    pub(crate) async fn set_up(options: &Options) -> anyhow::Result<Self> {
        options.check()?;
        let clients = clients::payments(&options.payments, options.connections).await?;
        let server = Server::at(&options.metrics).await?;
        let run = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        let plan = Plan::new(options, run)?;
        let world = world::make(options, &plan).await.context("WalletService")?;
        let began = server.caught_up().await?;
        let mut field = Self { plan, clients, world, server, began, address: options.payments.clone() };
        field.begin().await?;
        Ok(field)
    }

    /// What there is now is what the run starts from.
    pub(crate) async fn begin(&mut self) -> anyhow::Result<()> {
        self.began = self.server.caught_up().await?;
        if self.plan.is_converting() {
            self.world.desks = Some(world::desks(&self.world.wallets).await?);
        }
        Ok(())
    }

    /// A connection.
    pub(crate) fn client(&self) -> anyhow::Result<&Payments> {
        self.clients.first().context("there is a connection")
    }

    /// An oracle for so many payments of the plan.
    pub(crate) fn oracle(&self, payments: u64) -> Arc<Oracle> {
        Oracle::new(self.plan.clone(), payments)
    }

    /// Drives some payments of the plan and measures them and what they cost. A server that is gone is a failure of the
    /// report, which has what was measured until then.
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
        let mut report = Report::new(report::name(options), took, &run.recorder.finish());
        if run.recorder.is_silent() {
            report.failure = Some(format!("the run was given up after {} answers: {SILENT}", report.answers));
        }
        match self.cost(&before, started, &report).await {
            Ok(cost) => report.cost = Some(cost),
            Err(error) => report.failure = Some(format!("{error:#}")),
        }
        Ok(report)
    }

    async fn cost(&self, before: &Look, started: Instant, report: &Report) -> anyhow::Result<Cost> {
        let gone = || format!("the server at {} ended or is unreachable", self.address);
        let answered = self.server.look().await.with_context(gone)?;
        let after = self.server.caught_up().await.with_context(gone)?;
        let indexed_s = started.elapsed().as_secs_f64();
        let work = Work { captured: report.captured(), answered_s: report.took_s, indexed_s };
        Ok(before.cost(&answered, &after, work))
    }

    /// Drives the whole plan once and holds what came of it against what was acknowledged.
    pub(crate) async fn drive_and_check(&self, options: &Options) -> anyhow::Result<Report> {
        let total = options.payments_total();
        let oracle = self.oracle(total);
        let mut report = self.drive(options, 0..total, &oracle).await?;
        self.check(&oracle, std::slice::from_mut(&mut report)).await;
        Ok(report)
    }

    /// Asks the oracle what it says of the reports of a run; of one whose server is gone it can say nothing.
    pub(crate) async fn check(&self, oracle: &Arc<Oracle>, reports: &mut [Report]) {
        if reports.iter().any(|report| report.cost.is_none()) {
            return;
        }
        let said = self.audit(oracle).await.context("the oracle").map_err(|error| format!("{error:#}"));
        for report in reports {
            match &said {
                Ok(checked) => report.oracle = Some(checked.clone()),
                // What is wrong with money is worse than whatever else went wrong.
                Err(wrong) => report.failure = Some(wrong.clone()),
            }
        }
    }

    async fn audit(&self, oracle: &Arc<Oracle>) -> anyhow::Result<String> {
        let asked = oracle.ask(self.client()?).await?;
        oracle.is_right()?;
        let counted = self.server.caught_up().await?.payments_since(&self.began);
        let audit = Audit { oracle, world: &self.world, began_lsn: self.began.head_lsn as u64, counted };
        Ok(format!("{} ({asked} asked for)", audit.check().await?))
    }
}
