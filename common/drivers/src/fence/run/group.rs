//! A fence program as the leader of a process group of its own.

use std::time::Duration;

use headship_core::fencing::End;
use headship_core::say::Kind;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::{GONE, Pipes};
use crate::host::watch::readiness;
use crate::process;

/// How often a killed group is looked at.
const AGAIN: Duration = Duration::from_millis(5);

/// A process group that is killed when this is dropped, however that comes.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        match killpg(self.0, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(
                MESSAGE_ID = Kind::FenceProgramLeft.id(),
                "a fence program cannot be killed: {error}"
            ),
        }
    }
}

/// Runs it for `limit` at most. Afterwards nothing of its group is left.
pub(super) async fn run(
    command: &[String],
    environment: &[(String, String)],
    pipes: Pipes,
    limit: Duration,
) -> End {
    let spawned = spawn(command, environment, pipes);
    let (mut child, pid) = match spawned {
        Ok(spawned) => spawned,
        Err(error) => return End::Unseen(format!("cannot be run: {error}")),
    };
    let late = {
        // Killed before its leader is reaped: until then its number cannot be anybody else's.
        let _group = Group(Pid::from_raw(pid));
        timeout(limit, exit(pid)).await.is_err()
    };
    let status = timeout(GONE, child.wait()).await;
    all_gone(pid).await;
    match status {
        _ if late => End::Late(limit),
        Ok(Ok(status)) => process::end_of(status),
        Ok(Err(error)) => End::Unseen(format!("was not seen to end: {error}")),
        Err(_) => End::Unseen("does not end, though it was killed".to_owned()),
    }
}

fn spawn(
    command: &[String],
    environment: &[(String, String)],
    pipes: Pipes,
) -> std::io::Result<(Child, i32)> {
    let (program, arguments) = command.split_first().ok_or(Errno::EINVAL)?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(pipes.input)
        .stdout(pipes.output)
        .stderr(pipes.errors)
        .process_group(0)
        .spawn()?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or(Errno::ESRCH)?;
    Ok((child, pid))
}

/// Waits until the process has ended, without reaping it; for ever if that cannot be seen.
async fn exit(pid: i32) {
    let fd = rustix::process::Pid::from_raw(pid)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        .and_then(|fd| readiness(fd).ok());
    match fd {
        Some(fd) => drop(fd.readable().await),
        None => std::future::pending().await,
    }
}

/// Waits until nothing of the group lives, or says so.
async fn all_gone(group: i32) {
    let end = Instant::now() + GONE;
    loop {
        match process::living(|stat| stat.group == group) {
            Ok(left) if left.is_empty() => return,
            Ok(_) if Instant::now() < end => sleep(AGAIN).await,
            Ok(left) => {
                tracing::warn!(
                    MESSAGE_ID = Kind::FenceProgramLeft.id(),
                    "processes {left:?} of a fence program are still there"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(
                    MESSAGE_ID = Kind::FenceProgramLeft.id(),
                    "nobody knows what is left of a fence program: {error}"
                );
                return;
            }
        }
    }
}
