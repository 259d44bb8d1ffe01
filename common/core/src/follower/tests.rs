//! A node, its disk, its agent and a quorum: what slave-fc does with them.

mod herd;
mod world;

use self::world::{SESSION, World, identity, name, office};
use super::*;
use crate::hosts_file;
use crate::quorum::SessionId;
use crate::record::{self, FORMAT, Rest};
use crate::time::WallTime;

const MOVED: [&str; 5] = [
    "hosts 10.0.0.10",
    "`headnodehost` is hn0 (10.0.0.10, epoch 1)",
    "stop slave-fc-agent",
    "start slave-fc-agent",
    "the agent is restarted",
];

#[test]
fn the_alias_comes_first_and_the_agent_second_at_becoming_active() {
    let mut world = World::new("hn1");
    assert!(world.shown().why.starts_with("no active is known yet"));
    world.office(&office(1, "hn0", Phase::BecomingActive));
    assert_eq!(world.log(), MOVED);
    let shown = world.shown();
    assert_eq!((shown.epoch, shown.follows, shown.active), (Epoch(1), true, Some(name("hn0"))));
    assert_eq!(shown.agent.unwrap().epoch, Epoch(1));
    assert_eq!(shown.why, "`headnodehost` is hn0 (epoch 1)");
    // Serving changes nothing, nor does time.
    world.office(&office(1, "hn0", Phase::Active));
    world.pass(3600);
    assert_eq!(world.log(), [""; 0]);
}

#[test]
fn claims_and_cessions_move_nothing() {
    let mut world = World::new("hn1");
    world.office(&office(1, "hn0", Phase::Active));
    world.log();
    let claimed = Active { claimant: Some(identity("hn1")), ..office(1, "hn0", Phase::Active) };
    world.office(&claimed);
    world.office(&office(1, "hn0", Phase::BecomingStandby));
    world.office(&office(1, "hn0", Phase::Ceded { to: None, until_ms: 0 }));
    world.pass(60);
    assert_eq!((world.log(), world.alias()), (vec![], Some("10.0.0.10".to_owned())));
    world.office(&office(2, "hn1", Phase::BecomingActive));
    assert_eq!(world.alias().unwrap(), "10.0.0.11");
}

#[test]
fn a_lower_epoch_is_followed_only_once_it_has_shown_for_as_long_as_a_taker_waits() {
    let mut world = World::new("wn0");
    world.office(&office(7, "hn0", Phase::Active));
    world.log();
    world.office(&office(6, "hn1", Phase::Active));
    world.pass(5);
    assert_eq!((world.log(), world.alias().unwrap()), (vec![], "10.0.0.10".to_owned()));
    assert!(world.shown().why.contains("shows epoch 6"), "{}", world.shown().why);
    // Neither by a new process, nor after a new connection, before each has seen it for as long.
    world.restart();
    world.pass(5);
    assert_eq!(world.alias().unwrap(), "10.0.0.10");
    world.disconnect();
    world.pass(60);
    world.connect();
    world.pass(5);
    assert_eq!(world.alias().unwrap(), "10.0.0.10");
    // A server that lagged has caught up meanwhile.
    world.office(&office(7, "hn0", Phase::Active));
    world.pass(60);
    world.office(&office(6, "hn1", Phase::Active));
    world.pass(5);
    assert_eq!(world.alias().unwrap(), "10.0.0.10");
    world.log();
    world.pass(5);
    let log = world.log();
    assert_eq!(world.alias().unwrap(), "10.0.0.11");
    assert!(log[0].contains("was put back") && log[0].contains("epoch 6"), "{log:?}");
    let shown = world.shown();
    assert_eq!((shown.epoch, shown.follows, shown.active), (Epoch(6), true, Some(name("hn1"))));
    world.pass(600);
    assert_eq!(world.log(), [""; 0]);
}

#[test]
fn another_incarnation_is_said_and_followed_only_where_that_is_ordered() {
    let mut world = World::new("wn0");
    world.office(&office(7, "hn0", Phase::Active));
    world.log();
    let foreign = Incarnation("other".into());
    world.office(&Active { incarnation: foreign, ..office(9, "hn1", Phase::Active) });
    world.pass(600);
    let log = world.log();
    assert_eq!((log.len(), world.alias().unwrap()), (1, "10.0.0.10".to_owned()), "{log:?}");
    assert!(log[0].contains("incarnation other") && log[0].contains("`headship adopt`"));
    assert!(!world.shown().follows);
    // An operator says so; of an order for yet another life nothing is heard.
    for (incarnation, alias) in [("third", "10.0.0.10"), ("other", "10.0.0.11")] {
        let order = AdoptOrder {
            format: FORMAT,
            order: "1".into(),
            by: "operator".into(),
            incarnation: Incarnation(incarnation.into()),
            not_after: WallTime(0),
            answers: BTreeMap::new(),
            rest: Rest::new(),
        };
        world.set(Key::Adopt, record::write(&order), SessionId(0));
        world.pass(60);
        assert_eq!(world.alias().unwrap(), alias);
    }
}

