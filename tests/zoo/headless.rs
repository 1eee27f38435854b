//! A program whose first thread ends long before its others: /proc shows it as a zombie, and it lives.

#![allow(
    unsafe_code,
    reason = "no safe code ends the first thread alone, and the test harness keeps it for itself"
)]

use nix::libc;
use serde_json::json;

use crate::cage::Cage;

/// Runs before `main`, on the first thread: with this variable the tests' own executable is the animal.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = lose_the_head_if_asked;

extern "C" fn lose_the_head_if_asked() {
    // SAFETY: a pointer to a constant text that ends in a zero byte.
    if unsafe { libc::getenv(c"ZOO_HEADLESS".as_ptr()) }.is_null() {
        return;
    }
    std::thread::spawn(|| {
        let state = || std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        while !state().contains(") Z ") {
            std::thread::yield_now();
        }
        let words = format!("headless {}\n", std::process::id());
        // SAFETY: the bytes are valid for as long as they are written.
        unsafe { libc::write(1, words.as_ptr().cast(), words.len()) };
        loop {
            std::thread::park();
        }
    });
    // SAFETY: ends this thread alone, and nothing of its stack is used by the other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

fn animal() -> String {
    let executable = std::env::current_exe().unwrap();
    format!("'{}'", executable.display())
}

async fn headless_pid(cage: &Cage) -> i32 {
    let pid = |line: &String| line.strip_prefix("headless ")?.parse().ok();
    cage.eventually(|cage| cage.lines().iter().any(|line| pid(line).is_some()))
        .await;
    cage.lines().iter().find_map(pid).unwrap()
}

/// Whether more of it is left than a zombie that nobody has asked about yet.
fn lives(pid: i32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1)
}

#[tokio::test]
async fn one_without_its_first_thread_is_alive_until_it_is_stopped() {
    let cage = Cage::start(&format!("ZOO_HEADLESS=1 exec {}", animal()), json!({})).await;
    let pid = headless_pid(&cage).await;
    let members = cage.usage().await.members;
    assert_eq!(members.len(), 1, "{members:?}");
    assert!(members[0].rss_bytes > 0);
    cage.stop().await;
    assert!(!lives(pid));
    assert!(!cage.heard("process killed"));
}

#[tokio::test]
async fn one_without_its_first_thread_is_found_by_its_token() {
    let away = format!(
        "(ZOO_HEADLESS=1 setsid sh -c \"exec {}\" &) ; exec sleep 1000",
        animal()
    );
    let cage = Cage::start(&away, json!({ "gracefulStopMs": 5000 })).await;
    let pid = headless_pid(&cage).await;
    cage.has_members(2).await;
    cage.stop().await;
    assert!(!lives(pid));
    assert!(!cage.heard("process killed"));
}
