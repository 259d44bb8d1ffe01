//! Starts: what comes before the order, and what is believed of it.

use super::site::{Agents, Site};
use super::*;
use crate::epoch::Epoch;

const START: Goal = Goal::Start(Some(Epoch(12)));

fn failed(ended: Result<(), Why>) -> String {
    match ended {
        Err(Why::Failed(why)) => why,
        Err(Why::Gate) | Ok(()) => panic!("{ended:?}"),
    }
}

#[test]
fn out_of_maintenance_it_is_ordered_followed_and_seen() {
    let mut site = Site::new();
    assert_eq!(site.go(gated(), START), Ok(()));
    assert_eq!(site.log, ["maintenance OFF h1", "start h1"]);
    assert!(site.runs && !site.kept.has_open_start("HISTORYSERVER"));
    // Once more changes nothing.
    assert_eq!(site.go(gated(), START), Ok(()));
    assert_eq!(site.log.len(), 2);
}

/// Finding: a start that was queued for the other headnode's component survives the failover.
#[test]
fn a_start_that_is_queued_for_another_headnode_is_gone_before_ours_is_ordered() {
    for status in ["PENDING", "QUEUED", "IN_PROGRESS", "HOLDING_FAILED", "SOMETHING_NEW"] {
        for command in ["START", "CUSTOM_COMMAND"] {
            let mut site = Site::new();
            site.agents = Agents::Hang;
            site.queue(7, "h2", command, status);
            // The first aborts are answered by 200 and do nothing: what is read back counts.
            site.deaf = 2;
            site.events = vec![(30, |site| site.agents = Agents::Work)];
            assert_eq!(site.go(gated(), START), Ok(()));
            let log = ["abort 7", "abort 7", "abort 7", "maintenance OFF h1", "start h1"];
            assert_eq!(site.log, log, "{status} {command}");
        }
    }
}

#[test]
fn what_cannot_be_aborted_keeps_ours_from_being_ordered() {
    let mut site = Site::new();
    site.agents = Agents::Hang;
    site.queue(7, "h2", "START", "QUEUED");
    site.deaf = u32::MAX;
    let why = failed(site.go(gated(), START));
    assert_eq!(why, "request 7 would start it on a headnode, and is not gone yet");
    assert!(site.log.iter().all(|line| line == "abort 7"));
}

/// Nothing refuses it there: the agent's next report has to show that it was not carried out in spite of the abort.
#[test]
fn without_a_gate_an_aborted_start_is_waited_out_as_well() {
    let mut site = Site::new();
    site.agents = Agents::Hang;
    site.queue(7, "h2", "START", "QUEUED");
    // The agent held it, and reports what came of it.
    site.events = vec![
        (20, |site| site.roles.get_mut("h2").unwrap()[0] = "STARTED"),
        (21, |site| site.agents = Agents::Work),
    ];
    assert_eq!(site.go(ungated(), START), Ok(()));
    assert_eq!(site.log, ["abort 7", "stop h2", "maintenance OFF h1", "start h1"]);
    assert!(site.now >= crate::time::Time::from_millis(26_000));
}

#[test]
fn what_concerns_other_components_hosts_and_stops_is_left_alone() {
    let mut site = Site::new();
    site.agents = Agents::Hang;
    site.queue(5, "worker", "START", "QUEUED");
    site.queue(6, "h2", "STOP", "QUEUED");
    site.queue(7, "h2", "START", "COMPLETED");
    site.queue(8, "h2", "START", "ABORTED");
    site.queue(9, "h2", "START", "QUEUED");
    site.tasks[4].role = "NODEMANAGER".to_owned();
    site.events = vec![(3, |site| site.agents = Agents::Work)];
    assert_eq!(site.go(gated(), START), Ok(()));
    assert_eq!(site.log, ["maintenance OFF h1", "start h1"]);
}

#[test]
fn on_the_other_headnode_it_is_stopped_and_in_maintenance_first() {
    let mut site = Site::new();
    site.roles.insert("h2", ["STARTED", "STARTED", "OFF"]);
    assert_eq!(site.go(gated(), START), Ok(()));
    let log = ["maintenance ON h2", "stop h2", "maintenance OFF h1", "start h1"];
    assert_eq!(site.log, log);
}

/// It is ignored but for what is desired, which an agent that returns goes by.
#[test]
fn a_lost_headnode_is_told_what_is_desired_and_not_waited_for() {
    let mut site = Site::new();
    site.hosts.insert("h2", ("HEARTBEAT_LOST", 10));
    site.roles.insert("h2", ["UNKNOWN", "STARTED", "OFF"]);
    assert_eq!(site.go(gated(), START), Ok(()));
    assert_eq!(site.roles["h2"], ["UNKNOWN", "INSTALLED", "ON"]);
    let log = ["maintenance ON h2", "stop h2", "maintenance OFF h1", "start h1"];
    assert_eq!(site.log, log);
}

#[test]
fn before_its_agent_has_registered_anew_nothing_is_ordered() {
    let mut site = Site::new();
    site.hosts.insert("h1", ("HEARTBEAT_LOST", 10));
    site.roles.insert("h1", ["UNKNOWN", "STARTED", "ON"]);
    site.events = vec![
        (5, |site| site.register("h1", ("WAITING_FOR_HOST_STATUS_UPDATES", 10))),
        // Healthy by an old registration: that of another server's memory.
        (9, |site| site.register("h1", ("HEALTHY", 10))),
        (13, |site| site.register("h1", ("HEALTHY", 11))),
        (17, |site| {
            assert_eq!(site.log, [""; 0]);
            site.roles.insert("h1", ["INSTALLED", "STARTED", "ON"]);
        }),
    ];
    assert_eq!(site.go(gated(), START), Ok(()));
    assert_eq!(site.log, ["maintenance OFF h1", "start h1"]);
}

