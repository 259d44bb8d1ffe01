//! A claim that waits for its way to be free, as its claimant shows it to people. Nobody but the command line goes by it.

use serde::{Deserialize, Serialize};

use super::Key;
use crate::epoch::Epoch;
use crate::known::Content;
use crate::node::{Identity, NodeName};
use crate::time::WallTime;

/// A claim that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// The version of `active` that bears the claim: what is said of the attempt is said of this one only.
    pub claim: i32,
    /// The epoch that is claimed over.
    pub epoch: Epoch,
    /// Who held it; `None` if no record tells that can be believed.
    #[serde(default)]
    pub over: Option<Identity>,
    /// When it began.
    pub since: WallTime,
    /// When lease and kill time of whoever held it have surely passed.
    pub until: WallTime,
    /// The headnodes whose word is awaited. Each of them may be confirmed to be powered off instead.
    pub awaited: Vec<NodeName>,
    /// Each way to office, with its answer so far.
    pub ways: Vec<Way>,
}

impl Attempt {
    /// Why nobody has to be confirmed to be powered off, where that is so: the one sentence for log and command line.
    pub const NOBODY_AWAITED: &str =
        "nobody knows who held office last: only the wait frees the way";

    /// Whether a headnode's word is awaited, or why a confirmation that it is off would not help.
    ///
    /// # Errors
    /// The sentence, for log and command line.
    pub fn awaits(&self, node: &NodeName) -> Result<(), String> {
        if self.awaited.contains(node) {
            return Ok(());
        }
        let awaited: Vec<&str> = self.awaited.iter().map(NodeName::as_str).collect();
        if awaited.is_empty() {
            return Err(Self::NOBODY_AWAITED.to_owned());
        }
        Err(format!("{node} is not claimed over: {} is", awaited.join(", ")))
    }
}

/// A holder of office that is fenced, or about to be, as it is shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FenceSeen {
    /// Who held office.
    pub over: Identity,
    /// In which epoch.
    pub epoch: Epoch,
    /// How it stands, in a sentence.
    pub why: String,
    /// Each fence method that has been or will be asked, with its answer so far.
    pub methods: Vec<Way>,
}

/// One way to office.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Way {
    /// Its name.
    pub way: String,
    /// Whether it is free.
    pub answer: WayAnswer,
    /// Why, in a sentence.
    pub why: String,
}

/// Whether a way to office is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WayAnswer {
    /// It is.
    Yes,
    /// It is not, or not yet.
    No,
    /// Nobody knows yet.
    Unknown,
}

impl WayAnswer {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// What every ephemeral record of a node has in common: by which machine, in which boot, it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sign {
    /// The machine.
    pub machine: String,
    /// Its boot.
    pub boot: String,
}

impl Sign {
    /// Whether this is a sign of life of whoever is held to be off: of its machine, or, where no record tells which that is,
    /// of any.
    fn speaks_against(&self, over: Option<&Identity>) -> bool {
        over.is_none_or(|over| over.machine == self.machine)
    }
}

/// What an ephemeral record shows of a headnode that is held to be off, in a sentence, if that speaks against it; `words` say
/// what its presence means.
pub fn sign_of_life(
    words: &str,
    content: &Content<Sign>,
    over: Option<&Identity>,
) -> Option<String> {
    match content {
        Content::Record(sign) if sign.speaks_against(over) => {
            Some(format!("{words} (boot {})", sign.boot))
        }
        Content::Corrupt(corrupt) => Some(corrupt.to_string()),
        Content::Record(_) | Content::Missing | Content::Unread => None,
    }
}

/// The ephemeral records by which a node that lives shows itself, each with what its presence means.
pub fn signs_of(node: &NodeName) -> [(Key, &'static str); 5] {
    [
        (Key::Headnode(node.clone()), "its master-fc has a session"),
        (Key::Health(node.clone()), "its health-monitor has a session"),
        (Key::Services(node.clone()), "its slave-ha-service has a session"),
        (Key::Duty(node.clone()), "its master-ha-service has a session"),
        (Key::Node(node.clone()), "its slave-fc has a session"),
    ]
}
