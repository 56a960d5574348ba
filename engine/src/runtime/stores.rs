//! Opens a data directory: its journal and its index, in the order that proves the most (P4, P5).
//!
//! First the journal's files are locked and checked. Then whatever says how far they must reach is read: the INDEXED
//! file and the index. Only a journal that reaches as far is opened. An index that is not what the journal made is set
//! aside, never deleted, and built anew.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    data_dir::{DataDir, aside_name},
    recovery::{StartError, misfit},
};
use crate::{
    config::EngineConfig,
    damage::Damage,
    index::{
        Index, Watermark,
        fjall::{FjallIndex, Located},
        reach::{Reach, ReachFile},
        unusable::Unusable,
    },
    journal::{
        JournalError, audit,
        disk::{Access, RealDisk},
        recovery::{self as journal_recovery, Opened},
    },
    money::Lsn,
};

/// An opened data directory.
pub(super) struct Stores {
    pub(super) data_dir: DataDir,
    pub(super) journal: Opened,
    pub(super) index: Arc<dyn Index>,
    /// Why the index is built anew, if it is.
    pub(super) rebuilt: Option<String>,
    pub(super) damage: Arc<Damage>,
    /// The note of an earlier server, whose damage is healed or was not in the journal.
    pub(super) note: Option<PathBuf>,
}

/// An index as it was found.
enum FoundIndex {
    Usable(Box<FjallIndex>),
    /// There is none.
    Absent,
    Damaged(String),
}

impl Stores {
    /// See the module.
    pub(super) fn open(path: &Path, config: &EngineConfig) -> Result<Self, StartError> {
        let data_dir = DataDir::open(path, config.segment_bytes)?;
        let damage = Arc::new(Damage::noted_in(data_dir.damaged()));
        let fingerprint = data_dir.hasher().fingerprint();
        let journal = data_dir.journal();
        let note = walk_if_damaged(&data_dir)?;
        let disk = RealDisk::open(&journal, Access::Write).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::NoSegment.into(),
            _ => refused(&journal, &error),
        })?;
        let found = journal_recovery::find(Arc::new(disk), fingerprint)?;
        let at = Located {
            folder: data_dir.index(),
            reach: ReachFile::new(data_dir.indexed(), fingerprint),
            fingerprint,
            cache_bytes: config.index_cache_bytes,
            damage: Arc::clone(&damage),
        };
        let reach = at.reach.read_if_sound()?;
        // Before the index is opened: its store tidies up as it opens.
        found.check_reaches(reach.map_or(Lsn(0), |reach| reach.upto.lsn))?;
        let (index, indexed) = find_index(&at, reach)?;
        if reach.is_none() && indexed == Lsn(0) {
            let path = at.reach.path().display().to_string();
            return Err(StartError::Unproven { path, ends: found.head().lsn });
        }
        let head = found.head().lsn;
        let journal = found.open(config.segment_bytes, indexed)?;
        let misfit = |watermark: Option<Watermark>| {
            watermark.map_or(Ok(None), |watermark| misfit(watermark, &journal.segments.reader()))
        };
        let (index, rebuilt) = match index {
            FoundIndex::Usable(index) => match misfit(index.watermark())? {
                None => (Some(*index), None),
                Some(why) => (None, Some(why)),
            },
            FoundIndex::Absent => (None, (head > Lsn(0)).then(|| "there was no index".to_owned())),
            FoundIndex::Damaged(why) => (None, Some(why)),
        };
        let index = match index {
            Some(index) => index,
            None => {
                set_aside(&at.folder)?;
                // What it says of the furthest entry counts no more once the journal has another there.
                let reach = reach.filter(|reach| misfit(Some(reach.upto)).is_ok_and(|misfit| misfit.is_none()));
                FjallIndex::create(at, reach)?
            }
        };
        Ok(Self { data_dir, journal, index: Arc::new(index), rebuilt, damage, note })
    }
}

/// The index, and the furthest entry it shows.
fn find_index(at: &Located, reach: Option<Reach>) -> Result<(FoundIndex, Lsn), StartError> {
    if is_absent(&at.folder)? {
        return Ok((FoundIndex::Absent, Lsn(0)));
    }
    match FjallIndex::open(at.clone(), reach) {
        Ok(index) => {
            let reaches = index.watermark().map_or(Lsn(0), |watermark| watermark.lsn);
            Ok((FoundIndex::Usable(Box::new(index)), reaches))
        }
        Err(Unusable::Damaged { why, reaches }) => Ok((FoundIndex::Damaged(why), reaches)),
        Err(error @ (Unusable::Unreadable(_) | Unusable::Foreign { .. })) => Err(error.into()),
    }
}

/// A server met damage here: all of the journal must be what it was before anything is served again. Damage of the index
/// heals by itself, as its own note has it built anew. Gives the note.
fn walk_if_damaged(data_dir: &DataDir) -> Result<Option<PathBuf>, StartError> {
    let note = data_dir.damaged();
    let met = match std::fs::read(&note) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(&note, &error)),
        Ok(met) => String::from_utf8_lossy(&met).into_owned(),
    };
    tracing::warn!(met, "a server met damage; the whole journal is checked before anything is served");
    let journal = data_dir.journal();
    let disk = RealDisk::open(&journal, Access::ReadOnly).map_err(|error| refused(&journal, &error))?;
    let walked = audit::walk(&disk, data_dir.hasher().fingerprint(), |_, _| Ok(()))?;
    let torn = audit::torn_bytes(&disk, &walked)?;
    if torn > 0 {
        // It may be what was damaged: a block that was acknowledged.
        return Err(StartError::Unproven { path: note.display().to_string(), ends: walked.head.lsn });
    }
    tracing::warn!(entries = walked.entries, "the journal is whole");
    Ok(Some(note))
}

/// The note has done its service: the server it led to runs.
pub(super) fn set_note_aside(note: &Path) {
    let renamed = aside_name(note, "set-aside").and_then(|aside| std::fs::rename(note, aside));
    if let Err(error) = renamed {
        tracing::warn!(%error, "the note of damage stays; the next start checks everything again");
    }
}

fn is_absent(folder: &Path) -> Result<bool, StartError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(refused(folder, &error)),
    }
}

/// Renames what is in the index's place: it may still tell something, and is not ours to delete.
fn set_aside(folder: &Path) -> Result<(), StartError> {
    if is_absent(folder)? {
        return Ok(());
    }
    let aside = aside_name(folder, "set-aside").map_err(|error| refused(folder, &error))?;
    std::fs::rename(folder, &aside).map_err(|error| refused(folder, &error))?;
    tracing::warn!(aside = %aside.display(), "the old index is kept there; delete it when nobody needs it");
    Ok(())
}

fn refused(path: &Path, error: &io::Error) -> StartError {
    StartError::DataDir { path: path.display().to_string(), why: error.to_string() }
}
