//! The keeper's loop with engines that talk nonsense, or stop in the middle of a word.

use super::*;
use crate::host::{Role, SpawnSpec};
use crate::keeper::message::{Inbox, ToEngine, append};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsFd;

/// Engines of a test, one after the other, and one of another program.
struct Engines(VecDeque<UnixStream>, Option<UnixStream>);

impl Attendance for Engines {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn attend(&mut self, _: &[i32]) {}

    fn engine_is_gone(&mut self, _: Departure, _: &[i32]) -> Next {
        match self.0.is_empty() {
            true => Next::End,
            false => Next::EngineAt(Instant::now()),
        }
    }

    fn start_engine(&mut self) -> io::Result<(UnixStream, Past)> {
        let socket = self.0.pop_front().ok_or(io::ErrorKind::NotConnected)?;
        Ok((socket, Past::default()))
    }

    fn engine_is_refused(&mut self, _: io::Error) -> Next {
        Next::End
    }

    fn start_successor(&mut self, _: OwnedFd) -> io::Result<UnixStream> {
        self.1.take().ok_or(io::ErrorKind::PermissionDenied.into())
    }

    fn end_successor(&mut self) -> String {
        "it ended".to_owned()
    }
}

/// One of them.
struct Engine(UnixStream, Inbox);

impl Engine {
    fn say(&mut self, message: &ToKeeper) {
        let mut bytes = Vec::new();
        append(message, &mut bytes);
        self.write(&bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the keeper lives");
    }

    /// The messages up to the first that `is_last`.
    fn hear(&mut self, is_last: impl Fn(&ToEngine) -> bool) -> Vec<ToEngine> {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            while let Some(message) = self.1.take() {
                heard.push(message.expect("a keeper talks sense"));
                if heard.last().is_some_and(&is_last) {
                    return heard;
                }
            }
            let count = self.0.read(&mut buffer).expect("the keeper lives");
            assert!(count > 0, "the keeper is gone; it said {heard:?}");
            self.1.push(&buffer[..count]);
        }
    }
}

fn keeper_of<const COUNT: usize>() -> ([Engine; COUNT], std::thread::JoinHandle<()>) {
    let mut theirs = VecDeque::new();
    let engines = std::array::from_fn(|_| {
        let (ours, other) = UnixStream::pair().expect("a pair of sockets");
        ours.set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time limit");
        theirs.push_back(other);
        Engine(ours, Inbox::default())
    });
    let keeper = std::thread::spawn(move || Keeper::new().run(&mut Engines(theirs, None)));
    (engines, keeper)
}

fn spawn(command: &str) -> ToKeeper {
    ToKeeper::Spawn {
        request: 7,
        spec: SpawnSpec {
            command: command.to_owned(),
            cwd: "/".into(),
            env: Vec::new(),
            token: "keeping".to_owned(),
        },
        log: 3,
        most_lines: 10,
        role: Role::Main,
    }
}

#[test]
fn nonsense_is_passed_over() {
    let ([mut engine], keeper) = keeper_of();
    engine.hear(|message| matches!(message, ToEngine::Restored { .. }));
    for nonsense in [&b"{]!"[..], b"{}", b"{\"kind\":\"spawn\"}", b"null", b"\xff\xfe"] {
        let length = u32::try_from(nonsense.len()).expect("it is short");
        engine.write(&length.to_le_bytes());
        engine.write(nonsense);
    }
    // A listener without its descriptor, a child nobody has, a log nobody wrote to.
    engine.say(&ToKeeper::Hold {
        name: "nothing".to_owned(),
    });
    engine.say(&ToKeeper::Forget { child: 99 });
    engine.say(&ToKeeper::CloseLog { log: 99 });
    engine.say(&spawn("echo here; exit 3"));
    let heard = engine.hear(|message| matches!(message, ToEngine::Exited { .. }));
    assert!(
        matches!(heard[0], ToEngine::Spawned { request: 7, .. }),
        "{heard:?}"
    );
    assert!(
        matches!(&heard[1], ToEngine::Line { line, .. } if line == "here"),
        "{heard:?}"
    );
    drop(engine);
    keeper.join().expect("it ends well");
}

