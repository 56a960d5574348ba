//! The live line: how far a run is.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error; silent where that is no terminal.
#[derive(Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar of so many steps.
    pub(crate) fn new(what: &'static str, steps: u64) -> Self {
        let bar = ProgressBar::new(steps).with_prefix(what);
        // The template is a constant; if it were wrong, the plain bar says the same.
        if let Ok(style) = ProgressStyle::with_template("{prefix:10} {bar:30} {human_pos}/{human_len} {per_sec} {msg}")
        {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// So many steps more.
    pub(crate) fn add(&self, steps: u64) {
        self.0.inc(steps);
    }

    /// Ends and clears it.
    pub(crate) fn done(&self) {
        self.0.finish_and_clear();
    }
}
