//! Faults by chance: one after the other, often several at once, each with its end. What the protocol says that it does not
//! cover (`protocol.md`, 10) is not done: a host that stands still past its deadline, and with the preset `fast` guard and
//! master-fc of one host away together.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use headship_core::epoch::Epoch;
use headship_core::record::{Active, signs_of};

use super::client::Client;
use super::clock::micros;
use super::host::{DaemonId, HostId, Kind, Life};
use super::setup::Fencing;
use super::unit::{Ends, State, Unit};
use super::world::{Happening, World};

pub(super) const SERVICES: [&str; 4] = ["ambari-server", "timeline", "jobhistory", "livy"];

impl World {
    /// Plans faults from now until `end`, `pause` apart on average, and tells how many.
    pub(super) fn plan_faults(&mut self, end: Duration, pause: Duration) -> u32 {
        let (mut at, mut number) = (self.now, 0);
        loop {
            at += self.between(50_000, 2 * micros(pause));
            if at >= end {
                return number;
            }
            self.at(at, Happening::Fault(number));
            number += 1;
        }
    }

    /// One fault, drawn now. Each has its own chance, so that one can be left out and the others are drawn as before.
    pub(super) fn fault(&mut self, number: u32) {
        if self.setup.left_out.contains(&number) {
            return;
        }
        let own = Rng::with_seed(self.setup.seed.rotate_left(32) ^ u64::from(number) ^ 0xfa017);
        let of_all = std::mem::replace(&mut self.rng, own);
        self.draw_fault();
        self.rng = of_all;
    }

    fn draw_fault(&mut self) {
        // Drawn where somebody follows only, so that all other seeds are as they would be without.
        if self.setup.follow && self.rng.u32(0..4) == 0 {
            return self.fault_of_follower();
        }
        let host = HostId(self.pick(self.setup.headnodes));
        let name = self.host(host).name.to_string();
        if self.setup.fencing != Fencing::No {
            self.fault_of_fence(host);
        }
        match self.rng.u32(0..100) {
            0..30 => self.fault_of_daemon(host, &name),
            30..42 => self.fault_of_network(&name),
            42..58 => self.fault_of_ensemble(),
            58..70 => self.fault_of_host(host, &name),
            70..84 => self.fault_of_service(host, &name),
            84..94 => self.deed_of_operator(host, &name),
            _ => self.fault_of_records(),
        }
    }

    /// Orders something now, and its end after a while.
    fn do_for(&mut self, deed: &str, end: &str, low: u64, high: u64) {
        self.order(deed);
        let span = self.between(low * 1000, high * 1000);
        self.after(span, Happening::Command(end.to_owned()));
    }

    pub(super) fn order(&mut self, text: &str) {
        self.after(Duration::ZERO, Happening::Command(text.to_owned()));
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let index = self.pick(words.len());
        words.get(index).copied().unwrap_or_default()
    }

    fn fault_of_daemon(&mut self, host: HostId, name: &str) {
        let kind = match self.rng.u32(0..10) {
            0..4 => Kind::Controller,
            4..7 => Kind::Guard,
            7..9 => Kind::Duty,
            _ if self.setup.follow && self.rng.bool() => Kind::Follower,
            _ => Kind::Monitor,
        };
        let id = DaemonId { host, kind };
        if !self.may_fail(id) {
            return;
        }
        let daemon = kind.name();
        let alone = self.may_fail_for_good(id);
        match self.rng.u32(0..10) {
            0..4 => self.order(&format!("kill {name} {daemon}")),
            4..6 => {
                let thaw = format!("thaw {name} {daemon}");
                self.do_for(&format!("freeze {name} {daemon}"), &thaw, 100, 3000);
            }
            6 if alone => {
                let thaw = format!("thaw {name} {daemon}");
                let how = self.one_of(&["freeze", "hang"]);
                self.do_for(&format!("{how} {name} {daemon} for good"), &thaw, 1000, 30_000);
            }
            7 if alone => {
                let start = format!("start {name} {daemon}");
                self.do_for(&format!("kill {name} {daemon} for good"), &start, 1000, 40_000);
            }
            8 if self.rng.bool() => {
                let thaw = format!("thaw {name} {daemon}");
                self.do_for(&format!("hang {name} {daemon}"), &thaw, 100, 3000);
            }
            8 => self.order(&format!("restart {name} {daemon}")),
            _ => self.order(&format!("expire {name} {daemon}")),
        }
    }

