//! `headship fence list` and `headship fence confirm`: what a claim waits for, and an operator's word that a headnode is
//! powered off.
//!
//! Whether that is believed is decided by the headnodes (`headship_core::controller`); here is only what can be seen before.

mod keep;
mod page;
#[cfg(test)]
pub(crate) mod tests;

use anyhow::Result;
use headship_core::config::Config;
use headship_core::known::Content;
use headship_core::node::{Identity, NodeName};
use headship_core::record::{Attempt, FenceSeen, Sign, sign_of_life, signs_of};
use headship_daemon::Exit;

use self::keep::KeepSeen;
use crate::args::{FenceConfirm, FenceList, Place};
use crate::cluster::Cluster;
use crate::orders;
use crate::refusal::{Refusal, Refuse};
use crate::standing;
use crate::view::{Records, record};
use crate::{output, say};

/// A claim that waits, as its claimant shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) by: Identity,
    pub(crate) attempt: Attempt,
}

/// What `fence list` tells: the claim, and of each headnode whose word is awaited what shows that it lives, if anything does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    claim: Result<Claim, Refusal>,
    awaited: Vec<(NodeName, Option<String>)>,
    /// The keep that was acknowledged, if nothing proves that it is over.
    keep: Option<KeepSeen>,
    /// Whoever fences the holder before anybody claims its office, and how that stands.
    fence: Option<(NodeName, FenceSeen)>,
}

/// What an operator is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Agreed {
    Claim(Claim),
    /// Nobody claims, for a keep is in the way.
    Keep(KeepSeen),
}

/// The claim that waits for its way to be free, or why there is none to be seen.
pub(crate) fn claim(records: &Records) -> Result<Claim, Refusal> {
    let active = match &records.active {
        Content::Record(active) => active,
        Content::Missing | Content::Corrupt(_) | Content::Unread => {
            let nobody = standing::in_office(records).err();
            let (exit, why) = nobody.map_or_else(
                || (Exit::Refused, "nobody claims office".to_owned()),
                |it| (it.condition.exit(), it.sentence.trim_end_matches('.').to_owned()),
            );
            let exit = if exit == Exit::NobodyActive { Exit::Refused } else { exit };
            return Err(Refusal { exit, sentence: why });
        }
    };
    let Some(claimant) = &active.claimant else {
        let how = match standing::in_office(records) {
            Ok(holder) => format!("{} holds it in epoch {}", holder.node, holder.epoch),
            Err(nobody) => nobody.sentence.trim_end_matches('.').to_owned(),
        };
        return Err(Refusal::new(format!("nobody claims office: {how}")));
    };
    let state = records.headnodes.iter().find(|it| it.name == claimant.node);
    let state = state.and_then(|headnode| record(&headnode.state));
    let attempt = state.filter(|state| state.by == *claimant).and_then(|it| it.attempt.as_ref());
    let version = records.of_active.map(|version| version.0);
    match attempt.filter(|attempt| Some(attempt.claim) == version) {
        Some(attempt) => Ok(Claim { by: claimant.clone(), attempt: attempt.clone() }),
        None => Err(Refusal::new(format!(
            "{} claims office of epoch {} and does not show that it waits for anything: see `headship status`, and its master-fc",
            claimant.node, active.epoch
        ))),
    }
}

/// Whoever fences the holder of the present office, as a standby shows it.
fn fencing(records: &Records) -> Option<(NodeName, FenceSeen)> {
    let active = record(&records.active).filter(|active| active.claimant.is_none())?;
    records.headnodes.iter().find_map(|headnode| {
        let seen = record(&headnode.state)?.fence.as_ref()?;
        (seen.epoch == active.epoch).then(|| (headnode.name.clone(), seen.clone()))
    })
}

/// Whether a headnode may be confirmed to be off, by what the claim says of it.
pub(crate) fn is_awaited(config: &Config, claim: &Claim, node: &NodeName) -> Result<(), Refusal> {
    if !config.headnodes.iter().any(|headnode| headnode.name == *node) {
        return Err(Refusal::new(standing::no_headnode(config, node)));
    }
    claim.attempt.awaits(node).map_err(Refusal::new)
}

/// What shows that a headnode lives, if anything does.
///
/// # Errors
/// The sentence why the quorum is out of sight.
async fn signs_of_life(
    cluster: &mut Cluster,
    node: &NodeName,
    over: Option<&Identity>,
) -> Result<Option<String>, String> {
    for (key, words) in signs_of(node) {
        let sign = sign_of_life(words, &cluster.one::<Sign>(&key).await?.0, over);
        if sign.is_some() {
            return Ok(sign);
        }
    }
    Ok(None)
}

