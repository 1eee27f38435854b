//! What a process says: bytes become whole, numbered lines, and the last ones are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::Stream;
use crate::clock::Timestamp;

/// A longer line is cut here.
pub const LONGEST_LINE_BYTES: usize = 64 * 1024;

/// Stands at the end of a line that was cut.
pub const CUT_MARK: &str = " … [cut: the line is longer than 64 KiB]";

/// One line a process wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Rises by one with every line of a process, whichever stream it came on.
    pub seq: u64,
    /// When the end of the line was read.
    pub at: Timestamp,
    /// The stream it came on.
    pub stream: Stream,
    /// The text, without its line end; invalid UTF-8 is replaced.
    pub line: String,
}

/// Cuts one stream into lines, whatever way it arrives in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Splitter {
    begun: Vec<u8>,
    /// The begun line was cut already; the rest of it is dropped.
    cut: bool,
}

impl Splitter {
    fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            emit(self.take());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// The last line, if it was begun and never ended.
    fn finish(&mut self) -> Option<String> {
        (self.cut || !self.begun.is_empty()).then(|| self.take())
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE_BYTES - self.begun.len();
        if bytes.len() > room {
            self.cut = true;
        }
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.begun);
        if std::mem::take(&mut self.cut) {
            return String::from_utf8_lossy(without_begun_character(&bytes)).into_owned() + CUT_MARK;
        }
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// `bytes` without the first part of a character at their end, which a cut may leave there.
fn without_begun_character(bytes: &[u8]) -> &[u8] {
    const LONGEST_BEGINNING: usize = 3;
    let last_start = (1..=LONGEST_BEGINNING.min(bytes.len()))
        .map(|back| bytes.len() - back)
        .find(|at| bytes[*at] & 0b1100_0000 != 0b1000_0000);
    match last_start.map(|at| (at, std::str::from_utf8(&bytes[at..]))) {
        Some((at, Err(error))) if error.error_len().is_none() => &bytes[..at],
        _ => bytes,
    }
}

/// What somebody writes on two streams, cut into lines. Every writer has its own: what one begins is never continued by
/// another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Writer {
    stdout: Splitter,
    stderr: Splitter,
}

impl Writer {
    /// Takes in what was written on `stream`, and emits every line that is whole by now.
    pub fn push(&mut self, stream: Stream, bytes: &[u8], emit: impl FnMut(String)) {
        let splitter = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        splitter.push(bytes, emit);
    }

    /// Emits what was begun on both streams: the writer is gone.
    pub fn finish(&mut self, mut emit: impl FnMut(Stream, String)) {
        if let Some(line) = self.stdout.finish() {
            emit(Stream::Stdout, line);
        }
        if let Some(line) = self.stderr.finish() {
            emit(Stream::Stderr, line);
        }
    }
}

/// Lines beyond those that are shown are kept up to so many bytes, for followers that come back after an engine's absence.
const MARGIN_BYTES: usize = 32 * 1024;

/// What a line costs besides its text.
const LINE_COST_BYTES: usize = 128;

/// The last lines of one managed process, in order.
#[derive(Debug)]
pub struct Ring {
    lines: VecDeque<LogLine>,
    most_lines: usize,
    next_seq: u64,
    /// What the lines beyond the last `most_lines` cost.
    margin: usize,
}

impl Ring {
    /// Shows the last `most_lines` lines, and has some more at hand.
    pub fn new(most_lines: usize) -> Ring {
        Ring {
            lines: VecDeque::new(),
            most_lines,
            next_seq: 1,
            margin: 0,
        }
    }

    /// A ring with these lines, oldest first, whose next line gets the number `next_seq`.
    pub fn again(most_lines: usize, next_seq: u64, lines: impl IntoIterator<Item = LogLine>) -> Ring {
        let mut ring = Ring::new(most_lines);
        lines.into_iter().for_each(|line| ring.keep(line, MARGIN_BYTES));
        ring.next_seq = next_seq;
        ring
    }

