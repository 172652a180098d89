//! The hirewire binary.
fn main() {}
