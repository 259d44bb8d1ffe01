//! What becomes of a daemon one of whose tasks panics.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use headship_daemon::{run, start};
use nix::sys::signal::Signal;

/// Set for the process that panics.
const PANICS: &str = "HEADSHIP_TEST_PANICS";

#[test]
fn a_panic_of_any_task_ends_the_process() {
    if env::var_os(PANICS).is_some() {
        start::abort_on_panic();
        let task = async { panic!("a task's state is worth nothing any more") };
        let joined = run::block_on(async { tokio::spawn(task).await });
        unreachable!("the process lives on after {joined:?}");
    }
    let name = "a_panic_of_any_task_ends_the_process";
    let mut child = Command::new(env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(PANICS, "yes").output().unwrap();
    assert_eq!(output.status.signal(), Some(Signal::SIGABRT as i32), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("a task's state is worth nothing any more"), "{said}");
}
