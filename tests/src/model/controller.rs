//! master-fc: when it sends which write, and what it makes of the outcome.
//!
//! Decides for a process that is not frozen. Deliberately models neither health nor eligibility
//! (every headnode is eligible), nor the announcement (write 4), which frees no way.

use super::action::Action;
use super::quorum::Versions;
use super::rules::{Behind, DEAD_AFTER, Evidence, RECREATE_TIME, Rule, way_is_free};
use super::scope::Scope;
use super::state::{
    Host, KEPT, Kind, Lock, Node, Off, Permit, Role, Sender, Service, Settings, State, Write, Yes,
};

impl Host {
    /// master-fc runs and has a connection.
    pub(super) const fn connected(&self) -> bool {
        self.up && !self.cut && !self.controller.frozen
    }

    /// master-fc can write.
    pub(super) const fn talks(&self) -> bool {
        self.connected() && self.controller.session
    }

    /// master-fc can write, and reads what is newest.
    pub(super) const fn reads(&self) -> bool {
        self.talks() && !self.lags
    }

    /// No write of this session is without an answer.
    ///
    /// Reads wait for it, too: a session's answers come in the order of its requests, so nothing
    /// that was read can be newer than an answer that is still to come.
    pub(super) fn answered(&self) -> bool {
        self.write.is_none_or(|write| write.sender != Sender::Awaits)
    }

    /// A write can be sent, and its outcome kept.
    fn free_to_write(&self) -> bool {
        self.answered() && (self.write.is_none() || !self.lags)
    }
}

impl Scope {
    /// Which write this process may send now.
    pub(super) fn may_send(&self, state: &State, node: Node, kind: Kind) -> bool {
        let host = state.host(node);
        let controller = &host.controller;
        let knows = controller.knows_active || !self.has(Rule::ActiveVersion);
        if !host.talks() || !host.free_to_write() || !knows {
            return false;
        }
        match kind {
            Kind::Renew => controller.role == Role::Holder && controller.knows_lease,
            Kind::Claim { over } => self.may_claim(state, node, over),
            Kind::Office => {
                controller.role == Role::Claimant
                    && (state.lock.is_some() || !self.has(Rule::LockCheck))
                    && self.way_free(state, node)
            }
            Kind::Cede => {
                let unseen = !state.runs(node) || !self.has(Rule::CedeVerifies);
                controller.role == Role::Ceding && unseen
            }
            Kind::Six => self.may_succeed(state, node),
        }
    }

    /// Write 1.
    fn may_claim(&self, state: &State, node: Node, over: bool) -> bool {
        self.may_join(state, node) && self.lock_admits(state, node, over)
    }

    /// Write 1 over the lock of a holder, without the time that nothing must have moved in: an operator ordered it.
    pub(super) fn may_claim_by_order(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let sends = host.talks() && host.free_to_write() && host.controller.knows_active;
        let holder = state.active.claimant.is_none() && state.active.node != node;
        sends && holder && state.lock.is_some() && self.may_join(state, node)
    }

    /// Whether this headnode may claim at all.
    fn may_join(&self, state: &State, node: Node) -> bool {
        let controller = &state.host(node).controller;
        controller.role == Role::Standby
            && (controller.knows_lease || !self.has(Rule::ClaimChecksLease))
            && (self.claims_allowed(state, node) || !self.has(Rule::ClaimChecksSettings))
            && self.cession_admits(state, node)
            && !(controller.knows_active && self.may_succeed(state, node))
    }

    /// Whether the lock, or its lack, lets this headnode claim.
    fn lock_admits(&self, state: &State, node: Node, over: bool) -> bool {
        let controller = &state.host(node).controller;
        if state.lock.is_some() != over {
            false
        } else if over {
            let need = self.figures.over_lock(self.rules, state.active.claimant.is_some());
            let still = if self.has(Rule::OverLockCountsActive) {
                controller.lease_age.min(controller.active_age)
            } else {
                controller.lease_age
            };
            self.fenced(state, node) || still >= need
        } else {
            controller.lease_age >= RECREATE_TIME || !self.has(Rule::ClaimWaits)
        }
    }

