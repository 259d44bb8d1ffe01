//! What the guard tells, and what it covers.

use super::*;
use crate::node::NodeName;
use crate::office;
use crate::services::Order;

const CONFIG: &str = r#"cluster = "main"
failover_quorum.servers = ["zk0:2181"]
headnode = [{ name = "hn0", address = "10.0.0.10" }, { name = "hn1", address = "10.0.0.11" }]
[[service]]
name = "livy"
unit = "livy.service"
started_by = "master-fc"
"#;

fn guard(permit: Option<Permit>) -> Guard {
    let node = NodeName::try_from("hn0").unwrap();
    let fragments = [("headship.toml".to_owned(), CONFIG.to_owned())];
    let config = crate::config::load(&fragments, node.clone()).unwrap();
    let id = |what: &str| what.to_owned();
    let me = Identity { node, machine: id("m"), boot: id("b"), process: id("p") };
    let mut duty_service = config.services[0].clone();
    "master-ha-service".clone_into(&mut duty_service.name);
    Guard::new(config, me, permit, None, duty_service)
}

fn told(mut guard: Guard) -> (String, Option<String>) {
    let (service, why) = ("livy".to_owned(), "the start gate refused it".to_owned());
    let observed = Observed::Failed { why };
    let report = Report::Observed { service, asked: None, observed };
    guard.handle(Time::from_millis(1000), Event::Service(report));
    let (services, reasons) = guard.observations(Time::from_millis(1000));
    (services["livy"].clone(), reasons.get("livy").cloned())
}

#[test]
fn a_refused_start_leaves_a_stopped_service_where_it_should_not_run() {
    let why = Some("the start gate refused it".to_owned());
    assert_eq!(told(guard(None)), ("stopped".to_owned(), why));
}

/// What a guard that has just started orders of the services, long after the permit's deadline.
fn ordered(permit: Permit) -> Vec<Order> {
    let mut guard = guard(Some(permit));
    guard.handle_timeout(Time::from_millis(600_000));
    let actions = std::iter::from_fn(|| guard.poll_action());
    let orders = actions.filter_map(|action| match action {
        Action::Service(ServiceAction { order, .. }) => Some(order),
        Action::Ask(_) | Action::WriteClosed { .. } | Action::Reboot { .. } | Action::Say(_) => {
            None
        }
    });
    orders.filter(|order| matches!(order, Order::Stop | Order::Kill)).collect()
}

#[test]
fn a_keep_covers_beyond_the_deadline_also_after_a_restart_and_not_after_a_reboot() {
    let kept = Permit { kept: Some("k".to_owned()), ..permit() };
    assert_eq!(ordered(kept.clone()), []);
    assert!(!ordered(permit()).is_empty());
    assert!(!ordered(Permit { boot: "before".to_owned(), ..kept }).is_empty());
}

#[test]
fn anothers_claim_on_the_epoch_ends_what_a_keep_covers() {
    let kept = Permit { kept: Some("k".to_owned()), ..permit() };
    let guard = guard(Some(kept.clone()));
    let mut active = office::unknown(kept.incarnation.clone(), kept.epoch, 6000, 2000);
    active.holder = Some(guard.me.clone());
    assert_eq!(guard.contradiction(&active, &kept), None);
    let node = NodeName::try_from("hn1").unwrap();
    active.claimant = Some(Identity { node, ..guard.me.clone() });
    assert!(guard.contradiction(&active, &kept).is_some());
}

fn permit() -> Permit {
    Permit {
        incarnation: Incarnation("i".to_owned()),
        epoch: Epoch(7),
        boot: "b".to_owned(),
        deadline: Time::from_millis(60_000),
        lease_ms: 6000,
        kill_ms: 2000,
        grace_ms: 1000,
        alone: BTreeMap::new(),
        kept: None,
    }
}

#[test]
fn under_a_permit_what_failed_is_told_as_failed() {
    assert_eq!(told(guard(Some(permit()))).0, "failed");
}
