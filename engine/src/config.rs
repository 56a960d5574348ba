//! Every limit, queue and policy of the engine, with its name, unit and default.
//!
//! The gateway reads these from file, environment and flags; [`EngineConfig::check`] names key, value and rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    ledger::{
        fx::FxPolicy,
        needs::House,
        risk::{RiskPoints, RiskRules},
    },
    money::{Currency, Money, OwnerId},
};

/// The most arbiters one engine runs.
const ARBITERS_MAX: usize = 64;

/// The engine's settings. Units stand last in the names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Threads that run actors; accounts and payments are spread over them by owner. 0: [`EngineConfig::arbiters`]
    /// chooses.
    pub arbiters: usize,
    /// Commands between admission and answer; one more is refused with RESOURCE_EXHAUSTED.
    pub in_flight_max: usize,
    /// Reads under way at once; one more is refused.
    pub reads_max: usize,
    /// Threads that read lists and entries, apart from those that load what payments need.
    pub read_threads: usize,
    /// Commands at work at once, from launch to the journal; the others that were let in wait their turn.
    pub at_work_max: usize,
    /// Entries in one commit block at most.
    pub commit_entries_max: usize,
    /// Bytes of entries in one commit block at most.
    pub commit_bytes_max: usize,
    /// How long one commit block may be collected while more arrives, in microseconds; idle, nothing waits.
    pub commit_collect_us_max: u64,
    /// Length of one journal segment, in bytes.
    pub segment_bytes: u64,
    /// Memory for what is committed and not yet indexed, in bytes; from half of it on admission refuses in proportion.
    pub tail_bytes_max: usize,
    /// Entries one index run folds at most.
    pub index_run_entries_max: usize,
    /// Longest pause between index runs while little has come, in milliseconds.
    pub index_run_interval_ms: u64,
    /// Memory for index blocks, in bytes.
    pub index_cache_bytes: u64,
    /// Account states the index builder remembers.
    pub index_accounts_cached_max: usize,
    /// Accounts with an actor in memory; beyond it idle ones are passivated.
    pub resident_accounts_max: usize,
    /// From how many messages a second on an account is hot, and named in metrics and console.
    pub hot_account_per_second: u32,
    /// Threads that load accounts and read lists.
    pub load_threads: usize,
    /// Loads and reads that may queue for them.
    pub load_queue_max: usize,
    /// Accounts one owner may have.
    pub accounts_per_owner_max: usize,
    /// Deadline of a command whose caller gives none, in milliseconds.
    pub deadline_default_ms: u64,
    /// The merchant that is paid where a payment names no destination.
    pub house_owner: String,
    /// How long a reservation lasts that names no time, in seconds.
    pub reservation_default_s: u64,
    /// How long a reservation may last, in seconds.
    pub reservation_max_s: u64,
    /// How long a payment stays authorised that names no time, in seconds.
    pub authorization_default_s: u64,
    /// How long a payment may stay authorised, in seconds.
    pub authorization_max_s: u64,
    /// How long a transfer is held that names no time, in seconds.
    pub transfer_default_s: u64,
    /// How long a transfer may be held, in seconds: at most 30 days.
    pub transfer_max_s: u64,
    /// Exchange rates.
    pub fx: FxConfig,
    /// Risk rules.
    pub risk: RiskConfig,
}

/// Settings of the desk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FxConfig {
    /// How old an ECB reference rate may get, in seconds.
    pub ecb_age_max_s: u64,
    /// How old a live rate may get, in seconds.
    pub live_age_max_s: u64,
    /// How old a rate of the demo feed may get, in seconds.
    pub demo_age_max_s: u64,
    /// Spread where none was published, in basis points.
    pub spread_bps_default: u16,
}

