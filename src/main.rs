//! The `outlier` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    outlier::cli::main()
}
