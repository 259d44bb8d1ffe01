//! Whether somebody comes to run the services, when nothing more goes wrong and nothing is repaired.
//!
//! Decides liveness by following one prompt and fair course of events from a state: everybody who
//! can do something does it, sessions of the dead end, and time passes. Where the course ends with
//! a holder in office whose services run, every state on it is known to settle.

use super::action::Action;
use super::check::Cluster;
use super::scope::Scope;
use super::state::{Node, Role, Service, Settings, State};

/// More steps than any course takes that ends well.
const MOST_STEPS: usize = 600;

impl Cluster {
    /// Whether somebody comes to run the services, or nobody has to.
    ///
    /// # Panics
    /// If an earlier check panicked.
    #[must_use]
    pub fn settles(&self, state: &State) -> bool {
        if !self.scope.somebody_must_run(state) {
            return true;
        }
        self.settles_when(state, true) && self.settles_when(state, false)
    }

    /// The same, with sessions that end at once, or as late as the others' work allows.
    fn settles_when(&self, state: &State, sessions_end: bool) -> bool {
        let mut course = Vec::new();
        let mut now = *state;
        for _ in 0..MOST_STEPS {
            let print = Self::fingerprint(&now) ^ u64::from(sessions_end);
            let known =
                self.settled.lock().expect("no check panics with the lock").contains(&print);
            if known || self.scope.in_good_order(&now) {
                course.push(print);
                self.settled.lock().expect("no check panics with the lock").extend(course);
                return true;
            }
            course.push(print);
            let action = self.scope.prompt_step(&now, sessions_end);
            self.scope.carry_out(&mut now, action);
        }
        false
    }
}

impl Scope {
    /// This headnode can serve without any repair.
    fn able(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        host.up && !host.cut && !host.lags && !host.controller.frozen
    }

    /// Whether the services have to come up, by what is able and what is paused.
    fn somebody_must_run(&self, state: &State) -> bool {
        let holder = state.active.node;
        let holder_can = state.holds_unclaimed(holder)
            && self.able(state, holder)
            && state.host(holder).closed > 0
            && state.host(holder).controller.role != Role::Ceding;
        match state.settings {
            Settings::Automatic => self.nodes().any(|node| self.able(state, node)),
            Settings::Paused | Settings::Keep | Settings::KeepAcknowledged => holder_can,
            // Until the keep is proven or confirmed to be over, nobody but its holder can know.
            Settings::Resuming => {
                let mut able = self.nodes().filter(|node| self.able(state, *node));
                holder_can || able.any(|node| self.claims_allowed(state, node))
            }
        }
    }

    /// An able holder is in office, and its services run.
    fn in_good_order(&self, state: &State) -> bool {
        let holder = state.active.node;
        let host = state.host(holder);
        self.able(state, holder)
            && state.holds_unclaimed(holder)
            && host.controller.role == Role::Holder
            && host.service == Service::Running
            && host.permit.present
            && host.permit.left > 0
            && host.closed > 0
    }

    /// The next step of a prompt and fair course without faults and repairs.
    fn prompt_step(&self, state: &State, sessions_end: bool) -> Action {
        let mut steps = Vec::new();
        for node in self.nodes() {
            self.guard_work(state, node, &mut steps);
            self.controller_work(state, node, &mut steps);
        }
        if let Some(first) = steps.first() {
            return *first;
        }
        self.free_steps(state, &mut steps);
        let due = |action: &&Action| match action {
            Action::Send(..)
            | Action::TakeUnclaimed(_)
            | Action::DeleteLock(_)
            | Action::Execute(_)
            | Action::Stopped(_) => true,
            Action::Expire(_) | Action::ExpireOld => sessions_end,
            Action::Tick(_)
            | Action::Connect(_)
            | Action::Look(_)
            | Action::ReadSettings(_)
            | Action::Land(_)
            | Action::Answer(_)
            | Action::CountRead(_)
            | Action::AcknowledgeKeep(_)
            | Action::AcknowledgeResume(_)
            | Action::Order(_)
            | Action::Started(_)
            | Action::ControllerKills(_)
            | Action::GuardKills(_)
            | Action::GuardStops(_)
            | Action::GuardCloses(_)
            | Action::GuardPromises(_)
            | Action::GuardClosesLate(_)
            | Action::GuardBack(_)
            | Action::Fence(_)
            | Action::Hear(_)
            | Action::Off(_)
            | Action::Fault(..)
            | Action::Uncut(_)
            | Action::CaughtUp(_)
            | Action::Thaw(_)
            | Action::Restart(_)
            | Action::Boot(_)
            | Action::Command(..)
            | Action::Resume => false,
        };
        steps.iter().find(due).copied().unwrap_or(Action::Tick(None))
    }
}