/// Settings of the risk rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskConfig {
    /// The most one payment may be, one text a currency, such as "USD 50000.00"; one not listed has no maximum.
    pub amount_max: Vec<String>,
    /// Payments let through per customer and minute before the velocity rule fires.
    pub velocity_per_minute_max: u32,
    /// Declines of a customer's own doing per ten minutes before the declines rule fires.
    pub recent_declines_max: u32,
    /// Blocked customers and accounts, by id.
    pub blocked_ids: BTreeSet<String>,
    /// Blocked countries, ISO 3166-1 alpha-2.
    pub blocked_countries: BTreeSet<String>,
    /// Points of the amount rule.
    pub amount_points: u8,
    /// Points of the velocity rule.
    pub velocity_points: u8,
    /// Points of the block lists.
    pub blocked_points: u8,
    /// Points where country and billing country differ.
    pub country_mismatch_points: u8,
    /// Points of the declines rule.
    pub declines_points: u8,
    /// Score from which on a payment is to be reviewed.
    pub review_score: u8,
    /// Score from which on a payment is rejected.
    pub reject_score: u8,
    /// Customers whose recent payments are remembered, per arbiter.
    pub tracked_customers_max: usize,
}

/// A setting that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("engine.{key} is {value}; allowed: {allowed}")]
pub struct ConfigError {
    /// The key, below `engine`.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What may be given.
    pub allowed: String,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            arbiters: 0,
            at_work_max: 128,
            reads_max: 4_096,
            read_threads: 2,
            in_flight_max: 16_384,
            commit_entries_max: 4_096,
            commit_bytes_max: 1 << 20,
            commit_collect_us_max: 1_000,
            segment_bytes: 64 << 20,
            tail_bytes_max: 128 << 20,
            index_run_entries_max: 131_072,
            index_run_interval_ms: 5_000,
            index_cache_bytes: 64 << 20,
            index_accounts_cached_max: 100_000,
            resident_accounts_max: 100_000,
            hot_account_per_second: 500,
            load_threads: 2,
            load_queue_max: 16_384,
            accounts_per_owner_max: 1_000,
            deadline_default_ms: 10_000,
            house_owner: "MERCH-001".into(),
            reservation_default_s: 3_600,
            reservation_max_s: 7 * 86_400,
            authorization_default_s: 7 * 86_400,
            authorization_max_s: 30 * 86_400,
            transfer_default_s: 3_600,
            transfer_max_s: 30 * 86_400,
            fx: FxConfig::default(),
            risk: RiskConfig::default(),
        }
    }
}

impl Default for FxConfig {
    fn default() -> Self {
        Self { ecb_age_max_s: 4 * 86_400, live_age_max_s: 60, demo_age_max_s: 60, spread_bps_default: 25 }
    }
}

impl Default for RiskConfig {
    fn default() -> Self {
        let amounts = ["USD 50000.00", "EUR 50000.00", "SGD 70000.00", "JPY 7500000", "IDR 800000000.00"];
        Self {
            amount_max: amounts.map(str::to_owned).into(),
            velocity_per_minute_max: 6_000,
            recent_declines_max: 50,
            blocked_ids: BTreeSet::new(),
            blocked_countries: BTreeSet::new(),
            amount_points: 100,
            velocity_points: 80,
            blocked_points: 100,
            country_mismatch_points: 20,
            declines_points: 50,
            review_score: 50,
            reject_score: 80,
            tracked_customers_max: 100_000,
        }
    }
}

