//! `headship check`: what would go wrong, found before it is needed. It changes nothing.
//!
//! What each part looks at is in `host`, `agent`, `actions`, `names`, `address`, `quorum`, `timing`, `stops`, `fencing`, `proof` and `hadoop`; what a
//! configuration must be like is decided in `headship_core::config`.

mod actions;
mod address;
mod agent;
mod fencing;
mod hadoop;
mod host;
mod names;
mod proof;
mod quorum;
mod stops;
mod timing;

use std::path::Path;

use anstyle::Style;
use anyhow::Result;
use headship_core::config::Config;
use headship_daemon::Exit;
use headship_daemon::configuration::{self, ConfigurationError};
use serde::Serialize;

use crate::args::{Check, Place};
use crate::output::{self, BAD, GOOD, HEAD, WARN, styled};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Area {
    Configuration,
    Host,
    Names,
    Quorum,
    Timing,
    Fencing,
    Proof,
    State,
}

/// How it was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Ok,
    /// Nothing is wrong, and something is to be known before it is needed. It changes neither count nor exit code.
    Advice,
    Warning,
    Fault,
}

/// One thing that was checked. Where it is not well, the sentence ends with the way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    area: Area,
    level: Level,
    text: String,
    #[serde(skip)]
    exit: Exit,
}

/// What `--json` prints. The keys are documented in headship(1).
#[derive(Debug, Serialize)]
struct Document<'a> {
    findings: &'a [Finding],
    faults: usize,
    warnings: usize,
    exit: u8,
}

impl Area {
    const ALL: [Self; 8] = [
        Self::Configuration,
        Self::Host,
        Self::Names,
        Self::Quorum,
        Self::Timing,
        Self::Fencing,
        Self::Proof,
        Self::State,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Host => "this host",
            Self::Names => "names",
            Self::Quorum => "failover quorum",
            Self::Timing => "timing",
            Self::Fencing => "fencing",
            Self::Proof => "proof against",
            Self::State => "what services keep",
        }
    }

    fn ok(self, text: impl Into<String>) -> Finding {
        Finding { area: self, level: Level::Ok, text: text.into(), exit: Exit::Ok }
    }

    fn advice(self, text: impl Into<String>) -> Finding {
        Finding { area: self, level: Level::Advice, text: text.into(), exit: Exit::Ok }
    }

    fn warning(self, text: impl Into<String>) -> Finding {
        Finding { area: self, level: Level::Warning, text: text.into(), exit: Exit::Degraded }
    }

    fn fault(self, exit: Exit, text: impl Into<String>) -> Finding {
        Finding { area: self, level: Level::Fault, text: text.into(), exit }
    }
}

impl Level {
    fn word(self) -> (&'static str, Style) {
        match self {
            Self::Ok => ("ok", GOOD),
            Self::Advice => ("advice", HEAD),
            Self::Warning => ("warning", WARN),
            Self::Fault => ("FAULT", BAD),
        }
    }
}

/// Runs the command.
pub(crate) async fn run(place: &Place, arguments: &Check) -> Result<Exit> {
    let findings = match configuration::load(&place.config) {
        Ok(config) if arguments.configuration => vec![loaded(&place.config, &config)],
        Ok(config) => {
            let mut findings = vec![loaded(&place.config, &config)];
            let seen = host::look(&config, place);
            findings.extend(host::findings(&config, &seen));
            findings.extend(agent::findings(&config));
            let acting = actions::look(&config, place).await;
            findings.extend(actions::findings(&config, &acting));
            findings.extend(names::findings(&config).await);
            let own = address::look(&config).await;
            findings.extend(own.iter().flat_map(|seen| address::findings(&config, seen)));
            findings.extend(quorum::findings(&config, place.timeout).await);
            findings.extend(timing::findings(&config, seen.stop));
            let stops = stops::look(&config).await;
            findings.extend(stops.iter().flat_map(|told| stops::findings(&config, told)));
            findings.extend(fencing::findings(&config, &fencing::look(&config, place).await));
            findings.extend(proof::findings(&config, &seen));
            findings.extend(hadoop::findings(&config));
            findings
        }
        Err(error) => {
            let mut findings = faulty(error);
            if !arguments.configuration {
                findings.extend(gated_all(&place.config));
            }
            findings
        }
    };
    let exit = worst(&findings);
    if arguments.json {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        output::json(&Document {
            findings: &findings,
            faults: count(Level::Fault),
            warnings: count(Level::Warning),
            exit: exit.code(),
        })?;
    } else {
        output::print(&page(&findings))?;
    }
    Ok(exit)
}