#[test]
fn a_quorum_that_is_away_for_an_hour_changes_nothing() {
    let mut world = World::new("wn0");
    world.office(&office(1, "hn0", Phase::Active));
    world.pass(60);
    world.log();
    let before = world.hosts.clone();
    world.disconnect();
    world.pass(3600);
    assert!(world.follower.status().ends_with("; the failover quorum is out of sight"));
    // Nor does a slave-fc that starts meanwhile.
    world.restart();
    world.disconnect();
    world.pass(3600);
    assert_eq!(world.log(), ["`headnodehost` is hn0 (10.0.0.10, epoch 1)"]);
    assert_eq!(world.hosts, before);
}

#[test]
fn the_agent_is_left_alone_while_the_hosts_file_cannot_be_written() {
    let mut world = World::new("hn1");
    world.hosts_fault = Some("No space left on device");
    world.office(&office(1, "hn0", Phase::BecomingActive));
    world.pass(300);
    let said =
        "`/etc/hosts` cannot be written, and so this node does not follow: No space left on device";
    assert_eq!(world.log(), [said], "said once, and the agent is not touched");
    assert!(!world.shown().follows);
    assert_eq!(world.shown().epoch, Epoch(0));
    world.hosts_fault = None;
    world.pass(30);
    assert_eq!(world.log(), MOVED);
}

#[test]
fn an_agent_that_was_started_with_this_very_alias_is_not_restarted() {
    let mut world = World::new("hn1");
    let address = "10.0.0.10".parse().unwrap();
    world.hosts = hosts_file::rewrite(&world.hosts, "headnodehost", address).unwrap().text;
    world.note = None;
    world.restart();
    world.office(&office(1, "hn0", Phase::Active));
    assert_eq!(world.log(), ["`headnodehost` is hn0 (10.0.0.10, epoch 1)"]);
    // The same holder in a new epoch.
    world.office(&office(2, "hn0", Phase::BecomingActive));
    assert_eq!(world.log(), ["`headnodehost` is hn0 (10.0.0.10, epoch 2)"]);
    assert_eq!(world.shown().epoch, Epoch(2));
}

#[test]
fn what_an_editor_undid_is_put_right_with_the_difference_and_no_restart() {
    let mut world = World::new("hn1");
    world.office(&office(1, "hn0", Phase::Active));
    world.log();
    world.hosts = b"127.0.0.1 localhost\n1.2.3.4 new\n".to_vec();
    world.pass(10);
    let said = "somebody changed `/etc/hosts`; put right again: +# headship begin: slave-fc keeps these lines, do not edit them | +10.0.0.10 headnodehost # headship | +# headship end";
    assert_eq!(world.log(), ["hosts 10.0.0.10", said]);
    assert!(world.hosts.starts_with(b"127.0.0.1 localhost\n1.2.3.4 new\n"));
}

#[test]
fn an_agent_that_came_up_while_an_editor_had_the_hosts_file_is_restarted_with_it_right() {
    let mut world = World::new("hn1");
    world.office(&office(1, "hn0", Phase::Active));
    world.pass(60);
    world.log();
    world.running.insert(AGENT.into(), false);
    world.edited_before_start = true;
    world.pass(60);
    let log = world.log();
    let last = |what: &str| log.iter().rposition(|line| line == what);
    assert!(last("hosts 10.0.0.10").is_some(), "{log:?}");
    assert!(last("start slave-fc-agent") > last("hosts 10.0.0.10"), "{log:?}");
    world.pass(60);
    assert!(world.log().is_empty(), "once");
}

/// Between two offices of the same headnode there was one that the file could not be written for, while the agent was down.
#[test]
fn an_alias_that_could_not_be_written_and_is_right_again_restarts_nobody() {
    let mut world = World::new("hn1");
    world.office(&office(1, "hn0", Phase::Active));
    world.pass(60);
    (world.hosts_fault, world.agent_fault) = (Some("read-only file system"), Some("no"));
    world.service(AGENT, false);
    world.office(&office(2, "hn1", Phase::BecomingActive));
    world.pass(60);
    world.office(&office(3, "hn0", Phase::BecomingActive));
    world.pass(60);
    world.agent_fault = None;
    world.pass(60);
    world.log();
    world.hosts_fault = None;
    world.pass(60);
    assert_eq!(world.log(), ["`headnodehost` is hn0 (10.0.0.10, epoch 3)"]);
}