impl EngineConfig {
    /// Checks every setting; the first that is not allowed is named.
    pub fn check(&self) -> Result<(), ConfigError> {
        range("arbiters", self.arbiters as u64, 0, ARBITERS_MAX as u64)?;
        range("in_flight_max", self.in_flight_max as u64, 1, 1 << 20)?;
        range("reads_max", self.reads_max as u64, 1, 1 << 20)?;
        range("read_threads", self.read_threads as u64, 1, 64)?;
        range("at_work_max", self.at_work_max as u64, 1, 1 << 20)?;
        range("commit_entries_max", self.commit_entries_max as u64, 1, 1 << 16)?;
        range("commit_bytes_max", self.commit_bytes_max as u64, 1 << 12, 1 << 26)?;
        range("commit_collect_us_max", self.commit_collect_us_max, 0, 100_000)?;
        let segment_min = (self.commit_bytes_max as u64 + (1 << 17)) * 4;
        range("segment_bytes", self.segment_bytes, segment_min, 1 << 32)?;
        if !self.segment_bytes.is_multiple_of(4096) {
            return Err(error("segment_bytes", self.segment_bytes, "a multiple of 4096"));
        }
        range("tail_bytes_max", self.tail_bytes_max as u64, 1 << 16, 1 << 36)?;
        range("index_run_entries_max", self.index_run_entries_max as u64, 1, 1 << 22)?;
        range("index_run_interval_ms", self.index_run_interval_ms, 0, 60_000)?;
        range("index_cache_bytes", self.index_cache_bytes, 1 << 20, 1 << 40)?;
        range("index_accounts_cached_max", self.index_accounts_cached_max as u64, 1, 1 << 30)?;
        range("resident_accounts_max", self.resident_accounts_max as u64, 16, 1 << 30)?;
        range("hot_account_per_second", u64::from(self.hot_account_per_second), 1, u64::from(u32::MAX))?;
        range("load_threads", self.load_threads as u64, 1, 64)?;
        range("load_queue_max", self.load_queue_max as u64, 1, 1 << 20)?;
        range("accounts_per_owner_max", self.accounts_per_owner_max as u64, 1, 10_000)?;
        range("deadline_default_ms", self.deadline_default_ms, 1, 600_000)?;
        range("reservation_max_s", self.reservation_max_s, 1, 7 * 86_400)?;
        range("reservation_default_s", self.reservation_default_s, 1, self.reservation_max_s)?;
        range("authorization_max_s", self.authorization_max_s, 1, 30 * 86_400)?;
        range("authorization_default_s", self.authorization_default_s, 1, self.authorization_max_s)?;
        range("transfer_max_s", self.transfer_max_s, 1, 30 * 86_400)?;
        range("transfer_default_s", self.transfer_default_s, 1, self.transfer_max_s)?;
        range("fx.ecb_age_max_s", self.fx.ecb_age_max_s, 1, 366 * 86_400)?;
        range("fx.live_age_max_s", self.fx.live_age_max_s, 1, 366 * 86_400)?;
        range("fx.demo_age_max_s", self.fx.demo_age_max_s, 1, 366 * 86_400)?;
        range("fx.spread_bps_default", u64::from(self.fx.spread_bps_default), 0, 2_000)?;
        range("risk.tracked_customers_max", self.risk.tracked_customers_max as u64, 1, 1 << 24)?;
        range("risk.reject_score", u64::from(self.risk.reject_score), 1, 100)?;
        range("risk.review_score", u64::from(self.risk.review_score), 1, u64::from(self.risk.reject_score))?;
        for (key, points) in [
            ("risk.amount_points", self.risk.amount_points),
            ("risk.velocity_points", self.risk.velocity_points),
            ("risk.blocked_points", self.risk.blocked_points),
            ("risk.country_mismatch_points", self.risk.country_mismatch_points),
            ("risk.declines_points", self.risk.declines_points),
        ] {
            range(key, u64::from(points), 0, 100)?;
        }
        for country in &self.risk.blocked_countries {
            if country.len() != 2 || !country.bytes().all(|byte| byte.is_ascii_uppercase()) {
                return Err(error("risk.blocked_countries", country, "ISO 3166-1 alpha-2 codes, such as KP"));
            }
        }
        for id in &self.risk.blocked_ids {
            OwnerId::parse(id).map_err(|rule| error("risk.blocked_ids", id, &format!("ids; one {rule}")))?;
        }
        self.house()?;
        self.risk_rules().map(|_| ())
    }

