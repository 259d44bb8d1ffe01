//! `headship switchover`, `failover` and `fence confirm`: gives the order, follows it to its end, and withdraws it where that is still
//! possible.
//!
//! Whether it is carried out is decided by the headnodes (`headship_core::controller`); here is only what stands in the way
//! of an order at all. Of orders that would contradict each other one at a time is given. An order is bound to an epoch and to an end of its validity, so one that got lost does no harm.

mod begin;
mod confirm;
mod failover;
mod follow;
mod kind;
mod outcome;
mod switchover;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use headship_core::config::Config;
use headship_core::epoch::Epoch;
use headship_core::node::NodeName;
use headship_core::quorum::{Op, Outcome, Version};
use headship_core::record::{
    self, ConfirmOrder, FailoverOrder, Given, Key, Order, SwitchoverOrder,
};
use headship_core::time::WallTime;
use headship_daemon::Exit;
use headship_drivers::host::clock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::begin::{confirm, end_without_order, fail_over, switch_over};
use self::follow::{End, Follow, Step};
use self::kind::{Kind, New, Office, in_the_way};
use self::outcome::Seen;
use crate::args::Place;
use crate::cluster::Cluster;
use crate::fence::Claim;
use crate::refusal::{Refusal, Wanted};
use crate::view::{ServiceSeen, record as understood};
use crate::{output, who};

/// How long the active has for its answer. It is told at once; this is for one that is busy, and for clocks that differ.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How often the records are read without a change.
const AGAIN: Duration = Duration::from_secs(1);
/// How soon the quorum is tried again when it went away.
const RETRY: Duration = Duration::from_millis(200);
/// How often an order is tried again that another one got ahead of, which is over by then.
const ATTEMPTS: usize = 3;

/// What `--json` prints. The keys are documented in headship(1).
#[derive(Debug, Serialize)]
struct Document {
    order: Option<String>,
    from: Option<String>,
    to: Option<String>,
    epoch: Option<u64>,
    phases: Vec<PhaseSeen>,
    /// What was seen of each service on the new active when office was announced.
    services: Option<BTreeMap<String, Option<String>>>,
    total_ms: u128,
    conclusion: String,
    exit: u8,
}

#[derive(Debug, Serialize)]
struct PhaseSeen {
    phase: &'static str,
    at_ms: u128,
}

/// How the command ended.
struct Conclusion {
    exit: Exit,
    sentence: String,
    services: Option<Seen>,
}

impl Conclusion {
    fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into(), services: None }
    }
}

impl From<Refusal> for Conclusion {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.exit, refusal.sentence)
    }
}

async fn run<K: Kind>(config: &Config, place: &Place, kind: K, json: bool) -> Result<Exit> {
    let mut journey = Journey::new(config, place, kind, json);
    let conclusion = match Cluster::connect(config, place.timeout).await {
        Ok(cluster) => journey.travel(cluster).await?,
        Err(why) => Conclusion::new(Exit::QuorumAway, why),
    };
    journey.conclude(&conclusion)?;
    Ok(conclusion.exit)
}

struct Journey<'a, K> {
    config: &'a Config,
    place: &'a Place,
    json: bool,
    begin: Instant,
    told: usize,
    kind: K,
    follow: Option<(String, Office, Follow)>,
}

impl<'a, K: Kind> Journey<'a, K> {
    fn new(config: &'a Config, place: &'a Place, kind: K, json: bool) -> Self {
        Self { config, place, json, begin: Instant::now(), told: 0, kind, follow: None }
    }

    async fn travel(&mut self, mut cluster: Cluster) -> Result<Conclusion> {
        // Before the order is written: from now on Ctrl-C must not end us without a word.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let id = who::random_id()?;
        let office = match give(self.config, &mut cluster, &id, &self.kind).await? {
            Ok(office) => office,
            Err(conclusion) => {
                cluster.close().await;
                return Ok(conclusion);
            }
        };
        self.begin = Instant::now();
        let follow = Follow::new(id.clone(), office.clone(), self.kind.to().cloned());
        self.follow = Some((id, office, follow));
        let mut link = Some(cluster);
        let conclusion = self.follow(&mut link, &mut interrupt).await?;
        if let Some(cluster) = link {
            cluster.close().await;
        }
        Ok(conclusion)
    }

