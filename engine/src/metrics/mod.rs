//! What the engine counts: plain cells, read when somebody asks (P11). The gateway turns these into Prometheus series;
//! nothing here knows that format.

mod cells;
mod histogram;
pub mod hot;
mod mailboxes;
pub mod payments;

pub use self::{
    cells::EngineCells,
    histogram::{BUCKETS_SIZE, BUCKETS_US, Counts, Peak, Reader, Sizes, Tally, Times},
    mailboxes::{ActorKind, KindCells, Live, SAMPLE_ONE_IN, Ticket, kind},
};
