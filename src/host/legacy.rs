//! Processes of an older supervisor, known by their command line or their screen session, with their descendants.
//!
//! Nothing here was started by a daemon, so there is no token: a process is known by pid and start time, and neither the
//! caller nor one of its ancestors is ever among what is found.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{ProcessIdentity, platform};

/// A process that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// What it was found by.
    pub name: String,
    /// The process.
    pub process: ProcessIdentity,
}

/// The live processes, with their parents and their command lines.
#[derive(Debug)]
pub struct Census {
    parents: BTreeMap<i32, i32>,
    commands: BTreeMap<i32, String>,
}

impl Census {
    /// Looks at every process of the machine.
    pub fn take() -> io::Result<Census> {
        let mut census = Census {
            parents: BTreeMap::new(),
            commands: BTreeMap::new(),
        };
        for running in platform::everything_running()? {
            census.parents.insert(running.pid, running.parent);
            census.commands.insert(running.pid, running.command);
        }
        Ok(census)
    }

    /// The processes whose command line has all of `includes`.
    pub fn matching(&self, includes: &[String]) -> Vec<i32> {
        let spared = self.own_line();
        let fits = |command: &str| includes.iter().all(|text| command.contains(text.as_str()));
        self.commands
            .iter()
            .filter(|(pid, command)| !spared.contains(pid) && fits(command))
            .map(|(pid, _)| *pid)
            .collect()
    }

    /// These processes and everything that descends from them.
    pub fn with_descendants(&self, roots: &[i32]) -> BTreeSet<i32> {
        let spared = self.own_line();
        let mut found: BTreeSet<i32> = roots
            .iter()
            .copied()
            .filter(|pid| !spared.contains(pid))
            .collect();
        loop {
            let children: Vec<i32> = self
                .parents
                .iter()
                .filter(|(pid, parent)| {
                    found.contains(parent) && !found.contains(pid) && !spared.contains(pid)
                })
                .map(|(pid, _)| *pid)
                .collect();
            if children.is_empty() {
                return found;
            }
            found.extend(children);
        }
    }

    /// The caller and its ancestors.
    fn own_line(&self) -> BTreeSet<i32> {
        let mut line = BTreeSet::new();
        let mut next = i32::try_from(std::process::id()).ok();
        while let Some(pid) = next.filter(|pid| line.insert(*pid)) {
            next = self.parents.get(&pid).copied();
        }
        line
    }
}

/// Sends a signal to this very process; one that is gone needs none.
pub fn signal_legacy(process: &ProcessIdentity, signal: Signal) -> Result<(), Errno> {
    if !process.is_alive() {
        return Ok(());
    }
    match kill(Pid::from_raw(process.pid), signal) {
        Err(Errno::ESRCH) => Ok(()),
        sent => sent,
    }
}

/// The screen sessions of this very name, by the pid of each; none where there is no screen.
pub fn screen_sessions(name: &str) -> Vec<i32> {
    let listed = Command::new("screen").arg("-ls").stdin(Stdio::null()).output();
    // It ends with an error where there are none.
    let text = listed.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let sessions = text.lines().filter_map(|line| {
        let (pid, found) = line.trim().split('\t').next()?.split_once('.')?;
        (found == name).then(|| pid.parse().ok()).flatten()
    });
    sessions.collect()
}

/// Ends a screen session as its own user would.
pub fn quit_screen(pid: i32, name: &str) {
    // By pid and name, because a name alone also means sessions that begin with it. What it does not end is signalled.
    let _ = Command::new("screen")
        .args(["-S", &format!("{pid}.{name}"), "-X", "quit"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_and_its_ancestors_are_never_found() {
        let census = Census::take().expect("processes can be listed");
        let own = i32::try_from(std::process::id()).expect("a pid");
        assert!(!census.matching(&[]).contains(&own));
        assert!(!census.matching(&[]).contains(&1));
        let parent = census.parents[&own];
        assert!(!census.with_descendants(&[parent]).contains(&own));
    }
}