    /// With a kill time shorter than a watchdog takes, only one of guard and master-fc may be away. So, too, where a service cannot
    /// be killed: whoever is left has to be there at D plus kill time to take the host down.
    fn may_fail(&self, id: DaemonId) -> bool {
        let other = match id.kind {
            Kind::Controller => Kind::Guard,
            Kind::Guard => Kind::Controller,
            Kind::Monitor | Kind::Duty | Kind::Follower => return true,
        };
        let daemon = self.host(id.host).daemon(other);
        let long_there =
            daemon.deaths.last().is_none_or(|at| self.now > *at + Duration::from_secs(4));
        let clings = self.host(id.host).units.values().any(|unit| unit.manner.ends == Ends::Never);
        self.setup.preset != "fast" && !clings || daemon.life == Life::Running && long_there
    }

    /// Whether both are there that could take the host down, and have been for long.
    fn may_cling(&self, host: HostId) -> bool {
        [Kind::Controller, Kind::Guard].into_iter().all(|kind| {
            let daemon = self.host(host).daemon(kind);
            let long =
                daemon.deaths.last().is_none_or(|at| self.now > *at + Duration::from_secs(4));
            daemon.life == Life::Running && long
        })
    }

    /// Guard and master-fc are not both taken away for longer than a watchdog takes.
    fn may_fail_for_good(&self, id: DaemonId) -> bool {
        let both = [Kind::Controller, Kind::Guard].map(|kind| self.host(id.host).daemon(kind));
        match id.kind {
            Kind::Controller if self.setup.broken.no_guard => true,
            Kind::Controller | Kind::Guard => {
                both.iter().all(|daemon| daemon.life == Life::Running && daemon.wanted)
            }
            Kind::Monitor | Kind::Follower => true,
            // systemd starts it again, or master-fc does.
            Kind::Duty => false,
        }
    }

    fn fault_of_network(&mut self, name: &str) {
        let heal = format!("heal {name}");
        match self.rng.u32(0..5) {
            0..2 => self.do_for(&format!("cut {name}"), &heal, 200, 30_000),
            2 => {
                let way = self.one_of(&["up", "down"]);
                self.do_for(&format!("cut {name} {way}"), &heal, 200, 20_000);
            }
            _ => {
                let server = self.one_of(&["zk0", "zk1", "zk2"]);
                let cut = format!("cut {name} from {server}");
                self.do_for(&cut, &heal, 200, 20_000);
            }
        }
    }

    fn fault_of_ensemble(&mut self) {
        let server = self.one_of(&["zk0", "zk1", "zk2", "leader"]);
        let start =
            if server == "leader" { "start all".to_owned() } else { format!("start {server}") };
        let start = format!("zk {start}");
        match self.rng.u32(0..11) {
            0..3 => self.do_for(&format!("zk kill {server}"), &start, 200, 15_000),
            3..5 => self.do_for(&format!("zk silence {server}"), &start, 200, 15_000),
            5..7 => self.do_for(&format!("zk isolate {server}"), &start, 200, 10_000),
            7..9 => {
                let span = self.one_of(&["0.2s", "1s", "3s", "9s"]);
                let end = format!("zk lag {server} 0s");
                self.do_for(&format!("zk lag {server} {span}"), &end, 500, 20_000);
            }
            9 => {
                let span = self.one_of(&["0.6s", "1s", "2s", "5s"]);
                self.do_for(&format!("zk slow {span}"), "zk fast", 1000, 30_000);
            }
            _ if self.rng.bool() => {
                let name = self.one_of(&["hn0", "hn1"]);
                self.do_for(
                    &format!("zk denies {name}"),
                    &format!("zk allows {name}"),
                    500,
                    25_000,
                );
            }
            _ => self.do_for("zk kill all", "zk start all", 500, 25_000),
        }
    }

