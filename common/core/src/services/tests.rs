//! What a supervisor orders, and what it believes.

use std::collections::BTreeSet;

use super::*;
use crate::config::checked::{Driver, RestartBudget, Starter};

fn service() -> Service {
    Service {
        name: "livy".to_owned(),
        driver: Driver::Systemd { unit: "livy.service".to_owned() },
        started_by: Starter::MasterHaService,
        after: BTreeSet::new(),
        announce: false,
        critical: false,
        pinned: None,
        start_limit: Duration::from_secs(10),
        stop_limit: Duration::from_secs(10),
        restart: RestartBudget {
            times: 3,
            within: Duration::from_secs(600),
            back_off: vec![Duration::ZERO],
        },
        probes: Vec::new(),
    }
}

fn seen(asked: Option<ActionId>, observed: Observed) -> Report {
    Report::Observed { service: "livy".to_owned(), asked, observed }
}

fn orders(supervisor: &mut Supervisor) -> Vec<ServiceAction> {
    std::iter::from_fn(|| supervisor.poll_action()).collect()
}

/// The orders past the limit of a start that was never answered, if by then `observed` was seen.
fn orders_past_the_limit(observed: Observed) -> Vec<Order> {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let mut supervisor = Supervisor::new([service()], Duration::from_secs(60), |_| true);
    supervisor.desire(Desired::Running);
    supervisor.handle(begin, seen(None, Observed::Stopped));
    supervisor.decide(begin, &mut ids);
    let first = supervisor.poll_action().map(|action| action.order);
    assert_eq!(first, Some(Order::Start));
    supervisor.handle(begin.after(Duration::from_secs(2)), seen(None, observed));
    let late = begin.after(Duration::from_secs(10));
    supervisor.decide(late, &mut ids);
    orders(&mut supervisor).into_iter().map(|action| action.order).collect()
}

#[test]
fn a_start_without_an_answer_is_no_failure_if_the_service_was_seen_to_run() {
    assert_eq!(orders_past_the_limit(Observed::Starting), [Order::Stop]);
    assert_eq!(orders_past_the_limit(Observed::Running), [Order::Look]);
}

/// A supervisor that has verified its service stopped at `now`.
fn verified_stopped(now: Time, ids: &mut Ids) -> Supervisor {
    let mut supervisor = Supervisor::new([service()], Duration::from_secs(60), |_| true);
    supervisor.desire(Desired::Stopped { kill_at: now.after(Duration::from_secs(60)) });
    supervisor.decide(now, ids);
    while let Some(ServiceAction { id, service, order }) = supervisor.poll_action() {
        let report = match order {
            Order::Look => {
                Report::Observed { service, asked: Some(id), observed: Observed::Stopped }
            }
            Order::Start | Order::Stop | Order::Kill | Order::Probe(_) => {
                Report::Ended { id, ended: Ended::Done }
            }
        };
        supervisor.handle(now, report);
        supervisor.decide(now, ids);
    }
    assert!(supervisor.all_stopped());
    supervisor
}

#[test]
fn a_start_that_the_gate_is_about_to_refuse_is_not_being_stopped() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let mut supervisor = verified_stopped(begin, &mut ids);
    supervisor.handle(begin, seen(None, Observed::Starting));
    assert_eq!((supervisor.not_gone().len(), supervisor.being_stopped(begin).len()), (1, 0));
    supervisor
        .handle(begin, seen(None, Observed::Failed { why: "the gate refused it".to_owned() }));
    assert!(supervisor.not_gone().is_empty());
}

#[test]
fn a_start_that_the_gate_does_not_refuse_is_stopped() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let mut supervisor = verified_stopped(begin, &mut ids);
    supervisor.handle(begin, seen(None, Observed::Starting));
    let late = begin.after(Duration::from_millis(100));
    supervisor.decide(late, &mut ids);
    assert!(orders(&mut supervisor).iter().any(|action| action.order == Order::Stop));
    assert_eq!(supervisor.being_stopped(late), ["livy"]);
}

