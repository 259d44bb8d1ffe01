//! Thousands of accidents, each from a seed: the invariants hold after every step, and in the end one headnode is active.
//!
//! `HEADSHIP_SEEDS=2000 cargo test -p headship-tests --test simulation` runs more of them; a failing one is had again with
//! `cargo run -p headship-tests --bin sim -- --seed N --log`.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use headship_tests::sim::{Broken, first_election, play, play_without, run, soak};

/// How many seeds run where nobody says how many: some seconds' worth.
const SEEDS: u64 = 60;

/// Seeds in which a dropped rule must show.
const HUNT: u64 = 400;

fn seeds() -> u64 {
    env::var("HEADSHIP_SEEDS")
        .map_or(SEEDS, |seeds| seeds.parse().expect("HEADSHIP_SEEDS is a number"))
}

#[test]
fn nothing_that_happens_brings_two_actives_or_none() {
    let tally = soak(0..seeds(), false, |_| ());
    if let Some((seed, violation)) = tally.failed.first() {
        let log = run(*seed, false, Broken::default()).log;
        panic!(
            "{log}seed {seed}: {violation}\nsee `cargo run -p headship-tests --bin sim -- --seed {seed} --shrink`"
        );
    }
    assert_eq!(tally.seeds, seeds());
    // A simulation in which nothing happens proves nothing.
    assert!(tally.offices >= seeds() * 3 / 2, "{} offices", tally.offices);
}

#[test]
fn a_seed_gives_the_same_log_again() {
    for seed in [3, 4, 5] {
        let (one, other) = (run(seed, true, Broken::default()), run(seed, true, Broken::default()));
        assert!(one.log.lines().count() > 1000);
        assert_eq!(one.log, other.log, "seed {seed}");
        let brief = run(seed, false, Broken::default());
        let detailed = one.log.lines().filter(|line| !line.contains("  . "));
        assert!(detailed.eq(brief.log.lines()), "more detail changes what happens in seed {seed}");
    }
}

/// Races for the first office. With `HEADSHIP_MORE` it is the ten thousand that were asked for, which take minutes.
#[test]
fn a_thousand_first_elections_or_ten_thousand_have_one_winner_each() {
    let races = if env::var_os("HEADSHIP_MORE").is_some() { 10_000 } else { 1_000 };
    let (mut won, mut beaten) = (BTreeMap::<String, u64>::new(), 0);
    for seed in 0..races {
        let (winner, refused) = first_election(seed).unwrap_or_else(|why| panic!("{why}"));
        *won.entry(winner).or_default() += 1;
        beaten += refused;
    }
    // Where the same one always wins, or nobody is ever too late, there is no race.
    assert!(won.len() == 3 && won.values().all(|times| *times > races / 20), "{won:?}");
    assert!(beaten > races / 10, "{beaten} claims came too late in {races} races");
}

/// When a rule is dropped, some seed violates what `wanted` says.
fn assert_found(broken: &Broken, wanted: &str) {
    let mut violations = (0..HUNT).filter_map(|seed| run(seed, false, broken.clone()).violation);
    let found = violations.any(|violation| violation.contains(wanted));
    assert!(found, "{HUNT} seeds found no `{wanted}` with {broken:?}");
}

#[test]
fn without_the_gate_a_service_runs_on_two_headnodes() {
    assert_found(&Broken { no_gate: true, ..Broken::default() }, "invariant 3");
}

#[test]
fn without_the_guard_a_frozen_master_fc_leaves_its_services_running() {
    let broken = Broken { no_guard: true, no_end_check: true, ..Broken::default() };
    assert_found(&broken, "invariant 4: epoch");
}

/// With master-fc away for good, only the guard ends what runs past D; and with the ensemble away nobody takes over.
const NOBODY_TAKES_OVER: &str =
    "freeze hn0 master-fc for good\npower off hn1\nzk kill all\nrun 60s\n";

#[test]
fn services_that_outlive_their_deadline_are_found_though_nobody_takes_over() {
    let broken = Broken { no_guard: true, ..Broken::default() };
    let found = play_without(NOBODY_TAKES_OVER, &broken).expect_err("nobody is left to kill them");
    assert!(found.starts_with("invariant 6: "), "{found}");
    let log = play(NOBODY_TAKES_OVER).expect("the guard ends them").text;
    assert!(log.contains("ambari-server stopped"), "{log}");
    assert_found(&broken, "after the deadline of epoch");
}

#[test]
fn a_host_that_is_taken_for_silent_is_fenced_needlessly() {
    assert_found(&Broken { no_knocks: true, ..Broken::default() }, "needlessly: ");
}

