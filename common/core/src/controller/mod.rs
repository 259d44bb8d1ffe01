//! master-fc as a whole: joins and quits the election, takes and gives up office, and starts and stops what it must.
//!
//! Level, not edge: each event only updates what is known; `decide` then compares what is known with what should be, and
//! orders the next step. How this headnode stands to the office is never remembered as a state of its own but read from
//! the record `active` (`office::standing`), so that no course of events can make the two differ. What *is* remembered is
//! what no record tells: D, the permit on disk, the wait, an intention to leave.
//!
//! At most one write of office is under way at a time. Whatever ends unknown is read again.

mod adopt;
mod alias;
mod compete;
mod confirm;
mod farewell;
mod fence;
mod fitness;
mod hold;
mod keep;
mod orders;
mod quorum;
mod reluctance;
mod serve;
mod tell;
mod trust;
mod writes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::alias::AliasWait;
use self::confirm::Claim;
pub use self::farewell::{Ending, Farewell};
use self::fence::Suspicion;
use self::quorum::Records;
use self::reluctance::Reluctance;
use self::trust::{Recall, Trust};
use self::writes::{Pending, Write};
use crate::config::checked::{Config, Service, Starter};
use crate::epoch::{Epoch, Incarnation, Remembered};
use crate::fencing::knock::Knocked;
use crate::fencing::{Answer, Victim};
use crate::lease::{Closed, Permit};
use crate::node::{Identity, NodeName};
use crate::office::WayFree;
use crate::presence::Presence;
use crate::quorum::{ActionId, Ask, Event as QuorumEvent};
use crate::record::{HeadnodeState, Key, Maintenance, Role, Transition};
use crate::say::Line;
use crate::services::{Ids, Report, ServiceAction, Supervisor};
use crate::time::{Time, WallTime};

/// What happens to a master-fc.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The failover quorum reports something.
    Quorum {
        /// The wall clock, for people and for the end of orders.
        wall: WallTime,
        /// What it reports.
        event: QuorumEvent,
    },
    /// slave-ha-service wrote `/run/headship/closed`.
    Closed(Result<Option<Closed>, String>),
    /// The permit was written or removed, or could not be.
    PermitWritten {
        /// The id of the action.
        id: ActionId,
        /// What went wrong.
        error: Option<String>,
    },
    /// The drivers report something of a service.
    Service(Report),
    /// What came back from a host that was knocked at.
    Knocked {
        /// The id of the action.
        id: ActionId,
        /// What came back.
        knocked: Knocked,
    },
    /// What a fence method says.
    Fenced {
        /// The id of the action.
        id: ActionId,
        /// Its answer.
        answer: Answer,
    },
    /// Somebody wants everything compared anew now, as each period does.
    LookAnew,
    /// systemd stops this program, or the host goes down: give up office and exit.
    Stop,
}

/// What a master-fc wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask the failover quorum.
    Ask(Ask),
    /// Replace `/run/headship/permit`.
    WritePermit {
        /// Comes back with the outcome.
        id: ActionId,
        /// Its content.
        permit: Permit,
    },
    /// Remove `/run/headship/permit`.
    RemovePermit {
        /// Comes back with the outcome.
        id: ActionId,
    },
    /// Replace `/var/lib/headship/epoch`, durably. Nothing waits for it, and a later one replaces one that is not done yet.
    Remember(Remembered),
    /// Order something of a service.
    Service(ServiceAction),
    /// See whether a headnode answers anything.
    Knock {
        /// Comes back with what was seen.
        id: ActionId,
        /// Which headnode.
        node: NodeName,
        /// How long it may take to answer.
        limit: Duration,
    },
    /// Ask a fence method.
    Fence {
        /// Comes back with the answer.
        id: ActionId,
        /// The method's place in the configuration.
        method: usize,
        /// Whom it is about.
        victim: Victim,
        /// How long it may take.
        limit: Duration,
    },
    /// That method's answer is not waited for any more: end what it started.
    StopFence {
        /// The id of the action that asked.
        id: ActionId,
    },
    /// Reboot the host at once: services could not be stopped in time.
    Reboot {
        /// Which, and since when.
        why: String,
    },
    /// Say this in the log.
    Say(Line),
    /// End the session and exit: everything is given up.
    Exit,
}

/// What lies on the host when a master-fc starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Found {
    /// `/run/headship/permit`.
    pub permit: Option<Permit>,
    /// `/run/headship/closed`.
    pub closed: Option<Closed>,
    /// `/var/lib/headship/epoch`.
    pub remembered: Option<Remembered>,
}

/// What this host may run, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    epoch: Epoch,
    /// D, by the newest renewal.
    deadline: Time,
    /// The keep that this host has acknowledged, by its id: D counts only when it has ended.
    kept: Option<String>,
    /// Lease and kill time of this term: a taker goes by what `active` says, not by what the configuration says by now.
    lease: Duration,
    kill: Duration,
    /// How long before D the graceful stop begins in this term.
    grace: Duration,
    /// Another claims or holds: nothing may be started any more, and only the stop is left.
    lost: bool,
    /// When it was noticed that D has passed; with a process that was frozen that may be late.
    expired: Option<Time>,
    /// Whether everything was seen gone since then.
    gone: bool,
}