    /// Write 6.
    fn may_succeed(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let active = &state.active;
        let own_or_none = state.lock.is_none_or(|lock| lock.owner == node);
        if !self.has(Rule::SucceedMyself)
            || host.controller.role != Role::Standby
            || !host.controller.knows_active
            || !own_or_none && self.has(Rule::SixRefused)
        {
            return false;
        }
        match active.claimant {
            Some(claimant) if claimant.node == node => own_or_none && claimant.boot_runs,
            Some(_) if self.has(Rule::SixRefused) => false,
            Some(_) | None => {
                let boot = active.boot_runs || !self.has(Rule::NewBootClaims);
                let free = !active.missing && active.ceded.is_none();
                free && active.node == node && boot && host.closed > 0
            }
        }
    }

    /// Whether this claimant finds the way free.
    pub(super) fn way_free(&self, state: &State, node: Node) -> bool {
        let controller = &state.host(node).controller;
        let waited = if self.has(Rule::WaitFromLease) {
            controller.lease_age
        } else {
            controller.lease_age.max(controller.lock_gone.saturating_sub(1))
        };
        let known = Evidence {
            ceded: state.active.ceded.is_some(),
            unknown: state.active.missing,
            promise: state.host(state.active.node).promised,
            all_promised: self.nodes().all(|other| state.host(other).promised == 0),
            fenced: self.fenced(state, node),
            waited,
            since_claim: controller.active_age,
            kept: self.may_be_kept(state),
        };
        way_is_free(self.rules, self.figures, known)
    }

    /// Sends a write that is answered at once, unless the server lags.
    pub(super) fn send(&self, state: &mut State, node: Node, kind: Kind) {
        let controller = state.host(node).controller;
        let versions = Versions {
            active: controller.knows_active,
            lease: controller.knows_lease,
            settings: true,
        };
        if !self.commit(state, node, kind, versions, false) {
            return;
        }
        if state.host(node).lags {
            let mut write = Write::sent(kind, Sender::Awaits, state, node);
            write.done = true;
            state.host_mut(node).write = Some(write);
            self.forget(state, node, kind);
        } else {
            state.host_mut(node).controller.active_age = 0;
            self.learn(state, node, kind, 0, 0);
        }
    }

    /// A write of this process has landed, and the process does not know.
    pub(super) fn forget(&self, state: &mut State, node: Node, kind: Kind) {
        let controller = &mut state.host_mut(node).controller;
        match kind {
            Kind::Renew => controller.knows_lease = false,
            Kind::Claim { .. } | Kind::Office | Kind::Cede | Kind::Six => {
                controller.knows_active = false;
            }
        }
    }

    /// The process learns that its write is done, which it sent `age` ticks ago.
    pub(super) fn learn(&self, state: &mut State, node: Node, kind: Kind, epoch: Behind, age: u8) {
        let claims = state.claims(node);
        let controller = &mut state.host_mut(node).controller;
        match kind {
            Kind::Renew => {
                controller.lease_age = age;
                if controller.role == Role::Holder {
                    self.write_permit(state, node, epoch, self.figures.left_after(self.rules, age));
                }
            }
            Kind::Claim { .. } => {
                controller.role = Role::Claimant;
                if !controller.knows_lease {
                    controller.knows_lease = true;
                    controller.lease_age = 0;
                }
            }
            Kind::Office => {
                controller.role = Role::Holder;
                if !self.has(Rule::RenewBeforePermit) {
                    self.write_permit(state, node, epoch, self.figures.left_after(self.rules, age));
                }
            }
            Kind::Cede => controller.role = Role::Standby,
            Kind::Six if claims => {
                controller.role = Role::Claimant;
                let anew = self.has(Rule::WaitAnew);
                let age = if anew { 0 } else { self.figures.longest() };
                controller.lease_age = age;
                controller.active_age = age;
            }
            Kind::Six => controller.role = Role::Holder,
        }
    }

    /// Replaces the permit, unless `closed` forbids it.
    fn write_permit(&self, state: &mut State, node: Node, epoch: Behind, left: u8) {
        let keep = match state.settings {
            Settings::Keep | Settings::KeepAcknowledged => true,
            Settings::Automatic | Settings::Paused | Settings::Resuming => false,
        };
        let host = state.host_mut(node);
        if host.closed <= epoch {
            return;
        }
        let kept = keep && host.permit.present && host.permit.left == KEPT;
        host.permit = Permit { present: true, epoch, left: if kept { KEPT } else { left } };
    }

