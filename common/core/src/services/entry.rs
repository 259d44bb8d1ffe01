//! One service of a supervisor: what is known of it, and the next order for it.

mod alone;
mod fall;
mod running;
mod stopping;

use std::collections::VecDeque;
use std::time::Duration;

pub(super) use self::fall::Fall;
use self::fall::Fallen;
use self::stopping::StopProgress;
use super::probes::Probes;
use super::{Desired, Ended, Ids, Observed, Order, ServiceAction};
use crate::config::checked::Service;
use crate::quorum::ActionId;
use crate::time::Time;

/// The pause between two tries of what failed without using up a budget.
const RETRY: Duration = Duration::from_secs(1);

/// What the gate may take to refuse a start that somebody else asked for.
const GATE: Duration = Duration::from_millis(100);

/// The pause between two SIGKILLs of a control group that would not empty.
const KILL_AGAIN: Duration = Duration::from_millis(100);

/// An order under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct UnderWay {
    id: ActionId,
    order: Order,
    since: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    spec: Service,
    /// Whether its supervisor starts it, or only stops it.
    starts: bool,
    observed: Observed,
    /// Whether nothing of it was running when last anything was learnt of it.
    gone: bool,
    under_way: Option<UnderWay>,
    look: Option<ActionId>,
    look_due: Time,
    stop: StopProgress,
    /// Since when a graceful stop has been asked for.
    stopping_since: Option<Time>,
    /// Whether it ran or was ordered to start since running became desired: the next start is a restart.
    started: bool,
    not_before: Time,
    /// Since when it runs without serving, or somebody else's start of it is under way.
    unserved_since: Option<Time>,
    /// When it was restarted, within the budget's window.
    restarts: Vec<Time>,
    /// How many restarts in a row it has not served after.
    in_vain: u32,
    probes: Probes,
    /// Why it is not as desired, for people.
    why: String,
    /// By whom and why it is in maintenance, if it is.
    alone: Option<String>,
    fallen: Fallen,
}

impl Entry {
    pub(super) fn new(starts: bool, spec: Service) -> Self {
        let probes = Probes::new(spec.probes.clone());
        Self {
            spec,
            starts,
            observed: Observed::Unknown,
            gone: false,
            under_way: None,
            look: None,
            look_due: Time::default(),
            stop: StopProgress::StopWanted,
            stopping_since: None,
            started: false,
            not_before: Time::default(),
            unserved_since: None,
            restarts: Vec::new(),
            in_vain: 0,
            probes,
            why: String::new(),
            alone: None,
            fallen: Fallen::No,
        }
    }

    pub(super) fn spec(&self) -> &Service {
        &self.spec
    }

    pub(super) fn starts(&self) -> bool {
        self.starts
    }

