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
    /// `asked`, `acknowledged` or `resuming`.
    state: &'static str,
    /// Who has acknowledged it.
    node: Option<NodeName>,
    epoch: Option<u64>,
}

/// The keep that `settings` speak of, if there is one.
pub(crate) fn seen(settings: &Settings) -> Option<Keep> {
    let of = |state, kept: Option<&Kept>| Keep {
        state,
        node: kept.map(|kept| kept.by.node.clone()),
        epoch: kept.map(|kept| kept.epoch.0),
    };
    match settings.pausing() {
        Pausing::Automatic | Pausing::Paused(_) => None,
        Pausing::Asked { .. } => Some(of("asked", None)),
        Pausing::Kept { kept, .. } => Some(of("acknowledged", Some(kept))),
        Pausing::Resuming { kept } => Some(of("resuming", Some(kept))),
    }
}

/// How automatic failover stands if it is not simply on, in a phrase.
pub(crate) fn phrase(settings: &Settings) -> Option<String> {
    match settings.pausing() {
        Pausing::Automatic => None,
        Pausing::Paused(by) => Some(format!("paused: {by}")),
        Pausing::Asked { by, .. } => Some(format!(
            "paused: {by}; nobody has acknowledged yet that it keeps its services, so the lease counts as ever"
        )),
        Pausing::Kept { by, kept, .. } => Some(format!(
            "paused: {by}; {} keeps its services (epoch {}), whatever the quorum does, until `headship resume`",
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

/// Whose services may run by a keep although its holder gives no sign of life, in a phrase.
pub(crate) fn perhaps_kept(records: &Records) -> Option<String> {
    let settings = record(&records.settings)?;
    match settings.pausing() {
        Pausing::Kept { kept, .. } | Pausing::Resuming { kept } => {
            let over = office::keep_is_over(settings, kept, record(&records.active), []);
            let node = &kept.by.node;
            (!over).then(|| match confirmed(settings, kept) {
                Some(KeepConfirmed { by, .. }) => {
                    format!("{node}, which kept its services, is powered off, as {by} confirmed")
                }
                None => format!("{node} may keep its services all the same (pause --keep)"),
            })
        }
        Pausing::Automatic | Pausing::Paused(_) | Pausing::Asked { .. } => None,
    }
}

/// What is still missing of a keep that was asked for, if anything.
pub(crate) fn missing(records: &Records) -> Option<String> {
    let settings = record(&records.settings)?;
    match settings.pausing() {
        Pausing::Automatic | Pausing::Paused(_) | Pausing::Resuming { .. } => None,
        Pausing::Asked { .. } => {
            let who = standing::in_office(records).map_or_else(
                |nobody| nobody.sentence.trim_end_matches('.').to_owned(),
                |holder| format!("{} says nothing to it", holder.node),
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
        Pausing::Resuming { kept } => Some(not_over(settings, kept)),
        Pausing::Automatic | Pausing::Paused(_) | Pausing::Asked { .. } | Pausing::Kept { .. } => {
            None
        }
    }
}

/// Who keeps its services by an acknowledged keep.
pub(crate) fn by(records: &Records) -> Option<&NodeName> {
    let Content::Record(settings) = &records.settings else { return None };
    match settings.pausing() {
        Pausing::Kept { kept, .. } => Some(&kept.by.node),
        Pausing::Automatic
        | Pausing::Paused(_)
        | Pausing::Asked { .. }
        | Pausing::Resuming { .. } => None,
    }
}
