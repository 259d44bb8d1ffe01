//! Pinned services: they run on one headnode, whoever is active, and nowhere else. `protocol.md`, 8.
//!
//! They have no part in office, permits and promises: this headnode's own are kept running, those of the others are kept
//! stopped, and neither delays or forbids a failover.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config::checked::Config;
use crate::say::Kind;
use crate::services::{Desired, Ids, Observed, Report, ServiceAction, Supervisor};
use crate::time::Time;

/// The pinned services of all headnodes, as this one sees to them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pinned {
    names: BTreeSet<String>,
    here: Supervisor,
    elsewhere: Supervisor,
}

impl Pinned {
    pub(super) fn new(config: &Config) -> Self {
        let period = config.timing.period;
        let mut here = Supervisor::new(config.pinned_here().cloned(), period, |_| true);
        here.desire(Desired::Running);
        // A node that is no headnode has none of them, and looks for none.
        let others = config.pinned_elsewhere().filter(|_| config.is_headnode()).cloned();
        let mut elsewhere = Supervisor::new(others, period, |_| false);
        // Nobody waits for their end, and no deadline forbids a graceful one.
        elsewhere.desire(Desired::Stopped { kill_at: Time::MAX });
        let names = config.pinned.iter().map(|service| service.name.clone()).collect();
        Self { names, here, elsewhere }
    }

    /// Whether this is about one of them.
    pub(super) fn has(&self, service: &str) -> bool {
        self.names.contains(service)
    }

    pub(super) fn handle(&mut self, now: Time, report: &Report) {
        self.here.handle(now, report.clone());
        self.elsewhere.handle(now, report.clone());
    }

    /// Decides what to order next; what became of them is told as sentences.
    pub(super) fn decide(
        &mut self,
        now: Time,
        ids: &mut Ids,
        actions: &mut VecDeque<ServiceAction>,
    ) -> Vec<(Kind, String)> {
        for services in [&mut self.here, &mut self.elsewhere] {
            services.decide(now, ids);
            while let Some(action) = services.poll_action() {
                actions.push_back(action);
            }
        }
        self.here.news(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let timers = [self.here.poll_timeout(), self.elsewhere.poll_timeout()];
        timers.into_iter().flatten().filter(|at| *at < Time::MAX).min()
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
                let why = if why.is_empty() { ended } else { why };
                reasons.insert(service.name.clone(), why.to_owned());
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
    use crate::guard::{Action, Event, Guard};
    use crate::node::{Identity, NodeName};
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

    fn orders(node: &str, observed: Observed) -> Vec<(String, Order)> {
        let node = NodeName::try_from(node).unwrap();
        let fragments = [("headship.toml".to_owned(), CONFIG.to_owned())];
        let config = crate::config::load(&fragments, node.clone()).unwrap();
        assert_eq!(config.services.len(), 1, "what is pinned does not move");
        let id = |what: &str| what.to_owned();
        let me = Identity { node, machine: id("m"), boot: id("b"), process: id("p") };
        let mut duty_service = config.services[0].clone();
        "master-ha-service".clone_into(&mut duty_service.name);
        let mut guard = Guard::new(config, me, None, None, duty_service);
        guard.handle_timeout(Time::from_millis(1000));
        let mut orders = Vec::new();
        for round in 0..3 {
            let now = Time::from_millis(1000 + round * 100);
            while let Some(action) = guard.poll_action() {
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