#[test]
fn a_stop_that_failed_does_not_hold_back_the_kill_at_the_deadline() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let mut supervisor = Supervisor::new([service()], Duration::from_secs(60), |_| true);
    let kill_at = begin.after(Duration::from_millis(500));
    supervisor.desire(Desired::Stopped { kill_at });
    supervisor.decide(begin, &mut ids);
    let stop = supervisor.poll_action().expect("a stop is ordered first");
    assert_eq!(stop.order, Order::Stop);
    let why = "processes of it are left".to_owned();
    let failed = Ended::Failed { why, by_gate: false };
    supervisor.handle(begin, Report::Ended { id: stop.id, ended: failed });
    supervisor.expired(Epoch(7));
    supervisor.decide(kill_at, &mut ids);
    assert!(orders(&mut supervisor).iter().any(|action| action.order == Order::Kill));
}

/// A supervisor that has ordered `livy` to stop, and the id of that order.
fn stopping(ids: &mut Ids, begin: Time) -> (Supervisor, ActionId) {
    let mut supervisor = Supervisor::new([service()], Duration::from_secs(60), |_| true);
    supervisor.desire(Desired::Stopped { kill_at: begin.after(Duration::from_secs(5)) });
    supervisor.decide(begin, ids);
    let stop = supervisor.poll_action().expect("a stop is ordered first");
    assert_eq!(stop.order, Order::Stop);
    (supervisor, stop.id)
}

#[test]
fn a_stop_that_ended_well_leaves_nothing_and_a_late_one_proves_nothing_at_the_deadline() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let (mut supervisor, stop) = stopping(&mut ids, begin);
    supervisor.handle(begin, Report::Ended { id: stop, ended: Ended::Done });
    assert!(supervisor.not_gone().is_empty());
    assert!(!supervisor.all_stopped(), "no look has shown that no start is queued");

    let (mut supervisor, stop) = stopping(&mut ids, begin);
    let late = begin.after(Duration::from_secs(5));
    supervisor.expired(Epoch(7));
    supervisor.decide(late, &mut ids);
    supervisor.handle(late, Report::Ended { id: stop, ended: Ended::Done });
    assert_eq!(supervisor.not_gone(), ["livy"], "only the kill after D counts");
}

#[test]
fn after_a_new_look_is_wanted_only_that_look_verifies_and_what_it_finds_up_is_stopped() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let (mut supervisor, stop) = stopping(&mut ids, begin);
    supervisor.handle(begin, Report::Ended { id: stop, ended: Ended::Done });
    orders(&mut supervisor);
    supervisor.decide(begin, &mut ids);
    let earlier = orders(&mut supervisor).pop().expect("a look after the stop").id;
    supervisor.look_anew();
    supervisor.decide(begin, &mut ids);
    let overtaken = orders(&mut supervisor).pop().expect("another look").id;
    for stale in [Some(earlier), None, Some(overtaken)] {
        supervisor.handle(begin, seen(stale, Observed::Stopped));
        assert!(!supervisor.all_stopped(), "{stale:?} is not the look that was asked for");
    }
    supervisor.decide(begin, &mut ids);
    let look = orders(&mut supervisor).pop().expect("one more look").id;
    supervisor.handle(begin, seen(Some(look), Observed::Starting));
    supervisor.decide(begin, &mut ids);
    let stops = orders(&mut supervisor);
    assert!(stops.iter().any(|action| action.order == Order::Stop), "{stops:?}");
}

#[test]
fn what_goes_down_by_itself_after_a_new_look_was_wanted_is_looked_at_once_more() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let (mut supervisor, stop) = stopping(&mut ids, begin);
    supervisor.handle(begin, Report::Ended { id: stop, ended: Ended::Done });
    supervisor.look_anew();
    supervisor.decide(begin, &mut ids);
    let look = orders(&mut supervisor).pop().expect("a look").id;
    supervisor.handle(begin, seen(Some(look), Observed::Stopping));
    supervisor.handle(begin, seen(None, Observed::Stopped));
    supervisor.decide(begin, &mut ids);
    let look = orders(&mut supervisor).pop().expect("a look at once, not a period later").id;
    supervisor.handle(begin, seen(Some(look), Observed::Stopped));
    assert!(supervisor.all_stopped());
}

