//! What each wish meets.

use headship_core::epoch::Epoch;
use headship_core::known::Content;
use headship_core::record::{Corrupt, Keep, Phase};
use headship_core::time::WallTime;

use super::plan::resumed;
use super::*;
use crate::tests::{config, kept, node, records};

const NOW: WallTime = WallTime(5000);
const BY: &str = "root@hn0: work on the racks";

fn planned(records: &Records, wish: &Wish) -> Plan {
    plan(&config(), records, &records.settings, wish, (BY, NOW))
}

fn settings(records: &mut Records) -> &mut Settings {
    match &mut records.settings {
        Content::Record(settings) => settings,
        Content::Unread | Content::Missing | Content::Corrupt(_) => panic!("it is there"),
    }
}

fn refused(plan: Plan) -> String {
    match plan {
        Plan::Refuse(Exit::Refused, why) => why,
        Plan::Write(..) | Plan::Nothing(_) | Plan::Refuse(..) => panic!("{plan:?}"),
    }
}

fn hn(name: &str) -> Subject {
    Subject::Node(node(name))
}

#[test]
fn a_pause_is_written_once_and_the_second_is_refused_by_the_name_of_the_first() {
    let mut records = records();
    let Plan::Write(new, done) = planned(&records, &Wish::Pause) else { panic!() };
    assert_eq!(new.paused.as_deref(), Some(BY));
    assert_eq!(done, "automatic failover is paused: root@hn0: work on the racks");
    settings(&mut records).paused = Some("eve@hn1: mine".to_owned());
    let why = refused(planned(&records, &Wish::Pause));
    assert_eq!(
        why,
        "automatic failover is paused already: eve@hn1: mine (`headship resume` ends that)"
    );
    let Plan::Write(new, done) = planned(&records, &Wish::Resume) else { panic!() };
    assert_eq!(new.paused, None);
    assert_eq!(done, "automatic failover is on again; it was paused: eve@hn1: mine");
}

#[test]
fn a_pause_in_the_middle_of_a_cession_is_refused() {
    let mut records = records();
    let keep = Wish::PauseAndKeep("keep-1".to_owned());
    for (phase, what) in [
        (Phase::BecomingStandby, "hn0 is stopping the services in order to cede epoch 7"),
        (
            Phase::Ceded { to: Some(node("hn1")), until_ms: 6000 },
            "hn0 ceded epoch 7, and nobody claimed it yet",
        ),
    ] {
        if let Content::Record(active) = &mut records.active {
            active.phase = phase;
        }
        let why = refused(planned(&records, &Wish::Pause));
        let rest = "with a pause now nobody would become active; wait for its end (see `headship status --watch`)";
        assert_eq!(why, format!("{what}: {rest}"));
        assert!(refused(planned(&records, &keep)).starts_with(what));
    }
    // Nobody is there to claim: it would be waited for in vain.
    settings(&mut records).maintenance.nodes.insert(node("hn1"), BY.to_owned());
    assert!(matches!(planned(&records, &Wish::Pause), Plan::Write(..)));
    // It is claimed: that goes on whatever is paused.
    settings(&mut records).maintenance.nodes.clear();
    if let Content::Record(active) = &mut records.active {
        active.claimant = Some(crate::tests::identity("hn1"));
    }
    assert!(matches!(planned(&records, &Wish::Pause), Plan::Write(..)));
}

#[test]
fn each_pause_is_bound_to_the_office_and_the_orders_that_were_judged() {
    let records = records();
    let new = view::record(&records.settings).unwrap();
    let (version, active, order) = (Some(Version(3)), Some(Version(9)), Some(Version(2)));
    let orders = vec![(Key::Switchover, order), (Key::Failover, None)];
    for wish in [Wish::Pause, Wish::PauseAndKeep("keep-1".to_owned())] {
        let steps = steps(&wish, new, version, (active, orders.clone()));
        assert_eq!(steps[0], Op::Check { key: Key::Switchover, version: order }, "{wish:?}");
        assert_eq!(steps[1], Op::Check { key: Key::Active, version: active }, "{wish:?}");
        assert_eq!(steps.len(), 3, "an order that is not there has no version");
    }
    assert_eq!(steps(&Wish::Resume, new, version, (active, Vec::new())).len(), 1);
}

/// hn1 has not read it yet, and still says that it stands by.
#[test]
fn a_headnode_whose_maintenance_was_just_written_is_not_called_ready() {
    let mut records = records();
    let place = Place {
        run: "/nowhere".into(),
        timeout: Duration::from_secs(1),
        config: "/nowhere".into(),
    };
    let said = |records: &Records| holds(&config(), &place, records, &Wish::Begin(hn("hn1")));
    assert!(said(&records).contains("hn1 is ready to take over"), "{}", said(&records));
    settings(&mut records).maintenance.nodes.insert(node("hn1"), BY.to_owned());
    let wanted = format!("but hn1 cannot take over (it is in maintenance ({BY}))");
    assert!(said(&records).contains(&wanted), "{}", said(&records));
}

