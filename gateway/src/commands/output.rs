//! What commands print. Whether somebody still reads it never ends the process.

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use anyhow::Context;
use arus::telemetry;
use clap::Args;
use serde::Serialize;
use serde_json::json;

/// How a result is printed.
#[derive(Args, Debug, Clone, Copy, Default)]
pub(super) struct Form {
    /// Print one JSON object, also when the command fails.
    #[arg(long)]
    json: bool,
}

impl Form {
    /// Prints a result: an object for programs, or a text for people.
    pub(super) fn print(self, object: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json { say(&serde_json::to_string(object)?) } else { say(text().trim_end()) }
    }
}

/// Prints lines on standard output. A reader that is gone has what it wanted (`arus inspect 1 | head -1`).
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output cannot be written"),
    }
}

/// Says why a command failed.
pub(super) fn failed(error: &anyhow::Error, form: Form) -> ExitCode {
    let why = format!("{error:#}");
    let object = json!({ "ok": false, "error": &why });
    if !form.json || form.print(&object, String::new).is_err() {
        telemetry::complain(&format!("arus: {why}"));
    }
    ExitCode::FAILURE
}
