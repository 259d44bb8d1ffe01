//! The end of all faults: what is broken is repaired, who is away comes back, and people do what is left to them.

use std::time::Duration;

use super::chaos::SERVICES;
use super::fence::Manner;
use super::host::{DaemonId, HostId, HostStep, Kind};
use super::world::{Happening, World};

impl World {
    /// Everything that is broken is repaired, everybody who is away comes back, and the operator leaves.
    pub(super) fn heal_all(&mut self) {
        self.forget_faults();
        self.net.cut.clear();
        self.net.apart.clear();
        self.net.slow.clear();
        self.net.reach_changed = self.now;
        self.device.manner = Manner::Cuts(Duration::from_millis(500));
        self.order("zk start all");
        self.order("zk fast");
        self.ensemble.denied.clear();
        for lag in ["zk lag zk0 0s", "zk lag zk1 0s", "zk lag zk2 0s"] {
            self.order(lag);
        }
        for host in self.host_ids() {
            self.heal_host(host);
        }
        // What nobody but a person may do, once there is a quorum to do it.
        let soon = Duration::from_secs(15);
        self.after(soon, Happening::Command("resume".to_owned()));
        self.after(soon, Happening::Command("maintenance all off".to_owned()));
        if self.setup.rare {
            let lost = Happening::Command("fence confirm lost machines".to_owned());
            self.after(soon + Duration::from_secs(5), lost);
        }
        if self.lives > 0 {
            self.adopt_thoroughly(soon);
        }
    }

    /// What the command line and the manual say of a headnode that refuses as it holds office in another life of the cluster.
    fn adopt_thoroughly(&mut self, begin: Duration) {
        for host in self.headnode_ids() {
            let name = self.host(host).name.to_string();
            self.after(begin, Happening::Command(format!("stop {name} master-fc")));
            let again = begin + Duration::from_secs(10);
            self.after(again, Happening::Command(format!("start {name} master-fc")));
        }
        for pause in [20, 60] {
            let at = begin + Duration::from_secs(pause);
            self.after(at, Happening::Command("adopt".to_owned()));
        }
    }

    fn heal_host(&mut self, host: HostId) {
        let name = self.host(host).name.to_string();
        if self.host(host).frozen {
            self.thaw_host(host);
        }
        let now = self.now;
        self.host_mut(host).bus_back = now;
        for text in ["run-dir NAME writable", "health NAME good"] {
            self.order(&text.replace("NAME", &name));
        }
        if self.setup.follow {
            self.order(&format!("hosts {name} writable"));
            self.order(&format!("agent {name} well"));
        }
        let headnode = self.is_headnode(host);
        for service in SERVICES.into_iter().filter(|_| headnode) {
            self.order(&format!("service {name} {service} well"));
        }
        if !self.host(host).powered {
            let boot = self.host(host).boot;
            self.after(Duration::from_secs(1), Happening::Host(host, boot, HostStep::Boot));
            return;
        }
        for kind in Kind::ALL {
            self.thaw_daemon(DaemonId { host, kind });
            let runs_here = if kind == Kind::Follower { self.setup.follow } else { headnode };
            if kind != Kind::Duty && runs_here {
                self.order(&format!("start {name} {}", kind.name()));
            }
        }
    }
}
