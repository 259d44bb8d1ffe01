//! `headship adopt`: has the headnodes follow the life of the cluster that the quorum's records are of.
//!
//! Whether a headnode may is decided by itself (`headship_core::controller`); here is what all of them answered.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use headship_core::config::Config;
use headship_core::known::Content;
use headship_core::node::NodeName;
use headship_core::quorum::{Op, Outcome};
use headship_core::record::{self, AdoptOrder, Answer, FORMAT, Key, Rest, Settings};
use headship_core::time::WallTime;
use headship_daemon::Exit;
use headship_drivers::host::clock;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

use crate::args::{Adopt, Place};
use crate::cluster::Cluster;
use crate::refusal::{Refusal, Refuse, Wanted};
use crate::view::{self, Records};
use crate::{output, say, who};

/// How long the headnodes have for their answers beside the wait that each keeps first.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How often the records are read without a change.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the order is tried again that another one got ahead of.
const ATTEMPTS: usize = 3;

/// What `--json` prints. The keys are documented in headship(1).
#[derive(Debug, Serialize)]
struct Document {
    order: Option<String>,
    incarnation: Option<String>,
    /// What each headnode answered; nothing if it did not.
    headnodes: BTreeMap<NodeName, Option<Answer>>,
    conclusion: String,
    exit: u8,
}

/// How the command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Conclusion {
    exit: Exit,
    sentence: String,
}

impl Conclusion {
    fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into() }
    }
}

impl From<Refusal> for Conclusion {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.exit, refusal.sentence)
    }
}

impl Refuse for Adopt {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        let document = Document {
            order: None,
            incarnation: None,
            headnodes: BTreeMap::new(),
            conclusion: refusal.sentence.clone(),
            exit: refusal.exit.code(),
        };
        refusal.tell(self.json, &document)
    }
}

/// Runs the command.
pub(crate) async fn run(config: &Config, place: &Place, arguments: &Adopt) -> Result<Exit> {
    let mut journey = Journey { config, json: arguments.json, order: None };
    let conclusion = match Cluster::connect(config, place.timeout).await {
        Ok(mut cluster) => {
            let ended = journey.travel(&mut cluster).await?;
            cluster.close().await;
            ended.unwrap_or_else(|why| Conclusion::new(Exit::QuorumAway, why))
        }
        Err(why) => Conclusion::new(Exit::QuorumAway, why),
    };
    journey.conclude(&conclusion)?;
    Ok(conclusion.exit)
}

struct Journey<'a> {
    config: &'a Config,
    json: bool,
    /// The order as it was last read.
    order: Option<AdoptOrder>,
}

