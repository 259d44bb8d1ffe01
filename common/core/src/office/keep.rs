//! A keep and the office: who may claim beside one, when it is over, and what somebody's word says of its host.
//!
//! `protocol.md`, 8.

use super::Confirmed;
use crate::node::NodeName;
use crate::quorum::Version;
use crate::record::{Active, KeepConfirmed, Kept, Lease, Pausing, Phase, Promise, Settings};

/// Whether `settings` let anybody claim; or why not. While a keep is acknowledged nothing can be waited out: its host has no D.
/// Once it is resumed, only proof that it has ended, its holder's own word, or that its host is `off` opens the office again.
pub fn claims_allowed<'a>(
    settings: &Settings,
    active: Option<&Active>,
    promises: impl IntoIterator<Item = (&'a NodeName, &'a Promise)>,
    off: bool,
) -> Result<(), String> {
    match settings.pausing() {
        Pausing::Automatic => Ok(()),
        Pausing::Paused(by) | Pausing::Asked { by, .. } | Pausing::Kept { by, .. } => {
            Err(format!("automatic failover is paused: {by}"))
        }
        Pausing::Resuming { kept } if off || keep_is_over(settings, kept, active, promises) => {
            Ok(())
        }
        Pausing::Resuming { kept } => Err(format!(
            "{node} may still keep its services (epoch {}): nobody takes over before it acknowledges the resume, cedes, promises, or is confirmed to be powered off (`headship fence confirm {node}`)",
            kept.epoch,
            node = kept.by.node
        )),
    }
}

/// Whether it is proven that nothing runs any more under a keep that was acknowledged: its office was ceded, its host has
/// promised, or a later office began, which took the same proof. A confirmation is no proof but somebody's word: `word_about`.
pub fn keep_is_over<'a>(
    settings: &Settings,
    kept: &Kept,
    active: Option<&Active>,
    promises: impl IntoIterator<Item = (&'a NodeName, &'a Promise)>,
) -> bool {
    let ours = active.filter(|active| active.incarnation == settings.incarnation);
    let out = ours.is_some_and(|active| {
        let ceded = matches!(active.phase, Phase::Ceded { .. });
        let later = active.holder.is_some() && active.epoch > kept.epoch;
        later || ceded && active.epoch == kept.epoch
    });
    out || promises.into_iter().any(|(node, promise)| {
        *node == kept.by.node
            && promise.machine == kept.by.machine
            && promise.incarnation == settings.incarnation
            && promise.epoch >= kept.epoch
    })
}

/// Somebody's word that the host of exactly this keep is powered off, unless that host has renewed its lease since. It counts
/// only while nothing else shows that the host lives. No fence method is asked about such a host: nobody claims over it.
pub fn word_about<'a>(
    settings: &'a Settings,
    kept: &Kept,
    lease: Option<&Lease>,
    version: Option<Version>,
) -> Option<&'a KeepConfirmed> {
    let word = settings.keep.as_ref()?.confirmed.as_ref().filter(|word| word.over == *kept)?;
    // A claim makes a lease that was lost, of no epoch.
    let of_keep = lease.is_some_and(|lease| lease.epoch >= kept.epoch);
    (word.lease == version.map(|version| version.0) || !of_keep).then_some(word)
}

/// Whether services may run by a keep that was resumed, though no renewal came for however long.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MayBeKept {
    /// Nobody keeps any, or that is proven to be over.
    No,
    /// Their host is powered off, by somebody's word, and nothing shows that it lives.
    Off(Confirmed),
    /// They may: there is nothing to be waited out.
    Yes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::{Epoch, Incarnation};
    use crate::node::Identity;
    use crate::record::{FORMAT, Keep, Maintenance, Rest};
    use crate::time::WallTime;

    fn kept(boot: &str, epoch: u64) -> Kept {
        let id = |what: &str| what.to_owned();
        let node = NodeName::try_from("hn0").unwrap();
        let by = Identity { node, machine: id("m0"), boot: id(boot), process: id("p0") };
        Kept { by, epoch: Epoch(epoch) }
    }

    /// hn0 has acknowledged a keep in this boot and epoch; it was resumed, and confirmed to be off at version 3 of `lease`.
    fn confirmed(boot: &str, epoch: u64) -> Settings {
        let settings = Settings {
            format: FORMAT,
            incarnation: Incarnation("i".to_owned()),
            paused: None,
            keep: None,
            maintenance: Maintenance::default(),
            rest: Rest::new(),
        };
        let mut settings =
            settings.pause("root", Some(Keep::asked("k".to_owned(), Epoch(7), WallTime(0))));
        settings.keep.as_mut().unwrap().acknowledged = Some(kept("b0", 7));
        settings.resume("eve").confirm_off(Some(KeepConfirmed {
            by: "eve".to_owned(),
            at: WallTime(1),
            over: kept(boot, epoch),
            lease: Some(3),
        }))
    }

    fn lease(epoch: u64) -> Lease {
        Lease { format: FORMAT, epoch: Epoch(epoch), seq: 9, lease_ms: 6000, kill_ms: 2000 }
    }

    #[test]
    fn a_word_is_about_exactly_one_keep_and_ends_with_a_renewal() {
        let counts = |settings: &Settings, epoch, version| {
            let version = Some(Version(version));
            word_about(settings, &kept("b0", 7), Some(&lease(epoch)), version).is_some()
        };
        assert!(counts(&confirmed("b0", 7), 7, 3));
        assert!(!counts(&confirmed("b1", 7), 7, 3));
        assert!(!counts(&confirmed("b0", 6), 7, 3));
        assert!(!counts(&confirmed("b0", 7), 7, 4));
        // The lease was lost, and a claim made one anew.
        assert!(counts(&confirmed("b0", 7), 0, 0));
        assert!(word_about(&confirmed("b0", 7), &kept("b0", 7), None, None).is_some());
        let none = confirmed("b0", 7).confirm_off(None);
        assert!(!counts(&none, 7, 3));
    }
}
