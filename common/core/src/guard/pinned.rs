//! Pinned services: they run on one headnode, whoever is active, and nowhere else. `protocol.md`, 8.
//!
//! They have no part in office, permits and promises: this headnode's own are kept running, those of the others are kept
//! stopped, and neither delays or forbids a failover.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::config::checked::Config;
use crate::known::Known;
use crate::quorum::{ActionId, Event as QuorumEvent, Request};
use crate::record::{Key, Settings};
use crate::say::Kind;
use crate::services::{Desired, Ids, Observed, Report, ServiceAction, Supervisor};
use crate::time::Time;

/// How often it is read what is in maintenance. No permit tells it here, and the guard watches office only.
const POLL: Duration = Duration::from_secs(2);
/// How long a guard that has just started waits for that before it starts anything: what an operator stopped for maintenance
/// must not come up because a guard was restarted, nor stay down for ever because the quorum is away.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// The pinned services of all headnodes, as this one sees to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pinned {
    names: BTreeSet<String>,
    /// Whether any belongs here: nothing is read otherwise.
    any_here: bool,
    here: Supervisor,
    elsewhere: Supervisor,
    settings: Known<Settings>,
    poll_due: Time,
    /// Until when it is waited for `settings`.
    wait: Option<Time>,
}

impl Pinned {
    pub(super) fn new(config: &Config) -> Self {
        let period = config.timing.period;
        let here = Supervisor::new(config.pinned_here().cloned(), period, |_| true);
        // A node that is no headnode has none of them, and looks for none.
        let others = config.pinned_elsewhere().filter(|_| config.is_headnode()).cloned();
        let mut elsewhere = Supervisor::new(others, period, |_| false);
        // Nobody waits for their end, and no deadline forbids a graceful one.
        elsewhere.desire(Desired::Stopped { kill_at: Time::MAX });
        let names = config.pinned.iter().map(|service| service.name.clone()).collect();
        let (settings, poll_due) = (Known::new(Key::Settings), Time::default());
        let any_here = config.pinned_here().next().is_some();
        Self { names, any_here, here, elsewhere, settings, poll_due, wait: None }
    }

    /// Whether this is about one of them.
    pub(super) fn has(&self, service: &str) -> bool {
        self.names.contains(service)
    }

    pub(super) fn handle(&mut self, now: Time, report: &Report) {
        self.here.handle(now, report.clone());
        self.elsewhere.handle(now, report.clone());
    }

    pub(super) fn quorum(&mut self, now: Time, event: &QuorumEvent) {
        self.settings.hear(now, event);
    }

    /// What is to be read, if anything.
    pub(super) fn next_read(&mut self, ids: &mut Ids) -> Option<(ActionId, Request)> {
        if self.any_here { self.settings.next_read(ids) } else { None }
    }

    /// Those that are left alone here, as they are in maintenance.
    pub(super) fn left_alone(&self) -> impl Iterator<Item = &str> {
        self.here.left_alone()
    }

    /// What is in maintenance is left alone, as last read: out of sight of the quorum maintenance does not end.
    fn heed_maintenance(&mut self, now: Time) {
        if now >= self.poll_due {
            self.poll_due = now.after(POLL);
            self.settings.outdate();
        }
        let wait = *self.wait.get_or_insert_with(|| now.after(KNOWN_WITHIN));
        if let Some(settings) = self.settings.record() {
            self.here.leave_alone(&settings.maintenance.services);
        }
        let known = self.settings.record().is_some() || self.settings.is_missing();
        if known || now >= wait {
            self.here.desire(Desired::Running);
        }
    }

