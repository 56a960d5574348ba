//! What every mutating method does once its command is well-formed.

use arus_engine::{Command, Engine, Reply, trace::Trace};
use tonic::{Status, metadata::MetadataMap};

use crate::{observe::deadline, status::status};

/// Submits a command with the caller's deadline, at which [`rpc`](crate::observe::rpc) gives up waiting for it.
pub(super) async fn decide(engine: &Engine, mut command: Command, metadata: &MetadataMap) -> Result<Reply, Status> {
    command.timeout = Some(deadline(engine, metadata));
    command.trace = Trace::current();
    engine.submit(command).await.map_err(|refusal| status(&refusal))
}
