//! The gateway: the only crate that names gRPC and HTTP.
//!
//! It turns RPCs into commands of the engine ([`convert`]), entries into answers, refusals into statuses
//! ([`status`]), and holds no rule about money. [`server`] binds the ports and drains; [`demo`], [`verify`],
//! [`recover`], [`backup`], [`ready`] and [`inspect`] are the other things the binary does.

pub mod address;
pub mod backup;
mod bodies;
mod books;
mod budget;
mod calls;
pub mod config;
mod connection;
mod connections;
pub mod convert;
pub mod demo;
pub mod feed;
pub mod files;
pub mod framing;
pub mod grpc;
mod holds;
pub mod index_copy;
pub mod inspect;
pub mod lines;
pub mod machine;
pub mod metrics;
pub mod observe;
pub mod origin;
mod outgoing;
pub mod ports;
pub mod ready;
mod rebuilt;
pub mod recover;
pub mod rest;
pub mod server;
mod serving;
pub mod status;
pub mod telemetry;
pub mod traces;
mod variables;
pub mod verify;
pub mod world;
