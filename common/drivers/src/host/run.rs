//! The files of `/run/headship`: the host's contract between the daemons, `protocol.md`, 6.
//!
//! They lie in memory and are gone with a reboot. When to write which is decided in the core.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use headship_core::config::OWN_UNITS;
use headship_core::follower::AgentNote;
use headship_core::lease::{Closed, Permit};
use headship_core::say::Kind;
use headship_core::time::Time;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::files::{self, Durable, FileError};
use super::reboot;
use super::watch::Watch;

/// The folder on a host that runs systemd.
pub const RUN: &str = "/run/headship";

const PERMIT: &str = "permit";
const CLOSED: &str = "closed";
const STATUS: &str = "status";
const LOCK: &str = "lock";
const GUARD_FAILED: &str = "guard-failed";
const AGENT: &str = "agent";

/// The folder of the host's contract.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

/// Which of the two files that others act on has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The permit.
    pub permit: bool,
    /// The closed epoch.
    pub closed: bool,
}

/// Tells when `permit` or `closed` change.
#[derive(Debug)]
pub struct Touches(Watch);

/// What one daemon last said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusLine {
    /// The daemon.
    pub daemon: String,
    /// Its line.
    pub line: String,
    /// How long ago it was written.
    pub age: Duration,
}

/// Held as long as the process lives: there is one of each daemon on a host.
#[derive(Debug)]
pub struct DaemonLock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

/// Why the lock of a daemon was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("another {daemon} runs on this host: stop it first")]
    Held {
        /// The daemon.
        daemon: String,
    },
    /// The file could not be locked.
    #[error("cannot lock `{path}`")]
    Unlockable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// Whether it is only that another process holds it.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

impl RunDir {
    /// The folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether systemd is what starts services here. Only the host's own folder speaks for the host: the units' gate reads
    /// that one. A daemon with another folder keeps to itself: its services are plain processes, and it reboots nothing.
    pub fn under_systemd(&self) -> bool {
        self.0 == Path::new(RUN) && reboot::booted_by_systemd()
    }

    /// Makes the folder where it is missing. Others may look (`headship status`), not write.
    pub fn create(&self) -> Result<(), FileError> {
        make(&self.0).map_err(|source| FileError::Unwritable { path: self.0.clone(), source })
    }

    /// The folder of what only this daemon writes: it need not have a right to write anything else here.
    fn own(&self, daemon: &str) -> PathBuf {
        self.0.join(daemon)
    }

    /// The permit; `None` if there is none. An error means that there is none either: say it, and go on without.
    pub fn permit(&self) -> Result<Option<Permit>, FileError> {
        files::read(&self.0.join(PERMIT))
    }

    /// The permit, if there is one that can be read; what cannot be read is said, and is none.
    pub fn readable_permit(&self) -> Option<Permit> {
        readable(self.permit())
    }

    /// The closed epoch, if there is one that can be read. To be told apart from none only by the gate.
    pub fn readable_closed(&self) -> Option<Closed> {
        readable(self.closed())
    }

    /// Replaces the permit.
    pub fn write_permit(&self, permit: &Permit) -> Result<(), FileError> {
        files::write(&self.0.join(PERMIT), permit, Durable::No)
    }

    /// Removes the permit; it may be gone already.
    pub fn remove_permit(&self) -> Result<(), FileError> {
        files::remove(&self.0.join(PERMIT))
    }

    /// The closed epoch; `None` if none was ever closed in this boot. Unlike with the permit, an error must not be taken
    /// for none: the gate then lets nothing through.
    pub fn closed(&self) -> Result<Option<Closed>, FileError> {
        files::read(&self.0.join(CLOSED))
    }

    /// Closes an epoch.
    pub fn write_closed(&self, closed: &Closed) -> Result<(), FileError> {
        files::write(&self.0.join(CLOSED), closed, Durable::No)
    }

    /// When the guard last failed in this boot, on BOOTTIME.
    pub fn guard_failed(&self) -> Result<Option<Time>, FileError> {
        files::read(&self.0.join(GUARD_FAILED))
    }

    /// Notes that the guard failed.
    pub fn write_guard_failed(&self, at: Time) -> Result<(), FileError> {
        files::write(&self.0.join(GUARD_FAILED), &at, Durable::No)
    }