fn loaded(folder: &Path, config: &Config) -> Finding {
    let task = if config.is_headnode() { "a headnode" } else { "no headnode" };
    Area::Configuration.ok(format!(
        "`{}` is complete: cluster {} with {} headnodes and {} HA services; this node is {}, {task}",
        folder.display(),
        config.cluster,
        config.headnodes.len(),
        config.services.len(),
        config.node
    ))
}

fn faulty(error: ConfigurationError) -> Vec<Finding> {
    let exit = error.exit();
    let fault = |text| Area::Configuration.fault(exit, text);
    match error {
        ConfigurationError::Faults(faults) => {
            faults.0.iter().map(|it| fault(it.to_string())).collect()
        }
        other @ (ConfigurationError::Missing { .. }
        | ConfigurationError::Unreadable { .. }
        | ConfigurationError::HostName(_)) => {
            vec![fault(format!("{:#}", anyhow::Error::new(other)))]
        }
    }
}

/// That the faults keep services down, if a pinned one is among them: every unit that a faulty configuration names is gated, as
/// nobody can be sure which of them move.
fn gated_all(folder: &Path) -> Option<Finding> {
    configuration::pins(&configuration::texts(folder)).then(|| {
        Area::Configuration.warning("until that is mended, pinned services do not start once this host was rebooted, or `systemctl daemon-reload` run: each unit that a faulty configuration names gets the start gate of those that move")
    })
}

/// The exit code of the worst finding: what must be mended first comes first.
fn worst(findings: &[Finding]) -> Exit {
    let order = [Exit::Configuration, Exit::QuorumAway, Exit::Failed, Exit::Degraded];
    let found = |exit: &Exit| findings.iter().any(|finding| finding.exit == *exit);
    order.into_iter().find(found).unwrap_or(Exit::Ok)
}

fn page(findings: &[Finding]) -> String {
    let mut page = String::new();
    for area in Area::ALL {
        let mut of_area = findings.iter().filter(|finding| finding.area == area).peekable();
        if of_area.peek().is_some() {
            page.push_str(&format!("{}\n", styled(HEAD, area.title())));
        }
        for finding in of_area {
            let (word, style) = finding.level.word();
            page.push_str(&format!(
                "  {} {}\n",
                styled(style, &format!("{word:<8}")),
                finding.text
            ));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (faults, warnings) = (count(Level::Fault), count(Level::Warning));
    page.push_str(&match (faults, warnings) {
        (0, 0) => format!("\n{}\n", styled(GOOD, "All is well.")),
        (0, _) => format!("\n{}\n", styled(WARN, &format!("No faults; warnings: {warnings}."))),
        _ => format!("\n{}\n", styled(BAD, &format!("Faults: {faults}; warnings: {warnings}."))),
    });
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_what_must_be_mended_first() {
        let ok = Area::Host.ok("a");
        let warning = Area::Timing.warning("b");
        let away = Area::Quorum.fault(Exit::QuorumAway, "c");
        let file = Area::Configuration.fault(Exit::Configuration, "d");
        assert_eq!(worst(&[ok.clone(), Area::Host.advice("e")]), Exit::Ok);
        assert_eq!(worst(&[ok.clone(), warning.clone()]), Exit::Degraded);
        assert_eq!(worst(&[ok.clone(), warning.clone(), away.clone()]), Exit::QuorumAway);
        assert_eq!(worst(&[away, warning, file, ok]), Exit::Configuration);
    }

    #[test]
    fn faults_beside_a_pinned_service_are_said_to_keep_it_down() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("headship.toml");
        let found = |text: &str| {
            std::fs::write(&main, text).unwrap();
            gated_all(folder.path()).map(|finding| finding.level)
        };
        assert_eq!(found("oops\n[[service]]\npinned= \"hn0\"\n"), Some(Level::Warning));
        assert_eq!(found("oops\n[[service]]\n# pinned = \"hn0\"\nname = \"pinned\"\n"), None);
    }

    #[test]
    fn the_page_is_ordered_by_area_and_ends_with_the_count() {
        let findings = [
            Area::Timing.ok("lease"),
            Area::Host.advice("machine"),
            Area::Host.warning("unit"),
            Area::Timing.fault(Exit::Failed, "tick"),
        ];
        let page = anstream::adapter::strip_str(&page(&findings)).to_string();
        assert_eq!(
            page,
            "this host\n  advice   machine\n  warning  unit\ntiming\n  ok       lease\n  FAULT    tick\n\nFaults: 1; warnings: 1.\n"
        );
    }
}
