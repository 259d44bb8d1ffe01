//! A keep that was acknowledged and that its holder does not end: its host can be confirmed to be powered off though nobody claims.
//!
//! The word is written beside the keep. It opens the way to a claim and no more: that waits for lease and kill time as every other.

use anyhow::Result;
use headship_core::config::Config;
use headship_core::node::NodeName;
use headship_core::office;
use headship_core::quorum::{Op, Outcome, Version};
use headship_core::record::{
    self, KeepConfirmed, Kept, Key, Lease, Lock, Pausing, Promise, Settings,
};
use headship_daemon::Exit;
use headship_drivers::host::clock;

use super::signs_of_life;
use crate::args::Place;
use crate::cluster::Cluster;
use crate::refusal::{Refusal, Wanted};
use crate::view::{Pulse, Records, record};
use crate::{say, who};

/// How often it is tried again when somebody else changed the records meanwhile.
const ATTEMPTS: usize = 5;

/// A keep that nothing proves to be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeepSeen {
    pub(super) kept: Kept,
    /// Whether somebody has resumed it.
    pub(super) resumed: bool,
    /// Whose word there is already that its host is powered off.
    pub(super) confirmed: Option<KeepConfirmed>,
    /// What shows that the host lives, if anything does.
    pub(super) sign: Option<String>,
}

/// What a word about it is bound to: how these records were before it was looked whether the host lives.
pub(super) struct Ground {
    settings: (Settings, Option<Version>),
    active: Option<Version>,
    lease: Option<Version>,
}

impl KeepSeen {
    /// Whether its host may be confirmed to be powered off.
    pub(super) fn can_be_confirmed(&self) -> Result<(), Refusal> {
        let node = &self.kept.by.node;
        if let Some(sign) = &self.sign {
            return Err(Refusal::new(format!("{node} is not off: {sign}")));
        }
        if !self.resumed {
            return Err(Refusal::new(format!(
                "{node} keeps its services on demand (pause --keep, epoch {}), and nobody takes over meanwhile: `headship resume` first",
                self.kept.epoch
            )));
        }
        match &self.confirmed {
            Some(KeepConfirmed { by, at, .. }) => Err(Refusal::new(format!(
                "{by} confirmed at {} that {node} is powered off: see `headship status` for why nobody takes over",
                say::utc(*at)
            ))),
            None => Ok(()),
        }
    }

    /// What the resume waits for, and what can be confirmed, in lines.
    pub(super) fn lines(&self) -> String {
        let Kept { by, epoch } = &self.kept;
        let node = &by.node;
        let waits = format!(
            "resume waits for {node} (epoch {epoch}, machine {}, boot {}), which may still keep its services",
            by.machine, by.boot
        );
        let what = match (&self.sign, &self.confirmed) {
            (Some(sign), _) => format!("{node} cannot be confirmed to be off: {sign}"),
            (None, Some(KeepConfirmed { by, at, .. })) => {
                format!("{node} counts as powered off: {by} confirmed it at {}", say::utc(*at))
            }
            (None, None) => format!("if {node} is powered off: `headship fence confirm {node}`"),
        };
        format!("{waits}\n{what}")
    }

    /// Exactly what is claimed, for whoever has to answer for it.
    pub(super) fn question(&self) -> String {
        let Kept { by, epoch } = &self.kept;
        let node = &by.node;
        format!(
            "You state: {node} (machine {}, boot {}), which may still keep its services (pause --keep, epoch {epoch}), is powered off, not only out of reach.\n\
             Another headnode then takes office, once lease and kill time since its last renewal have passed. If it is not so, HA services may run on both headnodes, and spoil their data.\nIs {node} powered off?",
            by.machine, by.boot
        )
    }
}

