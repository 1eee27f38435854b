//! A command that goes on, with its output in pipes.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::stage::{PATIENCE, wait_for, wait_until};

/// A running command.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command is started");
        let (stdout, stderr) = (Pipe::default(), Pipe::default());
        let readers = vec![
            stdout.fill(child.stdout.take().expect("a pipe")),
            stderr.fill(child.stderr.take().expect("a pipe")),
        ];
        Running {
            child,
            stdout,
            stderr,
            readers,
        }
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    pub fn wait_for_stdout(&self, text: &str) {
        self.wait_for("stdout", text, || self.stdout());
    }

    pub fn wait_for_stderr(&self, text: &str) {
        self.wait_for("stderr", text, || self.stderr());
    }

    fn wait_for(&self, what: &str, text: &str, read: impl Fn() -> String) {
        let begun = std::time::Instant::now();
        wait_until(&format!("{text:?} on {what}"), || {
            let late = begun.elapsed() > PATIENCE.mul_f32(0.9);
            assert!(
                !late,
                "{text:?} never came; stdout: {:?} stderr: {:?}",
                self.stdout(),
                self.stderr()
            );
            read().contains(text)
        });
    }

    /// Waits for the end of the command, which must have this exit status.
    pub fn ends_with(&mut self, code: i32) {
        let status = wait_for("the command ends", || {
            self.child.try_wait().expect("it is our child")
        });
        for reader in self.readers.drain(..) {
            reader.join().expect("it only reads");
        }
        assert_eq!(status.code(), Some(code), "{} {}", self.stdout(), self.stderr());
    }
}

impl Pipe {
    fn fill(&self, mut pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let text = self.0.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let mut text = text.lock().expect("nobody panics with it");
                text.extend_from_slice(&buffer[..count]);
            }
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panics with it")).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
