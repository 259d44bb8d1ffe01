//! Keeping services as they should be: desired against observed, as ordered starts and stops.
//!
//! One `Supervisor` serves three programs: master-ha-service and master-fc keep services running with it, slave-ha-service
//! and master-fc keep them stopped. It decides what to order next and when; *whether* services may run here is not its
//! business, and the gate stands behind each start that it orders.
//!
//! Starts go in the order of `after`, stops in its reverse. A stop is believed only when the stop order was carried out
//! (which replaces a queued start), or the gate was shut, and a look asked for afterwards found the service down and no
//! start of it queued.

mod entry;
mod probes;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use entry::{Entry, Fall};

use crate::config::checked::Service;
use crate::epoch::Epoch;
use crate::quorum::ActionId;
use crate::say::Kind;
use crate::time::Time;

/// What a look at a service found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Observed {
    /// Nobody looked yet, or the look failed.
    Unknown,
    /// Nothing of it runs and no start is queued.
    Stopped,
    /// A start is queued or under way.
    Starting,
    /// It runs.
    Running,
    /// A stop is under way.
    Stopping,
    /// It ended by itself or could not be started; nothing of it runs.
    Failed {
        /// What the driver says of it.
        why: String,
    },
}

impl Observed {
    /// Nothing of the service runs, and nothing will start it by itself.
    pub fn is_down(&self) -> bool {
        match self {
            Self::Stopped | Self::Failed { .. } => true,
            Self::Unknown | Self::Starting | Self::Running | Self::Stopping => false,
        }
    }

    /// The word for people.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What is to be done with a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Start it, through the gate.
    Start,
    /// Stop it gracefully; replaces a queued start.
    Stop,
    /// SIGKILL everything in its control group, without systemd's help, and see it gone.
    Kill,
    /// Look at it.
    Look,
    /// Ask its probe of this number.
    Probe(usize),
}

/// An order, and the id that its outcome brings back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAction {
    /// Ties the outcome to this order.
    pub id: ActionId,
    /// The service's name.
    pub service: String,
    /// What to do.
    pub order: Order,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Carried out; for a kill: seen gone.
    Done,
    /// Not carried out.
    Failed {
        /// What the driver says.
        why: String,
        /// Whether the gate refused the start: then this headnode may not run it, and the restart budget is not touched.
        by_gate: bool,
    },
    /// No answer within its limit.
    Unknown {
        /// What was waited for.
        why: String,
    },
}

/// What the drivers report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// An order ended.
    Ended {
        /// The order's id.
        id: ActionId,
        /// How.
        ended: Ended,
    },
    /// What a service is. `asked` is the id of the look, or none if the driver saw the change by itself.
    Observed {
        /// The service's name.
        service: String,
        /// The look's id.
        asked: Option<ActionId>,
        /// What was seen.
        observed: Observed,
    },
    /// A probe's answer: it serves, it does not, or no data.
    Probed {
        /// The order's id.
        id: ActionId,
        /// The answer.
        serving: Option<bool>,
    },
}

/// Draws ids for actions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ids(u64);

impl Ids {
    /// The next id; higher than all before.
    pub fn draw(&mut self) -> ActionId {
        self.0 += 1;
        ActionId(self.0)
    }
}

/// What all services of a supervisor should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Desired {
    /// Whatever they are; they are only looked at.
    Alone,
    /// Running, in order, within their budgets.
    Running,
    /// Stopped, gracefully until `kill_at`, and by SIGKILL from then on.
    Stopped {
        /// When grace ends.
        kill_at: Time,
    },
}

/// Keeps a list of services as desired.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Supervisor {
    entries: Vec<Entry>,
    desired: Desired,
    period: Duration,
    /// The services of which it was told that they are given up.
    told_given_up: Vec<String>,
    /// When `decide` was last called: a timer that has passed by then waits for an event.
    decided: Time,
    actions: VecDeque<ServiceAction>,
}

impl Supervisor {
    /// A supervisor of `services`, in an order that fits their `after`; they are looked at every `period`. Those that
    /// `starts` picks are started by it; the others it only stops, and leaves alone while running is desired.
    pub fn new(
        services: impl IntoIterator<Item = Service>,
        period: Duration,
        starts: impl Fn(&Service) -> bool,
    ) -> Self {
        let entries = services.into_iter().map(|spec| Entry::new(starts(&spec), spec)).collect();
        Self {
            entries,
            desired: Desired::Alone,
            period,
            told_given_up: Vec::new(),
            decided: Time::default(),
            actions: VecDeque::new(),
        }
    }

