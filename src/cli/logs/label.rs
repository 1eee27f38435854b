//! Where lines come from, said before each line: aligned, and in a colour of its own on a terminal.

use crate::cli::style::{Paint, Tone};

/// The labels so far, in the order they came.
#[derive(Debug)]
pub(super) struct Labels {
    paint: Paint,
    known: Vec<String>,
    width: usize,
}

impl Labels {
    /// None yet.
    pub fn new(paint: Paint) -> Labels {
        Labels {
            paint,
            known: Vec::new(),
            width: 0,
        }
    }

    /// Gets a label its colour, and all later lines the room for it.
    pub fn meet(&mut self, label: &str) {
        if !self.known.iter().any(|known| known == label) {
            self.known.push(label.to_owned());
            self.width = self.width.max(label.chars().count());
        }
    }

    /// `2026-05-21T07:30:00.123Z  v1 web | listening`
    pub fn line(&self, at: &str, label: &str, line: &str) -> String {
        let number = self.known.iter().position(|known| known == label).unwrap_or(0);
        let width = self.width;
        let label = self.paint.apply(Tone::Mark(number), &format!("{label:width$} |"));
        format!("{}  {label} {line}", self.paint.apply(Tone::Faint, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lines_leave_room_for_the_longest_label_so_far() {
        let mut labels = Labels::new(Paint::of_stdout());
        labels.meet("v1 web");
        assert_eq!(labels.line("now", "v1 web", "up"), "now  v1 web | up");
        labels.meet("singleton clock");
        assert_eq!(labels.line("now", "v1 web", "on"), "now  v1 web          | on");
    }
}
