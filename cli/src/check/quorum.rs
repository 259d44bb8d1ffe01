//! The failover quorum as seen from this host: servers, their figures against the configuration's, a session.

use std::time::Duration;

use headship_core::config::Config;
use headship_daemon::Exit;
use headship_zk::words::{self, NoAnswer, Server};
use tokio::task::spawn_blocking;

use super::{Area, Finding};
use crate::cluster::Cluster;

/// How long each word of a server may take.
const WORD_LIMIT: Duration = Duration::from_secs(2);

/// Each server, and whether all of them together give a session.
pub(super) async fn findings(config: &Config, limit: Duration) -> Vec<Finding> {
    let asked: Vec<_> = (config.quorum.servers.iter().cloned())
        .map(|server| spawn_blocking(move || (words::look(&server, WORD_LIMIT), server)))
        .collect();
    let mut findings = Vec::new();
    let mut leaders = 0;
    for answer in asked {
        let Ok((answer, server)) = answer.await else { continue };
        let leads =
            |answer: &Server| matches!(answer.mode.as_deref(), Some("leader" | "standalone"));
        leaders += usize::from(answer.as_ref().is_ok_and(leads));
        findings.extend(of_server(config, &server, &answer));
    }
    if leaders > 1 {
        findings.push(Area::Quorum.fault(
            Exit::Configuration,
            "more than one server leads: `failover_quorum.servers` names servers of different ensembles; write those of one",
        ));
    }
    let servers = config.quorum.servers.len();
    if servers < 3 {
        findings.push(Area::Quorum.warning(format!(
            "{servers} servers survive no loss of one: run three, on three hosts"
        )));
    }
    findings.push(session(config, limit).await);
    findings
}

async fn session(config: &Config, limit: Duration) -> Finding {
    let cluster = match Cluster::connect(config, limit).await {
        Ok(cluster) => cluster,
        Err(why) => return Area::Quorum.fault(Exit::QuorumAway, why),
    };
    let granted = cluster.granted();
    cluster.close().await;
    let asked = config.timing.session;
    if granted == asked {
        return Area::Quorum
            .ok(format!("the servers grant the session timeout asked for, {asked:?}"));
    }
    Area::Quorum.fault(
        Exit::Configuration,
        format!(
            "the servers grant a session timeout of {granted:?} instead of {asked:?}: `tick_ms` is not their tickTime, or minSessionTimeout or maxSessionTimeout of zoo.cfg is in the way"
        ),
    )
}

fn of_server(config: &Config, server: &str, answer: &Result<Server, NoAnswer>) -> Vec<Finding> {
    let found = match answer {
        Ok(found) => found,
        Err(why) => {
            let cause = std::error::Error::source(why).map(|cause| format!(": {cause}"));
            let text = format!("{server}: {why}{}", cause.unwrap_or_default());
            return vec![
                Area::Quorum
                    .warning(format!("{text}; see that it runs and can be reached from here")),
            ];
        }
    };
    let mode = found.mode.as_deref().unwrap_or("up (it may not say more: allow the word `srvr`)");
    let mut faults = Vec::new();
    let mut differs = |key: &str, theirs: &str, told: String, written: String| {
        faults.push(Area::Quorum.fault(
            Exit::Configuration,
            format!("{server} has {theirs} {told}, and `failover_quorum.{key}` is {written}: write what is true, the lease is compared with it"),
        ));
    };
    if let Some(tick) = found.tick.filter(|tick| *tick != config.quorum.tick) {
        let (told, written) = (tick.as_millis(), config.quorum.tick.as_millis());
        differs("tick_ms", "tickTime", told.to_string(), written.to_string());
    }
    if let Some(limit) = found.sync_limit.filter(|limit| *limit != config.quorum.sync_limit) {
        differs("sync_limit", "syncLimit", limit.to_string(), config.quorum.sync_limit.to_string());
    }
    let session = config.timing.session;
    if found.session_min.is_some_and(|least| session < least)
        || found.session_max.is_some_and(|most| session > most)
    {
        faults.push(Area::Quorum.fault(
            Exit::Configuration,
            format!(
                "{server} grants sessions from {:?} to {:?} only, not {session:?}: change minSessionTimeout or maxSessionTimeout in zoo.cfg, or `session_ms`",
                found.session_min.unwrap_or_default(),
                found.session_max.unwrap_or(Duration::MAX)
            ),
        ));
    }
    if faults.is_empty() {
        let figures = match (found.tick, found.sync_limit) {
            (Some(tick), Some(limit)) => {
                format!("; tickTime {tick:?} and syncLimit {limit} as configured")
            }
            (Some(tick), None) => format!("; tickTime {tick:?} as configured"),
            (None, _) => {
                "; its tickTime is not verified (allow the word `conf` in 4lw.commands.whitelist)"
                    .to_owned()
            }
        };
        faults.push(Area::Quorum.ok(format!("{server} is {mode}{figures}")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::tests::config;

    fn server() -> Server {
        Server {
            mode: Some("follower".to_owned()),
            tick: Some(Duration::from_millis(500)),
            sync_limit: Some(5),
            session_min: Some(Duration::from_secs(1)),
            session_max: Some(Duration::from_secs(10)),
        }
    }

    fn told(server: Server) -> Vec<(Level, String)> {
        let found = of_server(&config(), "zk0:2181", &Ok(server));
        found.into_iter().map(|it| (it.level, it.text)).collect()
    }

    #[test]
    fn figures_that_agree_are_told_once() {
        let text = "zk0:2181 is follower; tickTime 500ms and syncLimit 5 as configured";
        assert_eq!(told(server()), [(Level::Ok, text.to_owned())]);
    }

    #[test]
    fn every_figure_that_differs_is_a_fault_with_both_numbers() {
        let other = Server {
            tick: Some(Duration::from_secs(2)),
            sync_limit: Some(10),
            session_max: Some(Duration::from_secs(2)),
            ..server()
        };
        let told = told(other);
        assert!(told.iter().all(|(level, _)| *level == Level::Fault));
        let texts: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
        assert!(
            texts[0]
                .starts_with("zk0:2181 has tickTime 2000, and `failover_quorum.tick_ms` is 500:")
        );
        assert!(
            texts[1]
                .starts_with("zk0:2181 has syncLimit 10, and `failover_quorum.sync_limit` is 5:")
        );
        assert!(texts[2].starts_with("zk0:2181 grants sessions from 1s to 2s only, not 4s:"));
    }

    #[test]
    fn a_server_that_may_say_little_is_not_blamed() {
        let quiet = Server { mode: None, ..Server::default() };
        let told = told(quiet);
        assert_eq!(told[0].0, Level::Ok);
        assert!(told[0].1.contains("not verified"), "{told:?}");
    }
}
