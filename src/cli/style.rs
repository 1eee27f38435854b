//! Colours for people. Only a terminal gets them, and only if `NO_COLOR` is not set.

use std::io::IsTerminal;

/// What a text is, rather than what colour it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it comes.
    Plain,
    /// All is well.
    Good,
    /// On its way, or worth a look.
    Busy,
    /// Something is wrong.
    Bad,
    /// Less important than the rest.
    Faint,
    /// More important than the rest.
    Strong,
    /// One of several things that stand beside each other, told apart by its number.
    Mark(usize),
}

/// Colours for what stands beside each other: none that means good, busy or bad.
const MARKS: [&str; 6] = ["36", "35", "34", "96", "95", "94"];

/// Whether a stream gets colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paint {
    colours: bool,
}

impl Paint {
    /// For stdout.
    pub fn of_stdout() -> Paint {
        Paint::of(&std::io::stdout())
    }

    /// For stderr.
    pub fn of_stderr() -> Paint {
        Paint::of(&std::io::stderr())
    }

    fn of(stream: &impl IsTerminal) -> Paint {
        // By the convention of no-color.org an empty value is as good as none.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Paint {
            colours: stream.is_terminal() && !unwanted && !dumb,
        }
    }

    /// `text` in its tone.
    pub fn apply(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
            Tone::Mark(number) => MARKS[number % MARKS.len()],
        };
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_colours_only_where_colours_are_wanted() {
        let (on, off) = (Paint { colours: true }, Paint { colours: false });
        assert_eq!(on.apply(Tone::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
        assert_eq!(on.apply(Tone::Plain, "failed"), "failed");
        assert_eq!(off.apply(Tone::Bad, "failed"), "failed");
        assert_eq!(
            on.apply(Tone::Mark(1), "a"),
            on.apply(Tone::Mark(1 + MARKS.len()), "a")
        );
    }
}
