//! `arus config check` and `arus config show`.

use std::process::ExitCode;

use arus::config::Settings;

use super::{options::Options, output::say};

/// Says whether the settings are valid.
pub(super) fn check(options: &Options) -> anyhow::Result<ExitCode> {
    Settings::load(options.config.as_ref(), &options.flags())?;
    say("the settings are valid")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the settings in effect.
pub(super) fn show(options: &Options) -> anyhow::Result<ExitCode> {
    say(Settings::show(options.config.as_ref(), &options.flags())?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
