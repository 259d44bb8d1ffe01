//! The marks of this host: what may run here without being a process.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use headship_core::actions::Mark;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, sleep};

use crate::host::files::{self, Durable, FileError};
use crate::host::run::RunDir;

/// How often a lock that somebody holds is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Why a mark is of no use.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// Somebody starts, stops or looks at the service just now.
    #[error("another start, stop or look of it is under way")]
    Busy,
    /// Its file stands in the way.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its lock cannot be had.
    #[error("cannot use its lock `{path}`: {source}")]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Where marks and their locks are.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    folder: PathBuf,
    locks: PathBuf,
}

impl Marks {
    pub(super) fn new(run: &RunDir) -> Self {
        Self { folder: run.path().join("marks"), locks: run.path().join("mark-locks") }
    }

    fn file(&self, service: &str) -> PathBuf {
        self.folder.join(service)
    }

    /// Whether there is a mark. One that is damaged stands for a service as any other.
    pub(super) fn is_there(&self, service: &str) -> Result<bool, FileError> {
        let path = self.file(service);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FileError::Unreadable { path, source }),
        }
    }

    pub(super) fn read(&self, service: &str) -> Result<Option<Mark>, FileError> {
        files::read(&self.file(service))
    }

    pub(super) fn write(&self, mark: &Mark) -> Result<(), FileError> {
        let make = |source| FileError::Unwritable { path: self.folder.clone(), source };
        fs::create_dir_all(&self.folder).map_err(make)?;
        files::write(&self.file(&mark.recipe.service), mark, Durable::No)
    }

    pub(super) fn remove(&self, service: &str) -> Result<(), FileError> {
        files::remove(&self.file(service))
    }

    /// Keeps everybody else from starting, stopping or looking at the service. The kernel lets go of it with this process;
    /// what it runs does not inherit it.
    pub(super) async fn lock(
        &self,
        service: &str,
        limit: Duration,
    ) -> Result<Flock<File>, MarkError> {
        let end = Instant::now() + limit;
        let path = self.locks.join(service);
        let trouble = |source| MarkError::Lock { path: path.clone(), source };
        fs::create_dir_all(&self.locks).map_err(trouble)?;
        let mut file = File::create(&path).map_err(trouble)?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= end => {
                    return Err(MarkError::Busy);
                }
                Err((back, Errno::EWOULDBLOCK)) => file = back,
                Err((_, errno)) => return Err(trouble(errno.into())),
            }
            sleep(AGAIN).await;
        }
    }
}