#[test]
fn an_agent_that_has_registered_and_not_reported_yet_is_waited_for() {
    let mut site = Site::new();
    site.hosts.insert("h1", ("WAITING_FOR_HOST_STATUS_UPDATES", 10));
    site.events = vec![(4, |site| site.register("h1", ("HEALTHY", 10)))];
    assert_eq!(site.go(gated(), START), Ok(()));
    assert!(site.now >= crate::time::Time::from_millis(4000));
}

/// The new registration was read while the host was still called lost.
#[test]
fn a_host_that_stays_healthy_is_believed_whatever_its_registration_was_called() {
    let mut site = Site::new();
    site.hosts.insert("h1", ("HEARTBEAT_LOST", 10));
    site.events = vec![(4, |site| site.register("h1", ("HEALTHY", 10)))];
    let begin = site.now;
    assert_eq!(site.go(gated(), START), Ok(()));
    let took = site.now.since(begin).as_secs();
    assert!((28..31).contains(&took), "{took}");
}

#[test]
fn neither_200_nor_500_is_believed() {
    for status in [200, 500] {
        let mut site = Site::new();
        site.to_orders = Some(Answer { status, body: String::new() });
        let why = failed(site.go(gated(), START));
        assert_eq!(why, "Ambari has not taken its order about `h1` yet");
        assert!(site.log.len() > 100 && !site.runs);
    }
}

#[test]
fn a_start_that_was_given_up_is_not_believed_and_stays_on_record() {
    let mut site = Site::new();
    site.agents = Agents::AreLost;
    assert!(failed(site.go(gated(), START)).starts_with("Ambari gave up its start (request 100)"));
    assert!(site.kept.has_open_start("HISTORYSERVER"));
}

#[test]
fn a_start_that_failed_is_told_in_the_words_of_its_script() {
    let mut site = Site::new();
    site.agents = Agents::Fail;
    let why = failed(site.go(gated(), START));
    assert_eq!(why, "its start failed at Ambari (request 100): why 100 failed");
    assert!(!site.kept.has_open_start("HISTORYSERVER"));
}

#[test]
fn a_start_that_leaves_nothing_on_the_host_is_none() {
    let mut site = Site::new();
    site.agents = Agents::Hang;
    site.events = vec![(5, |site| {
        site.tasks[0].status = "COMPLETED".to_owned();
        site.roles.insert("h1", ["STARTED", "STARTED", "OFF"]);
    })];
    let why = failed(site.go(gated(), START));
    assert!(why.ends_with("nothing of it runs on this host"), "{why}");
}

#[test]
fn what_is_dead_and_believed_to_run_is_stopped_before_it_is_started() {
    let mut site = Site::new();
    site.roles.insert("h1", ["STARTED", "STARTED", "OFF"]);
    assert_eq!(site.go(gated(), START), Ok(()));
    assert_eq!(site.log, ["stop h1", "start h1"]);
}

#[test]
fn an_order_whose_answer_was_lost_is_found_and_aborted() {
    let mut site = Site::new();
    site.agents = Agents::Hang;
    site.queue(7, "h1", "START", "QUEUED");
    site.events = vec![(4, |site| site.agents = Agents::Work)];
    assert_eq!(site.go(gated(), START), Ok(()));
    assert_eq!(site.log, ["abort 7", "maintenance OFF h1", "start h1"]);
}

#[test]
fn the_gate_is_asked_right_before_the_order() {
    let mut site = Site::new();
    site.gate = false;
    assert_eq!(site.go(gated(), START), Err(Why::Gate));
    assert_eq!(site.log, ["maintenance OFF h1"]);
    assert_eq!(site.kept, Agent::default());
}

#[test]
fn what_no_time_mends_fails_at_once_with_the_way_out() {
    let mut site = Site::new();
    site.only = Some(Ok(Answer { status: 403, body: "{\"message\":\"No\"}".to_owned() }));
    let why = failed(site.go(gated(), START));
    assert_eq!(
        why,
        "Ambari refuses its login (403: No): correct the credentials, or give the user the role of a service operator"
    );
    let mut site = Site::new();
    site.roles.remove("h1");
    let why = failed(site.go(gated(), START));
    assert!(why.starts_with("Ambari has no component `HISTORYSERVER` on host `h1`"), "{why}");
    assert!(site.log.is_empty());
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut site = Site::new();
    site.only = Some(Err("connection refused".to_owned()));
    site.events = vec![(20, |site| site.only = None)];
    assert_eq!(site.go(gated(), START), Ok(()));
}

#[test]
fn an_order_names_the_level_that_is_always_carried_out_and_the_epoch() {
    let mut component = gated();
    let order = component.order("h1", true, " (epoch 12)");
    assert_eq!(order.path, "/api/v1/clusters/lab/hosts/h1/host_components/HISTORYSERVER");
    assert_eq!(
        order.body,
        r#"{"Body":{"HostRoles":{"state":"STARTED"}},"RequestInfo":{"context":"headship: start HISTORYSERVER on h1 (epoch 12)","operation_level":{"cluster_name":"lab","host_name":"h1","level":"HOST_COMPONENT"}}}"#
    );
    // The server's database has room for so many characters, and answers 500 to more.
    component.name = "Ü".repeat(400);
    let body: serde_json::Value =
        serde_json::from_str(&component.order("h1", false, "").body).unwrap();
    let context = body["RequestInfo"]["context"].as_str().unwrap();
    assert_eq!(context.chars().count(), 255);
}
