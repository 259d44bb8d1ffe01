//! `headship pause`, `resume` and `maintenance`: what operators set for the whole cluster, in the record `settings`.
//!
//! Each write is bound to the version of the record that it changes: a claim is bound to it too, so a pause holds for everybody
//! from the moment it is written. Who was first stands: what somebody else has paused is not paused over.

mod asked;
mod plan;

use std::time::Duration;

use anyhow::Result;
use headship_core::config::Config;
use headship_core::epoch::Epoch;
use headship_core::node::NodeName;
use headship_core::quorum::{Op, Outcome, Version};
use headship_core::record::{self, Active, Key, Maintenance, Settings};
use headship_daemon::Exit;
use headship_drivers::host::clock;
use serde::Serialize;

use self::asked::Patience;
use self::plan::plan;
use crate::args::{Maintain, Pause, Place, Resume, Switch};
use crate::cluster::{self, Cluster};
use crate::refusal::{Refusal, Refuse, Wanted};
use crate::standing::{self, Holder};
use crate::view::{self, Records};
use crate::{keep, local, orders, output, say, who};

/// How often it is tried again when somebody else changed the records meanwhile.
const ATTEMPTS: usize = 5;
/// How long the headnodes may take to show that they go by what was written. It is read at once; this is for busy ones.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Pause,
    /// With a keep of this id.
    PauseAndKeep(String),
    Resume,
    Begin(Subject),
    End(Subject),
}

impl Wish {
    fn pauses(&self) -> bool {
        match self {
            Self::Pause | Self::PauseAndKeep(_) => true,
            Self::Resume | Self::Begin(_) | Self::End(_) => false,
        }
    }
}

/// What maintenance is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Node(NodeName),
    Service(String),
}

impl Subject {
    fn name(&self) -> &str {
        match self {
            Self::Node(node) => node.as_str(),
            Self::Service(name) => name,
        }
    }
}

/// What is to be done about a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plan {
    /// Write these settings; then this is so.
    Write(Box<Settings>, String),
    /// It is so already.
    Nothing(String),
    /// It cannot be done.
    Refuse(Exit, String),
}

/// What `--json` prints. The keys are documented in headship(1).
#[derive(Debug, Serialize)]
struct Document {
    changed: bool,
    paused: Option<String>,
    keep: Option<keep::Keep>,
    maintenance: Maintenance,
    active: Option<String>,
    epoch: Option<u64>,
    conclusion: String,
    exit: u8,
}

/// How the command ended.
struct Conclusion {
    exit: Exit,
    sentence: String,
    changed: bool,
    seen: Option<Records>,
}

impl Conclusion {
    fn refused(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into(), changed: false, seen: None }
    }
}

impl From<Refusal> for Conclusion {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.exit, refusal.sentence)
    }
}

impl Refuse for Pause {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        tell(&refusal.clone().into(), self.json)
    }
}

impl Refuse for Resume {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        tell(&refusal.clone().into(), self.json)
    }
}

impl Refuse for Maintain {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        tell(&refusal.clone().into(), self.json)
    }
}

/// Runs `headship pause`.
pub(crate) async fn pause(config: &Config, place: &Place, arguments: &Pause) -> Result<Exit> {
    let wish = if arguments.keep { Wish::PauseAndKeep(who::random_id()?) } else { Wish::Pause };
    change(config, place, &wish, &arguments.reason, arguments.json).await
}

/// Runs `headship resume`.
pub(crate) async fn resume(config: &Config, place: &Place, arguments: &Resume) -> Result<Exit> {
    change(config, place, &Wish::Resume, &[], arguments.json).await
}

/// Runs `headship maintenance`.
pub(crate) async fn maintain(config: &Config, place: &Place, arguments: &Maintain) -> Result<Exit> {
    let subject = match subject(config, &arguments.name) {
        Ok(subject) => subject,
        Err(why) => return arguments.refuse(&Refusal::new(why)),
    };
    let wish = match arguments.switch {
        Switch::On => Wish::Begin(subject),
        Switch::Off => Wish::End(subject),
    };
    change(config, place, &wish, &arguments.reason, arguments.json).await
}

