//! The proxy: one listener, one active upstream, switched atomically.
