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
use crate::view::View;
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
                let seen = cluster.examine().await;
                cluster.close().await;
                seen
            }
            Err(why) => Err(why),
        };
        let view = View { servers, ..cluster::view(config, seen, || local::look(&place.run)) };
        let conclusion = standing::conclude(&view);
        if arguments.json {
            output::json(&json::document(&view, &conclusion))?;
        } else {
            output::print(&text::page(&view, &conclusion))?;
        }
        Ok(conclusion.condition.exit())
    }
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
                Some(cluster) => cluster.examine().await,
                None => match Cluster::connect(config, place.timeout.min(AGAIN)).await {
                    Ok(cluster) => connection.insert(cluster).examine().await,
                    Err(why) => Err(why),
                },
            }
        };
        let (servers, seen) = tokio::join!(servers, records);
        if seen.is_err() {
            connection = None;
        }
        let view = View { servers, ..cluster::view(config, seen, || local::look(&place.run)) };
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
