//! `headship status`: looks once, or again whenever something changes.

mod json;
mod text;

#[cfg(test)]
mod golden;

use std::time::Duration;

use anyhow::Result;
use headship_core::config::Config;
use headship_daemon::Exit;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::args::{Place, Status};
use crate::cluster::{self, Cluster};
use crate::followers::Follower;
use crate::view::{Records, Server, View};
use crate::{local, output, standing};

/// How soon a change is shown after another one: a busy cluster shall not make a busy terminal.
const SETTLE: Duration = Duration::from_millis(100);
/// How often it is shown without a change: ages grow.
const AGAIN: Duration = Duration::from_secs(1);

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
        let (servers, connected) =
            tokio::join!(cluster::servers(config), Cluster::connect(config, place.timeout));
        let seen = match connected {
            Ok(mut cluster) => {
                let seen = examine(&mut cluster).await;
                cluster.close().await;
                seen
            }
            Err(why) => Err(why),
        };
        let view = view(config, place, servers, seen);
        let conclusion = standing::conclude(&view);
        if arguments.json {
            output::json(&json::document(&view, &conclusion))?;
        } else {
            output::print(&text::page(&view, &conclusion))?;
        }
        Ok(conclusion.condition.exit())
    }
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
    loop {
        let begin = Instant::now();
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
        let (servers, seen) = tokio::join!(servers, records);
        if seen.is_err() {
            connection = None;
        }
        let view = view(config, place, servers, seen);
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
