//! Running the machine's own programs (`ip`, `nft`, `mmdebstrap`, …), and waiting for conditions.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::error::{LabError, Result};

/// Pause between two looks at a condition: short against all that is measured here, long enough to leave the machine's
/// two cores to the hosts.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Runs `program` to its end and returns what it printed.
///
/// # Errors
/// It could not be started, or ended with another status than 0.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String> {
    finish(Command::new(program).args(args))
}

/// As [`run`], for a command that is put together already.
pub(crate) fn finish(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = output(command).map_err(|error| LabError::Command {
        line: line.clone(),
        status: "not started".to_owned(),
        stderr: error.to_string(),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LabError::Command { line, status: output.status.to_string(), stderr })
}

/// Runs a command to its end, whatever that is. It is not let stand still: a host that shuts down stops all its processes
/// before it kills them, `nsenter` stops itself along with the one that it waits for, and nobody else would have it go on.
pub(crate) fn output(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    thread::scope(|scope| {
        scope.spawn(|| keep_going(pid));
        child.wait_with_output()
    })
}

/// Continues a child of ours each time it is stopped, until it ends.
fn keep_going(pid: Pid) {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    // An error: it has ended, and its end was taken.
    while let Ok(Some(status)) = retry_on_intr(|| waitid(WaitId::Pid(pid), options)) {
        if !status.stopped() {
            return;
        }
        // It may have been killed meanwhile.
        kill_process(pid, Signal::CONT).ok();
    }
}

fn line_of(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Waits until `holds` is true, looking every few milliseconds.
///
/// # Errors
/// [`LabError::TooLate`] with `sentence`, which says what should have come true.
pub fn wait_until(sentence: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    wait_for(sentence, limit, || holds().then_some(()))
}

/// Waits until `look` gives a value, and returns it.
///
/// # Errors
/// [`LabError::TooLate`] with `sentence`, which says what should have come true.
pub fn wait_for<T>(
    sentence: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look() {
            return Ok(value);
        }
        if start.elapsed() > limit {
            return Err(LabError::TooLate { sentence: sentence.to_owned(), limit });
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_command_tells_its_line_its_status_and_its_words() {
        let error = run("sh", &["-c", "echo broken >&2; exit 3"]).unwrap_err().to_string();
        assert_eq!(error, "`sh -c echo broken >&2; exit 3` failed (exit status: 3): broken");
    }

    #[test]
    fn a_command_that_stops_itself_goes_on() {
        let said =
            run("sh", &["-c", "kill -STOP $$; echo still here; kill -STOP $$; echo and here"]);
        assert_eq!(said.unwrap(), "still here\nand here\n");
    }

    #[test]
    fn vain_wait_ends_with_the_sentence() {
        let error = wait_until("the moon is blue", Duration::from_millis(10), || false)
            .unwrap_err()
            .to_string();
        assert_eq!(error, "waited 10ms in vain: the moon is blue");
    }
}
