//! Crashes at every commit point, on the deterministic wiring: unsynced writes are lost, in whole or in part, and the
//! engine recovers. What was acknowledged is there exactly once; the rest happened wholly or not at all.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, atomic::Ordering};

use arus_engine::{
    index::memory::{MemoryIndex, STEPS},
    journal::{Head, JournalError, audit, disk::Disk, memory::MemoryDisk, recovery},
    money::Lsn,
};
use support::{Acknowledged, Reference, World, client, command};

const CLIENTS: u64 = 4;
const REQUESTS: u64 = 12;

/// Runs clients until sync number `fail_at` fails, or to the end.
async fn run_until(seed: u64, fail_at: u64) -> (World, Acknowledged) {
    let mut world = World::new(seed);
    world.seed().await;
    world.disk.fail_from_sync(world.disk.syncs() + fail_at);
    let told = Acknowledged::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|name| {
            let (engine, clock) = (world.engine.engine().clone(), world.clock.clone());
            tokio::task::spawn_local(client(engine, clock, name, REQUESTS, Arc::clone(&told)))
        })
        .collect();
    for client in clients {
        world.run(async move { client.await.expect("no panic") }).await;
    }
    (world, told)
}

/// Everything on the disk, entry by entry, into the reference.
fn reference(disk: &dyn Disk) -> (Reference, Head) {
    let mut reference = Reference::default();
    let walked = audit::walk(disk, support::fingerprint(), |_, block| {
        block.committed().for_each(|committed| reference.apply(&committed));
        Ok(())
    });
    (reference, walked.expect("the journal is whole").head)
}

