//! The office: what each write of it says, who stands how to it, and when the way to it is free.
//!
//! Plain functions of records and times. When they are called, and what else must hold, is in `controller`. Each write is
//! one `multi` bound to the version of `active`, the fencing token: a writer whose knowledge is old is refused. The record
//! that a write is about comes last in it.
//! `protocol.md`, 3 and 4.

mod cession;
mod keep;

use std::time::Duration;

use crate::epoch::{Epoch, Incarnation};
use crate::fencing::Victim;
use crate::known::Known;
use crate::lease;
use crate::node::{Identity, NodeName};
use crate::quorum::{Op, Version};
use crate::record::{self, Active, FORMAT, Key, Lease, Lock, Phase, Promise, Settings};
use crate::time::Time;

pub use cession::{accept, answer_failover, cede, enter_phase};
pub use keep::{MayBeKept, claims_allowed, keep_is_over, word_about};

/// How somebody stands to the office, by what `active` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Another holds it, or held it last, or nobody ever did.
    Outside,
    /// This process claims it.
    Claimant,
    /// This process holds it, and nobody claims it.
    Holder,
    /// An earlier process of this boot holds it unclaimed: it can be resumed.
    Heir,
    /// An earlier process of this boot claimed it: the claim can be resumed.
    HeirOfClaim,
}

/// How `me` stands to the office. Invariant 8: what counts is what `active` says of this node, machine, boot and process,
/// never a name or an address, never the lock. A new boot never resumes what an earlier one held.
pub fn standing(active: Option<&Active>, me: &Identity) -> Standing {
    let Some(active) = active else { return Standing::Outside };
    if let Some(claimant) = &active.claimant {
        return match (claimant == me, claimant.same_boot(me)) {
            (true, _) => Standing::Claimant,
            (false, true) => Standing::HeirOfClaim,
            (false, false) => Standing::Outside,
        };
    }
    if matches!(active.phase, Phase::Ceded { .. }) {
        return Standing::Outside;
    }
    match &active.holder {
        Some(holder) if holder == me => Standing::Holder,
        Some(holder) if holder.same_boot(me) => Standing::Heir,
        Some(_) | None => Standing::Outside,
    }
}

/// What a claim is bound to: the values that the claimant saw stand still.
#[derive(Clone, Debug)]
pub struct Ground<'a> {
    /// The version of `settings`, in which nobody paused.
    pub settings: Version,
    /// What is known of `active`.
    pub active: &'a Known<Active>,
    /// What is known of `lease`.
    pub lease: &'a Known<Lease>,
    /// What is known of `lock`.
    pub lock: &'a Known<Lock>,
}

/// Write 1: the claim. Returns the steps and what `active` says afterwards. `unknown` is the record of an office that
/// nobody is known to have held, for a cluster whose `active` is missing or foreign.
pub fn claim(ground: &Ground<'_>, me: &Identity, unknown: Active) -> (Vec<Op>, Active) {
    let mut ops = vec![Op::Check { key: Key::Settings, version: Some(ground.settings) }];
    match ground.lease.version() {
        version @ Some(_) => ops.push(Op::Check { key: Key::Lease, version }),
        None => {
            let first = Lease { format: FORMAT, epoch: Epoch(0), seq: 0, lease_ms: 0, kill_ms: 0 };
            ops.push(Op::Create { key: Key::Lease, data: record::write(&first) });
        }
    }
    if let version @ Some(_) = ground.lock.version() {
        ops.push(Op::Delete { key: Key::Lock, version });
    }
    ops.push(create_lock(me));
    let mut active = ground.active.record().cloned().unwrap_or(unknown);
    active.claimant = Some(me.clone());
    ops.push(put_active(ground.active.version(), &active));
    (ops, active)
}

/// Write 2: the renewal of `office`.
pub fn renew(active: Version, office: &Active, lease: &Known<Lease>) -> (Vec<Op>, Lease) {
    let seq = lease.record().map_or(0, |lease| lease.seq.saturating_add(1));
    let Active { epoch, lease_ms, kill_ms, .. } = *office;
    let renewed = Lease { format: FORMAT, epoch, seq, lease_ms, kill_ms };
    let data = record::write(&renewed);
    let step = match lease.version() {
        version @ Some(_) => Op::Set { key: Key::Lease, version, data },
        None => Op::Create { key: Key::Lease, data },
    };
    (vec![Op::Check { key: Key::Active, version: Some(active) }, step], renewed)
}

/// Write 3: taking office. The lock must exist; that it is ours is proven by the version of `active`, since every
/// creation of a lock bumps that.
pub fn take(active: Version, office: &Active) -> Vec<Op> {
    vec![Op::Check { key: Key::Lock, version: None }, put_active(Some(active), office)]
}