fn subject(config: &Config, name: &str) -> Result<Subject, String> {
    let nodes: Vec<&str> = config.headnodes.iter().map(|headnode| headnode.name.as_str()).collect();
    let services = config.services.iter().chain(&config.pinned);
    let services: Vec<&str> = services.map(|it| it.name.as_str()).collect();
    match (NodeName::try_from(name), nodes.contains(&name), services.contains(&name)) {
        (_, true, true) => Err(format!(
            "{name} is both a headnode and a service here: give one of the two another name in the configuration"
        )),
        (Ok(node), true, false) => Ok(Subject::Node(node)),
        (_, false, true) => Ok(Subject::Service(name.to_owned())),
        (Ok(_), false, false) | (Err(_), _, false) => Err(format!(
            "{name} is neither a headnode ({}) nor a service ({}) of this cluster",
            nodes.join(", "),
            services.join(", ")
        )),
    }
}

async fn change(
    config: &Config,
    place: &Place,
    wish: &Wish,
    reason: &[String],
    json: bool,
) -> Result<Exit> {
    let by = who::with_reason(&reason.join(" "))?;
    let mut patience = Patience::new(wish)?;
    let conclusion = match Cluster::connect(config, place.timeout).await {
        Ok(mut cluster) => {
            let done = carry_out((config, place), &mut cluster, wish, &by, &mut patience).await;
            cluster.close().await;
            done.unwrap_or_else(|why| Conclusion::refused(Exit::QuorumAway, why))
        }
        Err(why) => Conclusion::refused(Exit::QuorumAway, why),
    };
    tell(&conclusion, json)
}

fn tell(conclusion: &Conclusion, json: bool) -> Result<Exit> {
    let Conclusion { exit, sentence, changed, seen } = conclusion;
    if json {
        let settings = seen.as_ref().and_then(|records| view::record(&records.settings));
        let holder = seen.as_ref().and_then(|records| standing::holder(records).ok());
        output::json(&Document {
            changed: *changed,
            paused: settings.and_then(|settings| settings.paused.clone()),
            keep: seen.as_ref().and_then(keep::seen),
            maintenance: settings.map(|it| it.maintenance.clone()).unwrap_or_default(),
            active: holder.map(|holder| holder.node.to_string()),
            epoch: holder.map(|holder| holder.epoch.0),
            conclusion: sentence.clone(),
            exit: exit.code(),
        })?;
    } else if *exit == Exit::Ok {
        output::line(sentence)?;
    } else {
        output::complain(sentence);
    }
    Ok(*exit)
}

/// Writes what was wished for, and waits until it is seen to hold.
///
/// # Errors
/// The sentence why the quorum is out of sight.
async fn carry_out(
    at: (&Config, &Place),
    cluster: &mut Cluster,
    wish: &Wish,
    by: &str,
    patience: &mut Patience,
) -> Result<Conclusion, String> {
    let mut ours = None;
    for _ in 0..ATTEMPTS {
        let (active, active_version) = cluster.one::<Active>(&Key::Active).await?;
        let records = cluster.records().await?;
        let (settings, version) = cluster.one::<Settings>(&Key::Settings).await?;
        if active != records.active {
            continue;
        }
        // A write whose outcome was unknown happened after all.
        if let Some((_, done)) = ours.filter(|(ours, _)| view::record(&settings) == Some(ours)) {
            return settle(at, cluster, wish, (true, done), patience).await;
        }
        let (new, done) = match plan(at.0, &records, &settings, wish, (by, clock::wall())) {
            Plan::Write(new, done) => (*new, done),
            Plan::Nothing(what) => {
                return settle(at, cluster, wish, (false, what), patience).await;
            }
            Plan::Refuse(exit, why) => return Ok(Conclusion::refused(exit, why)),
        };
        let orders = if wish.pauses() {
            let epoch = view::record(&records.active).map_or_else(Epoch::default, |it| it.epoch);
            let (in_the_way, orders) = orders::of_office(cluster, epoch, clock::wall()).await?;
            if let Some(why) = in_the_way {
                return Ok(Conclusion::refused(Exit::Refused, why));
            }
            orders.to_vec()
        } else {
            Vec::new()
        };
        let steps = steps(wish, &new, version, (active_version, orders));
        match cluster.link().write(steps).await {
            Outcome::Done { .. } => {
                return settle(at, cluster, wish, (true, done), patience).await;
            }
            Outcome::Unknown => ours = Some((new, done)),
            Outcome::Refused { why, .. } => match Refusal::of_write(Wanted::Change, &why) {
                Some(refusal) => return Ok(refusal.into()),
                None => ours = Some((new, done)),
            },
        }
    }
    Ok(Refusal::of_others(Wanted::Change).into())
}

