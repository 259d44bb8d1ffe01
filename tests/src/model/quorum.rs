//! The failover quorum's side of the writes of office: what each checks, and what it changes.
//!
//! Decides what a write does when it lands. Deliberately knows nothing of why it was sent: that is
//! `controller`'s. A write lands as a whole or not at all, as ZooKeeper's `multi` does.

use super::rules::{Claims, Rule, UNTIL, claims_are_allowed};
use super::scope::Scope;
use super::state::{Claimant, Kind, Lock, Node, Role, Sender, Settings, State, Yes};

/// What a write knows of the versions that it is bound to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions {
    /// `active`@v is still the version.
    pub(super) active: bool,
    /// `lease`@s is still the version.
    pub(super) lease: bool,
    /// `settings`@p is still the version.
    pub(super) settings: bool,
}

impl Scope {
    /// Does a write of office, or refuses it. `old`: it comes from a session whose process is gone.
    pub(super) fn commit(
        &self,
        state: &mut State,
        by: Node,
        kind: Kind,
        versions: Versions,
        old: bool,
    ) -> bool {
        let bound = versions.active || !self.has(Rule::ActiveVersion);
        let mine = Lock { owner: by, old };
        let own_or_none = state.lock.is_none_or(|lock| lock.owner == by);
        match kind {
            Kind::Renew => {
                if !bound || !versions.lease {
                    return false;
                }
                self.move_lease(state, by);
            }
            Kind::Claim { over } => {
                let lease = versions.lease || !self.has(Rule::ClaimChecksLease);
                let settings = !self.has(Rule::ClaimChecksSettings)
                    || (versions.settings && self.claims_allowed(state, by));
                if !bound || !lease || !settings || state.lock.is_some() != over {
                    return false;
                }
                self.count_displaced(state, by);
                state.lock = Some(mine);
                state.active.claimant = Some(Claimant { node: by, boot_runs: true });
                self.bump_active(state, by);
            }
            Kind::Office => {
                let exists = state.lock.is_some() || !self.has(Rule::LockCheck);
                if !bound || !exists {
                    return false;
                }
                self.new_epoch(state, by);
                self.bump_active(state, by);
                // It took the proof that nothing runs by a keep any more.
                if state.settings == Settings::Resuming && self.has(Rule::KeepEndsWithOffice) {
                    state.settings = Settings::Automatic;
                }
            }
            Kind::Cede => {
                if !bound {
                    return false;
                }
                state.active.ceded = Some(self.next(by));
                let owned = own_or_none || !self.has(Rule::OwnerTest);
                if owned && self.has(Rule::CededWithDelete) {
                    state.lock = None;
                }
                self.bump_active(state, by);
            }
            Kind::Six => {
                if !bound || !own_or_none && self.has(Rule::SixRefused) {
                    return false;
                }
                state.lock = Some(mine);
                self.resume_boot(state, by);
                if self.has(Rule::SixBumps) {
                    self.bump_active(state, by);
                }
            }
        }
        true
    }

    /// Whether `settings` lets this headnode claim.
    pub(super) fn claims_allowed(&self, state: &State, by: Node) -> bool {
        let active = &state.active;
        let claims = match state.settings {
            Settings::Automatic => Claims::Allowed,
            Settings::Paused | Settings::Keep | Settings::KeepAcknowledged => Claims::Paused,
            Settings::Resuming => Claims::Resuming,
        };
        let promise = state.host(active.node).promised;
        let own = by == active.node && state.host(by).keeps_nothing();
        let off = own || self.fenced(state, by) || self.kept_is_off(state);
        claims_are_allowed(claims, active.ceded.is_some(), promise, off)
    }

    /// Whether a fence method's Yes holds for the recorded holder.
    pub(super) fn fenced(&self, state: &State, by: Node) -> bool {
        match state.host(by).controller.yes {
            Yes::None => false,
            Yes::Valid => true,
            Yes::Stale => !self.has(Rule::FenceBound),
        }
    }

    /// Whether a cession lets this headnode claim.
    pub(super) fn cession_admits(&self, state: &State, by: Node) -> bool {
        state.active.ceded.is_none_or(|to| {
            to == by || !self.has(Rule::Until) || state.host(by).controller.active_age >= UNTIL
        })
    }

    /// `active` has a new version, which only its writer knows.
    pub(super) fn bump_active(&self, state: &mut State, by: Node) {
        if state.confirm == Yes::Valid {
            state.confirm = Yes::Stale;
        }
        for node in self.nodes() {
            let host = state.host_mut(node);
            host.controller.knows_active &= node == by;
            if let Some(write) = &mut host.write {
                write.active_holds = false;
                let hopeless = !write.done && write.sender != Sender::Awaits;
                if hopeless && self.has(Rule::ActiveVersion) {
                    host.write = None;
                }
            }
        }
    }

    /// `lease` has a new version, which only its writer knows.
    fn move_lease(&self, state: &mut State, by: Node) {
        for node in self.nodes() {
            let host = state.host_mut(node);
            host.controller.knows_lease &= node == by;
            if let Some(write) = &mut host.write {
                write.lease_holds = false;
            }
        }
    }

    /// A new epoch begins: every other epoch lies one further behind.
    fn new_epoch(&self, state: &mut State, by: Node) {
        for node in self.nodes() {
            let host = state.host_mut(node);
            host.permit.epoch = (host.permit.epoch + 1).min(2);
            host.closed = (host.closed + 1).min(2);
            host.promised = (host.promised + 1).min(2);
            if let Some(write) = &mut host.write {
                write.epoch = (write.epoch + 1).min(2);
            }
            if let Some(off) = &mut host.off {
                off.stale = true;
            }
            if host.controller.yes == Yes::Valid {
                host.controller.yes = Yes::Stale;
            }
        }
        state.active.missing = false;
        state.active.node = by;
        state.active.boot_runs = true;
        state.active.ceded = None;
        state.active.claimant = None;
        state.displaced = 0;
    }

    /// Write 6 by a boot that `active` does not name makes it name that boot.
    fn resume_boot(&self, state: &mut State, by: Node) {
        if state.active.node != by || state.active.boot_runs || state.claims(by) {
            return;
        }
        state.active.boot_runs = true;
        for node in self.nodes() {
            let controller = &mut state.host_mut(node).controller;
            if controller.yes == Yes::Valid {
                controller.yes = Yes::Stale;
            }
        }
    }

    /// Notes what a claim takes from whom.
    fn count_displaced(&self, state: &mut State, by: Node) {
        let active = state.active;
        match active.claimant {
            Some(claimant) if claimant.node != by => {
                let host = state.host(claimant.node);
                let controller = &host.controller;
                let well = host.up && !host.cut && !host.lags && !controller.frozen;
                if well && controller.session && controller.role == Role::Claimant {
                    state.displaced = (state.displaced + 1).min(4);
                }
            }
            Some(_) => {}
            None => {
                let holds = active.node != by && state.holds_unclaimed(active.node);
                if holds && !state.host(active.node).harmed {
                    state.needless = true;
                }
            }
        }
    }
}
