//! One risk actor per arbiter: judges the payments of the customers placed there, each before its own actor starts,
//! so that a verdict costs no messages back and forth. All rules are in [`crate::ledger::risk`].

use std::sync::Arc;

use actix::{Actor, Context, Handler};

use super::{
    mailbox::{DeliveryOrder, Queued},
    messages::{Judged, RiskMessage, Told},
};
use crate::{
    clock::Clock,
    ledger::risk::{RiskDecision, RiskRules, RiskState},
    metrics::{ActorKind, EngineCells, Live},
};

/// See the module.
pub struct RiskActor {
    rules: Arc<RiskRules>,
    state: RiskState,
    clock: Clock,
    cells: Arc<EngineCells>,
    order: DeliveryOrder,
    _live: Live,
}

impl RiskActor {
    /// An actor that remembers what `state` says, and starts payments whose messages are delivered in `order`.
    pub fn new(
        rules: Arc<RiskRules>,
        state: RiskState,
        (clock, cells): (Clock, Arc<EngineCells>),
        order: DeliveryOrder,
    ) -> Self {
        Self { rules, state, clock, cells, order, _live: Live::new(ActorKind::Risk) }
    }

    fn assess(&mut self, judged: Box<dyn Judged>) {
        // It waited too long for its turn: it is not judged, and counts for nothing (P6).
        if self.clock.now() > judged.deadline() {
            return judged.give_up();
        }
        let told = judged.assessment().map_or(Told::Nothing, |assessment| {
            let now = self.clock.believed();
            let verdict = self.state.assess(&self.rules, &assessment, now);
            self.cells.count_verdict(verdict.decision, &verdict.reasons);
            match verdict.decision {
                RiskDecision::Accept => Told::LetThrough(verdict, assessment.customer, now),
                RiskDecision::Review | RiskDecision::Reject => Told::Verdict(verdict),
            }
        });
        judged.begin(told, &self.order);
    }
}

impl Actor for RiskActor {
    type Context = Context<Self>;
}

impl Handler<Queued<RiskMessage>> for RiskActor {
    type Result = ();

    fn handle(&mut self, queued: Queued<RiskMessage>, _: &mut Self::Context) {
        queued.handle(|message| match message {
            RiskMessage::Assess(launch) => self.assess(launch),
            RiskMessage::TakeBack(customer, at, counts) => {
                self.state.take_back(&customer, at);
                self.state.note(&self.rules, &customer, self.clock.believed(), counts);
            }
            RiskMessage::Score(ask, reply) => {
                // A reader that went away needs no answer.
                let _ = reply.send(self.state.score(&self.rules, &ask, self.clock.believed()));
            }
        });
    }
}
