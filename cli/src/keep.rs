//! What the records say of `pause --keep`: whether the active keeps its services whatever the quorum does, in phrases and as JSON.

use headship_core::known::Content;
use headship_core::node::{Identity, NodeName};
use headship_core::office;
use headship_core::record::{KeepConfirmed, Kept, Pausing, Settings};
use serde::Serialize;

use crate::standing;
use crate::view::{Records, record};

/// A keep as JSON. The keys are documented in headship(1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Keep {
    /// `asked`, `acknowledged`, `over` or `resuming`.
    state: &'static str,
    /// Who has acknowledged it.
    node: Option<NodeName>,
    epoch: Option<u64>,
}

/// The keep that the records speak of, if there is one.
pub(crate) fn seen(records: &Records) -> Option<Keep> {
    let settings = record(&records.settings)?;
    let of = |state, kept: Option<&Kept>| Keep {
        state,
        node: kept.map(|kept| kept.by.node.clone()),
        epoch: kept.map(|kept| kept.epoch.0),
    };
    match settings.pausing() {
        Pausing::Automatic | Pausing::Paused(_) => None,
        Pausing::Asked { .. } => Some(of("asked", None)),
        Pausing::Kept { kept, .. } if is_over(records, settings, kept) => {
            Some(of("over", Some(kept)))
        }
        Pausing::Kept { kept, .. } => Some(of("acknowledged", Some(kept))),
        Pausing::Resuming { kept } => Some(of("resuming", Some(kept))),
    }
}

/// Whether it is proven that nothing runs any more by a keep that was acknowledged.
pub(crate) fn is_over(records: &Records, settings: &Settings, kept: &Kept) -> bool {
    let headnodes = records.headnodes.iter();
    let promises = headnodes.filter_map(|own| Some((&own.name, record(&own.promise)?)));
    office::keep_is_over(settings, kept, record(&records.active), promises)
}

/// How automatic failover stands by `settings` if it is not simply on, in a phrase.
pub(crate) fn phrase(records: &Records, settings: &Settings) -> Option<String> {
    match settings.pausing() {
        Pausing::Automatic => None,
        Pausing::Paused(by) => Some(format!("paused: {by}")),
        Pausing::Asked { by, .. } => Some(format!(
            "paused: {by}; nobody has acknowledged that it keeps its services, so the lease counts as ever"
        )),
        Pausing::Kept { by, kept, .. } if is_over(records, settings, kept) => Some(format!(
            "paused: {by}; {} kept its services (epoch {}), and the keep is over: nobody takes office until `headship resume`",
            kept.by.node, kept.epoch
        )),
        Pausing::Kept { by, kept, .. } => Some(format!(
            "paused: {by}; {} keeps its services (epoch {}), whatever the quorum does, until `headship resume`",
            kept.by.node, kept.epoch
        )),
        Pausing::Resuming { kept } if is_over(records, settings, kept) => Some(format!(
            "resumed, and the keep of {} (epoch {}) is over: who is ready takes office",
            kept.by.node, kept.epoch
        )),
        Pausing::Resuming { kept } => Some(not_over(settings, kept)),
    }
}

/// Somebody's word that the host of this keep is powered off.
fn confirmed<'a>(settings: &'a Settings, kept: &Kept) -> Option<&'a KeepConfirmed> {
    settings.keep.as_ref()?.confirmed.as_ref().filter(|word| word.over == *kept)
}

fn not_over(settings: &Settings, kept: &Kept) -> String {
    let Kept { by: Identity { node, .. }, epoch } = kept;
    let waits = format!("resumed, but {node} has not acknowledged it yet");
    match confirmed(settings, kept) {
        Some(KeepConfirmed { by, .. }) => format!(
            "{waits} (epoch {epoch}); {by} confirmed that it is powered off: another may take over while it shows no sign of life"
        ),
        None => format!(
            "{waits} and may still keep its services (epoch {epoch}): nobody takes over before that, or before its host promises; if it is powered off: `headship fence confirm {node}`"
        ),
    }
}

/// What a pause means where nobody is active, in a phrase: whose services may run all the same by a keep, or that nobody takes
/// office before it ends.
pub(crate) fn beside_nobody(records: &Records) -> Option<String> {
    let settings = record(&records.settings)?;
    match settings.pausing() {
        Pausing::Kept { kept, .. } if is_over(records, settings, kept) => {
            let node = &kept.by.node;
            Some(format!(
                "the keep of {node} is over, and nobody takes office until `headship resume`"
            ))
        }
        Pausing::Resuming { kept } if is_over(records, settings, kept) => None,
        Pausing::Kept { kept, .. } | Pausing::Resuming { kept } => {
            let node = &kept.by.node;
            Some(match confirmed(settings, kept) {
                Some(KeepConfirmed { by, .. }) => {
                    format!("{node}, which kept its services, is powered off, as {by} confirmed")
                }
                None => format!("{node} may keep its services all the same (pause --keep)"),
            })
        }
        // Who claimed before the pause goes on.
        Pausing::Paused(_) | Pausing::Asked { .. } if claimed(records) => None,
        Pausing::Paused(by) | Pausing::Asked { by, .. } => Some(format!(
            "automatic failover is paused ({by}), and nobody takes office until `headship resume`"
        )),
        Pausing::Automatic => None,
    }
}

