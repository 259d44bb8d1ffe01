//! The word on which an office was taken: that a headnode is off. It stands in `active`, so that whoever goes on in that office,
//! as the next process of its headnode, knows what would show that the word was wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;
use crate::node::{Identity, NodeName};

/// Whose word it is that a headnode is off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// Somebody's, and from where.
    Operator(String),
    /// A fence method's.
    Method(String),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(by) => write!(f, "{by} confirmed it"),
            Self::Method(method) => write!(f, "fence method `{method}` said so"),
        }
    }
}

/// That one headnode is off.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Word {
    /// Which headnode.
    pub node: NodeName,
    /// Who says so.
    pub whose: Whose,
}

/// On what an office was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TakenOn {
    /// Each headnode that was held to be off.
    pub words: Vec<Word>,
    /// Which machine and boot, where that is known.
    pub over: Option<Identity>,
    /// The epoch that was claimed over.
    pub epoch: Epoch,
    /// The transaction of the claim: what was written before it says nothing.
    pub claimed: i64,
    /// How long that headnode may run its services at most, in milliseconds; without an end if it may keep them.
    pub wait_ms: Option<u64>,
}
