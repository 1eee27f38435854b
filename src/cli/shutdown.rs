//! `rollbridge shutdown`.

use super::failure::Failure;
use crate::config::ConfigFile;

pub(super) async fn run(file: &ConfigFile) -> Result<(), Failure> {
    super::ask_and_print(file, "shutdown").await
}
