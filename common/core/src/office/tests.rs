//! What frees the way to an office.

use super::*;

fn node(name: &str) -> NodeName {
    NodeName::try_from(name).unwrap()
}

fn identity(name: &str) -> Identity {
    let id = |what: &str| format!("{what} of {name}");
    Identity { node: node(name), machine: id("machine"), boot: id("boot"), process: id("process") }
}

/// What frees the way of hn1's claim when these are confirmed to be off, and these have promised since.
fn freed(holder: Option<&str>, trusted: bool, off: &[&str], promised: &[&str]) -> Option<WayFree> {
    freed_beside((holder, trusted), off, promised, (MayBeKept::No, 1000))
}

/// The same at this time in milliseconds, where services may be kept.
fn freed_beside(
    (holder, trusted): (Option<&str>, bool),
    off: &[&str],
    promised: &[&str],
    (kept, now): (MayBeKept, u64),
) -> Option<WayFree> {
    let incarnation = Incarnation("i".to_owned());
    let mut active = unknown(incarnation.clone(), Epoch(7), 6000, 2000);
    active.holder = holder.map(identity);
    active.claimant = Some(identity("hn1"));
    let promise = |name: &&str| {
        let Identity { machine, boot, .. } = identity(name);
        let (incarnation, rest) = (incarnation.clone(), record::Rest::new());
        let promise = Promise { format: FORMAT, machine, boot, incarnation, epoch: Epoch(7), rest };
        (node(name), 6, promise)
    };
    let promises: Vec<_> = promised.iter().map(promise).collect();
    let confirmed = |name: &&str| Confirmed { node: node(name), by: "eve@hn1".to_owned() };
    let confirmed: Vec<_> = off.iter().map(confirmed).collect();
    let evidence = Evidence {
        active: &active,
        trusted,
        changed: 5,
        promises: &promises,
        confirmed: &confirmed,
        fenced: None,
        headnodes: &[node("hn0"), node("hn1"), node("hn2")],
        wait_from: Time::default(),
        lease_ms: 6000,
        kill_ms: 2000,
        kept,
    };
    way_free(&evidence, &identity("hn1"), Time::from_millis(now))
}

#[test]
fn a_confirmation_frees_the_way_over_the_recorded_holder_only() {
    let words = "confirmed by eve@hn1: hn0 is powered off".to_owned();
    assert_eq!(freed(Some("hn0"), true, &["hn0"], &[]), Some(WayFree::Confirmed { words }));
    assert_eq!(freed(Some("hn0"), true, &["hn2"], &[]), None);
    assert_eq!(freed(Some("hn0"), true, &[], &[]), None);
}

#[test]
fn where_nobody_knows_who_held_office_each_headnode_promises_or_is_confirmed_to_be_off() {
    assert_eq!(freed(None, false, &["hn0"], &["hn1"]), None);
    let free = freed(None, false, &["hn0"], &["hn1", "hn2"]);
    assert!(matches!(free, Some(WayFree::Confirmed { .. })), "{free:?}");
    let both = freed(None, false, &["hn0", "hn2"], &["hn1"]).map(|way| way.to_string());
    let words =
        "confirmed by eve@hn1: hn0 is powered off; confirmed by eve@hn1: hn2 is powered off";
    assert_eq!(both.as_deref(), Some(words));
    assert_eq!(freed(None, false, &[], &["hn0", "hn1", "hn2"]), Some(WayFree::Promised));
}

#[test]
fn what_may_be_kept_is_not_waited_out_and_a_word_about_it_shortens_no_wait() {
    let free = |off: &[&str], promised: &[&str], kept: &MayBeKept, now| {
        freed_beside((Some("hn0"), true), off, promised, (kept.clone(), now))
    };
    let waited = 6000 * 101 / 100 + 2000 * 11 / 10;
    let off = MayBeKept::Off(Confirmed { node: node("hn0"), by: "eve@hn1".to_owned() });
    assert_eq!(free(&[], &[], &MayBeKept::No, waited), Some(WayFree::WaitedOut));
    assert_eq!(free(&[], &[], &MayBeKept::Yes, waited * 1000), None);
    assert_eq!(free(&[], &[], &off, waited - 1), None);
    let words = "confirmed by eve@hn1: hn0 is powered off".to_owned();
    assert_eq!(free(&[], &[], &off, waited), Some(WayFree::Confirmed { words: words.clone() }));
    assert_eq!(free(&["hn0"], &[], &MayBeKept::Yes, 1), Some(WayFree::Confirmed { words }));
    assert_eq!(free(&[], &["hn0"], &MayBeKept::Yes, 1), Some(WayFree::Promised));
}

#[test]
fn no_word_helps_where_the_recorded_holder_is_not_believed() {
    let all = ["hn0", "hn1", "hn2"];
    assert_eq!(freed(Some("hn0"), false, &all, &all), None);
}

#[test]
fn a_fence_frees_the_way_over_exactly_the_boot_and_epoch_that_it_is_about() {
    let incarnation = Incarnation("i".to_owned());
    let mut active = unknown(incarnation, Epoch(7), 6000, 2000);
    active.holder = Some(identity("hn0"));
    let free = |change: fn(&mut Victim), trusted, kept| {
        let Identity { node, machine, boot, .. } = identity("hn0");
        let mut victim = Victim { node, machine, boot, epoch: Epoch(7) };
        change(&mut victim);
        let fenced = Fenced { victim, by: "ipmi".to_owned(), how: "it is off".to_owned() };
        let evidence = Evidence {
            active: &active,
            trusted,
            changed: 5,
            promises: &[],
            confirmed: &[],
            fenced: Some(&fenced),
            headnodes: &[],
            wait_from: Time::default(),
            lease_ms: 6000,
            kill_ms: 2000,
            kept,
        };
        way_free(&evidence, &identity("hn1"), Time::from_millis(1)).map(|way| way.to_string())
    };
    let freed = "fenced: hn0 is off by the word of `ipmi` (it is off)".to_owned();
    assert_eq!(free(|_| {}, true, MayBeKept::No), Some(freed));
    for change in [
        (|victim| victim.node = node("hn2")) as fn(&mut Victim),
        |victim| victim.machine = "another".to_owned(),
        |victim| victim.boot = "an earlier one".to_owned(),
        |victim| victim.epoch = Epoch(6),
    ] {
        assert_eq!(free(change, true, MayBeKept::No), None);
    }
    assert_eq!(free(|_| {}, false, MayBeKept::No), None, "nobody knows who held it");
    assert_eq!(free(|_| {}, true, MayBeKept::Yes), None, "what is kept may be another boot's");
}
