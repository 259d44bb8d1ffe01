//! What proves that nothing runs any more under an acknowledged keep, and what does not.

use super::*;
use crate::record::{Keep, Kept, Maintenance, Pausing, Rest};
use crate::time::WallTime;

/// hn0 acknowledged it in epoch 7, and resumes.
fn resuming() -> Settings {
    let mut keep = Keep::asked("k".to_owned(), Epoch(7), WallTime(0));
    let by = identity("hn0", "machine");
    keep.acknowledged = Some(Kept { by, epoch: Epoch(7) });
    let incarnation = Incarnation("i".to_owned());
    let (maintenance, rest) = (Maintenance::default(), Rest::new());
    let settings =
        Settings { format: FORMAT, incarnation, paused: None, keep: None, maintenance, rest };
    settings.pause("root", Some(keep)).resume("root")
}

fn identity(name: &str, machine: &str) -> Identity {
    let node = NodeName::try_from(name).unwrap();
    let (boot, process) = ("boot".to_owned(), "process".to_owned());
    Identity { node, machine: machine.to_owned(), boot, process }
}

fn is_over(active: Option<&Active>, promise: Option<(&str, &Promise)>) -> bool {
    let settings = resuming();
    let Pausing::Resuming { kept } = settings.pausing() else { panic!("{settings:?}") };
    let promise = promise.map(|(name, promise)| (NodeName::try_from(name).unwrap(), promise));
    let promises = || promise.iter().map(|(node, promise)| (node, *promise));
    let over = keep_is_over(&settings, kept, active, promises());
    assert_eq!(claims_allowed(&settings, active, promises(), false).is_ok(), over);
    over
}

#[test]
fn an_office_ends_a_keep_if_it_was_ceded_or_is_a_later_one_of_the_same_life() {
    let ceded = || Phase::Ceded { to: None, until_ms: 0 };
    let rows = [
        ("held as it was acknowledged", "i", Some("hn0"), 7, Phase::Active, false),
        ("being stopped", "i", Some("hn0"), 7, Phase::BecomingStandby, false),
        ("ceded", "i", Some("hn0"), 7, ceded(), true),
        ("an earlier one, ceded", "i", Some("hn0"), 6, ceded(), false),
        ("a later one", "i", Some("hn1"), 8, Phase::BecomingActive, true),
        ("a later one, ceded", "i", Some("hn1"), 8, ceded(), true),
        ("a later epoch that nobody held", "i", None, 8, Phase::BecomingActive, false),
        ("ceded, of another life", "j", Some("hn0"), 7, ceded(), false),
        ("a later one of another life", "j", Some("hn1"), 8, Phase::Active, false),
    ];
    for (what, life, holder, epoch, phase, over) in rows {
        let mut active = unknown(Incarnation(life.to_owned()), Epoch(epoch), 6000, 2000);
        active.holder = holder.map(|name| identity(name, "machine"));
        active.phase = phase;
        assert_eq!(is_over(Some(&active), None), over, "{what}");
    }
    assert!(!is_over(None, None), "nobody knows");
}

#[test]
fn a_promise_ends_a_keep_if_that_machine_gave_it_for_that_epoch_or_a_higher_one() {
    let rows = [
        ("of that epoch", "hn0", "machine", "i", 7, true),
        ("of a higher one", "hn0", "machine", "i", 8, true),
        ("of a lower one", "hn0", "machine", "i", 6, false),
        ("of another headnode", "hn1", "machine", "i", 7, false),
        ("of another machine by that name", "hn0", "another", "i", 7, false),
        ("of another life", "hn0", "machine", "j", 7, false),
    ];
    for (what, node, machine, life, epoch, over) in rows {
        let promise = Promise {
            format: FORMAT,
            machine: machine.to_owned(),
            boot: "the next boot".to_owned(),
            incarnation: Incarnation(life.to_owned()),
            epoch: Epoch(epoch),
            rest: Rest::new(),
        };
        assert_eq!(is_over(None, Some((node, &promise))), over, "{what}");
    }
}