    /// Decides what to order next; what became of them is told as sentences.
    pub(super) fn decide(
        &mut self,
        now: Time,
        ids: &mut Ids,
        actions: &mut VecDeque<ServiceAction>,
    ) -> Vec<(Kind, String)> {
        self.heed_maintenance(now);
        for services in [&mut self.here, &mut self.elsewhere] {
            services.decide(now, ids);
            while let Some(action) = services.poll_action() {
                actions.push_back(action);
            }
        }
        self.here.news(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let supervised = [self.here.poll_timeout(), self.elsewhere.poll_timeout()];
        let waits = self.here.desired() == Desired::Alone;
        let own = [Some(self.poll_due), self.wait.filter(|_| waits)];
        let own = own.map(|at| at.filter(|_| self.any_here));
        supervised.into_iter().chain(own).flatten().filter(|at| *at < Time::MAX).min()
    }

    /// What is told of each that belongs here, and of each that runs here though it does not.
    pub(super) fn observations(
        &self,
        now: Time,
        services: &mut BTreeMap<String, String>,
        reasons: &mut BTreeMap<String, String>,
    ) {
        for (service, observed, _, why) in self.here.survey(now) {
            services.insert(service.name.clone(), observed.as_str().to_owned());
            if let Observed::Failed { why: ended } = observed {
                let why = if why.is_empty() { ended.clone() } else { why };
                reasons.insert(service.name.clone(), why);
            }
        }
        for (service, observed, ..) in self.elsewhere.survey(now) {
            if !observed.is_down() && *observed != Observed::Unknown {
                services.insert(service.name.clone(), observed.as_str().to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Incarnation;
    use crate::guard::{Action, Event, Guard};
    use crate::node::{Identity, NodeName};
    use crate::quorum::{Found, SessionId, Version};
    use crate::record::{self, FORMAT, Maintenance, Rest};
    use crate::services::Order;

    const CONFIG: &str = r#"
cluster = "c"
failover_quorum.servers = ["zk0:2181"]
headnode = [{ name = "hn0", address = "10.0.0.10" }, { name = "hn1", address = "10.0.0.11" }]
[[service]]
name = "livy"
unit = "livy.service"
started_by = "master-fc"
[[service]]
name = "history"
unit = "history.service"
pinned = "hn0"
"#;

    fn guard(node: &str) -> Guard {
        let node = NodeName::try_from(node).unwrap();
        let fragments = [("headship.toml".to_owned(), CONFIG.to_owned())];
        let config = crate::config::load(&fragments, node.clone()).unwrap();
        assert_eq!(config.services.len(), 1, "what is pinned does not move");
        let id = |what: &str| what.to_owned();
        let me = Identity { node, machine: id("m"), boot: id("b"), process: id("p") };
        let mut duty_service = config.services[0].clone();
        "master-ha-service".clone_into(&mut duty_service.name);
        Guard::new(config, me, None, None, duty_service)
    }

    /// The orders about `history` while it is seen like this; `settings` are what is read, if the quorum is in sight.
    fn orders_with(
        guard: &mut Guard,
        at: u64,
        observed: &Observed,
        settings: Option<&Settings>,
    ) -> Vec<(String, Order)> {
        let mut orders = Vec::new();
        for round in 0..3 {
            let now = Time::from_millis(at + round * 100);
            guard.handle_timeout(now);
            while let Some(action) = guard.poll_action() {
                if let (Action::Ask(ask), Some(settings)) = (&action, settings)
                    && ask.request == Request::Read(Key::Settings)
                {
                    let (data, version) = (record::write(settings), Version(0));
                    let found = Found::Data { data, version, changed: 1, owner: None };
                    let read = QuorumEvent::Read { id: ask.id, key: Key::Settings, found };
                    guard.handle(now, Event::Quorum(read));
                }
                let Action::Service(ServiceAction { id, service, order }) = action else {
                    continue;
                };
                if service != "history" {
                    continue;
                }
                if order == Order::Look {
                    let observed = observed.clone();
                    let report = Report::Observed { service, asked: Some(id), observed };
                    guard.handle(now, Event::Service(report));
                } else {
                    orders.push((service, order));
                }
            }
        }
        orders
    }

    /// Out of sight of the quorum, after the wait for it.
    fn orders(node: &str, observed: Observed) -> Vec<(String, Order)> {
        let mut guard = guard(node);
        let mut orders = orders_with(&mut guard, 1000, &observed, None);
        orders.extend(orders_with(&mut guard, 11_000, &observed, None));
        orders
    }

    #[test]
    fn a_pinned_service_in_maintenance_is_left_alone_from_the_first_look_on() {
        let settings = |services: &[&str]| Settings {
            format: FORMAT,
            incarnation: Incarnation("i".to_owned()),
            paused: None,
            keep: None,
            maintenance: Maintenance {
                services: services.iter().map(|it| ((*it).to_owned(), "me".to_owned())).collect(),
                ..Maintenance::default()
            },
            rest: Rest::new(),
        };
        let (on, off) = (settings(&["history"]), settings(&[]));
        let mut guard = guard("hn0");
        let (stopped, started) = (Observed::Stopped, vec![("history".to_owned(), Order::Start)]);
        assert_eq!(orders_with(&mut guard, 1000, &stopped, None), [], "it is not known yet");
        let (session, timeout) = (SessionId(1), Duration::from_secs(4));
        let connected = QuorumEvent::Connected { session, timeout };
        guard.handle(Time::from_millis(1300), Event::Quorum(connected));
        for at in [1300, 20_000, 40_000] {
            assert_eq!(orders_with(&mut guard, at, &stopped, Some(&on)), []);
        }
        assert_eq!(guard.pinned.left_alone().collect::<Vec<_>>(), ["history"]);
        assert_eq!(orders_with(&mut guard, 42_001, &stopped, Some(&off)), started);
        assert_eq!(guard.pinned.left_alone().count(), 0);
    }

    #[test]
    fn a_pinned_service_is_started_on_its_headnode_without_any_permit() {
        let started = vec![("history".to_owned(), Order::Start)];
        assert_eq!(orders("hn0", Observed::Stopped), started);
        assert_eq!(orders("hn0", Observed::Running), []);
    }

    #[test]
    fn a_pinned_service_is_stopped_on_another_headnode_and_not_killed() {
        let stopped = vec![("history".to_owned(), Order::Stop)];
        assert_eq!(orders("hn1", Observed::Running), stopped);
    }

    #[test]
    fn a_node_that_is_no_headnode_asks_nothing_of_a_pinned_service() {
        assert_eq!(orders("wn0", Observed::Running), []);
    }
}
