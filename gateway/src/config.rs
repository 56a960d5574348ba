//! All settings: defaults, then a file, then `ARUS_...` variables, then flags; the later wins.
//!
//! Every key with its default and meaning stands in `ops/arus.toml`; a test holds that file against these types.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use arus_engine::config::EngineConfig;
use figment::{
    Figment,
    error::Kind,
    providers::{Format, Serialized, Toml},
    value::Value,
};
use serde::{Deserialize, Serialize};

use crate::{address::HostPort, origin::is_origin, variables};

/// The keys that stand at the top.
const TOP_KEYS: [&str; 8] = ["data_dir", "log", "trace", "listen", "grpc", "rest", "drain_max_s", "engine"];

/// Room for answers that wait to be read: a page or two have to fit.
const ANSWER_BYTES_MIN: u64 = 8 << 20;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where journal and index live.
    pub data_dir: PathBuf,
    /// Logs.
    pub log: LogSettings,
    /// Traces.
    pub trace: TraceSettings,
    /// Ports.
    pub listen: Listen,
    /// Limits of the gRPC servers.
    pub grpc: GrpcLimits,
    /// The REST gateway.
    pub rest: RestSettings,
    /// How long a drain may take, in seconds.
    pub drain_max_s: u64,
    /// The engine.
    pub engine: EngineConfig,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// For people or machines.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or per target as in `info,arus=debug`.
    pub level: String,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Traces, exported by OTLP over gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// The collector, such as `http://127.0.0.1:4317`; empty exports nothing.
    pub endpoint: String,
    /// Of the calls whose caller says nothing of tracing, one in so many is traced; 0 is none.
    pub sample_one_in: u64,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { endpoint: String::new(), sample_one_in: 1_000 }
    }
}

/// Addresses of the services and of their metrics. A host may be a name; port 0 takes any free one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// PaymentsService.
    pub payments: HostPort,
    /// FxService.
    pub fx: HostPort,
    /// WalletService.
    pub wallet: HostPort,
    /// RiskService.
    pub risk: HostPort,
    /// REST, its documentation and the console.
    pub rest: HostPort,
    /// Metrics of payments, journal, index.
    pub payments_metrics: HostPort,
    /// Metrics of FX.
    pub fx_metrics: HostPort,
    /// Metrics of accounts.
    pub wallet_metrics: HostPort,
    /// Metrics of risk.
    pub risk_metrics: HostPort,
}

/// Limits of the gRPC servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcLimits {
    /// The largest request, in bytes.
    pub message_bytes_max: usize,
    /// Connections open on one port.
    pub connections_max: usize,
    /// Of those, from one address; 0 is all but a sixteenth.
    pub connections_per_peer_max: usize,
    /// How long a connection may be without a call, in seconds.
    pub connection_idle_max_s: u64,
    /// Requests in flight on one connection.
    pub streams_per_connection_max: u32,
    /// All headers of one request, in bytes.
    pub header_bytes_max: u32,
    /// Answers that wait to be read on one connection, in bytes.
    pub answer_bytes_per_connection_max: usize,
    /// The same on all connections together.
    pub answer_bytes_max: usize,
    /// Threads that serve requests.
    pub threads: usize,
}

/// The REST gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestSettings {
    /// Whether it is served at all, and the console with it.
    pub enabled: bool,
    /// Sites whose pages may call it (CORS), such as `https://shop.example`; none may if it is empty.
    pub cors_origins: Vec<String>,
}

impl Default for RestSettings {
    fn default() -> Self {
        Self { enabled: true, cors_origins: Vec::new() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            log: LogSettings::default(),
            trace: TraceSettings::default(),
            listen: Listen::default(),
            grpc: GrpcLimits::default(),
            rest: RestSettings::default(),
            drain_max_s: 30,
            engine: EngineConfig::default(),
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info,fjall=warn,lsm_tree=warn".into() }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| HostPort::from(SocketAddr::from(([127, 0, 0, 1], port)));
        Self {
            payments: local(9091),
            fx: local(9092),
            wallet: local(9093),
            risk: local(9094),
            rest: local(8080),
            payments_metrics: local(9101),
            fx_metrics: local(9102),
            wallet_metrics: local(9103),
            risk_metrics: local(9104),
        }
    }
}

impl Listen {
    /// Any free port of the loopback for everything: for tests.
    pub fn any_port() -> Self {
        let any = || HostPort::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        Self {
            payments: any(),
            fx: any(),
            wallet: any(),
            risk: any(),
            rest: any(),
            payments_metrics: any(),
            fx_metrics: any(),
            wallet_metrics: any(),
            risk_metrics: any(),
        }
    }
}

impl Default for GrpcLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            connections_max: 1_024,
            connections_per_peer_max: 0,
            connection_idle_max_s: 300,
            streams_per_connection_max: 4_096,
            header_bytes_max: 16 << 10,
            answer_bytes_per_connection_max: 16 << 20,
            answer_bytes_max: 96 << 20,
            threads: 2,
        }
    }
}

