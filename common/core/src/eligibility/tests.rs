//! What health-monitor makes of readings, and of what is in maintenance.

use std::time::Duration;

use super::*;
use crate::epoch::Incarnation;
use crate::node::NodeName;
use crate::quorum::{Found, Outcome, Request, SessionId, Version};
use crate::record::Maintenance;

fn monitor() -> HealthMonitor {
    let limits = HealthLimits {
        interval: Duration::from_secs(1),
        silent_after: Duration::from_secs(5),
        rise: 2,
        fall: 3,
        disk_free_mib: 100,
        memory_available_mib: 100,
    };
    let me = Identity {
        node: NodeName::try_from("hn0").unwrap(),
        machine: "m".to_owned(),
        boot: "b".to_owned(),
        process: "p".to_owned(),
    };
    HealthMonitor::new(limits, me)
}

fn measured(free_mib: u64) -> Measured {
    Measured {
        disks: [("/".to_owned(), Disk { free_mib, read_only: false })].into(),
        memory_available_mib: Some(1000),
        missing_units: Some(BTreeMap::new()),
        alone: BTreeSet::new(),
    }
}

fn feed(monitor: &mut HealthMonitor, second: u64, free_mib: u64) -> Verdict {
    let now = Time::from_millis(second * 1000);
    monitor.handle_timeout(now);
    monitor.handle(now, Event::Measured(measured(free_mib)));
    monitor.status().0
}

#[test]
fn whoever_wants_a_look_need_not_wait_for_the_next_one() {
    let mut monitor = monitor();
    feed(&mut monitor, 1, 1000);
    let mut looks = |event: Option<Event>| {
        let now = Time::from_millis(1100);
        match event {
            Some(event) => monitor.handle(now, event),
            None => monitor.handle_timeout(now),
        }
        std::iter::from_fn(|| monitor.poll_action()).filter(|it| *it == Action::Measure).count()
    };
    assert_eq!(looks(None), 1, "the first one");
    assert_eq!(looks(None), 0);
    assert_eq!(looks(Some(Event::LookAnew)), 1);
}

#[test]
fn a_check_turns_bad_after_fall_readings_and_good_after_rise() {
    let mut monitor = monitor();
    assert_eq!(monitor.status().0, Verdict::Reluctant, "nothing measured is no data");
    assert_eq!(feed(&mut monitor, 1, 500), Verdict::Eligible);
    assert_eq!(feed(&mut monitor, 2, 50), Verdict::Eligible);
    assert_eq!(feed(&mut monitor, 3, 50), Verdict::Eligible);
    assert_eq!(feed(&mut monitor, 4, 50), Verdict::Reluctant);
    assert_eq!(feed(&mut monitor, 5, 500), Verdict::Reluctant);
    assert_eq!(feed(&mut monitor, 6, 500), Verdict::Eligible);
}

#[test]
fn a_file_system_that_is_mounted_no_more_says_nothing() {
    let mut monitor = monitor();
    let mut read_only = measured(500);
    read_only.disks.insert("/var".to_owned(), Disk { free_mib: 500, read_only: true });
    monitor.handle(Time::from_millis(1000), Event::Measured(read_only));
    assert_eq!(monitor.status().0, Verdict::Ineligible);
    assert_eq!(feed(&mut monitor, 2, 500), Verdict::Eligible);
}

#[test]
fn the_memory_under_run_may_be_smaller_than_a_disk_but_not_full() {
    let mut monitor = monitor();
    let run = |free_mib| {
        let mut measured = measured(500);
        measured.disks.insert("/run".to_owned(), Disk { free_mib, read_only: false });
        Event::Measured(measured)
    };
    monitor.handle(Time::from_millis(1000), run(RUN_FREE_MIB));
    assert_eq!(monitor.status().0, Verdict::Eligible);
    for second in 2..5 {
        monitor.handle(Time::from_millis(second * 1000), run(0));
    }
    let full = vec!["/run has 0 MiB free, 8 are wanted".to_owned()];
    assert_eq!(monitor.status(), (Verdict::Ineligible, full));
}

#[test]
fn units_that_cannot_be_started_forbid_each_with_its_sentence() {
    let mut monitor = monitor();
    let unusable = [("a", "no such unit: a.service"), ("b", "b.service is masked")];
    let missing = unusable.map(|(name, why)| (name.to_owned(), why.to_owned())).into();
    let measured = Measured { missing_units: Some(missing), ..measured(500) };
    monitor.handle(Time::from_millis(1000), Event::Measured(measured.clone()));
    let told = vec!["no such unit: a.service; b.service is masked".to_owned()];
    assert_eq!(monitor.status(), (Verdict::Ineligible, told));
    // What is in maintenance may well be masked for it.
    let alone = BTreeSet::from(["a", "b"].map(str::to_owned));
    for second in 2..4 {
        let measured = Measured { alone: alone.clone(), ..measured.clone() };
        monitor.handle(Time::from_millis(second * 1000), Event::Measured(measured));
    }
    assert_eq!(monitor.status(), (Verdict::Eligible, vec![]));
}

