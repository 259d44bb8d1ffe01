//! The writes by which office is given up, and those that answer an order to give it up.
//!
//! What is done for the sake of another headnode is bound to the `settings` in which nobody paused: under a pause that headnode
//! could not claim, and nobody would be active until somebody resumes.

use super::put_active;
use crate::quorum::{Op, Version};
use crate::record::{self, Active, FailoverOrder, Key, SwitchoverOrder};

/// Write 4: the office enters another phase.
pub fn enter_phase(active: Version, office: &Active, settings: Option<Version>) -> Vec<Op> {
    let mut ops: Vec<Op> = unpaused(settings).into_iter().collect();
    ops.push(put_active(Some(active), office));
    ops
}

/// The acceptance of a switchover, which is the beginning of the cession in the same write: nobody can pause in between. Bound to
/// the other order, too: of two that contradict each other one is accepted.
pub fn accept(
    active: Version,
    office: &Active,
    (settings, failover): (Option<Version>, Option<Version>),
    (version, order): (Version, &SwitchoverOrder),
) -> Vec<Op> {
    let mut ops: Vec<Op> = unpaused(settings).into_iter().collect();
    ops.extend(unchanged(Key::Failover, failover));
    let data = record::write(order);
    ops.push(Op::Set { key: Key::Switchover, version: Some(version), data });
    ops.push(put_active(Some(active), office));
    ops
}

/// The answer of a standby to an order to fail over, bound as the acceptance of a switchover.
pub fn answer_failover(
    (settings, switchover): (Option<Version>, Option<Version>),
    (version, order): (Version, &FailoverOrder),
) -> Vec<Op> {
    let mut ops: Vec<Op> = unpaused(settings).into_iter().collect();
    ops.extend(unchanged(Key::Switchover, switchover));
    let data = record::write(order);
    ops.push(Op::Set { key: Key::Failover, version: Some(version), data });
    ops
}

/// Write 5: the cession. Only after everything is verified stopped. The lock goes in the same write, if it is there. Bound to
/// `settings` as the phase before it.
pub fn cede(
    active: Version,
    office: &Active,
    lock: Option<Version>,
    settings: Option<Version>,
) -> Vec<Op> {
    let mut ops: Vec<Op> = unpaused(settings).into_iter().collect();
    ops.extend(lock.map(|version| Op::Delete { key: Key::Lock, version: Some(version) }));
    ops.push(put_active(Some(active), office));
    ops
}

fn unpaused(settings: Option<Version>) -> Option<Op> {
    unchanged(Key::Settings, settings)
}

fn unchanged(key: Key, version: Option<Version>) -> Option<Op> {
    version.map(|version| Op::Check { key, version: Some(version) })
}
