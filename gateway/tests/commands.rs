//! The real program: what it prints, in which form, what it leaves behind, and that no reader of it can end it.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    time::{Duration, Instant},
};

use arus_proto::{
    fx::v1::{CurrencyPair, RateSource, RemoveRatesRequest},
    payments::v1::PaymentStatus,
    wallet::v1::{
        AccountStatus, CaptureRequest, ReleaseRequest, ReserveRequest, UpdateAccountRequest, WithdrawRequest,
    },
};
use serde_json::Value;
use support::{Clients, LIMIT, Server, http, money, payment};
use tempfile::TempDir;

fn arus(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arus"));
    command.args(args).env_remove("ARUS_DATA_DIR").stdin(Stdio::null());
    command
}

/// Runs to the end, with a limit.
fn run(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let readers = [
        std::thread::spawn(read_all(child.stdout.take().expect("it is piped"))),
        std::thread::spawn(read_all(child.stderr.take().expect("it is piped"))),
    ];
    let status = wait(&mut child);
    let [stdout, stderr] = readers.map(|reader| reader.join().expect("no panic"));
    Output { status, stdout, stderr }
}

fn read_all(mut from: impl Read) -> impl FnOnce() -> Vec<u8> {
    move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("it can be read");
        bytes
    }
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            return status;
        }
        if Instant::now() > until {
            child.kill().expect("it is ours");
            panic!("it did not end in time");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim_end().lines().count(), 1, "one object: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A server of the real program with its log.
struct Process {
    child: Child,
    /// Not read any further, and closed by who takes it away.
    log: Option<BufReader<ChildStderr>>,
    /// All lines up to the one that says where it serves.
    begin: String,
    serving: Value,
}

impl Process {
    fn start(mode: &str, data: &Path, more: &[&str]) -> Self {
        let mut command = arus(&[mode, "--data-dir"]);
        command.arg(data).args(["--set=log.format=json", "--set=engine.segment_bytes=8388608"]);
        for name in ["payments", "fx", "wallet", "risk"] {
            command.arg(format!("--set=listen.{name}=127.0.0.1:0"));
            command.arg(format!("--set=listen.{name}_metrics=127.0.0.1:0"));
        }
        command.arg("--set=listen.rest=127.0.0.1:0").args(more);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut begin = String::new();
        let serving = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("it can be read") > 0, "it ended: {begin}");
            let said: Value = serde_json::from_str(&line).expect("a JSON object a line");
            begin += &line;
            if said["fields"]["message"] == "serving" {
                break said["fields"].clone();
            }
        };
        Self { child, log: Some(log), begin, serving }
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.serving[name].as_str().expect("it is logged").parse().expect("an address")
    }

    async fn clients(&self) -> Clients {
        let [payments, wallet] = ["payments", "wallet"].map(|name| self.address(name));
        let metrics = [self.address("payments_metrics"); 4];
        Clients::connect(&arus::ports::Addresses {
            payments,
            fx: payments,
            wallet,
            risk: payments,
            rest: None,
            metrics,
        })
        .await
    }

    async fn lost_lines(&self) -> u64 {
        let page = http::get(self.address("payments_metrics"), "/metrics").await.text();
        let line = page.lines().find_map(|line| line.strip_prefix("arus_log_lines_lost_total "));
        line.expect("the metric").parse().expect("a number")
    }

    fn terminate(&mut self) {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(sent.success());
        assert!(wait(&mut self.child).success(), "the drain is clean");
    }
}