/// A headnode may begin its maintenance, and others be kept out of office, only where `active` still says what was judged. A pause
/// is bound to the orders that were read, too: one that is accepted meanwhile would come to nothing half way.
fn steps(
    wish: &Wish,
    settings: &Settings,
    version: Option<Version>,
    (active, orders): (Option<Version>, Vec<(Key, Option<Version>)>),
) -> Vec<Op> {
    let judged = match wish {
        Wish::Begin(Subject::Node(_)) | Wish::Pause | Wish::PauseAndKeep(_) => active,
        Wish::Resume | Wish::Begin(Subject::Service(_)) | Wish::End(_) => None,
    };
    let read = orders.into_iter().chain([(Key::Active, judged)]);
    let read = read.filter(|(_, version)| version.is_some());
    let mut steps: Vec<Op> = read.map(|(key, version)| Op::Check { key, version }).collect();
    let data = record::write(settings);
    steps.push(Op::Set { key: Key::Settings, version, data });
    steps
}

/// Waits until the headnodes show that they go by it, and says what holds now.
///
/// # Errors
/// The sentence why the quorum is out of sight.
async fn settle(
    (config, place): (&Config, &Place),
    cluster: &mut Cluster,
    wish: &Wish,
    (changed, done): (bool, String),
    patience: &mut Patience,
) -> Result<Conclusion, String> {
    let mut withdrawn = None;
    loop {
        let records = cluster.records().await.map_err(|why| asked::out_of_sight(wish, why))?;
        // Whoever resumes waits for the end of a keep, whether or not somebody else resumed before.
        let waits = changed || *wish == Wish::Resume;
        let waited_for = missing(config, &records, wish).filter(|_| waits);
        let (exit, holds) = match (withdrawn.take(), waited_for, patience.over()) {
            (Some(end), _, _) => (Exit::TimedOut, end),
            (None, None, _) => (Exit::Ok, holds(config, place, &records, wish)),
            (None, Some(what), Some(why)) if asked::is_open(&records, wish) => {
                if asked::withdraw(cluster, wish).await? {
                    withdrawn = Some(format!(
                        "{why}{what}; the keep is withdrawn, and it is a pause like any other"
                    ));
                }
                continue;
            }
            (None, Some(what), Some(why)) => (Exit::TimedOut, format!("{why}{what}")),
            (None, Some(_), None) => {
                patience.await_change(cluster).await;
                continue;
            }
        };
        let sentence = format!("{done}; {}", holds.trim_end_matches('.'));
        return Ok(Conclusion { exit, sentence, changed, seen: Some(records) });
    }
}

/// What is not so yet although it was written, in a phrase.
fn missing(config: &Config, records: &Records, wish: &Wish) -> Option<String> {
    let of_keep = match wish {
        Wish::PauseAndKeep(_) => keep::missing(records),
        Wish::Resume => keep::lasts(records),
        Wish::Pause | Wish::Begin(_) | Wish::End(_) => None,
    };
    of_keep.map(|what| format!("not acknowledged yet: {what}")).or_else(|| {
        let (who, within) = (waited_for(config, records, wish)?, say::span(SHOWN_WITHIN));
        Some(format!("{who} did not show within {within} that it goes by it: see its journal"))
    })
}

