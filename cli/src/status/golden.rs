//! The exact page and JSON of whole situations (`golden/*.txt`). `HEADSHIP_REWRITE=1` accepts what is said now.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use headship_core::epoch::Epoch;
use headship_core::hadoop::Instance;
use headship_core::known::Content;
use headship_core::record::{
    self, Active, HeadnodeState, Health, KeepConfirmed, Key, Phase, Role, ServiceDuty, Settings,
    Verdict,
};
use headship_core::time::WallTime;

use super::{json, text};
use crate::apache::{Component, Kind};
use crate::followers::Follower;
use crate::followers::tests::follower;
use crate::tests::{BEGIN, config, duty, given_up, identity, kept, node, overtaken, records};
use crate::view::{Daemon, Headnode, Left, Local, Permit, Pulse, Quorum, Records, Server, View};
use crate::{past, standing};

/// Whether the JSON is compared, too.
#[derive(PartialEq)]
enum Json {
    Yes,
    No,
}

/// Compares page, exit code and JSON with the file; a person reviews its diff.
fn golden(name: &str, quorum: Quorum, json: Json) {
    golden_with(name, quorum, Vec::new(), json);
}

fn golden_with(name: &str, quorum: Quorum, followers: Vec<Follower>, json: Json) {
    golden_of(name, View { followers, ..view(quorum) }, json);
}

fn view(quorum: Quorum) -> View {
    let now = WallTime(BEGIN.0 + 200_000);
    View { servers: servers(&quorum), ..View::new(&config(), now, quorum) }
}