    /// Changes what is desired. A changed `kill_at` alone does not start a stop anew.
    pub fn desire(&mut self, desired: Desired) {
        let same_stop =
            matches!((self.desired, desired), (Desired::Stopped { .. }, Desired::Stopped { .. }));
        if self.desired != desired && !same_stop {
            self.entries.iter_mut().for_each(|entry| entry.turn(desired));
        }
        self.desired = desired;
    }

    /// While services are to run, leaves those in maintenance alone, each with by whom and why: they are looked at, and
    /// neither started, restarted nor stopped; their probes are not asked; they count neither as failed nor as given up, and
    /// nobody waits for them. Invariant 3: a stop of all of them takes no notice of it.
    pub fn leave_alone(&mut self, alone: &BTreeMap<String, String>) {
        for entry in &mut self.entries {
            let why = alone.get(&entry.spec().name);
            entry.leave_alone(why);
        }
    }

    fn is_left(&self, entry: &Entry) -> bool {
        entry.alone().is_some() && !matches!(self.desired, Desired::Stopped { .. })
    }

    /// The services that are left alone now.
    pub fn left_alone(&self) -> impl Iterator<Item = &str> {
        let left = self.entries.iter().filter(|entry| self.is_left(entry));
        left.map(|entry| entry.spec().name.as_str())
    }

    /// What is desired now.
    pub fn desired(&self) -> Desired {
        self.desired
    }

    /// Forgets what was verified, so that each service is looked at once more: for when the gate has been shut, as it lets
    /// nothing through from then on. What that look finds up is ordered to stop.
    pub fn look_anew(&mut self) {
        for entry in &mut self.entries {
            entry.look_anew();
        }
    }

    /// D of `epoch` has passed: forgets that anything was seen gone, so that each service is killed, ordered to stop and
    /// looked at once more. What is to be said of that, if something was not known to be gone.
    pub fn expired(&mut self, epoch: Epoch) -> Option<String> {
        let left = self.not_gone().join(", ");
        self.distrust();
        (!left.is_empty())
            .then(|| format!("the deadline of epoch {epoch} has passed: killing {left}"))
    }

    fn distrust(&mut self) {
        for entry in &mut self.entries {
            entry.distrust();
        }
    }

    /// Whether every service is verified stopped: no start queued, nothing running.
    pub fn all_stopped(&self) -> bool {
        matches!(self.desired, Desired::Stopped { .. })
            && self.entries.iter().all(Entry::is_verified)
    }

