//! A bound on the connections of one port, and on those of one address. One more is closed at once, so that the client
//! learns of it instead of waiting for an answer that nobody will give.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// The places of one port.
pub(crate) struct Places {
    taken: Mutex<Taken>,
    connections_max: usize,
    per_peer_max: usize,
    /// Whether the last one was sent away: it is logged once.
    is_full: AtomicBool,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Places {
    pub(crate) fn new(connections_max: usize, per_peer_max: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), connections_max, per_peer_max, is_full: AtomicBool::new(false) })
    }

    /// A place for a peer, if there is one.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let peer = peer(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, of_peer) = (taken.all, taken.by_peer.get(&peer).copied().unwrap_or_default());
        if all >= self.connections_max || of_peer >= self.per_peer_max {
            drop(taken);
            if !self.is_full.swap(true, Relaxed) {
                let Self { connections_max, per_peer_max, .. } = **self;
                tracing::warn!(all, connections_max, %peer, of_peer, per_peer_max, "connections are closed: too many are open");
            }
            return None;
        }
        taken.all += 1;
        *taken.by_peer.entry(peer).or_default() += 1;
        self.is_full.store(false, Relaxed);
        Some(Place { places: Arc::clone(self), peer })
    }
}

/// Whom an address stands for: over IPv6 a site has 2^64 of them.
pub(crate) fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// A place, which is given back when its connection closes.
pub(crate) struct Place {
    places: Arc<Places>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of_peer) = taken.by_peer.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn places_are_bounded_in_all_and_for_one_address() {
        let places = Places::new(3, 2);
        let mine: Vec<_> = (0..3).filter_map(|_| places.take(address("127.0.0.1"))).collect();
        assert_eq!(mine.len(), 2, "one address has two");
        let other = places.take(address("10.0.0.1")).expect("another has the third");
        assert!(places.take(address("10.0.0.2")).is_none(), "and then all are taken");
        drop(mine);
        assert!(places.take(address("127.0.0.1")).is_some(), "a place comes back");
        drop(other);
        assert!(places.taken.lock().expect("whole").by_peer.is_empty(), "nothing is kept of those who left");
    }

    #[test]
    fn the_addresses_of_one_site_are_one_peer() {
        let places = Places::new(9, 1);
        let _first = places.take(address("2001:db8:1:2::1")).expect("a place");
        assert!(places.take(address("2001:db8:1:2:ffff::9")).is_none());
        assert!(places.take(address("2001:db8:1:3::1")).is_some());
        let _fourth = places.take(address("192.0.2.1")).expect("a place");
        assert!(places.take(address("::ffff:192.0.2.1")).is_none(), "IPv4 by another spelling");
    }
}
