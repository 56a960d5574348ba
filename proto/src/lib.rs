//! The wire contract: messages, clients and servers generated from the protos beside this folder. Depends on nothing
//! of ours; the protos' comments are the documentation.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated code")]

/// What all services share.
pub mod common {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("common.v1");
    }
}
/// Payments.
pub mod payments {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("payments.v1");
    }
}
/// Accounts.
pub mod wallet {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("wallet.v1");
    }
}
/// Exchange rates.
pub mod fx {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("fx.v1");
    }
}
/// Risk.
pub mod risk {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("risk.v1");
    }
}

pub mod codec;

/// All descriptors, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