async fn check_recovery(disk: MemoryDisk, clock: &arus_engine::clock::Clock, told: &Acknowledged) {
    let mut world = World::on(disk, MemoryIndex::new(), clock.clone());
    world.settle().await;
    let (reference, head) = reference(&world.disk);
    reference.assert_zero_sums();
    reference.assert_equals(&mut world).await;
    let told: Vec<_> = told.lock().expect("no panic").clone().into_iter().collect();
    for (tx_id, (request, committed)) in told {
        assert!(
            committed.lsn <= head.lsn,
            "{tx_id} was acknowledged at {} behind the head {}",
            committed.lsn,
            head.lsn
        );
        let again = world.submit(&tx_id, request).await.expect("it is known");
        assert!(again.replayed, "{tx_id} was decided twice");
        assert_eq!(again.committed.lsn, committed.lsn);
        assert_eq!(again.committed.entry, committed.entry);
    }
    // And it goes on: new work commits behind the old.
    let more = world.submit("after", support::request(&world.clock, 77, &[])).await.expect("it serves");
    assert!(more.committed.lsn > head.lsn);
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_commit_point() {
    actix::System::new().block_on(async {
        let (mut points, mut rotated) = (0, 0);
        for fail_at in 1.. {
            let seed = 100 + fail_at;
            let (world, told) = run_until(seed, fail_at).await;
            let failed = world.failed.load(Ordering::SeqCst);
            for pattern in 0..3_u64 {
                // Nothing of the unsynced block reached the disk, all of it, or some of its pages.
                let clock = world.clock.clone();
                let keep = |_: &str, page: u64| match pattern {
                    0 => false,
                    1 => true,
                    _ => clock.random(page ^ fail_at).is_multiple_of(2),
                };
                check_recovery(world.disk.crash(keep), &world.clock, &told).await;
            }
            points += 1;
            rotated += usize::from(world.disk.list().expect("a folder").len() > 2);
            if !failed {
                assert_eq!(told.lock().expect("no panic").len() as u64, CLIENTS * REQUESTS);
                break;
            }
        }
        assert!(points > 10, "only {points} commit points were tried");
        assert!(rotated >= 2, "no crash fell on a journal of several segments");
    });
}

#[test]
fn one_seed_gives_one_run() {
    let run = || {
        actix::System::new().block_on(async {
            let (world, told) = run_until(7, u64::MAX / 2).await;
            let (_, head) = reference(&world.disk);
            let told: Vec<_> = told.lock().expect("no panic").iter().map(|(k, (_, c))| (k.clone(), c.lsn)).collect();
            (head, told)
        })
    };
    assert_eq!(run(), run());
}

#[test]
fn an_index_that_fails_between_any_two_steps_loses_nothing() {
    actix::System::new().block_on(async {
        for step in 0..=STEPS {
            let (world, told) = run_until(300 + step as u64, u64::MAX / 2).await;
            let disk = world.disk.crash(|_, _| false);
            let index = MemoryIndex::new();
            index.fail_before(step);
            // The failing index is tried, stays behind, and everything is answered from tail and rows together.
            let mut half = World::on(disk.clone(), index, world.clock.clone());
            half.settle().await;
            let (reference, _) = reference(&half.disk);
            reference.assert_equals(&mut half).await;
            let told: Vec<_> = told.lock().expect("no panic").clone().into_iter().collect();
            for (tx_id, (request, committed)) in told {
                let again = half.submit(&tx_id, request).await.expect("it is known");
                assert!(again.replayed && again.committed.lsn == committed.lsn);
            }
        }
    });
}

#[test]
fn corruption_is_refused_with_segment_and_offset() {
    actix::System::new().block_on(async {
        // A sealed segment, and no index yet: the start reads it and refuses.
        let (sealed, _) = run_until(5, u64::MAX / 2).await;
        let disk = sealed.disk.crash(|_, _| false);
        disk.flip("00000001.seg", 4096 + 150);
        let start = World::try_on(disk, MemoryIndex::new(), sealed.clock.clone());
        let said = start.err().expect("it is refused").to_string();
        assert!(said.contains("00000001.seg offset 4096"), "{said}");
        // One open segment with all blocks in it.
        let config = arus_engine::config::EngineConfig { segment_bytes: 1 << 20, ..support::config() };
        let mut world = World::with(MemoryDisk::new(), MemoryIndex::new(), sealed.clock.clone(), config);
        world.seed().await;
        let disk = world.disk.crash(|_, _| false);
        // The first block: valid ones follow, so this is no torn tail.
        disk.flip("00000001.seg", 4096 + 150);
        match recovery::find(Arc::new(disk), support::fingerprint()).and_then(|found| found.open(1 << 20, Lsn(0))).err()
        {
            Some(JournalError::Corrupt { segment, offset, .. }) => {
                assert_eq!((segment.as_str(), offset), ("00000001.seg", 4096));
            }
            other => panic!("{other:?}"),
        }
        // The last block is torn unless the index covers it.
        let (_, head) = reference(&world.disk);
        let last = |disk: &MemoryDisk| {
            let mut last = 0;
            let mut at = 4096_usize;
            audit::walk(disk, support::fingerprint(), |block, _| {
                last = at;
                at += block.padded_bytes();
                Ok(())
            })
            .expect("it is whole");
            last
        };
        let torn = world.disk.crash(|_, _| false);
        let offset = last(&torn);
        torn.flip("00000001.seg", offset + 150);
        let open = |proven| recovery::find(Arc::new(torn.clone()), support::fingerprint())?.open(1 << 20, proven);
        let covered = open(head.lsn).err();
        assert!(matches!(covered, Some(JournalError::Corrupt { .. })), "{covered:?}");
        let opened = open(Lsn(0)).expect("it is cut");
        let cut = opened.torn.expect("it was torn");
        assert_eq!((cut.offset, cut.kept.as_str()), (offset as u64, &*format!("00000001.seg.torn-at-{offset}-1")));
        assert!(torn.list().expect("it lists").contains(&cut.kept), "its bytes are kept");
        assert!(opened.segments.head().lsn < head.lsn);
    });
}

#[test]
fn a_full_disk_closes_admission_and_reads_go_on() {
    actix::System::new().block_on(async {
        let mut world = World::new(11);
        world.seed().await;
        world.disk.set_full(true);
        let mut refused = None;
        for n in 0..20_000 {
            match world.submit(&format!("fill-{n}"), support::request(&world.clock, 12 * n, &[])).await {
                Ok(_) => {}
                Err(refusal) => {
                    refused = Some(refusal);
                    break;
                }
            }
        }
        let said = refused.expect("admission closes").to_string();
        assert!(said.contains("no room"), "{said}");
        // Readiness and health say what admission says.
        assert_eq!(world.engine.engine().closed().map(|refusal| refusal.to_string()), Some(said));
        let (engine, id) = (world.engine.engine().clone(), support::account("A", "USD"));
        assert!(world.run(async move { engine.account(support::TENANT, &id).await }).await.is_ok());
        world.disk.set_full(false);
        world.engine.commit();
        assert!(world.submit("room", support::request(&world.clock, 12, &[])).await.is_ok(), "it opens again");
        assert_eq!(world.engine.engine().closed(), None);
        let command = command("room", support::request(&world.clock, 12, &[]));
        let engine = world.engine.engine().clone();
        assert!(world.run(async move { engine.submit(command).await }).await.expect("replayed").replayed);
    });
}
