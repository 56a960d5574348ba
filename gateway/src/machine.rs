//! What the machine gives: the process's memory and processor time under the names every Prometheus client uses, the
//! lines its log did not take, and the bytes of the data directory.

use std::{fmt, fs, path::PathBuf};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::telemetry;

/// The folders of the data directory that are counted apart.
const PARTS: [&str; 2] = ["journal", "index"];

/// Read when somebody scrapes.
#[derive(Debug)]
pub struct Machine {
    /// The data directory.
    pub data_dir: PathBuf,
}

impl Collector for Machine {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let e = &mut encoder;
        process(e)?;
        let help = "Lines of the log that could not be written";
        let lost = ConstCounter::new(telemetry::lost());
        lost.encode(e.encode_descriptor("arus_log_lines_lost", help, None, MetricType::Counter)?)?;
        let help = "Bytes of files in the data directory, by part";
        let mut family = e.encode_descriptor("arus_data_bytes", help, None, MetricType::Gauge)?;
        for part in PARTS {
            let bytes = bytes_below(&self.data_dir.join(part));
            family.encode_family(&[("part", part)].as_slice())?.encode_gauge(&bytes)?;
        }
        match rustix::fs::statvfs(&self.data_dir) {
            Ok(room) => {
                let help = "Bytes free for this process on the data directory's file system";
                gauge(e, "arus_data_free_bytes", help, room.f_bavail.saturating_mul(room.f_frsize))
            }
            Err(_) => Ok(()),
        }
    }
}

/// Adds up the files of a folder; one that vanishes meanwhile counts nothing.
fn bytes_below(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(of) if of.is_dir() => bytes_below(&entry.path()),
        Ok(of) => of.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(target_os = "linux")]
fn process(e: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let Ok(of) = procfs::process::Process::myself() else { return Ok(()) };
    if let Ok(stat) = of.stat() {
        let ticks = procfs::ticks_per_second();
        let seconds = (stat.utime + stat.stime) as f64 / ticks as f64;
        let counter = ConstCounter::new(seconds);
        let help = "Processor time of the process";
        let family = e.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
        counter.encode(family)?;
        let help = "Memory of the process that is in RAM";
        gauge(e, "process_resident_memory_bytes", help, stat.rss * procfs::page_size())?;
    }
    if let Some(kib) = of.status().ok().and_then(|status| status.vmhwm) {
        let help = "The most memory of the process that was ever in RAM";
        gauge(e, "process_resident_memory_max_bytes", help, kib * 1_024)?;
    }
    if let Ok(count) = of.fd_count() {
        gauge(e, "process_open_fds", "Open file descriptors", count as u64)?;
    }
    Ok(())
}

/// Only Linux tells without a library of its own.
#[cfg(not(target_os = "linux"))]
fn process(_: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    Ok(())
}

fn gauge(e: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(e.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