/// Write 6: succeeding myself, as a new process or with a new session. Bumping `active` makes every late write of the
/// earlier process or session fail. Whatever lock is there is replaced: over an office or a claim that is mine none can come from
/// a claim, which is one write with the lock and `active`.
pub fn succeed(
    active: Version,
    office: &Active,
    old_lock: Option<Version>,
    me: &Identity,
) -> (Vec<Op>, Active) {
    let mut ops: Vec<Op> = old_lock
        .map(|version| Op::Delete { key: Key::Lock, version: Some(version) })
        .into_iter()
        .collect();
    ops.push(create_lock(me));
    let mut mine = office.clone();
    match &mut mine.claimant {
        Some(claimant) => *claimant = me.clone(),
        None => mine.holder = Some(me.clone()),
    }
    ops.push(put_active(Some(active), &mine));
    (ops, mine)
}

/// The acknowledgement of a keep, or of its end: bound to the `settings` that ask for it and to the office of who gives it.
/// Invariant 4: of two writers that each believe to be the holder, only one can move a D out of the way, or say that it is back.
pub fn acknowledge(active: Version, settings: Version, new: &Settings) -> Vec<Op> {
    let data = record::write(new);
    vec![
        Op::Check { key: Key::Active, version: Some(active) },
        Op::Set { key: Key::Settings, version: Some(settings), data },
    ]
}

fn create_lock(me: &Identity) -> Op {
    Op::Create { key: Key::Lock, data: record::write(&Lock { format: FORMAT, by: me.clone() }) }
}

fn put_active(version: Option<Version>, active: &Active) -> Op {
    let data = record::write(active);
    match version {
        Some(_) => Op::Set { key: Key::Active, version, data },
        None => Op::Create { key: Key::Active, data },
    }
}

/// Why the way to the office is free.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WayFree {
    /// The old holder ceded.
    Ceded {
        /// To whom.
        to: Option<NodeName>,
    },
    /// The old holder was this very machine, and its slave-ha-service has promised.
    OwnPromise,
    /// The old holder's machine has promised that nothing of its epoch runs there.
    Promised,
    /// Somebody confirmed that the old holder's host is powered off.
    Confirmed {
        /// Who and which host, in a phrase.
        words: String,
    },
    /// A fence method said that the old holder's host is off.
    Fenced {
        /// Which host.
        node: NodeName,
        /// Which method.
        by: String,
        /// How it knows.
        how: String,
    },
    /// The old holder's deadline and kill time have surely passed.
    WaitedOut,
}

/// A fence method's Yes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fenced {
    /// The boot and epoch that it is about.
    pub victim: Victim,
    /// The method.
    pub by: String,
    /// How it knows.
    pub how: String,
}

/// Somebody's word that a headnode is powered off, accepted for the present claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Confirmed {
    /// Which.
    pub node: NodeName,
    /// By whom, and from where.
    pub by: String,
}

impl std::fmt::Display for Confirmed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "confirmed by {}: {} is powered off", self.by, self.node)
    }
}

impl std::fmt::Display for WayFree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ceded { to: Some(node) } => write!(f, "it was ceded to {node}"),
            Self::Ceded { to: None } => f.write_str("it was ceded"),
            Self::OwnPromise => {
                f.write_str("this headnode held it before a reboot, and nothing of that runs")
            }
            Self::Promised => {
                f.write_str("promised: nothing of the old epoch runs or will be started there")
            }
            Self::Confirmed { words } => f.write_str(words),
            Self::Fenced { node, by, how } => {
                write!(f, "fenced: {node} is off by the word of `{by}` ({how})")
            }
            Self::WaitedOut => {
                f.write_str("waited until lease and kill time of the old holder had passed")
            }
        }
    }
}

/// What a claimant goes by. All of it was read after its claim.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// `active`, with my claim in it.
    pub active: &'a Active,
    /// Whether `active` can be believed about who held office last. It cannot if a claim created it, or if this node has
    /// seen a higher epoch: an ensemble restored from an old snapshot.
    pub trusted: bool,
    /// The transaction that last wrote `active`.
    pub changed: i64,
    /// The promises of the headnodes, with the transaction that wrote each.
    pub promises: &'a [(NodeName, i64, Promise)],
    /// The headnodes that were confirmed to be powered off, for exactly this claim.
    pub confirmed: &'a [Confirmed],
    /// A fence method's Yes, with nothing that speaks against it since the claim.
    pub fenced: Option<&'a Fenced>,
    /// The headnodes that the configuration names.
    pub headnodes: &'a [NodeName],
    /// When the wait began: when the lease value that I found after my claim was first seen, or later.
    pub wait_from: Time,
    /// The largest lease that is recorded or my own, in milliseconds.
    pub lease_ms: u64,
    /// The largest kill time that is recorded or my own, in milliseconds.
    pub kill_ms: u64,
    /// Whether services may run by a keep, which have no D.
    pub kept: MayBeKept,
}

