//! Liveness: whether a cluster with everything healed is as it should be.

use crate::sim::host::{DaemonId, HostId, Kind, Life};
use crate::sim::world::World;

impl World {
    /// Why the cluster is not yet as it should be with everything healed: one active with all services, the others standby.
    pub fn unsettled(&self) -> Option<String> {
        let roles: Vec<(HostId, &str)> =
            self.headnode_ids().into_iter().map(|host| (host, self.role(host))).collect();
        let active: Vec<HostId> =
            roles.iter().filter(|(_, role)| *role == "active").map(|(host, _)| *host).collect();
        let others = roles.iter().filter(|(_, role)| *role == "standby").count();
        let [active] = active.as_slice() else {
            let why: Vec<&str> = roles.iter().filter_map(|(host, _)| self.why(*host)).collect();
            return Some(format!("not one active: {roles:?}: {}", why.join("; ")));
        };
        if others + 1 != roles.len() {
            let why: Vec<&str> = roles.iter().filter_map(|(host, _)| self.why(*host)).collect();
            return Some(format!("not all others standby: {roles:?}: {}", why.join("; ")));
        }
        for host in self.host_ids() {
            for (name, unit) in &self.host(host).units {
                let should = host == *active;
                if unit.runs() != should {
                    let state = unit.state;
                    return Some(format!(
                        "{name} is {state:?} on hn{}, active is {active:?}",
                        host.0
                    ));
                }
            }
            if let Some(why) = self.not_following(host, *active) {
                return Some(why);
            }
            if !self.is_headnode(host) {
                continue;
            }
            for kind in [Kind::Controller, Kind::Guard, Kind::Monitor] {
                if self.life(DaemonId { host, kind }) != Life::Running {
                    return Some(format!("{} on hn{} is not there", kind.name(), host.0));
                }
            }
        }
        None
    }

    fn why(&self, host: HostId) -> Option<&str> {
        Some(self.controller(host)?.status().1)
    }
}