    fn fault_of_host(&mut self, host: HostId, name: &str) {
        match self.rng.u32(0..12) {
            0..3 => {
                let on = format!("power on {name}");
                self.do_for(&format!("power off {name}"), &on, 3000, 40_000);
            }
            3 => self.order(&format!("reboot {name}")),
            4..6 => self.freeze_for_a_while(host, name),
            6..8 => {
                let span = self.one_of(&["0.5s", "2s", "7s", "20s"]);
                self.order(&format!("bus {name} hangs {span}"));
            }
            8 if self.rng.bool() => {
                let other = self.one_of(&["6s", "20s"]);
                self.order(&format!("lease {name} {other}"));
            }
            8 => {
                let writable = format!("run-dir {name} writable");
                let fault = self.one_of(&["full", "read-only"]);
                self.do_for(&format!("run-dir {name} {fault}"), &writable, 500, 20_000);
            }
            10 if self.rng.bool() => {
                // As short as that, and office is kept.
                let writable = format!("run-dir {name} writable");
                self.do_for(&format!("run-dir {name} full"), &writable, 300, 3000);
            }
            10 => {
                self.order(&format!("run-dir {name} damaged"));
                if self.rng.bool() {
                    self.order(&format!("kill {name} slave-ha-service"));
                }
            }
            _ => {
                let bad = self.one_of(&["disk 0", "disk 100", "hangs"]);
                let good = format!("health {name} good");
                self.do_for(&format!("health {name} {bad}"), &good, 1000, 60_000);
            }
        }
    }

    /// Services that stand still together with everything that could stop them are the hardware watchdog's business: it
    /// takes the power away.
    fn freeze_for_a_while(&mut self, host: HostId, name: &str) {
        let span = self.between(50_000, 9_000_000);
        let kill = self.config_for(host).timing.kill;
        let state = self.host(host);
        let units = || state.units.values().filter(|unit| unit.gated);
        let executing = units().any(|unit| unit.state == State::Exec);
        let limit = state.run.permit.as_ref().map(|permit| {
            let left = permit.end().since(state.clock.at(self.now));
            if executing { left / 2 } else { left.saturating_add(kill / 4) }
        });
        let at_stake = executing || units().any(Unit::runs);
        let end = match limit {
            Some(limit) if at_stake && span > limit => {
                self.after(limit, Happening::Command(format!("power off {name}")));
                let on = limit + Duration::from_secs(9);
                self.after(on, Happening::Command(format!("power on {name}")));
                None
            }
            None if at_stake => return,
            Some(_) | None => Some(span),
        };
        self.order(&format!("freeze {name}"));
        if let Some(span) = end {
            self.after(span, Happening::Command(format!("thaw {name}")));
        }
    }

    fn fault_of_service(&mut self, host: HostId, name: &str) {
        let service = self.one_of(&SERVICES);
        let well = format!("service {name} {service} well");
        let say = |manner: &str| format!("service {name} {service} {manner}");
        match self.rng.u32(0..14) {
            0..4 => self.order(&say("dies")),
            4 => self.do_for(&say("refuses to stop"), &well, 5000, 60_000),
            5 => self.do_for(&say("cannot start"), &well, 1000, 30_000),
            6 if self.may_cling(host) => {
                self.do_for(&say("cannot be killed"), &well, 5000, 40_000);
            }
            6 => {}
            7 if self.rng.bool() => {
                let deaf = self.one_of(&["answers nobody", "never answers", "hangs"]);
                self.do_for(&say(deaf), &well, 5000, 60_000);
            }
            7 => self.do_for(&say("dies after 2s"), &well, 5000, 40_000),
            8 => self.order(&say("starts in 9s")),
            9 => self.order(&say("stops in 8s")),
            10 => self.order(&say("starts in 0.5s")),
            // Wherever it runs, until it is given up there.
            11 | 12 => {
                for host in self.headnode_ids() {
                    let service = format!("service {} {service}", self.host(host).name);
                    let well = format!("{service} well");
                    self.do_for(&format!("{service} dies after 0.5s"), &well, 10_000, 60_000);
                }
            }
            _ => self.order(&say("stops in 0.2s")),
        }
    }