#[test]
fn what_is_not_so_need_not_be_ended() {
    assert!(matches!(planned(&records(), &Wish::Resume), Plan::Nothing(_)));
    assert!(matches!(planned(&records(), &Wish::End(hn("hn1"))), Plan::Nothing(_)));
}

#[test]
fn settings_that_nobody_can_read_are_left_as_they_are() {
    let mut records = records();
    let corrupt = Corrupt::Newer { path: "settings".to_owned(), format: 2 };
    records.settings = Content::Corrupt(corrupt);
    assert!(matches!(planned(&records, &Wish::Pause), Plan::Refuse(Exit::Failed, _)));
    records.settings = Content::Missing;
    assert!(refused(planned(&records, &Wish::Pause)).contains("has not begun"));
}

#[test]
fn a_headnode_in_office_or_claiming_it_and_the_last_one_are_refused() {
    let mut records = records();
    let why = refused(planned(&records, &Wish::Begin(hn("hn0"))));
    assert!(why.starts_with("hn0 holds office in epoch 7: `headship switchover` first"), "{why}");
    let Plan::Write(new, _) = planned(&records, &Wish::Begin(hn("hn1"))) else { panic!() };
    assert_eq!(new.maintenance.nodes.get(&node("hn1")).map(String::as_str), Some(BY));

    // Nobody is active: either may be taken, but not both.
    if let Content::Record(active) = &mut records.active {
        active.phase = Phase::Ceded { to: None, until_ms: 0 };
    }
    assert!(matches!(planned(&records, &Wish::Begin(hn("hn0"))), Plan::Write(..)));
    settings(&mut records).maintenance = new.maintenance;
    let why = refused(planned(&records, &Wish::Begin(hn("hn0"))));
    assert_eq!(why, "nobody could take office any more: end the maintenance of hn1 first");
    let why = refused(planned(&records, &Wish::Begin(hn("hn1"))));
    assert_eq!(why, format!("hn1 is in maintenance already: {BY}"));

    if let Content::Record(active) = &mut records.active {
        active.claimant = Some(crate::tests::identity("hn1"));
    }
    settings(&mut records).maintenance = Maintenance::default();
    let why = refused(planned(&records, &Wish::Begin(hn("hn1"))));
    assert!(why.starts_with("hn1 claims office"), "{why}");
}

#[test]
fn a_name_is_a_headnode_or_a_service_and_nothing_else() {
    assert_eq!(subject(&config(), "hn1"), Ok(hn("hn1")));
    assert_eq!(subject(&config(), "livy"), Ok(Subject::Service("livy".to_owned())));
    assert_eq!(
        subject(&config(), "a/b").unwrap_err(),
        "a/b is neither a headnode (hn0, hn1) nor a service (ambari-server, job-history, livy) of this cluster"
    );
}

#[test]
fn the_word_of_every_daemon_in_office_is_waited_for() {
    let mut records = records();
    let begin = Wish::Begin(Subject::Service("livy".to_owned()));
    assert_eq!(waited_for(&config(), &records, &begin), Some(node("hn0")));
    if let Content::Record(services) = &mut records.headnodes[0].services {
        services.alone.insert("livy".to_owned());
    }
    assert_eq!(waited_for(&config(), &records, &begin), None);
    records.headnodes[0].duty = crate::tests::duty("hn0", "livy", crate::tests::given_up());
    assert_eq!(waited_for(&config(), &records, &begin), Some(node("hn0")));
    assert_eq!(waited_for(&config(), &records, &Wish::Pause), None);
}

#[test]
fn a_pause_says_who_is_active_and_for_how_long() {
    let place = Place {
        config: "/nowhere".into(),
        run: "/nowhere".into(),
        timeout: Duration::from_secs(1),
    };
    let said = holds(&config(), &place, &records(), &Wish::Pause);
    assert_eq!(
        said,
        "hn0 holds office in epoch 7 for as long as it renews its lease of 6.0 s; whatever happens to it, nobody takes over until `headship resume`"
    );
}