    pub(super) fn observed(&self) -> &Observed {
        &self.observed
    }

    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// Why it is not as desired, or may be about not to be.
    pub(super) fn doubt(&self) -> String {
        if self.why.is_empty() { self.probes.doubt().unwrap_or_default() } else { self.why.clone() }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    pub(super) fn is_doing(&self, id: ActionId) -> bool {
        self.under_way.as_ref().is_some_and(|doing| doing.id == id)
    }

    pub(super) fn serves(&self) -> bool {
        self.observed == Observed::Running && (!self.starts || self.probes.all_serving())
    }

    /// What is desired has changed from running or alone to stopped, or the other way round.
    pub(super) fn turn(&mut self, desired: Desired) {
        self.verify_anew();
        self.stopping_since = None;
        self.not_before = Time::default();
        self.started = false;
        self.fallen = Fallen::No;
        self.why.clear();
        // A start that is under way is replaced by the stop; its late outcome must not be taken for the stop's.
        self.under_way = None;
        match desired {
            Desired::Running => {
                self.restarts.clear();
                self.in_vain = 0;
            }
            Desired::Alone => {}
            // What was seen while others started and stopped it says nothing of now; a kill must not rely on it.
            Desired::Stopped { .. } => self.gone = false,
        }
    }

    pub(super) fn ended(&mut self, now: Time, ended: &Ended, desired: Desired) {
        let Some(doing) = self.under_way.take() else { return };
        match (doing.order, ended) {
            (Order::Start, Ended::Done) => self.set(Observed::Running),
            (Order::Start, Ended::Failed { why, by_gate: true }) => {
                self.started = false;
                self.try_again(now, RETRY, why);
            }
            (Order::Start, Ended::Failed { why, by_gate: false }) => {
                self.went_down(now, why.clone())
            }
            (Order::Stop, Ended::Done) => {
                self.stop = StopProgress::LookWanted;
                self.observed = Observed::Unknown;
                self.gone = true;
                self.look_due = now;
                if desired == Desired::Running {
                    self.went_down(now, self.why.clone());
                }
            }
            // Nothing of it runs. Whether a start is queued is for the stop order or the look after it to say.
            (Order::Kill, Ended::Done) => self.set(Observed::Stopped),
            (Order::Kill, Ended::Failed { why, .. } | Ended::Unknown { why }) => {
                self.try_again(now, KILL_AGAIN, why);
            }
            (_, Ended::Failed { why, .. } | Ended::Unknown { why }) => {
                self.try_again(now, RETRY, why)
            }
            (Order::Look | Order::Probe(_), Ended::Done) => {}
        }
    }

    fn try_again(&mut self, now: Time, pause: Duration, why: &str) {
        self.observed = Observed::Unknown;
        self.look_due = now;
        self.not_before = now.after(pause);
        self.why = why.to_owned();
    }

    fn set(&mut self, observed: Observed) {
        if observed != Observed::Unknown {
            self.gone = observed.is_down();
        }
        // To come up and to serve after that each has its time.
        let turns = self.observed == Observed::Starting || observed != Observed::Running;
        if turns && observed != self.observed {
            self.unserved_since = None;
        }
        if observed != Observed::Running {
            self.probes.forget();
        }
        self.observed = observed;
    }

    /// Takes what a look (`asked`), or the driver by itself, saw.
    pub(super) fn saw(
        &mut self,
        now: Time,
        asked: Option<ActionId>,
        observed: Observed,
        desired: Desired,
    ) {
        if asked.is_some() {
            if self.look != asked {
                return; // An answer to a look that is no longer of interest: something newer is known.
            }
            self.look = None;
        } else if self.look.take().is_some() {
            // The answer that is under way may be older than this, and would be believed as the newer one.
            self.look_due = now;
        }
        if observed == Observed::Unknown {
            self.look_due = now.after(RETRY);
        }
        let was_up = self.started && !self.observed.is_down();
        self.set(observed);
        if !self.observed.is_down() {
            if self.is_verified() {
                self.stop = StopProgress::LookWanted;
                if self.observed == Observed::Starting {
                    // The gate is about to refuse it with a sentence that a stop or a kill would cut off.
                    self.not_before = now.after(GATE);
                    self.look_due = self.not_before;
                }
            }
        } else if matches!(desired, Desired::Stopped { .. }) {
            if self.stop != StopProgress::LookWanted || self.under_way.is_some() {
                // The stop is still to come, or its end.
            } else if asked.is_some() {
                self.stop = StopProgress::Verified;
                self.why.clear();
            } else {
                self.look_due = now;
            }
        } else if desired == Desired::Running
            && was_up
            && self.under_way.is_none()
            && self.alone.is_none()
        {
            let why = match &self.observed {
                Observed::Failed { why } => why.clone(),
                Observed::Unknown
                | Observed::Stopped
                | Observed::Starting
                | Observed::Running
                | Observed::Stopping => "it ended, or somebody else stopped it".to_owned(),
            };
            self.went_down(now, why);
        }
    }

    /// It ended while it should run: the back-off says when it is started again.
    fn went_down(&mut self, now: Time, why: String) {
        let pauses = &self.spec.restart.back_off;
        let pause = pauses.get(self.restarts_in_window(now)).or_else(|| pauses.last());
        self.not_before = now.after(pause.copied().unwrap_or_default());
        self.set(Observed::Failed { why: why.clone() });
        self.fell(&why);
        self.why = why;
    }

    pub(super) fn probed(&mut self, now: Time, id: ActionId, serving: Option<bool>) {
        self.probes.answered(now, id, serving);
    }

    fn order(
        &mut self,
        now: Time,
        order: Order,
        ids: &mut Ids,
        actions: &mut VecDeque<ServiceAction>,
    ) {
        let id = ids.draw();
        self.under_way = Some(UnderWay { id, order: order.clone(), since: now });
        actions.push_back(ServiceAction { id, service: self.spec.name.clone(), order });
    }

    pub(super) fn look_if_due(
        &mut self,
        now: Time,
        period: Duration,
        ids: &mut Ids,
        actions: &mut VecDeque<ServiceAction>,
    ) {
        if self.look.is_none() && self.under_way.is_none() && now >= self.look_due {
            let id = ids.draw();
            self.look = Some(id);
            self.look_due = now.after(period);
            actions.push_back(ServiceAction {
                id,
                service: self.spec.name.clone(),
                order: Order::Look,
            });
        }
    }

    /// The points at which `decide` may have something to do without any event.
    pub(super) fn timers(&self, desired: Desired) -> Vec<Time> {
        let mut timers = vec![self.look_due, self.not_before];
        match desired {
            Desired::Alone => {}
            Desired::Running => {
                let starting = self.under_way.as_ref().filter(|doing| doing.order == Order::Start);
                timers.extend(starting.map(|doing| doing.since.after(self.spec.start_limit)));
                timers.extend(self.unserved_since.map(|since| {
                    let stops = self.observed == Observed::Stopping;
                    since.after(if stops { self.spec.stop_limit } else { self.spec.start_limit })
                }));
                timers.extend(self.probes.due());
                timers.extend(self.restarts.iter().map(|at| at.after(self.spec.restart.within)));
            }
            Desired::Stopped { kill_at } => {
                timers.push(kill_at);
                timers.extend(self.stopping_since.map(|since| since.after(self.spec.stop_limit)));
            }
        }
        timers
    }
}
