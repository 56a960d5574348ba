//! The `arus` binary: what it is asked for is in [`commands`].

mod commands;

use std::process::ExitCode;

/// Most allocations of a payment are freed on another thread, which mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run()
}