    /// The number of the next line.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Takes in a whole line, and gives it its number.
    pub fn number(&mut self, stream: Stream, line: String, at: Timestamp) -> LogLine {
        let numbered = LogLine {
            seq: self.next_seq,
            at,
            stream,
            line,
        };
        self.keep(numbered.clone(), MARGIN_BYTES);
        numbered
    }

    /// Takes in a line that has its number; one that is known already changes nothing. `most_margin`: how many bytes of
    /// lines are kept besides those that are shown.
    pub fn keep(&mut self, line: LogLine, most_margin: usize) {
        if line.seq < self.next_seq {
            return;
        }
        self.next_seq = line.seq + 1;
        self.lines.push_back(line);
        if self.lines.len() > self.most_lines {
            let pushed_out = self.lines.len() - self.most_lines - 1;
            self.margin += cost(&self.lines[pushed_out]);
        }
        while self.margin > most_margin && self.lines.len() > self.most_lines {
            if let Some(oldest) = self.lines.pop_front() {
                self.margin -= cost(&oldest);
            }
        }
    }

    /// The lines that are shown, oldest first.
    pub fn shown(&self) -> impl Iterator<Item = &LogLine> {
        self.lines
            .iter()
            .skip(self.lines.len().saturating_sub(self.most_lines))
    }

    /// Every line there is, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &LogLine> {
        self.lines.iter()
    }

    /// How many lines are shown.
    pub fn most_lines(&self) -> usize {
        self.most_lines
    }
}

fn cost(line: &LogLine) -> usize {
    line.line.len() + LINE_COST_BYTES
}

/// The recent output of one managed process; clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct Log {
    id: u64,
    ring: Arc<Mutex<Ring>>,
}

impl Log {
    /// An empty log that shows the last `most_lines` lines; its host knows it by `id`.
    pub fn new(id: u64, most_lines: usize) -> Log {
        Log {
            id,
            ring: Arc::new(Mutex::new(Ring::new(most_lines))),
        }
    }

    /// Its name towards the host, which is that of its process too.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// How many lines it shows.
    pub fn most_lines(&self) -> usize {
        self.ring().most_lines()
    }

    /// Takes in a line that was numbered elsewhere.
    pub fn keep(&self, line: LogLine) {
        self.ring().keep(line, MARGIN_BYTES);
    }

    /// The shown lines, oldest first.
    pub fn lines(&self) -> Vec<LogLine> {
        self.ring().shown().cloned().collect()
    }

