//! Logs: human or JSON lines on standard error, filtered by level. Whether they can be written never matters to who
//! logs ([`Lines`]).

use std::{
    ffi::OsStr,
    io::{self, IsTerminal, Write},
    sync::OnceLock,
    time::Duration,
};

use tracing_subscriber::EnvFilter;

use crate::{
    config::{LogFormat, LogSettings},
    lines::Lines,
};

/// The longest wait for the last lines before the process ends.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);

static LOG: OnceLock<Lines> = OnceLock::new();

/// Installs the subscriber; a second call in one process changes nothing.
pub fn install(settings: &LogSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let on_lost = |lost| tracing::warn!(lost, "log lines were lost: standard error did not take them");
    let log = Lines::to(io::stderr(), on_lost)?;
    // Only a test process installs twice.
    let _ = LOG.set(log);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Line);
    let _ = match settings.format {
        LogFormat::Human => lines
            .with_ansi(is_colourful(io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref()))
            .try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    Ok(())
}

/// <https://no-color.org>: set and not empty means no colour.
fn is_colourful(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// How many lines of the log were lost.
pub fn lost() -> u64 {
    LOG.get().map_or(0, Lines::lost)
}

/// Says on standard error why the process ends, after what was logged; by the log's own way if there is one, since nothing
/// may wait for a standard error that takes nothing.
pub fn complain(text: &str) {
    let line = format!("{text}\n");
    match LOG.get() {
        Some(log) => log.take(line.as_bytes()),
        // Nobody is left to be told that this failed.
        None => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Before the process ends: what was logged is written, if that is possible at all.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush(LAST_LINES_MAX);
    }
}

/// The subscriber hands over a whole line at once.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(log) = LOG.get() {
            log.take(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_has_nothing_against_them() {
        assert!(is_colourful(true, None) && is_colourful(true, Some(OsStr::new(""))));
        assert!(!is_colourful(true, Some(OsStr::new("1"))) && !is_colourful(false, None));
    }
}