impl Evidence<'_> {
    /// The headnodes whose word is awaited: that nothing of the old epoch runs there. Empty where nobody's word helps.
    pub fn awaited(&self) -> Vec<&NodeName> {
        match &self.active.holder {
            Some(holder) if self.trusted => vec![&holder.node],
            // The record names one, and is not believed: it may have been any other, and in another epoch.
            Some(_) => Vec::new(),
            None => (self.headnodes.iter()).filter(|node| !self.gave_word(node)).collect(),
        }
    }

    /// Whether a headnode has promised since a claim over an office that nobody is known to have held.
    fn gave_word(&self, node: &NodeName) -> bool {
        self.promises.iter().any(|(by, at, promise)| {
            by == node
                && *at > self.changed
                && promise.incarnation == self.active.incarnation
                && promise.epoch >= self.active.epoch
        })
    }

    /// When the old holder is surely out, whatever it says.
    pub fn waited_at(&self) -> Time {
        self.wait_from.after(lease::wait(self.lease_ms, self.kill_ms))
    }
}

/// Whether the way to the office is free for `me` at `now`. Invariant 4.
pub fn way_free(evidence: &Evidence<'_>, me: &Identity, now: Time) -> Option<WayFree> {
    let active = evidence.active;
    if evidence.trusted {
        // Whether `until` has passed was checked before the claim; nobody else can have claimed since.
        if let Phase::Ceded { to, .. } = &active.phase {
            return Some(WayFree::Ceded { to: to.clone() });
        }
        if let Some(holder) = &active.holder
            && evidence
                .promises
                .iter()
                .any(|(node, _, promise)| promises(active, holder, node, promise))
        {
            return Some(if holder.same_machine(me) {
                WayFree::OwnPromise
            } else {
                WayFree::Promised
            });
        }
        if let Some(holder) = &active.holder
            && let Some(Fenced { victim, by, how }) = evidence.fenced
            && victim.is(holder, active.epoch)
            && evidence.kept != MayBeKept::Yes
        {
            let (node, by, how) = (victim.node.clone(), by.clone(), how.clone());
            return Some(WayFree::Fenced { node, by, how });
        }
    }
    // Of an office that nobody is known to have held, in whatever epoch, each headnode's word counts if it was given after
    // the claim.
    if active.holder.is_none() || evidence.trusted {
        let awaited = evidence.awaited();
        if awaited.is_empty() {
            return Some(WayFree::Promised);
        }
        if let Some(words) = confirmed(evidence.confirmed, &awaited) {
            return Some(WayFree::Confirmed { words });
        }
    }
    if now < evidence.waited_at() {
        return None;
    }
    match &evidence.kept {
        MayBeKept::No => Some(WayFree::WaitedOut),
        MayBeKept::Off(word) => Some(WayFree::Confirmed { words: word.to_string() }),
        MayBeKept::Yes => None,
    }
}

/// That all of these headnodes are powered off, and by whose word, if somebody gave it.
fn confirmed(confirmed: &[Confirmed], nodes: &[&NodeName]) -> Option<String> {
    let said = |node: &&NodeName| confirmed.iter().find(|it| it.node == **node);
    let words: Option<Vec<String>> =
        nodes.iter().map(|node| said(node).map(ToString::to_string)).collect();
    words.map(|words| words.join("; "))
}

/// Whether `promise` of `node` says that nothing of `active`'s epoch runs on the machine that held it.
fn promises(active: &Active, holder: &Identity, node: &NodeName, promise: &Promise) -> bool {
    *node == holder.node
        && promise.machine == holder.machine
        && promise.incarnation == active.incarnation
        && promise.epoch >= active.epoch
}

/// How long `lease` and `active` must stand still before a claim over a lock that is still there: a live session with a
/// dead main loop. Longer over a claimant, which cannot renew: two would else claim over each other in turns.
pub fn patience(lease_ms: u64, kill_ms: u64, over_claimant: bool, renew: Duration) -> Duration {
    if over_claimant {
        lease::wait(lease_ms, kill_ms).saturating_add(renew.saturating_mul(2))
    } else {
        Duration::from_millis(lease_ms.saturating_add(kill_ms))
    }
}

/// The record of an office that nobody is known to have held.
pub fn unknown(incarnation: Incarnation, epoch: Epoch, lease_ms: u64, kill_ms: u64) -> Active {
    Active {
        format: FORMAT,
        incarnation,
        epoch,
        holder: None,
        phase: Phase::BecomingActive,
        claimant: None,
        lease_ms,
        kill_ms,
        services: Vec::new(),
        addresses: Vec::new(),
        since: crate::time::WallTime(0),
        taken_on: None,
        rest: record::Rest::new(),
    }
}

#[cfg(test)]
mod keep_tests;
#[cfg(test)]
mod tests;
