//! What names one process for good, also after a restart of the daemon or of the machine: its pid alone does not, for
//! pids are given out again.

use serde::{Deserialize, Serialize};

use super::platform::{self, birth, boot_id};

/// Pid, start time and boot together name one process and never another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its process id.
    pub pid: i32,
    /// When it was started: on Linux in clock ticks since boot.
    pub start_ticks: u64,
    /// Which boot of the machine it was started in.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// The identity of the process that has this pid now; none where the system does not tell.
    pub fn of(pid: i32) -> Option<ProcessIdentity> {
        let (start_ticks, _) = birth(pid)?;
        let boot_id = boot_id()?.to_owned();
        Some(ProcessIdentity {
            pid,
            start_ticks,
            boot_id,
        })
    }

    /// Whether this very process is alive; a zombie is not.
    pub fn is_alive(&self) -> bool {
        // Pids below 2 are never ours, and mean groups or everybody to kill(2).
        self.pid > 1
            && boot_id() == Some(self.boot_id.as_str())
            && birth(self.pid) == Some((self.start_ticks, true))
    }

    /// The user it runs as.
    pub fn owner(&self) -> Option<u32> {
        platform::owner(self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_start_time_or_boot_is_another_process() {
        let own = ProcessIdentity::of(i32::try_from(std::process::id()).expect("a pid"))
            .expect("this very process");
        assert!(own.is_alive());
        let mut recycled = own.clone();
        recycled.start_ticks += 1;
        assert!(!recycled.is_alive());
        let mut earlier_boot = own.clone();
        earlier_boot.boot_id = "00000000-0000-0000-0000-000000000000".to_owned();
        assert!(!earlier_boot.is_alive());
        let mut group = own;
        group.pid = -1;
        assert!(!group.is_alive());
    }
}
