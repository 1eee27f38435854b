//! The config: its types, loading, validation and templates.
