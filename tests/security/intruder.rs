//! A program of the intruder's that listens on a Unix socket, and writes down whatever it is told.

use std::path::Path;
use std::process::{Child, Command};

use crate::place::{Place, wait_until};

const LISTENER: &str = r#"
const net = require("node:net"), fs = require("node:fs")
const [path, told] = process.argv.slice(1)
net.createServer((client) => client.on("data", (data) => {
  fs.appendFileSync(told, data)
  client.write('{"status":"success","application":"shop","version":"0.1.0","proxy":{"host":"127.0.0.1","port":1}}\n')
}).on("error", () => {})).listen(path, () => fs.writeFileSync(told, ""))
"#;

/// Dropping it ends it.
pub struct Listener {
    child: Child,
    told: std::path::PathBuf,
}

impl Listener {
    pub fn on(place: &Place, path: &Path) -> Listener {
        let told = place.shared("told");
        let mut command = Command::new("node");
        command.args(["-e", LISTENER]).arg(path).arg(&told);
        let child = place.keep_intruding(&mut command);
        wait_until("the intruder listens", || told.exists());
        Listener { child, told }
    }

    pub fn was_told(&self) -> String {
        std::fs::read_to_string(&self.told).unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