    /// Whether there is something new to read, or something to conclude from it.
    pub(super) fn may_look(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let controller = &host.controller;
        let stale = !controller.knows_active || !controller.knows_lease;
        let closed = controller.role == Role::Holder && host.closed == 0;
        host.reads()
            && host.answered()
            && (stale || closed || self.counts_lock(state) != (controller.lock_gone > 0))
    }

    /// Whether the active has not yet seen that a keep is asked for, or no longer is.
    pub(super) fn may_read_settings(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let keep = host.controller.role == Role::Holder && state.settings == Settings::Keep;
        host.reads() && host.answered() && keep != host.controller.keep_seen
    }

    /// A dropped rule counts since the lock is gone, and it is.
    const fn counts_lock(&self, state: &State) -> bool {
        !self.has(Rule::WaitFromLease) && state.lock.is_none()
    }

    /// Reads `active` and `lease`, and draws the conclusions.
    pub(super) fn look(&self, state: &mut State, node: Node) {
        let holds = state.holds_unclaimed(node);
        let claims = state.claims(node);
        let missing = state.active.missing;
        let lock_gone = self.counts_lock(state);
        let host = state.host_mut(node);
        let controller = &mut host.controller;
        if !controller.knows_active {
            controller.knows_active = true;
            controller.active_age = 0;
        }
        if !controller.knows_lease {
            controller.knows_lease = true;
            controller.lease_age = 0;
        }
        controller.lock_gone = if lock_gone { controller.lock_gone.max(1) } else { 0 };
        match controller.role {
            Role::Holder | Role::Ceding if !holds => {
                controller.role = Role::Standby;
                if self.has(Rule::PermitRemovedOnLoss) && !missing {
                    host.permit.present = false;
                }
            }
            Role::Holder if host.closed == 0 => self.begin_cession(state, node),
            Role::Claimant if !claims => controller.role = Role::Standby,
            Role::Standby | Role::Holder | Role::Claimant | Role::Ceding => {}
        }
        let controller = &mut state.host_mut(node).controller;
        controller.keep_seen &= controller.role == Role::Holder;
    }

    /// On the way to cede: permit gone, start jobs replaced, services told to stop.
    pub(super) fn begin_cession(&self, state: &mut State, node: Node) {
        let host = state.host_mut(node);
        host.controller.role = Role::Ceding;
        host.controller.keep_seen = false;
        if self.has(Rule::CedeRemovesPermit) {
            host.permit.present = false;
        }
        host.service = match host.service {
            Service::Running | Service::Stopping => Service::Stopping,
            Service::Starting if !self.has(Rule::CedeReplaces) => Service::Starting,
            Service::Starting | Service::Stopped => Service::Stopped,
        };
    }

    /// Without the claim before the wait: a standby that has waited takes the office at once.
    pub(super) fn may_take_unclaimed(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        !self.has(Rule::ClaimBeforeWait)
            && host.talks()
            && host.controller.role == Role::Standby
            && host.controller.knows_active
            && host.controller.lease_age >= self.figures.wait(self.rules)
            && state.active.claimant.is_none()
            && state.active.node != node
    }

    /// The permit does not have the newest renew in it.
    fn must_renew(&self, state: &State, node: Node) -> bool {
        let permit = &state.host(node).permit;
        let kept = match state.settings {
            Settings::Keep | Settings::KeepAcknowledged => permit.left == KEPT,
            Settings::Automatic | Settings::Paused | Settings::Resuming => false,
        };
        let newest = permit.present && permit.epoch == 0 && permit.left == self.figures.lease;
        !kept && !newest
    }

    /// What master-fc does without delay.
    pub(super) fn controller_work(&self, state: &State, node: Node, work: &mut Vec<Action>) {
        let host = state.host(node);
        if host.connected() && !host.controller.session {
            work.push(Action::Connect(node));
        }
        if self.may_look(state, node) {
            work.push(Action::Look(node));
        }
        if self.may_read_settings(state, node) {
            work.push(Action::ReadSettings(node));
        }
        if let Some(write) = host.write
            && write.sender == Sender::Awaits
            && host.reads()
        {
            work.push(if write.done { Action::Answer(node) } else { Action::Land(node) });
        }
        if self.may_hear(state, node) {
            work.push(Action::Hear(node));
        }
        for kind in [Kind::Six, Kind::Office, Kind::Cede] {
            if self.may_send(state, node, kind) {
                work.push(Action::Send(node, kind));
            }
        }
        if self.may_send(state, node, Kind::Renew) && self.must_renew(state, node) {
            work.push(Action::Send(node, Kind::Renew));
        }
        if self.may_order(state, node) {
            work.push(Action::Order(node));
        }
        if self.may_acknowledge_keep(state, node) {
            work.push(Action::AcknowledgeKeep(node));
        }
        if self.may_acknowledge_resume(state, node) {
            work.push(Action::AcknowledgeResume(node));
        }
    }

