//! The commands that look at data or ask a server: what they found, for people or programs.

use std::{path::Path, process::ExitCode};

use arus::{address::HostPort, backup, inspect, inspect::Record, ready, recover, verify, verify::Found};
use arus_engine::{
    money::Lsn,
    runtime::migrate::{self, Migrated},
};
use serde_json::json;

use super::output::{Form, say};

pub(super) fn verify(data_dir: &Path, form: Form) -> anyhow::Result<ExitCode> {
    let checks = verify::run(data_dir)?;
    let is_ok = checks.iter().all(|check| check.outcome.is_ok());
    let rows = checks.iter().map(|check| match &check.outcome {
        Ok(Found::Right(found)) => json!({ "name": check.name, "ok": true, "found": found }),
        Ok(Found::Skipped(why)) => json!({ "name": check.name, "ok": true, "skipped": true, "found": why }),
        Err(wrong) => json!({ "name": check.name, "ok": false, "found": wrong }),
    });
    let object = json!({ "ok": is_ok, "checks": rows.collect::<Vec<_>>() });
    form.print(&object, || {
        let lines = checks.iter().map(|check| match &check.outcome {
            Ok(Found::Right(found)) => format!("ok      {:<28} {found}", check.name),
            Ok(Found::Skipped(why)) => format!("skipped {:<28} {why}", check.name),
            Err(wrong) => format!("FAILED  {:<28} {wrong}", check.name),
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn recover(data_dir: &Path, accept_loss_after: Option<u64>) -> anyhow::Result<ExitCode> {
    say(recover::run(data_dir, accept_loss_after)?.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn copy(done: &str, from: &Path, to: &Path, form: Form) -> anyhow::Result<ExitCode> {
    let held = backup::copy(from, to)?;
    let (segments, entries, head) = (held.segments, held.entries, held.head.lsn);
    let (from, to) = (from.display().to_string(), to.display().to_string());
    let object = json!({
        "ok": true, "from": &from, "to": &to, "segments": segments, "entries": entries, "head_lsn": head.0,
    });
    form.print(&object, || {
        format!("{done} {from} to {to}: {segments} segments, {entries} entries, head lsn {head}; verified")
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn migrate(data_dir: &Path, drop_old: bool, accepted: Option<u64>, form: Form) -> anyhow::Result<ExitCode> {
    let Migrated { walked, kept, torn_bytes } =
        if drop_old { migrate::drop_old(data_dir)? } else { migrate::migrate(data_dir, accepted.map(Lsn))? };
    let (segments, entries, head) = (walked.segments, walked.entries, walked.head.lsn);
    let (data, kept) = (data_dir.display().to_string(), kept.display().to_string());
    let object = json!({
        "ok": true, "data_dir": &data, "old": &kept, "dropped": drop_old, "torn_bytes": torn_bytes, "segments": segments, "entries": entries,
        "head_lsn": head.0,
    });
    form.print(&object, || match drop_old {
        true => format!("deleted {kept}: all its {entries} entries are in {data}, up to lsn {head}"),
        false => {
            let torn = match torn_bytes {
                0 => String::new(),
                n => format!(" {n} bytes of a block that was not finished are left in the old directory."),
            };
            format!(
                "migrated {data}: {segments} segments, {entries} entries, head lsn {head}; every entry is the same.{torn} The \
                 old directory is {kept}; once you need it no more: arus migrate --drop-old --data-dir {data}"
            )
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn ready(rest: &HostPort, form: Form) -> anyhow::Result<ExitCode> {
    ready::ask(rest)?;
    form.print(&json!({ "ok": true, "rest": rest.to_string() }), || "ready".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn inspect(data_dir: &Path, what: &str, form: Form) -> anyhow::Result<ExitCode> {
    let found = inspect::run(data_dir, what)?;
    form.print(&Record::default().with("ok", true).with("entry", found.clone()), || found.text())?;
    Ok(ExitCode::SUCCESS)
}
