//! What is asked of the failover quorum, and what comes back: the vocabulary between the core and whoever speaks
//! ZooKeeper (the `headship-zk` crate, the simulator).
//!
//! A write is one `multi`: all of it happens, or none. It ends as done, refused or unknown; nobody below the core retries.
//! Which write is made when is decided in `office`; here are only the words.

use std::time::Duration;

use crate::record::Key;

/// A number that ties an outcome to the action that asked for it. Higher means asked later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u64);

/// A ZooKeeper session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

/// The data version of a record: it starts at 0 and grows by one with each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub i32);

/// One step of a `multi`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// The record exists at exactly this version, or at any version if none is given.
    Check {
        /// The record.
        key: Key,
        /// Its version; `None` asks only that it exists.
        version: Option<Version>,
    },
    /// The record does not exist and is created.
    Create {
        /// The record.
        key: Key,
        /// Its content.
        data: String,
    },
    /// The record exists at this version (`None`: at any) and gets new content.
    Set {
        /// The record.
        key: Key,
        /// The version that is replaced; `None` replaces any.
        version: Option<Version>,
        /// The new content.
        data: String,
    },
    /// The record exists at this version (`None`: at any) and is removed.
    Delete {
        /// The record.
        key: Key,
        /// The version that is removed; `None` removes any.
        version: Option<Version>,
    },
}

impl Op {
    /// The record this step is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Check { key, .. }
            | Self::Create { key, .. }
            | Self::Set { key, .. }
            | Self::Delete { key, .. } => key,
        }
    }
}

/// What is asked of the quorum. Each belongs to a session and is dropped unsent once that session is over or while it is
/// disconnected: written much later, it would be about a state of things that has passed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// Read one record.
    Read(Key),
    /// Carry out all steps, or none.
    Write(Vec<Op>),
}

/// A request, the session it may be asked in, and the id that its answer brings back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// Comes back with the answer.
    pub id: ActionId,
    /// In another session it is not sent.
    pub session: SessionId,
    /// What is asked.
    pub request: Request,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// All of it happened. One version for each step: the record's version after it (0 for one that was created, and for
    /// a check or a delete the one that was asked for, or 0).
    Done {
        /// Versions in the order of the steps.
        versions: Vec<Version>,
    },
    /// None of it happened.
    Refused {
        /// Which step was refused, counted from 0. Without meaning for `Refusal::NotSent` and `Refusal::Denied`.
        step: usize,
        /// Why.
        why: Refusal,
    },
    /// Nobody knows whether it happened, or will still happen. Read again and decide anew.
    Unknown,
}

/// Why a write was refused. None of these wrote anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The record does not exist.
    Missing,
    /// The record exists already.
    Exists,
    /// The record has another version.
    OtherVersion,
    /// It was never sent: disconnected, or its session is over.
    NotSent,
    /// The quorum does not let us (access control, size limit); what it said.
    Denied(String),
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// There is no such record.
    Missing,
    /// The record's bytes (not yet understood), and what ZooKeeper says of it.
    Data {
        /// Its content; empty where it is not UTF-8, which no record of ours is.
        data: String,
        /// Its version.
        version: Version,
        /// The transaction that last changed it: it orders changes of different records.
        changed: i64,
        /// The session that owns it, if it is ephemeral.
        owner: Option<SessionId>,
    },
    /// It could not be read: disconnected, session over, or refused. The record itself is unknown, not missing.
    Unread,
}

/// What the connection to the quorum reports by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Connected, or connected again. Everything read earlier may be old.
    Connected {
        /// The session.
        session: SessionId,
        /// Its negotiated timeout.
        timeout: Duration,
    },
    /// Disconnected is not lost (invariant 6): the session may live on.
    Disconnected,
    /// The session is over, with all its ephemeral records. A new one will be sought.
    SessionLost,
    /// A record changed (created, written or deleted). Only a hint to read it.
    Changed(Key),
    /// The answer to `Request::Read`.
    Read {
        /// The id of the action that asked.
        id: ActionId,
        /// Which record.
        key: Key,
        /// What was found.
        found: Found,
    },
    /// The answer to `Request::Write`.
    Wrote {
        /// The id of the action that asked.
        id: ActionId,
        /// How it ended.
        outcome: Outcome,
    },
}
