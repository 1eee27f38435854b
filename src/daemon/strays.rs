//! Processes that left their session and shed their token: nobody knows any more whose they are. They are told of, and
//! stopped with the daemon.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Engine;
use crate::events::Milestone;
use crate::host::Member;

/// How often is looked for new ones.
const PERIOD: Duration = Duration::from_secs(2);

/// How often is looked whether those that were asked to end have.
const LOOK: Duration = Duration::from_millis(20);

impl Engine {
    /// Looks for strays from now on, and tells of each once.
    pub(super) fn watch_strays(&self) {
        let engine = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(PERIOD) => engine.tell_strays(),
                    () = engine.closing() => return,
                }
            }
        });
    }

    fn tell_strays(&self) {
        for stray in self.inner.host.strays() {
            let is_same = |milestone: &Milestone| {
                matches!(milestone, Milestone::StrayProcessFound { pid, start_ticks }
                    if *pid == stray.pid && *start_ticks == stray.start_ticks)
            };
            let told = self.events().recent(None, None);
            if !told.iter().any(|event| is_same(&event.milestone)) {
                self.record(Milestone::StrayProcessFound {
                    pid: stray.pid,
                    start_ticks: stray.start_ticks,
                });
            }
        }
    }

    /// Stops whatever is left; returns once nothing is.
    pub(super) async fn stop_strays(&self) {
        self.tell_strays();
        let grace = self.config().proxy.force_stop_timeout;
        let begun = Instant::now();
        let mut asked: Vec<Member> = Vec::new();
        loop {
            let strays = self.inner.host.strays();
            if strays.is_empty() {
                return;
            }
            let patient = begun.elapsed() < grace;
            for stray in strays {
                // A stray's own children become strays when it ends, so there may be new ones in every round.
                match patient {
                    true if asked.contains(&stray) => {}
                    true => {
                        asked.push(stray);
                        self.inner.host.signal_stray(stray, Signal::SIGTERM);
                    }
                    false => self.inner.host.signal_stray(stray, Signal::SIGKILL),
                }
            }
            if begun.elapsed() > grace + grace.max(PERIOD) {
                // The system does not end them; the daemon must not hang for that.
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
