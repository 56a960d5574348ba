//! `arus migrate`: a data directory of an earlier format becomes one of this build's, and is kept.
//!
//! The new one is made beside the old (`DIR.migrating`), compared entry by entry, and only then are names changed: the
//! old is `DIR.before-migration` from then on. Whatever stops it on the way, a second call goes on.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    data_dir::{DataDir, INDEXED, make_folder},
    format::{FILE, Format, FormatOf, UNFINISHED_FILE},
    places::Places,
    recovery::StartError,
};
use crate::{
    index::{
        Watermark,
        reach::{Reach, ReachFile},
    },
    journal::{
        audit::{self, Walked},
        disk::{Access, Disk, RealDisk},
        migration::{OldJournal, origin},
        recovery::open_read_only,
        segment_head::Made,
    },
    keys::KeyHasher,
    money::Lsn,
};

/// What was migrated.
#[derive(Debug)]
pub struct Migrated {
    /// What the old journal held, and the new one holds.
    pub walked: Walked,
    /// Where the old data directory is now.
    pub kept: PathBuf,
    /// How many bytes stand behind the old journal's end: a block that was not finished. They stay where they are.
    pub torn_bytes: usize,
}

/// See the module. `accepted` is where the old journal may end though nothing proves that this is its end.
pub fn migrate(path: &Path, accepted: Option<Lsn>) -> Result<Migrated, StartError> {
    let at = Places::of(path).map_err(|error| refused(path, error))?;
    if let Some(lost) = at.lost() {
        return Err(refused(path, lost));
    }
    // An empty folder, such as the point of a mount, has nobody's data.
    if at.new.join(FILE).exists() && at.kept.exists() {
        let _ = std::fs::remove_dir(&at.data);
    }
    if !at.data.exists() && at.new.join(FILE).exists() && at.kept.exists() {
        // Stopped between the two renames.
        let old = Old::open(&at.kept)?;
        let walked = old.compare(&at.new)?;
        let torn = old.journal()?.torn_bytes(&walked)?;
        return finish(at, walked, torn);
    }
    let old = Old::open(&at.data)?;
    if at.kept.exists() {
        let why = format!("an earlier migration's old data is there: {}; move it away first", at.kept.display());
        return Err(refused(path, why));
    }
    check_can_be_renamed(&at)?;
    let walked = old.check(accepted)?;
    old.make_way(&at.new, &walked)?;
    make_folder(&at.new).map_err(|error| refused(&at.new, error))?;
    let _new_is_ours = DataDir::lock(&at.new)?;
    old.write_to(&at.new, &walked)?;
    let walked = old.compare(&at.new)?;
    let fingerprint = old.hasher.fingerprint();
    let (_, head) = open_read_only(&journal_of(&at.new)?, fingerprint)?;
    // Whatever of it is lost from here on is found out.
    let upto = Watermark { lsn: head.lsn, block_hash: head.hash };
    let written = ReachFile::new(at.new.join(INDEXED), fingerprint).write(&Reach { upto, run: Lsn(0) });
    let format = Format { hasher: old.hasher, slots_from: Lsn(head.lsn.0 + 1) };
    let finished = written.and_then(|()| format.write_unfinished(&at.new)).and_then(|()| Format::finish(&at.new));
    finished.map_err(|error| refused(&at.new, error))?;
    let torn = old.journal()?.torn_bytes(&walked)?;
    std::fs::rename(&at.data, &at.kept).map_err(|error| refused(&at.data, error))?;
    finish(at, walked, torn)
}

/// Deletes the data directory that a migration kept, once all of it is in the new one: entries, and the secret.
pub fn drop_old(path: &Path) -> Result<Migrated, StartError> {
    let at = Places::of(path).map_err(|error| refused(path, error))?;
    if !at.dropped.exists() && !at.kept.exists() {
        return Err(refused(path, format!("there is no {}: nothing was kept", at.kept.display())));
    }
    if at.kept.exists() && at.dropped.exists() {
        let (kept, dropped) = (at.kept.display(), at.dropped.display());
        let why =
            format!("{dropped} is what an earlier call began to delete; delete it by hand, then {kept} is dropped");
        return Err(refused(path, why));
    }
    let (new, _) = DataDir::open_read_only(&at.data)?;
    if ReachFile::new(new.indexed(), new.hasher().fingerprint()).read()?.is_none() {
        return Err(refused(&at.data, "has no INDEXED file; its next start says what to do"));
    }
    let check_keys = |old: &KeyHasher, whose: &Path| {
        let same = new.hasher().0 == old.0;
        let why = || format!("its keys are not hashed as those of {}", whose.display());
        if same { Ok(()) } else { Err(refused(&at.data, why())) }
    };
    if at.dropped.exists() {
        // Half of it may be gone, but not so that it is another's.
        if let Ok(text) = std::fs::read_to_string(at.dropped.join(FILE))
            && let Ok(FormatOf::Before(old)) = FormatOf::parse(&text)
        {
            check_keys(&old, &at.dropped)?;
        }
    } else {
        let old = Old::open(&at.kept)?;
        check_keys(&old.hasher, &at.kept)?;
        old.compare(&at.data)?;
        // A deletion that is stopped half-way leaves nothing that looks like data.
        std::fs::rename(&at.kept, &at.dropped).map_err(|error| refused(&at.kept, error))?;
    }
    let walked = audit::walk(&journal_of(&at.data)?, new.hasher().fingerprint(), |_, _| Ok(()))?;
    std::fs::remove_dir_all(&at.dropped).map_err(|error| refused(&at.dropped, error))?;
    Ok(Migrated { walked, kept: at.kept, torn_bytes: 0 })
}

