//! Heads and bodies on their way in: what is not small takes room that all callers share, until it is done with.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::Instant,
};
use tonic::Status;

use crate::status::crowded;

/// How long a body may take to arrive.
pub(crate) const BODY_MAX: Duration = Duration::from_secs(10);
/// How often somebody who waits for room looks again.
pub(crate) const ROOM_PAUSE: Duration = Duration::from_millis(20);
/// How many bytes of bodies are held at once, by all connections together. A batch is some times as large once it is
/// read.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Of those, how many from one address: others find room for more than one message of the longest kind.
const BODY_BYTES_PER_PEER_MAX: usize = BODY_BYTES_MAX / 4 * 3;
/// What a head and what a body may be without taking room: as many calls as may be open fit into memory with it, and who
/// takes all the room keeps nobody from what is small.
const SMALL_HEAD_BYTES: usize = 2 << 10;
const SMALL_BODY_BYTES: usize = 4 << 10;
static BODIES: Semaphore = Semaphore::const_new(BODY_BYTES_MAX);

/// The room that one address may take.
#[derive(Debug, Clone)]
pub(crate) struct Share(Arc<Semaphore>);

impl Default for Share {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODY_BYTES_PER_PEER_MAX)))
    }
}

impl Share {
    /// Room for a head, of which it takes nothing yet.
    pub(crate) fn head(&self) -> Room {
        self.room(SMALL_HEAD_BYTES)
    }

    /// Room for a body, of which it takes nothing yet.
    pub(crate) fn body(&self) -> Room {
        self.room(SMALL_BODY_BYTES)
    }

    fn room(&self, small: usize) -> Room {
        Room { share: self.clone(), small, held: 0, taken: None }
    }
}

/// What a body takes of the room.
#[derive(Debug)]
pub(crate) struct Room {
    share: Share,
    /// How many bytes take no room.
    small: usize,
    held: usize,
    /// Of the address's share, and of the room of all.
    taken: Option<(OwnedSemaphorePermit, SemaphorePermit<'static>)>,
}

impl Room {
    /// Takes so many bytes more, or says that there is no room.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Status> {
        let full = |max: usize, whose: &str| {
            crowded("BODIES", format!("requests of {max} bytes {whose} are on their way already; try again"))
        };
        let before = self.held.max(self.small);
        let held = self.held.saturating_add(bytes);
        let bytes = held.saturating_sub(before);
        if bytes == 0 {
            self.held = held;
            return Ok(());
        }
        let of_peer = || full(BODY_BYTES_PER_PEER_MAX, "from this address");
        let count = u32::try_from(bytes).map_err(|_| of_peer())?;
        let mine = Arc::clone(&self.share.0).try_acquire_many_owned(count).map_err(|_| of_peer())?;
        let all = BODIES.try_acquire_many(count).map_err(|_| full(BODY_BYTES_MAX, "from all together"))?;
        self.held = held;
        match &mut self.taken {
            Some(taken) => {
                taken.0.merge(mine);
                taken.1.merge(all);
            }
            None => self.taken = Some((mine, all)),
        }
        Ok(())
    }

    /// Takes so many bytes more once there is room; says so if there is none for long.
    pub(crate) async fn wait(&mut self, bytes: usize) -> Result<(), Status> {
        let until = Instant::now() + BODY_MAX;
        loop {
            match self.add(bytes) {
                Err(_) if Instant::now() < until => tokio::time::sleep(ROOM_PAUSE).await,
                done => return done,
            }
        }
    }

    /// Gives back what was taken.
    pub(crate) fn free(&mut self) {
        (self.held, self.taken) = (0, None);
    }
}