    /// What the agent was last started with, if there is a note of it that can be read.
    pub fn readable_agent_note(&self) -> Option<AgentNote> {
        readable(files::read(&self.0.join(AGENT)))
    }

    /// Notes what the agent was last started with.
    pub fn write_agent_note(&self, note: &AgentNote) -> Result<(), FileError> {
        files::write(&self.0.join(AGENT), note, Durable::No)
    }

    /// Tells of changes of `permit` and `closed` from now on.
    pub fn touches(&self) -> Touches {
        Touches(Watch::new(self.0.clone(), vec![PERMIT.to_owned(), CLOSED.to_owned()]))
    }

    /// Writes a daemon's line, for when the quorum is away. Its folder is there once it holds its lock.
    pub fn write_status(&self, daemon: &str, line: &str) -> Result<(), FileError> {
        files::write_text(&self.own(daemon).join(STATUS), line.as_bytes(), Durable::No)
    }

    /// The daemons' lines, by daemon.
    pub fn statuses(&self) -> Result<Vec<StatusLine>, FileError> {
        let unreadable = |source| FileError::Unreadable { path: self.0.clone(), source };
        fs::read_dir(&self.0).map_err(unreadable)?;
        let mut lines = Vec::new();
        for daemon in OWN_UNITS.iter().filter_map(|unit| unit.strip_suffix(".service")) {
            let path = self.own(daemon).join(STATUS);
            // The folder may be another user's: a pipe in its place would hold us up.
            let is_file = fs::symlink_metadata(&path).is_ok_and(|it| it.is_file());
            let Some(line) = is_file.then(|| fs::read_to_string(&path).ok()).flatten() else {
                continue;
            };
            let written = path.metadata().and_then(|data| data.modified()).ok();
            let age = written.and_then(|at| SystemTime::now().duration_since(at).ok());
            let daemon = daemon.to_owned();
            lines.push(StatusLine { daemon, line, age: age.unwrap_or_default() });
        }
        lines.sort_by(|a, b| a.daemon.cmp(&b.daemon));
        Ok(lines)
    }

    /// Makes sure that there is one `daemon` on this host. To be called before anything else, and kept to the end.
    pub fn lock(&self, daemon: &str) -> Result<DaemonLock, LockError> {
        let path = self.own(daemon).join(LOCK);
        let unlockable = |source| LockError::Unlockable { path: path.clone(), source };
        make(&self.own(daemon)).map_err(unlockable)?;
        let file = File::create(&path).map_err(unlockable)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(DaemonLock(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::Held { daemon: daemon.to_owned() }),
            Err((_, errno)) => Err(unlockable(errno.into())),
        }
    }
}

/// Makes a folder that others may look into. One that is there and right is left alone: it may not be ours.
fn make(folder: &Path) -> io::Result<()> {
    const MODE: u32 = 0o755;
    fs::create_dir_all(folder)?;
    if fs::metadata(folder)?.permissions().mode() & 0o7777 != MODE {
        fs::set_permissions(folder, Permissions::from_mode(MODE))?;
    }
    Ok(())
}

fn readable<T>(read: Result<Option<T>, FileError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        tracing::error!(MESSAGE_ID = Kind::FileFault.id(), "{error}{}", cause.unwrap_or_default());
        None
    })
}

