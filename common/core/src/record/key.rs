//! The records by name, and where each lies below the cluster's root.

use crate::node::NodeName;

/// The name of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// What holds for the whole cluster.
    Settings,
    /// Who may claim next; ephemeral.
    Lock,
    /// Who holds office; its version is the fencing token.
    Active,
    /// The holder's renewals.
    Lease,
    /// That a standby doubts the holder.
    Challenge,
    /// That nothing runs on this headnode.
    Promise(NodeName),
    /// A headnode's role; ephemeral.
    Headnode(NodeName),
    /// A headnode's heartbeat; ephemeral.
    Health(NodeName),
    /// What runs on a headnode, as observed there; ephemeral.
    Services(NodeName),
    /// What master-ha-service does on a headnode; ephemeral.
    Duty(NodeName),
    /// How far a node follows the active; ephemeral.
    Node(NodeName),
    /// Who may restart its agent now, by the slot's number; ephemeral.
    Restart(u32),
    /// An operator's order to switch over.
    Switchover,
    /// An operator's order to give up the holder of office.
    Failover,
    /// An operator's word that a headnode is powered off.
    Confirm,
    /// An operator's order to follow another life of the cluster.
    Adopt,
    /// The history of transitions, as one bounded list.
    History,
}

impl Key {
    /// The folders below the cluster's root that must exist before records can be created.
    pub const FOLDERS: [&'static str; 8] =
        ["promise", "headnodes", "health", "services", "duty", "nodes", "restarts", "orders"];

    /// The path below the cluster's root, without a leading slash.
    pub fn path(&self) -> String {
        match self {
            Self::Settings => "settings".to_owned(),
            Self::Lock => "lock".to_owned(),
            Self::Active => "active".to_owned(),
            Self::Lease => "lease".to_owned(),
            Self::Challenge => "challenge".to_owned(),
            Self::Promise(node) => format!("promise/{node}"),
            Self::Headnode(node) => format!("headnodes/{node}"),
            Self::Health(node) => format!("health/{node}"),
            Self::Services(node) => format!("services/{node}"),
            Self::Duty(node) => format!("duty/{node}"),
            Self::Node(node) => format!("nodes/{node}"),
            Self::Restart(slot) => format!("restarts/{slot}"),
            Self::Switchover => "orders/switchover".to_owned(),
            Self::Failover => "orders/failover".to_owned(),
            Self::Confirm => "orders/confirm".to_owned(),
            Self::Adopt => "orders/adopt".to_owned(),
            Self::History => "history".to_owned(),
        }
    }

    /// The record with this path below the cluster's root, if it is one of ours.
    pub fn from_path(path: &str) -> Option<Self> {
        let node = |name: &str| NodeName::try_from(name).ok();
        match path.split_once('/') {
            None => match path {
                "settings" => Some(Self::Settings),
                "lock" => Some(Self::Lock),
                "active" => Some(Self::Active),
                "lease" => Some(Self::Lease),
                "challenge" => Some(Self::Challenge),
                "history" => Some(Self::History),
                _ => None,
            },
            Some(("promise", name)) => node(name).map(Self::Promise),
            Some(("headnodes", name)) => node(name).map(Self::Headnode),
            Some(("health", name)) => node(name).map(Self::Health),
            Some(("services", name)) => node(name).map(Self::Services),
            Some(("duty", name)) => node(name).map(Self::Duty),
            Some(("nodes", name)) => node(name).map(Self::Node),
            // One way to write each: `7`, not `07` or `+7`.
            Some(("restarts", slot)) => {
                slot.parse().ok().map(Self::Restart).filter(|key| key.path() == path)
            }
            Some(("orders", "switchover")) => Some(Self::Switchover),
            Some(("orders", "failover")) => Some(Self::Failover),
            Some(("orders", "confirm")) => Some(Self::Confirm),
            Some(("orders", "adopt")) => Some(Self::Adopt),
            Some(_) => None,
        }
    }

    /// Whether the record ends with the session that created it.
    pub fn is_ephemeral(&self) -> bool {
        match self {
            Self::Lock
            | Self::Headnode(_)
            | Self::Health(_)
            | Self::Services(_)
            | Self::Duty(_)
            | Self::Node(_)
            | Self::Restart(_) => true,
            Self::Settings
            | Self::Active
            | Self::Lease
            | Self::Challenge
            | Self::Promise(_)
            | Self::Switchover
            | Self::Failover
            | Self::Confirm
            | Self::Adopt
            | Self::History => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_back_to_its_key() {
        let hn0 = NodeName::try_from("hn0").unwrap();
        for key in [
            Key::Settings,
            Key::Lock,
            Key::Active,
            Key::Lease,
            Key::Challenge,
            Key::Promise(hn0.clone()),
            Key::Headnode(hn0.clone()),
            Key::Health(hn0.clone()),
            Key::Services(hn0.clone()),
            Key::Duty(hn0.clone()),
            Key::Node(hn0),
            Key::Restart(7),
            Key::Switchover,
            Key::Failover,
            Key::Confirm,
            Key::Adopt,
            Key::History,
        ] {
            assert_eq!(Key::from_path(&key.path()), Some(key));
        }
        assert_eq!(Key::from_path("promise"), None);
        assert_eq!(Key::from_path("zookeeper/quota"), None);
        assert_eq!(Key::from_path("restarts/07"), None);
    }
}
