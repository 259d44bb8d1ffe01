//! Who somebody is: node name, machine, boot and process.
//!
//! A name or an address alone proves nothing (invariant 8): two machines may carry one name after a re-install, and one
//! machine comes back as another boot that must not resume what the earlier one held.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node's name as the configuration has it, such as `hn0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeName(String);

/// A name that can be no node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a node name: use letters, digits, `-`, `_` and `.`, at most 64 of them")]
pub struct BadName(String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = BadName;

    fn try_from(name: String) -> Result<Self, BadName> {
        // A name becomes part of a ZooKeeper path and of log lines: no slash, no blank, no control character.
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty()
            || name.len() > 64
            || !name.chars().all(allowed)
            || name.chars().all(|c| c == '.')
        {
            return Err(BadName(name));
        }
        Ok(Self(name))
    }
}

impl TryFrom<&str> for NodeName {
    type Error = BadName;

    fn try_from(name: &str) -> Result<Self, BadName> {
        Self::try_from(name.to_owned())
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One process on one boot of one machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The node's name.
    pub node: NodeName,
    /// The content of `/etc/machine-id`.
    pub machine: String,
    /// The kernel's boot id.
    pub boot: String,
    /// A random id of the process, drawn at its start.
    pub process: String,
}

impl Identity {
    /// Whether `other` is this machine under this name, whatever the boot.
    pub fn same_machine(&self, other: &Self) -> bool {
        self.node == other.node && self.machine == other.machine
    }

    /// Whether `other` is this machine in the same boot, whatever the process.
    pub fn same_boot(&self, other: &Self) -> bool {
        self.same_machine(other) && self.boot == other.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_path_are_refused() {
        for bad in ["", "a/b", "a b", ".", "..", "hn\n0", &"x".repeat(65)] {
            assert!(NodeName::try_from(bad).is_err(), "{bad:?}");
        }
        assert_eq!(NodeName::try_from("hn0.example").unwrap().as_str(), "hn0.example");
    }
}
