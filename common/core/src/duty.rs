//! master-ha-service: keeps the HA services running that master-fc does not start itself.
//!
//! It works under a permit only. When the permit goes it orders nothing any more and exits; stopping is the business of
//! those who watch the permit anyway (`guard`, `controller`).

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::checked::{Config, Driver, RestartBudget, Service, Starter};
use crate::epoch::Epoch;
use crate::lease::{self, Closed, Permit};
use crate::node::Identity;
use crate::presence::Presence;
use crate::quorum::{Ask, Event as QuorumEvent};
use crate::record::{self, Duty, FORMAT, Key, Rest, ServiceDuty};
use crate::say::{Kind, Line};
use crate::services::{Desired, Ids, Report, ServiceAction, Supervisor};
use crate::time::Time;

/// The program's and the unit's name.
pub const NAME: &str = "master-ha-service";

/// How master-ha-service is started and stopped on a host: a unit where systemd runs it, `command` elsewhere.
pub fn driver(under_systemd: bool, command: impl FnOnce() -> Vec<String>) -> Driver {
    if under_systemd {
        Driver::Systemd { unit: format!("{NAME}.service") }
    } else {
        Driver::Command { start: command() }
    }
}

/// master-ha-service as something that master-fc starts and stops, and the guard stops. `driver` is how, on this host.
pub fn as_service(config: &Config, driver: Driver) -> Service {
    Service {
        name: NAME.to_owned(),
        driver,
        started_by: Starter::MasterFc,
        // It starts when what master-fc starts serves, and stops before everything that it would start again.
        after: config.services.iter().map(|service| service.name.clone()).collect(),
        announce: false,
        critical: false,
        pinned: None,
        start_limit: Duration::from_secs(10),
        stop_limit: Duration::from_secs(5),
        // It is one of ours: it is never given up.
        restart: RestartBudget {
            times: u32::MAX,
            within: Duration::from_secs(60),
            back_off: vec![Duration::from_millis(500), Duration::from_secs(2)],
        },
        probes: Vec::new(),
    }
}

/// What happens to a master-ha-service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The failover quorum reports something.
    Quorum(QuorumEvent),
    /// What `/run/headship/permit` and `/run/headship/closed` hold.
    Permit(Option<Permit>, Option<Closed>),
    /// The drivers report something of a service.
    Service(Report),
    /// Somebody wants everything compared anew now, as each period does.
    LookAnew,
    /// Somebody stops this program. The services stay as they are.
    Stop,
}

/// What a master-ha-service wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask the failover quorum.
    Ask(Ask),
    /// Order something of a service.
    Service(ServiceAction),
    /// Say this in the log.
    Say(Line),
    /// Exit; the services stay as they are.
    Exit,
}

/// The root machine of master-ha-service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DutyKeeper {
    me: Identity,
    ids: Ids,
    actions: VecDeque<Action>,
    permit: Option<Permit>,
    closed: Option<Closed>,
    epoch: Epoch,
    services: Supervisor,
    given_up: Vec<(String, bool)>,
    presence: Presence,
    period: Duration,
    period_due: Time,
    exiting: bool,
    decided: Time,
}

impl DutyKeeper {
    /// A master-ha-service that has just started, with what lies in `/run/headship`.
    pub fn new(
        config: &Config,
        me: Identity,
        permit: Option<Permit>,
        closed: Option<Closed>,
    ) -> Self {
        // Those that master-fc starts are known too: the others may come after them.
        let services = config.services.iter().cloned();
        let starts = |service: &Service| service.started_by == Starter::MasterHaService;
        let mut keeper = Self {
            services: Supervisor::new(services, config.timing.period, starts),
            presence: Presence::new(Key::Duty(me.node.clone()), me.machine.clone()),
            period: config.timing.period,
            period_due: Time::default(),
            me,
            ids: Ids::default(),
            actions: VecDeque::new(),
            epoch: permit.as_ref().map_or(Epoch(0), |permit| permit.epoch),
            permit,
            closed,
            given_up: Vec::new(),
            exiting: false,
            decided: Time::default(),
        };
        keeper.heed_maintenance();
        keeper
    }

    /// What is left alone is said by master-fc, in the permit: also where the quorum cannot be asked.
    fn heed_maintenance(&mut self) {
        if let Some(permit) = &self.permit {
            self.services.leave_alone(&permit.alone);
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Quorum(event) => {
                self.presence.handle(&event);
            }
            Event::Permit(permit, closed) => {
                (self.permit, self.closed) = (permit, closed);
                self.heed_maintenance();
            }
            Event::Service(report) => self.services.handle(now, report),
            Event::LookAnew => self.period_due = now,
            Event::Stop => self.exit("master-ha-service is stopped; its services stay as they are"),
        }
        self.decide(now);
    }