/// What is known of the permit on disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PermitFile {
    /// Its content as last written, if any; a removal that failed leaves it here.
    content: Option<Permit>,
    /// The write (or removal, for none) that is under way.
    pending: Option<(ActionId, Option<Permit>)>,
    /// Why the last write or removal failed, if it did.
    error: Option<String>,
    /// When a removal may be tried again after one that failed.
    removal_due: Time,
}

/// An intention to give up office.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Leaving {
    to: Option<NodeName>,
    why: String,
    /// Whether it is for the sake of a headnode that takes over: a pause, under which none may, ends the intention.
    unless_paused: bool,
    /// Since when.
    since: Time,
    /// Whether what is stopped was verified once more after the permit was gone.
    permit_gone: bool,
}

/// The points of a transition, for its history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Timeline {
    /// The last sign of the old holder: its last renewal, or its cession.
    last_sign: Time,
    claimed: Time,
    office: Time,
    first_start: Option<Time>,
    from: Option<NodeName>,
    /// Who ordered it, if it was no cession and nobody had failed.
    ordered: Option<String>,
    cause: Option<WayFree>,
}

/// The root machine of master-fc.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Controller {
    config: Config,
    me: Identity,
    ids: Ids,
    actions: VecDeque<Action>,
    wall: WallTime,
    records: Records,
    remembered: Option<Remembered>,
    closed: Option<Closed>,
    /// Why that cannot be read, and since when: the gate then lets nothing through.
    gate_fault: Option<(String, Time)>,
    pending: Option<Pending>,
    held: Option<Held>,
    permit: PermitFile,
    alias_wait: AliasWait,
    renew_due: Time,
    wait_from: Option<Time>,
    claim: Option<Claim>,
    trust: Option<Trust>,
    recall: Recall,
    /// The holder of office that may be dead, or whoever is claimed over.
    suspicion: Option<Suspicion>,
    /// The fence methods that said Yes about a host that lived.
    liars: BTreeSet<String>,
    polled: Time,
    leaving: Option<Leaving>,
    reluctance: Reluctance,
    /// In office: which critical service is given up here.
    gives_up: Option<String>,
    services: Supervisor,
    timeline: Timeline,
    /// What the history does not have yet.
    transitions: Vec<Transition>,
    presence: Presence,
    role: Role,
    why: String,
    /// What the own record is to say.
    shown: Option<HeadnodeState>,
    /// The order to adopt another life of the cluster, and when it was first seen.
    adoption: Option<(String, Time)>,
    /// How the competition for the office stands, in a sentence.
    course: String,
    /// Which records were said to be corrupt or foreign, and how.
    said: BTreeSet<String>,
    /// Whether it was said what keeps this headnode from an office that is open.
    barred: bool,
    /// The services in maintenance, as last known.
    alone: BTreeMap<String, String>,
    /// What was last said of a pause and of maintenance.
    told_settings: (Option<String>, Maintenance),
    /// What the quorum said when it last denied a write.
    denied: Option<String>,
    /// Until when what a record waits for is left alone, as the quorum denied it: nothing else is to wait for that.
    denied_until: BTreeMap<Key, Time>,
    /// When a write may be tried again after one that was refused.
    write_due: Time,
    /// When a refused read of `lease` may be tried again although nothing is known to have changed.
    unblock_due: Time,
    reboot_due: Time,
    stop: bool,
    exited: bool,
    connected_at: Time,
    period_due: Time,
    wake: Option<Time>,
    decided: Time,
}