/// Who does not show yet that it goes by what was written. A pause needs nobody's word: it is in the way of the next claim.
fn waited_for(config: &Config, records: &Records, wish: &Wish) -> Option<NodeName> {
    let says = |what: &str| {
        let mut headnodes = records.headnodes.iter();
        let says = headnodes.find(|headnode| {
            view::record(&headnode.state).is_some_and(|state| state.why.contains(what))
        });
        says.map(|headnode| headnode.name.clone())
    };
    match wish {
        Wish::Pause | Wish::PauseAndKeep(_) | Wish::Begin(Subject::Node(_)) => None,
        Wish::Resume => says("automatic failover is paused"),
        Wish::End(Subject::Node(node)) => says(&format!("{node} is in maintenance")),
        Wish::Begin(Subject::Service(name)) => keeper_without(config, records, name, true),
        Wish::End(Subject::Service(name)) => keeper_without(config, records, name, false),
    }
}

/// The headnode that keeps the service running, if it does not leave it alone (or not alone) as it should: that in office, or
/// the one that it is pinned to, if it is there at all.
fn keeper_without(config: &Config, records: &Records, name: &str, alone: bool) -> Option<NodeName> {
    let pinned = pinned_to(config, name);
    let keeper = match pinned {
        Some(node) => node,
        None => standing::in_office(records).ok()?.node,
    };
    let own = records.headnodes.iter().find(|headnode| headnode.name == *keeper)?;
    let leaves = own.leaves_alone(name);
    (leaves != Some(alone) && (pinned.is_none() || leaves.is_some())).then(|| keeper.clone())
}

fn pinned_to<'a>(config: &'a Config, name: &str) -> Option<&'a NodeName> {
    config.pinned.iter().find(|service| service.name == *name)?.pinned.as_ref()
}

/// What holds now, in a phrase.
fn holds(config: &Config, place: &Place, records: &Records, wish: &Wish) -> String {
    let active = view::record(&records.active);
    if let (Wish::PauseAndKeep(_), Some(node)) = (wish, keep::by(records)) {
        return format!(
            "{node} keeps its services, whatever the quorum does, until `headship resume`"
        );
    }
    match wish {
        Wish::Pause | Wish::PauseAndKeep(_) => {
            match (active.and_then(|it| it.claimant.as_ref()), standing::in_office(records)) {
                (Some(claimant), _) => format!(
                    "{} had claimed office before, and goes on; after that nobody takes over until `headship resume`",
                    claimant.node
                ),
                (None, Ok(Holder { node, epoch, .. })) => {
                    let lease =
                        active.map_or(Duration::ZERO, |it| Duration::from_millis(it.lease_ms));
                    format!(
                        "{node} holds office in epoch {epoch} for as long as it renews its lease of {}; whatever happens to it, nobody takes over until `headship resume`",
                        say::span(lease)
                    )
                }
                (None, Err(nobody)) => nobody.sentence,
            }
        }
        Wish::Begin(Subject::Service(name)) if pinned_to(config, name).is_some() => format!(
            "it stays as it is where it is pinned to; when it shall be kept running again: `headship maintenance {name} off`"
        ),
        Wish::End(Subject::Service(name)) if pinned_to(config, name).is_some() => {
            "it is kept running again where it is pinned to".to_owned()
        }
        Wish::Begin(Subject::Service(name)) => in_office_says(records, |holder| {
            format!(
                "{holder} leaves it alone; where nothing may run it is stopped all the same, and when {name} shall be kept running again: `headship maintenance {name} off`"
            )
        }),
        Wish::End(Subject::Service(_)) => {
            in_office_says(records, |holder| format!("{holder} keeps it running again"))
        }
        Wish::Resume | Wish::Begin(Subject::Node(_)) | Wish::End(Subject::Node(_)) => {
            let view = cluster::view(config, Ok(records.clone()), || local::look(&place.run));
            standing::conclude(&view).sentence
        }
    }
}

fn in_office_says(records: &Records, says: impl Fn(&NodeName) -> String) -> String {
    match standing::in_office(records) {
        Ok(holder) => says(holder.node),
        Err(nobody) => nobody.sentence,
    }
}

#[cfg(test)]
mod tests;