    fn deed_of_operator(&mut self, host: HostId, name: &str) {
        let service = self.one_of(&SERVICES);
        match self.rng.u32(0..10) {
            0..2 => self.order("switchover"),
            2 => self.order(&format!("failover from {name}")),
            3 => self.order(&format!("switchover to {name}")),
            4 if self.rng.bool() => self.do_for("pause", "resume", 1000, 40_000),
            4 => self.work_on_the_ensemble(),
            5 if self.rng.bool() => {
                let (on, off) =
                    (format!("maintenance {service} on"), format!("maintenance {service} off"));
                self.do_for(&on, &off, 1000, 60_000);
            }
            5 => {
                let start = format!("start {name} master-fc");
                self.do_for(&format!("stop {name} master-fc"), &start, 1000, 40_000);
            }
            6..8 => self.order(&format!("service {name} {service} started by hand")),
            8 => self.order(&format!("service {name} {service} stopped by hand")),
            _ => {
                // On a standby only: on the active it would be a second process beside the first.
                if self.running_on(host).is_none() {
                    self.order(&format!("service {name} {service} started past the gate"));
                }
            }
        }
    }

    /// Of half the claims some operator hears. Drawn apart from all else, so that the rest of a seed is as it would be without.
    pub(super) fn plan_confirm(&mut self, active: &Active) {
        // Before the first office nobody has anything to say: each headnode may boot in that very moment.
        let is_first = active.holder.is_none() && active.epoch == Epoch::default();
        if self.setup.calm || is_first {
            return;
        }
        let mut rng = Rng::with_seed(self.setup.seed ^ micros(self.now) ^ 0xc0f1);
        let host = match &active.holder {
            Some(holder) => self.host_by_name(holder.node.as_str()),
            None => Some(HostId(rng.usize(0..self.hosts.len()))),
        };
        let pause = Duration::from_micros(rng.u64(20_000..6_000_000));
        if let Some(host) = host.filter(|_| rng.bool()) {
            self.after(pause, Happening::Confirm(host));
        }
    }

    /// The truth, or an untruth about a host of which two daemons at least are there to see: by its end they still are.
    pub(super) fn confirm_by_chance(&mut self, host: HostId) {
        let name = self.host(host).name.to_string();
        if !self.host(host).powered {
            self.order(&format!("fence confirm {name}"));
            return;
        }
        let seen = [Kind::Controller, Kind::Guard, Kind::Monitor].into_iter().filter(|kind| {
            let daemon = self.host(host).daemon(*kind);
            let client = daemon.client.as_ref().filter(|client| client.is_up());
            let session = client.and_then(Client::session);
            let shown = |session| !self.ensemble.head.owned_by(session).is_empty();
            daemon.life == Life::Running && session.is_some_and(shown)
        });
        let seen = seen.count();
        // Or an untruth that harms nobody, about one that nobody sees: whoever went by it finds it out.
        if seen == 0 && self.is_harmless(host) && !self.is_shown(host) {
            self.device.slandered.insert(host);
            self.order(&format!("fence confirm {name}"));
        }
        if seen >= 2 && !self.host(host).is_dumb() {
            self.order(&format!("fence confirm {name} soon"));
        }
    }

    /// Whether any record shows that a host's daemons live.
    fn is_shown(&self, host: HostId) -> bool {
        let name = &self.host(host).name;
        signs_of(name).iter().any(|(key, _)| self.ensemble.head.get(key).is_some())
    }

