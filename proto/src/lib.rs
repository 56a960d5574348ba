//! The wire contract: messages, clients and servers generated from the protos beside this folder. Depends on nothing
//! of ours; the protos' comments are the documentation.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]

/// What all services share.
pub mod common {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("common.v1");
        include!(concat!(env!("OUT_DIR"), "/common.v1.serde.rs"));
    }
}
/// Payments.
pub mod payments {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("payments.v1");
        include!(concat!(env!("OUT_DIR"), "/payments.v1.serde.rs"));
    }
}
/// Accounts.
pub mod wallet {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("wallet.v1");
        include!(concat!(env!("OUT_DIR"), "/wallet.v1.serde.rs"));
    }
}
/// Exchange rates.
pub mod fx {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("fx.v1");
        include!(concat!(env!("OUT_DIR"), "/fx.v1.serde.rs"));
    }
}
/// Risk.
pub mod risk {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("risk.v1");
        include!(concat!(env!("OUT_DIR"), "/risk.v1.serde.rs"));
    }
}

pub mod codec;
mod time;
pub use pbjson_types::Duration;
pub use time::{TIME, Timestamp};

/// All descriptors, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