impl GrpcLimits {
    /// Connections from one address. No address alone takes every place.
    pub fn connections_per_peer_max(&self) -> usize {
        match self.connections_per_peer_max {
            0 => self.connections_max - self.connections_max / 16,
            some => some,
        }
    }
}

/// One place that settings come from; a later one wins.
struct Layer {
    figment: Figment,
    /// What this place is called for a key: `--set engine.arbiters`.
    name: Box<dyn Fn(&str) -> String>,
}

impl Layer {
    fn new(figment: Figment, name: impl Fn(&str) -> String + 'static) -> Self {
        Self { figment, name: Box::new(name) }
    }
}

/// Defaults, the file, variables, flags.
fn layers(file: Option<&PathBuf>, flags: &[String]) -> anyhow::Result<Vec<Layer>> {
    let defaults = Figment::from(Serialized::defaults(Settings::default()));
    let mut layers = vec![Layer::new(defaults, |_| "default".to_owned())];
    if let Some(file) = file {
        anyhow::ensure!(file.is_file(), "config file {} does not exist", file.display());
        let name = file.display().to_string();
        layers.push(Layer::new(Figment::from(Toml::file_exact(file)), move |_| name.clone()));
    }
    let env = variables::given(&TOP_KEYS)?;
    let variable = |key: &str| format!("ARUS_{}", key.to_ascii_uppercase().replace('.', "__"));
    layers.push(Layer::new(Figment::from(env.split("__")), variable));
    let mut given = Figment::new();
    for flag in flags {
        let (key, value) = flag
            .split_once('=')
            .ok_or_else(|| anyhow::anyhow!("--set {flag} must be KEY=VALUE, such as engine.arbiters=4"))?;
        if key == "data_dir" {
            given = given.merge((key, value));
            continue;
        }
        // A value is TOML where it reads as TOML (numbers, booleans, arrays), else plain text.
        let value = value.parse::<Value>().unwrap_or_else(|_| value.to_owned().into());
        given = given.merge((key, value));
    }
    layers.push(Layer::new(given, |key| format!("--set {key}")));
    Ok(layers)
}

impl Settings {
    /// Merges all sources. `flags` are `key=value` pairs with dotted keys; a mistake names key, value and rule.
    pub fn load(file: Option<&PathBuf>, flags: &[String]) -> anyhow::Result<Self> {
        Self::merged(&layers(file, flags)?)
    }

    fn merged(layers: &[Layer]) -> anyhow::Result<Self> {
        let figment = layers.iter().fold(Figment::new(), |merged, layer| merged.merge(&layer.figment));
        let settings: Self = figment.extract().map_err(|error| mistakes(&error))?;
        settings.engine.check()?;
        settings.check()?;
        Ok(settings)
    }

    /// The settings in effect as a TOML file, each with where it comes from. No setting is a secret but what an address
    /// of a collector may hold, which is left out.
    pub fn show(file: Option<&PathBuf>, flags: &[String]) -> anyhow::Result<String> {
        let layers = layers(file, flags)?;
        let mut settings = Self::merged(&layers)?;
        settings.trace.endpoint = without_user(&settings.trace.endpoint);
        // By table: TOML wants the keys of the top before the first table.
        let mut tables = BTreeMap::<String, String>::new();
        let value = Value::serialize(settings)?;
        for (key, value) in leaves(&value, "") {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", &key));
            let set = layers.iter().rev().find(|layer| layer.figment.contains(&key));
            let source = set.map_or_else(String::new, |layer| (layer.name)(&key));
            // Our leaves are texts, numbers, booleans and lists of texts, which TOML writes as JSON does.
            let line = format!("{name} = {}  # {source}\n", serde_json::to_string(value)?);
            tables.entry(table.to_owned()).or_default().push_str(&line);
        }
        let head = |table: &str| if table.is_empty() { String::new() } else { format!("\n[{table}]\n") };
        Ok(tables.iter().map(|(table, lines)| head(table) + lines).collect())
    }

