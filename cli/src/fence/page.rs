//! What `headship fence list` prints.

use headship_core::node::Identity;
use headship_core::record::{Attempt, FenceSeen, Way, WayAnswer};
use headship_core::time::WallTime;
use headship_daemon::Exit;
use serde::Serialize;

use super::{Claim, KeepSeen, Seen};
use crate::output::{BAD, GOOD, WARN};
use crate::refusal::Refusal;
use crate::say;
use crate::table::{Cell, Table};

/// What `--json` prints. The keys are documented in headship(1).
#[derive(Debug, Serialize)]
pub(super) struct Document {
    attempt: Option<AttemptSeen>,
    keep: Option<KeepWaits>,
    fence: Option<Fences>,
    conclusion: String,
    exit: u8,
}

#[derive(Debug, Serialize)]
struct AttemptSeen {
    claimant: String,
    epoch: u64,
    claim: i32,
    over: Option<Over>,
    since_ms: u64,
    until_ms: u64,
    ways: Vec<Way>,
    awaited: Vec<Awaited>,
}

/// The machine and boot that is claimed over.
#[derive(Debug, Serialize)]
struct Over {
    node: String,
    machine: String,
    boot: String,
}

impl Over {
    fn new(over: &Identity) -> Self {
        Self { node: over.node.to_string(), machine: over.machine.clone(), boot: over.boot.clone() }
    }
}

/// A headnode whose word is awaited.
#[derive(Debug, Serialize)]
struct Awaited {
    node: String,
    /// What shows that it lives; nothing if it can be confirmed to be off.
    alive: Option<String>,
}

/// The keep that a resume waits for.
#[derive(Debug, Serialize)]
struct KeepWaits {
    epoch: u64,
    over: Over,
    /// What shows that its host lives; nothing if it can be confirmed to be off.
    alive: Option<String>,
    /// Who has confirmed that already.
    confirmed: Option<String>,
}

/// A holder that a standby fences.
#[derive(Debug, Serialize)]
struct Fences {
    by: String,
    epoch: u64,
    over: Over,
    why: String,
    methods: Vec<Way>,
}

/// The keep of what was seen that a resume waits for.
fn awaited_keep(seen: &Seen) -> Option<&KeepSeen> {
    seen.keep.as_ref().filter(|keep| keep.resumed)
}

/// The exit code: that nobody claims is an answer, too.
pub(super) fn exit(seen: &Result<Seen, String>) -> Exit {
    match seen {
        Ok(Seen { claim: Ok(_), .. }) => Exit::Ok,
        Ok(Seen { claim: Err(refusal), .. }) if refusal.exit == Exit::Refused => Exit::Ok,
        Ok(Seen { claim: Err(refusal), .. }) => refusal.exit,
        Err(_) => Exit::QuorumAway,
    }
}

/// The last line.
pub(super) fn conclusion(seen: &Result<Seen, String>) -> String {
    match seen {
        Err(why) => why.clone(),
        Ok(seen @ Seen { claim: Err(refusal), .. }) => {
            let keep =
                awaited_keep(seen).map_or_else(String::new, |keep| format!("\n{}", keep.lines()));
            format!("{}{keep}", refusal.sentence)
        }
        Ok(Seen { awaited, .. }) => {
            let says = |(node, sign): &(_, Option<String>)| match sign {
                Some(sign) => format!("{node} cannot be confirmed to be off: {sign}"),
                None => format!("if {node} is powered off: `headship fence confirm {node}`"),
            };
            let lines: Vec<String> = awaited.iter().map(says).collect();
            if lines.is_empty() {
                return Attempt::NOBODY_AWAITED.to_owned();
            }
            lines.join("\n")
        }
    }
}

/// The page for people.
pub(super) fn text(seen: &Seen, now: WallTime) -> String {
    let last = conclusion(&Ok(seen.clone()));
    let Ok(Claim { by, attempt }) = &seen.claim else {
        let fences = seen.fence.as_ref().map(|(by, fence)| fences(by.as_str(), fence));
        return format!("{}{last}\n", fences.unwrap_or_default());
    };
    let Attempt { epoch, over, since, until, ways, .. } = attempt;
    let over = over.as_ref().map_or_else(
        || format!("office of epoch {epoch}, which nobody is known to have held"),
        |over| {
            let (node, machine, boot) = (&over.node, &over.machine, &over.boot);
            format!("{node} (epoch {epoch}, machine {machine}, boot {boot})")
        },
    );
    let left = std::time::Duration::from_millis(until.0.saturating_sub(now.0));
    format!(
        "{} claims over {over}\nsince {} ({}); without any other answer it takes office in {}\n{}{last}\n",
        by.node,
        say::utc(*since),
        say::ago(now, *since),
        say::span(left),
        rows(["WAY", "FREE", "WHY"], ways)
    )
}

/// A holder that is fenced before its office is claimed.
fn fences(by: &str, fence: &FenceSeen) -> String {
    let FenceSeen { over, epoch, why, methods } = fence;
    let (node, machine, boot) = (&over.node, &over.machine, &over.boot);
    let methods = if methods.is_empty() {
        String::new()
    } else {
        rows(["FENCE METHOD", "OFF", "WHY"], methods)
    };
    format!("{by} doubts {node} (epoch {epoch}, machine {machine}, boot {boot}): {why}\n{methods}")
}

fn rows(head: [&str; 3], ways: &[Way]) -> String {
    let mut table = Table::new(&head);
    for Way { way, answer, why } in ways {
        let style = match answer {
            WayAnswer::Yes => GOOD,
            WayAnswer::No => BAD,
            WayAnswer::Unknown => WARN,
        };
        table.row(vec![Cell::plain(way), Cell::styled(style, answer.as_str()), Cell::plain(why)]);
    }
    table.to_text()
}

/// The document of a command that could not look.
pub(super) fn refused(refusal: &Refusal) -> Document {
    Document {
        attempt: None,
        keep: None,
        fence: None,
        conclusion: refusal.sentence.clone(),
        exit: refusal.exit.code(),
    }
}

/// The document for programs.
pub(super) fn document(seen: &Result<Seen, String>) -> Document {
    let attempt = seen.as_ref().ok().and_then(|seen| {
        let Claim { by, attempt } = seen.claim.as_ref().ok()?;
        let over = attempt.over.as_ref().map(Over::new);
        let awaited = seen
            .awaited
            .iter()
            .map(|(node, alive)| Awaited { node: node.to_string(), alive: alive.clone() });
        Some(AttemptSeen {
            claimant: by.node.to_string(),
            epoch: attempt.epoch.0,
            claim: attempt.claim,
            over,
            since_ms: attempt.since.0,
            until_ms: attempt.until.0,
            ways: attempt.ways.clone(),
            awaited: awaited.collect(),
        })
    });
    let keep = seen.as_ref().ok().and_then(awaited_keep).map(|keep| KeepWaits {
        epoch: keep.kept.epoch.0,
        over: Over::new(&keep.kept.by),
        alive: keep.sign.clone(),
        confirmed: keep.confirmed.as_ref().map(|word| word.by.clone()),
    });
    let fence = seen.as_ref().ok().and_then(|seen| seen.fence.as_ref());
    let fence = fence.map(|(by, fence)| Fences {
        by: by.to_string(),
        epoch: fence.epoch.0,
        over: Over::new(&fence.over),
        why: fence.why.clone(),
        methods: fence.methods.clone(),
    });
    Document { attempt, keep, fence, conclusion: conclusion(seen), exit: exit(seen).code() }
}
