//! What a daemon knows of one record: what it read last, when that value first showed, and whether it still counts.
//!
//! Knowing and deciding are kept apart: a value that may be old stays visible for people, but decisions ask for `fresh`.

use serde::de::DeserializeOwned;

use crate::quorum::{ActionId, Event, Found, Request, SessionId, Version};
use crate::record::{self, Corrupt, Key};
use crate::services::Ids;
use crate::time::Time;

/// The content of a record as it was last read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content<T> {
    /// Never read.
    Unread,
    /// It did not exist.
    Missing,
    /// It exists and cannot be understood.
    Corrupt(Corrupt),
    /// It exists.
    Record(T),
}

/// What is known of one record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known<T> {
    key: Key,
    content: Content<T>,
    version: Option<Version>,
    changed: i64,
    /// The transaction that made the present value; none if that was a write of ours.
    transaction: Option<i64>,
    owner: Option<SessionId>,
    /// When the present value (content, version and transaction) was first read, by our own clock.
    first_seen: Time,
    fresh: bool,
    asked: Option<ActionId>,
    /// The answer under way may be older than the last hint that the record changed.
    ask_again: bool,
    /// The last read was refused: nothing is asked before the next hint or period.
    blocked: bool,
}

impl<T: Clone + PartialEq + DeserializeOwned> Known<T> {
    /// Nothing is known of the record `key` yet.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            content: Content::Unread,
            version: None,
            changed: 0,
            transaction: None,
            owner: None,
            first_seen: Time::default(),
            fresh: false,
            asked: None,
            ask_again: false,
            blocked: false,
        }
    }

    /// Which record this is about.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The content as last read, however old.
    pub fn content(&self) -> &Content<T> {
        &self.content
    }

    /// The record as last read, however old; none if it did not exist or was not understood.
    pub fn record(&self) -> Option<&T> {
        match &self.content {
            Content::Record(record) => Some(record),
            Content::Unread | Content::Missing | Content::Corrupt(_) => None,
        }
    }

    /// The record's version, if it existed.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// The transaction that last changed the record.
    pub fn changed(&self) -> i64 {
        self.changed
    }

    /// The session that owns the record, if it is ephemeral.
    pub fn owner(&self) -> Option<SessionId> {
        self.owner
    }

    /// When the present value was first read.
    pub fn first_seen(&self) -> Time {
        self.first_seen
    }

    /// Whether nothing is known that speaks against the value being current: it was read in this connection, and no hint
    /// of a change came since.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Whether the record does not exist, as far as is known.
    pub fn is_missing(&self) -> bool {
        self.content == Content::Missing
    }

    /// The value may be old: it changed, or the connection did, or a write of ours ended unknown.
    pub fn outdate(&mut self) {
        self.fresh = false;
        self.blocked = false;
        self.ask_again = self.asked.is_some();
    }

    /// A read that was refused may be tried again.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// The connection is over: an answer that was awaited will not come.
    pub fn disconnected(&mut self) {
        self.fresh = false;
        self.asked = None;
        self.ask_again = false;
        self.blocked = false;
    }

    /// The read that is due, if one is.
    pub fn next_read(&mut self, ids: &mut Ids) -> Option<(ActionId, Request)> {
        if self.fresh || self.blocked || self.asked.is_some() {
            return None;
        }
        let id = ids.draw();
        self.asked = Some(id);
        Some((id, Request::Read(self.key.clone())))
    }

    /// Takes the answer to a read. True if it was ours and the value changed.
    pub fn take(&mut self, now: Time, id: ActionId, found: &Found) -> bool {
        if self.asked != Some(id) {
            return false;
        }
        self.asked = None;
        let (content, version, changed, owner) = match found {
            Found::Unread => {
                self.blocked = !self.ask_again;
                self.ask_again = false;
                return false;
            }
            Found::Missing => (Content::Missing, None, 0, None),
            Found::Data { data, version, changed, owner } => {
                let content =
                    record::parse(&self.key, data).map_or_else(Content::Corrupt, Content::Record);
                (content, Some(*version), *changed, *owner)
            }
        };
        self.fresh = !self.ask_again;
        self.ask_again = false;
        // Content and version alone may come again: somebody deletes the lease, and its holder begins to count anew.
        let anew = self.transaction.is_some_and(|transaction| transaction != changed);
        let differs = self.content != content || self.version != version || anew;
        if differs {
            self.first_seen = now;
        }
        self.transaction = Some(changed);
        (self.content, self.version, self.changed, self.owner) = (content, version, changed, owner);
        differs
    }

    /// Takes what the quorum reports where this record is not watched: it is read anew only when its owner outdates it.
    pub fn hear(&mut self, now: Time, event: &Event) {
        match event {
            Event::Connected { .. } => self.outdate(),
            Event::Disconnected | Event::SessionLost => self.disconnected(),
            Event::Read { id, key: _, found } => {
                self.take(now, *id, found);
            }
            Event::Changed(_) | Event::Wrote { .. } => {}
        }
    }

    /// Takes what a write of ours made of the record. Its `changed` is not known then.
    pub fn wrote(&mut self, now: Time, record: T, version: Version, owner: Option<SessionId>) {
        self.content = Content::Record(record);
        self.version = Some(version);
        self.transaction = None;
        self.owner = owner;
        self.first_seen = now;
        // An answer that is under way was asked before the write and shows the older value.
        self.fresh = true;
        self.asked = None;
        self.ask_again = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Epoch;
    use crate::record::{FORMAT, Lease};

    #[test]
    fn a_record_that_was_deleted_and_made_anew_is_another_value_though_it_reads_the_same() {
        let (lease_ms, kill_ms) = (6000, 2000);
        let lease = Lease { format: FORMAT, epoch: Epoch(1), seq: 11, lease_ms, kill_ms };
        let mut known: Known<Lease> = Known::new(Key::Lease);
        let mut ids = Ids::default();
        let mut read = |known: &mut Known<Lease>, seconds: u64, changed| {
            known.outdate();
            let (id, _) = known.next_read(&mut ids).expect("it may be old");
            let (data, version, owner) = (record::write(&lease), Version(11), None);
            let found = Found::Data { data, version, changed, owner };
            known.take(Time::from_millis(seconds * 1000), id, &found)
        };
        assert!(read(&mut known, 1, 40));
        assert!(!read(&mut known, 2, 40));
        assert_eq!(known.first_seen(), Time::from_millis(1000));
        assert!(read(&mut known, 3, 41));
        assert_eq!(known.first_seen(), Time::from_millis(3000));

        // What we wrote ourselves is the same value when it is read, whatever its transaction was.
        known.wrote(Time::from_millis(4000), lease.clone(), Version(11), None);
        assert!(!read(&mut known, 5, 42));
        assert!(read(&mut known, 6, 43));
    }
}
