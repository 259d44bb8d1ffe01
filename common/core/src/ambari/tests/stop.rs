//! Stops: what is asked of Ambari, and what is believed without it.

use super::site::{Agents, Site};
use super::*;

fn running() -> Site {
    let mut site = Site::new();
    site.roles.insert("h1", ["STARTED", "STARTED", "OFF"]);
    site.runs = true;
    site
}

fn away() -> Option<Result<Answer, String>> {
    Some(Err("connection refused".to_owned()))
}

fn failed(ended: Result<(), Why>) -> String {
    match ended {
        Err(Why::Failed(why)) => why,
        Err(Why::Gate) | Ok(()) => panic!("{ended:?}"),
    }
}

/// A start of it that was handed to this host's agent, and was not seen to end.
fn handed() -> Agent {
    let mut agent = Agent::default();
    agent.begins("HISTORYSERVER", true, crate::time::Time::from_millis(500));
    agent.answered(Some(7));
    agent
}

#[test]
fn it_is_ordered_followed_seen_and_then_in_maintenance() {
    for component in [gated(), ungated()] {
        let mut site = running();
        assert_eq!(site.go(component.clone(), Goal::Stop), Ok(()));
        assert_eq!(site.log, ["stop h1", "maintenance ON h1"]);
        assert_eq!(site.go(component, Goal::Stop), Ok(()));
        assert_eq!(site.log.len(), 2);
    }
}

#[test]
fn a_stop_is_believed_only_with_no_start_of_it_pending() {
    for component in [gated(), ungated()] {
        let mut site = Site::new();
        site.agents = Agents::Hang;
        site.queue(7, "h1", "START", "PENDING");
        site.deaf = u32::MAX;
        let why = failed(site.go(component.clone(), Goal::Stop));
        assert!(why.starts_with("request 7 would start it"), "{why}");
        site.deaf = 0;
        assert_eq!(site.go(component, Goal::Stop), Ok(()));
        // Another headnode's start is its own affair: it may be the active by now.
        site.queue(8, "h2", "START", "PENDING");
        assert_eq!(site.go(gated(), Goal::Stop), Ok(()));
        assert!(!site.log.contains(&"abort 8".to_owned()));
    }
}

/// It started while nobody looked; a stop is ignored then, and the process lives on.
#[test]
fn what_runs_while_ambari_believes_it_stopped_is_killed() {
    let mut site = Site::new();
    site.runs = true;
    assert_eq!(site.go(gated(), Goal::Stop), Ok(()));
    assert_eq!(site.log.len(), 1);
    assert!(site.log[0].starts_with("kill after ") && !site.runs);
}

#[test]
fn what_ambari_does_not_stop_in_time_is_killed() {
    let mut site = running();
    site.agents = Agents::Hang;
    assert_eq!(site.go(gated(), Goal::Stop), Ok(()));
    assert_eq!(site.log[0], "stop h1");
    assert!(site.log.iter().any(|line| line.starts_with("kill after ")) && !site.runs);
}

/// Finding: an agent that was stopped is started again. Nothing here rests on one: without Ambari and its agents a stop is
/// the end of what runs, and the gate keeps whatever comes late from starting it.
#[test]
fn without_ambari_a_stop_rests_on_what_was_killed_and_on_the_gate() {
    for goal in [Goal::Stop, Goal::Kill] {
        let mut site = running();
        site.only = away();
        site.kept = handed();
        assert_eq!(site.go(gated(), goal), Ok(()));
        assert!(site.log[0].starts_with("kill after ") && !site.runs);
    }
}

#[test]
fn without_a_gate_no_stop_is_believed_while_the_agent_may_hold_a_start() {
    for goal in [Goal::Stop, Goal::Kill] {
        let mut site = running();
        site.only = away();
        site.kept = handed();
        let why = failed(site.go(ungated(), goal));
        assert!(
            why.starts_with("a start of it that was ordered may still be carried out"),
            "{why}"
        );
        // With none on record there is nothing that could come.
        let mut site = running();
        site.only = away();
        assert_eq!(site.go(ungated(), goal), Ok(()));
    }
}

#[test]
fn what_the_server_gave_up_is_waited_out_and_what_the_agent_ended_is_not() {
    for (status, least) in [("ABORTED", 25_000), ("COMPLETED", 0), ("FAILED", 0)] {
        let mut site = Site::new();
        site.kept = handed();
        site.queue(7, "h1", "START", status);
        let begin = site.now;
        assert_eq!(site.go(ungated(), Goal::Stop), Ok(()));
        let took = site.now.since(begin).as_millis();
        assert!(took >= least && took < least + 3000, "{status} took {took}");
        assert!(!site.kept.has_open_start("HISTORYSERVER"));
    }
}

/// Finding: the agent is the host's. What it told of another service's order settles ours.
#[test]
fn the_end_of_another_services_later_order_settles_a_start_that_was_given_up() {
    let mut site = Site::new();
    site.kept = handed();
    site.kept.begins("APP_TIMELINE_SERVER", false, site.now);
    site.kept.answered(Some(9));
    site.queue(7, "h1", "START", "ABORTED");
    site.queue(9, "h1", "STOP", "COMPLETED");
    site.tasks[1].role = "APP_TIMELINE_SERVER".to_owned();
    let begin = site.now;
    assert_eq!(site.go(ungated(), Goal::Stop), Ok(()));
    assert!(site.now.since(begin).as_secs() < 2);
}

#[test]
fn a_kill_asks_nobody_before_it_kills_nor_after_if_that_is_proof() {
    let mut site = running();
    assert_eq!(site.go(gated(), Goal::Kill), Ok(()));
    assert_eq!(site.log, ["kill after 0ns"]);
}

#[test]
fn a_host_that_is_lost_is_told_once_what_is_desired() {
    let mut site = running();
    site.hosts.insert("h1", ("HEARTBEAT_LOST", 10));
    site.roles.insert("h1", ["UNKNOWN", "STARTED", "OFF"]);
    assert_eq!(site.go(gated(), Goal::Stop), Ok(()));
    assert_eq!(site.roles["h1"], ["UNKNOWN", "INSTALLED", "ON"]);
    assert_eq!(site.log[0], "stop h1");
    assert!(site.log[1].starts_with("kill after ") && !site.runs);
}

#[test]
fn what_ambari_does_not_have_here_is_stopped_all_the_same() {
    let mut site = running();
    site.roles.remove("h1");
    assert_eq!(site.go(gated(), Goal::Stop), Ok(()));
    assert!(!site.runs);
}

#[test]
fn a_login_that_is_refused_keeps_nothing_from_being_stopped() {
    let mut site = running();
    site.only = Some(Ok(Answer { status: 403, body: String::new() }));
    assert_eq!(site.go(ungated(), Goal::Stop), Ok(()));
    assert!(!site.runs);
}
