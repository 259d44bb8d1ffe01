//! A command as a plain process, for hosts without systemd (a container, a test without root).
//!
//! It leads a session of its own, so that it outlives the daemon that started it, and all that it starts can be found:
//! a session's number is not used again while any process is in it. Who leads it stands in a file of the run folder,
//! `process/<service>`. What leaves its session on purpose is out of sight; under systemd the control group has no such gap.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use headship_core::fencing::End;
use headship_core::services::{Ended, Observed};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, setsid};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

use crate::host::files::{self, Durable, FileError};
use crate::host::gate;
use crate::host::identity;
use crate::host::run::RunDir;
use crate::host::watch::{Watch, readiness};

/// How often a group that is to end is looked at again.
const AGAIN: Duration = Duration::from_millis(10);

/// Who leads a service's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leader {
    /// The boot; numbers of another one mean nothing.
    boot: String,
    /// Its process, which is its session's number, too.
    pid: i32,
    /// When it began, in the kernel's ticks: a number that is used again has another.
    start: u64,
}

/// A service that is a plain process.
#[derive(Clone, Debug)]
pub struct Process {
    name: String,
    command: Vec<String>,
    run: RunDir,
    gate: PathBuf,
    gated: Gated,
}

/// Why `launch` did not become the command.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The gate refused.
    #[error(transparent)]
    Refused(#[from] gate::Refused),
    /// It runs already, or is just being started or ended.
    #[error("it runs already, or another start or stop of it is under way")]
    Busy,
    /// A file stands in the way.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel refused; what was tried.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Whether a start passes the gate, as each of an HA service must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gated {
    /// It does.
    Yes,
    /// It is a program of the node that runs whoever is active, such as its agent.
    No,
}

/// Becomes `command` as the service `name`: what `gate --launch` does. Returns only if it must not, or cannot.
pub fn launch(run: &RunDir, name: &str, command: &[String], gated: Gated) -> LaunchError {
    match prepare(run, name, gated) {
        // The lock goes with the exec.
        Ok((log, _lock)) => {
            let Some((program, arguments)) = command.split_first() else {
                return kernel("run an empty command", Errno::EINVAL.into());
            };
            let errors = match log.try_clone() {
                Ok(errors) => errors,
                Err(source) => return kernel("use its log", source),
            };
            let source = Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(errors)
                .exec();
            kernel("execute it", source)
        }
        Err(error) => error,
    }
}

fn kernel(what: &'static str, source: io::Error) -> LaunchError {
    LaunchError::Kernel { what, source }
}

fn prepare(run: &RunDir, name: &str, gated: Gated) -> Result<(File, Flock<File>), LaunchError> {
    let place = Place::new(run, name);
    let lock = place.lock()?;
    let members = place.members().map_err(|source| kernel("see its processes", source))?;
    if !members.is_empty() {
        return Err(LaunchError::Busy);
    }
    setsid().map_err(|errno| kernel("lead a session", errno.into()))?;
    let pid = getpid().as_raw();
    let start = stat(pid).map(|stat| stat.start).unwrap_or_default();
    let boot = identity::boot().map_err(|error| gate::Refused::Boot { error })?;
    // First the file, then the gate: whoever closes the gate looks for the file afterwards, so one of the two sees the other.
    files::write(&place.file, &Leader { boot, pid, start }, Durable::No)?;
    let passed = match gated {
        Gated::Yes => gate::check(run).map_err(LaunchError::from),
        Gated::No => Ok(()),
    };
    let opened = passed.and_then(|()| place.log());
    match opened {
        Ok(log) => Ok((log, lock)),
        Err(error) => {
            files::remove(&place.file)?;
            Err(error)
        }
    }
}

impl Process {
    /// The service `name`; `gate` is the start gate's program.
    pub fn new(
        name: String,
        command: Vec<String>,
        run: RunDir,
        gate: PathBuf,
        gated: Gated,
    ) -> Self {
        Self { name, command, run, gate, gated }
    }