    /// master-ha-service: in office, with a permit that the gate would accept, and nothing runs.
    fn may_order(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let permit = &host.permit;
        host.up
            && !host.controller.frozen
            && host.controller.role == Role::Holder
            && permit.present
            && permit.epoch == 0
            && permit.left > 0
            && host.closed > 0
            && host.service == Service::Stopped
            && !host.order
    }

    /// The active reads that a keep is asked for; it has renewed in its own epoch, or it would move
    /// the deadline of an older permit, and never start a service.
    fn may_acknowledge_keep(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let controller = &host.controller;
        let asked = state.settings == Settings::Keep || !self.has(Rule::KeepChecksSettings);
        let holds = controller.knows_active || !self.has(Rule::KeepChecksActive);
        host.talks()
            && !host.lags
            && host.free_to_write()
            && controller.keep_seen
            && controller.role == Role::Holder
            && host.permit.present
            && host.permit.epoch == 0
            && host.permit.left != KEPT
            && asked
            && holds
    }

    /// Acknowledges a keep, and moves D out of the way.
    pub(super) fn acknowledge_keep(&self, state: &mut State, node: Node) {
        state.host_mut(node).permit.left = KEPT;
        state.host_mut(node).controller.keep_seen = false;
        if state.settings == Settings::Keep && self.has(Rule::KeepAcknowledged) {
            state.settings = Settings::KeepAcknowledged;
            self.settings_changed(state);
        }
    }

    /// The active sees the resume, and has a deadline again.
    fn may_acknowledge_resume(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        state.settings == Settings::Resuming
            && host.reads()
            && host.controller.role == Role::Holder
            && host.controller.knows_active
            && (host.permit.left != KEPT || !self.has(Rule::ResumeRenewsFirst))
            && (!self.must_renew(state, node) || !self.has(Rule::ResumeRenewsFirst))
    }

    /// `settings` has a new version.
    pub(super) fn settings_changed(&self, state: &mut State) {
        for node in self.nodes() {
            if let Some(write) = &mut state.host_mut(node).write {
                write.settings_hold = false;
            }
        }
    }

    /// Whether this headnode turns to its fence method, against the recorded holder.
    pub(super) fn may_fence(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let holder = state.host(state.active.node);
        let other = !state.active.missing && state.active.node != node;
        if !self.fencing || !host.reads() || !other || holder.off.is_some() {
            return false;
        }
        if host.controller.yes == Yes::Valid || !host.controller.knows_active {
            return false;
        }
        match host.controller.role {
            Role::Claimant => true,
            Role::Standby => {
                let held = Lock { owner: state.active.node, old: false };
                let silent = !holder.reads() || !self.has(Rule::Challenge);
                state.lock == Some(held)
                    && state.active.claimant.is_none()
                    && host.controller.knows_lease
                    && host.controller.lease_age >= DEAD_AFTER
                    && silent
            }
            Role::Holder | Role::Ceding => false,
        }
    }

    /// Orders the old holder's host off.
    pub(super) fn fence(&self, state: &mut State, node: Node) {
        let holder = state.active.node;
        state.host_mut(holder).off = Some(Off { by: Some(node), stale: false });
        if !self.has(Rule::FenceVerified) {
            state.host_mut(node).controller.yes = Yes::Valid;
        }
    }
}

impl Write {
    /// A write as it is sent, bound to what its process knows.
    pub(super) fn sent(kind: Kind, sender: Sender, state: &State, node: Node) -> Self {
        let controller = &state.host(node).controller;
        Self {
            kind,
            sender,
            done: false,
            active_holds: controller.knows_active,
            lease_holds: controller.knows_lease,
            settings_hold: true,
            epoch: 0,
            age: 0,
        }
    }
}
