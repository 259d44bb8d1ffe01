//! What runs on the host while a component does, seen and ended by the kernel alone.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use headship_core::ambari::Body;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep, timeout};

use crate::host::alias;
use crate::host::cgroup::Cgroups;

/// How often it is looked whether what was signalled is gone.
const AGAIN: Duration = Duration::from_millis(10);
/// How long it may take to go through all processes: the command line of one whose memory is being changed is waited for,
/// and one that hangs in that must not hang its reader.
const THROUGH: Duration = Duration::from_secs(2);

/// Whether anything of it runs.
pub(super) async fn runs(body: &Body) -> Result<bool, String> {
    match body {
        Body::Unit(unit) => populated(unit),
        Body::Process(word) => {
            let word = word.clone();
            apart(move || with(&word)).await.map(|found| !found.is_empty())
        }
    }
}

/// Whether any process of a unit is there.
pub(super) fn populated(unit: &str) -> Result<bool, String> {
    let cgroups = Cgroups::of_host();
    for name in names(unit) {
        if cgroups.populated(&name).map_err(|error| error.to_string())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// On a thread of its own, with a limit.
async fn apart<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match timeout(THROUGH, tokio::task::spawn_blocking(look)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => Err(format!("nobody looked: {error}")),
        Err(_) => Err(format!("going through all processes took longer than {THROUGH:?}")),
    }
}

/// Ends it: by SIGTERM, and by SIGKILL once `grace` is over. Whether anything is left at the end of `limit`.
pub(super) async fn end(body: &Body, grace: Duration, limit: Duration) -> Result<bool, String> {
    let (gentle, end) = (Instant::now() + grace, Instant::now() + limit);
    if !grace.is_zero() {
        signal(body, Signal::TERM).await?;
    }
    loop {
        if !runs(body).await? {
            return Ok(false);
        }
        let now = Instant::now();
        if now >= gentle {
            signal(body, Signal::KILL).await?;
        }
        // SIGKILL is sent once in any case, and looked after.
        if now >= end {
            sleep(AGAIN).await;
            return runs(body).await;
        }
        sleep(AGAIN).await;
    }
}

async fn signal(body: &Body, signal: Signal) -> Result<(), String> {
    match body {
        Body::Unit(unit) => {
            let cgroups = Cgroups::of_host();
            names(unit).iter().try_for_each(|name| {
                let sent = if signal == Signal::KILL {
                    cgroups.kill_now(name)
                } else {
                    cgroups.terminate(name)
                };
                sent.map_err(|error| error.to_string())
            })
        }
        Body::Process(word) => {
            let word = word.clone();
            apart(move || with(&word)?.into_iter().try_for_each(|pid| send(pid, &word, signal)))
                .await
        }
    }
}

/// The number may be another process's by now: what is held open is looked at once more, and then signalled.
fn send(pid: Pid, word: &str, signal: Signal) -> Result<(), String> {
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    if !has(pid, word)? {
        return Ok(());
    }
    match pidfd_send_signal(&held, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(format!("process {pid:?} cannot be signalled: {error}")),
    }
}

/// Its control group is named after the unit's own name.
fn names(unit: &str) -> BTreeSet<String> {
    [unit.to_owned(), alias::own_name(unit)].into()
}

/// The processes that have this word among their arguments.
fn with(word: &str) -> Result<Vec<Pid>, String> {
    let unreadable = |error: std::io::Error| format!("`/proc` cannot be read: {error}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && has(pid, word)?
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Not the program itself, which is a language's machine more often than not, and everybody's.
fn has(pid: Pid, word: &str) -> Result<bool, String> {
    let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
    match fs::read(&path) {
        Ok(line) => Ok(line.split(|byte| *byte == 0).skip(1).any(|it| it == word.as_bytes())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        // It ended while it was looked at.
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(false),
        Err(error) => Err(format!("`{path}` cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str, word: &str) -> Child {
        Command::new("/bin/sh")
            .args(["-c", script, word])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn word() -> (Body, String) {
        let dir = tempfile::tempdir().unwrap();
        let word = format!("org.example.{}", dir.path().display());
        (Body::Process(word.clone()), word)
    }

    #[tokio::test]
    async fn a_process_is_known_by_a_whole_argument_and_by_nothing_less() {
        let (body, word) = word();
        assert_eq!(runs(&body).await, Ok(false));
        let mut longer = shell("read x; :", &format!("{word}.more"));
        assert_eq!(runs(&body).await, Ok(false));
        let mut it = shell("while :; do sleep 0.1; done", &word);
        while runs(&body).await != Ok(true) {
            sleep(AGAIN).await;
        }
        assert_eq!(end(&body, LIMIT, LIMIT).await, Ok(false));
        assert!(!it.wait().unwrap().success());
        longer.kill().unwrap();
        longer.wait().unwrap();
    }

    #[tokio::test]
    async fn what_ignores_sigterm_is_killed_when_grace_is_over() {
        let (body, word) = word();
        let mut it = shell("trap '' TERM; while :; do sleep 0.1; done", &word);
        while runs(&body).await != Ok(true) {
            sleep(AGAIN).await;
        }
        assert_eq!(end(&body, Duration::from_millis(300), LIMIT).await, Ok(false));
        assert!(!it.wait().unwrap().success());
    }
}