    /// Lets time pass. Early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Time) {
        self.decide(now);
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let permit_ends = self.permit.as_ref().map(Permit::end);
        [permit_ends, Some(self.period_due), self.services.poll_timeout()]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.decided)
            .min()
    }

    /// The epoch that it works in.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What it does, in one sentence.
    pub fn status(&self) -> String {
        let alone: Vec<&str> = self.services.left_alone().collect();
        let alone = match alone.as_slice() {
            [] => String::new(),
            alone => format!("; leaves alone what is in maintenance: {}", alone.join(", ")),
        };
        if self.given_up.is_empty() {
            format!("keeps services running in epoch {}{alone}", self.epoch)
        } else {
            let names: Vec<&str> = self.given_up.iter().map(|(name, _)| name.as_str()).collect();
            format!("gave up {} in epoch {}{alone}", names.join(", "), self.epoch)
        }
    }

    fn decide(&mut self, now: Time) {
        self.decided = now;
        if self.exiting {
            return;
        }
        match lease::gate(self.permit.as_ref(), self.closed.as_ref(), &self.me.boot, now) {
            Ok(()) => self.services.desire(Desired::Running),
            Err(refusal) => {
                self.exit(&refusal.to_string());
                return;
            }
        }
        if now >= self.period_due {
            self.period_due = now.after(self.period);
            self.presence.look_again();
        }
        if let Some(permit) = &self.permit {
            self.epoch = permit.epoch;
        }
        self.services.decide(now, &mut self.ids);
        while let Some(action) = self.services.poll_action() {
            self.actions.push_back(Action::Service(action));
        }
        self.say_news(now);
        self.publish(now);
    }

    fn exit(&mut self, why: &str) {
        if !self.exiting {
            self.exiting = true;
            self.actions.push_back(Action::Say(Line {
                kind: Kind::DutyEnds,
                text: why.to_owned(),
                epoch: None,
            }));
            self.actions.push_back(Action::Exit);
        }
    }

    fn say_news(&mut self, now: Time) {
        for (kind, text) in self.services.news(now) {
            let epoch = Some(self.epoch);
            self.actions.push_back(Action::Say(Line { kind, text, epoch }));
        }
        self.given_up = self.services.given_up(now);
    }

    fn publish(&mut self, now: Time) {
        let alone = self.permit.as_ref().map(|permit| &permit.alone);
        let duties = self.services.survey(now).map(|(service, observed, restarts, why)| {
            let alone = alone.and_then(|alone| alone.get(&service.name));
            let given_up = self.given_up.iter().any(|(name, _)| *name == service.name);
            let observed = observed.as_str().to_owned();
            let duty = ServiceDuty {
                observed,
                restarts,
                given_up,
                critical: service.critical,
                alone: alone.is_some(),
                why: alone.map_or(why, |by| format!("in maintenance: {by}")),
            };
            (service.name.clone(), duty)
        });
        let by = self.me.clone();
        let duty = Duty {
            format: FORMAT,
            by,
            epoch: self.epoch,
            services: duties.collect(),
            rest: Rest::new(),
        };
        self.presence.publish(record::write(&duty));
        self.actions.extend(self.presence.next_request(&mut self.ids).map(Action::Ask));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::epoch::Incarnation;
    use crate::node::NodeName;

    const CONFIG: &str = r#"cluster = "main"
failover_quorum.servers = ["zk0:2181"]
headnode = [{ name = "hn0", address = "10.0.0.10" }, { name = "hn1", address = "10.0.0.11" }]
[[service]]
name = "livy"
unit = "livy.service"
announce = true
"#;

    /// Whether a master-ha-service that starts with this permit exits, long after the deadline.
    fn exits(permit: Permit) -> bool {
        let node = NodeName::try_from("hn0").unwrap();
        let fragments = [("headship.toml".to_owned(), CONFIG.to_owned())];
        let config = config::load(&fragments, node.clone()).unwrap();
        let id = |what: &str| what.to_owned();
        let me = Identity { node, machine: id("m"), boot: id("b"), process: id("p") };
        let mut keeper = DutyKeeper::new(&config, me, Some(permit), None);
        keeper.handle_timeout(Time::from_millis(600_000));
        std::iter::from_fn(|| keeper.poll_action()).any(|action| action == Action::Exit)
    }

    #[test]
    fn it_works_on_past_the_deadline_by_a_keep_and_not_without_one() {
        let permit = Permit {
            incarnation: Incarnation("i".to_owned()),
            epoch: Epoch(7),
            boot: "b".to_owned(),
            deadline: Time::from_millis(60_000),
            lease_ms: 6000,
            kill_ms: 2000,
            grace_ms: 1000,
            alone: [].into(),
            kept: None,
        };
        assert!(exits(permit.clone()));
        let kept = Some("k".to_owned());
        assert!(!exits(Permit { kept: kept.clone(), ..permit.clone() }));
        assert!(exits(Permit { kept, boot: "before".to_owned(), ..permit }));
    }
}