/// Before any work: what is mounted cannot change its name.
fn check_can_be_renamed(at: &Places) -> Result<(), StartError> {
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).map_err(|error| refused(path, error));
    if device(&at.data)? == device(at.data.parent().unwrap_or(Path::new("/")))? {
        return Ok(());
    }
    let why = "is a mount point, and names have to be changed; copy its files into a folder of a disk with room (cp -a), \
               migrate that, and copy what it becomes back into the emptied volume";
    Err(refused(&at.data, why))
}

/// Gives the new data directory its name.
fn finish(at: Places, walked: Walked, torn_bytes: usize) -> Result<Migrated, StartError> {
    std::fs::rename(&at.new, &at.data).map_err(|error| refused(&at.new, error))?;
    let parent = at.data.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|error| refused(parent, error))?;
    Ok(Migrated { walked, kept: at.kept, torn_bytes })
}

/// A data directory of before.
struct Old {
    path: PathBuf,
    hasher: KeyHasher,
    disk: RealDisk,
    _lock: File,
}

impl Old {
    fn open(path: &Path) -> Result<Self, StartError> {
        let text = std::fs::read_to_string(path.join(FILE));
        let text = text.map_err(|error| refused(path, format!("has no readable FORMAT file: {error}")))?;
        let hasher = match FormatOf::parse(&text).map_err(|why| refused(path, why))? {
            FormatOf::Before(hasher) => hasher,
            FormatOf::Now(_) => return Err(refused(path, "has this build's format already; nothing is to be done")),
        };
        let lock = DataDir::lock(path)?;
        let disk = RealDisk::open(&path.join("journal"), Access::ReadOnly).map_err(|error| refused(path, error))?;
        Ok(Self { path: path.to_owned(), hasher, disk, _lock: lock })
    }

    fn journal(&self) -> Result<OldJournal<'_>, StartError> {
        Ok(OldJournal::open(&self.disk, self.hasher.fingerprint())?)
    }

    /// All of it, which must reach as far as its index ever did.
    fn check(&self, accepted: Option<Lsn>) -> Result<Walked, StartError> {
        let walked = self.journal()?.walk()?;
        let ends = walked.head.lsn;
        let reach = ReachFile::new(self.path.join(INDEXED), self.hasher.fingerprint()).read()?;
        if reach.is_none() && self.path.join("index").exists() {
            let why = "has an index and no INDEXED file, which says how far the journal must reach; start it once with the \
                       build that wrote it, which makes one, and stop it again";
            return Err(refused(&self.path, why));
        }
        let torn_bytes = self.journal()?.torn_bytes(&walked)?;
        let doubt = match &reach {
            None => {
                Some("has neither an INDEXED file nor an index, so that nothing says how far its journal must reach")
            }
            Some(_) if torn_bytes > 0 && self.path.join("DAMAGED").exists() => {
                Some("has a DAMAGED file, and something stands behind the end of its journal that cannot be read")
            }
            Some(_) => None,
        };
        if let Some(doubt) = doubt.filter(|_| accepted != Some(ends)) {
            let why = format!(
                "{doubt}: it ends at lsn {ends}. Restore it from where it is whole. Only to go on with what is there: arus \
                 migrate --accept-loss-after {ends}"
            );
            return Err(refused(&self.path, why));
        }
        match reach.map(|reach| reach.upto.lsn).filter(|proven| *proven > ends) {
            Some(proven) => {
                let why = format!(
                    "its journal ends at lsn {ends}, but entries up to lsn {proven} were acknowledged; restore its files, \
                     or accept the loss with the build that wrote it (arus recover of that build) before you migrate"
                );
                Err(refused(&self.path, why))
            }
            None => Ok(walked),
        }
    }

    /// What was made of another state of the old journal is made again: it never served anybody. What a migration does
    /// not make is somebody else's.
    fn make_way(&self, new: &Path, walked: &Walked) -> Result<(), StartError> {
        const MADE: [&str; 6] = [FILE, UNFINISHED_FILE, INDEXED, "INDEXED.tmp", "LOCK", "journal"];
        for file in std::fs::read_dir(new).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if !MADE.contains(&name.as_str()) {
                return Err(refused(new, format!("{name} is there, which no migration makes; move it away first")));
            }
        }
        let is_begun = new.join("journal").exists();
        if is_begun && origin(&journal_of(new)?)?.is_some_and(|origin| origin != walked.head.hash) {
            std::fs::remove_dir_all(new).map_err(|error| refused(new, error))?;
        }
        Ok(())
    }

    fn write_to(&self, new: &Path, walked: &Walked) -> Result<(), StartError> {
        let (journal, fingerprint) = (self.journal()?, self.hasher.fingerprint());
        make_folder(&new.join("journal")).map_err(|error| refused(new, error))?;
        let disk = RealDisk::open(&new.join("journal"), Access::Write).map_err(|error| refused(new, error))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let made = Made { fingerprint, segment_bytes: journal.segment_bytes };
        let written = journal.write_to(&disk, made, &walked.head);
        written.map_err(|error| refused(new, format!("{error}; a second call goes on from there")))
    }

    fn compare(&self, new: &Path) -> Result<Walked, StartError> {
        let (reader, _) = open_read_only(&journal_of(new)?, self.hasher.fingerprint())?;
        Ok(self.journal()?.compare(&reader)?)
    }
}

fn journal_of(data_dir: &Path) -> Result<RealDisk, StartError> {
    RealDisk::open(&data_dir.join("journal"), Access::ReadOnly).map_err(|error| refused(data_dir, error))
}

fn refused(path: &Path, why: impl ToString) -> StartError {
    StartError::DataDir { path: path.display().to_string(), why: why.to_string() }
}