    /// Starts it, through the gate if it must.
    pub async fn start(&self, limit: Duration) -> Ended {
        match timeout(limit, self.try_start()).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => Ended::Failed { why: error.to_string(), by_gate: false },
            Err(_) => Ended::Unknown { why: format!("it did not start in {limit:?}") },
        }
    }

    async fn try_start(&self) -> io::Result<Ended> {
        if self.runs()? {
            return Ok(Ended::Done);
        }
        // The launcher's standard output ends when it becomes the command; until then it may say why it does not.
        let mut launcher = tokio::process::Command::new(&self.gate)
            .arg(match self.gated {
                Gated::Yes => "--launch",
                Gated::No => "--launch-ungated",
            })
            .arg(self.run.path())
            .arg(&self.name)
            .args(&self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut said = String::new();
        if let Some(mut words) = launcher.stdout.take() {
            words.read_to_string(&mut said).await?;
        }
        if said.is_empty() {
            // It is the command now. Its end is seen by `changes`; here it is only reaped.
            tokio::spawn(async move { launcher.wait().await });
            return Ok(Ended::Done);
        }
        Ok(refusal(launcher.wait().await?, said.trim_end()))
    }

    /// SIGTERM to all of it. What then is left is for `kill`.
    pub async fn stop(&self, limit: Duration) -> Ended {
        self.end(Signal::SIGTERM, limit).await
    }

    /// SIGKILL to all of it.
    pub async fn kill(&self, limit: Duration) -> Ended {
        self.end(Signal::SIGKILL, limit).await
    }

    async fn end(&self, signal: Signal, limit: Duration) -> Ended {
        let place = Place::new(&self.run, &self.name);
        match place.end(signal, limit).await {
            Ok(left) if left.is_empty() => Ended::Done,
            Ok(left) => Ended::Failed {
                why: format!("processes {left:?} are still there {limit:?} after {signal}"),
                by_gate: false,
            },
            Err(error) => Ended::Failed { why: error.to_string(), by_gate: false },
        }
    }

    /// What it is doing.
    pub fn observe(&self) -> Observed {
        let place = Place::new(&self.run, &self.name);
        match (place.members(), place.leader()) {
            (Ok(members), Ok(Some(leader))) if members.contains(&leader.pid) => Observed::Running,
            (Ok(members), _) if !members.is_empty() => Observed::Stopping,
            (Ok(_), Ok(Some(_))) => Observed::Failed { why: "its process ended".to_owned() },
            (Ok(_), Ok(None)) => Observed::Stopped,
            (Ok(_), Err(error)) => Observed::Failed { why: error.to_string() },
            (Err(error), _) => {
                tracing::debug!("{} cannot be seen: {error}", self.name);
                Observed::Unknown
            }
        }
    }

    /// Whether any process of it lives.
    pub fn runs(&self) -> io::Result<bool> {
        Ok(!Place::new(&self.run, &self.name).members()?.is_empty())
    }

    /// Calls `tell` whenever it starts or ends, for ever, or until `tell` says that nobody listens.
    pub async fn watch(self, tell: impl AsyncFn() -> bool) {
        let place = Place::new(&self.run, &self.name);
        // If it cannot be made, the watch says so, and waits for it.
        drop(fs::create_dir_all(&place.folder));
        let mut file = Watch::new(place.folder.clone(), vec![self.name.clone()]);
        loop {
            tokio::select! {
                _ = file.changed() => {}
                () = place.leader_ends() => {}
            }
            if !tell().await {
                return;
            }
        }
    }
}

fn refusal(status: ExitStatus, said: &str) -> Ended {
    let by_gate = status.code() == Some(i32::from(gate::REFUSED));
    Ended::Failed { why: said.to_owned(), by_gate }
}

/// Where a service's files are.
struct Place {
    folder: PathBuf,
    file: PathBuf,
    log: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn new(run: &RunDir, name: &str) -> Self {
        let folder = run.path().join("process");
        // The names of services have no dots at their ends, so these three never meet.
        let file = |ending: &str| folder.join(format!("{name}{ending}"));
        Self { file: file(""), log: file(".log"), lock: file(".lock"), folder }
    }

