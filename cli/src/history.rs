//! `headship history`: the last transitions, newest first, with their causes and what took how long.

use anyhow::Result;
use headship_core::config::Config;
use headship_core::known::Content;
use headship_core::record::{self, PhaseTime};
use headship_daemon::Exit;
use serde::Serialize;

use crate::args::{History, Place};
use crate::cluster::Cluster;
use crate::refusal::{Refusal, Refuse};
use crate::table::{Cell, Table};
use crate::view::{self, Records};
use crate::{output, say};

/// What `--json` prints. The keys are documented in headship(1).
#[derive(Debug, Serialize)]
struct Document {
    transitions: Vec<Transition>,
    why: Option<String>,
    exit: u8,
}

/// One transition as JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Transition {
    epoch: u64,
    from: Option<String>,
    to: String,
    cause: String,
    at_ms: u64,
    phases: Vec<PhaseTime>,
}

impl From<&record::Transition> for Transition {
    fn from(transition: &record::Transition) -> Self {
        Self {
            epoch: transition.epoch.0,
            from: transition.from.as_ref().map(ToString::to_string),
            to: transition.to.to_string(),
            cause: transition.cause.clone(),
            at_ms: transition.at.0,
            phases: transition.phases.clone(),
        }
    }
}

/// Runs the command.
pub(crate) async fn run(config: &Config, place: &Place, arguments: &History) -> Result<Exit> {
    let seen = match Cluster::connect(config, place.timeout).await {
        Ok(mut cluster) => {
            let seen = cluster.one::<record::History>(&record::Key::History).await;
            cluster.close().await;
            seen.map(|(history, _)| history)
        }
        Err(why) => Err(why),
    };
    let (history, why, exit) = match seen {
        Ok(history) => judge(history),
        Err(why) => (record::History::default(), Some(why), Exit::QuorumAway),
    };
    if arguments.json {
        let transitions = history.transitions.iter().rev().map(Transition::from).collect();
        output::json(&Document { transitions, why, exit: exit.code() })?;
    } else if let Some(why) = why {
        output::complain(&why);
    } else if history.transitions.is_empty() {
        output::line("nobody ever held office")?;
    } else {
        output::print(&page(&history))?;
    }
    Ok(exit)
}

impl Refuse for History {
    fn refuse(&self, refusal: &Refusal) -> Result<Exit> {
        let (transitions, why) = (Vec::new(), Some(refusal.sentence.clone()));
        let exit = refusal.exit.code();
        refusal.tell(self.json, &Document { transitions, why, exit })
    }
}

/// The history, or why there is none that can be told.
fn judge(history: Content<record::History>) -> (record::History, Option<String>, Exit) {
    let none = record::History::default();
    match history {
        Content::Record(history) => (history, None, Exit::Ok),
        Content::Missing => (none, None, Exit::Ok),
        Content::Corrupt(corrupt) => (none, Some(corrupt.to_string()), Exit::Failed),
        Content::Unread => {
            let why = "the failover quorum does not let us read the record `history`";
            (none, Some(why.to_owned()), Exit::Failed)
        }
    }
}

/// The table, newest first.
fn page(history: &record::History) -> String {
    let mut table = Table::new(&["EPOCH", "WHEN", "FROM", "TO", "TOOK", "PHASES", "BECAUSE"]);
    for transition in history.transitions.iter().rev() {
        let from = transition.from.as_ref().map_or("nobody", |from| from.as_str());
        let told = [
            transition.epoch.to_string(),
            say::utc(transition.at),
            from.to_owned(),
            transition.to.to_string(),
            if transition.moved() {
                format!("{} ms", total(&transition.phases))
            } else {
                String::new()
            },
            phases(&transition.phases),
            transition.cause.clone(),
        ];
        table.row(told.iter().map(|text| Cell::plain(text)).collect());
    }
    table.to_text()
}

/// The last time that the office moved.
pub(crate) fn last(records: &Records) -> Option<&record::Transition> {
    let history = view::record(&records.history)?;
    history.transitions.iter().rev().find(|transition| transition.moved())
}

/// Each phase with its length, in a phrase.
pub(crate) fn phases(phases: &[PhaseTime]) -> String {
    let told: Vec<String> =
        phases.iter().map(|phase| format!("{} {} ms", phase.phase, phase.ms)).collect();
    told.join(", ")
}

/// How long all phases took together, in milliseconds.
pub(crate) fn total(phases: &[PhaseTime]) -> u64 {
    phases.iter().fold(0, |total, phase| total.saturating_add(phase.ms))
}

#[cfg(test)]
mod tests {
    use headship_core::epoch::Epoch;
    use headship_core::record::Corrupt;

    use super::*;
    use crate::tests::{BEGIN, node, records};

    #[test]
    fn the_newest_transition_comes_first() {
        let mut history = view::record(&records().history).unwrap().clone();
        let mut later = history.transitions[0].clone();
        later.epoch = Epoch(8);
        (later.from, later.to) = (Some(node("hn0")), node("hn1"));
        later.at.0 = BEGIN.0 + 60_000;
        "it was ceded to hn1".clone_into(&mut later.cause);
        history.transitions.push(later);
        let page = anstream::adapter::strip_str(&page(&history)).to_string();
        assert_eq!(
            page.lines().map(str::trim_end).collect::<Vec<_>>(),
            [
                "EPOCH  WHEN                     FROM  TO   TOOK     PHASES                                                   BECAUSE",
                "8      2026-11-22 17:21:00 UTC  hn0   hn1  9584 ms  detect 510 ms, wait 7750 ms, permit 4 ms, start 1320 ms  it was ceded to hn1",
                "7      2026-11-22 17:20:00 UTC  hn1   hn0  9584 ms  detect 510 ms, wait 7750 ms, permit 4 ms, start 1320 ms  the lease of hn1 was waited out",
            ]
        );
    }

    #[test]
    fn a_keep_is_told_and_is_no_transition() {
        let mut records = records();
        let mut history = view::record(&records.history).unwrap().clone();
        let mut noted = history.transitions[0].clone();
        (noted.from, noted.phases) = (Some(noted.to.clone()), Vec::new());
        "keeps its services, whatever the quorum does: root@hn1".clone_into(&mut noted.cause);
        history.transitions.push(noted);
        let page = anstream::adapter::strip_str(&page(&history)).to_string();
        let line = page.lines().nth(1).unwrap();
        assert!(line.starts_with("7 ") && line.contains("keeps its services"), "{line}");
        assert!(!line.contains(" ms"), "{line}");
        records.history = Content::Record(history);
        assert_eq!(last(&records).unwrap().cause, "the lease of hn1 was waited out");
    }

    #[test]
    fn a_history_that_cannot_be_read_is_no_empty_one() {
        let corrupt = Corrupt::Newer { path: "history".to_owned(), format: 2 };
        let (_, why, exit) = judge(Content::Corrupt(corrupt));
        assert_eq!(exit, Exit::Failed);
        assert!(why.unwrap().starts_with("`history` has format 2"));
        assert_eq!(judge(Content::Missing).2, Exit::Ok);
    }
}
