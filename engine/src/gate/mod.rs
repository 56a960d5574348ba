//! The gate every command passes: admission bounds what is behind it, a claim decides who decides a key, a slot says who
//! is at work, and a caller is told how it ended.

pub mod admission;
pub mod caller;
pub mod claims;
pub mod slots;
