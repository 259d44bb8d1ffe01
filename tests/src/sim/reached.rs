//! Which transitions and refusals of the core the seeds have reached: what chance never reaches is what nothing has tested.

use std::collections::BTreeSet;

use headship_core::quorum::{Op, Refusal};
use headship_core::record::Key;

use super::host::HostId;
use super::world::World;

/// What was reached, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached(BTreeSet<String>);

impl Reached {
    /// What another has reached, too.
    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// In words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// A sentence to a person, whatever its numbers are.
    fn sentence(&mut self, of: &str, text: &str) {
        let mut words = format!("{of}: ");
        let mut number = false;
        for letter in text.chars() {
            if !letter.is_ascii_digit() {
                words.push(letter);
            } else if !number {
                words.push('N');
            }
            number = letter.is_ascii_digit();
        }
        self.0.insert(words);
    }
}

impl World {
    /// What a headnode is may have changed.
    pub(super) fn role_seen(&mut self, host: HostId) {
        let role = self.role(host);
        let before = std::mem::replace(&mut self.host_mut(host).role, role);
        if before != role {
            self.checker.reached.0.insert(format!("{before} to {role}"));
        }
    }

    /// A write was refused.
    pub(super) fn write_refused(&mut self, op: Option<&Op>, why: &Refusal) {
        let Some(op) = op else { return };
        let path = op.key().path();
        let record = match op.key() {
            Key::Settings
            | Key::Lock
            | Key::Active
            | Key::Lease
            | Key::Challenge
            | Key::History => path.as_str(),
            _ => path.split('/').next().unwrap_or_default(),
        };
        let why = match why {
            Refusal::Missing => "missing",
            Refusal::Exists => "exists",
            Refusal::OtherVersion => "has another version",
            Refusal::NotSent => "was not sent",
            Refusal::Denied(_) => "is denied",
        };
        self.checker.reached.0.insert(format!("{record} {why}"));
    }

    /// A start was refused by the gate.
    pub(super) fn gate_refused(&mut self, why: &str) {
        self.checker.reached.sentence("gate", why);
    }

    /// An order was refused by whom it was given to.
    pub(super) fn order_refused(&mut self, record: &Key, why: &str) {
        self.checker.reached.sentence(&record.path(), why);
    }
}
