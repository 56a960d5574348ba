//! Open files: there must be enough for every connection that is let in and for journal and index besides. Found out at
//! the start, because whoever runs out of them later refuses what it should take.

use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that no connection may take: the journal's, the index's, the logs'.
const RESERVED: u64 = 2_048;

/// Takes as many as the process may have: a journal of many segments needs a file for each.
pub fn take_all() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // If it is refused, that is found out where files run out.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Raises the process's limit so that `connections` and everything else fit; says what to change if it may not.
pub fn make_room_for(connections: u64) -> anyhow::Result<()> {
    let needed = connections.saturating_add(RESERVED);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|files| files >= needed) {
        return Ok(());
    }
    if maximum.is_some_and(|files| files < needed) {
        let maximum = maximum.unwrap_or_default();
        bail!(
            "{connections} connections on all ports (grpc.connections_max) need {needed} open files with those of \
             journal and index, and this process may have {maximum}; lower grpc.connections_max or raise the limit \
             (ulimit -n, LimitNOFILE=)"
        );
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_let_in_and_what_never_fits_is_refused() {
        make_room_for(1).expect("every machine has room for one");
        assert!(make_room_for(1 << 40).is_err());
    }
}
