//! The `rollbridge` binary.

fn main() {}