async fn pay_some(c: &mut Clients, name: &str) {
    for n in 0..20 {
        let paid = c.pay(payment(&format!("{name}-{n}"), "ann", "USD", "0.01", "shop-usd")).await.expect("decided");
        assert_eq!(paid.status(), PaymentStatus::Captured);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_a_reader_ends_nothing_and_its_lines_are_counted() {
    let dir = TempDir::new().expect("a temp dir");
    let mut process = Process::start("serve", &dir.path().join("data"), &["--set=log.level=debug"]);
    // The reader goes: from now on every line is an EPIPE.
    drop(process.log.take());
    let mut c = process.clients().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    pay_some(&mut c, "p").await;
    assert!(process.lost_lines().await > 0, "lost lines are counted");
    drop(c);
    process.terminate();
    support::assert_verified(&dir.path().join("data"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_nothing_up() {
    let dir = TempDir::new().expect("a temp dir");
    let mut process = Process::start("serve", &dir.path().join("data"), &["--set=log.level=trace"]);
    let mut c = process.clients().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    // Far more lines than a pipe holds, and it is never read.
    pay_some(&mut c, "p").await;
    drop(c);
    process.terminate();
}

/// A data directory with an entry of every kind of request.
async fn every_kind_of_entry() -> TempDir {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    c.open("eva", "eva-eur", "EUR").await;
    c.rates("rates", RateSource::Live, &[("EUR", "USD", "1.0825")]).await;
    let mut across = payment("p1", "ann", "USD", "10.00", "eva-eur");
    across.metadata.insert("order".into(), "4711".into());
    across.description = "a gift".into();
    across.context = Some(arus_proto::common::v1::PaymentContext { country: "ID".into(), ..Default::default() });
    c.pay(across).await.expect("decided");
    c.pay(payment("p2", "ann", "USD", "1000.00", "shop-usd")).await.expect("decided");
    let reserve = |tx_id: &str, seconds| ReserveRequest {
        tx_id: tx_id.into(),
        account_id: "ann-usd".into(),
        amount: Some(money("USD", "5.00")),
        destination_account: "shop-usd".into(),
        expires_in: Some(arus_proto::Duration { seconds, nanos: 0 }),
    };
    let held = c.wallet.reserve(reserve("r1", 600)).await.expect("decided").into_inner();
    let reservation_id = held.reservation.expect("a reservation").reservation_id;
    let capture = CaptureRequest {
        tx_id: "c1".into(),
        reservation_id: reservation_id.clone(),
        amount: Some(money("USD", "1.00")),
        ..Default::default()
    };
    c.wallet.capture(capture).await.expect("decided");
    c.wallet.release(ReleaseRequest { tx_id: "x1".into(), reservation_id }).await.expect("decided");
    c.wallet.reserve(reserve("r2", 1)).await.expect("decided");
    let withdraw = WithdrawRequest {
        tx_id: "w1".into(),
        account_id: "ann-usd".into(),
        amount: Some(money("USD", "3.21")),
        ..Default::default()
    };
    c.wallet.withdraw(withdraw).await.expect("decided");
    let remove = RemoveRatesRequest {
        tx_id: "n1".into(),
        pairs: vec![CurrencyPair { base: "EUR".into(), quote: "USD".into() }],
    };
    c.fx.remove_rates(remove).await.expect("decided");
    let freeze = UpdateAccountRequest {
        tx_id: "u1".into(),
        account_id: "shop-usd".into(),
        status: AccountStatus::Frozen.into(),
        ..Default::default()
    };
    c.wallet.update_account(freeze).await.expect("decided");
    let expired = async {
        while c.account("ann-usd").await.balance != c.account("ann-usd").await.available {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, expired).await.expect("it expires in time");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_entry_is_shown_to_people_and_to_programs() {
    let dir = every_kind_of_entry().await;
    let data = dir.path().to_str().expect("it is text");
    let mut methods = std::collections::BTreeSet::new();
    for lsn in 1.. {
        let Ok(found) = arus::inspect::run(dir.path(), &lsn.to_string()) else { break };
        let text = found.text();
        for debug in ["Some(", "None", "{", "}", "Ok(", " us ", "_posted"] {
            assert!(!text.contains(debug), "{debug} in {text}");
        }
        let object = serde_json::to_value(&found).expect("it serialises");
        methods.insert(object["method"].as_str().expect("a method").to_owned());
        let at = object["at"].as_str().expect("a time");
        assert!(at.ends_with('Z') && at.as_bytes()[10] == b'T', "{at}");
        assert!(object["request"].is_object() && object["outcome"].is_object(), "{object}");
    }
    let all = [
        "Capture",
        "CreatePayment",
        "Deposit",
        "Expire",
        "OpenAccount",
        "PublishRates",
        "Release",
        "RemoveRates",
        "Reserve",
    ];
    assert_eq!(methods, all.into_iter().chain(["UpdateAccount", "Withdraw"]).map(Into::into).collect());
    // The same by the program.
    let shown = run(arus(&["inspect", "p1", "--data-dir", data]));
    let text = String::from_utf8_lossy(&shown.stdout);
    for part in [
        "customer_id          ann",
        "10.00 USD",
        "CAPTURED",
        "line  account ",
        "sys/fx/USD",
        "key_lsn",
        "balance_after",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let object = json(&run(arus(&["inspect", "p1", "--json", "--data-dir", data])));
    assert_eq!((&object["ok"], &object["entry"]["tx_id"]), (&true.into(), &"p1".into()));
    assert_eq!(object["entry"]["request"]["amount"], serde_json::json!({ "currency": "USD", "amount": "10.00" }));
    assert_eq!(object["entry"]["postings"].as_array().map(Vec::len), Some(4), "{object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_panics_when_its_reader_is_gone() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "1.00").await;
    let rest = server.rest().to_string();
    let dir = server.dir.path().to_owned();
    let data = dir.to_str().expect("it is text");
    let place = TempDir::new().expect("a temp dir");
    let to = |name: &str| place.path().join(name).to_str().expect("it is text").to_owned();
    let (kept, copy, again) = (to("kept"), to("copy"), to("again"));
    let commands: [&[&str]; 14] = [
        &["inspect", "1", "--data-dir", data],
        &["inspect", "1", "--json", "--data-dir", data],
        &["verify", "--data-dir", data],
        &["verify", "--json", "--data-dir", data],
        &["backup", &kept, "--data-dir", data],
        &["backup", &copy, "--json", "--data-dir", data],
        &["restore", &kept, "--data-dir", &again],
        &["ready", "--rest", &rest],
        &["ready", "--json", "--rest", &rest],
        &["config", "check"],
        &["config", "show"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
    ];
    for command in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = arus(command).stdout(writer).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let said = std::thread::spawn(read_all(child.stderr.take().expect("it is piped")));
        let status = wait(&mut child);
        let said = String::from_utf8_lossy(&said.join().expect("no panic")).into_owned();
        assert!(status.success() && said.is_empty(), "{command:?} ended with {status}: {said}");
    }
    // A full disk is another matter: the result is not there.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut child = arus(&["config", "show"]).stdout(full).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let said = std::thread::spawn(read_all(child.stderr.take().expect("it is piped")));
    assert_eq!(wait(&mut child).code(), Some(1));
    let said = String::from_utf8_lossy(&said.join().expect("no panic")).into_owned();
    assert!(said.contains("standard output cannot be written"), "{said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_read_one_object_and_backups_are_private() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "1.00").await;
    let rest = format!("localhost:{}", server.rest().port());
    let ready = json(&run(arus(&["ready", "--json", "--rest", &rest])));
    assert_eq!(ready, serde_json::json!({ "ok": true, "rest": rest }));
    let dir = server.stop().await;
    let data = dir.path().to_str().expect("it is text");
    let checks = json(&run(arus(&["verify", "--json", "--data-dir", data])));
    assert!(checks["ok"] == true && checks["checks"].as_array().is_some_and(|checks| checks.len() > 3), "{checks}");
    assert!(checks["checks"][0]["name"].is_string() && checks["checks"][0]["found"].is_string(), "{checks}");

    let place = TempDir::new().expect("a temp dir");
    let kept = place.path().join("kept");
    let copied = json(&run(arus(&["backup", kept.to_str().expect("text"), "--json", "--data-dir", data])));
    assert_eq!((&copied["ok"], &copied["entries"], &copied["head_lsn"]), (&true.into(), &2.into(), &2.into()));
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    for path in everything(&kept) {
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }

    // What goes wrong is an object as well, and an exit code.
    for (args, why) in [
        (vec!["inspect", "999", "--json", "--data-dir", data], "there is no entry at lsn 999"),
        (vec!["verify", "--json", "--data-dir", "/nowhere/at/all"], "/nowhere/at/all"),
        (vec!["ready", "--json", "--rest", &rest], "does not answer"),
    ] {
        let output = run(arus(&args));
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let object = json(&output);
        assert!(object["ok"] == false && object["error"].as_str().is_some_and(|is| is.contains(why)), "{object}");
    }
}

/// A folder and all below it.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let items = std::fs::read_dir(folder).expect("a folder").map(|item| item.expect("readable").path());
    let below = items.flat_map(|path| if path.is_dir() { everything(&path) } else { vec![path] });
    std::iter::once(folder.to_owned()).chain(below).collect()
}

#[test]
fn a_start_that_cannot_serve_writes_nothing() {
    let place = TempDir::new().expect("a temp dir");
    let data = place.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let rest = format!("--set=listen.rest={}", taken.local_addr().expect("an address"));
    let others = ["payments", "fx", "wallet", "risk"].map(|name| format!("--set=listen.{name}=127.0.0.1:0"));
    let metrics = ["payments", "fx", "wallet", "risk"].map(|name| format!("--set=listen.{name}_metrics=127.0.0.1:0"));
    for mode in ["serve", "demo"] {
        let mut command = arus(&[mode, &rest, "--data-dir"]);
        command.arg(&data).args(&others).args(&metrics);
        let output = run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot listen on") && said.contains("(listen.rest)"), "{said}");
        assert!(!data.exists(), "{mode} wrote before it had all its ports");
    }
    // No name of a directory is not the current one.
    for args in [vec!["serve", "--data-dir", ""], vec!["serve", "--set=data_dir="], vec!["verify", "--data-dir", ""]] {
        let mut command = arus(&args);
        command.current_dir(place.path());
        let output = run(command);
        assert!(!output.status.success(), "{args:?}");
        assert_eq!(std::fs::read_dir(place.path()).expect("a folder").count(), 0, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_beyond_this_machine_is_warned_of_and_names_are_listened_on() {
    let dir = TempDir::new().expect("a temp dir");
    let more = ["--set=listen.wallet=0.0.0.0:0", "--set=listen.rest=localhost:0", "--set=listen.fx_metrics=0.0.0.0:0"];
    let mut process = Process::start("serve", &dir.path().join("data"), &more);
    let warned = process.begin.lines().find(|line| line.contains("there is no authentication"));
    let warned: Value = serde_json::from_str(warned.expect("a warning")).expect("a JSON object");
    assert_eq!((&warned["level"], &warned["fields"]["ports"]), (&"WARN".into(), &process.serving["wallet"]));
    assert!(process.address("rest").ip().is_loopback());
    // By the name it was given, a page may be read.
    let rest = process.address("rest");
    let ask = format!("GET /readyz HTTP/1.1\r\nhost: localhost:{}\r\nconnection: close\r\n\r\n", rest.port());
    assert_eq!(http::raw(rest, ask.as_bytes()).await.status, 200);
    process.terminate();
    let mut process = Process::start("serve", &dir.path().join("data"), &[]);
    assert!(!process.begin.contains("there is no authentication"), "{}", process.begin);
    process.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reaches_a_demo_finds_its_world() {
    let dir = TempDir::new().expect("a temp dir");
    let mut process = Process::start("demo", &dir.path().join("data"), &[]);
    let mut c = process.clients().await;
    let mut request = payment("first", "CUST-1", "USD", "250.00", "");
    request.source_account = "acct-CUST-1-IDR".into();
    let paid = c.pay(request).await.expect("decided");
    assert_eq!(paid.status(), PaymentStatus::Captured, "{:?}", paid.failure);
    drop(c);
    process.terminate();
}

#[test]
fn settings_are_checked_and_shown_and_shells_get_completions() {
    let shown = run(arus(&["config", "show", "--set=engine.arbiters=3"]));
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains("arbiters = 3  # --set engine.arbiters"), "{text}");
    let mut misspelled = arus(&["config", "check"]);
    misspelled.env("ARUS_ENGNE__ARBITERS", "3").env("ARUS_PORT", "tcp://10.0.0.1:9091");
    let misspelled = run(misspelled);
    let said = String::from_utf8_lossy(&misspelled.stderr);
    assert!(!misspelled.status.success() && said.contains("there is no setting engne"), "{said}");
    for slip in ["ARUS_ENGINE_ARBITERS", "ARUS_DATADIR"] {
        let mut misspelled = arus(&["config", "check"]);
        misspelled.env(slip, "3").env("ARUS_GRPC_SERVICE_HOST", "10.0.0.1").env("ARUS_PORT_9091_TCP_ADDR", "10.0.0.1");
        let misspelled = run(misspelled);
        let said = String::from_utf8_lossy(&misspelled.stderr);
        assert!(!misspelled.status.success() && said.contains(&format!("{slip} is no setting")), "{said}");
    }
    let wrong = run(arus(&["config", "check", "--set=engine.arbiters=65"]));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("engine.arbiters is 65; allowed: 0 to 64"), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        let script = run(arus(&["completions", shell]));
        let script = String::from_utf8_lossy(&script.stdout).into_owned();
        assert!(script.contains("inspect") && script.contains("json"), "{shell}: {script}");
    }
}
