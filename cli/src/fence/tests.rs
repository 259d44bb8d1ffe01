//! The exact page and JSON of a claim that waits, and what is refused before anybody is asked.

use headship_core::epoch::Epoch;
use headship_core::known::Content;
use headship_core::quorum::Version;
use headship_core::record::{KeepConfirmed, Kept, Role, Way, WayAnswer};
use headship_core::time::WallTime;

use super::*;
use crate::tests::{BEGIN, config, identity, node, records};
use crate::view::Pulse;

/// hn1 claims over hn0, which is silent.
pub(crate) fn claimed() -> Records {
    let mut records = records();
    if let Content::Record(active) = &mut records.active {
        active.claimant = Some(identity("hn1"));
    }
    records.of_active = Some(Version(41));
    if let Content::Record(state) = &mut records.headnodes[1].state {
        state.role = Role::BecomingActive;
        state.attempt = Some(attempt());
    }
    records
}

fn attempt() -> Attempt {
    let way =
        |way: &str, answer, why: &str| Way { way: way.to_owned(), answer, why: why.to_owned() };
    Attempt {
        claim: 41,
        epoch: Epoch(7),
        over: Some(identity("hn0")),
        since: BEGIN,
        until: WallTime(BEGIN.0 + 8260),
        awaited: vec![node("hn0")],
        ways: vec![
            way("cede", WayAnswer::No, "hn0 had not ceded epoch 7"),
            way("promise", WayAnswer::Unknown, "no promise of epoch 7 yet: hn0"),
            way("waited", WayAnswer::No, "lease and kill time of the old holder have not passed"),
        ],
    }
}

fn seen(records: &Records, sign: Option<&str>) -> Seen {
    let claim = claim(records);
    let awaited = if claim.is_ok() { vec![(node("hn0"), sign.map(str::to_owned))] } else { vec![] };
    Seen { claim, awaited, keep: None, fence: fencing(records) }
}

/// hn0 lost its power while it kept its services; somebody resumed.
fn resuming(sign: Option<&str>, resumed: bool, word: Option<&str>) -> Seen {
    let kept = Kept { by: identity("hn0"), epoch: Epoch(7) };
    let confirmed = word.map(|by| KeepConfirmed {
        by: by.to_owned(),
        at: BEGIN,
        over: kept.clone(),
        lease: Some(3),
    });
    let sign = sign.map(str::to_owned);
    Seen { keep: Some(KeepSeen { kept, resumed, confirmed, sign }), ..seen(&records(), None) }
}

