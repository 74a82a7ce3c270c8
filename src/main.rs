//! The `outlier` binary; everything is in the library.

use std::process::ExitCode;

/// For Rust and for librdkafka alike: what one thread allocates another one frees, record by record, and the C library's
/// allocator makes them wait for each other (`docs/adr/0018-allocator.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    outlier::cli::main()
}