    fn check(&self) -> anyhow::Result<()> {
        let grpc = &self.grpc;
        anyhow::ensure!(
            !self.data_dir.as_os_str().is_empty(),
            "data_dir is empty; allowed: a directory, such as data or /var/lib/arus"
        );
        for (key, value, min, max) in [
            ("grpc.threads", grpc.threads as u64, 1, 64),
            ("grpc.message_bytes_max", grpc.message_bytes_max as u64, 1 << 10, 64 << 20),
            ("grpc.connections_max", grpc.connections_max as u64, 1, 1 << 20),
            ("grpc.connections_per_peer_max", grpc.connections_per_peer_max as u64, 0, 1 << 20),
            ("grpc.connection_idle_max_s", grpc.connection_idle_max_s, 10, 30 * 86_400),
            ("grpc.streams_per_connection_max", u64::from(grpc.streams_per_connection_max), 1, 1 << 20),
            ("grpc.header_bytes_max", u64::from(grpc.header_bytes_max), 1 << 10, 1 << 20),
            (
                "grpc.answer_bytes_per_connection_max",
                grpc.answer_bytes_per_connection_max as u64,
                ANSWER_BYTES_MIN,
                1 << 32,
            ),
            ("grpc.answer_bytes_max", grpc.answer_bytes_max as u64, ANSWER_BYTES_MIN, 1 << 36),
            ("drain_max_s", self.drain_max_s, 1, 3_600),
        ] {
            anyhow::ensure!((min..=max).contains(&value), "{key} is {value}; allowed: {min} to {max}");
        }
        if let Some(wrong) = self.rest.cors_origins.iter().find(|origin| !is_origin(origin)) {
            anyhow::bail!(
                "rest.cors_origins has {wrong:?}; allowed: origins as browsers send them, such as \
                 \"https://shop.example\" or \"http://127.0.0.1:3000\", each site by its name"
            );
        }
        self.check_ports()?;
        let endpoint = &self.trace.endpoint;
        anyhow::ensure!(
            endpoint.is_empty() || endpoint.starts_with("http://"),
            "trace.endpoint is {endpoint}; allowed: nothing, or http://HOST:PORT of a collector that takes OTLP over gRPC"
        );
        // A word that is no level would be taken for a target, and silence everything.
        let first = self.log.level.split(',').next().unwrap_or_default();
        let known = first.contains('=') || first.parse::<tracing::level_filters::LevelFilter>().is_ok();
        anyhow::ensure!(known, "log.level is {}; allowed: error, warn, info, debug, trace", self.log.level);
        tracing_subscriber::EnvFilter::try_new(&self.log.level).map_err(|error| {
            anyhow::anyhow!("log.level is {}; allowed: info, or info,arus=debug: {error}", self.log.level)
        })?;
        Ok(())
    }

    /// Each port is somebody's own.
    fn check_ports(&self) -> anyhow::Result<()> {
        let Listen { payments, fx, wallet, risk, rest, .. } = &self.listen;
        let Listen { payments_metrics, fx_metrics, wallet_metrics, risk_metrics, .. } = &self.listen;
        let mut ports = vec![
            ("payments", payments),
            ("fx", fx),
            ("wallet", wallet),
            ("risk", risk),
            ("payments_metrics", payments_metrics),
            ("fx_metrics", fx_metrics),
            ("wallet_metrics", wallet_metrics),
            ("risk_metrics", risk_metrics),
        ];
        ports.extend(self.rest.enabled.then_some(("rest", rest)));
        for (n, (key, at)) in ports.iter().enumerate() {
            if let Some((other, there)) = ports.iter().skip(n + 1).find(|(_, there)| at.clashes_with(there)) {
                anyhow::bail!(
                    "listen.{key} is {at} and listen.{other} is {there}; allowed: a port of its own for each"
                );
            }
        }
        Ok(())
    }
}

/// Every setting with its dotted key.
fn leaves<'a>(value: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value.as_dict() {
        Some(dict) => dict.iter().flat_map(|(key, value)| leaves(value, &below(key))).collect(),
        None => vec![(path.to_owned(), value)],
    }
}

/// An address without the user and password it may hold.
fn without_user(endpoint: &str) -> String {
    match endpoint.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://{host}"),
        None => endpoint.to_owned(),
    }
}

