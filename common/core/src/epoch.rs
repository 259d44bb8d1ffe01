//! The number of a term of office, and of which life of the cluster.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of the term of an active; it grows by at least one with each office taken.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of whoever takes office after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Which life of the cluster's records an epoch belongs to: drawn anew when the records are created from nothing, so that
/// numbers of a wiped ensemble are not mistaken for earlier ones of this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub String);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `/var/lib/headship/epoch`: the highest epoch this headnode has seen. A lower one of the same incarnation is never
/// followed: it comes from an ensemble that was restored from an old snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Remembered {
    /// The life of the cluster.
    pub incarnation: Incarnation,
    /// The highest epoch seen.
    pub epoch: Epoch,
}