fn claimed(records: &Records) -> bool {
    record(&records.active).is_some_and(|active| active.claimant.is_some())
}

/// What is still missing of a keep that was asked for, if anything.
pub(crate) fn missing(records: &Records) -> Option<String> {
    let settings = record(&records.settings)?;
    match settings.pausing() {
        Pausing::Automatic | Pausing::Paused(_) | Pausing::Resuming { .. } => None,
        Pausing::Asked { .. } => {
            let who = standing::in_office(records).map_or_else(
                |nobody| nobody.sentence.trim_end_matches('.').to_owned(),
                |holder| {
                    format!(
                        "{} says nothing to it (see its master-fc, and whether the clocks agree)",
                        holder.node
                    )
                },
            );
            Some(format!("{who}; its lease counts as ever"))
        }
        Pausing::Kept { keep, kept, .. } => {
            let node = &kept.by.node;
            let own = records.headnodes.iter().find(|headnode| headnode.name == *node);
            let lacks = |kept: Option<&String>| kept != Some(&keep.id);
            let state = own.and_then(|own| record(&own.state));
            let guard = own.and_then(|own| record(&own.services));
            let who = if lacks(state.and_then(|state| state.kept.as_ref())) {
                "master-fc"
            } else if lacks(guard.and_then(|guard| guard.kept.as_ref())) {
                "slave-ha-service"
            } else {
                return None;
            };
            Some(format!("{who} on {node} does not show that it goes by it: see its journal"))
        }
    }
}

/// What is still missing of the end of a keep, if anything.
pub(crate) fn lasts(records: &Records) -> Option<String> {
    let settings = record(&records.settings)?;
    match settings.pausing() {
        Pausing::Resuming { kept } => {
            (!is_over(records, settings, kept)).then(|| not_over(settings, kept))
        }
        Pausing::Automatic | Pausing::Paused(_) | Pausing::Asked { .. } | Pausing::Kept { .. } => {
            None
        }
    }
}

/// Who may keep its services, whether or not that was resumed: it is in office again as soon as it is seen.
pub(crate) fn may_keep<'a>(records: &Records, settings: &'a Settings) -> Option<&'a NodeName> {
    match settings.pausing() {
        Pausing::Kept { kept, .. } | Pausing::Resuming { kept } => {
            (!is_over(records, settings, kept)).then_some(&kept.by.node)
        }
        Pausing::Automatic | Pausing::Paused(_) | Pausing::Asked { .. } => None,
    }
}

/// Who keeps its services by an acknowledged keep.
pub(crate) fn by(records: &Records) -> Option<&NodeName> {
    let Content::Record(settings) = &records.settings else { return None };
    match settings.pausing() {
        Pausing::Kept { kept, .. } => (!is_over(records, settings, kept)).then_some(&kept.by.node),
        Pausing::Automatic
        | Pausing::Paused(_)
        | Pausing::Asked { .. }
        | Pausing::Resuming { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::{Epoch, Incarnation};
    use headship_core::record::{FORMAT, Promise, Rest};

    use super::*;
    use crate::tests::{identity, kept};

    /// What is said once hn0 has rebooted and promised about an epoch.
    fn said(epoch: u64, change: fn(&Settings) -> Settings) -> (String, &'static str, bool) {
        let mut records = kept();
        let Content::Record(settings) = &mut records.settings else { panic!("it is there") };
        *settings = change(settings);
        let settings = settings.clone();
        records.headnodes[0].promise = Content::Record(Promise {
            format: FORMAT,
            machine: identity("hn0").machine,
            boot: "the next boot".to_owned(),
            incarnation: Incarnation("i".to_owned()),
            epoch: Epoch(epoch),
            rest: Rest::new(),
        });
        let said = phrase(&records, &settings).unwrap();
        let beside = beside_nobody(&records).unwrap_or_default();
        let lasts = beside == "hn0 may keep its services all the same (pause --keep)";
        assert_eq!(by(&records).is_some() || super::lasts(&records).is_some(), lasts);
        (said, seen(&records).unwrap().state, lasts)
    }

    #[test]
    fn a_promise_of_the_kept_headnode_ends_what_is_said_to_be_kept() {
        let (said_of, state, lasts) = said(7, Settings::clone);
        assert!(said_of.ends_with("the keep is over: nobody takes office until `headship resume`"));
        assert_eq!((state, lasts), ("over", false));
        let (said_of, state, lasts) = said(6, Settings::clone);
        assert!(said_of.contains("hn0 keeps its services (epoch 7)"), "{said_of}");
        assert_eq!((state, lasts), ("acknowledged", true));
    }

    #[test]
    fn a_keep_that_is_resumed_is_waited_for_until_it_is_over() {
        let (said_of, state, lasts) = said(7, |settings| settings.resume("eve"));
        assert!(said_of.ends_with("is over: who is ready takes office"), "{said_of}");
        assert_eq!((state, lasts), ("resuming", false));
        let (said_of, _, lasts) = said(6, |settings| settings.resume("eve"));
        assert!(said_of.contains("hn0 has not acknowledged it yet") && lasts, "{said_of}");
    }
}
