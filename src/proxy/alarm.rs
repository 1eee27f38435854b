//! The one timer of a worker for all its clients: how long they may be quiet. Each of them writes down when it is to be
//! woken; that costs nothing, while a timer for each would be a good part of the memory of a connection that rests.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::Settings;
use super::worker::{Command, Worker};

/// A shorter time than this is not told apart from none.
const SHORTEST: Duration = Duration::from_millis(5);

/// When the worker looks at the deadlines next; none while it has no clients.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Instant>);

impl Alarm {
    /// The next command; wakes clients whose time is over meanwhile.
    pub(super) async fn next_command(
        &mut self,
        commands: &mut UnboundedReceiver<Command>,
        worker: &Worker,
    ) -> Option<Command> {
        loop {
            let at = match self.0 {
                None if worker.slots().is_empty() => return commands.recv().await,
                Some(at) => at,
                None => {
                    let at = Instant::now() + shortest(&worker.settings());
                    *self.0.insert(at)
                }
            };
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(at) => {
                    let now = Instant::now();
                    let next = worker.slots().wake_overdue(now);
                    // Whoever begins to wait from now on waits at least this long.
                    let latest = now + shortest(&worker.settings());
                    self.0 = (!worker.slots().is_empty()).then(|| next.map_or(latest, |next| next.min(latest)));
                }
                command = commands.recv() => {
                    if let Some(Command::Configure(settings)) = &command {
                        // It may be shorter now.
                        self.0 = Some(at.min(Instant::now() + shortest(settings)));
                    }
                    return command;
                }
            }
        }
    }
}

/// The shortest time a client may be quiet.
fn shortest(settings: &Settings) -> Duration {
    let times = [settings.head_timeout, settings.client_idle_timeout];
    let shortest = times.into_iter().filter(|time| !time.is_zero()).min();
    shortest.unwrap_or(SHORTEST).max(SHORTEST)
}
