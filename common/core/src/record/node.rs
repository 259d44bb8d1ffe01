//! What the nodes that follow the active show of themselves.

use serde::{Deserialize, Serialize};

use super::Rest;
use crate::epoch::{Epoch, Incarnation};
use crate::node::{Identity, NodeName};

/// `nodes/<node>`: how far a node follows the active. Written by its slave-fc.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeState {
    /// Format version.
    pub format: u32,
    /// Which slave-fc.
    #[serde(flatten)]
    pub by: Identity,
    /// The life of the cluster that the epoch belongs to; none if the node never followed any.
    #[serde(default)]
    pub incarnation: Option<Incarnation>,
    /// The epoch whose holder the node's hosts file names; 0 if it never named any.
    #[serde(default)]
    pub epoch: Epoch,
    /// That holder.
    #[serde(default)]
    pub active: Option<NodeName>,
    /// The node's agent, if it has one.
    #[serde(default)]
    pub agent: Option<AgentState>,
    /// Whether hosts file and agent are where they should be, as far as this node knows.
    pub follows: bool,
    /// The version of headship on this node.
    #[serde(default)]
    pub version: String,
    /// What the node does and why, in one sentence.
    pub why: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A node's agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentState {
    /// What was observed, in words.
    pub observed: String,
    /// The epoch that it was last started anew for, or is being started for; 0 if that is not known.
    pub epoch: Epoch,
}

/// `restarts/<slot>`: who may restart its agent now. Gone with its session, or when the agent runs again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RestartSlot {
    /// Format version.
    pub format: u32,
    /// Which slave-fc.
    #[serde(flatten)]
    pub by: Identity,
}
