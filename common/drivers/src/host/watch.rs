//! Tells when files of one folder change, by inotify.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use headship_core::say::Kind;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::io::unix::AsyncFd;

/// How soon a folder that cannot be watched is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Watches some names of a folder.
#[derive(Debug)]
pub(crate) struct Watch {
    folder: PathBuf,
    names: Vec<String>,
    /// `None` until the folder could be watched, and after it went away.
    source: Option<AsyncFd<Source>>,
    /// The last failure is said once.
    failing: bool,
}

#[derive(Debug)]
struct Source(Inotify);

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Will watch these names in `folder`, which need not exist yet.
    pub(crate) fn new(folder: PathBuf, names: Vec<String>) -> Self {
        Self { folder, names, source: None, failing: false }
    }

    /// The names that changed since the last call: all of them at the first one, and whenever something may have been
    /// missed. Nothing is lost if the future is dropped.
    pub(crate) async fn changed(&mut self) -> Vec<String> {
        loop {
            let Some(source) = &self.source else {
                match self.open() {
                    Ok(source) => {
                        self.source = Some(source);
                        self.failing = false;
                        return self.names.clone();
                    }
                    Err(error) => self.say(&error),
                }
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let events = match source.readable().await {
                Ok(mut ready) => match ready.get_inner().0.read_events() {
                    Err(Errno::EAGAIN) => {
                        ready.clear_ready();
                        continue;
                    }
                    events => events.map_err(std::io::Error::from),
                },
                Err(error) => Err(error),
            };
            match events {
                Ok(events) if events.iter().any(missed) => self.source = None,
                Ok(events) => {
                    let names = self.named(&events);
                    if !names.is_empty() {
                        return names;
                    }
                }
                Err(error) => {
                    self.say(&error);
                    self.source = None;
                }
            }
        }
    }

    fn named(&self, events: &[InotifyEvent]) -> Vec<String> {
        let changed = |name: &&String| {
            events.iter().any(|event| event.name.as_deref().is_some_and(|it| it == name.as_str()))
        };
        self.names.iter().filter(changed).cloned().collect()
    }

    fn open(&self) -> std::io::Result<AsyncFd<Source>> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(&self.folder, changes)?;
        readiness(Source(inotify))
    }

    fn say(&mut self, error: &std::io::Error) {
        if !self.failing {
            self.failing = true;
            tracing::warn!(
                MESSAGE_ID = Kind::StatusFault.id(),
                "cannot watch `{}`, trying again: {error}",
                self.folder.display()
            );
        }
    }
}

/// Tells when the descriptor can be read.
#[expect(
    deprecated,
    reason = "its successor is unsafe; what we pass keeps its descriptor to the end"
)]
pub(crate) fn readiness<T: AsRawFd>(fd: T) -> std::io::Result<AsyncFd<T>> {
    AsyncFd::new(fd)
}

/// Whether events were lost, or the folder is no longer the one that is watched.
fn missed(event: &InotifyEvent) -> bool {
    event.mask.intersects(
        AddWatchFlags::IN_Q_OVERFLOW
            | AddWatchFlags::IN_IGNORED
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF,
    )
}
