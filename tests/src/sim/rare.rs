//! What a cluster sees once in a long while: an ensemble restored from a copy, a host installed anew under its old name, a host that
//! is paused together with its clock, a wall clock that is set, a link that is slow.
//!
//! What the protocol says that it does not cover (`protocol.md`, 10) is not done: an ensemble is restored once every lease that it
//! granted is over, and a host's clock stands still only while that host holds nothing.

use std::time::Duration;

use fastrand::Rng;
use headship_core::epoch::Epoch;
use headship_core::record::{self, Key, Lease, Settings};

use super::check::parse_active;
use super::clock::{Clock, micros};
use super::command::seconds;
use super::ensemble::Power;
use super::follow::Follow;
use super::host::HostId;
use super::tree::Tree;
use super::unit::Unit;
use super::world::{Happening, World};

/// How much longer than lease and kill time an operator who restores keeps the ensemble down.
const TO_BE_SURE: Duration = Duration::from_secs(2);

impl World {
    /// Some of it within the next `trouble`. Drawn apart from all else, so that the rest of a seed is as it would be without.
    pub(super) fn plan_rare(&mut self, trouble: Duration) {
        let own = Rng::with_seed(self.setup.seed ^ 0x4a4e);
        let of_all = std::mem::replace(&mut self.rng, own);
        for _ in 0..self.rng.u32(1..=3) {
            let at = self.between(0, micros(trouble));
            let host = HostId(self.pick(self.setup.headnodes));
            let name = self.host(host).name.to_string();
            match self.rng.u32(0..6) {
                0 | 1 => self.plan_restore(at),
                2 => self.plan_order(at, format!("reimage {name}")),
                3 => {
                    self.plan_order(at, format!("freeze {name} with its clock"));
                    let thawed = at + self.between(100_000, 60_000_000);
                    self.plan_order(thawed, format!("thaw {name} with its clock"));
                }
                4 => {
                    let steps = ["-7200s", "-3s", "2s", "3600s"];
                    let step = steps.get(self.pick(steps.len())).copied().unwrap_or("2s");
                    self.plan_order(at, format!("clock {name} set {step}"));
                }
                _ => {
                    let slow = self.between(20_000, 900_000).as_secs_f64();
                    self.plan_order(at, format!("link {name} slow {slow:.3}s"));
                    let fast = at + self.between(1_000_000, 60_000_000);
                    self.plan_order(fast, format!("link {name} slow 0s"));
                }
            }
        }
        self.rng = of_all;
    }

    fn plan_order(&mut self, pause: Duration, text: String) {
        self.after(pause, Happening::Command(text));
    }

    /// The records are copied; later all servers are stopped, and start with the copy after whatever was held has surely ended.
    fn plan_restore(&mut self, copied: Duration) {
        self.plan_order(copied, "zk copy".to_owned());
        let down = copied + self.between(100_000, 60_000_000);
        let longest = self.configs.iter().map(|config| config.timing.wait()).max();
        let up = down + longest.unwrap_or_default() + TO_BE_SURE;
        self.plan_order(down, "zk kill all".to_owned());
        self.plan_order(up, "zk restore".to_owned());
        self.plan_order(up, "zk start all".to_owned());
    }

