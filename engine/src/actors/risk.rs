//! One risk actor per arbiter: judges the payments of the customers placed there. All rules are in
//! [`crate::ledger::risk`]. It answers synchronously and spawns nothing.

use std::sync::Arc;

use actix::{Actor, Context, Handler};

use super::mailbox::Queued;
use crate::{
    clock::Clock,
    ledger::{
        flow::Event,
        risk::{RiskRules, RiskState},
    },
    messages::{PaymentMessage, RiskMessage},
    metrics::{ActorKind, EngineCells, Live},
};

/// See the module.
pub struct RiskActor {
    rules: Arc<RiskRules>,
    state: RiskState,
    clock: Clock,
    cells: Arc<EngineCells>,
    _live: Live,
}

impl RiskActor {
    /// An actor that remembers what `state` says.
    pub fn new(rules: Arc<RiskRules>, state: RiskState, clock: Clock, cells: Arc<EngineCells>) -> Self {
        Self { rules, state, clock, cells, _live: Live::new(ActorKind::Risk) }
    }
}

impl Actor for RiskActor {
    type Context = Context<Self>;
}

impl Handler<Queued<RiskMessage>> for RiskActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<RiskMessage>, _: &mut Self::Context) {
        queued.handle(|message| match message {
            RiskMessage::Assess(ask, reply) => {
                let verdict = self.state.assess(&self.rules, &ask, self.clock.now());
                self.cells.count_verdict(verdict.decision, &verdict.reasons);
                reply.send(PaymentMessage::Event(Event::Assessed(verdict)));
            }
            RiskMessage::Declined(customer) => {
                self.state.note_decline(&self.rules, &customer, self.clock.now());
            }
            RiskMessage::Score(ask, reply) => {
                // A reader that went away needs no answer.
                let _ = reply.send(self.state.score(&self.rules, &ask, self.clock.now()));
            }
        });
    }
}
