//! What lies in the failover quorum: the records, their names and their form.
//!
//! Each record is JSON with a format version and has one writer. Fields that this version does not know are kept in `rest`
//! and written back, so that an older and a newer daemon can share a cluster. When to write a record is decided elsewhere.

mod attempt;
mod challenge;
mod keep;
mod key;
mod node;
mod orders;
mod past;
mod word;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::epoch::{Epoch, Incarnation};
use crate::node::{Identity, NodeName};
use crate::time::WallTime;

pub use attempt::{Attempt, FenceSeen, Sign, Way, WayAnswer, sign_of_life, signs_of};
pub use challenge::Challenge;
pub use keep::{Keep, KeepConfirmed, Kept, Pausing};
pub use key::Key;
pub use node::{AgentState, NodeState, RestartSlot};
pub use orders::{AdoptOrder, Answer, ConfirmOrder, FailoverOrder, Given, Order, SwitchoverOrder};
pub use word::{TakenOn, Whose, Word};

/// The format version that this program writes; records of a higher one are refused, not guessed at.
pub const FORMAT: u32 = 1;

/// Fields that this version does not know, kept for whoever does.
pub type Rest = BTreeMap<String, serde_json::Value>;

/// Why a record could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Corrupt {
    /// Not JSON of the expected form.
    #[error(
        "`{path}` is not a record of headship ({detail}): restore it, or delete it if it is foreign"
    )]
    Form {
        /// The record's path below the cluster's root.
        path: String,
        /// What the parser said.
        detail: String,
    },
    /// Written by a newer headship.
    #[error(
        "`{path}` has format {format}, this program knows up to {FORMAT}: upgrade headship on this node"
    )]
    Newer {
        /// The record's path below the cluster's root.
        path: String,
        /// The format it has.
        format: u32,
    },
}

/// A record's content as text.
pub fn write<T: Serialize>(record: &T) -> String {
    serde_json::to_string(record)
        .expect("records hold only strings, numbers, lists and maps with text keys")
}

/// The record in `data`, which was read at `key`.
pub fn parse<T: DeserializeOwned>(key: &Key, data: &str) -> Result<T, Corrupt> {
    /// The one field that every format has.
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    // It may name what it found, which is somebody else's.
    let form = |error: serde_json::Error| Corrupt::Form {
        path: key.path(),
        detail: error.to_string().replace(char::is_control, " "),
    };
    let head: Head = serde_json::from_str(data).map_err(form)?;
    if head.format > FORMAT {
        return Err(Corrupt::Newer { path: key.path(), format: head.format });
    }
    serde_json::from_str(data).map_err(form)
}

/// `settings`: what holds for the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// Format version.
    pub format: u32,
    /// Which life of the cluster's records this is.
    pub incarnation: Incarnation,
    /// Who suspended automatic failover and why; `None` when it is on.
    #[serde(default)]
    pub paused: Option<String>,
    /// What `pause --keep` asked for, as long as that is not over: read it by `pausing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// What is in maintenance.
    #[serde(default, skip_serializing_if = "Maintenance::is_none")]
    pub maintenance: Maintenance,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// What operators take out of the suite's hands for a while, each with who did it, from where and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Maintenance {
    /// Headnodes that take no office.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<NodeName, String>,
    /// Services that are left alone on the headnode that may run them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Maintenance {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// `lock`: who claims or holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lock {
    /// Format version.
    pub format: u32,
    /// Claimant or holder.
    #[serde(flatten)]
    pub by: Identity,
}

/// How far an office is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Taken; services are being started.
    BecomingActive,
    /// The services that announce it serve.
    Active,
    /// The holder is stopping its services in order to cede.
    BecomingStandby,
    /// Given up, with all services verified stopped.
    Ceded {
        /// Who may claim at once; others stay out for `until_ms`.
        to: Option<NodeName>,
        /// How long the others stay out, in milliseconds counted by each reader from its first read.
        until_ms: u64,
    },
}