/// Looks at the claim, if there is one.
///
/// # Errors
/// The sentence why the quorum is out of sight.
async fn look(cluster: &mut Cluster) -> Result<Seen, String> {
    let records = cluster.records().await?;
    let claim = claim(&records);
    let mut awaited = Vec::new();
    if let Ok(Claim { attempt, .. }) = &claim {
        for node in &attempt.awaited {
            let sign = signs_of_life(cluster, node, attempt.over.as_ref()).await?;
            awaited.push((node.clone(), sign));
        }
    }
    let keep = keep::look(cluster, &records).await?.map(|(keep, _)| keep);
    let fence = fencing(&records);
    Ok(Seen { claim, awaited, keep, fence })
}

async fn look_once(config: &Config, place: &Place) -> Result<Seen, String> {
    let mut cluster = Cluster::connect(config, place.timeout).await?;
    let seen = look(&mut cluster).await;
    cluster.close().await;
    seen
}

/// Runs `headship fence list`.
pub(crate) async fn list(config: &Config, place: &Place, arguments: &FenceList) -> Result<Exit> {
    let seen = look_once(config, place).await;
    let now = headship_drivers::host::clock::wall();
    let exit = page::exit(&seen);
    if arguments.json {
        output::json(&page::document(&seen))?;
    } else {
        match &seen {
            Ok(seen) if exit == Exit::Ok => output::print(&page::text(seen, now))?,
            Ok(_) | Err(_) => output::complain(&page::conclusion(&seen)),
        }
    }
    Ok(exit)
}

impl Refuse for FenceList {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        refusal.tell(self.json, &page::refused(refusal))
    }
}

impl Refuse for FenceConfirm {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        orders::end_without_order(Some(&self.node), Err(refusal.clone()), self.json)
    }
}

/// Runs `headship fence confirm`. It is looked whether it can be done before anybody is asked.
pub(crate) async fn confirm(
    config: &Config,
    place: &Place,
    arguments: &FenceConfirm,
) -> Result<Exit> {
    let FenceConfirm { node, yes, json } = arguments;
    let agreed = match look_once(config, place).await {
        Ok(seen) => possible(config, &seen, node),
        Err(why) => Err(Refusal { exit: Exit::QuorumAway, sentence: why }),
    };
    let agreed = match agreed {
        Ok(agreed) => agreed,
        Err(refusal) => return arguments.refuse(&refusal),
    };
    let question = match &agreed {
        Agreed::Claim(claim) => question(claim, node),
        Agreed::Keep(keep) => keep.question(),
    };
    if !yes && !output::agrees(&question)? {
        let declined = "nothing is confirmed: say yes, or `--yes` where nobody can be asked";
        return arguments.refuse(&Refusal::new(declined.to_owned()));
    }
    match agreed {
        Agreed::Claim(claim) => orders::confirm(config, place, node.clone(), claim, *json).await,
        Agreed::Keep(keep) => {
            let end = keep::confirm(config, place, &keep.kept).await?;
            orders::end_without_order(Some(node), end, *json)
        }
    }
}

/// The claim for which a headnode may be confirmed to be off, or else the keep; or why it may not.
fn possible(config: &Config, seen: &Seen, node: &NodeName) -> Result<Agreed, Refusal> {
    // A keep may be of one that the configuration has no more.
    let kept = seen.keep.as_ref().is_some_and(|keep| keep.kept.by.node == *node);
    if !kept && !config.headnodes.iter().any(|headnode| headnode.name == *node) {
        return Err(Refusal::new(standing::no_headnode(config, node)));
    }
    match (possible_for_claim(config, seen, node), &seen.keep) {
        (Ok(claim), _) => Ok(Agreed::Claim(claim)),
        (Err(_), Some(keep)) if keep.kept.by.node == *node => {
            keep.can_be_confirmed().map(|()| Agreed::Keep(keep.clone()))
        }
        (Err(refusal), Some(_) | None) => Err(refusal),
    }
}

fn possible_for_claim(config: &Config, seen: &Seen, node: &NodeName) -> Result<Claim, Refusal> {
    let claim = seen.claim.clone()?;
    is_awaited(config, &claim, node)?;
    match seen.awaited.iter().find(|(awaited, _)| awaited == node) {
        Some((_, Some(sign))) => Err(Refusal::new(format!("{node} is not off: {sign}"))),
        Some((_, None)) | None => Ok(claim),
    }
}

/// Exactly what is claimed, for whoever has to answer for it.
fn question(claim: &Claim, node: &NodeName) -> String {
    let Claim { by, attempt } = claim;
    let Attempt { epoch, until, .. } = attempt;
    let host = attempt.over.as_ref().map_or_else(
        || format!("{node}, which may have held office of epoch {epoch} or an earlier one,"),
        |over| {
            format!(
                "{node} (machine {}, boot {}), which held office of epoch {epoch},",
                over.machine, over.boot
            )
        },
    );
    let until = say::utc(*until);
    format!(
        "You state: {host} is powered off, not only out of reach, and will not come back by itself before {until}.\n\
         {} then takes office at once. If it is not so, HA services may run on both headnodes, and spoil their data.\nIs {node} powered off?",
        by.node
    )
}
