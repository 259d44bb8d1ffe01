//! Where the model states a rule of its own, it must be the rule that the core goes by: every case of the model's scope is
//! put to both. The rest of the core runs in the simulator.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, too")]

use std::time::Duration;

use headship_core::epoch::{Epoch, Incarnation};
use headship_core::fencing::Victim;
use headship_core::lease::{self, Closed, Permit};
use headship_core::node::{Identity, NodeName};
use headship_core::office::{self, Confirmed, Fenced, MayBeKept};
use headship_core::record::{FORMAT, Keep, Kept, Maintenance, Phase, Promise, Rest, Settings};
use headship_core::time::{Time, WallTime};
use headship_tests::model::{
    Behind, Claims, Evidence, Figures, KEPT, Rules, claims_are_allowed, gate_admits, way_is_free,
};

/// The epoch of `active`, which the model counts others back from.
const NOW: u64 = 10;

/// A tick of the model: longer than the gate's margin.
const TICK: Duration = Duration::from_millis(100);

#[test]
fn the_gate_of_the_model_is_the_gate_of_the_core() {
    let mut cases = 0;
    for closed in 0..=2 {
        assert_eq!(gate_admits(Rules::all(), None, closed), admits(None, closed));
        for epoch in 0..=2 {
            for left in (0..=4).chain([KEPT]) {
                let permit = Some((epoch, left));
                assert_eq!(
                    gate_admits(Rules::all(), permit, closed),
                    admits(permit, closed),
                    "permit {permit:?}, closed {closed}"
                );
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 54);
}

#[test]
fn a_way_that_the_model_finds_free_is_free_for_the_core_and_no_other() {
    let figures = Figures::new(3, 2);
    let wait = figures.wait(Rules::all());
    let (mut free, mut cases_seen) = (0, 0);
    for known in cases(wait + 1) {
        for others_promised in [false, true] {
            let known = Evidence { all_promised: known.promise == 0 && others_promised, ..known };
            for kept in keeps() {
                let known = Evidence { kept: kept == MayBeKept::Yes, ..known };
                let model = way_is_free(Rules::all(), figures, known);
                let core = is_free(figures, known, others_promised, kept.clone());
                assert_eq!(model, core, "{known:?}, {kept:?}");
                cases_seen += 1;
                free += u32::from(core);
            }
        }
    }
    assert!(free > 0 && free < cases_seen, "{free} of {cases_seen} cases are free");
}

/// All that may be known, but for what others promised and what is kept.
fn cases(longest: u8) -> Vec<Evidence> {
    let mut cases = Vec::new();
    for (ceded, fenced) in [(false, false), (true, false), (false, true)] {
        for unknown in [false, true] {
            for promise in 0..=2 {
                for waited in 0..=longest {
                    cases.extend((0..=waited).map(|since_claim| Evidence {
                        // Nobody can cede an office of which there is no record.
                        ceded: ceded && !unknown,
                        unknown,
                        promise,
                        all_promised: false,
                        // Who is off is not known where nobody knows who was in office.
                        fenced: fenced && !unknown,
                        waited,
                        since_claim,
                        kept: false,
                    }));
                }
            }
        }
    }
    cases
}

/// Whether services may be kept, with somebody's word that their host is off, too.
fn keeps() -> [MayBeKept; 3] {
    let word = Confirmed { node: name("hn0"), by: "somebody".to_owned() };
    [MayBeKept::No, MayBeKept::Off(word), MayBeKept::Yes]
}

#[test]
fn who_may_claim_beside_a_pause_and_a_keep_is_the_same_in_the_model_and_in_the_core() {
    let cases = [
        (settings(), Claims::Allowed),
        (settings().pause("eve", None), Claims::Paused),
        (settings().pause("eve", Some(asked())), Claims::Paused),
        (kept(), Claims::Paused),
        (kept().resume("eve"), Claims::Resuming),
        (kept().resume("eve").automatic(), Claims::Allowed),
        // As a program resumes that knows no keep.
        (Settings { paused: None, ..kept() }, Claims::Resuming),
    ];
    for (settings, claims) in cases {
        for ceded in [false, true] {
            for promise in 0..=2 {
                let mut active = office::unknown(incarnation(), Epoch(NOW), 300, 200);
                active.holder = Some(identity("hn0"));
                if ceded {
                    active.phase = Phase::Ceded { to: None, until_ms: 0 };
                }
                let promises = [
                    (name("hn0"), self::promise("hn0", behind(promise))),
                    (name("hn1"), self::promise("hn1", behind(0))),
                ];
                for off in [false, true] {
                    let promises = promises.iter().map(|(node, promise)| (node, promise));
                    assert_eq!(
                        claims_are_allowed(claims, ceded, promise, off),
                        office::claims_allowed(&settings, Some(&active), promises, off).is_ok(),
                        "{claims:?}, ceded {ceded}, promise {promise}, off {off}, {settings:?}"
                    );
                }
            }
        }
    }
}

fn settings() -> Settings {
    Settings {
        format: FORMAT,
        incarnation: incarnation(),
        paused: None,
        keep: None,
        maintenance: Maintenance::default(),
        rest: Rest::new(),
    }
}

fn asked() -> Keep {
    Keep::asked("keep".to_owned(), Epoch(NOW), WallTime(0))
}

/// hn0 has acknowledged that it keeps its services.
fn kept() -> Settings {
    let mut settings = settings().pause("eve", Some(asked()));
    let by = Kept { by: identity("hn0"), epoch: Epoch(NOW) };
    settings.keep.as_mut().unwrap().acknowledged = Some(by);
    settings
}

fn admits(permit: Option<(Behind, u8)>, closed: Behind) -> bool {
    let now = Time::from_millis(50_000);
    let permit = permit.map(|(epoch, left)| Permit {
        incarnation: incarnation(),
        epoch: behind(epoch),
        boot: "boot".to_owned(),
        // The D of a renewal that was long ago.
        deadline: if left == KEPT { now.before(TICK) } else { now.after(TICK * u32::from(left)) },
        lease_ms: 300,
        kill_ms: 200,
        grace_ms: 0,
        alone: [].into(),
        kept: (left == KEPT).then(|| "keep".to_owned()),
    });
    let closed = Closed { incarnation: incarnation(), epoch: behind(closed) };
    lease::gate(permit.as_ref(), Some(&closed), "boot", now).is_ok()
}

/// hn1 claims over hn0. What the model counts in ticks lies as many ticks from the end of the core's wait.
fn is_free(figures: Figures, known: Evidence, others_promised: bool, kept: MayBeKept) -> bool {
    let (lease_ms, kill_ms) = (300, 200);
    let mut active = office::unknown(incarnation(), Epoch(NOW), lease_ms, kill_ms);
    active.claimant = Some(identity("hn1"));
    if !known.unknown {
        active.holder = Some(identity("hn0"));
    }
    if known.ceded {
        active.phase = Phase::Ceded { to: None, until_ms: 0 };
    }
    let changed = 5;
    let promises = [
        (name("hn0"), changed + 1, promise("hn0", behind(known.promise))),
        (name("hn1"), changed + 1, promise("hn1", behind(u8::from(!others_promised)))),
    ];
    let hn0_is_off = [Confirmed { node: name("hn0"), by: "somebody".to_owned() }];
    let wait = figures.wait(Rules::all());
    let counted = if known.unknown { known.since_claim } else { known.waited };
    let end = Time::from_millis(50_000);
    let now = end.before(TICK * u32::from(wait)).after(TICK * u32::from(counted));
    let Identity { node, machine, boot, .. } = identity("hn0");
    let victim = Victim { node, machine, boot, epoch: Epoch(NOW) };
    let off = Fenced { victim, by: "a method".to_owned(), how: "it is off".to_owned() };
    let free = |confirmed: &[Confirmed], fenced: Option<&Fenced>| {
        let evidence = office::Evidence {
            active: &active,
            trusted: !known.unknown,
            changed,
            promises: &promises,
            confirmed,
            fenced,
            headnodes: &[name("hn0"), name("hn1")],
            wait_from: end.before(lease::wait(lease_ms, kill_ms)),
            lease_ms,
            kill_ms,
            kept: kept.clone(),
        };
        office::way_free(&evidence, &identity("hn1"), now).is_some()
    };
    if !known.fenced {
        return free(&[], None);
    }
    // An operator's word and a fence method's are one to the model. Where nobody knows who held office, or services may be kept
    // by another than its holder, only the former helps.
    let confirmed = free(&hn0_is_off, None);
    if !known.unknown && kept == MayBeKept::No {
        assert_eq!(free(&[], Some(&off)), confirmed, "{known:?}");
    }
    confirmed
}

fn promise(node: &str, epoch: Epoch) -> Promise {
    let Identity { machine, boot, .. } = identity(node);
    Promise { format: FORMAT, machine, boot, incarnation: incarnation(), epoch, rest: Rest::new() }
}

fn behind(epochs: Behind) -> Epoch {
    Epoch(NOW - u64::from(epochs))
}

fn incarnation() -> Incarnation {
    Incarnation("life".to_owned())
}

fn name(node: &str) -> NodeName {
    NodeName::try_from(node).unwrap()
}

fn identity(node: &str) -> Identity {
    Identity {
        node: name(node),
        machine: format!("machine of {node}"),
        boot: format!("boot of {node}"),
        process: format!("process of {node}"),
    }
}
