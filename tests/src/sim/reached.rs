//! Which transitions and refusals of the core the seeds have reached: what chance never reaches, nothing here has tried.

use std::collections::{BTreeMap, BTreeSet};

use headship_core::quorum::{Op, Refusal};
use headship_core::record::{Key, Role};

use super::host::HostId;
use super::world::World;

const ROLES: [Role; 6] = [
    Role::Out,
    Role::Standby,
    Role::BecomingActive,
    Role::Active,
    Role::BecomingStandby,
    Role::Neutral,
];

/// What a write of master-fc, of slave-ha-service or of an answer may be refused for.
const WRITES: [&str; 19] = [
    "settings exists",
    "settings is denied",
    "lock exists",
    "lock missing",
    "lock is denied",
    "active missing",
    "active exists",
    "active has another version",
    "active is denied",
    "lease missing",
    "lease exists",
    "lease has another version",
    "lease is denied",
    "challenge exists",
    "challenge has another version",
    "promise has another version",
    "promise is denied",
    "orders has another version",
    "orders is denied",
];

/// How the gate begins what it says of a start that it refuses.
const GATE: [&str; 5] = [
    "this headnode holds no permit",
    "the permit is of an earlier boot",
    "epoch N is closed",
    "the permit of epoch N ended",
    "nothing starts here",
];

/// What was reached, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    transitions: BTreeSet<(&'static str, &'static str)>,
    writes: BTreeSet<String>,
    gate: BTreeSet<String>,
    orders: BTreeSet<String>,
    rare: BTreeMap<&'static str, u64>,
}

impl Reached {
    /// What another has reached, too.
    pub fn extend(&mut self, other: &Self) {
        self.transitions.extend(&other.transitions);
        self.writes.extend(other.writes.iter().cloned());
        self.gate.extend(other.gate.iter().cloned());
        self.orders.extend(other.orders.iter().cloned());
        for (what, count) in &other.rare {
            *self.rare.entry(what).or_default() += count;
        }
    }

    /// What is rarely possible was done once more.
    pub(super) fn rare(&mut self, what: &'static str) {
        *self.rare.entry(what).or_default() += 1;
    }

    /// Which transitions of a headnode, which refusals of writes and which of the gate there were none of.
    #[must_use]
    pub fn missing(&self) -> [Vec<String>; 3] {
        let words: Vec<&str> = ROLES.iter().map(|role| role.as_str()).collect();
        let pairs = words.iter().flat_map(|from| words.iter().map(move |to| (*from, *to)));
        let transitions = pairs
            .filter(|(from, to)| from != to && !self.transitions.contains(&(*from, *to)))
            .map(|(from, to)| format!("{from} to {to}"));
        let writes = WRITES.into_iter().filter(|words| !self.writes.contains(*words));
        let said = |begin: &str| self.gate.iter().any(|text| text.starts_with(begin));
        let gate = GATE.into_iter().filter(|begin| !said(begin));
        [
            transitions.collect(),
            writes.map(str::to_owned).collect(),
            gate.map(str::to_owned).collect(),
        ]
    }

    /// What is missing, in how many ways orders were refused, and how often what is rarely possible was done.
    #[must_use]
    pub fn report(&self) -> [String; 5] {
        let [transitions, writes, gate] = self.missing().map(|missing| missing.join(", "));
        let rare = self.rare.iter().map(|(what, count)| format!("{count} times {what}"));
        [
            format!("no transition from {transitions}"),
            format!("no write refused as {writes}"),
            format!("never said by the gate: {gate}"),
            format!("orders were refused in {} ways", self.orders.len()),
            rare.collect::<Vec<_>>().join(", "),
        ]
    }
}

/// A sentence to a person, whatever its numbers are.
fn without_numbers(text: &str) -> String {
    let parts = text.split(|letter: char| letter.is_ascii_digit());
    let parts = parts.enumerate().filter(|(place, part)| *place == 0 || !part.is_empty());
    let numberless: Vec<&str> = parts.map(|(_, part)| part).collect();
    numberless.join("N")
}

impl World {
    /// What a headnode is may have changed. A new process begins as one that is out.
    pub(super) fn role_seen(&mut self, host: HostId) {
        let Some(controller) = self.controller(host) else { return };
        let role = controller.status().0.as_str();
        let before = std::mem::replace(&mut self.host_mut(host).role, role);
        if before != role {
            self.checker.reached.transitions.insert((before, role));
        }
    }

    /// A write was refused.
    pub(super) fn write_refused(&mut self, op: Option<&Op>, why: &Refusal) {
        let Some(path) = op.map(|op| op.key().path()) else { return };
        let record = path.split('/').next().unwrap_or_default();
        let why = match why {
            Refusal::Missing => "missing",
            Refusal::Exists => "exists",
            Refusal::OtherVersion => "has another version",
            Refusal::NotSent => "was not sent",
            Refusal::Denied(_) => "is denied",
        };
        self.checker.reached.writes.insert(format!("{record} {why}"));
    }

    /// A start was refused by the gate.
    pub(super) fn gate_refused(&mut self, why: &str) {
        self.checker.reached.gate.insert(without_numbers(why));
    }

    /// An order was refused by whom it was given to.
    pub(super) fn order_refused(&mut self, record: &Key, why: &str) {
        let words = format!("{}: {}", record.path(), without_numbers(why));
        self.checker.reached.orders.insert(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_reached_is_named() {
        let mut reached = Reached::default();
        reached.gate.insert(without_numbers("epoch 17 is closed on this headnode"));
        reached.transitions.insert(("neutral", "out"));
        reached.writes.insert("lock exists".to_owned());
        let [transitions, writes, gate, ..] = reached.report();
        assert!(transitions.contains("out to neutral") && !transitions.contains("neutral to out"));
        assert!(writes.contains("lock missing") && !writes.contains("lock exists"));
        assert!(gate.contains("nothing starts here") && !gate.contains("epoch N is closed"));
    }
}