/// `active`: who holds office. Absent fields of `holder` mean that nobody ever held it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Active {
    /// Format version.
    pub format: u32,
    /// The life of the cluster this office belongs to.
    pub incarnation: Incarnation,
    /// The number of the term.
    pub epoch: Epoch,
    /// Who holds it, or held it last; `None` if the record was created by a claim.
    pub holder: Option<Identity>,
    /// How far the office is.
    pub phase: Phase,
    /// Who claims to succeed the holder. Whoever is holder and finds another here is holder no more.
    #[serde(default)]
    pub claimant: Option<Identity>,
    /// The holder's lease, in milliseconds.
    pub lease_ms: u64,
    /// How long after its deadline the holder's services may need to be gone, in milliseconds.
    pub kill_ms: u64,
    /// The names of the moving services, for readers.
    #[serde(default)]
    pub services: Vec<String>,
    /// The holder's addresses, for readers.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// When the phase was entered, for readers.
    #[serde(default)]
    pub since: WallTime,
    /// The word that the old holder was off, if office was taken on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_on: Option<TakenOn>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// `lease`: the holder's renewals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Format version.
    pub format: u32,
    /// The term that is renewed.
    pub epoch: Epoch,
    /// Grows by one with each renewal.
    pub seq: u64,
    /// The lease of that term, in milliseconds, for a taker that finds `active` lost: its own configuration may be shorter.
    #[serde(default)]
    pub lease_ms: u64,
    /// The kill time of that term, in milliseconds.
    #[serde(default)]
    pub kill_ms: u64,
}

/// `promise/<node>`: nothing of this or a lower epoch runs on this machine or will be started there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Promise {
    /// Format version.
    pub format: u32,
    /// The machine that promises.
    pub machine: String,
    /// The boot in which it promised.
    pub boot: String,
    /// The life of the cluster the epoch belongs to.
    pub incarnation: Incarnation,
    /// The highest epoch promised.
    pub epoch: Epoch,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// What a headnode is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Holds office and its announcing services serve.
    Active,
    /// Holds office or claims it; services are not serving yet.
    BecomingActive,
    /// Is stopping its services.
    BecomingStandby,
    /// May take office when it becomes free.
    Standby,
    /// Held office when it lost sight of the quorum; its services are stopped or stopping.
    Neutral,
    /// Does not compete; the sentence says why.
    Out,
}

impl Role {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::BecomingActive => "becoming-active",
            Self::BecomingStandby => "becoming-standby",
            Self::Standby => "standby",
            Self::Neutral => "neutral",
            Self::Out => "out",
        }
    }
}

/// `headnodes/<node>`: master-fc's own state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HeadnodeState {
    /// Format version.
    pub format: u32,
    /// Which master-fc.
    #[serde(flatten)]
    pub by: Identity,
    /// What the headnode is.
    pub role: Role,
    /// The highest epoch it has seen.
    pub epoch: Epoch,
    /// Why it is what it is, in one sentence.
    pub why: String,
    /// What it waits for, while it claims office and the way is not free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Whom it fences, or would, and what each fence method said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<FenceSeen>,
    /// The keep that its permit names: its services have no D.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// In office: which critical service it has given up, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gave_up: Option<String>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// How one check read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// May join the election.
    Eligible,
    /// Could run the services, but the other headnode would do better (only `prefer` checks fail, or there is no data).
    Reluctant,
    /// Cannot run the services (a `must` check fails).
    Ineligible,
}