    async fn follow(
        &mut self,
        link: &mut Option<Cluster>,
        interrupt: &mut Signal,
    ) -> Result<Conclusion> {
        let mut interrupted = false;
        loop {
            if let Some(conclusion) = self.look(link).await? {
                return Ok(conclusion);
            }
            let Some((id, office, follow)) = &self.follow else {
                return Ok(Conclusion::new(Exit::Failed, "there is no order"));
            };
            let elapsed = self.begin.elapsed();
            if follow.answered && interrupted {
                return Ok(Conclusion::new(
                    Exit::TimedOut,
                    "it goes on by itself: see `headship status --watch`",
                ));
            }
            if follow.answered && elapsed >= patience(self.config) {
                let sentence = "it takes longer than its services may take: see `headship status` and the journals; it goes on";
                return Ok(Conclusion::new(Exit::TimedOut, sentence));
            }
            let late = elapsed >= ANSWER_LIMIT;
            if !follow.answered && (late || interrupted) {
                let why = if late {
                    K::unanswered(office, ANSWER_LIMIT)
                } else {
                    "interrupted".to_owned()
                };
                let moves = !follow.steps.is_empty();
                let Some(cluster) = link else {
                    let sentence = format!(
                        "{why}, and the failover quorum is out of sight: the order may still be accepted until it runs out"
                    );
                    return Ok(Conclusion::new(Exit::TimedOut, sentence));
                };
                if let Some(conclusion) =
                    withdraw::<K::Order>(cluster, id, &why, (late, moves)).await
                {
                    return Ok(conclusion);
                }
                continue;
            }
            tokio::select! {
                _ = interrupt.recv(), if !interrupted => interrupted = true,
                () = pause(link) => {}
            }
        }
    }

    /// Reads the records once, connecting again where that is needed, and tells what is new.
    async fn look(&mut self, link: &mut Option<Cluster>) -> Result<Option<Conclusion>> {
        if link.is_none() {
            *link = Cluster::connect(self.config, self.place.timeout.min(AGAIN)).await.ok();
        }
        let Some(cluster) = link else { return Ok(None) };
        // The order first: an answer is then never newer than what followed from it.
        let seen = async {
            let (order, _) = cluster.one::<K::Order>(&K::Order::KEY).await?;
            Ok::<_, String>((order, cluster.glance().await?))
        };
        let Ok((order, records)) = seen.await else {
            *link = None;
            self.say("the failover quorum is out of sight; what was begun goes on")?;
            return Ok(None);
        };
        let Some((_, _, follow)) = &mut self.follow else { return Ok(None) };
        let end = follow.see::<K>(self.begin.elapsed(), &order, &records);
        self.tell()?;
        Ok(end.map(|end| match end {
            End::Done { node, epoch, otherwise } => {
                let services = self.config.services.iter();
                let names: Vec<String> = services.map(|service| service.name.clone()).collect();
                let seen = outcome::seen(&names, &node, &records);
                // Office is announced once those marked `announce` serve, whatever the last look of another daemon says.
                let others = self.config.services.iter().filter(|service| !service.announce);
                let others: Vec<String> = others.map(|service| service.name.clone()).collect();
                let settings = understood(&records.settings);
                let alone = settings.map(|settings| &settings.maintenance.services);
                let otherwise = otherwise.map_or_else(String::new, |how| format!("{how}; "));
                let sentence = format!(
                    "{node} is active in epoch {epoch}; it took {:.3} s; {otherwise}{}",
                    self.begin.elapsed().as_secs_f64(),
                    outcome::sentence(&others, &seen, |name| {
                        alone.is_some_and(|alone| alone.contains_key(name))
                    })
                );
                Conclusion { services: Some(seen), ..Conclusion::new(Exit::Ok, sentence) }
            }
            End::Refused(why) => {
                Conclusion::new(Exit::Refused, format!("refused, and nothing moved: {why}"))
            }
            End::Otherwise(why) => Conclusion::new(Exit::Failed, why),
        }))
    }