fn golden_of(name: &str, view: View, json: Json) {
    let conclusion = standing::conclude(&view);
    let page = text::page(&view, &conclusion);
    let page = anstream::adapter::strip_str(&page).to_string();
    let code = conclusion.condition.exit().code();
    let mut said = format!("{page}---- exit {code}\n");
    if json == Json::Yes {
        let document = json::document(&view, &conclusion);
        said.push_str(&serde_json::to_string_pretty(&document).unwrap());
        said.push('\n');
    }
    let file = format!("{}/src/status/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = fs::read_to_string(&file).unwrap_or_default();
    if said != expected && std::env::var_os("HEADSHIP_REWRITE").is_some() {
        fs::write(&file, &said).unwrap();
    }
    assert_eq!(said, expected, "HEADSHIP_REWRITE=1 accepts it");
}

fn servers(quorum: &Quorum) -> Vec<Server> {
    let answers = match quorum {
        Quorum::InSight(_) => [Ok("follower"), Ok("leader"), Ok("follower")],
        Quorum::Away { .. } => {
            [Ok("unknown"), Err("it does not answer"), Err("its name has no address here")]
        }
    };
    let server = |(number, answer): (usize, Result<&str, &str>)| Server {
        address: format!("zk{number}:2181"),
        answer: answer.map(str::to_owned).map_err(str::to_owned),
    };
    answers.into_iter().enumerate().map(server).collect()
}

fn in_sight(records: Records) -> Quorum {
    Quorum::InSight(Box::new(records))
}

fn with_active(change: impl FnOnce(&mut Active)) -> Records {
    let mut records = records();
    if let Content::Record(active) = &mut records.active {
        change(active);
    }
    records
}

fn with_state(records: &mut Records, index: usize, change: impl FnOnce(&mut HeadnodeState)) {
    if let Content::Record(state) = &mut records.headnodes[index].state {
        change(state);
    }
}

fn with_health(records: &mut Records, index: usize, change: impl FnOnce(&mut Health)) {
    if let Content::Record(health) = &mut records.headnodes[index].health {
        change(health);
    }
}

/// No daemon of it has a session any more.
fn lose(lost: &mut Headnode) {
    (lost.state, lost.health, lost.services) =
        (Content::Missing, Content::Missing, Content::Missing);
}

/// Changes what was observed of the services on hn0.
fn with_services(records: &mut Records, change: impl FnOnce(&mut BTreeMap<String, String>)) {
    if let Content::Record(services) = &mut records.headnodes[0].services {
        change(&mut services.services);
    }
}

#[test]
fn one_is_active_and_the_other_ready() {
    golden("healthy", in_sight(records()), Json::Yes);
}

#[test]
fn all_nodes_follow() {
    let nodes = ["hn0", "hn1", "wn0"].map(|name| follower(name, 7, true, "follows hn0"));
    golden_with("followers", in_sight(records()), nodes.into(), Json::No);
}

#[test]
fn pinned_services_are_told_where_they_belong() {
    let mut records = records();
    let zeppelin = ("zeppelin".to_owned(), "running".to_owned());
    with_services(&mut records, |services| services.extend([zeppelin]));
    records.headnodes[1].services = Content::Missing;
    let pinned = ["zeppelin", "history"].map(str::to_owned).into_iter();
    let pinned = pinned.zip([node("hn0"), node("hn1")]).collect();
    golden_of("pinned", View { pinned, ..view(in_sight(records)) }, Json::Yes);
}

#[test]
fn a_pinned_service_in_maintenance_may_be_down() {
    let mut records = records();
    let zeppelin = ("zeppelin".to_owned(), "failed".to_owned());
    with_services(&mut records, |services| services.extend([zeppelin]));
    if let Content::Record(settings) = &mut records.settings {
        let by = "eve@hn1: new disk".to_owned();
        settings.maintenance.services.insert("zeppelin".to_owned(), by);
    }
    let pinned = vec![("zeppelin".to_owned(), node("hn0"))];
    golden_of("pinned-maintenance", View { pinned, ..view(in_sight(records)) }, Json::No);
}

#[test]
fn some_nodes_do_not_follow_and_are_named() {
    let mut nodes: Vec<Follower> =
        ["hn0", "hn1", "wn0"].map(|name| follower(name, 7, true, "follows hn0")).into();
    nodes.push(follower("wn1", 7, false, "the agent does not start: exit code 1"));
    nodes.push(follower("wn2", 6, true, "follows hn1"));
    golden_with("followers-behind", in_sight(records()), nodes, Json::Yes);
}

#[test]
fn the_standby_is_missing() {
    let mut records = records();
    lose(&mut records.headnodes[1]);
    golden("standby-missing", in_sight(records), Json::No);
}

#[test]
fn the_standby_is_ineligible_and_says_why() {
    let mut records = records();
    with_state(&mut records, 1, |state| {
        (state.role, state.why) = (Role::Out, "hn1: no disk space on /var".to_owned())
    });
    with_health(&mut records, 1, |health| {
        (health.verdict, health.reasons) =
            (Verdict::Ineligible, vec!["no disk space on /var".to_owned()]);
    });
    golden("standby-ineligible", in_sight(records), Json::No);
}

#[test]
fn automatic_failover_is_paused() {
    let mut records = records();
    if let Content::Record(settings) = &mut records.settings {
        settings.paused = Some("root@hn1: work on the racks".to_owned());
    }
    golden("paused", in_sight(records), Json::No);
}

#[test]
fn a_pause_with_the_active_dead_is_told_with_the_way_out() {
    let mut records = Records { pulse: Pulse::Still(Duration::from_secs(5)), ..records() };
    if let Content::Record(settings) = &mut records.settings {
        settings.paused = Some("root@hn1: work on the racks".to_owned());
    }
    records.lock = Content::Missing;
    lose(&mut records.headnodes[0]);
    with_state(&mut records, 1, |state| {
        state.role = Role::Out;
        state.why = "automatic failover is paused: root@hn1: work on the racks".to_owned();
    });
    golden("paused-nobody", in_sight(records), Json::No);
}

#[test]
fn the_active_is_asked_to_keep_its_services_does_and_may_still_do() {
    let change = |records: &mut Records, change: fn(&Settings) -> Settings| {
        if let Content::Record(settings) = &mut records.settings {
            *settings = change(settings);
        }
    };
    golden("kept", in_sight(kept()), Json::Yes);
    let mut asked = records();
    change(&mut asked, |settings| settings.pause("root@hn1", Some(crate::tests::asked())));
    golden("kept-asked", in_sight(asked), Json::No);
    let mut resuming = kept();
    change(&mut resuming, |settings| settings.resume("root@hn1"));
    resuming.pulse = Pulse::Still(Duration::from_secs(90));
    golden("kept-resuming", in_sight(resuming.clone()), Json::No);
    change(&mut resuming, |settings| {
        let over = settings.keep.as_ref().unwrap().acknowledged.clone().unwrap();
        let by = "eve@hn1".to_owned();
        settings.confirm_off(Some(KeepConfirmed { by, at: BEGIN, over, lease: None }))
    });
    golden("kept-confirmed", in_sight(resuming), Json::No);
    let mut over = kept();
    if let Content::Record(active) = &mut over.active {
        active.phase = Phase::Ceded { to: None, until_ms: 0 };
    }
    over.pulse = Pulse::NoHolder;
    let kept_no_longer = |state: &mut HeadnodeState| {
        (state.role, state.kept) = (Role::Out, None);
        state.why = "automatic failover is paused: root@hn1: work on the racks".to_owned();
    };
    with_state(&mut over, 0, kept_no_longer);
    with_state(&mut over, 1, kept_no_longer);
    with_services(&mut over, |services| {
        services.values_mut().for_each(|it| "stopped".clone_into(it))
    });
    golden("kept-over", in_sight(over), Json::Yes);
}

#[test]
fn a_headnode_and_a_service_are_in_maintenance() {
    let mut records = records();
    if let Content::Record(settings) = &mut records.settings {
        let maintenance = &mut settings.maintenance;
        maintenance.nodes.insert(node("hn1"), "root@hn0: a new disk".to_owned());
        maintenance.services.insert("livy".to_owned(), "eve@hn1".to_owned());
    }
    with_state(&mut records, 1, |state| {
        let why = "hn1 is in maintenance (root@hn0: a new disk)".to_owned();
        (state.role, state.why) = (Role::Out, why);
    });
    with_services(&mut records, |services| {
        services.insert("livy".to_owned(), "stopped".to_owned());
    });
    golden("maintenance", in_sight(records), Json::Yes);
}

#[test]
fn a_service_is_given_up_on_the_active() {
    let mut records = records();
    records.headnodes[0].duty = duty("hn0", "livy", given_up());
    with_services(&mut records, |services| {
        services.insert("livy".to_owned(), "failed".to_owned());
    });
    golden("given-up", in_sight(records), Json::Yes);
}

#[test]
fn a_start_that_was_refused_on_the_standby_is_no_failure() {
    let mut records = records();
    if let Content::Record(services) = &mut records.headnodes[1].services {
        let why = "the start gate refused it".to_owned();
        services.reasons.insert("livy".to_owned(), why);
    }
    golden("start-refused", in_sight(records), Json::No);
}

#[test]
fn services_that_are_down_on_the_active_are_named_each_with_its_state() {
    let mut records = records();
    let waits = ServiceDuty {
        observed: "failed".to_owned(),
        restarts: 1,
        given_up: false,
        critical: false,
        alone: false,
        why: "its process was killed by signal 9".to_owned(),
    };
    records.headnodes[0].duty = duty("hn0", "livy", waits);
    with_services(&mut records, |services| {
        services.insert("ambari-server".to_owned(), "starting".to_owned());
        services.insert("livy".to_owned(), "failed".to_owned());
        services.insert("job-history".to_owned(), "unknown".to_owned());
    });
    golden("services-down", in_sight(records), Json::No);
}

#[test]
fn an_active_that_does_not_call_itself_active_says_why() {
    let mut records = records();
    with_state(&mut records, 0, |state| {
        (state.role, state.why) =
            (Role::Neutral, "no renewal of epoch 7 was acknowledged in time".to_owned());
    });
    golden("active-neutral", in_sight(records), Json::No);
}

#[test]
fn an_active_of_which_only_the_lease_is_seen_is_not_healthy() {
    let mut records = records();
    records.pulse = Pulse::Lease;
    let active = &mut records.headnodes[0];
    active.state = Content::Missing;
    active.services = Content::Missing;
    golden("active-silent", in_sight(records), Json::No);
}

/// The first seconds after a loss of power: the session outlives its owner, and all its records with it.
#[test]
fn an_active_that_does_not_renew_is_not_healthy() {
    let mut records = records();
    records.pulse =
        Pulse::Silent { unrenewed: Duration::from_millis(1500), due: Duration::from_millis(500) };
    golden("active-unrenewed", in_sight(records), Json::Yes);
}

#[test]
fn a_holder_that_does_not_renew_while_it_starts_is_said_to() {
    let mut records = with_active(|active| active.phase = Phase::BecomingActive);
    records.pulse =
        Pulse::Silent { unrenewed: Duration::from_millis(1500), due: Duration::from_millis(500) };
    golden("becoming-active-unrenewed", in_sight(records), Json::No);
}

#[test]
fn an_active_that_stops_its_services_is_becoming_standby() {
    let records = with_active(|active| active.phase = Phase::BecomingStandby);
    golden("becoming-standby", in_sight(records), Json::No);
}

#[test]
fn the_standby_claims_after_a_loss() {
    let mut records = with_active(|active| active.claimant = Some(identity("hn1")));
    records.lock = Content::Missing;
    records.pulse = Pulse::NoHolder;
    with_state(&mut records, 1, |state| {
        (state.role, state.why) = (Role::BecomingActive, "waits out the lease of hn0".to_owned());
    });
    lose(&mut records.headnodes[0]);
    golden("claimed", in_sight(records), Json::Yes);
}

/// The seconds after a fence agent's yes: the old holder's session, with all that its daemons said, outlives it.
#[test]
fn what_the_old_holder_last_said_is_not_shown_as_the_present() {
    golden("overtaken", in_sight(past::without(overtaken())), Json::Yes);
    let mut records = overtaken();
    records.headnodes[0].state = Content::Missing;
    golden("overtaken-services-only", in_sight(past::without(records)), Json::No);
}

#[test]
fn office_was_ceded_and_nobody_claims() {
    let records = with_active(|active| {
        active.phase = Phase::Ceded { to: Some(node("hn1")), until_ms: 20_000 };
    });
    golden("ceded", in_sight(Records { pulse: Pulse::NoHolder, ..records }), Json::No);
}

#[test]
fn a_holder_without_lock_and_renewals_is_not_active() {
    let still = Pulse::Still(Duration::from_secs(5));
    golden(
        "still",
        in_sight(Records { pulse: still, lock: Content::Missing, ..records() }),
        Json::No,
    );
}

#[test]
fn nobody_ever_held_office() {
    let mut records = Records {
        settings: Content::Missing,
        active: Content::Missing,
        lock: Content::Missing,
        history: Content::Missing,
        pulse: Pulse::NoHolder,
        ..records()
    };
    records.headnodes.iter_mut().for_each(lose);
    golden("fresh", in_sight(records), Json::No);
}

#[test]
fn a_corrupt_record_of_office_is_named() {
    let corrupt = record::parse::<Active>(&Key::Active, "hello").unwrap_err();
    golden(
        "corrupt",
        in_sight(Records { active: Content::Corrupt(corrupt), ..records() }),
        Json::No,
    );
}

#[test]
fn a_corrupt_record_beside_the_office_is_named_and_the_rest_told() {
    let mut records = records();
    let key = Key::Health(node("hn1"));
    let corrupt = record::parse::<Health>(&key, "{\"format\":99}").unwrap_err();
    records.headnodes[1].health = Content::Corrupt(corrupt);
    golden("corrupt-health", in_sight(records), Json::No);
}

#[test]
fn out_of_sight_of_the_quorum_this_host_tells_what_it_knows() {
    let second = Duration::from_secs(1);
    let daemon =
        |name: &str, line: &str, age| Daemon { name: name.to_owned(), line: line.to_owned(), age };
    let local = Local {
        folder: "/run/headship".to_owned(),
        permit: Ok(Some(Permit {
            epoch: Epoch(7),
            this_boot: true,
            age: second * 2,
            left: Left::Until(second * 4),
            kill: second * 2,
        })),
        closed: Ok(Some((Epoch(6), second * 300))),
        daemons: Ok(vec![
            daemon(
                "master-fc",
                "active (epoch 7): holds office; the failover quorum is out of sight",
                second,
            ),
            daemon("slave-ha-service", "a permit of epoch 7 covers this headnode", second * 40),
        ]),
    };
    let why = "no answer from the failover quorum (zk0:2181, zk1:2181, zk2:2181) within 5s: see that most of its servers run and can be reached from here".to_owned();
    golden("quorum-away", Quorum::Away { why: why.clone(), local: local.clone() }, Json::Yes);
    let mut kept = local;
    if let Ok(Some(permit)) = &mut kept.permit {
        permit.left = Left::Kept;
    }
    golden("quorum-away-kept", Quorum::Away { why, local: kept }, Json::Yes);
}

#[test]
fn a_host_that_knows_nothing_says_so() {
    let local = Local {
        folder: "/run/headship".to_owned(),
        permit: Ok(None),
        closed: Ok(None),
        daemons: Err(
            "cannot read `/run/headship`: No such file or directory (os error 2)".to_owned()
        ),
    };
    let why = "no answer from the failover quorum (zk0:2181) within 5s: see that most of its servers run and can be reached from here".to_owned();
    golden("quorum-away-worker", Quorum::Away { why, local }, Json::No);
}

#[test]
fn what_is_elected_in_the_apache_quorum_is_shown_and_is_no_warning() {
    let instance = |id: Option<&str>, host: Option<&str>| Instance {
        id: id.map(str::to_owned),
        host: host.map(str::to_owned),
        port: host.map(|_| 8020),
    };
    let bare = |kind, of: Option<&str>| Component {
        kind,
        of: of.map(str::to_owned),
        active: None,
        last: None,
        standbys: Vec::new(),
        fault: None,
    };
    let components = vec![
        Component {
            active: Some(instance(Some("nn2"), Some("hn1"))),
            ..bare(Kind::NameNode, Some("mycluster"))
        },
        Component {
            last: Some(instance(Some("rm1"), None)),
            ..bare(Kind::ResourceManager, Some("yarn1"))
        },
        Component {
            standbys: vec![instance(None, Some("zk1")), instance(None, Some("zk2"))],
            fault: Some("`/hbase/master`: it ends too early".to_owned()),
            ..bare(Kind::HBaseMaster, None)
        },
    ];
    let view = View { apache: Some(Ok(components)), ..view(in_sight(records())) };
    golden_of("apache", view, Json::Yes);
}

#[test]
fn an_apache_quorum_that_is_away_is_said_and_changes_nothing_else() {
    let why = "no answer from zk0:2181: `zk0:2181` is silent".to_owned();
    let view = View { apache: Some(Err(why)), ..view(in_sight(records())) };
    golden_of("apache-away", view, Json::No);
}