#[test]
fn who_stops_in_the_middle_of_a_message_has_said_what_came_before() {
    let ([mut first, mut second], keeper) = keeper_of();
    first.say(&ToKeeper::Note {
        notes: vec![
            ("a".to_owned(), Some("1".to_owned())),
            ("b".to_owned(), Some("2".to_owned())),
        ],
    });
    first.say(&ToKeeper::Note {
        notes: vec![("a".to_owned(), None)],
    });
    first.say(&spawn("echo kept; exec sleep 1000"));
    let mut half = Vec::new();
    append(&spawn("echo never"), &mut half);
    first.write(&half[..half.len() / 2]);
    first.hear(|message| matches!(message, ToEngine::Line { .. }));
    drop(first);
    let told = second.hear(|message| matches!(message, ToEngine::Restored { .. }));
    let notes = told.iter().filter_map(|message| match message {
        ToEngine::Noted { key, text } => Some((key.as_str(), text.as_str())),
        _ => None,
    });
    assert_eq!(notes.collect::<Vec<_>>(), [("b", "2")]);
    let kept = told
        .iter()
        .filter(|message| matches!(message, ToEngine::Kept { log: 3, .. }));
    assert_eq!(kept.count(), 1, "{told:?}");
    assert!(
        told.iter()
            .any(|message| matches!(message, ToEngine::Line { seq: 1, .. })),
        "{told:?}"
    );
    // A length that nothing has is the end of this engine, not of the keeper's order.
    second.write(&u32::MAX.to_le_bytes());
    keeper.join().expect("it stops what it kept, and ends");
}

/// What comes of an upgrade whose successor does this.
fn upgrade(successor: impl FnOnce(Engine)) -> (Engine, ToEngine, std::thread::JoinHandle<()>) {
    let pair = || UnixStream::pair().expect("a pair of sockets");
    let ((ours, theirs), (new, its)) = (pair(), pair());
    for socket in [&ours, &new] {
        let limit = Some(Duration::from_secs(30));
        socket.set_read_timeout(limit).expect("a time limit");
    }
    let mut engines = Engines(VecDeque::from([theirs]), Some(its));
    let keeper = std::thread::spawn(move || Keeper::new().run(&mut engines));
    let mut engine = Engine(ours, Inbox::default());
    engine.hear(|message| matches!(message, ToEngine::Restored { .. }));
    engine.say(&ToKeeper::Ready {});
    engine.say(&ToKeeper::Note {
        notes: vec![("a".to_owned(), Some("1".to_owned()))],
    });
    let mut frame = Vec::new();
    append(&ToKeeper::Upgrade {}, &mut frame);
    let program = std::fs::File::open("/dev/null").expect("it is there");
    crate::keeper::descriptors::send(engine.0.as_fd(), &frame, program.as_fd()).expect("the keeper lives");
    successor(Engine(new, Inbox::default()));
    let is_answer = |message: &ToEngine| {
        matches!(
            message,
            ToEngine::SuccessorReady { .. } | ToEngine::SuccessorFailed { .. }
        )
    };
    let answer = engine.hear(is_answer).pop().expect("an answer");
    (engine, answer, keeper)
}

#[test]
fn a_successor_reads_the_notes_and_says_that_it_understands_them() {
    let (mut engine, answer, keeper) = upgrade(|mut successor| {
        let told = successor.hear(|message| matches!(message, ToEngine::Rehearsed {}));
        assert!(
            told.iter()
                .any(|message| matches!(message, ToEngine::Noted { key, .. } if key == "a"))
        );
        successor.say(&ToKeeper::Hello { version: VERSION });
        successor.say(&ToKeeper::Prepared {
            version: "9.8.7".to_owned(),
            holdings: crate::keeper::replacement::FORMAT,
        });
        // It is dropped here: too late for the answer, and the engine that retires is told.
    });
    assert!(
        matches!(&answer, ToEngine::SuccessorReady { version } if version == "9.8.7"),
        "{answer:?}"
    );
    engine.hear(|message| matches!(message, ToEngine::SuccessorFailed { reason } if reason == "it ended"));
    drop(engine);
    keeper.join().expect("it ends well");
}

#[test]
fn a_successor_that_speaks_otherwise_is_refused_with_the_reason() {
    type Say = fn(&mut Engine);
    let table: [(Say, &str); 4] = [
        (|one| one.say(&ToKeeper::Hello { version: 99 }), "version 99"),
        (
            |one| {
                one.say(&ToKeeper::Prepared {
                    version: "2.0.0".to_owned(),
                    holdings: 77,
                });
            },
            "format 77",
        ),
        (
            |one| {
                one.say(&ToKeeper::Unfit {
                    reason: "no such note".to_owned(),
                });
            },
            "no such note",
        ),
        (|one| one.write(&u32::MAX.to_le_bytes()), "it ended"),
    ];
    for (say, expected) in table {
        let (engine, answer, keeper) = upgrade(|mut successor| {
            successor.hear(|message| matches!(message, ToEngine::Rehearsed {}));
            say(&mut successor);
        });
        let ToEngine::SuccessorFailed { reason } = &answer else {
            panic!("{expected}: {answer:?}");
        };
        assert!(reason.contains(expected), "{expected}: {reason}");
        drop(engine);
        keeper.join().expect("it ends well");
    }
}
