//! The keeper goes on as another program: same process, same children, same descriptors. What it holds is written down
//! before, and read by the program that takes its place.
#![allow(unsafe_code, reason = "the environment is changed while there is one thread")]

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use serde::{Deserialize, Serialize};

use super::child::Kept;
use super::descriptors::{inherited, set_inherited};
use super::holdings::Holdings;
use super::link::{Link, WrittenLink};
use super::message::Past;
use crate::clock::Timestamp;
use crate::host::platform::{self, memory_file};
use crate::host::{Exit, LogLine, Ring, Role, Stream, Writer};

/// The version of what is written down. A keeper is replaced only by a program that knows its format.
pub const FORMAT: u32 = 1;

/// Tells the program that takes the keeper's place where it finds what was written down: a descriptor.
pub const VARIABLE: &str = "ROLLBRIDGE_KEEPER_HOLDINGS";

/// What a keeper writes down.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    format: u32,
    children: Vec<WrittenChild>,
    next_child: u64,
    rings: Vec<WrittenRing>,
    notes: BTreeMap<String, String>,
    listeners: BTreeMap<String, RawFd>,
    next_handover: u64,
    link: Option<WrittenLink>,
    pub around: Around,
}

/// What it knows of the process it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Around {
    /// The engine's pid.
    pub engine: i32,
    /// Signals that an engine finds blocked.
    pub blocked: Vec<i32>,
    /// The signal by which the daemon was asked to end.
    pub ending: Option<i32>,
    /// What became of the engines.
    pub past: Past,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenChild {
    id: u64,
    log: u64,
    role: Role,
    leader: i32,
    token: String,
    writer: Writer,
    stdout: Option<RawFd>,
    stderr: Option<RawFd>,
    ending: Option<RawFd>,
    exit: Option<Exit>,
    silent: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenRing {
    log: u64,
    most_lines: usize,
    /// The number of the next line.
    next: u64,
    lines: Vec<(u64, u64, bool, String)>,
}

impl Written {
    /// What a keeper with these holdings writes down, and the descriptors that must stay open for it.
    pub fn of(holdings: &Holdings, around: Around) -> Written {
        let child = |kept: &Kept| {
            let [stdout, stderr, ending] = kept.descriptors();
            WrittenChild {
                id: kept.id,
                log: kept.log,
                role: kept.role,
                leader: kept.kinship.leader,
                token: kept.kinship.token.clone(),
                writer: kept.writer().clone(),
                stdout,
                stderr,
                ending,
                exit: kept.exit,
                silent: kept.silent,
            }
        };
        let ring = |(log, ring): (&u64, &Ring)| WrittenRing {
            log: *log,
            most_lines: ring.most_lines(),
            next: ring.next_seq(),
            lines: ring.all().map(written_line).collect(),
        };
        let listener = |(name, socket): (&String, &OwnedFd)| (name.clone(), socket.as_raw_fd());
        Written {
            format: FORMAT,
            children: holdings.children.iter().map(child).collect(),
            next_child: holdings.next_child,
            rings: holdings.rings.iter().map(ring).collect(),
            notes: holdings.notes.clone(),
            listeners: holdings.listeners.iter().map(listener).collect(),
            next_handover: holdings.next_handover,
            link: holdings.link.as_ref().map(Link::written),
            around,
        }
    }

    fn descriptors(&self) -> Vec<RawFd> {
        let children = self.children.iter();
        let of_children = children.flat_map(|child| [child.stdout, child.stderr, child.ending]);
        let of_link = self.link.iter().flat_map(WrittenLink::descriptors);
        let listeners = self.listeners.values().copied();
        of_children.flatten().chain(of_link).chain(listeners).collect()
    }

    /// Reads what the program before has written down.
    pub fn read(mut file: File) -> io::Result<Written> {
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        let written: Written = serde_json::from_str(&text)?;
        match written.format {
            FORMAT => Ok(written),
            format => Err(io::Error::other(format!(
                "it has format {format}, this program reads format {FORMAT}"
            ))),
        }
    }

    /// Takes over what is written down.
    pub fn take(self) -> io::Result<Holdings> {
        let mut holdings = Holdings {
            next_child: self.next_child,
            notes: self.notes,
            next_handover: self.next_handover,
            ..Holdings::default()
        };
        for child in self.children {
            let open = |number: Option<RawFd>| number.map(inherited).transpose();
            let kept = Kept::again(
                (child.id, child.log, child.role),
                (child.leader, child.token),
                child.writer,
                [open(child.stdout)?, open(child.stderr)?, open(child.ending)?],
                (child.exit, child.silent),
            );
            holdings.children.push(kept);
        }
        for ring in self.rings {
            let lines = ring.lines.into_iter().map(read_line);
            holdings
                .rings
                .insert(ring.log, Ring::again(ring.most_lines, ring.next, lines));
        }
        for (name, number) in self.listeners {
            holdings.listeners.insert(name, inherited(number)?);
        }
        holdings.link = self.link.map(|link| Link::again(link, inherited)).transpose()?;
        Ok(holdings)
    }
}

fn written_line(line: &LogLine) -> (u64, u64, bool, String) {
    let is_stderr = line.stream == Stream::Stderr;
    (line.seq, line.at.as_ms(), is_stderr, line.line.clone())
}

fn read_line((seq, at, is_stderr, line): (u64, u64, bool, String)) -> LogLine {
    LogLine {
        seq,
        at: Timestamp::from_ms(at),
        stream: if is_stderr { Stream::Stderr } else { Stream::Stdout },
        line,
    }
}

/// Goes on as `program`, with the arguments of this one. Returns only if that is not possible.
pub(super) fn replace_this_program(program: &OwnedFd, written: &Written) -> io::Error {
    match go_on_as(program, written) {
        Ok(never) => match never {},
        Err(error) => {
            for number in written.descriptors() {
                // It was open a moment ago, so it still is.
                let _ = set_inherited(number, false);
            }
            error
        }
    }
}

fn go_on_as(program: &OwnedFd, written: &Written) -> io::Result<std::convert::Infallible> {
    let mut file = memory_file(c"rollbridge-keeper")?;
    let mut buffered = BufWriter::new(&mut file);
    serde_json::to_writer(&mut buffered, written)?;
    buffered.flush()?;
    drop(buffered);
    let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
    let arguments: Vec<CString> = std::env::args_os().map(text).collect::<io::Result<_>>()?;
    let mut environment: Vec<CString> = Vec::new();
    for (name, value) in std::env::vars_os() {
        let mut variable = name;
        variable.push("=");
        variable.push(value);
        environment.push(text(variable)?);
    }
    environment.push(text(format!("{VARIABLE}={}", file.as_raw_fd()).into())?);
    for number in written.descriptors() {
        set_inherited(number, true)?;
    }
    set_inherited(file.as_raw_fd(), true)?;
    platform::go_on_as(program, &arguments, &environment)
}

/// What the program before has written down for this one, if this one takes its place. Must be called before there is a
/// second thread, once.
pub fn left_by_the_program_before() -> Option<io::Result<File>> {
    let number = std::env::var_os(VARIABLE)?;
    // SAFETY: there is one thread, so nobody reads the environment meanwhile. No engine and no process is to find it.
    unsafe { std::env::remove_var(VARIABLE) };
    let number = number.to_str().and_then(|number| number.parse().ok());
    let file = number
        .ok_or(io::ErrorKind::InvalidData.into())
        .and_then(inherited);
    Some(file.map(File::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    /// What a keeper of one child writes down.
    const WRITTEN: &str = r#"{"format":1,"children":[{"id":1,"log":2,"role":"main","leader":300,"token":"t",
        "writer":{"stdout":{"begun":[104],"cut":false},"stderr":{"begun":[],"cut":false}},"stdout":7,"stderr":8,"ending":null,"exit":{"code":1},"silent":false}],
        "nextChild":2,"rings":[{"log":2,"mostLines":5,"next":9,"lines":[[8,1700000000000,true,"line"]]}],
        "notes":{"a":"{}"},"listeners":{"proxy":5},"nextHandover":1,
        "link":{"socket":4,"unread":[1,2],"descriptors":[],"unsent":[]},
        "around":{"engine":301,"blocked":[15],"ending":null,"past":{"ends":0,"last":null,"shortLived":0,"absentMs":0}}}"#;

    fn read(text: &[u8]) -> io::Result<Written> {
        let mut file = tempfile::tempfile()?;
        file.write_all(text)?;
        Written::read(file)
    }

    proptest! {
        /// Nothing is opened by reading, so whatever it says does no harm.
        #[test]
        fn damage_is_an_error_and_no_panic(damage in prop::collection::vec((0..WRITTEN.len(), any::<u8>()), 1..6)) {
            let mut text = WRITTEN.as_bytes().to_vec();
            for (at, byte) in damage {
                text[at] = byte;
            }
            drop(read(&text));
        }

        #[test]
        fn what_is_cut_short_is_an_error(length in 0..WRITTEN.len()) {
            prop_assert!(read(&WRITTEN.as_bytes()[..length]).is_err());
        }
    }

    #[test]
    fn undamaged_it_is_read() {
        let written = read(WRITTEN.as_bytes()).expect("it is what a keeper writes");
        assert_eq!(written.descriptors(), [7, 8, 4, 5]);
    }

    #[test]
    fn another_format_is_named() {
        let other = WRITTEN.replace("\"format\":1", "\"format\":2");
        let error = read(other.as_bytes()).err().expect("it is another one");
        assert_eq!(error.to_string(), "it has format 2, this program reads format 1");
    }
}