    /// How many arbiters run: as many as set, or one for every two processors. The other half is for the threads that
    /// serve requests, write the journal and build the index; more arbiters than that only take turns with them.
    pub fn arbiters(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        if self.arbiters == 0 { (processors / 2).clamp(1, ARBITERS_MAX) } else { self.arbiters }
    }

    /// What the house puts where a request leaves something open, and what it allows.
    pub fn house(&self) -> Result<House, ConfigError> {
        let merchant = OwnerId::parse(&self.house_owner)
            .map_err(|rule| error("house_owner", &self.house_owner, &rule.to_string()))?;
        Ok(House {
            merchant,
            reservation_default: Duration::from_secs(self.reservation_default_s),
            reservation_max: Duration::from_secs(self.reservation_max_s),
            authorization_default: Duration::from_secs(self.authorization_default_s),
            authorization_max: Duration::from_secs(self.authorization_max_s),
            transfer_default: Duration::from_secs(self.transfer_default_s),
            transfer_max: Duration::from_secs(self.transfer_max_s),
            spread_bps_default: self.fx.spread_bps_default,
            accounts_per_owner_max: self.accounts_per_owner_max,
        })
    }

    /// The desk's policy.
    pub fn fx_policy(&self) -> FxPolicy {
        FxPolicy {
            ecb_age_max: Duration::from_secs(self.fx.ecb_age_max_s),
            live_age_max: Duration::from_secs(self.fx.live_age_max_s),
            demo_age_max: Duration::from_secs(self.fx.demo_age_max_s),
            spread_bps_default: self.fx.spread_bps_default,
        }
    }

    /// The risk rules.
    pub fn risk_rules(&self) -> Result<RiskRules, ConfigError> {
        let risk = &self.risk;
        let mut amount_max = BTreeMap::new();
        for text in &risk.amount_max {
            let wrong = |rule: String| error("risk.amount_max", text, &format!("\"USD 50000.00\"; the value {rule}"));
            let (code, amount) = text.split_once(' ').ok_or_else(|| wrong("has no space".into()))?;
            let currency = Currency::from_code(code).map_err(|e| wrong(e.to_string()))?;
            let money = Money::parse_positive(amount, currency).map_err(|e| wrong(e.to_string()))?;
            amount_max.insert(currency.numeric(), money);
        }
        Ok(RiskRules {
            amount_max,
            velocity_per_minute_max: risk.velocity_per_minute_max,
            recent_declines_max: risk.recent_declines_max,
            blocked_ids: risk.blocked_ids.clone(),
            blocked_countries: risk.blocked_countries.clone(),
            points: RiskPoints {
                amount: risk.amount_points,
                velocity: risk.velocity_points,
                blocked: risk.blocked_points,
                country_mismatch: risk.country_mismatch_points,
                declines: risk.declines_points,
            },
            review_score: risk.review_score,
            reject_score: risk.reject_score,
            tracked_customers_max: risk.tracked_customers_max,
        })
    }
}

fn range(key: &str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(error(key, value, &format!("{min} to {max}"))) }
}

fn error(key: &str, value: impl ToString, allowed: &str) -> ConfigError {
    ConfigError { key: key.to_owned(), value: value.to_string(), allowed: allowed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_allowed_and_a_mistake_is_named() {
        assert_eq!(EngineConfig::default().check(), Ok(()));
        let config = EngineConfig { arbiters: 65, ..EngineConfig::default() };
        let said = config.check().expect_err("not allowed").to_string();
        assert_eq!(said, "engine.arbiters is 65; allowed: 0 to 64");
        let mut config = EngineConfig::default();
        config.risk.blocked_countries.insert("Indonesia".into());
        let said = config.check().expect_err("not allowed").to_string();
        assert_eq!(said, "engine.risk.blocked_countries is Indonesia; allowed: ISO 3166-1 alpha-2 codes, such as KP");
        config.risk.blocked_countries.clear();
        config.risk.amount_max = vec!["USD 1.005".into()];
        assert!(config.check().expect_err("not allowed").to_string().contains("risk.amount_max is USD 1.005"));
    }
}