fn page_of(seen: &Seen) -> String {
    let text = page::text(seen, WallTime(BEGIN.0 + 2000));
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn a_claim_is_listed_with_each_way_and_what_can_be_confirmed() {
    assert_eq!(
        page_of(&seen(&claimed(), None)),
        "hn1 claims over hn0 (epoch 7, machine machine-of-hn0, boot boot-of-hn0)\n\
         since 2026-11-22 17:20:00 UTC (2.0 s ago); without any other answer it takes office in 6.2 s\n\
         WAY      FREE     WHY\n\
         cede     no       hn0 had not ceded epoch 7\n\
         promise  unknown  no promise of epoch 7 yet: hn0\n\
         waited   no       lease and kill time of the old holder have not passed\n\
         if hn0 is powered off: `headship fence confirm hn0`\n"
    );
    let alive = page_of(&seen(&claimed(), Some("its master-fc has a session (boot b)")));
    let last = "hn0 cannot be confirmed to be off: its master-fc has a session (boot b)";
    assert_eq!(alive.lines().last(), Some(last));
}

#[test]
fn a_pause_that_keeps_everybody_from_a_claim_is_named_with_the_way_out() {
    let mut records = records();
    records.pulse = Pulse::Still(std::time::Duration::from_secs(5));
    if let Content::Record(settings) = &mut records.settings {
        settings.paused = Some("eve@hn1".to_owned());
    }
    const OUT: &str = "is paused (eve@hn1), and nobody takes office until `headship resume`";
    assert!(page_of(&seen(&records, None)).contains(OUT));
    let why = possible(&config(), &seen(&records, None), &node("hn0")).unwrap_err().sentence;
    assert!(why.starts_with("nobody claims office: ") && why.contains(OUT), "{why}");
}

#[test]
fn a_word_about_no_headnode_is_told_which_there_are() {
    for seen in [seen(&records(), None), seen(&claimed(), None), resuming(None, true, None)] {
        let refusal = possible(&config(), &seen, &node("hn9")).unwrap_err();
        let why = "hn9 is not a headnode of this cluster: say one of hn0, hn1";
        assert_eq!((refusal.exit, refusal.sentence.as_str()), (Exit::Refused, why));
    }
}

#[test]
fn a_claim_is_json_with_keys_that_stay() {
    let document = serde_json::to_value(page::document(&Ok(seen(&claimed(), None)))).unwrap();
    assert_eq!(
        document,
        serde_json::json!({
            "attempt": {
                "claimant": "hn1",
                "epoch": 7,
                "claim": 41,
                "over": { "node": "hn0", "machine": "machine-of-hn0", "boot": "boot-of-hn0" },
                "since_ms": BEGIN.0,
                "until_ms": BEGIN.0 + 8260,
                "ways": [
                    { "way": "cede", "answer": "no", "why": "hn0 had not ceded epoch 7" },
                    { "way": "promise", "answer": "unknown", "why": "no promise of epoch 7 yet: hn0" },
                    { "way": "waited", "answer": "no", "why": "lease and kill time of the old holder have not passed" },
                ],
                "awaited": [{ "node": "hn0", "alive": null }],
            },
            "keep": null,
            "fence": null,
            "conclusion": "if hn0 is powered off: `headship fence confirm hn0`",
            "exit": 0,
        })
    );
}

#[test]
fn a_holder_that_is_fenced_before_its_office_is_claimed_is_listed() {
    let mut records = records();
    let fence = FenceSeen {
        over: identity("hn0"),
        epoch: Epoch(7),
        why: "hn0 shows nothing, and is not fenced: no fence method says that hn0 is off"
            .to_owned(),
        methods: vec![Way {
            way: "ipmi".to_owned(),
            answer: WayAnswer::No,
            why: "`status` says that it is on".to_owned(),
        }],
    };
    if let Content::Record(state) = &mut records.headnodes[1].state {
        state.fence = Some(fence);
    }
    let listed = seen(&records, None);
    assert_eq!(
        page_of(&listed),
        "hn1 doubts hn0 (epoch 7, machine machine-of-hn0, boot boot-of-hn0): hn0 shows nothing, and is not fenced: no fence method says that hn0 is off\n\
         FENCE METHOD  OFF  WHY\n\
         ipmi          no   `status` says that it is on\n\
         nobody claims office: hn0 holds it in epoch 7\n"
    );
    let document = serde_json::to_value(page::document(&Ok(listed))).unwrap();
    assert_eq!(document["fence"]["by"], "hn1");
    assert_eq!(document["fence"]["methods"][0]["answer"], "no");
    // What was about an earlier office says nothing.
    if let Content::Record(active) = &mut records.active {
        active.epoch = Epoch(8);
    }
    assert_eq!(seen(&records, None).fence, None);
}

#[test]
fn that_nobody_claims_is_an_answer() {
    let none = seen(&records(), None);
    assert_eq!(page_of(&none), "nobody claims office: hn0 holds it in epoch 7\n");
    assert_eq!(page::exit(&Ok(none.clone())), Exit::Ok);
    let refused = possible(&config(), &none, &node("hn0")).unwrap_err();
    assert_eq!(
        (refused.exit, refused.sentence.as_str()),
        (Exit::Refused, "nobody claims office: hn0 holds it in epoch 7")
    );
    assert_eq!(page::exit(&Err("away".to_owned())), Exit::QuorumAway);
}

#[test]
fn a_claimant_that_shows_another_claim_or_none_is_told_apart() {
    let mut records = claimed();
    records.of_active = Some(Version(42));
    let why = claim(&records).unwrap_err().sentence;
    assert!(why.starts_with("hn1 claims office of epoch 7 and does not show"), "{why}");
    records.of_active = Some(Version(41));
    if let Content::Record(state) = &mut records.headnodes[1].state {
        state.by.process = "an earlier one".to_owned();
    }
    assert!(claim(&records).is_err());
}

#[test]
fn only_who_is_awaited_and_shows_no_sign_of_life_is_confirmed() {
    let refused = |sign: Option<&str>, name: &str| {
        possible(&config(), &seen(&claimed(), sign), &node(name)).unwrap_err().sentence
    };
    assert!(possible(&config(), &seen(&claimed(), None), &node("hn0")).is_ok());
    let sign = "its slave-fc has a session (boot b)";
    assert_eq!(refused(Some(sign), "hn0"), format!("hn0 is not off: {sign}"));
    assert_eq!(refused(None, "hn1"), "hn1 is not claimed over: hn0 is");
    assert!(refused(None, "hn7").starts_with("hn7 is not a headnode of this cluster"));
}

#[test]
fn a_keep_that_a_resume_waits_for_is_listed_with_what_can_be_confirmed() {
    let listed = |seen: &Seen| page_of(seen).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let waits = "resume waits for hn0 (epoch 7, machine machine-of-hn0, boot boot-of-hn0), which may still keep its services";
    let confirm = "if hn0 is powered off: `headship fence confirm hn0`";
    assert_eq!(listed(&resuming(None, true, None)), [waits, confirm]);
    let alive = "hn0 cannot be confirmed to be off: it renews its lease";
    assert_eq!(listed(&resuming(Some("it renews its lease"), true, None)), [waits, alive]);
    let confirmed = "hn0 counts as powered off: eve@hn1 confirmed it at 2026-11-22 17:20:00 UTC";
    assert_eq!(listed(&resuming(None, true, Some("eve@hn1"))), [waits, confirmed]);
    assert!(listed(&resuming(None, false, None)).is_empty());
    let document = serde_json::to_value(page::document(&Ok(resuming(None, true, None)))).unwrap();
    assert_eq!(
        document["keep"],
        serde_json::json!({
            "epoch": 7,
            "over": { "node": "hn0", "machine": "machine-of-hn0", "boot": "boot-of-hn0" },
            "alive": null,
            "confirmed": null,
        })
    );
}

#[test]
fn who_kept_its_services_is_confirmed_once_it_is_silent_and_resumed() {
    let agreed = |seen: &Seen, name: &str| possible(&config(), seen, &node(name));
    let refused = |seen: &Seen| agreed(seen, "hn0").unwrap_err().sentence;
    let silent = resuming(None, true, None);
    let Ok(Agreed::Keep(keep)) = agreed(&silent, "hn0") else { panic!("{silent:?}") };
    assert!(keep.question().starts_with(
        "You state: hn0 (machine machine-of-hn0, boot boot-of-hn0), which may still keep its services (pause --keep, epoch 7), \
         is powered off, not only out of reach.\n"
    ), "{}", keep.question());
    let sign = "its slave-fc has a session (boot b)";
    assert_eq!(refused(&resuming(Some(sign), true, None)), format!("hn0 is not off: {sign}"));
    assert_eq!(refused(&resuming(Some(sign), false, None)), format!("hn0 is not off: {sign}"));
    let first = refused(&resuming(None, false, None));
    assert!(first.ends_with("`headship resume` first"), "{first}");
    let twice = refused(&resuming(None, true, Some("eve@hn1")));
    assert!(twice.starts_with("eve@hn1 confirmed at 2026-11-22 17:20:00 UTC"), "{twice}");
    assert!(agreed(&silent, "hn1").unwrap_err().sentence.starts_with("nobody claims office"));
}

#[test]
fn whoever_is_asked_is_told_exactly_what_is_claimed() {
    let claim = claim(&claimed()).unwrap();
    let question = question(&claim, &node("hn0"));
    assert!(question.starts_with(
        "You state: hn0 (machine machine-of-hn0, boot boot-of-hn0), which held office of epoch 7, is powered off, not only out of reach, \
         and will not come back by itself before 2026-11-22 17:20:08 UTC.\nhn1 then takes office at once."
    ), "{question}");
    let unknown = Claim { attempt: Attempt { over: None, ..claim.attempt }, by: claim.by };
    assert!(
        super::question(&unknown, &node("hn0"))
            .contains("hn0, which may have held office of epoch 7 or an earlier one,")
    );
}
