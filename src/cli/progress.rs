//! The steps of a deploy or rollback on stderr, as they happen: plain lines, or on a terminal a line that lives.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::failure::Failure;
use super::style::{Paint, Tone};
use super::{figures, output};
use crate::control::client::{Client, Line};

/// How often the elapsed time on a terminal moves.
const TICK: Duration = Duration::from_millis(200);

/// Back to the beginning of the line, which is emptied.
const ERASE: &str = "\r\x1b[2K";

/// A line that lives must not wrap, or it could not be replaced.
const MOST_CHARACTERS: usize = 70;

/// Somebody asked for them, or is watching.
pub(super) fn is_wanted(asked_for: bool) -> bool {
    asked_for || std::io::stderr().is_terminal()
}

/// Asks the daemon for a deploy or rollback, and shows its steps until the answer comes.
pub(super) async fn ask(client: &mut Client, request: Value) -> Result<Line, Failure> {
    let is_wanted = request["progress"] == true;
    let shown = RefCell::new(Shown::new());
    let asking = super::ask(client, request, |step| shown.borrow_mut().take(&step));
    let mut asking = std::pin::pin!(asking);
    let mut ticks = tokio::time::interval(TICK);
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut asking => break outcome,
            _ = ticks.tick() => shown.borrow_mut().tick(),
        }
    };
    let mut shown = shown.borrow_mut();
    if let Ok(answer) = &outcome {
        let previous = answer.get("previousReleaseId").and_then(Value::as_str);
        if let Some(previous) = previous.filter(|_| is_wanted && !shown.has_drained) {
            shown.add(
                "drain",
                format!("{previous} drains in the background; rollbridge ps shows it"),
                false,
            );
        }
    }
    shown.end();
    outcome
}

/// What stands on stderr so far.
struct Shown {
    paint: Paint,
    on_terminal: bool,
    began: Instant,
    /// The step that is under way: on a terminal its line can still change.
    current: Option<Step>,
    /// The drain was waited for.
    has_drained: bool,
}

struct Step {
    phase: String,
    message: String,
    is_probe: bool,
}

impl Shown {
    fn new() -> Shown {
        Shown {
            paint: Paint::of_stderr(),
            on_terminal: std::io::stderr().is_terminal(),
            began: Instant::now(),
            current: None,
            has_drained: false,
        }
    }

    fn take(&mut self, step: &Line) {
        let text = |field: &str| {
            let value = step.get(field).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let is_probe = step.get("data").is_some_and(|data| data.get("attempt").is_some());
        let phase = text("phase");
        self.has_drained |= phase == "drain";
        self.add(&phase, text("message"), is_probe);
    }

    fn add(&mut self, phase: &str, message: String, is_probe: bool) {
        let step = Step {
            phase: phase.to_owned(),
            message,
            is_probe,
        };
        if !self.on_terminal {
            return output::tell(&format!("{:<10} {}", step.phase, step.message));
        }
        match &self.current {
            // One probe after the other changes the line, and does not fill the screen.
            Some(before) if before.is_probe && is_probe => {}
            _ => self.settle(),
        }
        self.current = Some(step);
        self.tick();
    }

    /// Shows the step that is under way, with the time since the beginning.
    fn tick(&self) {
        if let Some(step) = self.current.as_ref().filter(|_| self.on_terminal) {
            let message = match step.message.char_indices().nth(MOST_CHARACTERS) {
                Some((end, _)) => format!("{}…", &step.message[..end]),
                None => step.message.clone(),
            };
            output::tell_on(&format!("{ERASE}{}", self.line(step, &message)));
        }
    }

    /// What was under way is over: its line stays as it is.
    fn settle(&mut self) {
        if let Some(step) = self.current.take() {
            let line = self.line(&step, &step.message);
            output::tell(&format!("{ERASE}{line}"));
        }
    }

    fn end(&mut self) {
        if self.on_terminal {
            self.settle();
        }
    }

    fn line(&self, step: &Step, message: &str) -> String {
        let tone = match step.phase.as_str() {
            "switch" => Tone::Good,
            _ if step.message.starts_with("failed") => Tone::Bad,
            _ => Tone::Strong,
        };
        let phase = self.paint.apply(tone, &format!("{:<10}", step.phase));
        let elapsed = self
            .paint
            .apply(Tone::Faint, &figures::duration(self.began.elapsed()));
        format!("{phase} {message}  {elapsed}")
    }
}
