//! Keeping one ephemeral record of one's own published: created by this session, and as fresh as what it says.
//!
//! After a restart the record of the earlier process may still be there, owned by a session that is about to end; it is
//! replaced, so that it does not vanish together with that session. A record of the same name from *another machine* is
//! left alone: two machines under one name are an operator's mistake that must be seen, not papered over.

use serde::Deserialize;

use crate::quorum::{ActionId, Found, Op, Outcome, Refusal, Request, SessionId, Version};
use crate::record::Key;
use crate::services::Ids;

/// What is known of the record in the present session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Not created in this session.
    Absent,
    /// It exists and must be looked at before anything is done.
    InTheWay,
    /// It is our machine's, of another session, at this version.
    Leftover(Version),
    /// This session created it.
    Ours,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Pending {
    Read,
    Write { data: String },
}

/// One ephemeral record of one's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Publisher {
    key: Key,
    machine: String,
    state: State,
    pending: Option<(ActionId, Pending)>,
    wanted: Option<String>,
    written: Option<String>,
    conflict: Option<String>,
    /// The quorum would not have it: nothing is asked before the next period.
    blocked: bool,
}

/// The one field that tells whose record it is.
#[derive(Deserialize)]
struct Owner {
    machine: String,
}

impl Publisher {
    /// A publisher of the record `key` for this machine.
    pub(crate) fn new(key: Key, machine: String) -> Self {
        let state = State::Absent;
        Self {
            key,
            machine,
            state,
            pending: None,
            wanted: None,
            written: None,
            conflict: None,
            blocked: false,
        }
    }

    /// The record shall say this.
    pub(crate) fn want(&mut self, data: String) {
        self.wanted = Some(data);
    }

    /// The machine that publishes under our name, if another does.
    pub(crate) fn conflict(&self) -> Option<&str> {
        self.conflict.as_deref()
    }

    /// The session is over, and the record with it.
    pub(crate) fn session_lost(&mut self) {
        self.state = State::Absent;
        self.pending = None;
        self.written = None;
        self.blocked = false;
    }

    /// Disconnected: what was asked may or may not have happened.
    pub(crate) fn disconnected(&mut self) {
        self.pending = None;
        self.written = None;
        self.blocked = false;
        self.state = State::InTheWay;
    }

    /// The record changed (not by a write of ours that is under way), or a period passed: it is looked at again.
    pub(crate) fn look_again(&mut self) {
        self.blocked = false;
        if self.pending.is_none() && self.state != State::Absent {
            self.state = State::InTheWay;
        }
    }

    /// A period passed: what the quorum would not have is tried again, and another machine's record looked at.
    pub(crate) fn look_again_if_stuck(&mut self) {
        if self.blocked || self.conflict.is_some() {
            self.look_again();
        }
    }

    /// What is to be asked next, if anything.
    pub(crate) fn next_request(&mut self, ids: &mut Ids) -> Option<(ActionId, Request)> {
        let wanted = self.wanted.clone()?;
        // Who was in the way in an earlier session may have left: a new record shows, or is refused.
        let barred = match self.state {
            State::InTheWay | State::Absent => false,
            State::Leftover(_) | State::Ours => self.conflict.is_some(),
        };
        if self.blocked || self.pending.is_some() || barred {
            return None;
        }
        let key = self.key.clone();
        let (pending, request) = match self.state {
            State::InTheWay => (Pending::Read, Request::Read(key)),
            State::Ours if self.written.as_ref() == Some(&wanted) => return None,
            State::Ours => {
                let set = Op::Set { key, version: None, data: wanted.clone() };
                (Pending::Write { data: wanted }, Request::Write(vec![set]))
            }
            State::Absent => {
                let create = Op::Create { key, data: wanted.clone() };
                (Pending::Write { data: wanted }, Request::Write(vec![create]))
            }
            State::Leftover(version) => {
                let delete = Op::Delete { key: key.clone(), version: Some(version) };
                let create = Op::Create { key, data: wanted.clone() };
                (Pending::Write { data: wanted }, Request::Write(vec![delete, create]))
            }
        };
        let id = ids.draw();
        self.pending = Some((id, pending));
        Some((id, request))
    }

    /// Takes the outcome of a write. True if it was ours.
    pub(crate) fn wrote(&mut self, id: ActionId, outcome: &Outcome) -> bool {
        let Some((pending, Pending::Write { data })) = self.pending.clone() else { return false };
        if pending != id {
            return false;
        }
        self.pending = None;
        match outcome {
            Outcome::Done { .. } => {
                self.state = State::Ours;
                self.conflict = None;
                self.written = Some(data);
            }
            Outcome::Refused { why: Refusal::Missing, .. } => self.state = State::Absent,
            Outcome::Refused { why: Refusal::Exists | Refusal::OtherVersion, .. }
            | Outcome::Unknown => {
                self.state = State::InTheWay;
            }
            Outcome::Refused { why: Refusal::NotSent | Refusal::Denied(_), .. } => {
                self.blocked = true
            }
        }
        true
    }

    /// Takes the answer to a read. True if it was ours.
    pub(crate) fn read(&mut self, id: ActionId, found: &Found, session: SessionId) -> bool {
        if self.pending != Some((id, Pending::Read)) {
            return false;
        }
        self.pending = None;
        self.conflict = None;
        self.written = None;
        match found {
            Found::Unread => self.blocked = true,
            Found::Missing => self.state = State::Absent,
            Found::Data { owner: Some(owner), .. } if *owner == session => self.state = State::Ours,
            Found::Data { data, version, .. } => {
                let machine = serde_json::from_str::<Owner>(data).ok().map(|owner| owner.machine);
                self.state = State::Leftover(*version);
                // What nobody can read is nobody's: a corrupt leftover must not keep a headnode from showing itself.
                self.conflict = machine.filter(|machine| *machine != self.machine);
            }
        }
        true
    }
}
