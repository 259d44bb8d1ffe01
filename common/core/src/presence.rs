//! A daemon's session with the failover quorum, and the one ephemeral record in which it shows itself.

use crate::publish::Publisher;
use crate::quorum::{Ask, Event, SessionId};
use crate::record::Key;
use crate::services::Ids;

/// A daemon's session, and its own record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Presence {
    session: Option<SessionId>,
    connected: bool,
    publisher: Publisher,
}

impl Presence {
    /// Not connected yet; will show itself in the record `key` as this machine's.
    pub fn new(key: Key, machine: String) -> Self {
        Self { session: None, connected: false, publisher: Publisher::new(key, machine) }
    }

    /// The session, while it is connected. Nothing is asked otherwise.
    pub fn session(&self) -> Option<SessionId> {
        self.session.filter(|_| self.connected)
    }

    /// The machine that shows itself under our name, if another does.
    pub fn conflict(&self) -> Option<&str> {
        self.publisher.conflict()
    }

    /// The record shall say this.
    pub fn publish(&mut self, data: String) {
        self.publisher.want(data);
    }

    /// What is to be asked next for the record, if anything.
    pub fn next_request(&mut self, ids: &mut Ids) -> Option<Ask> {
        let session = self.session()?;
        self.publisher.next_request(ids).map(|(id, request)| Ask { id, session, request })
    }

    /// A period passed: the record is looked at.
    pub fn look_again(&mut self) {
        self.publisher.look_again();
    }

    /// A period passed, and what the quorum would not have is tried again.
    pub fn look_again_if_stuck(&mut self) {
        self.publisher.look_again_if_stuck();
    }

    /// Takes an event. True if it was an answer about the own record, which concerns nobody else.
    pub fn handle(&mut self, event: &Event) -> bool {
        match event {
            Event::Connected { session, timeout: _ } => {
                if self.session != Some(*session) {
                    self.publisher.session_lost();
                }
                self.session = Some(*session);
                self.connected = true;
                false
            }
            Event::Disconnected => {
                self.connected = false;
                self.publisher.disconnected();
                false
            }
            Event::SessionLost => {
                self.connected = false;
                self.session = None;
                self.publisher.session_lost();
                false
            }
            Event::Changed(_) => false,
            Event::Read { id, key: _, found } => {
                self.session.is_some_and(|session| self.publisher.read(*id, found, session))
            }
            Event::Wrote { id, outcome } => self.publisher.wrote(*id, outcome),
        }
    }
}