/// It was edited before the agent came up, or as it was coming up; and slave-fc dies at any moment of what comes of it.
#[test]
fn an_edit_that_an_agent_may_have_read_is_on_record_before_it_is_put_right() {
    for step in ["look at hosts", "note", "hosts", "stop", "start", "look"] {
        let mut world = World::new("hn1");
        world.office(&office(1, "hn0", Phase::Active));
        world.pass(60);
        world.running.insert(AGENT.into(), false);
        world.edited_before_start = true;
        world.dies_after_edit = Some(step);
        world.pass(60);
        assert!(world.dead, "it dies after {step}: {:?}", world.log);
        world.restart();
        world.pass(60);
        let log = world.log();
        let last = |what: &str| log.iter().rposition(|line| line == what);
        assert!(last("start slave-fc-agent") > last("hosts 10.0.0.10"), "{step}: {log:?}");
        assert!(last("hosts 10.0.0.10").is_some(), "{step}: {log:?}");
    }
}

#[test]
fn a_crash_after_any_step_ends_with_alias_and_agent_right() {
    for node in ["hn1", "wn0"] {
        for step in ["note", "hosts", "read", "write", "stop", "start", "look"] {
            let mut world = World::new(node);
            world.office(&office(1, "hn0", Phase::Active));
            world.pass(60);
            assert_eq!(world.note.as_ref().unwrap().epoch, Epoch(1));
            world.log();
            world.dies_after = Some(step);
            world.office(&office(2, "hn1", Phase::BecomingActive));
            world.pass(20);
            let what = format!("{node} dies after {step}: {:?}", world.log);
            assert!(world.dead, "{what}");
            // Its session is over.
            world.records.retain(|_, (_, owner)| *owner != SESSION);
            world.restart();
            world.pass(60);
            assert_eq!(world.alias().unwrap(), "10.0.0.11", "{what}");
            // Of an agent that it finds down it knows the alias that it starts it with, and not yet whose office that is.
            let noted = world.note.as_ref().and_then(|note| note.address);
            assert_eq!(noted, "10.0.0.11".parse().ok(), "{what}");
            assert_eq!(world.running.get(AGENT), Some(&true), "{what}");
            assert!(world.shown().follows, "{what}: {}", world.shown().why);
            let log = world.log();
            let hosts = log.iter().position(|line| line == "hosts 10.0.0.11").unwrap();
            let starts: Vec<usize> = (0..log.len())
                .filter(|at| log.get(*at).is_some_and(|line| line == "start slave-fc-agent"))
                .collect();
            assert!(starts.len() == 1 && starts.iter().all(|start| hosts < *start), "{what}");
        }
    }
}

#[test]
fn a_crash_before_the_followed_office_is_on_disk_moves_nothing_back() {
    let mut world = World::new("hn1");
    world.office(&office(1, "hn0", Phase::Active));
    let older = world.followed.clone();
    world.office(&office(2, "hn1", Phase::BecomingActive));
    world.log();
    world.followed = older;
    world.restart();
    world.pass(60);
    assert_eq!(world.log(), ["`headnodehost` is hn1 (10.0.0.11, epoch 2)"]);
    assert_eq!(world.followed.as_ref().unwrap().epoch, Epoch(2));
}

#[test]
fn a_claimed_office_is_not_followed_by_a_node_that_comes_up_meanwhile() {
    let mut world = World::new("wn0");
    let claimed = Active { claimant: Some(identity("hn1")), ..office(1, "hn0", Phase::Active) };
    world.office(&claimed);
    world.pass(60);
    assert_eq!((world.log(), world.alias()), (vec![], None));
}

#[test]
fn an_agent_that_waits_for_its_turn_is_left_alone_once_the_hosts_file_is_wrong() {
    let mut world = World::new("wn0");
    world.take_slots();
    world.office(&office(1, "hn0", Phase::Active));
    world.hosts_fault = Some("Read-only file system");
    world.office(&office(2, "hn1", Phase::BecomingActive));
    world.log();
    world.records.retain(|key, _| !matches!(key, Key::Restart(_)));
    world.pass(60);
    assert_eq!(world.log(), [""; 0]);
}

#[test]
fn what_the_agent_was_started_with_is_on_record_before_the_hosts_file_changes() {
    let mut world = World::new("hn1");
    world.office(&office(1, "hn0", Phase::Active));
    // A reboot, after which the agent started without our lines.
    world.note = None;
    world.hosts = vec![];
    world.dies_after = Some("hosts");
    world.restart();
    world.log();
    world.restart();
    world.pass(10);
    assert_eq!(world.log()[1..], MOVED[2..]);
}

