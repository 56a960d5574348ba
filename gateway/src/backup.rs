//! `arus backup` and `arus restore`: a verified copy of a data directory, also while a server writes to it.
//!
//! The journal is the truth and only grows, so its bytes up to a point are a consistent state. That point is where a walk
//! over the whole journal ends; afterwards the copy is walked the same way and must end the same. The index is left out:
//! the next start builds it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use arus_engine::{
    index::{
        Watermark,
        reach::{Reach, ReachFile},
    },
    journal::{
        Hash,
        audit::{self, Walked},
        disk::{Access, RealDisk},
    },
    keys::Fingerprint,
    money::Lsn,
    runtime::data_dir::{DataDir, INDEXED},
};

/// Copies a data directory to a place where there is none yet. Gives back what the copy holds.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<Walked> {
    // A fresh ext4 volume has lost+found.
    let is_free = |entry: io::Result<fs::DirEntry>| entry.is_ok_and(|entry| entry.file_name() == "lost+found");
    let is_free = fs::read_dir(to).map_or(true, |mut entries| entries.all(is_free));
    ensure!(is_free, "{} is not empty; name a directory that is empty or not there", to.display());
    let (inside, around) = (resolved(to)?, resolved(from)?);
    ensure!(
        !inside.starts_with(&around) && !around.starts_with(&inside),
        "{} and {} lie within each other; name a directory outside",
        to.display(),
        from.display()
    );
    let (source, _beside) = DataDir::open_read_only(from)?;
    let fingerprint = source.hasher().fingerprint();
    // Before the walk: what a server indexes meanwhile is not expected of it.
    let reach = ReachFile::new(source.indexed(), fingerprint).read()?;
    ensure!(
        reach.is_some(),
        "{} has no {INDEXED} file, which says how far its journal must reach; arus verify says more",
        from.display()
    );
    let found =
        walk(&source.journal(), fingerprint, reach).with_context(|| format!("{} cannot be copied", from.display()))?;
    let copied = copy_files(from, to, &source, &found).inspect_err(|_| {
        // What is not whole must not stand in the way of the next try.
        let _ = fs::remove_dir_all(to.join("journal"));
    });
    let copied = copied
        .and_then(|journal| walk(&journal, fingerprint, reach))
        .with_context(|| format!("{} is not usable", to.display()))?;
    ensure!(
        copied == found,
        "the copy in {} ends at lsn {}, the original at {}",
        to.display(),
        copied.0.head.lsn,
        found.0.head.lsn
    );
    Ok(copied.0)
}

/// Where a path leads, also if its last parts are not there yet.
fn resolved(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    for there in path.ancestors() {
        if let (Ok(found), Ok(rest)) = (there.canonicalize(), path.strip_prefix(there)) {
            return Ok(found.join(rest));
        }
    }
    Ok(path)
}

/// Walks a journal, which must hold all that `reach` says was durable. Gives back the hash of its last block of entries too.
fn walk(journal: &Path, fingerprint: Fingerprint, reach: Option<Reach>) -> anyhow::Result<(Walked, Hash)> {
    let (mut last, mut reached) = ([0; 32], reach.is_none_or(|reach| reach.upto.lsn == Lsn(0)));
    let walked = audit::walk(&RealDisk::open(journal, Access::ReadOnly)?, fingerprint, |head, block| {
        last = head.hash;
        let is_reached = |reach: Reach| reach.upto.lsn == block.last_lsn() && reach.upto.block_hash == head.hash;
        reached |= reach.is_some_and(is_reached);
        Ok(())
    })?;
    ensure!(
        reached,
        "the journal ends at lsn {} and does not hold the block of lsn {}, which was durable: acknowledged entries are lost \
         (`arus verify` says more; `arus recover` is the way to go on without them)",
        walked.head.lsn,
        reach.map_or(Lsn(0), |reach| reach.upto.lsn)
    );
    Ok((walked, last))
}

/// Copies the secret that keys are hashed with, and the segments up to where the walk ended; notes where that is.
fn copy_files(
    from: &Path,
    to: &Path,
    source: &DataDir,
    (found, block_hash): &(Walked, Hash),
) -> anyhow::Result<PathBuf> {
    let journal = to.join("journal");
    // Payments are nobody else's business on this machine.
    DirBuilder::new().recursive(true).mode(0o700).create(&journal)?;
    let mut names: Vec<_> =
        fs::read_dir(source.journal())?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.retain(|name| Path::new(name).extension().is_some_and(|kind| kind == "seg"));
    names.sort_unstable();
    // What a server has begun since the walk is not part of it.
    names.truncate(found.segments);
    for (n, name) in (1..).zip(&names) {
        let original = File::open(source.journal().join(name))?;
        let length = original.metadata()?.len();
        let bytes = if n == found.segments { found.end } else { length };
        let mut copy = private().create_new(true).open(journal.join(name))?;
        io::copy(&mut original.take(bytes), &mut copy)?;
        // Room for blocks, as in the original; it reads as zeros.
        copy.set_len(length)?;
        copy.sync_all()?;
    }
    // Whoever starts on the copy, or copies it, finds out when something of it is lost.
    let upto = Watermark { lsn: found.head.lsn, block_hash: *block_hash };
    let reach = ReachFile::new(to.join(INDEXED), source.hasher().fingerprint());
    reach.write(&Reach { upto, run: Lsn(0) })?;
    // Last: without it this is no data directory.
    let mut format = private().create(true).truncate(true).open(to.join("FORMAT"))?;
    io::copy(&mut File::open(from.join("FORMAT"))?, &mut format)?;
    format.sync_all()?;
    private().create(true).truncate(false).open(to.join("LOCK"))?.sync_all()?;
    for folder in [&journal, to] {
        File::open(folder)?.sync_all()?;
    }
    Ok(journal)
}

/// For the owner's eyes only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}
