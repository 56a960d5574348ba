//! An index built anew from the journal while it is walked: each tx_id must be new, and each table is then compared
//! with the one on disk.

use std::sync::Arc;

use arus_engine::{
    config::EngineConfig,
    index::{
        Index,
        builder::{Builder, Built},
        fjall::FjallIndex,
    },
    journal::{Block, tail::Tail},
    keys::KeyHasher,
    money::Lsn,
    runtime::data_dir::DataDir,
};

use crate::index_copy::IndexCopy;

/// How much of the journal waits in memory to be indexed, in bytes.
const TAIL_BYTES_MAX: usize = 32 << 20;

/// See the module.
pub(crate) struct Rebuilt {
    hasher: KeyHasher,
    index: Arc<FjallIndex>,
    tail: Arc<Tail>,
    builder: Builder,
    /// Why it cannot be built: no room for it, say. That is nothing against the journal.
    failed: Option<String>,
    _folder: tempfile::TempDir,
}

impl Rebuilt {
    /// Nothing yet.
    pub(crate) fn new(dir: &DataDir) -> anyhow::Result<Self> {
        let (index, folder) = IndexCopy::empty(dir)?.into_parts();
        let index = Arc::new(index);
        let tail = Arc::new(Tail::new(dir.hasher(), Lsn(0)));
        let built: Arc<dyn Index> = Arc::clone(&index) as Arc<dyn Index>;
        let builder = Builder::new(Arc::clone(&tail), built, &EngineConfig::default());
        Ok(Self { hasher: dir.hasher(), index, tail, builder, failed: None, _folder: folder })
    }

    /// Takes a block in; an entry under a key that was there before is an error.
    pub(crate) fn take(&mut self, block: &Arc<Block>) -> Result<(), String> {
        if self.failed.is_some() {
            return Ok(());
        }
        let mut keys = std::collections::HashMap::new();
        for (lsn, entry) in block.placed() {
            let key = self.hasher.key(entry.tenant, &entry.tx_id);
            let before = keys.insert(key, lsn).or_else(|| self.tail.by_key(key).map(|committed| committed.lsn));
            let before = match before {
                None if self.index.may_have_key(key) => match self.index.key(entry.tenant, key) {
                    Ok(before) => before,
                    Err(error) => {
                        self.failed = Some(error.to_string());
                        return Ok(());
                    }
                },
                before => before,
            };
            if let Some(before) = before {
                return Err(format!(
                    "tx_id {} of lsn {lsn} is that of lsn {before}: it was decided twice",
                    entry.tx_id
                ));
            }
        }
        self.tail.publish_recovered(block);
        if self.tail.bytes() > TAIL_BYTES_MAX {
            self.failed = self.build().err();
        }
        Ok(())
    }

    /// Whether every key was looked at.
    pub(crate) fn outcome(&self) -> Result<(), String> {
        let why = |failed: &String| format!("not checked: the index to compare with cannot be built: {failed}");
        self.failed.as_ref().map_or(Ok(()), |failed| Err(why(failed)))
    }

    /// The index up to the last block.
    pub(crate) fn index(&mut self) -> Result<&FjallIndex, String> {
        self.outcome()?;
        self.build()?;
        Ok(&self.index)
    }

    fn build(&mut self) -> Result<(), String> {
        while self.builder.step().map_err(|error| error.to_string())? != Built::Idle {}
        Ok(())
    }
}