    /// The lines numbered above `seq` that are still at hand, oldest first: more than are shown, if it comes to that.
    pub fn since(&self, seq: u64) -> Vec<LogLine> {
        let ring = self.ring();
        ring.all().filter(|line| line.seq > seq).cloned().collect()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::EPOCH;

    /// A log and the one who writes into it.
    struct Output {
        own: Writer,
        ring: Arc<Mutex<Ring>>,
    }

    impl Output {
        fn new(most_lines: usize) -> Output {
            Output {
                own: Writer::default(),
                ring: Arc::new(Mutex::new(Ring::new(most_lines))),
            }
        }

        fn push(&mut self, stream: Stream, bytes: &[u8]) {
            self.own.push(stream, bytes, |line| {
                self.ring
                    .lock()
                    .expect("no test panics in it")
                    .number(stream, line, NOW);
            });
        }

        fn finish(&mut self) {
            self.own.finish(|stream, line| {
                self.ring
                    .lock()
                    .expect("no test panics in it")
                    .number(stream, line, NOW);
            });
        }
    }

    fn texts(output: &Output) -> Vec<String> {
        let ring = output.ring.lock().expect("no test panics in it");
        ring.shown().map(|line| line.line.clone()).collect()
    }

    #[test]
    fn a_line_split_over_two_writes_stays_one_line() {
        let mut output = Output::new(10);
        output.push(Stream::Stdout, b"hel");
        output.push(Stream::Stderr, b"oops\n");
        output.push(Stream::Stdout, b"lo\r\nlast words");
        assert_eq!(texts(&output), ["oops", "hello"]);
        output.finish();
        output.finish();
        assert_eq!(texts(&output), ["oops", "hello", "last words"]);
        let ring = output.ring.lock().expect("no test panics in it");
        let numbers: Vec<u64> = ring.shown().map(|line| line.seq).collect();
        assert_eq!(numbers, [1, 2, 3]);
    }

    #[test]
    fn keeps_only_the_last_lines() {
        let mut output = Output::new(2);
        output.push(Stream::Stdout, b"a\nb\n\nc\n");
        assert_eq!(texts(&output), ["", "c"]);
    }

    #[test]
    fn some_lines_more_are_at_hand_within_bounds() {
        let mut ring = Ring::new(2);
        for _ in 0..10_000 {
            ring.number(Stream::Stdout, "x".repeat(100), NOW);
        }
        let shown: Vec<u64> = ring.shown().map(|line| line.seq).collect();
        assert_eq!(shown, [9999, 10_000]);
        let held: usize = ring.all().map(cost).sum();
        assert!(held > MARGIN_BYTES / 2 && held < MARGIN_BYTES * 2, "{held}");
        let known = ring.all().next().expect("a line").clone();
        let before = ring.all().count();
        ring.keep(known, MARGIN_BYTES);
        assert_eq!(ring.all().count(), before, "a line that is known comes again");
    }

    #[test]
    fn an_endless_line_is_cut_and_costs_bounded_memory() {
        let mut output = Output::new(2);
        for _ in 0..1000 {
            output.push(Stream::Stdout, &[b'x'; 4096]);
            assert!(output.own.stdout.begun.len() <= LONGEST_LINE_BYTES);
        }
        output.push(Stream::Stdout, b"\nshort\n");
        let lines = texts(&output);
        assert_eq!(lines[0].len(), LONGEST_LINE_BYTES + CUT_MARK.len());
        assert!(lines[0].ends_with(CUT_MARK));
        assert_eq!(lines[1], "short");
    }

    #[test]
    fn a_line_of_just_the_limit_is_whole() {
        let mut output = Output::new(1);
        output.push(Stream::Stdout, &[b'x'; LONGEST_LINE_BYTES]);
        output.push(Stream::Stdout, b"\n");
        assert_eq!(texts(&output)[0].len(), LONGEST_LINE_BYTES);
    }

    #[test]
    fn a_cut_never_leaves_half_a_character() {
        for character in ["x", "é", "€", "🦀"] {
            for shift in 0..4 {
                let text = "y".repeat(shift) + &character.repeat(LONGEST_LINE_BYTES + 1);
                let mut output = Output::new(1);
                output.push(Stream::Stdout, text.as_bytes());
                output.push(Stream::Stdout, b"\n");
                let lines = texts(&output);
                let line = lines[0].strip_suffix(CUT_MARK).expect("a mark");
                assert!(text.starts_with(line), "{character} {shift}");
                assert!(LONGEST_LINE_BYTES - line.len() < character.len());
            }
        }
    }

    #[test]
    fn what_a_hook_begins_is_not_continued_by_the_process() {
        let mut output = Output::new(10);
        let mut hook = Output {
            own: Writer::default(),
            ring: output.ring.clone(),
        };
        output.push(Stream::Stdout, b"half a");
        hook.push(Stream::Stdout, b"qui");
        output.push(Stream::Stdout, b" line\n");
        hook.push(Stream::Stdout, b"et");
        hook.finish();
        assert_eq!(texts(&output), ["half a line", "quiet"]);
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        let mut output = Output::new(1);
        output.push(Stream::Stdout, b"caf\xe9\n");
        assert_eq!(texts(&output), ["caf\u{fffd}"]);
    }

    proptest! {
        #[test]
        fn however_it_arrives_the_lines_are_the_same(text in "[a-zé\n]{0,60}", cuts in prop::collection::vec(0usize..60, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut output = Output::new(100);
            let mut from = 0;
            for cut in cuts {
                output.push(Stream::Stdout, &bytes[from..cut]);
                from = cut;
            }
            output.finish();
            prop_assert_eq!(texts(&output), text.lines().map(str::to_owned).collect::<Vec<_>>());
        }
    }
}
