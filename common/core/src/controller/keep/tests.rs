//! Which keep moves D out of the way, and when a word about its host counts.

use super::*;
use crate::controller::Found;
use crate::epoch::Incarnation;
use crate::known::Known;
use crate::node::Identity;
use crate::quorum::{self, Version};
use crate::record::{FORMAT, Keep, Lease, Maintenance, Rest};
use crate::time::WallTime;

const CONFIG: &str = r#"cluster = "main"
failover_quorum.servers = ["zk0:2181"]
headnode = [{ name = "hn0", address = "10.0.0.10" }, { name = "hn1", address = "10.0.0.11" }]
[[service]]
name = "livy"
unit = "livy.service"
started_by = "master-fc"
"#;

fn node(name: &str) -> NodeName {
    NodeName::try_from(name).unwrap()
}

/// A boot of hn0.
pub(in crate::controller) fn hn0(boot: &str) -> Identity {
    let id = |what: &str| what.to_owned();
    Identity { node: node("hn0"), machine: id("m0"), boot: id(boot), process: id("p0") }
}

fn hn1() -> Identity {
    Identity { node: node("hn1"), machine: "m1".to_owned(), ..hn0("b1") }
}

/// A master-fc that has just started with this permit.
pub(in crate::controller) fn controller(me: Identity, permit: Option<Permit>) -> Controller {
    let fragments = [("headship.toml".to_owned(), CONFIG.to_owned())];
    let config = crate::config::load(&fragments, me.node.clone()).unwrap();
    let mut duty_service = config.services[0].clone();
    "master-ha-service".clone_into(&mut duty_service.name);
    Controller::new(config, me, Found { permit, ..Found::default() }, duty_service)
}

/// What somebody asked to be kept under this id, as it was acknowledged.
pub(in crate::controller) fn acknowledged(id: &str, by: Identity, epoch: u64) -> Settings {
    let settings = Settings {
        format: FORMAT,
        incarnation: Incarnation("i".to_owned()),
        paused: None,
        keep: None,
        maintenance: Maintenance::default(),
        rest: Rest::new(),
    };
    let mut keep = Keep::asked(id.to_owned(), Epoch(epoch), WallTime(0));
    keep.acknowledged = Some(Kept { by, epoch: Epoch(epoch) });
    settings.pause("root", Some(keep))
}

#[test]
fn a_keep_lasts_beyond_a_renewal_only_by_its_own_id_and_for_its_own_boot_and_term() {
    let permit = Permit {
        incarnation: Incarnation("i".to_owned()),
        epoch: Epoch(7),
        boot: "b0".to_owned(),
        deadline: Time::from_millis(60_000),
        lease_ms: 6000,
        kill_ms: 2000,
        grace_ms: 1000,
        alone: [].into(),
        kept: Some("k".to_owned()),
    };
    let lasts = |settings: Settings| {
        let mut controller = controller(hn0("b0"), Some(permit.clone()));
        let now = Time::from_millis(1000);
        controller.records.settings.wrote(now, settings, Version(3), None);
        controller.kept_beyond_renewal(Epoch(7)).is_some()
    };
    assert!(lasts(acknowledged("k", hn0("b0"), 7)));
    assert!(!lasts(acknowledged("another", hn0("b0"), 7)), "what this host keeps by was ended");
    assert!(!lasts(acknowledged("k", hn0("an earlier boot"), 7)));
    assert!(!lasts(acknowledged("k", hn0("b0"), 6)));
    assert!(!lasts(acknowledged("k", hn1(), 7)));
    assert!(!lasts(acknowledged("k", hn0("b0"), 7).resume("eve")));
}

/// hn1, before which lies a keep of hn0 that was resumed, and somebody's word that hn0 is powered off.
fn judge() -> Controller {
    let over = Kept { by: hn0("b0"), epoch: Epoch(7) };
    let (by, at, lease) = ("eve".to_owned(), WallTime(1), Some(3));
    let word = KeepConfirmed { by, at, over, lease };
    let settings = acknowledged("k", hn0("b0"), 7).resume("eve").confirm_off(Some(word));
    let renewed = Lease { format: FORMAT, epoch: Epoch(7), seq: 3, lease_ms: 6000, kill_ms: 2000 };
    let (mut controller, now) = (controller(hn1(), None), Time::from_millis(1000));
    controller.records.settings.wrote(now, settings, Version(9), None);
    controller.records.lease.wrote(now, renewed, Version(3), None);
    controller
}

/// All that hn0 would show is read, and this is found of `of`; nothing of the others.
fn read_signs(controller: &mut Controller, of: &Key, found: &quorum::Found) {
    for known in &mut controller.records.signs {
        let Some((id, _)) = known.next_read(&mut controller.ids) else { continue };
        let found = if known.key() == of { found } else { &quorum::Found::Missing };
        known.take(Time::from_millis(2000), id, found);
    }
}

#[test]
fn a_word_about_a_kept_host_counts_only_while_all_its_signs_of_life_are_read_and_fresh() {
    let mut controller = judge();
    assert_eq!(controller.judge_keep(), MayBeKept::Yes, "nothing is read yet");
    let health = Key::Health(node("hn0"));
    read_signs(&mut controller, &health, &quorum::Found::Missing);
    let off = MayBeKept::Off(Confirmed { node: node("hn0"), by: "eve".to_owned() });
    assert_eq!(controller.judge_keep(), off);

    // A hint came: what it is about is not read yet.
    let changed = controller.records.signs.iter_mut().find(|known| *known.key() == health);
    changed.into_iter().for_each(Known::outdate);
    assert_eq!(controller.judge_keep(), MayBeKept::Yes);
    let data = r#"{"machine":"m0","boot":"b0"}"#.to_owned();
    let session = quorum::Found::Data { data, version: Version(0), changed: 50, owner: None };
    read_signs(&mut controller, &health, &session);
    assert_eq!(controller.judge_keep(), MayBeKept::Yes);
}
