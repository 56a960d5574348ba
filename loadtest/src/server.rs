//! What a server says of itself at its metrics port: how often it synced, how far its index is, what it takes up.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// The longest wait for metrics.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the index is asked whether it has caught up.
const CATCH_UP_POLL: Duration = Duration::from_millis(20);
/// An index that has not caught up by then has stopped.
const CATCH_UP_MAX: Duration = Duration::from_secs(600);

/// The metrics port of PaymentsService.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    url: String,
}

/// What one look found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Syncs since the start, one a commit block.
    syncs: f64,
    /// Entries committed since the start.
    entries: f64,
    /// The last entry committed.
    pub(crate) head_lsn: f64,
    /// Payments committed since the start: captured, failed.
    payments: [f64; 2],
    /// Entries committed and not yet indexed.
    lag: f64,
    /// The most memory it ever had in RAM, in bytes; absent where the server's system does not tell.
    resident_max: Option<f64>,
    /// Bytes of the data directory.
    disk: f64,
}

impl Look {
    /// How many payments were captured and failed since an earlier look; `None` if the server was restarted in between.
    pub(crate) fn payments_since(&self, before: &Self) -> Option<[u64; 2]> {
        // What was there when it started is no part of its count.
        let at_start = |look: &Self| look.head_lsn - look.entries;
        let [captured, failed] = self.payments;
        let growth = [captured - before.payments[0], failed - before.payments[1]];
        (at_start(self) == at_start(before)).then(|| growth.map(|count| count as u64))
    }

    /// What it took from one look to the next two: the first at the last answer, the second with the index caught up.
    pub(crate) fn cost(&self, answered: &Self, indexed: &Self, of: Work) -> Cost {
        let syncs = (answered.syncs - self.syncs).max(1.0);
        Cost {
            indexed_s: of.indexed_s,
            syncs_per_second: syncs / of.answered_s,
            entries_per_sync: (answered.entries - self.entries) / syncs,
            resident_bytes_max: indexed.resident_max.map(|bytes| bytes as u64),
            disk_bytes: indexed.disk as u64,
            disk_bytes_per_payment: (indexed.disk - self.disk) / of.captured.max(1) as f64,
        }
    }
}

/// What a run did, as the driver saw it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// Payments that moved money.
    pub(crate) captured: u64,
    /// Until the last answer, from the first payment, in seconds.
    pub(crate) answered_s: f64,
    /// Until the index had caught up, from the first payment, in seconds.
    pub(crate) indexed_s: f64,
}

/// What a run cost the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Until the index had caught up, from the first payment, in seconds.
    pub(crate) indexed_s: f64,
    /// Syncs a second, until the last answer.
    pub(crate) syncs_per_second: f64,
    /// Entries committed by one sync.
    pub(crate) entries_per_sync: f64,
    /// The most memory the server ever had in RAM, in bytes.
    pub(crate) resident_bytes_max: Option<u64>,
    /// Bytes of the data directory when the index had caught up.
    pub(crate) disk_bytes: u64,
    /// By how many bytes the data directory grew for one payment that moved money. The journal grows by whole segments
    /// of 64 MiB, so only millions of payments give a figure.
    pub(crate) disk_bytes_per_payment: f64,
}

impl Server {
    /// A server whose metrics can be read.
    pub(crate) async fn at(url: &str) -> anyhow::Result<Self> {
        let server = Self { url: url.to_owned() };
        server.look().await?;
        Ok(server)
    }

    /// Reads the metrics once.
    pub(crate) async fn look(&self) -> anyhow::Result<Look> {
        let url = self.url.clone();
        let text = tokio::task::spawn_blocking(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(SCRAPE_TIMEOUT)).build().into();
            anyhow::Ok(agent.get(&url).call()?.body_mut().read_to_string()?)
        })
        .await?
        .with_context(|| {
            format!("the server's metrics at {} cannot be read; --metrics says where they are", self.url)
        })?;
        let need = |name: &str| sum(&text, name).with_context(|| format!("{} has no {name}", self.url));
        Ok(Look {
            syncs: need("arus_journal_blocks_total")?,
            entries: need("arus_journal_entries_total")?,
            head_lsn: need("arus_journal_head_lsn")?,
            payments: [
                need("arus_payments_total{status=\"CAPTURED\"}")?,
                need("arus_payments_total{status=\"FAILED\"}")?,
            ],
            lag: need("arus_index_lag_entries")?,
            resident_max: sum(&text, "process_resident_memory_max_bytes"),
            disk: need("arus_data_bytes")?,
        })
    }

    /// Waits until everything committed is indexed.
    pub(crate) async fn caught_up(&self) -> anyhow::Result<Look> {
        let started = std::time::Instant::now();
        loop {
            let look = self.look().await?;
            if look.lag <= 0.0 {
                return Ok(look);
            }
            ensure!(started.elapsed() < CATCH_UP_MAX, "the index is {} entries behind and does not catch up", look.lag);
            tokio::time::sleep(CATCH_UP_POLL).await;
        }
    }
}

/// Adds up the series of one name, whatever their labels; a name with labels is one series.
fn sum(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let of = series.split_once('{').map_or(series, |(of, _)| of);
        (of == name || series == name).then(|| value.parse::<f64>().ok()).flatten()
    });
    values.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_name_are_added() {
        let text = "# HELP a b\na_total 3\nab_total 9\nd{part=\"x\"} 1.5\nd{part=\"y z\"} 2\n# EOF";
        assert_eq!(sum(text, "a_total"), Some(3.0));
        assert_eq!(sum(text, "d"), Some(3.5));
        assert_eq!(sum(text, "d{part=\"y z\"}"), Some(2.0));
        assert_eq!(sum(text, "c"), None);
    }

    #[test]
    fn counts_of_a_restarted_server_say_nothing() {
        let look = |entries, head_lsn, payments| Look {
            entries,
            head_lsn,
            payments,
            syncs: 0.0,
            lag: 0.0,
            resident_max: None,
            disk: 0.0,
        };
        let before = look(20.0, 120.0, [8.0, 2.0]);
        assert_eq!(look(50.0, 150.0, [30.0, 5.0]).payments_since(&before), Some([22, 3]));
        assert_eq!(look(30.0, 150.0, [30.0, 5.0]).payments_since(&before), None);
    }
}
