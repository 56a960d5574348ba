//! `arus verify`: walks the whole journal and holds everything against it. Read-only; beside a running server it
//! checks the synced prefix. What was not checked is said.

use std::path::Path;

use arus_engine::{
    index::{
        Index,
        reach::{Reach, ReachFile},
        store::Table,
    },
    journal::{
        Hash,
        audit::{self, Walked},
        disk::{Access, RealDisk},
    },
    money::Lsn,
    runtime::data_dir::{Beside, DataDir},
};

use crate::{books::Books, holds::Holds, index_copy::IndexCopy, rebuilt::Rebuilt};

/// One check with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// What was found; `Err` where it is wrong.
    pub outcome: Result<Found, String>,
}

/// A check that found nothing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// What was checked, and is right.
    Right(String),
    /// It could not be checked, and why.
    Skipped(String),
}

impl Check {
    fn new(name: &'static str, outcome: Result<String, String>) -> Self {
        Self { name, outcome: outcome.map(Found::Right) }
    }

    fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, outcome: Ok(Found::Skipped(why.into())) }
    }
}

/// All checks, in the order they were made; a broken journal ends them.
pub fn run(data_dir: &Path) -> anyhow::Result<Vec<Check>> {
    let (dir, beside) = DataDir::open_read_only(data_dir)?;
    let fingerprint = dir.hasher().fingerprint();
    let reach = ReachFile::new(dir.indexed(), fingerprint).read().map_err(|error| error.to_string());
    let index = match beside {
        Beside::Server => Given::NotCompared("a running server holds the index (stop it to compare)"),
        Beside::NoServer if !dir.index().exists() => Given::NotCompared("there is no index; the next start builds it"),
        Beside::NoServer => match IndexCopy::open(&dir) {
            Ok(copy) => Given::Copy(Box::new(copy)),
            Err(error) => Given::Unusable(format!("{error:#}; the next start builds it anew or says what to do")),
        },
    };
    let disk = RealDisk::open(&dir.journal(), Access::ReadOnly)?;
    let (mut books, mut holds, mut rebuilt) = (Books::default(), Holds::default(), Rebuilt::new(&dir)?);
    let mut tables = Tables { given: &index, found: Table::ALL.map(|_| None) };
    let mut at_reach = None;
    let upto = reach.as_ref().ok().copied().flatten().map(|reach| reach.upto);
    let walked = audit::walk(&disk, fingerprint, |head, block| {
        if upto.is_some_and(|upto| upto.lsn == block.last_lsn()) {
            at_reach = Some(head.hash);
        }
        books.take(block)?;
        holds.take(block)?;
        rebuilt.take(block)?;
        tables.compare(block.last_lsn(), &mut rebuilt);
        Ok(())
    });
    let mut checks = vec![
        Check::new("FORMAT", Ok(format!("its check is right; fingerprint {fingerprint}"))),
        Check::new("journal chain", walked.as_ref().map(chain).map_err(ToString::to_string)),
    ];
    let Ok(walked) = walked else { return Ok(checks) };
    let reached = upto.map_or(Lsn(0), |upto| upto.lsn);
    checks.extend([
        behind_the_end(beside, &disk, &walked),
        Check::new("how far it must reach", reach.and_then(|reach| reaches(&walked, reach, at_reach, &index))),
        Check::new("zero sums", books.zero_sums()),
        Check::new("no overdrawn account", books.overdrawn()),
        Check::new("what is set aside", holds.outcome(&books.accounts)),
        Check::new("each tx_id once", rebuilt.outcome().map(|()| format!("{} of them", walked.entries))),
    ]);
    checks.extend(tables.checks(reached));
    checks.extend(met_damage(&dir));
    checks.extend(set_aside(data_dir)?);
    Ok(checks)
}

fn chain(walked: &Walked) -> String {
    let hash: String = walked.head.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let Walked { segments, blocks, entries, head, .. } = walked;
    format!(
        "{segments} segments (all as long as they were made), {blocks} blocks, {entries} entries, head lsn {} hash \
         {hash}...",
        head.lsn
    )
}

/// What a server noted of damage: all of the journal was just walked, and the next start walks it too.
fn met_damage(dir: &DataDir) -> Option<Check> {
    let met = match std::fs::read(dir.damaged()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => Err(format!("the DAMAGED note cannot be read: {error}; no server starts on it")),
        Ok(met) => Ok(Found::Skipped(format!(
            "a server noted: {}; the next start walks the journal and sets the note aside",
            String::from_utf8_lossy(&met).trim_end()
        ))),
    };
    Some(Check { name: "damage that was met", outcome: met })
}

