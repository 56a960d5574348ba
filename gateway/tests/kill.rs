//! kill -9 and SIGTERM of the real process under load, and restart: every acknowledged payment is there exactly once,
//! every account equals the model, zero sums hold.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use arus_proto::payments::v1::{GetPaymentRequest, PaymentStatus, get_payment_request::By};
use support::{Clients, LIMIT, payment};
use tempfile::TempDir;

const CUSTOMERS: u64 = 20;
const CALLERS: u64 = 32;

struct Process {
    child: Child,
    payments: SocketAddr,
    wallet: SocketAddr,
    /// What it logs, read to its end.
    log: std::thread::JoinHandle<Vec<String>>,
}

impl Process {
    /// Starts the real binary on free ports and reads them from its log.
    fn start(data: &Path) -> Self {
        let any = |name: &str| format!("--set=listen.{name}=127.0.0.1:0");
        let names = ["payments", "fx", "wallet", "risk"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_arus"))
            .arg("serve")
            .arg("--data-dir")
            .arg(data)
            .args(names.iter().flat_map(|name| [any(name), any(&format!("{name}_metrics"))]))
            .arg(any("rest"))
            .args(["--set=log.format=json", "--set=engine.segment_bytes=8388608"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut logged = Vec::new();
        let line = loop {
            let line = lines.next().expect("it serves before it ends").expect("it is text");
            logged.push(line.clone());
            if line.contains("\"serving\"") {
                break line;
            }
        };
        // Somebody must read on, or the process would block on a full pipe.
        let log = std::thread::spawn(move || {
            logged.extend(lines.map_while(Result::ok));
            logged
        });
        let address = |name: &str| {
            let (_, rest) = line.split_once(&format!("\"{name}\":\"")).expect("it is logged");
            rest.split('"').next().expect("it ends").parse().expect("an address")
        };
        Self { payments: address("payments"), wallet: address("wallet"), log, child }
    }

    async fn clients(&self) -> Clients {
        // Only payments and wallet are used here.
        let addresses = arus::ports::Addresses {
            payments: self.payments,
            fx: self.payments,
            wallet: self.wallet,
            risk: self.payments,
            rest: None,
            metrics: [self.payments; 4],
        };
        Clients::connect(&addresses).await
    }

    /// SIGTERM: it drains and ends by itself. Gives back what it logged.
    fn terminate(mut self) -> Vec<String> {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(sent.success());
        assert!(self.child.wait().expect("it ends").success(), "the drain is clean");
        self.log.join().expect("no panic")
    }

    fn kill_9(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("it is gone");
    }
}

/// What was sent and what came back, by key: cents, and whether it was acknowledged.
type Sent = Arc<Mutex<BTreeMap<String, (u64, u64, bool)>>>;

async fn load(mut clients: Clients, round: u64, caller: u64, sent: Sent) {
    for n in 0.. {
        let (customer, cents) = ((caller * 7 + n) % CUSTOMERS, 1 + (n * 13 + caller) % 99);
        let tx_id = format!("k{round}-{caller}-{n}");
        sent.lock().expect("no panic").insert(tx_id.clone(), (customer, cents, false));
        let amount = format!("0.{cents:02}");
        let request = payment(&tx_id, &format!("cust{customer}"), "USD", &amount, "shop-usd");
        match clients.pay(request).await {
            Ok(paid) => {
                assert_eq!(paid.status(), PaymentStatus::Captured, "{:?}", paid.failure);
                sent.lock().expect("no panic").insert(tx_id, (customer, cents, true));
            }
            // The process is dead: whether this one happened is what the restart must tell.
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_payment_survives_kill_9_exactly_once() {
    let dir = TempDir::new().expect("a temp dir");
    let data = dir.path().join("data");
    let sent = Sent::default();
    let mut process = Process::start(&data);
    let mut c = process.clients().await;
    c.open("shop", "shop-usd", "USD").await;
    for n in 0..CUSTOMERS {
        c.account_with(&format!("cust{n}"), &format!("cust{n}-usd"), "USD", "100000.00").await;
    }
    for round in 0..3_u64 {
        let clients = process.clients().await;
        let callers: Vec<_> =
            (0..CALLERS).map(|caller| tokio::spawn(load(clients.clone(), round, caller, Arc::clone(&sent)))).collect();
        tokio::time::sleep(Duration::from_millis(400 + 300 * round)).await;
        process.kill_9();
        for caller in callers {
            tokio::time::timeout(LIMIT, caller).await.expect("in time").expect("no panic");
        }
        process = Process::start(&data);
        check(&mut process.clients().await, &sent).await;
    }
    process.kill_9();
    support::assert_verified(&data);
}

/// SIGTERM under load: what was let in is answered, the rest is refused, nothing acknowledged is lost, the exit is clean
/// and every log line is one JSON object.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_answers_what_it_let_in() {
    let dir = TempDir::new().expect("a temp dir");
    let data = dir.path().join("data");
    let sent = Sent::default();
    let process = Process::start(&data);
    let mut c = process.clients().await;
    c.open("shop", "shop-usd", "USD").await;
    for n in 0..CUSTOMERS {
        c.account_with(&format!("cust{n}"), &format!("cust{n}-usd"), "USD", "100000.00").await;
    }
    let callers: Vec<_> =
        (0..CALLERS).map(|caller| tokio::spawn(load(c.clone(), 0, caller, Arc::clone(&sent)))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let log = tokio::task::spawn_blocking(move || process.terminate());
    let log = tokio::time::timeout(LIMIT, log).await.expect("in time").expect("no panic");
    for caller in callers {
        tokio::time::timeout(LIMIT, caller).await.expect("in time").expect("no panic");
    }
    assert!(log.iter().any(|line| line.contains("drained; everything answered is durable")), "{log:#?}");
    for line in &log {
        let line: serde_json::Value = serde_json::from_str(line).expect("a JSON object a line");
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["fields"]["message"].is_string());
    }
    let process = Process::start(&data);
    check(&mut process.clients().await, &sent).await;
    process.kill_9();
    support::assert_verified(&data);
}

/// Every acknowledged key is there; an unacknowledged one is there or not; the balances are exactly those that are.
async fn check(c: &mut Clients, sent: &Sent) {
    let all: Vec<_> = sent.lock().expect("no panic").clone().into_iter().collect();
    let mut spent = BTreeMap::<u64, u64>::new();
    let (mut acknowledged, mut unknown) = (0, 0);
    for (tx_id, (customer, cents, was_acknowledged)) in all {
        let by_key = GetPaymentRequest { by: Some(By::TxId(tx_id.clone())) };
        let found = match c.payments.get_payment(by_key).await {
            Ok(answer) => answer.into_inner().payment,
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => panic!("{tx_id}: {status}"),
        };
        assert!(found.is_some() || !was_acknowledged, "{tx_id} was acknowledged and is lost");
        acknowledged += u64::from(was_acknowledged);
        unknown += u64::from(!was_acknowledged);
        if found.is_some() {
            *spent.entry(customer).or_default() += cents;
        }
    }
    assert!(acknowledged > 100, "only {acknowledged} payments were acknowledged under load");
    assert!(unknown <= 3 * CALLERS);
    let dollars = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
    for (customer, cents) in &spent {
        assert_eq!(c.balance(&format!("cust{customer}-usd")).await, dollars(10_000_000 - cents));
    }
    assert_eq!(c.balance("shop-usd").await, dollars(spent.values().sum()));
    assert_eq!(c.balance("sys/world/USD").await, format!("-{}.00", CUSTOMERS * 100_000));
}