#[test]
fn a_start_that_hangs_since_maintenance_began_is_ended_within_its_limit_afterwards() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let at = |seconds| begin.after(Duration::from_secs(seconds));
    let mut supervisor = Supervisor::new([service()], Duration::from_secs(600), |_| true);
    supervisor.desire(Desired::Running);
    supervisor.handle(begin, seen(None, Observed::Stopped));
    supervisor.decide(begin, &mut ids);
    supervisor.handle(at(1), seen(None, Observed::Starting));
    let alone = [("livy".to_owned(), "by me".to_owned())].into();
    supervisor.leave_alone(&alone);
    supervisor.decide(at(15), &mut ids);
    orders(&mut supervisor);
    supervisor.leave_alone(&BTreeMap::new());
    supervisor.decide(at(20), &mut ids);
    // Whoever looks meanwhile does not give it more time.
    supervisor.handle(at(25), seen(None, Observed::Starting));
    supervisor.decide(at(25), &mut ids);
    assert!(orders(&mut supervisor).iter().all(|action| action.order == Order::Look));
    assert_eq!(supervisor.poll_timeout(), Some(at(30)));
    supervisor.decide(at(30), &mut ids);
    let ordered: Vec<Order> = orders(&mut supervisor).into_iter().map(|it| it.order).collect();
    assert_eq!(ordered, [Order::Stop]);
}

/// It ended, and its own stop could not take away what it left.
#[test]
fn what_does_not_stop_by_itself_is_stopped_once_more_so_that_it_can_be_started() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let mut supervisor = Supervisor::new([service()], Duration::from_secs(60), |_| true);
    supervisor.desire(Desired::Running);
    supervisor.handle(begin, seen(None, Observed::Running));
    supervisor.decide(begin, &mut ids);
    supervisor.handle(begin, seen(None, Observed::Stopping));
    supervisor.decide(begin, &mut ids);
    assert!(orders(&mut supervisor).iter().all(|action| action.order == Order::Look));
    let late = begin.after(Duration::from_secs(10));
    assert_eq!(supervisor.poll_timeout(), Some(late));
    supervisor.decide(late, &mut ids);
    let stop = orders(&mut supervisor).into_iter().find(|it| it.order == Order::Stop).unwrap();
    supervisor.handle(late, Report::Ended { id: stop.id, ended: Ended::Done });
    supervisor.decide(late, &mut ids);
    assert!(orders(&mut supervisor).iter().any(|action| action.order == Order::Start));
}

/// Two services, the second after the first, which is a oneshot that prepares the headnode: its start ends like this.
fn after_a_hook(ended: &Ended) -> (Vec<(String, Order)>, Supervisor) {
    let (mut ids, now) = (Ids::default(), Time::from_millis(1000));
    let named = |name: &str| Service { name: name.to_owned(), ..service() };
    let after = BTreeSet::from(["hook".to_owned()]);
    let services = [named("hook"), Service { after, announce: true, ..named("livy") }];
    let mut supervisor = Supervisor::new(services, Duration::from_secs(60), |_| true);
    supervisor.desire(Desired::Running);
    for name in ["hook", "livy"] {
        let (service, observed) = (name.to_owned(), Observed::Stopped);
        supervisor.handle(now, Report::Observed { service, asked: None, observed });
    }
    let mut ordered = Vec::new();
    for _ in 0..9 {
        supervisor.decide(now, &mut ids);
        for ServiceAction { id, service, order } in orders(&mut supervisor) {
            if order == Order::Start {
                let ended = if service == "hook" { ended.clone() } else { Ended::Done };
                supervisor.handle(now, Report::Ended { id, ended });
                ordered.push((service, order));
            }
        }
    }
    (ordered, supervisor)
}

/// What people read beside `livy` then.
fn why(supervisor: &Supervisor) -> String {
    let mut survey = supervisor.survey(Time::from_millis(1000));
    survey.find(|(service, ..)| service.name == "livy").map(|(.., why)| why).unwrap_or_default()
}