impl Journey<'_> {
    /// Gives the order and waits for the answers; an error inside is that the quorum went away.
    async fn travel(&mut self, cluster: &mut Cluster) -> Result<Result<Conclusion, String>> {
        // Before the order is written: from now on Ctrl-C must not leave a half of it.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (id, by) = (who::random_id()?, who::am_i()?);
        match self.give(cluster, &id, by).await {
            Ok(None) => {}
            Ok(Some(conclusion)) => return Ok(Ok(conclusion)),
            Err(why) => return Ok(Err(why)),
        }
        let end = Instant::now() + ANSWER_LIMIT + self.config.timing.wait();
        let mut interrupted = false;
        loop {
            let late = Instant::now() >= end;
            match self.look(cluster, &id, late, interrupted).await {
                Ok(None) => {}
                Ok(Some(conclusion)) => return Ok(Ok(conclusion)),
                Err(why) => return Ok(Err(why)),
            }
            tokio::select! {
                _ = interrupt.recv(), if !interrupted => interrupted = true,
                // Without a change it is looked at again all the same.
                _ = timeout(AGAIN, cluster.changed()) => {}
            }
        }
    }

    /// Writes the order, unless something speaks against it.
    async fn give(
        &mut self,
        cluster: &mut Cluster,
        id: &str,
        by: String,
    ) -> Result<Option<Conclusion>, String> {
        for _ in 0..ATTEMPTS {
            let (settings, of_settings) = cluster.one::<Settings>(&Key::Settings).await?;
            let incarnation = match settings {
                Content::Record(settings) => settings.incarnation,
                Content::Corrupt(corrupt) => {
                    return Ok(Some(Conclusion::new(Exit::Failed, corrupt.to_string())));
                }
                Content::Missing | Content::Unread => {
                    let why = "there are no records to follow: start master-fc on a headnode first";
                    return Ok(Some(Conclusion::new(Exit::Refused, why)));
                }
            };
            let (old, version) = cluster.one::<AdoptOrder>(&Key::Adopt).await?;
            let now = clock::wall();
            if let Some(why) = view::record(&old).and_then(|old| self.in_the_way(old, now)) {
                return Ok(Some(Conclusion::new(Exit::Refused, why)));
            }
            let limit = ANSWER_LIMIT + self.config.timing.wait();
            let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let order = AdoptOrder {
                format: FORMAT,
                order: id.to_owned(),
                by: by.clone(),
                incarnation,
                not_after: WallTime(now.0.saturating_add(limit)),
                answers: BTreeMap::new(),
                rest: Rest::new(),
            };
            let (key, data) = (Key::Adopt, record::write(&order));
            let write = match version {
                version @ Some(_) => Op::Set { key, version, data },
                None => Op::Create { key, data },
            };
            let same_life = Op::Check { key: Key::Settings, version: of_settings };
            match cluster.link().write(vec![same_life, write]).await {
                // Unknown: it is looked for from now on.
                Outcome::Done { .. } | Outcome::Unknown => {
                    self.order = Some(order);
                    return Ok(None);
                }
                Outcome::Refused { why, .. } => {
                    if let Some(refusal) = Refusal::of_write(Wanted::Order, &why) {
                        return Ok(Some(refusal.into()));
                    }
                }
            }
        }
        Ok(Some(Refusal::of_others(Wanted::Order).into()))
    }

    /// The earlier order that is in the way, in a sentence. One that ran out, or that everybody answered, is over.
    fn in_the_way(&self, order: &AdoptOrder, now: WallTime) -> Option<String> {
        let waits = self
            .config
            .headnodes
            .iter()
            .any(|headnode| !order.answers.contains_key(&headnode.name));
        if !waits || now > order.not_after || order.refusal().is_some() {
            return None;
        }
        let left = say::span(Duration::from_millis(order.not_after.0 - now.0));
        Some(format!(
            "{} ordered to adopt a life of the cluster, which not all headnodes have answered: wait for it; it runs out in {left}",
            order.by
        ))
    }

    /// Reads the answers once, tells what is new, and how it ends if it does.
    async fn look(
        &mut self,
        cluster: &mut Cluster,
        id: &str,
        late: bool,
        interrupted: bool,
    ) -> Result<Option<Conclusion>, String> {
        let (order, version) = cluster.one::<AdoptOrder>(&Key::Adopt).await?;
        let records = cluster.glance().await?;
        let Some(order) = view::record(&order).filter(|order| order.order == id).cloned() else {
            let why = "the order is gone: see `headship status`, and say it again";
            return Ok(Some(Conclusion::new(Exit::Refused, why)));
        };
        let before = self.order.replace(order.clone());
        self.tell(before.as_ref(), &order)?;
        let ended = judge(self.config, &records, &order);
        let withdrawn = match &ended {
            Some(Conclusion { exit: Exit::Ok, .. }) => return Ok(ended),
            None if !late && !interrupted => return Ok(None),
            Some(_) | None => {
                let op = Op::Delete { key: Key::Adopt, version };
                matches!(cluster.link().write(vec![op]).await, Outcome::Done { .. })
            }
        };
        // Somebody has answered meanwhile, or the end is unknown: look again.
        if !withdrawn {
            return Ok(None);
        }
        let (follow, not) = divide(self.config, &order);
        Ok(Some(ended.unwrap_or_else(|| {
            let (exit, why) = if late {
                (Exit::TimedOut, "not all answered in time (see their master-fc)")
            } else {
                (Exit::Refused, "interrupted")
            };
            Conclusion::new(
                exit,
                format!("{why}: the order is withdrawn; follows: {follow}; does not: {not}"),
            )
        })))
    }

    fn tell(&self, before: Option<&AdoptOrder>, order: &AdoptOrder) -> Result<(), String> {
        let known = |node: &NodeName| before.is_some_and(|old| old.answers.contains_key(node));
        for (node, answer) in order.answers.iter().filter(|(node, _)| !known(node)) {
            if *answer == Answer::Accepted && !self.json {
                let text = format!("{node} follows life {}", order.incarnation);
                output::line(&text).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn conclude(&self, conclusion: &Conclusion) -> Result<()> {
        let Conclusion { exit, sentence } = conclusion;
        if self.json {
            let order = self.order.as_ref();
            let answer = |node: &NodeName| order.and_then(|it| it.answers.get(node)).cloned();
            let names = self.config.headnodes.iter().map(|headnode| &headnode.name);
            output::json(&Document {
                order: order.map(|order| order.order.clone()),
                incarnation: order.map(|order| order.incarnation.to_string()),
                headnodes: names.map(|name| (name.clone(), answer(name))).collect(),
                conclusion: sentence.clone(),
                exit: exit.code(),
            })?;
        } else if *exit == Exit::Ok {
            output::line(sentence)?;
        } else {
            output::complain(sentence);
        }
        Ok(())
    }
}

/// The headnodes that follow, and those that do not or did not say so, by name.
fn divide(config: &Config, order: &AdoptOrder) -> (String, String) {
    let follows = |node: &NodeName| order.answers.get(node) == Some(&Answer::Accepted);
    let names = || config.headnodes.iter().map(|headnode| &headnode.name);
    let listed = |wanted: bool| {
        let picked: Vec<&str> =
            names().filter(|name| follows(name) == wanted).map(NodeName::as_str).collect();
        if picked.is_empty() { "nobody".to_owned() } else { picked.join(", ") }
    };
    (listed(true), listed(false))
}

/// How it ended, if all who are there have answered, or one refused.
fn judge(config: &Config, records: &Records, order: &AdoptOrder) -> Option<Conclusion> {
    if let Some((node, why)) = order.refusal() {
        let (follow, _) = divide(config, order);
        let sentence = format!("{node} refused: {why}; follows: {follow}");
        return Some(Conclusion::new(Exit::Refused, sentence));
    }
    let waits = |there: bool| {
        let waits = records.headnodes.iter().filter(move |headnode| {
            view::record(&headnode.state).is_some() == there
                && !order.answers.contains_key(&headnode.name)
        });
        waits.map(|headnode| headnode.name.as_str()).collect::<Vec<_>>()
    };
    if !waits(true).is_empty() || order.answers.is_empty() {
        return None;
    }
    let (follow, _) = divide(config, order);
    let incarnation = &order.incarnation;
    let absent = waits(false);
    if absent.is_empty() {
        let sentence = format!("all headnodes follow life {incarnation}: {follow}");
        return Some(Conclusion::new(Exit::Ok, sentence));
    }
    let sentence = format!(
        "{follow} follows life {incarnation}, but {} is not there: `headship adopt` again when it is back, if it asks for it",
        absent.join(", ")
    );
    Some(Conclusion::new(Exit::Degraded, sentence))
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::Incarnation;

    use super::*;
    use crate::tests::{config, node, records};

    fn order(answers: &[(&str, Answer)]) -> AdoptOrder {
        AdoptOrder {
            format: FORMAT,
            order: "mine".to_owned(),
            by: "root@hn0".to_owned(),
            incarnation: Incarnation("i".to_owned()),
            not_after: WallTime(10_000),
            answers: answers.iter().map(|(name, answer)| (node(name), answer.clone())).collect(),
            rest: Rest::new(),
        }
    }

    fn judged(records: &Records, answers: &[(&str, Answer)]) -> Option<(Exit, String)> {
        let conclusion = judge(&config(), records, &order(answers))?;
        Some((conclusion.exit, conclusion.sentence))
    }

    #[test]
    fn it_is_done_when_all_who_are_there_follow() {
        let accepted = Answer::Accepted;
        assert_eq!(judged(&records(), &[]), None);
        assert_eq!(judged(&records(), &[("hn0", accepted.clone())]), None);
        let both = [("hn0", accepted.clone()), ("hn1", accepted.clone())];
        let done = "all headnodes follow life i: hn0, hn1".to_owned();
        assert_eq!(judged(&records(), &both), Some((Exit::Ok, done)));

        let mut records = records();
        records.headnodes[1].state = Content::Missing;
        let (exit, why) = judged(&records, &[("hn0", accepted)]).unwrap();
        assert_eq!(exit, Exit::Degraded);
        assert!(why.starts_with("hn0 follows life i, but hn1 is not there"), "{why}");
    }

    #[test]
    fn one_refusal_ends_it() {
        let why = "hn0 holds office of epoch 7 in another life of the cluster".to_owned();
        let (exit, told) = judged(&records(), &[("hn0", Answer::Refused { why })]).unwrap();
        assert_eq!(exit, Exit::Refused);
        assert_eq!(
            told,
            "hn0 refused: hn0 holds office of epoch 7 in another life of the cluster; follows: nobody"
        );
    }

    #[test]
    fn an_order_that_still_waits_for_an_answer_is_in_the_way() {
        let config = config();
        let journey = Journey { config: &config, json: false, order: None };
        let waits = journey.in_the_way(&order(&[("hn0", Answer::Accepted)]), WallTime(6000));
        assert!(waits.unwrap().starts_with("root@hn0 ordered to adopt"));
        assert_eq!(journey.in_the_way(&order(&[]), WallTime(10_001)), None);
        let refused = Answer::Refused { why: "no".to_owned() };
        assert_eq!(journey.in_the_way(&order(&[("hn0", refused)]), WallTime(6000)), None);
    }
}