impl Controller {
    /// A master-fc that has just started. `duty_service` is master-ha-service as something to start and stop.
    pub fn new(config: Config, me: Identity, found: Found, duty_service: Service) -> Self {
        let mut services: Vec<Service> = config.services.clone();
        let runs_others =
            services.iter().any(|service| service.started_by == Starter::MasterHaService);
        services.extend(runs_others.then(|| duty_service.clone()));
        let duty_name = duty_service.name;
        let starts = |service: &Service| {
            service.started_by == Starter::MasterFc || service.name == duty_name
        };
        // Never made up: a new process goes by the permit that it finds. Of another boot it is none.
        let permit = found.permit.filter(|permit| permit.boot == me.boot);
        let held = permit.as_ref().map(Held::found);
        let alone = permit.as_ref().map(|permit| permit.alone.clone()).unwrap_or_default();
        let mut services = Supervisor::new(services, config.timing.period, starts);
        services.leave_alone(&alone);
        Self {
            services,
            records: Records::new(&config, &me),
            presence: Presence::new(Key::Headnode(me.node.clone()), me.machine.clone()),
            config,
            me,
            ids: Ids::default(),
            actions: VecDeque::new(),
            wall: WallTime(0),
            remembered: found.remembered,
            closed: found.closed,
            gate_fault: None,
            pending: None,
            held,
            permit: PermitFile {
                content: permit,
                pending: None,
                error: None,
                removal_due: Time::default(),
            },
            alias_wait: AliasWait::No,
            renew_due: Time::default(),
            wait_from: None,
            claim: None,
            trust: None,
            recall: Recall::default(),
            suspicion: None,
            liars: BTreeSet::new(),
            polled: Time::default(),
            leaving: None,
            reluctance: Reluctance::default(),
            gives_up: None,
            timeline: Timeline::default(),
            transitions: Vec::new(),
            role: Role::Out,
            why: "just started".to_owned(),
            shown: None,
            adoption: None,
            course: "reads the records of the failover quorum".to_owned(),
            said: BTreeSet::new(),
            barred: false,
            alone,
            told_settings: (None, Maintenance::default()),
            denied: None,
            denied_until: BTreeMap::new(),
            write_due: Time::default(),
            unblock_due: Time::default(),
            reboot_due: Time::default(),
            stop: false,
            exited: false,
            connected_at: Time::default(),
            period_due: Time::default(),
            wake: None,
            decided: Time::default(),
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Quorum { wall, event } => {
                self.wall = wall;
                if !self.quorum(now, &event) {
                    return self.ask_reads();
                }
            }
            Event::Closed(closed) => self.closed_read(now, closed),
            Event::PermitWritten { id, error } => self.permit_written(now, id, error),
            Event::Service(report) => self.services.handle(now, report),
            Event::Knocked { id, knocked } => self.knocked(now, id, &knocked),
            Event::Fenced { id, answer } => self.fence_answered(now, id, answer),
            Event::LookAnew => self.period_due = now,
            Event::Stop => self.stop = true,
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
        let timers = [Some(self.period_due), self.wake, self.services.poll_timeout()];
        timers.into_iter().flatten().filter(|at| *at > self.decided).min()
    }

    /// What this headnode is, and why, in one sentence.
    pub fn status(&self) -> (Role, &str) {
        (self.role, &self.why)
    }

    /// The epoch of the office that this process holds, with D (never, while a keep has moved it out of the way), if it holds
    /// one.
    pub fn held(&self) -> Option<(Epoch, Time)> {
        self.held.as_ref().filter(|held| !held.lost).map(|held| (held.epoch, self.end_of(held)))
    }

    fn decide(&mut self, now: Time) {
        if self.exited {
            return;
        }
        self.wake = None;
        self.decided = now;
        // Here and not on a timer alone: a process that was away may hear of an event first.
        if now >= self.period_due {
            self.period_due = now.after(self.config.timing.period);
            self.records.outdate_all();
            self.presence.look_again();
        }
        self.remember_what_is_read();
        self.heed_settings();
        self.note_adoption();
        self.compete(now);
        self.serve(now);
        self.ask_reads();
        self.tell(now);
        if self.stop && self.may_exit(now) {
            self.exited = true;
            self.actions.push_back(Action::Exit);
        }
    }

    /// Asks to be woken at `at` at the latest. What is due already waits for an event, and must not hide what comes later.
    fn wake_at(&mut self, at: Time) {
        if at > self.decided {
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
    }

    fn is_connected(&self) -> bool {
        self.presence.session().is_some()
    }

    /// The life of the cluster that this headnode takes part in, if the quorum's records are of that one.
    fn incarnation(&self) -> Option<&Incarnation> {
        let incarnation = &self.records.settings.record()?.incarnation;
        let foreign = self.remembered.as_ref().is_some_and(|mine| mine.incarnation != *incarnation);
        (!foreign).then_some(incarnation)
    }

    /// The highest epoch this headnode knows of. Should `active` be lost, `lease` and the promises still tell which numbers
    /// were given out: an old promise must never cover a later office.
    pub fn highest_epoch(&self) -> Epoch {
        let records = &self.records;
        let active = records.active.record().map(|active| active.epoch);
        let lease = records.lease.record().map(|lease| lease.epoch);
        let mine = self.remembered.as_ref().map(|mine| mine.epoch);
        let promises = (records.promises.values()).filter_map(|known| known.record());
        let promised = promises
            .filter(|promise| self.incarnation() == Some(&promise.incarnation))
            .map(|promise| promise.epoch);
        promised.chain(active).chain(lease).chain(mine).max().unwrap_or_default()
    }

    /// Whether slave-ha-service has closed this epoch on this host.
    fn is_closed(&self, epoch: Epoch) -> bool {
        let Some(closed) = &self.closed else { return false };
        self.incarnation() == Some(&closed.incarnation) && closed.epoch >= epoch
    }

    /// Whether nothing is left to give up: outside office, or out of sight of the quorum with everything stopped.
    fn may_exit(&self, now: Time) -> bool {
        let holds = self.is_connected() && self.held.is_some();
        let over = self.permit.content.as_ref().is_none_or(|permit| now >= permit.end());
        let permit_gone = over && self.permit.pending.is_none();
        !holds && self.pending.is_none() && permit_gone && self.services.all_stopped()
    }
}