#[test]
fn other_nodes_wait_for_a_slot_and_give_it_back_when_the_agent_runs() {
    let mut world = World::new("wn0");
    world.take_slots();
    world.office(&office(1, "hn0", Phase::BecomingActive));
    world.pass(60);
    assert_eq!(world.log(), MOVED[..2], "no agent is restarted without a slot");
    assert!(world.shown().why.ends_with("the agent waits for its turn to be restarted"));
    world.records.remove(&Key::Restart(1));
    world.pass(11);
    let log = world.log();
    let expected = ["slot 1 taken", MOVED[2], MOVED[3], MOVED[4], "slot 1 freed"];
    assert_eq!(log, expected);
    assert!(world.shown().follows);
}

#[test]
fn an_agent_that_will_not_restart_is_said_once_and_its_slot_is_freed() {
    let mut world = World::new("wn0");
    world.agent_fault = Some("exited with status 1");
    world.office(&office(1, "hn0", Phase::BecomingActive));
    world.pass(300);
    let log = world.log();
    let said = log.iter().filter(|line| line.starts_with("the agent is down")).count();
    let starts = log.iter().filter(|line| *line == "start slave-fc-agent").count();
    assert_eq!(said, 1, "{log:?}");
    assert!((5..20).contains(&starts), "{starts} starts in five minutes");
    assert!(log.iter().any(|line| line.ends_with("freed")));
    let shown = world.shown();
    assert!(!shown.follows);
    assert!(shown.why.ends_with("the agent is down: exited with status 1"), "{}", shown.why);
    let agent = shown.agent.unwrap();
    assert_eq!((shown.epoch, agent.epoch), (Epoch(1), Epoch(1)), "{agent:?}");
    world.agent_fault = None;
    world.pass(61);
    assert!(world.shown().follows);
    assert_eq!(
        world.log(),
        ["start slave-fc-agent", "the agent is restarted", "the agent runs again"]
    );
}

#[test]
fn an_agent_that_is_down_when_the_alias_moves_is_started_once_and_waits_for_no_slot() {
    let mut world = World::new("wn0");
    world.office(&office(1, "hn0", Phase::Active));
    world.pass(60);
    world.take_slots();
    world.service(AGENT, false);
    world.log();
    world.office(&office(2, "hn1", Phase::BecomingActive));
    world.pass(60);
    let log = world.log();
    assert_eq!(log.iter().filter(|line| *line == "start slave-fc-agent").count(), 1, "{log:?}");
    assert!(world.shown().follows, "{}", world.shown().why);
}

#[test]
fn an_alias_that_moves_on_while_the_agent_cannot_start_costs_no_second_restart() {
    let mut world = World::new("hn1");
    world.agent_fault = Some("exited with status 1");
    world.office(&office(1, "hn0", Phase::BecomingActive));
    world.pass(60);
    world.office(&office(2, "hn1", Phase::BecomingActive));
    world.agent_fault = None;
    world.log();
    world.pass(120);
    let log = world.log();
    assert_eq!(log.iter().filter(|line| *line == "start slave-fc-agent").count(), 1, "{log:?}");
    assert_eq!(world.note.as_ref().unwrap().epoch, Epoch(2));
    assert!(world.shown().follows, "{}", world.shown().why);
}

#[test]
fn agent_and_guard_are_started_again_when_they_end() {
    let mut world = World::new("wn0");
    for service in [AGENT, GUARD] {
        world.service(service, false);
        world.pass(2);
        assert_eq!(world.running.get(service), Some(&true), "{service}");
        let log = world.log();
        assert_eq!(log.len(), 3, "{log:?}");
        assert!(log[0].ends_with("is down: killed; it is started again"));
        assert_eq!(log[1], format!("start {service}"));
        assert!(log[2].ends_with("runs again"));
    }
}

#[test]
fn without_a_table_nobody_is_followed_and_the_guard_still_runs() {
    let mut world = World::new("wn0");
    world.config.follow = None;
    world.records.clear();
    world.office(&office(1, "hn0", Phase::Active));
    world.log();
    world.hosts = vec![];
    world.records.remove(&Key::Node(name("wn0")));
    world.running.insert(GUARD.into(), false);
    world.restart();
    world.pass(60);
    assert_eq!(world.log(), ["start slave-ha-service"]);
    assert!(world.hosts.is_empty() && world.records.len() == 1, "{:?}", world.records);
    assert_eq!(world.follower.status(), "follows nobody: the configuration has no `[follow]`");
}

#[test]
fn polls_find_what_no_watch_told() {
    let mut world = World::new("hn1");
    world.office(&office(1, "hn0", Phase::Active));
    let data = record::write(&office(2, "hn1", Phase::BecomingActive));
    world.records.insert(Key::Active, (data, SessionId(0)));
    world.pass(10);
    assert_eq!(world.alias().unwrap(), "10.0.0.11");
}
