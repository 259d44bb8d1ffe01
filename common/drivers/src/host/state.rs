//! What a node remembers over a reboot: a headnode the highest epoch it saw, and each node whom it follows.

use std::path::{Path, PathBuf};

use headship_core::epoch::Remembered;
use headship_core::follower::Followed;

use super::files::{self, Durable, FileError};

/// The folder of what outlives a reboot, `/var/lib/headship` on a host.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The folder at `path`, which exists (systemd makes it).
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The highest epoch seen; `None` if this headnode never saw one. A damaged file is an error and not `None`: taking it
    /// for a fresh headnode would forget which life of the cluster it belonged to.
    pub fn seen(&self) -> Result<Option<Remembered>, FileError> {
        files::read(&self.0.join("epoch"))
    }

    /// Remembers `seen`. Blocks until the disk has it.
    pub fn remember(&self, seen: &Remembered) -> Result<(), FileError> {
        files::write(&self.0.join("epoch"), seen, Durable::Yes)
    }

    /// Whom this node followed last; `None` if it never followed anybody. As with `seen`, damage is an error.
    pub fn followed(&self) -> Result<Option<Followed>, FileError> {
        files::read(&self.0.join("followed"))
    }

    /// Remembers whom this node follows. Blocks until the disk has it.
    pub fn follow(&self, followed: &Followed) -> Result<(), FileError> {
        files::write(&self.0.join("followed"), followed, Durable::Yes)
    }
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::{Epoch, Incarnation};

    use super::*;

    fn seen(epoch: u64) -> Remembered {
        Remembered { incarnation: Incarnation("i".to_owned()), epoch: Epoch(epoch) }
    }

    #[test]
    fn what_was_remembered_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        assert_eq!(state.seen().unwrap(), None);
        state.remember(&seen(7)).unwrap();
        assert_eq!(state.seen().unwrap(), Some(seen(7)));
    }

    #[test]
    fn whom_a_node_follows_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        assert_eq!(state.followed().unwrap(), None);
        let Remembered { incarnation, epoch } = seen(7);
        let node = "hn0".try_into().unwrap();
        let followed = Followed { incarnation, epoch, node, address: "10.0.0.10".parse().unwrap() };
        state.follow(&followed).unwrap();
        assert_eq!(state.followed().unwrap(), Some(followed));
    }

    #[test]
    fn a_damaged_epoch_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path());
        std::fs::write(dir.path().join("epoch"), "{\"incarnation\":").unwrap();
        let error = state.seen().unwrap_err();
        assert!(error.to_string().contains("epoch` is damaged"), "{error}");
    }
}
