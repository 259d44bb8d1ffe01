//! The protocol holds in small scope, and each of its rules is there for a reason.
//!
//! The first tests explore the protocol as written. Each of the others drops exactly one rule, and
//! must find what the protocol's table of section 9 says. Rules for which no model found a
//! need are in the binary `model` only, since a test cannot show one.

#![expect(clippy::print_stdout, reason = "what was explored belongs to the result")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use headship_tests::model::{
    Check, Command, Fault, Figures, Rule, Scope, Touch, explore, explore_model,
};

/// Explores a scope to its end, and fails with the run to a violation.
fn holds(name: &str, scope: Scope) {
    let verdict = explore(scope, 1, None);
    println!("{name}: {verdict}");
    let (violated, story) = verdict.violated.unwrap_or_default();
    assert!(violated.is_empty(), "{name}: not so: {violated}\n{story}");
}

/// What a scope was found to violate, with the run to it; explored by whoever comes first.
type Explored = Arc<OnceLock<Option<(&'static str, String)>>>;

/// With every rule in force a scope holds. Many rules share a scope, which is explored once.
fn holds_with_all_rules(scope: &Scope) {
    static EXPLORED: Mutex<BTreeMap<String, Explored>> = Mutex::new(BTreeMap::new());
    let name = format!("{scope:?}");
    let mut scopes = EXPLORED.lock().expect("nobody panics while it is locked");
    let explored = scopes.entry(name.clone()).or_default().clone();
    drop(scopes);
    let violated = explored.get_or_init(|| {
        let verdict = explore(scope.clone(), 1, None);
        println!("with every rule, {name}: {verdict}");
        verdict.violated
    });
    assert_eq!(*violated, None, "with every rule in force something else is wrong");
}

/// Whether a scope takes too long for a test when nothing is found in it. Those the binary `model` explores to their end, with
/// every rule in force, as it does for all the others (`make test-more`).
fn is_left_to_the_binary(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::SixBumps
            | Rule::LeaseMargin
            | Rule::KillMargin
            | Rule::NewBootClaims
            | Rule::FenceBound
            | Rule::WaitFromLease
    )
}

/// Drops a rule where that must show, and fails if it shows nothing or something else, or shows with the rule, too.
fn shows(rule: Rule, check: Check) {
    let scope = Scope::showing(rule);
    assert_eq!(scope.checks, [check], "the scope looks for something else");
    if !is_left_to_the_binary(rule) {
        holds_with_all_rules(&scope);
    }
    let verdict = explore(scope.without(rule), 1, None);
    println!("without \"{}\": {verdict}", rule.sentence());
    let (violated, story) = verdict.violated.expect("dropping the rule shows what it is for");
    println!("{story}");
    assert_eq!(violated, check.sentence());
}

#[test]
fn one_active_at_most_and_always_somebody_with_any_fault() {
    holds("any one fault", Scope::every_fault(1));
    let other = Scope::every_fault(1).with_figures(Figures::new(5, 2));
    holds("any one fault, a long lease", other);
}

#[test]
fn one_active_at_most_and_always_somebody_with_two_faults() {
    let faults = [Fault::Cut, Fault::Freeze, Fault::GuardAway, Fault::SessionLost];
    let scope = Scope::with_faults(2, &faults).without_late_writes();
    holds("two faults", scope.checking(&[Check::Safe, Check::NotStuck]));
}

#[test]
fn a_new_cluster_comes_up_with_one_active() {
    holds("a new cluster", Scope::new_cluster(0, &[]));
    let faults = [Fault::Freeze, Fault::PowerLoss, Fault::GuardAway];
    holds("a new cluster, one fault", Scope::new_cluster(1, &faults));
}

#[test]
fn a_cession_leaves_one_active_with_a_fault() {
    let faults = [Fault::Cut, Fault::Kill, Fault::GuardAway, Fault::PowerLoss];
    let scope = Scope::with_faults(1, &faults).and_commands(1, &[Command::Cede]);
    holds("cede", scope.checking(&[Check::Safe, Check::NotStuck]));
}

