//! One question after another, for programs that look or write once and leave: the command line, the tests.

use std::time::Duration;

use headship_core::quorum::{ActionId, Event, Found, Op, Outcome, Request, SessionId};
use headship_core::record::Key;
use tokio::time::timeout;

use crate::options::Options;
use crate::quorum::Quorum;

/// No session came about in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no answer from the failover quorum ({servers}) within {limit:?}: see that most of its servers run and can be reached from here"
)]
pub struct Unreachable {
    servers: String,
    limit: Duration,
}

/// A session for a few questions. It does not outlive its first loss: after that everything is unread or not sent.
#[derive(Debug)]
pub struct OneShot {
    quorum: Quorum,
    session: SessionId,
    granted: Duration,
    asked: u64,
    /// Something changed, or may have, since `changed` last told so.
    stale: bool,
}

impl OneShot {
    /// Connects.
    ///
    /// # Errors
    /// When there is no session within `limit`.
    pub async fn connect(options: Options, limit: Duration) -> Result<Self, Unreachable> {
        let servers = options.servers.join(", ");
        let mut quorum = Quorum::connect(options);
        let connected = async {
            loop {
                if let Event::Connected { session, timeout } = quorum.next().await {
                    return (session, timeout);
                }
            }
        };
        match timeout(limit, connected).await {
            Ok((session, granted)) => Ok(Self { quorum, session, granted, asked: 0, stale: false }),
            Err(_) => Err(Unreachable { servers, limit }),
        }
    }

    /// The session, which owns the ephemeral records that are written with it.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The session timeout that the servers granted.
    pub fn granted(&self) -> Duration {
        self.granted
    }

    /// Waits until a record changes, or the connection does: read again then. Changes that were told while an answer was
    /// awaited count, too. Nothing is lost if the future is dropped.
    pub async fn changed(&mut self) {
        while !self.stale {
            let event = self.quorum.next().await;
            self.note(&event);
        }
        self.stale = false;
    }

    /// Reads records, all asked for at once and answered in the same order. They are not one snapshot.
    pub async fn read(&mut self, keys: &[Key]) -> Vec<Found> {
        let before = ActionId(self.asked);
        for key in keys {
            self.ask(Request::Read(key.clone()));
        }
        let mut answers = Vec::with_capacity(keys.len());
        while answers.len() < keys.len() {
            let event = self.quorum.next().await;
            self.note(&event);
            // An answer with an older id belongs to a read that somebody stopped awaiting.
            if let Event::Read { id, found, .. } = event
                && id > before
            {
                answers.push(found);
            }
        }
        answers
    }

    /// What lies in a folder below the cluster's root, each by its name; nothing if it cannot be read. A folder that is not there
    /// is empty. For records whose names only the quorum knows.
    pub async fn folder(&mut self, folder: &str) -> Option<Vec<(String, Found)>> {
        self.quorum.folder(self.session, folder)?.await
    }

    /// Carries out all steps, or none.
    pub async fn write(&mut self, steps: Vec<Op>) -> Outcome {
        let asked = self.ask(Request::Write(steps));
        loop {
            let event = self.quorum.next().await;
            self.note(&event);
            if let Event::Wrote { id, outcome } = event
                && id == asked
            {
                return outcome;
            }
        }
    }

    /// Ends the session; its ephemeral records are gone at once. Waits for that for at most `limit`.
    pub async fn close(self, limit: Duration) {
        self.quorum.close(limit).await;
    }

    fn note(&mut self, event: &Event) {
        self.stale |= match event {
            Event::Changed(_)
            | Event::Connected { .. }
            | Event::Disconnected
            | Event::SessionLost => true,
            Event::Read { .. } | Event::Wrote { .. } => false,
        };
    }

    fn ask(&mut self, request: Request) -> ActionId {
        self.asked += 1;
        let id = ActionId(self.asked);
        self.quorum.request(id, self.session, request);
        id
    }
}
