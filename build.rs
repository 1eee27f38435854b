//! Tells the linker how to build the Node addon; without the `node` feature there is nothing to do.

fn main() {
    if std::env::var_os("CARGO_FEATURE_NODE").is_some() {
        napi_build::setup();
    }
}
