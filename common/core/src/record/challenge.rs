//! `challenge`: a standby that doubts the holder asks it for a renewal. `protocol.md`, 3 and 7.

use serde::{Deserialize, Serialize};

use super::Rest;
use crate::epoch::Epoch;
use crate::node::Identity;

/// A standby doubts that the holder lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Challenge {
    /// Format version.
    pub format: u32,
    /// The epoch of the holder that is doubted.
    pub epoch: Epoch,
    /// Grows with each challenge.
    pub number: u64,
    /// Who doubts.
    pub by: Identity,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Rest,
}
