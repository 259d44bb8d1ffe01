//! What must hold together before a fence method is asked.

use super::*;
use crate::node::NodeName;

const DEAD_AFTER: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// hn0 was last seen to move at one second, by a headnode that is connected since.
fn suspicion(used: Use) -> Suspicion {
    let id = |what: &str| format!("{what} of hn0");
    let over = Identity {
        node: NodeName::try_from("hn0").unwrap(),
        machine: id("machine"),
        boot: id("boot"),
        process: id("process"),
    };
    Suspicion::new(over, Epoch(7), used, at(1000), at(0))
}

/// The same, found silent, and challenged with an answer of the quorum within five milliseconds.
fn challenged(used: Use) -> Suspicion {
    let mut suspicion = suspicion(used);
    suspicion.knocks.silent = Some(at(1900));
    suspicion.acknowledged(at(1630), at(1625));
    suspicion
}

#[test]
fn all_of_it_holds_at_the_end() {
    let ready = |suspicion: &Suspicion| suspicion.ready(at(0), DEAD_AFTER);
    assert_eq!(ready(&challenged(Use::Early)), Some(at(2130)), "half a second for an answer");
    let silent_late = |used| {
        let mut suspicion = challenged(used);
        suspicion.knocks.silent = Some(at(2500));
        suspicion
    };
    assert_eq!(ready(&silent_late(Use::Early)), Some(at(2500)));
    let mut answers = challenged(Use::Early);
    answers.knocks.silent = None;
    assert_eq!(ready(&answers), None);
    assert_eq!(ready(&suspicion(Use::Early)), None, "it was not challenged");
    let mut moved = challenged(Use::Early);
    moved.moved = at(1500);
    assert_eq!(ready(&moved), Some(at(2500)));
}

#[test]
fn a_challenge_that_was_answered_before_its_acknowledgement_counts_for_nothing() {
    let mut suspicion = challenged(Use::Early);
    // The holder's renewal is read while the second challenge is under way.
    suspicion.moved = at(1880);
    suspicion.gap();
    suspicion.acknowledged(at(1885), at(1875));
    suspicion.knocks.silent = Some(at(2400));
    assert_eq!(suspicion.ready(at(0), DEAD_AFTER), None);
    suspicion.acknowledged(at(2510), at(2505));
    assert_eq!(suspicion.ready(at(0), DEAD_AFTER), Some(at(3010)));
}

#[test]
fn whose_office_is_claimed_need_not_answer_and_counts_from_the_claim() {
    let mut suspicion = challenged(Use::Claimed);
    suspicion.challenged = None;
    assert_eq!(suspicion.ready(at(0), DEAD_AFTER), Some(at(2000)));
    assert_eq!(suspicion.ready(at(1600), DEAD_AFTER), Some(at(2600)));
}

#[test]
fn a_write_of_our_own_that_takes_too_long_begins_the_count_anew() {
    let mut suspicion = challenged(Use::Early);
    suspicion.acknowledged(at(2127), at(1876));
    assert_eq!(suspicion.ready(at(0), DEAD_AFTER), None, "what was found before says nothing");
    suspicion.knocks.silent = Some(at(2600));
    assert_eq!(suspicion.ready(at(0), DEAD_AFTER), Some(at(3127)));
}

#[test]
fn a_pause_between_our_own_writes_begins_the_count_anew() {
    let mut suspicion = challenged(Use::Early);
    suspicion.acknowledged(at(2381), at(2380));
    suspicion.knocks.silent = Some(at(2400));
    assert_eq!(suspicion.ready(at(0), DEAD_AFTER), Some(at(3381)));
    suspicion.acknowledged(at(2881), at(2880));
    assert_eq!(suspicion.ready(at(0), DEAD_AFTER), Some(at(3381)));
}

#[test]
fn a_knock_that_was_under_way_when_our_own_writes_had_a_gap_says_nothing() {
    let asked = Some(ActionId(3));
    for (used, acquainted, left) in
        [(Use::Early, true, None), (Use::Claimed, false, None), (Use::Early, false, asked)]
    {
        let mut suspicion = challenged(used);
        (suspicion.knocks.asked, suspicion.knocks.acquainted) = (asked, acquainted);
        suspicion.gap();
        assert_eq!((suspicion.knocks.asked, suspicion.knocks.silent), (left, None), "{used:?}");
    }
}
