//! `headship status`: looks once, or again whenever something changes.

mod json;
mod text;

#[cfg(test)]
mod golden;

use std::time::Duration;

use anyhow::Result;
use headship_core::config::Config;
use headship_daemon::Exit;
use headship_drivers::host::clock;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::apache;
use crate::args::{Place, Status};
use crate::cluster::{self, Cluster};
use crate::followers::Follower;
use crate::refusal::{Refusal, Refuse};
use crate::view::{Records, Server, View};
use crate::{local, output, standing};

/// How soon a change is shown after another one: a busy cluster shall not make a busy terminal.
const SETTLE: Duration = Duration::from_millis(100);
/// How often it is shown without a change: ages grow.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the Apache quorum is looked at: nothing here is decided by it.
const APACHE_AGAIN: Duration = Duration::from_secs(5);

/// Runs the command.
pub(crate) async fn run(config: &Config, place: &Place, arguments: &Status) -> Result<Exit> {
    if arguments.watch {
        tokio::select! {
            never = watch(config, place, arguments.json) => never,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                Ok(Exit::Ok)
            }
        }
    } else {
        let records = async {
            let mut cluster = Cluster::connect(config, place.timeout).await?;
            let seen = examine(&mut cluster).await;
            cluster.close().await;
            seen
        };
        let (servers, seen, apache) =
            tokio::join!(cluster::servers(config), records, elected(config));
        let view = View { apache, ..view(config, place, servers, seen) };
        let conclusion = standing::conclude(&view);
        if arguments.json {
            output::json(&json::document(&view, &conclusion))?;
        } else {
            output::print(&text::page(&view, &conclusion))?;
        }
        Ok(conclusion.condition.exit())
    }
}

impl Refuse for Status {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        refusal.tell(self.json, &json::refused(refusal, clock::wall()))
    }
}

/// What is elected in the Apache quorum, if the configuration has one.
async fn elected(config: &Config) -> Option<apache::Seen> {
    Some(apache::look(config.apache_quorum.as_ref()?).await)
}

/// The records and who follows.
async fn examine(cluster: &mut Cluster) -> Result<(Records, Vec<Follower>), String> {
    let records = cluster.examine().await?;
    Ok((records, cluster.followers().await?))
}

fn view(
    config: &Config,
    place: &Place,
    servers: Vec<Server>,
    seen: Result<(Records, Vec<Follower>), String>,
) -> View {
    let (seen, followers) = match seen {
        Ok((records, followers)) => (Ok(records), followers),
        Err(why) => (Err(why), Vec::new()),
    };
    View { servers, followers, ..cluster::view(config, seen, || local::look(&place.run)) }
}

/// Shows the cluster for ever; connects again when the quorum went away.
async fn watch(config: &Config, place: &Place, json: bool) -> Result<Exit> {
    let mut connection: Option<Cluster> = None;
    let mut shown = String::new();
    let mut apache = None;
    let mut apache_due = Instant::now();
    loop {
        let begin = Instant::now();
        // Seldom, as each look is a session there.
        let look_at_apache = begin >= apache_due;
        let look = async { if look_at_apache { elected(config).await } else { None } };
        let servers = cluster::servers(config);
        let records = async {
            match &mut connection {
                Some(cluster) => examine(cluster).await,
                None => match Cluster::connect(config, place.timeout.min(AGAIN)).await {
                    Ok(cluster) => examine(connection.insert(cluster)).await,
                    Err(why) => Err(why),
                },
            }
        };
        let (servers, seen, looked) = tokio::join!(servers, records, look);
        if look_at_apache {
            (apache, apache_due) = (looked, Instant::now() + APACHE_AGAIN);
        }
        if seen.is_err() {
            connection = None;
        }
        let view = View { apache: apache.clone(), ..view(config, place, servers, seen) };
        let conclusion = standing::conclude(&view);
        if json {
            let document = json::document(&view, &conclusion);
            let text = serde_json::to_string(&document.undated())?;
            if text != shown {
                output::json(&document)?;
                shown = text;
            }
        } else {
            let text = text::page(&view, &conclusion);
            if text != shown {
                output::page(&text)?;
                shown = text;
            }
        }
        match &mut connection {
            Some(cluster) => {
                sleep(SETTLE).await;
                // Without a change it is shown again all the same.
                drop(timeout(AGAIN.saturating_sub(begin.elapsed()), cluster.changed()).await);
            }
            None => sleep_until(begin + AGAIN).await,
        }
    }
}