    /// Prints the steps that were not printed yet.
    fn tell(&mut self) -> Result<()> {
        let Some((_, _, follow)) = &self.follow else { return Ok(()) };
        let mut text = String::new();
        for Step { at, text: step, .. } in follow.steps.iter().skip(self.told) {
            writeln!(text, "{:>8.3} s  {step}", at.as_secs_f64())?;
        }
        self.told = follow.steps.len();
        if !self.json && !text.is_empty() {
            output::print(&text)?;
        }
        Ok(())
    }

    fn say(&self, text: &str) -> Result<()> {
        if !self.json {
            output::line(&format!("{:>8.3} s  {text}", self.begin.elapsed().as_secs_f64()))?;
        }
        Ok(())
    }

    fn conclude(&self, conclusion: &Conclusion) -> Result<()> {
        let Conclusion { exit, sentence, services } = conclusion;
        if !self.json && *exit == Exit::Ok {
            output::line(sentence)?;
        } else if !self.json {
            output::complain(sentence);
        } else {
            let follow = self.follow.as_ref();
            let steps = follow.map_or(&[][..], |(_, _, follow)| &follow.steps);
            output::json(&Document {
                order: follow.map(|(id, _, _)| id.clone()),
                from: follow.map(|(_, office, _)| office.from.to_string()),
                to: self.kind.to().map(ToString::to_string),
                epoch: follow.map(|(_, office, _)| office.epoch.0),
                phases: steps
                    .iter()
                    .map(|step| PhaseSeen {
                        phase: step.stage.as_str(),
                        at_ms: step.at.as_millis(),
                    })
                    .collect(),
                services: services.as_ref().map(|seen| {
                    let observed = |seen: &ServiceSeen| seen.observed.clone();
                    seen.iter()
                        .map(|(name, seen)| (name.clone(), seen.as_ref().map(observed)))
                        .collect()
                }),
                total_ms: self.begin.elapsed().as_millis(),
                conclusion: sentence.clone(),
                exit: exit.code(),
            })?;
        }
        Ok(())
    }
}

/// Waits for a change, or for the quorum to be worth another try.
async fn pause(link: &mut Option<Cluster>) {
    match link {
        // Without a change it is looked at again all the same.
        Some(cluster) => drop(timeout(AGAIN, cluster.changed()).await),
        None => sleep(RETRY).await,
    }
}