/// Looks at the keep, if there is one, with what a word about it would be bound to.
///
/// # Errors
/// The sentence why the quorum is out of sight.
pub(super) async fn look(
    cluster: &mut Cluster,
    records: &Records,
) -> Result<Option<(KeepSeen, Ground)>, String> {
    let (settings, of_settings) = cluster.one::<Settings>(&Key::Settings).await?;
    let Some(settings) = record(&settings) else { return Ok(None) };
    let (kept, resumed) = match settings.pausing() {
        Pausing::Kept { kept, .. } => (kept, false),
        Pausing::Resuming { kept } => (kept, true),
        Pausing::Automatic | Pausing::Paused(_) | Pausing::Asked { .. } => return Ok(None),
    };
    let by = &kept.by;
    let (promise, _) = cluster.one::<Promise>(&Key::Promise(by.node.clone())).await?;
    let promise = record(&promise).map(|promise| (&by.node, promise));
    if office::keep_is_over(settings, kept, record(&records.active), promise) {
        return Ok(None);
    }
    let (lease, of_lease) = cluster.one::<Lease>(&Key::Lease).await?;
    let confirmed = office::word_about(settings, kept, record(&lease), of_lease).cloned();
    let mut sign = signs_of_life(cluster, &by.node, Some(by)).await?;
    if sign.is_none() {
        let (lock, _) = cluster.one::<Lock>(&Key::Lock).await?;
        let locked = record(&lock).is_some_and(|lock| lock.by.same_machine(by));
        sign = locked.then(|| "a session of its master-fc holds the lock".to_owned());
    }
    if sign.is_none() && records.pulse == Pulse::Lease {
        sign = Some("it renews its lease".to_owned());
    }
    let ground = Ground {
        settings: (settings.clone(), of_settings),
        active: records.of_active,
        lease: of_lease,
    };
    Ok(Some((KeepSeen { kept: kept.clone(), resumed, confirmed, sign }, ground)))
}

/// Writes the word that the host of this very keep is powered off, or tells why not.
pub(super) async fn confirm(
    config: &Config,
    place: &Place,
    kept: &Kept,
) -> Result<Result<String, Refusal>> {
    let by = who::am_i()?;
    let away = |sentence| Err(Refusal { exit: Exit::QuorumAway, sentence });
    let mut cluster = match Cluster::connect(config, place.timeout).await {
        Ok(cluster) => cluster,
        Err(sentence) => return Ok(away(sentence)),
    };
    let end = write(&mut cluster, kept, &by).await;
    cluster.close().await;
    Ok(end.unwrap_or_else(away))
}

/// How it ended.
///
/// # Errors
/// The sentence why the quorum is out of sight.
async fn write(
    cluster: &mut Cluster,
    agreed: &Kept,
    by: &str,
) -> Result<Result<String, Refusal>, String> {
    let mut ours = None;
    for _ in 0..ATTEMPTS {
        let records = cluster.records().await?;
        let Some((seen, ground)) =
            look(cluster, &records).await?.filter(|(it, _)| it.kept == *agreed)
        else {
            let over = "the keep is over by now: see `headship status`";
            return Ok(Err(Refusal::new(over.to_owned())));
        };
        // A write whose outcome was unknown happened after all.
        if ours.is_some() && seen.confirmed == ours {
            return Ok(Ok(done(&agreed.by.node)));
        }
        if let Err(refusal) = seen.can_be_confirmed() {
            return Ok(Err(refusal));
        }
        let word = KeepConfirmed {
            by: by.to_owned(),
            at: clock::wall(),
            over: agreed.clone(),
            lease: ground.lease.map(|version| version.0),
        };
        match cluster.link().write(steps(ground, word.clone())).await {
            Outcome::Done { .. } => return Ok(Ok(done(&agreed.by.node))),
            Outcome::Unknown => ours = Some(word),
            Outcome::Refused { why, .. } => match Refusal::of_write(Wanted::Change, &why) {
                Some(refusal) => return Ok(Err(refusal)),
                None => ours = Some(word),
            },
        }
    }
    Ok(Err(Refusal::of_others(Wanted::Change)))
}

/// The write, bound to all that it was judged by.
fn steps(ground: Ground, word: KeepConfirmed) -> Vec<Op> {
    let Ground { settings: (settings, of_settings), active, lease } = ground;
    let data = record::write(&settings.confirm_off(Some(word)));
    let check = |key, version: Option<Version>| version.map(|_| Op::Check { key, version });
    let checks = [check(Key::Active, active), check(Key::Lease, lease)];
    let write = Op::Set { key: Key::Settings, version: of_settings, data };
    checks.into_iter().flatten().chain([write]).collect()
}

fn done(node: &NodeName) -> String {
    format!(
        "{node} counts as powered off, and its keep as over: another headnode takes office as soon as it may (`headship status --watch`)"
    )
}
