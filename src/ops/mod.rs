//! What is done beside a daemon rather than through one: looking at the machine, making it ready, and cleaning up. Nothing
//! here prints.

pub mod doctor;
pub mod ensure_daemon;
pub mod init;
pub mod introduction;
pub mod predeploy_cleanup;
pub mod recover;
pub mod upgrade;