    /// The services of which a process still runs, or may run. Unlike `all_stopped` this needs no word of systemd: a kill
    /// that saw the control group empty is enough.
    pub fn not_gone(&self) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| !entry.is_gone())
            .map(|entry| entry.spec().name.clone())
            .collect()
    }

    /// The services that are being stopped: those of `not_gone`, without those whose start the gate is about to refuse.
    pub fn being_stopped(&self, now: Time) -> Vec<String> {
        self.entries
            .iter()
            .filter(|entry| !entry.is_gone() && !entry.is_at_the_gate(now))
            .map(|entry| entry.spec().name.clone())
            .collect()
    }

    /// Whether any service was seen up when last looked at; unlike `not_gone` this leaves out what nobody has looked at yet.
    pub fn is_any_seen_up(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| !entry.observed().is_down() && *entry.observed() != Observed::Unknown)
    }

    /// The services that `which` picks and that do not serve, with why if that is known.
    pub fn not_serving(&self, which: impl Fn(&Service) -> bool) -> Vec<String> {
        let missing = self
            .entries
            .iter()
            .filter(|entry| which(entry.spec()) && !entry.serves() && !self.is_left(entry));
        let told = missing.map(|entry| match entry.why() {
            "" => entry.spec().name.clone(),
            why => format!("{} ({why})", entry.spec().name),
        });
        told.collect()
    }

    /// The services whose restart budget is exhausted at `now`, with whether they are critical.
    pub fn given_up(&self, now: Time) -> Vec<(String, bool)> {
        let running = self.desired == Desired::Running;
        self.entries
            .iter()
            .filter(|entry| running && entry.is_given_up(now) && !self.is_left(entry))
            .map(|entry| (entry.spec().name.clone(), entry.spec().critical))
            .collect()
    }

    /// The services that should run and failed, with why.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        let failed = |entry: &&Entry| {
            let failed = matches!(entry.observed(), Observed::Failed { .. });
            entry.starts() && failed && !self.is_left(entry)
        };
        self.entries.iter().filter(failed).map(|entry| (entry.spec().name.as_str(), entry.why()))
    }

    /// What became of the services since this was last asked, as sentences for the log: what ended and is started again,
    /// what serves again, what is given up.
    pub fn news(&mut self, now: Time) -> Vec<(Kind, String)> {
        let given_up = self.given_up(now);
        let running = self.desired == Desired::Running;
        let mut news = Vec::new();
        for entry in &mut self.entries {
            let name = entry.spec().name.clone();
            let critical = given_up.iter().find(|(given, _)| *given == name).map(|it| it.1);
            let told = self.told_given_up.contains(&name);
            let fall = entry.fall().filter(|_| running && entry.alone().is_none());
            match (critical, fall) {
                (Some(_), _) if told => {}
                (Some(critical), _) => {
                    let then = if critical {
                        "; it is critical: this headnode yields if another is ready"
                    } else {
                        ""
                    };
                    let text = format!("{name} is given up for now: {}{then}", entry.why());
                    news.push((Kind::ServiceGivenUp, text));
                }
                (None, Some(Fall::Down(why))) => {
                    news.push((
                        Kind::ServiceDown,
                        format!("{name} is down: {why}; it is started again"),
                    ));
                }
                (None, Some(Fall::Over)) => {
                    news.push((Kind::ServiceBack, format!("{name} serves again")));
                }
                (None, None) => {}
            }
        }
        self.told_given_up = given_up.into_iter().map(|(name, _)| name).collect();
        news
    }

    /// Each service's name, what was observed, restarts in the window at `now`, and why it is not as desired.
    pub fn survey(&self, now: Time) -> impl Iterator<Item = (&Service, &Observed, u32, String)> {
        self.entries.iter().map(move |entry| {
            let restarts = u32::try_from(entry.restarts_in_window(now)).unwrap_or(u32::MAX);
            (entry.spec(), entry.observed(), restarts, entry.doubt())
        })
    }

    /// Takes a report of the drivers.
    pub fn handle(&mut self, now: Time, report: Report) {
        match report {
            Report::Ended { id, ended } => {
                if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is_doing(id)) {
                    entry.ended(now, &ended, self.desired);
                }
            }
            Report::Observed { service, asked, observed } => {
                if let Some(entry) =
                    self.entries.iter_mut().find(|entry| entry.spec().name == service)
                {
                    entry.saw(now, asked, observed, self.desired);
                }
            }
            Report::Probed { id, serving } => {
                for entry in &mut self.entries {
                    entry.probed(now, id, serving);
                }
            }
        }
    }

    /// Decides what to order next. Extra calls are harmless.
    pub fn decide(&mut self, now: Time, ids: &mut Ids) {
        self.decided = now;
        match self.desired {
            Desired::Alone => {}
            Desired::Running => self.start_next(now, ids),
            Desired::Stopped { kill_at } => self.stop_next(now, kill_at, ids),
        }
        for entry in &mut self.entries {
            entry.look_if_due(now, self.period, ids, &mut self.actions);
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<ServiceAction> {
        self.actions.pop_front()
    }

    /// When `decide` is due again.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.entries
            .iter()
            .flat_map(|entry| entry.timers(self.desired))
            .filter(|at| *at > self.decided)
            .min()
    }

    fn start_next(&mut self, now: Time, ids: &mut Ids) {
        let starts = |entry: &&Entry| entry.starts();
        let serving: BTreeMap<String, bool> = self
            .entries
            .iter()
            .filter(starts)
            .map(|entry| (entry.spec().name.clone(), entry.serves() || entry.alone().is_some()))
            .collect();
        for entry in self.entries.iter_mut().filter(|entry| entry.starts()) {
            if entry.alone().is_some() {
                entry.stand_back(now);
                continue;
            }
            let waits_for =
                entry.spec().after.iter().find(|name| serving.get(*name) == Some(&false)).cloned();
            entry.keep_running(now, waits_for.as_ref(), ids, &mut self.actions);
        }
    }

    fn stop_next(&mut self, now: Time, kill_at: Time, ids: &mut Ids) {
        // A service stops when everything that needs it has stopped; past `kill_at` nobody waits for anybody.
        let needed: Vec<String> = (self.entries.iter().filter(|entry| !entry.is_gone()))
            .flat_map(|entry| entry.spec().after.iter().cloned())
            .collect();
        for entry in self.entries.iter_mut().rev() {
            let wait = needed.contains(&entry.spec().name);
            entry.keep_stopped(now, kill_at, wait, ids, &mut self.actions);
        }
    }
}

#[cfg(test)]
mod tests;
