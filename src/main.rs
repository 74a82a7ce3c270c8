//! The `outlier` binary.
fn main() {}