#[test]
fn a_failover_by_order_leaves_one_active_with_a_fault() {
    let faults = [Fault::Cut, Fault::Freeze, Fault::GuardAway, Fault::PowerLoss];
    let scope = Scope::with_faults(1, &faults).and_commands(1, &[Command::Failover]);
    holds("failover by order", scope.checking(&[Check::Safe, Check::NotStuck]));
}

#[test]
fn a_pause_leaves_one_active_with_any_fault() {
    let commands = [Command::Pause, Command::PauseKeep];
    holds("pause", Scope::every_fault(1).and_commands(1, &commands));
}

#[test]
fn fencing_leaves_one_active_with_any_fault() {
    holds("fence", Scope::every_fault(1).with_fencing());
}

#[test]
fn a_confirmation_leaves_one_active_and_always_somebody_with_any_fault() {
    let scope = Scope::every_fault(1).and_commands(1, &[Command::Confirm]);
    holds("fence confirm", scope);
}

#[test]
fn a_confirmation_of_a_kept_host_leaves_one_active_and_always_somebody() {
    let faults = [Fault::Cut, Fault::Freeze, Fault::PowerLoss, Fault::GuardAway];
    let commands = [Command::PauseKeep, Command::ConfirmKeep];
    let scope = Scope::with_faults(1, &faults).and_commands(2, &commands);
    holds("fence confirm of a keep", scope.checking(&[Check::Safe, Check::NotStuck]));
}

#[test]
fn a_guard_away_for_longer_than_the_kill_time_is_covered_by_master_fc() {
    holds("a slow guard", Scope::slow_guard());
}

#[test]
fn a_healthy_active_keeps_the_office_through_faults_that_are_not_its_own() {
    let faults = [Fault::Kill, Fault::SessionLost, Fault::Unknown];
    let scope = Scope::with_faults(1, &faults).checking(&[Check::NoNeedlessLoss]);
    holds("no needless loss, one fault", scope);
    let scope = Scope::with_faults(2, &[Fault::Lag, Fault::SessionLost]);
    holds("no needless loss, two faults", scope.checking(&[Check::NoNeedlessLoss]));
}

#[test]
fn two_of_three_claimants_do_not_displace_each_other_in_turns() {
    holds("claimants", Scope::in_turns());
}

/// Explores the little model of leases, and returns what does not hold.
fn touch(own_lease: bool, from_sending: bool) -> Option<(&'static str, String)> {
    let touch = Touch { own_lease, from_sending, most_faults: 2 };
    let verdict = explore_model(touch, 1, None, |_, run| format!("{run:?}"));
    println!("{touch:?}: {verdict}");
    assert!(verdict.complete);
    verdict.violated
}

#[test]
fn a_lease_of_our_own_is_safe_through_a_follower() {
    assert_eq!(touch(true, true), None);
}

#[test]
fn a_lease_counted_from_the_answer_brings_two_actives_through_a_follower() {
    assert!(touch(true, false).is_some());
}

#[test]
fn a_session_timeout_used_as_lease_brings_two_actives() {
    assert!(touch(false, true).is_some());
}

/// A test for each rule: what dropping it brings.
macro_rules! dropping {
    ($($name:ident: $rule:ident, $check:ident;)*) => {
        $(
            #[test]
            fn $name() {
                shows(Rule::$rule, Check::$check);
            }
        )*
    };
}

