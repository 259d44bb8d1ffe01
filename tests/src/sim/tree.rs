//! The records as one ZooKeeper server holds them, and what a `multi` makes of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use headship_core::quorum::{Found, Op, Refusal, SessionId, Version};
use headship_core::record::Key;

/// A record and what ZooKeeper says of it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) data: Rc<str>,
    pub(super) version: i32,
    pub(super) changed: i64,
    pub(super) owner: Option<SessionId>,
}

/// What a transaction makes of one record.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: Key,
    /// Its new state; none if it is gone.
    pub(super) node: Option<Node>,
}

/// All records.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(BTreeMap<Key, Node>);

impl Tree {
    /// A record.
    pub(super) fn get(&self, key: &Key) -> Option<&Node> {
        self.0.get(key)
    }

    /// What a read of it is answered.
    pub(super) fn found(&self, key: &Key) -> Found {
        self.0.get(key).map_or(Found::Missing, |node| Found::Data {
            data: node.data.to_string(),
            version: Version(node.version),
            changed: node.changed,
            owner: node.owner,
        })
    }

    /// The ephemeral records of a session.
    pub(super) fn owned_by(&self, session: SessionId) -> Vec<Key> {
        let owned = self.0.iter().filter(|(_, node)| node.owner == Some(session));
        owned.map(|(key, _)| key.clone()).collect()
    }

    /// The records that belong to no session.
    pub(super) fn persistent(&self) -> Vec<Key> {
        let kept = self.0.iter().filter(|(_, node)| node.owner.is_none());
        kept.map(|(key, _)| key.clone()).collect()
    }

    /// Carries a transaction's changes out.
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for Change { key, node } in changes {
            match node {
                Some(node) => self.0.insert(key.clone(), node.clone()),
                None => self.0.remove(key),
            };
        }
    }

    /// What a `multi` of `session` would change as transaction `zxid`, with the versions after each step; or which step is
    /// refused, and why.
    pub(super) fn multi(
        &self,
        ops: &[Op],
        session: SessionId,
        zxid: i64,
    ) -> Result<(Vec<Change>, Vec<Version>), (usize, Refusal)> {
        let mut changes: Vec<Change> = Vec::new();
        let mut versions = Vec::new();
        for (step, op) in ops.iter().enumerate() {
            let key = op.key();
            let later = changes.iter().rev().find(|change| change.key == *key);
            let present = match later {
                Some(change) => change.node.clone(),
                None => self.0.get(key).cloned(),
            };
            let wanted = match op {
                Op::Check { version, .. }
                | Op::Set { version, .. }
                | Op::Delete { version, .. } => *version,
                Op::Create { .. } => None,
            };
            let other = present
                .as_ref()
                .is_some_and(|node| wanted.is_some_and(|version| version != Version(node.version)));
            if other {
                return Err((step, Refusal::OtherVersion));
            }
            let asked = wanted.unwrap_or(Version(0));
            match (op, present) {
                (Op::Create { .. }, Some(_)) => return Err((step, Refusal::Exists)),
                (Op::Create { key, data }, None) => {
                    let owner = key.is_ephemeral().then_some(session);
                    let data = data.as_str().into();
                    let node = Node { data, version: 0, changed: zxid, owner };
                    changes.push(Change { key: key.clone(), node: Some(node) });
                    versions.push(Version(0));
                }
                (_, None) => return Err((step, Refusal::Missing)),
                (Op::Check { .. }, Some(_)) => versions.push(asked),
                (Op::Set { key, data, .. }, Some(node)) => {
                    let version = node.version.saturating_add(1);
                    let data = data.as_str().into();
                    let node = Node { data, version, changed: zxid, owner: node.owner };
                    changes.push(Change { key: key.clone(), node: Some(node) });
                    versions.push(Version(version));
                }
                (Op::Delete { key, .. }, Some(_)) => {
                    changes.push(Change { key: key.clone(), node: None });
                    versions.push(asked);
                }
            }
        }
        Ok((changes, versions))
    }
}
