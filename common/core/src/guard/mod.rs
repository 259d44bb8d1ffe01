//! slave-ha-service: what no permit covers is stopped, whether or not master-fc lives; and promises are given.
//!
//! The guard goes by the permit on disk and the clock; it needs neither master-fc nor the quorum to stop everything at D.
//! What the quorum shows can only shorten a permit, never lengthen one. `protocol.md`, 6.

mod pinned;
mod promise;

use std::collections::{BTreeMap, VecDeque};

use crate::config::checked::{Config, Service};
use crate::epoch::{Epoch, Incarnation};
use crate::known::Known;
use crate::lease::{self, Closed, Permit};
use crate::node::Identity;
use crate::presence::Presence;
use crate::quorum::{ActionId, Ask, Event as QuorumEvent};
use crate::record::{self, Active, FORMAT, Key, Phase, Promise, Rest, Role, ServicesState};
use crate::say::{Kind, Line};
use crate::services::{Desired, Ids, Observed, Report, ServiceAction, Supervisor};
use crate::time::Time;
use pinned::Pinned;

/// What happens to a slave-ha-service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The failover quorum reports something.
    Quorum(QuorumEvent),
    /// What `/run/headship/permit` holds. It is looked at before each other event is handed in: a service that was just
    /// started must not be stopped for a permit that was there before it.
    Permit(Option<Permit>),
    /// What `/run/headship/closed` holds, or why it cannot be read.
    Closed(Result<Option<Closed>, String>),
    /// `/run/headship/closed` was written, or could not be.
    ClosedWritten {
        /// The id of the action.
        id: ActionId,
        /// What went wrong.
        error: Option<String>,
    },
    /// The drivers report something of a service.
    Service(Report),
    /// Somebody wants everything compared anew now, as each period does.
    LookAnew,
}

/// What a slave-ha-service wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask the failover quorum.
    Ask(Ask),
    /// Replace `/run/headship/closed`.
    WriteClosed {
        /// Comes back with the outcome.
        id: ActionId,
        /// Its content.
        closed: Closed,
    },
    /// Order something of a service.
    Service(ServiceAction),
    /// Reboot the host at once: services could not be stopped in time.
    Reboot {
        /// Which, and since when.
        why: String,
    },
    /// Say this in the log.
    Say(Line),
}

/// The root machine of slave-ha-service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    config: Config,
    me: Identity,
    ids: Ids,
    actions: VecDeque<Action>,
    active: Known<Active>,
    promise: Known<Promise>,
    permit: Option<Permit>,
    /// The last permit of this boot, also when it is gone: its deadline is how long a graceful stop may take.
    last_permit: Option<Permit>,
    /// When it was noticed that the last permit has expired.
    expired: Option<Time>,
    /// Whether everything was seen gone since then.
    gone: bool,
    reboot_due: Time,
    closed: Option<Closed>,
    /// The file does not say so any more: it cannot be read, or somebody took it away.
    spoilt: bool,
    closing: Option<(ActionId, Closed)>,
    /// When the gate may be tried again after it could not be closed.
    close_due: Time,
    /// Why it could not be, as it was said.
    close_error: Option<String>,
    /// The epoch for which everything is being, or was, verified stopped behind a closed gate.
    verifying: Option<(Incarnation, Epoch)>,
    promising: Option<(ActionId, Promise)>,
    /// When a promise may be written again after one that was refused.
    promise_due: Time,
    /// What the quorum said when it last denied a promise.
    denied: Option<String>,
    services: Supervisor,
    pinned: Pinned,
    presence: Presence,
    why: String,
    period_due: Time,
    wake: Option<Time>,
    decided: Time,
}

impl Guard {
    /// A slave-ha-service that has just started, with what lies in `/run/headship`. `duty_service` is master-ha-service as
    /// something to stop.
    pub fn new(
        config: Config,
        me: Identity,
        permit: Option<Permit>,
        closed: Option<Closed>,
        duty_service: Service,
    ) -> Self {
        let services = config.services.iter().cloned().chain([duty_service]);
        let permit = permit.filter(|permit| permit.boot == me.boot);
        Self {
            services: Supervisor::new(services, config.timing.period, |_| false),
            pinned: Pinned::new(&config),
            active: Known::new(Key::Active),
            promise: Known::new(Key::Promise(me.node.clone())),
            presence: Presence::new(Key::Services(me.node.clone()), me.machine.clone()),
            config,
            me,
            ids: Ids::default(),
            actions: VecDeque::new(),
            last_permit: permit.clone(),
            permit,
            expired: None,
            gone: false,
            reboot_due: Time::default(),
            closed,
            spoilt: false,
            closing: None,
            close_due: Time::default(),
            close_error: None,
            verifying: None,
            promising: None,
            promise_due: Time::default(),
            denied: None,
            why: "just started".to_owned(),
            period_due: Time::default(),
            wake: None,
            decided: Time::default(),
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Quorum(event) => self.quorum(now, &event),
            Event::Permit(permit) => {
                self.permit = permit.filter(|permit| permit.boot == self.me.boot)
            }
            Event::Closed(found) => self.closed_read(found),
            Event::ClosedWritten { id, error } => self.closed_written(now, id, error),
            Event::LookAnew => self.period_due = now,
            Event::Service(report) => {
                self.say_if_uncovered(&report);
                self.pinned.handle(now, &report);
                self.services.handle(now, report);
            }
        }
        self.decide(now);
    }

