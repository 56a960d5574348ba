//! One open call: let in, or refused; what was let in is counted until its answer is taken.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use axum::http::HeaderMap;
use tonic::Status;

use super::{Caller, Kind, Share, of_one};
use crate::{bodies, status::crowded};

/// Calls open at once on all ports together.
const CALLS_MAX: usize = 16_384;
/// Of those, calls that stream: they may stay for hours.
const STREAMS_MAX: usize = 512;
/// The same on one connection.
const STREAMS_PER_CONNECTION_MAX: usize = 128;
/// Probes open at once: a few watch a process.
const PROBES_MAX: usize = 1_024;
/// What a header takes beside its name and value.
const HEADER_BYTES: usize = 32;

/// An open call. Dropped when its answer is complete, or given up.
#[derive(Debug)]
pub(crate) struct Call {
    caller: Arc<Caller>,
    /// As what it was let in: only that takes a place which others would have.
    is_in: Option<Kind>,
    head: bodies::Room,
}

/// Takes a place of all and of one address, if both have one; says how many are taken otherwise.
fn take_place(all: &AtomicUsize, of_peer: &AtomicUsize, max: usize) -> Result<(), (usize, usize)> {
    let (taken, by_peer) = (all.fetch_add(1, Relaxed), of_peer.fetch_add(1, Relaxed));
    if taken < max && by_peer < of_one(max) {
        return Ok(());
    }
    give_place(all, of_peer);
    Err((taken, by_peer))
}

fn give_place(all: &AtomicUsize, of_peer: &AtomicUsize) {
    all.fetch_sub(1, Relaxed);
    of_peer.fetch_sub(1, Relaxed);
}

impl Call {
    /// Lets the call in with its headers, or says what there is too much of.
    pub(crate) fn admit(&mut self, kind: Kind, headers: &HeaderMap) -> Result<(), Status> {
        self.head.add(headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES).sum())?;
        let Caller { budget, peer, .. } = &*self.caller;
        let crowded_with = |what: &str, reason, max, (all, of_peer): (usize, usize)| {
            let message = format!(
                "{all} {what} are open, {of_peer} of them from this address; allowed: {max} and {}; try again",
                of_one(max)
            );
            crowded(reason, message)
        };
        match kind {
            Kind::Probe => take_place(&budget.probes, &peer.probes, PROBES_MAX)
                .map_err(|taken| crowded_with("probes", "TOO_MANY_PROBES", PROBES_MAX, taken))?,
            Kind::Unary | Kind::Stream => {
                self.caller.check(0, Share::All)?;
                take_place(&budget.calls, &peer.calls, CALLS_MAX)
                    .map_err(|taken| crowded_with("calls", "TOO_MANY_CALLS", CALLS_MAX, taken))?;
            }
        }
        if kind == Kind::Stream {
            self.admit_stream().inspect_err(|_| give_place(&budget.calls, &peer.calls))?;
        }
        self.is_in = Some(kind);
        Ok(())
    }

    fn admit_stream(&self) -> Result<(), Status> {
        let Caller { budget, peer, streams, .. } = &*self.caller;
        let mine = streams.fetch_add(1, Relaxed);
        let taken = match take_place(&budget.streams, &peer.streams, STREAMS_MAX) {
            Ok(()) if mine < STREAMS_PER_CONNECTION_MAX => return Ok(()),
            Ok(()) => {
                give_place(&budget.streams, &peer.streams);
                (budget.streams.load(Relaxed), peer.streams.load(Relaxed))
            }
            Err(taken) => taken,
        };
        streams.fetch_sub(1, Relaxed);
        let (all, of_peer) = taken;
        let message = format!(
            "{mine} streams are open on this connection, {of_peer} from this address, {all} in all; allowed: \
             {STREAMS_PER_CONNECTION_MAX}, {} and {STREAMS_MAX}; end one first",
            of_one(STREAMS_MAX)
        );
        Err(crowded("TOO_MANY_STREAMS", message))
    }

    pub(crate) fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Caller { budget, peer, calls, streams, .. } = &*self.caller;
        calls.fetch_sub(1, Relaxed);
        match self.is_in {
            None => {}
            Some(Kind::Probe) => give_place(&budget.probes, &peer.probes),
            Some(Kind::Unary) => give_place(&budget.calls, &peer.calls),
            Some(Kind::Stream) => {
                give_place(&budget.calls, &peer.calls);
                give_place(&budget.streams, &peer.streams);
                streams.fetch_sub(1, Relaxed);
            }
        }
    }
}

impl Caller {
    /// A call begins, and is not let in yet.
    pub(crate) fn begin(self: &Arc<Self>) -> Call {
        self.note_open(self.calls.fetch_add(1, Relaxed).saturating_add(1));
        self.calls_begun.fetch_add(1, Relaxed);
        Call { caller: Arc::clone(self), is_in: None, head: self.peer.bodies.head() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{super::Budget, *};
    use crate::config::GrpcLimits;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn streams_are_bounded_on_a_connection_and_in_all_and_end() {
        let budget = Budget::new(&GrpcLimits::default());
        let caller = Caller::new(&budget, ADDRESS);
        let open = |caller: &Arc<Caller>, count: usize| {
            let calls = (0..count).map(|_| caller.begin());
            calls
                .filter_map(|mut call| call.admit(Kind::Stream, &HeaderMap::new()).is_ok().then_some(call))
                .collect::<Vec<_>>()
        };
        let mine = open(&caller, 200);
        assert_eq!(mine.len(), STREAMS_PER_CONNECTION_MAX);
        let same: Vec<_> = (0..10).map(|_| open(&Caller::new(&budget, ADDRESS), 100)).collect();
        let of_one = of_one(STREAMS_MAX);
        assert_eq!(mine.len() + same.iter().map(Vec::len).sum::<usize>(), of_one, "one address leaves some to others");
        let others = open(&Caller::new(&budget, IpAddr::from([10, 0, 0, 2])), 100);
        assert_eq!(others.len(), STREAMS_MAX - of_one);
        drop((mine, same, others));
        assert_eq!(open(&caller, 1).len(), 1, "there is room again");
        assert_eq!(caller.calls().1, 0);
    }

    #[test]
    fn what_is_refused_takes_no_place() {
        let budget = Budget::new(&GrpcLimits::default());
        let caller = Caller::new(&budget, ADDRESS);
        for (kind, max) in [(Kind::Probe, of_one(PROBES_MAX)), (Kind::Unary, of_one(CALLS_MAX))] {
            let mut calls: Vec<_> = (0..max + 3_000).map(|_| caller.begin()).collect();
            let admitted = calls.iter_mut().filter_map(|call| call.admit(kind, &HeaderMap::new()).ok()).count();
            assert_eq!(admitted, max, "{kind:?}");
            let other = Caller::new(&budget, IpAddr::from([10, 0, 0, 2]));
            assert!(other.begin().admit(kind, &HeaderMap::new()).is_ok(), "{kind:?} of another address");
        }
    }
}