/// Every mistake in words of ours: key, value, what is allowed, and where it stands.
fn mistakes(error: &figment::Error) -> anyhow::Error {
    let said = error.clone().into_iter().map(|mistake| {
        let key = mistake.path.join(".");
        let allowed = |expected: &str| match expected {
            "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not below 0".to_owned(),
            "a sequence" => "a list such as [\"one\", \"two\"]".to_owned(),
            other => other.to_owned(),
        };
        let said = match &mistake.kind {
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
                format!("{key} is {found}; allowed: {}", allowed(expected))
            }
            Kind::UnknownVariant(found, known) => format!("{key} is {found}; allowed: {}", known.join(", ")),
            Kind::UnknownField(_, known) => format!("there is no setting {key}; here are: {}", known.join(", ")),
            other => format!("{key}: {other}"),
        };
        match mistake.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()) {
            Some(source) => format!("{said} (in {source})"),
            None => said,
        }
    });
    anyhow::anyhow!("configuration: {}", said.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_file_is_the_default_and_has_every_key() {
        let text = include_str!("../../ops/arus.toml");
        let from_file: Settings = Figment::from(Toml::string(text)).extract().expect("it is valid");
        assert_eq!(from_file, Settings::default());
        let value = Value::serialize(Settings::default()).expect("it serialises");
        for (key, _) in leaves(&value, "") {
            let name = key.rsplit('.').next().unwrap_or(&key);
            assert!(text.contains(&format!("{name} =")), "ops/arus.toml does not name {key}");
        }
    }

    #[test]
    fn flags_win_and_mistakes_are_named() {
        let settings = Settings::load(None, &["engine.arbiters=3".into(), "data_dir=/tmp/x".into()]).expect("valid");
        assert_eq!((settings.engine.arbiters, settings.data_dir), (3, "/tmp/x".into()));
        let said = |flag: &str| Settings::load(None, &[flag.to_owned()]).expect_err("a mistake").to_string();
        assert!(
            said("listen.fx=0.0.0.0:9091").starts_with("listen.payments is 127.0.0.1:9091 and listen.fx is 0.0.0.0")
        );
        assert!(said("listen.rest=127.0.0.1:9101").contains("listen.payments_metrics"));
        let no_rest = ["listen.rest=127.0.0.1:9101".into(), "rest.enabled=false".into()];
        Settings::load(None, &no_rest).expect("nobody listens there");
        assert!(said("engine.arbiters=65").contains("engine.arbiters is 65; allowed: 0 to 64"));
        assert!(said("engine.arbiters=many").contains("engine.arbiters is string \"many\"; allowed: a whole number"));
        assert!(said("engine.arbitres=2").contains("there is no setting engine.arbitres; here are: arbiters, "));
        assert!(said("log.format=xml").contains("log.format is xml; allowed: human, json"));
        assert!(said("listen.rest=here").contains("listen.rest: \"here\" is no HOST:PORT; allowed: such as"));
        assert!(said("data_dir=").contains("data_dir is empty; allowed: a directory, such as data"));
        assert!(
            said("trace.endpoint=collector:4317")
                .contains("trace.endpoint is collector:4317; allowed: nothing, or http://")
        );
        let origins = said("rest.cors_origins=[\"https://shop.example\", \"*\"]");
        assert!(origins.contains("rest.cors_origins has \"*\"; allowed: origins"), "{origins}");
        assert!(said("nonsense").contains("KEY=VALUE"));
        assert!(said("log.level=loud").contains("log.level is loud"));
        assert!(said("engine.house_owner=a b").contains("engine.house_owner is a b"));
    }
    #[test]
    fn what_is_shown_is_a_file_with_the_same_effect_that_says_where_each_setting_comes_from() {
        let dir = tempfile::TempDir::new().expect("a temp dir");
        let file = dir.path().join("my.toml");
        std::fs::write(&file, "[log]\nlevel = \"debug\"\n[listen]\nfx = \"[::1]:7000\"\n").expect("it is ours");
        let flags: Vec<String> = [
            "listen.rest=localhost:8081",
            "listen.wallet=[::1]:9",
            "rest.cors_origins=[\"https://a.example\"]",
            "trace.endpoint=http://me:secret@collector:4317",
        ]
        .map(Into::into)
        .into();
        let shown = Settings::show(Some(&file), &flags).expect("valid");
        for line in [
            "data_dir = \"data\"  # default",
            &format!("level = \"debug\"  # {}", file.display()),
            "rest = \"localhost:8081\"  # --set listen.rest",
            "wallet = \"[::1]:9\"  # --set listen.wallet",
            "cors_origins = [\"https://a.example\"]  # --set rest.cors_origins",
            "endpoint = \"http://collector:4317\"  # --set trace.endpoint",
        ] {
            assert!(shown.lines().any(|is| is == line), "{line} is missing in {shown}");
        }
        assert!(!shown.contains("secret"), "{shown}");
        let again: Settings = Figment::from(Toml::string(&shown)).extract().expect("it is valid TOML");
        let mut effective = Settings::load(Some(&file), &flags).expect("valid");
        effective.trace.endpoint = again.trace.endpoint.clone();
        assert_eq!(again, effective);
    }
}