    /// With a keep, and often with the whole ensemble away meanwhile. Of each step it may be that nobody sees it in time.
    fn work_on_the_ensemble(&mut self) {
        self.order("pause keep");
        let mut at = self.between(100_000, 4_000_000);
        if self.rng.u32(0..3) > 0 {
            self.after(at, Happening::Command("zk kill all".to_owned()));
            at += self.between(500_000, 60_000_000);
            self.after(at, Happening::Command("zk start all".to_owned()));
        }
        at += self.between(500_000, 30_000_000);
        if self.rng.bool() {
            let host = HostId(self.pick(self.setup.headnodes));
            let (stop, name) = (self.between(0, micros(at)), self.host(host).name.clone());
            let stops = if self.rng.bool() { "stop HOST master-fc" } else { "reboot HOST" };
            let text = |text: &str| Happening::Command(text.replace("HOST", name.as_str()));
            self.after(stop, text(stops));
            self.after(at + Duration::from_secs(5), text("start HOST master-fc"));
        }
        let resume = self.one_of(&["resume", "resume", "resume", "resume as ever"]);
        self.after(at, Happening::Command(resume.to_owned()));
        // Of a host that is without power then some operator knows. Drawn apart, as above.
        let mut rng = Rng::with_seed(self.setup.seed ^ micros(self.now) ^ 0x6f66);
        for host in (0..self.hosts.len()).map(HostId) {
            let pause = at + Duration::from_micros(rng.u64(100_000..20_000_000));
            if rng.bool() {
                self.after(pause, Happening::Confirm(host));
            }
        }
    }

    fn fault_of_records(&mut self) {
        let deed = self.one_of(&[
            "delete lock",
            "delete lock",
            "delete lock",
            "delete active",
            "write active garbage",
            "write lease garbage",
            "delete lease",
            "write lock garbage",
            "lock by hand",
            "write orders/switchover garbage",
            "write history garbage",
        ]);
        // What the holder's lease was is told by `active` and `lease`: with both destroyed a taker has its own configuration only.
        let leases = self.configs.iter().map(|config| config.timing.lease).collect::<BTreeSet<_>>();
        if leases.len() == 1 || !deed.contains(" lease") {
            self.order(deed);
        }
    }

    /// Some time within the next `trouble` the records are lost, and an operator says to go on with what is there then.
    pub(super) fn plan_another_life(&mut self, trouble: Duration) {
        let lost = self.between(0, micros(trouble));
        self.after(lost, Happening::Command("lose the records".to_owned()));
        let adopted = lost + self.between(1_000_000, 60_000_000);
        self.after(adopted, Happening::Command("adopt".to_owned()));
    }

    /// What happens to hosts files, agents and slave-fc, on whichever node; and to nodes on which nothing else runs.
    fn fault_of_follower(&mut self) {
        let host = HostId(self.pick(self.hosts.len()));
        let name = self.host(host).name.to_string();
        match self.rng.u32(0..20) {
            0..3 => self.order(&format!("kill {name} slave-fc")),
            3..6 => self.order(&format!("hosts {name} kills slave-fc")),
            6 => {
                let writable = format!("hosts {name} writable");
                self.do_for(&format!("hosts {name} read-only"), &writable, 500, 40_000);
            }
            7..9 => self.order(&format!("hosts {name} edited")),
            9..11 => self.order(&format!("hosts {name} gains a line")),
            11 => self.order(&format!("agent {name} dies")),
            12 => {
                let well = format!("agent {name} well");
                self.do_for(&format!("agent {name} cannot start"), &well, 1000, 90_000);
            }
            13 => {
                let how = self.one_of(&["freeze", "hang"]);
                let thaw = format!("thaw {name} slave-fc");
                self.do_for(&format!("{how} {name} slave-fc"), &thaw, 100, 9000);
            }
            14 => {
                let start = format!("start {name} slave-fc");
                self.do_for(&format!("kill {name} slave-fc for good"), &start, 1000, 40_000);
            }
            // Which may be about to be active.
            18 | 19 if self.is_headnode(host) => {
                let (begin, end) = match self.rng.u32(0..3) {
                    0 => (format!("hosts {name} read-only"), format!("hosts {name} writable")),
                    1 => (format!("run-dir {name} full"), format!("run-dir {name} writable")),
                    _ => {
                        (format!("kill {name} slave-fc for good"), format!("start {name} slave-fc"))
                    }
                };
                self.do_for(&begin, &end, 20_000, 60_000);
                self.order("switchover");
            }
            _ if self.is_headnode(host) => self.order(&format!("expire {name} slave-fc")),
            15 => {
                let on = format!("power on {name}");
                self.do_for(&format!("power off {name}"), &on, 3000, 40_000);
            }
            16 => self.do_for(&format!("freeze {name}"), &format!("thaw {name}"), 50, 20_000),
            _ => self.fault_of_network(&name),
        }
    }
}
