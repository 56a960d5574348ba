//! Bodies on their way in: what does not come in one piece takes room that all callers share, until it is read.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;

use crate::status::crowded;

/// How long a body may take to arrive.
pub(crate) const BODY_MAX: Duration = Duration::from_secs(10);
/// How many bytes of bodies are held at once, by all connections together. A batch is some times as large once it is
/// read.
const BODY_BYTES_MAX: usize = 32 << 20;
static BODIES: Semaphore = Semaphore::const_new(BODY_BYTES_MAX);

/// What a body takes of the room.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<SemaphorePermit<'static>>);

impl Room {
    /// Takes so many bytes more, or says that there is no room.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Status> {
        let more = u32::try_from(bytes).ok().and_then(|bytes| BODIES.try_acquire_many(bytes).ok());
        let more = more.ok_or_else(|| {
            crowded("BODIES", format!("bodies of {BODY_BYTES_MAX} bytes are on their way already; try again"))
        })?;
        match &mut self.0 {
            Some(room) => room.merge(more),
            None => self.0 = Some(more),
        }
        Ok(())
    }
}