impl Touches {
    /// Waits for the next change. The first call returns at once with both, so that whoever reads the files after each
    /// call misses nothing. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Touched {
        let names = self.0.changed().await;
        let has = |name: &str| names.iter().any(|it| it == name);
        Touched { permit: has(PERMIT), closed: has(CLOSED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headship_core::epoch::{Epoch, Incarnation};

    fn permit(epoch: u64) -> Permit {
        Permit {
            incarnation: Incarnation("i".to_owned()),
            epoch: Epoch(epoch),
            boot: "b".to_owned(),
            deadline: Time::from_millis(1),
            lease_ms: 6000,
            kill_ms: 2000,
            grace_ms: 1500,
            alone: [].into(),
            kept: None,
        }
    }

    fn run() -> (tempfile::TempDir, RunDir) {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("headship"));
        run.create().unwrap();
        (dir, run)
    }

    #[test]
    fn a_permit_is_replaced_and_removed() {
        let (_dir, run) = run();
        assert_eq!(run.permit().unwrap(), None);
        run.write_permit(&permit(1)).unwrap();
        run.write_permit(&permit(2)).unwrap();
        assert_eq!(run.permit().unwrap(), Some(permit(2)));
        run.remove_permit().unwrap();
        run.remove_permit().unwrap();
        assert_eq!(run.permit().unwrap(), None);
    }

    #[test]
    fn a_damaged_permit_says_which_file_it_is() {
        let (_dir, run) = run();
        for damage in ["", "{}", "hello", "\u{0}\u{0}"] {
            fs::write(run.path().join("permit"), damage).unwrap();
            let error = run.permit().unwrap_err();
            assert!(error.to_string().contains("headship/permit` is damaged"), "{error}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_permit() {
        let (_dir, run) = run();
        run.write_permit(&permit(1)).unwrap();
        // A folder in the way of the new file: as with a full disk, it cannot be written.
        fs::create_dir(run.path().join("permit.new")).unwrap();
        assert!(matches!(run.write_permit(&permit(2)), Err(FileError::Unwritable { .. })));
        assert_eq!(run.permit().unwrap(), Some(permit(1)));
    }

    #[test]
    fn a_second_daemon_of_a_kind_is_refused_until_the_first_is_gone() {
        let (_dir, run) = run();
        let first = run.lock("master-fc").unwrap();
        assert!(matches!(run.lock("master-fc"), Err(LockError::Held { .. })));
        run.lock("slave-ha-service").unwrap();
        drop(first);
        run.lock("master-fc").unwrap();
    }

    #[test]
    fn status_lines_are_listed_by_daemon() {
        let (_dir, run) = run();
        assert!(matches!(run.write_status("master-fc", "?"), Err(FileError::Unwritable { .. })));
        let _locks = ["slave-ha-service", "master-fc"].map(|daemon| run.lock(daemon).unwrap());
        run.write_status("slave-ha-service", "guards nothing").unwrap();
        run.write_status("master-fc", "standby (epoch 7)").unwrap();
        let lines = run.statuses().unwrap();
        let daemons: Vec<_> = lines.iter().map(|line| line.daemon.as_str()).collect();
        assert_eq!(daemons, ["master-fc", "slave-ha-service"]);
        assert_eq!(lines[0].line, "standby (epoch 7)");
    }

    #[tokio::test]
    async fn changes_of_permit_and_closed_are_told() {
        let limit = Duration::from_secs(10);
        let (_dir, run) = run();
        let mut touches = run.touches();
        assert_eq!(touches.next().await, Touched { permit: true, closed: true });
        run.write_permit(&permit(1)).unwrap();
        let touched = tokio::time::timeout(limit, touches.next()).await.unwrap();
        assert_eq!(touched, Touched { permit: true, closed: false });
        drop(run.lock("master-fc").unwrap());
        run.write_status("master-fc", "of no interest").unwrap();
        let incarnation = Incarnation("i".to_owned());
        run.write_closed(&Closed { incarnation, epoch: Epoch(1) }).unwrap();
        let touched = tokio::time::timeout(limit, touches.next()).await.unwrap();
        assert_eq!(touched, Touched { permit: false, closed: true });
        run.remove_permit().unwrap();
        let touched = tokio::time::timeout(limit, touches.next()).await.unwrap();
        assert_eq!(touched, Touched { permit: true, closed: false });
    }

    #[tokio::test]
    async fn a_folder_that_is_made_anew_is_watched_again() {
        let limit = Duration::from_secs(10);
        let (_dir, run) = run();
        let mut touches = run.touches();
        touches.next().await;
        fs::remove_dir_all(run.path()).unwrap();
        run.create().unwrap();
        let touched = tokio::time::timeout(limit, touches.next()).await.unwrap();
        assert_eq!(touched, Touched { permit: true, closed: true });
        run.write_permit(&permit(1)).unwrap();
        let touched = tokio::time::timeout(limit, touches.next()).await.unwrap();
        assert!(touched.permit);
    }
}
