//! From a command at the door to its actor: claim of its key, replay, what it needs, launch.

pub(crate) mod command;
mod resolve;
mod submit;