    /// Carries out an order of this file.
    pub(super) fn rare_command(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["reimage", name] => {
                let host = self.named_host(name)?;
                self.reimage(host);
            }
            ["freeze", name, "with", "its", "clock"] => {
                let host = self.named_host(name)?;
                self.freeze_with_clock(host);
            }
            // Not one that another fault has frozen.
            ["thaw", name, "with", "its", "clock"] => {
                let host = self.named_host(name)?;
                if self.host(host).clock_stands_at.is_some() {
                    self.thaw_host(host);
                }
            }
            ["clock", name, "set", step] => {
                let host = self.named_host(name)?;
                let back = step.starts_with('-');
                let step = i64::try_from(seconds(step.trim_start_matches('-'))?.as_millis());
                let step = step.map_err(|_err| "too long")?;
                let wall = &mut self.host_mut(host).wall_offset_ms;
                *wall = wall.saturating_add(if back { -step } else { step });
            }
            ["link", name, "slow", span] => {
                let host = self.named_host(name)?;
                self.net.slow.insert(host, seconds(span)?);
            }
            _ => return Err("unknown words".to_owned()),
        }
        Ok(())
    }

    /// Another machine takes the place and the name of this one, from nothing.
    fn reimage(&mut self, id: HostId) {
        self.checker.reached.rare("a host installed anew");
        self.lose_power(id, None);
        let host = self.host_mut(id);
        host.machine = format!("machine-{}-of-{}", host.boot, host.name);
        host.remembered = None;
        host.follow = Follow::default();
        let off = self.between(5_000_000, 30_000_000);
        let name = self.host(id).name.to_string();
        self.plan_order(off, format!("power on {name}"));
    }

    /// Whoever holds nothing, and whom nobody waits for, may be paused for as long as it takes.
    fn freeze_with_clock(&mut self, id: HostId) {
        let host = self.host(id);
        let name = &host.name;
        let at_stake = host.units.values().any(|unit| unit.gated && Unit::runs(unit))
            || host.run.gate(&host.boot_id(), host.clock.at(self.now)).is_ok();
        let active = parse_active(&self.ensemble.head);
        let in_office = active.is_none_or(|active| {
            [active.holder, active.claimant].iter().flatten().any(|by| by.node == *name)
        });
        if host.is_dumb() || at_stake || in_office || self.role(id) != "standby" {
            return;
        }
        let stands_at = host.clock.at(self.now);
        self.checker.reached.rare("a host paused together with its clock");
        self.host_mut(id).clock_stands_at = Some(stands_at);
        self.freeze_host(id);
    }

    /// The clock of a host that was paused goes on from where it stood.
    pub(super) fn clock_goes_on(&mut self, id: HostId) {
        let now = self.now;
        let host = self.host_mut(id);
        if let Some(at) = host.clock_stands_at.take() {
            host.clock = Clock::new(now, at.as_micros(), host.ppm);
        }
    }

    /// Somebody copies what the servers have on their disks.
    pub(super) fn copy_records(&mut self) {
        self.ensemble.copy = Some((self.lives, self.ensemble.head.clone()));
    }

    /// Puts the copy in place of the records. Not done is what an operator must not do: while a server runs, before every lease
    /// and the kill time after it are over, under a keep, and from another life of the cluster.
    pub(super) fn restore_records(&mut self) {
        let longest = self.configs.iter().map(|config| config.timing.wait()).max();
        let over = self.checker.renewed_at + longest.unwrap_or_default() + TO_BE_SURE / 2;
        let servers = self.ensemble.ids().into_iter();
        let stopped = servers.map(|id| self.ensemble.server(id).power).all(|it| it != Power::On);
        let Some((lives, copy)) = self.ensemble.copy.clone() else { return };
        let kept = [&copy, &self.ensemble.head].into_iter().any(is_kept);
        let early = self.now < over && !self.setup.broken.restores_at_once;
        if !stopped || early || lives != self.lives || kept || self.leases_differed {
            return;
        }
        self.checker.reached.rare("an ensemble restored");
        self.notice("quorum", "is restored from a copy".to_owned());
        let sessions = self.ensemble.session_ids();
        sessions.into_iter().for_each(|session| self.close_session(session));
        self.put_back(&copy);
        let lease = copy.get(&Key::Lease);
        let lease = lease.and_then(|it| record::parse::<Lease>(&Key::Lease, &it.data).ok());
        let renewed = lease.map_or(Epoch(0), |lease| lease.epoch);
        self.checker.restored(parse_active(&copy).as_ref(), renewed);
    }
}

/// Whether a keep is asked for, acknowledged, or being ended.
fn is_kept(tree: &Tree) -> bool {
    let settings = tree.get(&Key::Settings);
    let settings = settings.and_then(|it| record::parse::<Settings>(&Key::Settings, &it.data).ok());
    settings.is_none_or(|settings| settings.keep.is_some())
}