#[test]
fn a_heartbeat_is_one_write_unless_the_verdict_changes() {
    let mut monitor = monitor();
    let session = SessionId(1);
    let timeout = Duration::from_secs(4);
    let connected = QuorumEvent::Connected { session, timeout };
    monitor.handle(Time::default(), Event::Quorum(connected));
    let mut writes = |second: u64, free_mib| {
        feed(&mut monitor, second, free_mib);
        let mut count = 0;
        while let Some(action) = monitor.poll_action() {
            if let Action::Ask(ask) = action
                && matches!(ask.request, Request::Write(_))
            {
                let outcome = Outcome::Done { versions: vec![] };
                let wrote = QuorumEvent::Wrote { id: ask.id, outcome };
                monitor.handle(Time::from_millis(second * 1000), Event::Quorum(wrote));
                count += 1;
            }
        }
        count
    };
    assert_eq!(writes(1, 500), 2, "created, and the first verdict");
    assert_eq!(writes(2, 499), 1);
    assert_eq!(writes(3, 498), 1);
    assert_eq!(writes(4, 50), 1);
    assert_eq!(writes(5, 50), 1);
    assert_eq!(writes(6, 50), 2, "the third bad reading decides");
    assert_eq!(writes(7, 40), 1, "as bad as before, in other figures");
}

#[test]
fn a_full_disk_forbids_and_a_measurement_that_hangs_only_discourages() {
    let mut monitor = monitor();
    assert_eq!(feed(&mut monitor, 1, 0), Verdict::Ineligible);
    assert_eq!(feed(&mut monitor, 2, 500), Verdict::Ineligible);
    assert_eq!(feed(&mut monitor, 3, 500), Verdict::Eligible);
    for second in 4..8 {
        monitor.handle_timeout(Time::from_millis(second * 1000));
    }
    assert_eq!(monitor.status().0, Verdict::Reluctant);
}

/// Answers each read that is asked for by `settings`.
fn answer_reads(monitor: &mut HealthMonitor, now: Time, settings: &Settings) -> usize {
    let asked: Vec<Ask> = std::iter::from_fn(|| monitor.poll_action())
        .filter_map(|action| match action {
            Action::Ask(ask) if ask.request == Request::Read(Key::Settings) => Some(ask),
            Action::Ask(_) | Action::Measure | Action::Say(_) => None,
        })
        .collect();
    for ask in &asked {
        let (data, version) = (record::write(settings), Version(0));
        let found = Found::Data { data, version, changed: 1, owner: None };
        let read = QuorumEvent::Read { id: ask.id, key: Key::Settings, found };
        monitor.handle(now, Event::Quorum(read));
    }
    asked.len()
}

#[test]
fn a_standby_may_be_masked_for_maintenance_too_until_that_ends() {
    let mut monitor = monitor();
    let timeout = Duration::from_secs(4);
    let connected = QuorumEvent::Connected { session: SessionId(1), timeout };
    monitor.handle(Time::default(), Event::Quorum(connected));
    let services = |services: &[&str]| {
        let services = services.iter().map(|name| ((*name).to_owned(), "by me".to_owned()));
        let maintenance = Maintenance { services: services.collect(), ..Maintenance::default() };
        Settings {
            format: FORMAT,
            incarnation: Incarnation("i".to_owned()),
            paused: None,
            keep: None,
            maintenance,
            rest: Rest::new(),
        }
    };
    let mut second = |settings: Settings, second: u64| {
        let now = Time::from_millis(second * 1000);
        monitor.handle_timeout(now);
        assert_eq!(answer_reads(&mut monitor, now, &settings), 1, "once an interval");
        let masked = [("a".to_owned(), "a.service is masked".to_owned())].into();
        let measured = Measured { missing_units: Some(masked), ..measured(500) };
        monitor.handle(now, Event::Measured(measured));
        monitor.status().0
    };
    for at in 1..6 {
        assert_eq!(second(services(&["a"]), at), Verdict::Eligible);
    }
    assert_eq!(second(services(&["b"]), 6), Verdict::Eligible);
    assert_eq!(second(services(&["b"]), 7), Verdict::Eligible);
    assert_eq!(second(services(&["b"]), 8), Verdict::Ineligible, "the third in a row");
}