/// What stands behind the last whole block.
fn behind_the_end(beside: Beside, disk: &RealDisk, walked: &Walked) -> Check {
    const NAME: &str = "behind the journal's end";
    if beside == Beside::Server {
        return Check::skipped(NAME, "a running server may be writing there");
    }
    let found = audit::torn_bytes(disk, walked).map_err(|error| error.to_string());
    Check::new(
        NAME,
        found.map(|bytes| match bytes {
            0 => "nothing".to_owned(),
            n => format!("{n} bytes of a block that was never finished; the next start keeps them in a file beside it"),
        }),
    )
}

/// The journal must hold all that the index ever did.
fn reaches(walked: &Walked, reach: Option<Reach>, at_reach: Option<Hash>, index: &Given) -> Result<String, String> {
    let indexed = match index {
        Given::Copy(copy) => copy.index.watermark().map_or(Lsn(0), |watermark| watermark.lsn),
        Given::NotCompared(_) | Given::Unusable(_) => Lsn(0),
    };
    let proven = reach.map_or(Lsn(0), |reach| reach.upto.lsn).max(indexed);
    match (proven > walked.head.lsn, reach) {
        (true, _) => Err(format!(
            "the journal ends at lsn {}, but the index reached lsn {proven}: acknowledged entries are lost",
            walked.head.lsn
        )),
        (false, Some(reach)) if reach.upto.lsn > Lsn(0) && at_reach != Some(reach.upto.block_hash) => Err(format!(
            "the journal has another block at lsn {} than the index reached: it is another journal, or entries are lost",
            reach.upto.lsn
        )),
        (false, Some(_)) => Ok(format!("lsn {proven}, and it does")),
        (false, None) => Err(format!("there is no INDEXED file; lsn {proven} by the index alone")),
    }
}

/// The index to be checked.
enum Given {
    Copy(Box<IndexCopy>),
    NotCompared(&'static str),
    Unusable(String),
}

/// Each table against the one just built, once the walk is where the table is.
struct Tables<'a> {
    given: &'a Given,
    found: [Option<Result<String, String>>; 7],
}

impl Tables<'_> {
    /// Compares what stands at `walked`: all tables at the watermark, or, where a crash interrupted a run, at its end.
    fn compare(&mut self, walked: Lsn, rebuilt: &mut Rebuilt) {
        let Given::Copy(copy) = self.given else { return };
        let watermark = copy.index.watermark().map_or(Lsn(0), |watermark| watermark.lsn);
        for (table, found) in Table::ALL.into_iter().zip(&mut self.found) {
            // A mark is that of the last run with rows for the table: behind the watermark, or ahead of it.
            if walked == watermark.max(copy.index.mark(table).lsn) {
                let compare = |expected| copy.index.compare(expected, table).map_err(|error| error.to_string());
                let compared = rebuilt.index().and_then(compare);
                *found =
                    Some(compared.and_then(|lines| lines).map(|lines| format!("{lines} lines, as at lsn {walked}")));
            }
        }
    }

    fn checks(self, reached: Lsn) -> Vec<Check> {
        const NAMES: [&str; 7] = [
            "index: keys",
            "index: objects",
            "index: owners",
            "index: history",
            "index: accounts",
            "index: timers",
            "index: rates",
        ];
        let check = |(name, found)| {
            let outcome = match (self.given, found) {
                (Given::NotCompared(why), _) => return Check::skipped(name, *why),
                (Given::Unusable(why), _) => Err(why.clone()),
                (Given::Copy(_), Some(found)) => found,
                (Given::Copy(copy), None) if copy.index.watermark().is_none() => match reached {
                    Lsn(0) => Ok("empty".to_owned()),
                    lsn => {
                        let why = format!("it is empty, but once reached lsn {lsn}; the next start builds it again");
                        return Check::skipped(name, why);
                    }
                },
                (Given::Copy(_), None) => Err("not compared: the journal has no block that ends where it does".into()),
            };
            Check::new(name, outcome)
        };
        NAMES.into_iter().zip(self.found).map(check).collect()
    }
}

/// What a start kept: nobody reads it, but it may prove something.
fn set_aside(data_dir: &Path) -> anyhow::Result<Vec<Check>> {
    let mut kept = Vec::new();
    for folder in [data_dir.to_owned(), data_dir.join("journal")] {
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if [".set-aside-", ".torn-at-", ".lost-after-"].iter().any(|kind| name.contains(kind)) {
                kept.push(name);
            }
        }
    }
    kept.sort_unstable();
    Ok(kept
        .into_iter()
        .map(|name| Check::skipped("set aside", format!("{name}: kept by a start, read by nobody")))
        .collect())
}