#[test]
fn what_comes_after_an_activation_hook_starts_only_once_that_has_ended_well() {
    let started = |name: &str| (name.to_owned(), Order::Start);
    let (ordered, supervisor) = after_a_hook(&Ended::Done);
    assert_eq!(ordered, [started("hook"), started("livy")]);
    assert_eq!(why(&supervisor), "", "what it waited for is over");
    let failed = "its process exited with status 1".to_owned();
    let failed = Ended::Failed { why: failed, by_gate: false };
    // Once, and the restarts of its budget.
    let (ordered, supervisor) = after_a_hook(&failed);
    assert_eq!(ordered, vec![started("hook"); 4]);
    assert_eq!(why(&supervisor), "it waits for hook");
}

/// What is told of a service that should run, for each thing that is seen of it.
fn told(seen_of_it: &[Observed]) -> Vec<Kind> {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let mut supervisor = Supervisor::new([service()], Duration::from_secs(60), |_| true);
    supervisor.desire(Desired::Running);
    supervisor.handle(begin, seen(None, Observed::Running));
    supervisor.decide(begin, &mut ids);
    let mut kinds = Vec::new();
    for (second, observed) in (1..).zip(seen_of_it) {
        let now = begin.after(Duration::from_secs(second));
        supervisor.handle(now, seen(None, observed.clone()));
        supervisor.decide(now, &mut ids);
        kinds.extend(supervisor.news(now).into_iter().map(|(kind, _)| kind));
        // Whatever was ordered is done at once.
        while let Some(ServiceAction { id, order, .. }) = supervisor.poll_action() {
            if order != Order::Look {
                supervisor.handle(now, Report::Ended { id, ended: Ended::Done });
            }
        }
        supervisor.decide(now, &mut ids);
        kinds.extend(supervisor.news(now).into_iter().map(|(kind, _)| kind));
    }
    kinds
}

#[test]
fn a_fall_is_told_once_and_its_end_and_that_it_is_given_up() {
    let died = |why: &str| Observed::Failed { why: why.to_owned() };
    assert_eq!(told(&[Observed::Running]), []);
    let fall = [Kind::ServiceDown, Kind::ServiceBack];
    assert_eq!(told(&[died("a")]), fall);
    // One that ends as soon as it runs, until its budget of three is spent.
    let falls = [fall, fall, fall].concat();
    let all = [falls, vec![Kind::ServiceGivenUp]].concat();
    assert_eq!(told(&[died("a"), died("a"), died("a"), died("a"), died("a")]), all);
}

/// A look is answered with what was so before a change that is told meanwhile.
#[test]
fn a_look_that_a_change_overtakes_is_asked_anew() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let mut supervisor = Supervisor::new([service()], Duration::from_secs(60), |_| true);
    supervisor.desire(Desired::Running);
    supervisor.decide(begin, &mut ids);
    let [look] = orders(&mut supervisor).try_into().unwrap();
    assert_eq!(look.order, Order::Look);
    supervisor.handle(begin, seen(None, Observed::Running));
    supervisor.handle(begin, seen(Some(look.id), Observed::Starting));
    let observed = |supervisor: &Supervisor| supervisor.survey(begin).next().unwrap().1.clone();
    assert_eq!(observed(&supervisor), Observed::Running);
    supervisor.decide(begin, &mut ids);
    let [again] = orders(&mut supervisor).try_into().unwrap();
    assert_eq!(again.order, Order::Look);
    supervisor.handle(begin, seen(Some(again.id), Observed::Starting));
    assert_eq!(observed(&supervisor), Observed::Starting);
}

#[test]
fn what_is_killed_at_the_deadline_is_named_and_nothing_is_said_of_what_is_gone() {
    let (mut ids, begin) = (Ids::default(), Time::from_millis(1000));
    let mut supervisor = verified_stopped(begin, &mut ids);
    assert_eq!(supervisor.expired(Epoch(7)), None);
    supervisor.handle(begin, seen(None, Observed::Running));
    let told = "the deadline of epoch 7 has passed: killing livy".to_owned();
    assert_eq!(supervisor.expired(Epoch(7)), Some(told));
}