/// Writes the order, unless something speaks against it.
async fn give<K: Kind>(
    config: &Config,
    cluster: &mut Cluster,
    id: &str,
    kind: &K,
) -> Result<Result<Office, Conclusion>> {
    let by = who::am_i()?;
    let away = |why| Ok(Err(Conclusion::new(Exit::QuorumAway, why)));
    for _ in 0..ATTEMPTS {
        let records = match cluster.records().await {
            Ok(records) => records,
            Err(why) => return away(why),
        };
        let office = match kind.office(config, &records) {
            Ok(office) => office,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let now = clock::wall();
        let limit = u64::try_from(ANSWER_LIMIT.as_millis()).unwrap_or(u64::MAX);
        let not_after = WallTime(now.0.saturating_add(limit));
        let order = kind.order(&office, New { id: id.to_owned(), by: by.clone(), not_after });
        let data = record::write(&order);
        let steps = match &office.claim {
            Some(claim) => steps_of_confirm(cluster, (claim, &office.from), data, now).await,
            None => steps(cluster, (&K::Order::KEY, &data), office.epoch, now).await,
        };
        let steps = match steps {
            Ok(Ok(steps)) => steps,
            Ok(Err(why)) => return Ok(Err(Conclusion::new(Exit::Refused, why))),
            Err(why) => return away(why),
        };
        match cluster.link().write(steps).await {
            // Unknown: it is looked for from now on, and withdrawn if it stays unanswered.
            Outcome::Done { .. } | Outcome::Unknown => return Ok(Ok(office)),
            Outcome::Refused { why, .. } => {
                if let Some(refusal) = Refusal::of_write(Wanted::Order, &why) {
                    return Ok(Err(refusal.into()));
                }
            }
        }
    }
    Ok(Err(Refusal::of_others(Wanted::Order).into()))
}

/// The write of an order at `key`, bound to what was read of the orders of all kinds: that each is over. Or which one is in its
/// way.
///
/// # Errors
/// The sentence why the quorum is out of sight.
async fn steps(
    cluster: &mut Cluster,
    (key, data): (&Key, &str),
    epoch: Epoch,
    now: WallTime,
) -> Result<Result<Vec<Op>, String>, String> {
    let (in_the_way, read) = of_office(cluster, epoch, now).await?;
    if let Some(why) = in_the_way {
        return Ok(Err(why));
    }
    let own = read.iter().find(|(of, _)| of == key).and_then(|(_, version)| *version);
    let others = read.into_iter().filter(|(of, version)| of != key && version.is_some());
    let mut steps: Vec<Op> = others.map(|(key, version)| Op::Check { key, version }).collect();
    let (key, data) = (key.clone(), data.to_owned());
    steps.push(match own {
        version @ Some(_) => Op::Set { key, version, data },
        None => Op::Create { key, data },
    });
    Ok(Ok(steps))
}

/// What was read of the orders that move the office: which one is in the way of what contradicts it, if one is, and the version of
/// each.
///
/// # Errors
/// The sentence why the quorum is out of sight.
pub(crate) async fn of_office(
    cluster: &mut Cluster,
    epoch: Epoch,
    now: WallTime,
) -> Result<(Option<String>, [(Key, Option<Version>); 2]), String> {
    let (switchover, of_switchover) = cluster.one::<SwitchoverOrder>(&Key::Switchover).await?;
    let (failover, of_failover) = cluster.one::<FailoverOrder>(&Key::Failover).await?;
    // What nobody can read is no order.
    let given: [Option<Given<'_>>; 2] =
        [understood(&switchover).map(Order::given), understood(&failover).map(Order::given)];
    let in_the_way = given.iter().flatten().find_map(|given| in_the_way(given, epoch, now));
    Ok((in_the_way, [(Key::Switchover, of_switchover), (Key::Failover, of_failover)]))
}

/// The same for somebody's word about a claim.
///
/// # Errors
/// The sentence why the quorum is out of sight.
async fn steps_of_confirm(
    cluster: &mut Cluster,
    (claim, node): (&Claim, &NodeName),
    data: String,
    now: WallTime,
) -> Result<Result<Vec<Op>, String>, String> {
    let (switchover, _) = cluster.one::<SwitchoverOrder>(&Key::Switchover).await?;
    let (failover, _) = cluster.one::<FailoverOrder>(&Key::Failover).await?;
    let (earlier, version) = cluster.one::<ConfirmOrder>(&Key::Confirm).await?;
    let others =
        [understood(&switchover).map(Order::given), understood(&failover).map(Order::given)];
    let others: Vec<Given<'_>> = others.into_iter().flatten().collect();
    Ok(confirm::steps((claim, node), &others, understood(&earlier), (version, data), now))
}

/// Takes the order back. `None`: it has been answered by now, or that cannot be seen; look again.
async fn withdraw<O: Order + DeserializeOwned>(
    cluster: &mut Cluster,
    id: &str,
    why: &str,
    (late, moves): (bool, bool),
) -> Option<Conclusion> {
    let exit = if late { Exit::TimedOut } else { Exit::Refused };
    let end =
        if moves { "see `headship status` for what moves without it" } else { "and nothing moved" };
    let (order, version) = cluster.one::<O>(&O::KEY).await.ok()?;
    let Some(given) = understood(&order).map(Order::given).filter(|given| given.id == id) else {
        return Some(Conclusion::new(exit, format!("{why}: the order is gone, {end}")));
    };
    if given.answer.is_some() {
        return None;
    }
    let op = Op::Delete { key: O::KEY, version };
    match cluster.link().write(vec![op]).await {
        Outcome::Done { .. } => {
            Some(Conclusion::new(exit, format!("{why}: the order is withdrawn, {end}")))
        }
        Outcome::Refused { .. } | Outcome::Unknown => None,
    }
}

/// How long an accepted order may take: all that its services may, and the quorum's part.
fn patience(config: &Config) -> Duration {
    let services = config.services.iter();
    let services = services.map(|service| service.start_limit.saturating_add(service.stop_limit));
    services.fold(config.timing.wait(), Duration::saturating_add)
}
