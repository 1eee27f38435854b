//! `rollbridge init`.

use std::path::Path;

use super::failure::Failure;
use super::output;
use crate::error::{ErrorCode, plain};
use crate::ops::init::{InitError, init};

pub(super) fn run(config: Option<&Path>) -> Result<(), Failure> {
    let here = std::env::current_dir().map_err(|error| {
        Failure::internal(format!("cannot tell the working directory: {}", plain(&error)))
    })?;
    let path = init(config, &here).map_err(|error| {
        let code = match error {
            InitError::Io { .. } => ErrorCode::Internal,
            _ => ErrorCode::InvalidRequest,
        };
        Failure::new(code, error.to_string())
    })?;
    let shown = path.strip_prefix(&here).unwrap_or(&path).display();
    output::print(&format!(
        "wrote {shown}; edit it, then check it with rollbridge validate"
    ))
}
