//! A backup taken under load: restored, it verifies and has everything that was acknowledged before it began.

mod support;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use arus::{address::HostPort, backup, ready, verify};
use arus_proto::payments::v1::{GetPaymentRequest, get_payment_request::By};
use support::{LIMIT, Server, payment, settings};

fn assert_verifies(data_dir: &Path) {
    for check in verify::run(data_dir).expect("it can be read") {
        assert!(check.outcome.is_ok(), "{}: {:?}", check.name, check.outcome);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_restores_and_has_what_was_acknowledged() {
    let mut settings = settings();
    settings.engine.risk.velocity_per_minute_max = 1_000_000;
    settings.engine.segment_bytes = 4_718_592;
    let (server, mut c) = Server::with(settings.clone()).await;
    c.account_with("ann", "ann-usd", "USD", "100000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let (mut c, acknowledged) = (c.clone(), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                for n in 0.. {
                    let key = format!("b-{caller}-{n}");
                    c.pay(payment(&key, "ann", "USD", "0.01", "shop-usd")).await.expect("decided");
                    acknowledged.lock().expect("no panic").push(key);
                }
            })
        })
        .collect();
    // So long that one segment is sealed and another is being written.
    let second = server.dir.path().join("journal/00000002.seg");
    let sealed = async {
        while !second.exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, sealed).await.expect("a second segment in time");
    let before = acknowledged.lock().expect("no panic").clone();
    assert!(before.len() > 100, "{} payments are no load", before.len());

    let dir = tempfile::TempDir::new().expect("a temp dir");
    let (kept, restored) = (dir.path().join("kept"), dir.path().join("restored"));
    let (data, to) = (server.dir.path().to_owned(), kept.clone());
    let copied = tokio::task::spawn_blocking(move || backup::copy(&data, &to)).await.expect("no panic");
    let copied = copied.expect("a backup under load");
    assert!(copied.segments > 1 && copied.entries >= before.len() as u64, "{copied:?}");
    for caller in callers {
        caller.abort();
    }
    server.stop().await;

    assert_verifies(&kept);
    assert_eq!(backup::copy(&kept, &restored).expect("a restore"), copied);
    let refused = backup::copy(&kept, &restored).expect_err("a directory in use");
    assert!(refused.to_string().contains("is not empty"), "{refused}");
    for (from, to) in [(&kept, kept.join("journal/x.seg")), (&kept, kept.join("inside"))] {
        let refused = backup::copy(from, &to).expect_err("it would become part of itself");
        assert!(refused.to_string().contains("within each other"), "{refused}");
    }
    assert_verifies(&kept);

    let place = tempfile::TempDir::new().expect("a temp dir");
    std::fs::create_dir(place.path().join("lost+found")).expect("a fresh volume");
    backup::copy(&restored, place.path()).expect("a fresh volume will do");
    let (server, mut c) = Server::on(place, settings).await;
    for key in before {
        let request = GetPaymentRequest { by: Some(By::TxId(key.clone())) };
        c.payments.get_payment(request).await.unwrap_or_else(|status| panic!("{key} is lost: {status}"));
    }
    // Keys are hashed as before: what was decided is replayed, not decided again.
    assert!(c.pay(payment("b-0-0", "ann", "USD", "0.01", "shop-usd")).await.expect("decided").replayed);
    assert_verifies(&server.stop().await.keep());
}

/// A copy knows where it ends: what is lost of it, or of its original, is never taken for all there was.
#[tokio::test(flavor = "multi_thread")]
async fn what_lost_its_end_is_neither_copied_nor_restored_nor_started() {
    let mut settings = settings();
    settings.engine.risk.velocity_per_minute_max = 1_000_000;
    settings.engine.segment_bytes = 4_718_592;
    let (server, mut c) = Server::with(settings.clone()).await;
    c.account_with("ann", "ann-usd", "USD", "1000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    for n in 0..20 {
        c.pay(payment(&format!("b-{n}"), "ann", "USD", "0.01", "shop-usd")).await.expect("decided");
    }
    let data = server.stop().await;
    let place = tempfile::TempDir::new().expect("a temp dir");
    let kept = place.path().join("kept");
    let whole = backup::copy(data.path(), &kept).expect("a backup");
    assert_verifies(&kept);
    // The last block is gone, on the copy and on the original.
    for folder in [kept.as_path(), data.path()] {
        let segment = folder.join("journal/00000001.seg");
        let mut bytes = std::fs::read(&segment).expect("a segment");
        let last = usize::try_from(whole.end).expect("it is small") - 4_096;
        bytes[last..].fill(0);
        std::fs::write(&segment, &bytes).expect("written");
        let refused = backup::copy(folder, &place.path().join("copy")).expect_err("its end is lost");
        assert!(format!("{refused:#}").contains("acknowledged entries are lost"), "{refused:#}");
        let checks = verify::run(folder).expect("it can be read");
        assert!(
            checks.iter().any(|check| check.name == "how far it must reach" && check.outcome.is_err()),
            "{checks:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_original_is_not_copied() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "1.00").await;
    let data = server.stop().await;
    let segment = data.path().join("journal/00000001.seg");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    // Within an entry, and at the end of the block and of the segment's header, where nothing is ever read.
    for at in [4_096 + 200, 2 * 4_096 - 1, 4_095] {
        bytes[at] ^= 1;
        std::fs::write(&segment, &bytes).expect("written");
        let place = tempfile::TempDir::new().expect("a temp dir");
        let refused = backup::copy(data.path(), &place.path().join("copy")).expect_err("damage");
        assert!(format!("{refused:#}").contains("00000001.seg"), "{at}: {refused:#}");
        bytes[at] ^= 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_says_what_readyz_says() {
    let (server, _) = Server::start().await;
    let rest = server.rest().into();
    let ask = move || {
        let rest = HostPort::clone(&rest);
        tokio::task::spawn_blocking(move || ready::ask(&rest))
    };
    ask().await.expect("no panic").expect("ready");
    server.running.as_ref().expect("it runs").engine().close();
    let refused = ask().await.expect("no panic").expect_err("draining");
    assert!(refused.to_string().contains("DRAINING"), "{refused}");
    server.stop().await;
}