#[test]
fn a_kill_that_takes_longer_than_configured_lets_the_taker_begin_too_early() {
    let kill_takes = Duration::from_millis(1500);
    let broken = Broken { no_kill_time: true, kill_takes, no_end_check: true, ..Broken::default() };
    assert_found(&broken, "invariant 4: epoch");
}

/// That these commands violate what `wanted` says with a rule dropped, and nothing with it in force.
fn assert_shown(commands: &str, broken: &Broken, wanted: &str) {
    play(commands).expect("with the rule in force nothing is violated");
    let found = play_without(commands, broken).expect_err("the rule is needed");
    assert!(found.contains(wanted), "{found}");
}

#[test]
fn a_keep_that_a_resume_ends_without_its_holder_lets_two_run() {
    let broken = Broken { resumes_at_once: true, ..Broken::default() };
    let commands = "pause keep\nrun 1s\ncut hn0\nrun 30s\nresume\nrun 60s\n";
    assert_shown(commands, &broken, "invariant 4: epoch 2 begins while");
}

/// hn0 has not heard of the claim over its office when it hears of the keep, nor has its guard.
#[test]
fn a_keep_that_is_acknowledged_past_a_claim_lets_two_run() {
    let broken = Broken { keeps_past_active: true, ..Broken::default() };
    let commands = "freeze hn0 slave-ha-service\ndeafen hn0 to active\ndeafen hn0 to lock\nfailover from hn0\nrun 0.01s\n\
        pause keep\nrun 0.01s\ncut hn0\nrun 60s\n";
    assert_shown(commands, &broken, "invariant 4: epoch 2 begins while");
}

/// The word is wrong: one daemon of hn0 is there to see, and its services are kept.
#[test]
fn a_word_about_a_keep_that_no_sign_of_life_takes_back_lets_two_run() {
    let broken = Broken { blind_to_signs: true, ..Broken::default() };
    let commands = "pause keep\nrun 1s\nfreeze hn0 master-fc for good\nfreeze hn0 slave-ha-service for good\nrun 20s\n\
        resume\nfence confirm hn0\nrun 60s\n";
    assert_shown(commands, &broken, "invariant 4: epoch 2 begins while");
}

/// hn0 has not seen that hn1 took office, and by the copy it holds it still; hn1 runs on to its D.
#[test]
fn an_ensemble_restored_before_every_lease_is_over_lets_two_run() {
    let broken = Broken { restores_at_once: true, ..Broken::default() };
    let commands =
        "zk copy\ncut hn0\nrun 30s\nzk kill all\nheal hn0\nzk restore\nzk start all\nrun 30s\n";
    assert_shown(commands, &broken, "invariant 8: hn0 and hn1 both hold");
}

/// Neither a signal nor a look shows it: nothing compares what should run with what does.
#[test]
fn a_service_that_nobody_sees_end_is_found_left_down() {
    let broken = Broken { blind_to_ends: true, ..Broken::default() };
    let commands = "service hn0 timeline dies\nrun 80s\n";
    assert_shown(commands, &broken, "invariant 7: timeline is down on hn0");
}

#[test]
fn clocks_that_drift_apart_by_more_than_the_margin_let_the_taker_begin_too_early() {
    // The kill time would hide it: services are killed at D, and seldom need it.
    let broken =
        Broken { drift_ppm: 50_000, no_kill_time: true, no_end_check: true, ..Broken::default() };
    assert_found(&broken, "invariant 4: epoch");
}

/// An hour in which the whole ensemble is away and there in turns of so many seconds, and a minute after it.
fn flapping(away: usize, there: usize) -> String {
    let turn = format!("zk kill all\nrun {away}s\nzk start all\nrun {there}s\n");
    let turns = turn.repeat(3600 / (away + there));
    play(&format!("{turns}run 60s\n")).expect("no rule is violated").text
}

#[test]
fn a_quorum_that_comes_and_goes_every_few_seconds_for_an_hour_leaves_one_active() {
    // Shorter than the lease, and no service notices.
    let log = flapping(2, 5);
    assert!(!log.contains("stopped") && !log.contains("starts"), "{log}");
    // Longer: services stop each time and come back with the quorum, on the same headnode, in the same epoch.
    let log = flapping(9, 8);
    let last = |what: &str| log.rfind(what).unwrap_or_else(|| panic!("no `{what}` in {log}"));
    assert!(last("livy started") > last("livy stopped"), "{log}");
    assert!(log.matches("livy started").count() > 200 && !log.contains("hn1     livy"), "{log}");
    assert!(!log.contains("epoch 2"), "{log}");
}
