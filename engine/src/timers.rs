//! Timers: reservations whose time is over are freed by a command of the house's own, durably (P10).
//!
//! Which are due is asked of tail and index at each tick; a command that is refused is simply due again. A clock that
//! jumps by more than five minutes between two ticks holds all expiries back until it has agreed for five minutes.

use std::time::Duration;

use crate::{
    Refusal,
    engine::{Command, Engine, internal},
    ledger::{
        entry::Outcome,
        request::{Notes, Release, Request},
        time::Timestamp,
    },
    money::{OpId, TenantId, TxId},
};

/// How many timers one tick fires at most.
const DUE_MAX: usize = 256;
/// A larger step of the clock between two ticks is not believed at once.
const JUMP_MAX: Duration = Duration::from_secs(300);
/// How long the clock must agree again.
const AGREE_FOR: Duration = Duration::from_secs(300);

/// The state between ticks.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    last_tick: Option<Timestamp>,
    distrusted_until: Option<Timestamp>,
}

/// Whether expiries may fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Yes.
    Trusted,
    /// The clock jumped lately.
    HeldBack,
}

impl Timers {
    /// Notes a tick at `now`.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Trust {
        let jumped = self.last_tick.is_some_and(|last| now.since(last).max(last.since(now)) > JUMP_MAX);
        self.last_tick = Some(now);
        if jumped {
            tracing::error!("the clock jumped by more than five minutes; expiries are held back for five minutes");
            self.distrusted_until = Some(now.plus(AGREE_FOR));
        }
        match self.distrusted_until {
            Some(until) if now < until => Trust::HeldBack,
            _ => {
                self.distrusted_until = None;
                Trust::Trusted
            }
        }
    }

    /// The commands that are due now.
    pub(crate) async fn due(&mut self, engine: &Engine) -> Vec<Command> {
        let now = engine.clock().now();
        if self.tick(now) == Trust::HeldBack {
            return Vec::new();
        }
        match engine.due_reservations(now).await {
            Ok(due) => due.into_iter().filter_map(|(tenant, id)| expire(tenant, id)).collect(),
            Err(error) => {
                tracing::warn!(%error, "timers cannot be read; they are tried again");
                Vec::new()
            }
        }
    }
}

/// The key is the house's own and always the same, so a reservation expires once.
fn expire(tenant: TenantId, id: OpId) -> Option<Command> {
    let tx_id = TxId::parse_any(&format!("sys/expire/{id}")).ok()?;
    let request = Request::Expire(Release { reservation: id });
    Some(Command::new(tenant, tx_id, request, Notes::default()))
}

impl Engine {
    /// Reservations whose time is over, in the tail and in the index.
    async fn due_reservations(&self, now: Timestamp) -> Result<Vec<(TenantId, OpId)>, Refusal> {
        self.on_load_pool(move |core| {
            let blocks = core.tail.all();
            let mut due: Vec<_> = core.index.timers_due(now, DUE_MAX).map_err(internal)?;
            for committed in blocks.iter().flat_map(|block| block.committed()) {
                if let Outcome::Reservation { reservation, failure: None } = &committed.entry.outcome {
                    let timer = (reservation.expires_at, committed.entry.tenant, reservation.id);
                    due.retain(|known| *known != timer);
                    if reservation.is_active() && reservation.expires_at <= now {
                        due.push(timer);
                    }
                }
            }
            due.truncate(DUE_MAX);
            Ok(due.into_iter().map(|(_, tenant, id)| (tenant, id)).collect())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_holds_expiries_back_until_time_agrees_again() {
        let mut timers = Timers::default();
        let start = Timestamp(1_000_000_000_000);
        assert_eq!(timers.tick(start), Trust::Trusted);
        let jumped = start.plus(Duration::from_secs(301));
        assert_eq!(timers.tick(jumped), Trust::HeldBack);
        assert_eq!(timers.tick(jumped.plus(Duration::from_secs(299))), Trust::HeldBack);
        assert_eq!(timers.tick(jumped.plus(Duration::from_secs(300))), Trust::Trusted);
        assert_eq!(timers.tick(start), Trust::HeldBack, "going back is a jump too");
    }
}