    fn lock(&self) -> Result<Flock<File>, LaunchError> {
        fs::create_dir_all(&self.folder).map_err(|source| kernel("make its folder", source))?;
        let file = File::create(&self.lock).map_err(|source| kernel("make its lock", source))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) => Err(LaunchError::Busy),
            Err((_, errno)) => Err(kernel("lock it", errno.into())),
        }
    }

    fn log(&self) -> Result<File, LaunchError> {
        let log = File::options().create(true).append(true).open(&self.log);
        log.map_err(|source| kernel("use its log", source))
    }

    fn leader(&self) -> Result<Option<Leader>, FileError> {
        let leader: Option<Leader> = files::read(&self.file)?;
        let boot = identity::boot().ok();
        Ok(leader.filter(|leader| boot.as_ref() == Some(&leader.boot)))
    }

    /// All living processes of its session.
    fn members(&self) -> io::Result<Vec<i32>> {
        let leader = match self.leader() {
            Ok(Some(leader)) => leader,
            Ok(None) => return Ok(Vec::new()),
            Err(error) => return Err(io::Error::other(error)),
        };
        if stat(leader.pid).is_some_and(|stat| stat.start != leader.start) {
            // The number was used again, so its session is long gone.
            return Ok(Vec::new());
        }
        living(|stat| stat.session == leader.pid)
    }

    /// Sends `signal` until nothing is left or `limit` has passed; returns what is left.
    async fn end(&self, signal: Signal, limit: Duration) -> io::Result<Vec<i32>> {
        let end = Instant::now() + limit;
        let mut told: Vec<i32> = Vec::new();
        loop {
            let members = self.members()?;
            if members.is_empty() {
                self.forget();
                return Ok(members);
            }
            if Instant::now() >= end {
                return Ok(members);
            }
            // Each is asked to end once: a second SIGTERM means "at once" to some programs.
            for pid in members.iter().filter(|pid| !told.contains(pid)) {
                match kill(Pid::from_raw(*pid), signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            told = members;
            sleep(AGAIN).await;
        }
    }

    /// Removes the file, so that the service is stopped and not failed; unless somebody starts it just now.
    fn forget(&self) {
        let Ok(_lock) = self.lock() else { return };
        if self.members().is_ok_and(|members| members.is_empty())
            && let Err(error) = files::remove(&self.file)
        {
            tracing::debug!("a stopped service is still listed as ended: {error}");
        }
    }

    /// Waits until the living leader of now ends; for ever if there is none.
    async fn leader_ends(&self) {
        let Ok(Some(leader)) = self.leader() else { return std::future::pending().await };
        let process = rustix::process::Pid::from_raw(leader.pid);
        let flags = rustix::process::PidfdFlags::empty();
        let fd = process.and_then(|pid| rustix::process::pidfd_open(pid, flags).ok());
        let lives = stat(leader.pid).is_some_and(|stat| stat.lives && stat.start == leader.start);
        let (Some(fd), true) = (fd, lives) else { return std::future::pending().await };
        match readiness(fd) {
            Ok(end) => drop(end.readable().await),
            Err(error) => {
                tracing::debug!("the end of {} will be seen late: {error}", self.file.display());
                std::future::pending().await
            }
        }
    }
}

/// How a process ended.
pub(crate) fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signal(signal),
        (None, None) => End::Unseen(format!("ended as nothing does: {status}")),
    }
}

/// All living processes of which this holds.
pub(crate) fn living(holds: impl Fn(&Stat) -> bool) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && stat(pid).is_some_and(|stat| stat.lives && holds(&stat))
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// What `/proc/<pid>/stat` tells of a process.
#[derive(Debug)]
pub(crate) struct Stat {
    lives: bool,
    pub(crate) group: i32,
    session: i32,
    start: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    parse_stat(&text)
}

/// The name in the second field may hold anything, so the fields are counted from its end.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let lives = !matches!(fields.next()?, "Z" | "X");
    let group = fields.nth(1)?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let start = fields.nth(15)?.parse().ok()?;
    Some(Stat { lives, group, session, start })
}