#[test]
fn a_pinned_service_is_waited_for_where_it_is_pinned_to() {
    let mut config = config();
    let mut pinned = config.services[0].clone();
    "history".clone_into(&mut pinned.name);
    pinned.pinned = Some(node("hn1"));
    config.pinned.push(pinned);
    let mut records = records();
    let history = Subject::Service("history".to_owned());
    assert_eq!(subject(&config, "history"), Ok(history.clone()));
    let (begin, end) = (Wish::Begin(history.clone()), Wish::End(history));
    assert_eq!(waited_for(&config, &records, &begin), Some(node("hn1")));
    assert_eq!(waited_for(&config, &records, &end), None);
    if let Content::Record(services) = &mut records.headnodes[1].services {
        services.alone.insert("history".to_owned());
    }
    assert_eq!(waited_for(&config, &records, &begin), None);
    assert_eq!(waited_for(&config, &records, &end), Some(node("hn1")));
    // Who is away shows nothing, and goes by it when it is back.
    records.headnodes[1].services = Content::Missing;
    assert_eq!(waited_for(&config, &records, &begin), None);
}

fn keep() -> Wish {
    Wish::PauseAndKeep("k".to_owned())
}

#[test]
fn a_keep_needs_an_active_and_waits_for_its_word() {
    let mut asked = records();
    let Plan::Write(new, _) = planned(&asked, &keep()) else { panic!() };
    let wanted = Keep::asked("k".to_owned(), Epoch(7), WallTime(35_000));
    assert_eq!(new.keep, Some(wanted));
    *settings(&mut asked) = *new;
    assert_eq!(
        missing(&config(), &asked, &keep()).unwrap(),
        "not acknowledged yet: hn0 says nothing to it (see its master-fc, and whether the clocks agree); its lease counts as ever"
    );
    assert_eq!(missing(&config(), &kept(), &keep()), None);
    let mut silent = kept();
    silent.headnodes[0].services = Content::Missing;
    let why = missing(&config(), &silent, &keep()).unwrap();
    assert!(why.contains("slave-ha-service on hn0 does not show"), "{why}");

    let mut nobody = records();
    settings(&mut nobody).maintenance.nodes.insert(node("hn1"), BY.to_owned());
    if let Content::Record(active) = &mut nobody.active {
        active.phase = Phase::Ceded { to: None, until_ms: 0 };
    }
    let why = refused(planned(&nobody, &keep()));
    assert!(
        why.starts_with("nobody would keep any services: nobody is active: hn0 ceded"),
        "{why}"
    );
    let why = refused(planned(&kept(), &keep()));
    assert!(why.starts_with("automatic failover is paused already: root@hn1"), "{why}");
}

#[test]
fn the_end_of_a_keep_waits_for_who_acknowledged_it() {
    let mut resuming = kept();
    let Plan::Write(new, done) = planned(&resuming, &Wish::Resume) else { panic!() };
    assert_eq!(done, "automatic failover is resumed; it was paused: root@hn1: work on the racks");
    *settings(&mut resuming) = *new;
    let why = missing(&config(), &resuming, &Wish::Resume).unwrap();
    assert!(why.starts_with("not acknowledged yet: resumed, but hn0 has not"), "{why}");
    assert!(matches!(planned(&resuming, &Wish::Resume), Plan::Nothing(_)));
    let why = refused(planned(&resuming, &Wish::Pause));
    assert!(why.contains("hn0 has not acknowledged it yet"), "{why}");

    // What nobody acknowledged ends at once.
    let asked = settings(&mut records()).pause("eve", Some(crate::tests::asked()));
    let Plan::Write(new, _) = resumed(&asked, BY) else { panic!() };
    assert_eq!((new.paused, new.keep), (None, None));
}

/// It is out of sight, and in office again as soon as it is back.
#[test]
fn a_headnode_that_may_keep_its_services_is_not_taken_into_maintenance() {
    let mut silent = kept();
    silent.pulse = view::Pulse::Still(Duration::from_secs(6));
    let why = refused(planned(&silent, &Wish::Begin(hn("hn0"))));
    assert!(why.starts_with("hn0 may keep its services all the same (pause --keep)"), "{why}");
    *settings(&mut silent) = settings(&mut silent).resume("eve");
    assert!(refused(planned(&silent, &Wish::Begin(hn("hn0")))).contains("`headship resume` first"));
    *settings(&mut silent) = settings(&mut silent).automatic();
    assert!(matches!(planned(&silent, &Wish::Begin(hn("hn0"))), Plan::Write(..)));
}

#[test]
fn a_keep_says_whose_services_outlast_the_quorum() {
    let place = Place {
        config: "/nowhere".into(),
        run: "/nowhere".into(),
        timeout: Duration::from_secs(1),
    };
    assert_eq!(
        holds(&config(), &place, &kept(), &keep()),
        "hn0 keeps its services, whatever the quorum does, until `headship resume`"
    );
}
