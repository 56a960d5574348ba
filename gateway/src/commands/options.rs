//! Where settings come from.

use std::path::PathBuf;

use clap::Args;

/// Where settings come from.
#[derive(Args)]
pub(super) struct Options {
    /// A TOML file; see ops/arus.toml for every key.
    #[arg(long)]
    pub(super) config: Option<PathBuf>,
    /// The data directory; the same as --set data_dir=DIR.
    #[arg(long)]
    pub(super) data_dir: Option<PathBuf>,
    /// Any setting, such as --set engine.arbiters=4. May be given often.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Options {
    /// All that was given as a flag, as `key=value`.
    pub(super) fn flags(&self) -> Vec<String> {
        let data_dir = self.data_dir.iter().map(|dir| format!("data_dir={}", dir.display()));
        self.set.iter().cloned().chain(data_dir).collect()
    }
}