dropping! {
    dropping_the_condition_on_active_brings_two_actives: ActiveVersion, Safe;
    dropping_the_claim_before_the_wait_brings_two_actives: ClaimBeforeWait, Safe;
    writing_the_permit_before_the_renew_brings_two_actives: RenewBeforePermit, Safe;
    dropping_the_lease_part_of_the_wait_brings_two_actives: WaitLease, Safe;
    dropping_the_kill_part_of_the_wait_brings_two_actives: WaitKill, Safe;
    counting_the_wait_since_the_lock_was_gone_brings_two_actives: WaitFromLease, Safe;
    not_waiting_anew_at_write_6_brings_two_actives: WaitAnew, Safe;
    dropping_the_margin_of_the_lease_brings_two_actives: LeaseMargin, Safe;
    dropping_the_margin_of_the_kill_time_brings_two_actives: KillMargin, Safe;
    counting_d_from_the_answer_brings_two_actives: FromSending, Safe;
    counting_a_read_for_d_brings_two_actives: OnlyRenew, Safe;
    a_new_process_that_invents_d_brings_two_actives: NoInventedD, Safe;
    dropping_the_kill_by_the_guard_brings_two_actives: GuardKills, Safe;
    dropping_the_kill_by_master_fc_brings_two_actives: ControllerKills, Safe;
    dropping_the_bound_on_the_kill_time_brings_two_actives: KillBound, Safe;
    dropping_the_gate_brings_two_actives: Gate, Safe;
    dropping_closed_from_the_gate_brings_two_actives: GateClosed, Safe;
    dropping_the_deadline_from_the_gate_brings_two_actives: GateDeadline, Safe;
    promising_before_closing_brings_two_actives: PromiseClosesFirst, Safe;
    promising_without_replacing_start_jobs_brings_two_actives: PromiseReplaces, Safe;
    promising_without_verifying_brings_two_actives: PromiseVerifies, Safe;
    believing_a_promise_of_an_older_epoch_brings_two_actives: PromiseEpoch, Safe;
    ceding_with_the_permit_in_place_brings_two_actives: CedeRemovesPermit, Safe;
    ceding_without_replacing_start_jobs_brings_two_actives: CedeReplaces, Safe;
    ceding_without_verifying_brings_two_actives: CedeVerifies, Safe;
    a_write_6_that_leaves_active_alone_brings_two_actives: SixBumps, Safe;
    a_write_6_under_anothers_claim_brings_two_actives: SixRefused, Safe;
    a_new_boot_that_resumes_brings_two_actives: NewBootClaims, Safe;
    believing_a_fence_method_unverified_brings_two_actives: FenceVerified, Safe;
    believing_a_yes_about_an_earlier_boot_brings_two_actives: FenceBound, Safe;
    believing_a_word_about_an_earlier_claim_brings_two_actives: ConfirmBound, Safe;
    believing_a_word_against_a_sign_of_life_brings_two_actives: ConfirmSigns, Safe;
    claiming_in_spite_of_a_pause_brings_two_actives: ClaimChecksSettings, Safe;
    moving_d_before_the_keep_is_acknowledged_brings_two_actives: KeepAcknowledged, Safe;
    acknowledging_a_keep_without_the_office_brings_two_actives: KeepChecksActive, Safe;
    acknowledging_a_keep_that_has_ended_brings_two_actives: KeepChecksSettings, Safe;
    acknowledging_a_resume_before_renewing_brings_two_actives: ResumeRenewsFirst, Safe;
    resuming_without_the_active_brings_two_actives: ResumeWaits, Safe;
    believing_a_word_about_a_keep_against_a_sign_of_life_brings_two_actives: KeepWordSigns, Safe;
    claiming_a_gone_lock_at_once_takes_the_office_needlessly: ClaimWaits, NoNeedlessLoss;
    claiming_on_an_old_lease_takes_the_office_needlessly: ClaimChecksLease, NoNeedlessLoss;
    claiming_over_a_lock_at_once_takes_the_office_needlessly: OverLockWaits, NoNeedlessLoss;
    not_counting_since_active_changed_lets_claimants_take_turns: OverLockCountsActive, NotInTurns;
    waiting_no_longer_over_a_claimant_lets_claimants_take_turns: OverClaimantLonger, NotInTurns;
    dropping_write_6_leaves_an_active_stuck: SucceedMyself, NotStuck;
    a_keep_that_outlives_its_office_leaves_all_stuck: KeepEndsWithOffice, NotStuck;
    promising_ones_own_running_epoch_leaves_all_stuck: NoOwnPromise, NotStuck;
}