    /// Lets time pass. Early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.decide(now);
    }

    /// What to do next. Actions are to be carried out in this order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let services = [self.services.poll_timeout(), self.pinned.poll_timeout()];
        let timers = [Some(self.period_due), self.wake].into_iter().chain(services);
        timers.flatten().filter(|at| *at > self.decided).min()
    }

    /// What this host is by what the guard knows, and the last epoch of which it has seen a permit or a record.
    pub fn stands(&self) -> (&'static str, Option<Epoch>) {
        let covered = self.services.desired() == Desired::Alone && self.permit.is_some();
        let role = match (self.config.is_headnode(), covered) {
            (true, true) => Role::Active.as_str(),
            (true, false) => Role::Standby.as_str(),
            (false, _) => "follower",
        };
        let permit = self.last_permit.as_ref().map(|permit| permit.epoch);
        let active = self.active.record().map(|active| active.epoch);
        (role, permit.max(active))
    }

    /// What the guard does and why, in one sentence.
    pub fn status(&self) -> &str {
        &self.why
    }

    fn decide(&mut self, now: Time) {
        self.decided = now;
        self.wake = None;
        // Here and not on a timer alone: a process that was away may hear of an event first.
        if now >= self.period_due {
            self.period_due = now.after(self.config.timing.period);
            self.outdate();
            self.presence.look_again();
        }
        if self.permit.is_some() && self.permit != self.last_permit {
            self.last_permit.clone_from(&self.permit);
            self.expired = None;
            self.gone = false;
        }
        self.notice_expiry(now);
        let desired = self.desired(now);
        self.services.desire(desired);
        self.mend_closed(now);
        self.promise(now);
        self.services.decide(now, &mut self.ids);
        while let Some(action) = self.services.poll_action() {
            self.actions.push_back(Action::Service(action));
        }
        self.last_resort(now);
        self.keep_pinned(now);
        self.ask(now);
    }

    fn keep_pinned(&mut self, now: Time) {
        let mut orders = VecDeque::new();
        for (kind, text) in self.pinned.decide(now, &mut self.ids, &mut orders) {
            self.say(kind, text, None);
        }
        self.actions.extend(orders.into_iter().map(Action::Service));
    }

    fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Alone under a permit that covers the host; stopped otherwise, gracefully until the last permit's D.
    fn desired(&mut self, now: Time) -> Desired {
        let deadline = self.last_permit.as_ref().map(|permit| permit.deadline);
        let kill_at = deadline.unwrap_or_default().max(now);
        match self.covered(now) {
            Ok(permit) => {
                let (epoch, end) = (permit.epoch, permit.end());
                let kept = permit.kept.is_some();
                let grace_from = permit.grace_from();
                self.wake = Some(if now < grace_from { grace_from } else { end });
                let kept = if kept { ", whatever the quorum does (pause --keep)" } else { "" };
                self.why = format!("a permit of epoch {epoch} covers this headnode{kept}");
                if now < grace_from { Desired::Alone } else { Desired::Stopped { kill_at } }
            }
            Err(why) => {
                self.why = why;
                Desired::Stopped { kill_at }
            }
        }
    }

    /// The permit that covers this host now, or why none does.
    fn covered(&self, now: Time) -> Result<&Permit, String> {
        let why = if self.config.is_headnode() {
            "this headnode is not active: HA services are kept stopped"
        } else {
            "this node is no headnode: HA services are kept stopped"
        };
        let permit = self.permit.as_ref().ok_or(why)?;
        if self.closed.as_ref().is_some_and(|closed| lease::covers(closed, permit)) {
            return Err(format!(
                "epoch {} is closed here: HA services are kept stopped",
                permit.epoch
            ));
        }
        if now >= permit.end() {
            return Err(format!(
                "the permit of epoch {} has expired: HA services are stopped",
                permit.epoch
            ));
        }
        match self.active.record().and_then(|active| self.contradiction(active, permit)) {
            Some(why) => Err(why),
            None => Ok(permit),
        }
    }

    /// What `active` says against the permit. A record that is older than the permit comes from a lagging server.
    fn contradiction(&self, active: &Active, permit: &Permit) -> Option<String> {
        if active.incarnation != permit.incarnation || active.epoch < permit.epoch {
            return None;
        }
        let other = active.holder.as_ref().filter(|holder| !holder.same_boot(&self.me));
        if let Some(claimant) = &active.claimant {
            return Some(format!(
                "{} claims to succeed epoch {}: HA services are stopped",
                claimant.node, active.epoch
            ));
        }
        if let Some(other) = other {
            return Some(format!(
                "{} holds epoch {}: HA services are stopped",
                other.node, active.epoch
            ));
        }
        let ceded = matches!(active.phase, Phase::Ceded { .. });
        ceded.then(|| format!("epoch {} is ceded: HA services are kept stopped", active.epoch))
    }

    /// A permit has expired: whatever was seen before, from here on only what is killed or seen anew counts.
    fn notice_expiry(&mut self, now: Time) {
        let over = self.last_permit.as_ref().filter(|permit| now >= permit.end());
        let Some(epoch) = over.filter(|_| self.expired.is_none()).map(|permit| permit.epoch) else {
            return;
        };
        self.expired = Some(now);
        if let Some(text) = self.services.expired(epoch) {
            self.say(Kind::DeadlineReached, text, Some(epoch));
        }
    }

    /// Once a permit has expired, everything is verified gone within the kill time, or the host goes down. One with a keep never
    /// does: nobody waits for its end, and it ends by what proves that nothing runs.
    fn last_resort(&mut self, now: Time) {
        let Some(permit) = self.last_permit.as_ref().filter(|permit| now >= permit.end()) else {
            return;
        };
        let kill = std::time::Duration::from_millis(permit.kill_ms);
        let at = lease::last_resort(permit.deadline, kill, self.expired.unwrap_or(now));
        let left = self.services.not_gone();
        if left.is_empty() {
            self.gone = true;
        } else if self.gone {
            // Somebody started it past the gate: it is stopped, but no taker was told to count on its end.
        } else if now < at.max(self.reboot_due) {
            self.wake_at(at.max(self.reboot_due));
        } else {
            self.reboot_due = now.after(self.config.timing.period);
            let why = format!(
                "{} could not be stopped by the deadline of epoch {}",
                left.join(", "),
                permit.epoch
            );
            self.actions.push_back(Action::Reboot { why });
        }
    }

    fn quorum(&mut self, now: Time, event: &QuorumEvent) {
        if self.presence.handle(event) {
            return;
        }
        match event {
            QuorumEvent::Connected { .. } => self.outdate(),
            QuorumEvent::Disconnected | QuorumEvent::SessionLost => {
                self.promising = None;
                self.active.disconnected();
                self.promise.disconnected();
            }
            QuorumEvent::Changed(key) => {
                if key == self.active.key() || key == self.promise.key() {
                    self.outdate();
                }
            }
            QuorumEvent::Read { id, key: _, found } => {
                self.active.take(now, *id, found);
                self.promise.take(now, *id, found);
            }
            QuorumEvent::Wrote { id, outcome } => self.promised(now, *id, outcome),
        }
        self.pinned.quorum(now, event);
    }

    fn outdate(&mut self) {
        self.active.outdate();
        self.promise.outdate();
    }

    fn say(&mut self, kind: Kind, text: String, epoch: Option<Epoch>) {
        self.actions.push_back(Action::Say(Line { kind, text, epoch }));
    }

    /// A service that comes up while nothing covers it was started past the gate: that is said with its name.
    fn say_if_uncovered(&mut self, report: &Report) {
        if let Report::Observed { service, observed: Observed::Running, .. } = report
            && !self.pinned.has(service)
            && matches!(self.services.desired(), Desired::Stopped { .. })
            && self.services.all_stopped()
        {
            let text =
                format!("{service} was started by somebody else while {}; it is stopped", self.why);
            self.say(Kind::StartedByHand, text, None);
        }
    }

    /// What is told of each service in a word, and of those that ended otherwise than they should, why.
    fn observations(&self, now: Time) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let (mut services, mut reasons) = (BTreeMap::new(), BTreeMap::new());
        let stopped = matches!(self.services.desired(), Desired::Stopped { .. });
        for (service, observed, _, _) in self.services.survey(now) {
            // What should not run and does not is stopped, however it ended: nobody has to mend anything.
            let word = if stopped && observed.is_down() { &Observed::Stopped } else { observed };
            services.insert(service.name.clone(), word.as_str().to_owned());
            if let Observed::Failed { why } = observed {
                reasons.insert(service.name.clone(), why.clone());
            }
        }
        self.pinned.observations(now, &mut services, &mut reasons);
        (services, reasons)
    }

    fn ask(&mut self, now: Time) {
        let (services, reasons) = self.observations(now);
        let permit = self.permit.as_ref().filter(|_| self.services.desired() == Desired::Alone);
        let alone = permit.into_iter().flat_map(|permit| permit.alone.keys().cloned());
        let pinned = self.pinned.left_alone().map(str::to_owned);
        let kept = permit.and_then(|permit| permit.kept.clone());
        let state = ServicesState {
            format: FORMAT,
            by: self.me.clone(),
            services,
            reasons,
            alone: alone.chain(pinned).collect(),
            kept,
            why: self.why.clone(),
            rest: Rest::new(),
        };
        self.presence.publish(record::write(&state));
        self.actions.extend(self.presence.next_request(&mut self.ids).map(Action::Ask));
        let Some(session) = self.presence.session() else { return };
        let ids = &mut self.ids;
        let office = [self.active.next_read(ids), self.promise.next_read(ids)];
        let reads = office.into_iter().chain([self.pinned.next_read(ids)]);
        for (id, request) in reads.flatten() {
            self.actions.push_back(Action::Ask(Ask { id, session, request }));
        }
    }
}

#[cfg(test)]
mod tests;