/// `health/<node>`: one heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Health {
    /// Format version.
    pub format: u32,
    /// Which health-monitor.
    #[serde(flatten)]
    pub by: Identity,
    /// Grows by one with each heartbeat.
    pub seq: u64,
    /// The headnode's verdict.
    pub verdict: Verdict,
    /// The reasons, most severe first; empty when eligible.
    pub reasons: Vec<String>,
    /// Each check's reading, by its name.
    pub checks: BTreeMap<String, String>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// `services/<node>`: what slave-ha-service observed of each service on its headnode.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServicesState {
    /// Format version.
    pub format: u32,
    /// Which slave-ha-service.
    #[serde(flatten)]
    pub by: Identity,
    /// Each service's observed state, in words, by its name.
    pub services: BTreeMap<String, String>,
    /// What is known of how a service ended, or why it was not started, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, String>,
    /// The services that are left alone here, by the permit.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub alone: BTreeSet<String>,
    /// The keep that the guard goes by, as the permit names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// What the guard does and why, in one sentence.
    pub why: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// `duty/<node>`: what master-ha-service does on the active headnode.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Duty {
    /// Format version.
    pub format: u32,
    /// Which master-ha-service.
    #[serde(flatten)]
    pub by: Identity,
    /// The term it works for.
    pub epoch: Epoch,
    /// Each service's duty, by its name.
    pub services: BTreeMap<String, ServiceDuty>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// How one service is being kept running.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceDuty {
    /// What was observed, in words.
    pub observed: String,
    /// Restarts within the budget's window.
    pub restarts: u32,
    /// Whether the budget is exhausted.
    pub given_up: bool,
    /// Whether the headnode should yield when this service is given up.
    pub critical: bool,
    /// Whether it is in maintenance, and left alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// What happens next and why, in one sentence.
    pub why: String,
}

/// `history`: the last transitions, newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct History {
    /// Format version.
    pub format: u32,
    /// Oldest first.
    pub transitions: Vec<Transition>,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// One change of office.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transition {
    /// The new term.
    pub epoch: Epoch,
    /// Who held office before.
    pub from: Option<NodeName>,
    /// Who holds it now.
    pub to: NodeName,
    /// Why the way was free.
    pub cause: String,
    /// When it was announced.
    pub at: WallTime,
    /// Each phase, in order, with its length.
    pub phases: Vec<PhaseTime>,
}

impl Transition {
    /// Whether the office went from one to another, or began: not so where an entry tells of a keep.
    pub fn moved(&self) -> bool {
        self.from.as_ref() != Some(&self.to) || !self.phases.is_empty()
    }
}

/// How long one phase of a transition took.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PhaseTime {
    /// Which phase.
    pub phase: String,
    /// Its length in milliseconds.
    pub ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            node: NodeName::try_from("hn0").unwrap(),
            machine: "m0".to_owned(),
            boot: "b0".to_owned(),
            process: "p0".to_owned(),
        }
    }

    fn active() -> Active {
        Active {
            format: FORMAT,
            incarnation: Incarnation("i".to_owned()),
            epoch: Epoch(7),
            holder: Some(identity()),
            phase: Phase::Ceded { to: None, until_ms: 10 },
            claimant: None,
            lease_ms: 6000,
            kill_ms: 2000,
            services: vec![],
            addresses: vec![],
            since: WallTime(1),
            taken_on: None,
            rest: Rest::new(),
        }
    }

    #[test]
    fn unknown_fields_survive_a_rewrite() {
        let text = write(&active()).replacen('{', r#"{"later":[1,2],"#, 1);
        let read: Active = parse(&Key::Active, &text).unwrap();
        assert_eq!(read.rest.len(), 1);
        assert!(write(&read).contains(r#""later":[1,2]"#));
    }

    #[test]
    fn a_renewal_of_a_program_without_its_figures_is_a_renewal() {
        let read: Lease = parse(&Key::Lease, r#"{"format":1,"epoch":7,"seq":3}"#).unwrap();
        let figures = (read.lease_ms, read.kill_ms);
        assert_eq!((read.epoch, read.seq, figures), (Epoch(7), 3, (0, 0)));
    }

    #[test]
    fn a_newer_format_is_refused_and_not_guessed_at() {
        let text = write(&active()).replace(r#""format":1"#, r#""format":2"#);
        assert_eq!(
            parse::<Active>(&Key::Active, &text),
            Err(Corrupt::Newer { path: "active".to_owned(), format: 2 })
        );
    }

    #[test]
    fn foreign_content_names_its_path() {
        let error = parse::<Active>(&Key::Active, "hello").unwrap_err();
        assert!(error.to_string().starts_with("`active` is not a record of headship"), "{error}");
    }
}
