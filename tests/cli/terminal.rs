//! A real pseudo-terminal with a command in it, and a person in front of it.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};

use crate::stage::{Daemon, wait_for, wait_until};

/// A command whose stdin, stdout and stderr are one terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: std::fs::File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Runs `rollbridge <arguments>` with the daemon's config.
    pub fn run(daemon: &Daemon, arguments: &[&str]) -> Terminal {
        Terminal::run_with(daemon, arguments, &[])
    }

    /// The same with some more variables.
    pub fn run_with(daemon: &Daemon, arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
        // A session of its own, whose terminal this is: otherwise Ctrl-C would be a letter like any other.
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(env!("CARGO_BIN_EXE_rollbridge"))
            .args(arguments)
            .arg("--config")
            .arg(daemon.config())
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .envs(environment.iter().copied());
        Terminal::start(command)
    }

    /// A shell somebody types into.
    pub fn run_shell(shell: &str, arguments: &[&str], search_path: &str) -> Terminal {
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(shell)
            .args(arguments)
            .env("PATH", search_path)
            .env("TERM", "dumb");
        Terminal::start(command)
    }

    pub fn type_text(&mut self, text: &str) {
        let typed = self.keyboard.write_all(text.as_bytes());
        typed.expect("somebody has the terminal");
    }

    fn start(mut command: Command) -> Terminal {
        let size = Winsize {
            ws_row: 50,
            ws_col: 160,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).expect("the system has a terminal left");
        let stream = |end: &OwnedFd| Stdio::from(end.try_clone().expect("a descriptor is left"));
        command
            .stdin(stream(&pair.slave))
            .stdout(stream(&pair.slave))
            .stderr(stream(&pair.slave));
        let child = command.spawn().expect("setsid is there");
        // Only the command holds its end now, so that we see the end of what it prints.
        drop((command, pair.slave));
        let keyboard = std::fs::File::from(pair.master);
        let mut reader = keyboard.try_clone().expect("a descriptor is left");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of a terminal is an error.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut shown = shown.lock().expect("nobody panics with it");
                shown.extend_from_slice(&buffer[..count]);
            }
        });
        Terminal {
            child,
            keyboard,
            screen,
        }
    }

    /// Everything printed so far, colours included.
    pub fn screen(&self) -> String {
        let screen = self.screen.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&screen).replace("\r\n", "\n")
    }

    pub fn wait_for_text(&self, text: &str) {
        let begun = std::time::Instant::now();
        wait_until(&format!("{text:?} on the terminal"), || {
            let late = begun.elapsed() > crate::stage::PATIENCE.mul_f32(0.9);
            assert!(!late, "{text:?} never came: {:?}", self.screen());
            self.screen().contains(text)
        });
    }

    pub fn press_control_c(&mut self) {
        self.keyboard
            .write_all(b"\x03")
            .expect("somebody has the terminal");
    }

    /// Waits for the end of the command.
    pub fn ends(&mut self) -> ExitStatus {
        wait_for("the command ends", || {
            self.child.try_wait().expect("it is our child")
        })
    }

    pub fn ends_with(&mut self, code: i32) {
        let status = self.ends();
        assert_eq!(status.code(), Some(code), "{}", self.screen());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text without its colours and cursor movements.
pub fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = after.find(|next: char| next.is_ascii_alphabetic());
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    plain + rest
}
