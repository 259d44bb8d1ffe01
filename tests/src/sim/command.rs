//! The simulation's own orders, as text: faults, their end, and what an operator does. Scenarios are written in them, and
//! chance speaks them too, so that each fault of a seed stands in its log in words that a scenario can take over.

use std::time::Duration;

use headship_core::eligibility::Disk;
use headship_core::quorum::Op;
use headship_core::record::{self, Key, Settings};

use super::ensemble::{Power, ServerId};
use super::host::{DaemonId, HostId, HostStep, Kind, Life, RunFault};
use super::net::Way;
use super::unit::{Ends, Reply, State, UnitStep};
use super::world::{Happening, World, good_measurements};

impl World {
    /// Carries out an order now.
    ///
    /// # Errors
    ///
    /// Why the text is no order.
    pub fn command(&mut self, text: &str) -> Result<(), String> {
        self.notice("test", text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["zk", rest @ ..] => {
                // Without a leader there is none to harm.
                if !rest.contains(&"leader") || self.ensemble.leader.is_some() {
                    self.zk_command(rest)?;
                }
                Ok(())
            }
            ["service", host, service, manner @ ..] => {
                let host = self.named_host(host)?;
                self.service_command(host, service, manner)
            }
            [
                "power" | "reboot" | "cut" | "heal" | "bus" | "run-dir" | "health" | "drift"
                | "lease" | "renew",
                ..,
            ] => self.host_command(&words),
            ["fence", "agent", rest @ ..] => self.fence_command(rest),
            ["reimage" | "clock" | "link", ..] | ["freeze" | "thaw", _, "with", ..] => {
                self.rare_command(&words)
            }
            ["hosts" | "agent", host, ..] => {
                let host = self.named_host(host)?;
                self.follow_command(host, &words)
            }
            ["freeze", host] => {
                let host = self.named_host(host)?;
                self.freeze_host(host);
                Ok(())
            }
            ["thaw", host] => {
                let host = self.named_host(host)?;
                self.thaw_host(host);
                Ok(())
            }
            [
                "kill" | "freeze" | "hang" | "thaw" | "start" | "stop" | "restart" | "expire",
                host,
                daemon,
                ..,
            ] => {
                let host = self.named_host(host)?;
                let kind = Kind::by_name(daemon).ok_or_else(|| format!("no daemon `{daemon}`"))?;
                self.daemon_command(DaemonId { host, kind }, &words)
            }
            ["write" | "delete" | "another" | "lock", ..] => self.record_command(&words),
            ["deafen", host, "to", path] => {
                let key = Key::from_path(path).ok_or_else(|| format!("no record `{path}`"))?;
                self.deaf.insert((self.named_host(host)?, key));
                Ok(())
            }
            [
                "pause" | "resume" | "maintenance" | "switchover" | "failover" | "fence" | "adopt"
                | "lose",
                ..,
            ] => self.operator(&words),
            _ => Err("unknown words".to_owned()),
        }
    }

    pub(super) fn named_host(&self, name: &str) -> Result<HostId, String> {
        self.host_by_name(name).ok_or_else(|| format!("no host `{name}`"))
    }

    fn daemon_command(&mut self, id: DaemonId, words: &[&str]) -> Result<(), String> {
        let for_good = matches!(words, [_, _, _, "for", "good"]);
        match words {
            ["kill", ..] => {
                if for_good {
                    self.host_mut(id.host).daemon_mut(id.kind).wanted = false;
                }
                self.kill_daemon(id, "killed");
            }
            ["freeze", ..] => self.freeze_daemon(id, Life::Frozen, !for_good),
            ["hang", ..] => self.freeze_daemon(id, Life::Hung, !for_good),
            ["thaw", ..] => self.thaw_daemon(id),
            ["start", ..] => {
                self.host_mut(id.host).daemon_mut(id.kind).wanted = true;
                if self.life(id) == Life::Down && self.host(id.host).powered {
                    self.plan_start(id);
                }
            }
            ["stop", ..] => {
                self.host_mut(id.host).daemon_mut(id.kind).wanted = false;
                if id.kind == Kind::Controller {
                    let process = self.process(id);
                    self.input(id, process, super::host::Input::Told(super::machine::Heard::Stop));
                } else {
                    self.kill_daemon(id, "stopped");
                }
            }
            ["restart", ..] => self.kill_daemon(id, "restarts"),
            ["expire", ..] => {
                let session = self.client_mut(id).and_then(|client| client.session());
                if let Some(session) = session {
                    self.expire_session(session);
                }
            }
            _ => return Err("unknown words".to_owned()),
        }
        Ok(())
    }

    fn host_command(&mut self, words: &[&str]) -> Result<(), String> {
        let [_, name, ..] = words else { return Err("which headnode?".to_owned()) };
        let named = if matches!(words, ["power", ..]) { words.get(2) } else { Some(name) };
        let host = self.named_host(named.copied().unwrap_or_default())?;
        match words {
            ["power", "off", _] => self.lose_power(host, None),
            ["power", "on", _] => {
                let boot = self.host(host).boot;
                self.after(Duration::ZERO, Happening::Host(host, boot, HostStep::Boot));
            }
            ["reboot", _] => self.shut_down(host, 1200),
            ["cut", _] => self.set_links(host, None, &[Way::Up, Way::Down], true),
            ["cut", _, "from", other] if self.host_by_name(other).is_some() => {
                let other = self.named_host(other)?;
                self.net.apart.insert((host.min(other), host.max(other)));
                self.net.reach_changed = self.now;
            }
            ["cut", _, "from", server] => {
                let server = self.named_server(server)?;
                self.set_links(host, Some(server), &[Way::Up, Way::Down], true);
            }
            ["cut", _, "up"] => self.set_links(host, None, &[Way::Up], true),
            ["cut", _, "down"] => self.set_links(host, None, &[Way::Down], true),
            ["heal", _] => {
                self.set_links(host, None, &[Way::Up, Way::Down], false);
                self.net.apart.retain(|(one, other)| *one != host && *other != host);
                self.net.reach_changed = self.now;
            }
            ["bus", _, "hangs", span] => {
                self.host_mut(host).bus_back = self.now + seconds(span)?;
            }
            ["run-dir", _, "damaged"] => {
                self.host_mut(host).run.closed_damaged = true;
                self.files_changed_on(host, None);
            }
            ["run-dir", _, "full"] => self.host_mut(host).run.fault = Some(RunFault::Full),
            ["run-dir", _, "read-only"] => {
                self.host_mut(host).run.fault = Some(RunFault::ReadOnly);
            }
            ["run-dir", _, "outlives", "boots"] => {
                self.host_mut(host).run.outlives_boots = true;
            }
            ["run-dir", _, "writable"] => self.host_mut(host).run.fault = None,
            ["health", _, "good"] => {
                let state = self.host_mut(host);
                (state.measured, state.measuring_hangs) = (good_measurements(), false);
                let process = self.process(DaemonId { host, kind: Kind::Monitor });
                let id = DaemonId { host, kind: Kind::Monitor };
                let measured = super::machine::Heard::Measured(good_measurements());
                self.input(id, process, super::host::Input::Told(measured));
            }
            ["health", _, "hangs"] => self.host_mut(host).measuring_hangs = true,
            ["health", _, "disk", mib] => {
                let free_mib = mib.parse().map_err(|_err| "not a number")?;
                let disk = Disk { free_mib, read_only: false };
                self.host_mut(host).measured.disks = [("/".to_owned(), disk)].into();
            }
            ["lease", _, span] => self.configure_lease(host, seconds(span)?),
            ["renew", _, span] => {
                let renew = seconds(span)?;
                let config = self.configs.get_mut(host.0).ok_or("no such headnode")?;
                config.timing.renew = renew;
            }
            ["drift", _, ppm] => {
                let (now, ppm) = (self.now, ppm.parse().map_err(|_err| "not a number")?);
                self.host_mut(host).clock.set_drift(now, ppm);
            }
            _ => return Err("unknown words".to_owned()),
        }
        Ok(())
    }

    /// What the configuration on one host says from now on; its daemons read it when they start.
    fn configure_lease(&mut self, host: HostId, lease: Duration) {
        self.leases_differed = true;
        let as_at_first = self.setup.config(&self.host(host).name);
        if let Some(config) = self.configs.get_mut(host.0) {
            *config = as_at_first;
            let timing = &mut config.timing;
            timing.lease = lease;
            timing.renew = timing.renew.min(lease / 4);
            timing.grace = timing.grace.min(lease / 4);
            timing.stay_out = timing.stay_out.max(lease);
            timing.lonely_after = timing.lonely_after.max(timing.wait());
        }
    }

    fn set_links(&mut self, host: HostId, server: Option<ServerId>, ways: &[Way], cut: bool) {
        for id in self.ensemble.ids() {
            for way in ways.iter().filter(|_| server.is_none_or(|server| server == id)) {
                if cut {
                    self.net.cut.insert((host, id, *way));
                } else {
                    self.net.cut.remove(&(host, id, *way));
                }
            }
        }
    }

    fn named_server(&self, name: &str) -> Result<ServerId, String> {
        let ids = self.ensemble.ids();
        let leader = self.ensemble.leader;
        match name {
            "leader" => leader.ok_or_else(|| "there is no ZooKeeper leader now".to_owned()),
            "follower" => ids
                .into_iter()
                .find(|id| Some(*id) != leader && self.ensemble.server(*id).power == Power::On)
                .ok_or_else(|| "there is no follower now".to_owned()),
            name => self.ensemble.by_name(name).ok_or_else(|| format!("no server `{name}`")),
        }
    }

    fn zk_command(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["kill", "all"] => {
                self.ensemble
                    .ids()
                    .into_iter()
                    .for_each(|id| self.server_gone(id, Power::Killed, false));
            }
            ["start", "all"] => {
                self.ensemble.ids().into_iter().for_each(|id| self.server_back(id));
            }
            ["kill", server] => {
                let server = self.named_server(server)?;
                self.server_gone(server, Power::Killed, false);
            }
            ["silence", server] => {
                let server = self.named_server(server)?;
                self.server_gone(server, Power::Silent, false);
            }
            ["isolate", server] => {
                let server = self.named_server(server)?;
                self.server_gone(server, Power::On, true);
            }
            ["lag", server, span] => {
                let server = self.named_server(server)?;
                self.ensemble.server_mut(server).lag = seconds(span)?;
            }
            ["copy"] => self.copy_records(),
            ["restore"] => self.restore_records(),
            ["slow", span] => self.ensemble.slow = Some(seconds(span)?),
            ["fast"] => self.ensemble.slow = None,
            ["denies", host] => {
                let host = self.named_host(host)?;
                self.ensemble.denied.insert(host, None);
            }
            ["denies", host, record] => {
                let host = self.named_host(host)?;
                let key = Key::from_path(record).ok_or_else(|| format!("no record `{record}`"))?;
                self.ensemble.denied.insert(host, Some(key));
            }
            ["allows", host] => {
                let host = self.named_host(host)?;
                self.ensemble.denied.remove(&host);
            }
            ["start", server] => {
                let server = self.named_server(server)?;
                self.server_back(server);
            }
            _ => return Err("unknown words".to_owned()),
        }
        Ok(())
    }

    fn service_command(&mut self, host: HostId, name: &str, words: &[&str]) -> Result<(), String> {
        if !self.host(host).units.contains_key(name) {
            return Err(format!("no service `{name}`"));
        }
        let (boot, now) = (self.host(host).boot, self.now);
        let unit = self.unit_mut(host, name);
        let manner = &mut unit.manner;
        match words {
            ["dies"] => self.unit_dies(host, name, "it was killed"),
            ["dies", "after", span] => manner.dies_after = Some(seconds(span)?),
            ["refuses", "to", "stop"] => manner.ends = Ends::WhenKilled,
            ["cannot", "be", "killed"] => manner.ends = Ends::Never,
            ["cannot", "start"] => manner.cannot_start = true,
            ["answers", "nobody"] => manner.reply = Reply::Wrong,
            ["never", "answers"] => {
                (manner.reply, manner.reply_at_start) = (Reply::Wrong, Reply::Wrong);
            }
            ["hangs"] => manner.reply = Reply::Never,
            ["starts", "in", span] => manner.start = seconds(span)?,
            ["stops", "in", span] => manner.stop = seconds(span)?,
            ["well"] => {
                if manner.reply != Reply::Right {
                    unit.sound_since = now;
                }
                (manner.ends, manner.cannot_start) = (Ends::WhenAsked, false);
                (manner.reply, manner.reply_at_start) = (Reply::Right, Reply::Right);
                manner.dies_after = None;
            }
            ["started", "by", "hand"] => {
                let step = UnitStep::Start(None);
                self.after(Duration::ZERO, Happening::Unit(host, boot, name.to_owned(), step));
            }
            ["stopped", "by", "hand"] => {
                let step = UnitStep::Stop(None);
                self.after(Duration::ZERO, Happening::Unit(host, boot, name.to_owned(), step));
            }
            ["started", "past", "the", "gate"] => self.start_past_the_gate(host, name),
            _ => return Err("unknown words".to_owned()),
        }
        Ok(())
    }

    fn start_past_the_gate(&mut self, host: HostId, name: &str) {
        let unit = self.unit_mut(host, name);
        if unit.state == State::Dead && self.host(host).powered {
            let unit = self.unit_mut(host, name);
            (unit.state, unit.foreign, unit.failed) = (State::Running, true, None);
            self.signal(host, name);
        }
    }

    fn record_command(&mut self, words: &[&str]) -> Result<(), String> {
        let key = |path: &str| Key::from_path(path).ok_or_else(|| format!("no record `{path}`"));
        match words {
            // Of nobody's session, as a person makes it.
            ["lock", "by", "hand"] => {
                let _there = self.write_by_hand(&[Op::Delete { key: Key::Lock, version: None }]);
                self.by_hand(&[Op::Create { key: Key::Lock, data: "not ours".to_owned() }])?;
            }
            ["delete", path] => {
                let key = key(path)?;
                self.by_hand(&[Op::Delete { key, version: None }])?;
            }
            ["another", "machine", "registers", path] => {
                let key = key(path)?;
                let data = self.ensemble.head.get(&key).map(|node| node.data.to_string());
                let data = data.unwrap_or_default().replace("machine-of-", "another-machine-of-");
                let delete = Op::Delete { key: key.clone(), version: None };
                self.by_hand(&[delete, Op::Create { key, data }])?;
            }
            ["write", path, "newer"] => {
                self.rewrite(key(path)?, |text| text.replacen("\"format\":1", "\"format\":2", 1))?;
            }
            ["write", path, "without", fields @ ..] => {
                self.rewrite(key(path)?, |text| without(text, fields))?;
            }
            ["write", path, "garbage"] => self.write_garbage(key(path)?)?,
            ["write", path, "incarnation", name] => self.rewrite(key(path)?, |text| {
                let settings = record::parse::<Settings>(&Key::Settings, text);
                settings.map_or_else(
                    |_| text.to_owned(),
                    |settings| {
                        let incarnation = headship_core::epoch::Incarnation((*name).to_owned());
                        record::write(&Settings { incarnation, ..settings })
                    },
                )
            })?,
            _ => return Err("unknown words".to_owned()),
        }
        Ok(())
    }

    /// In a scenario a deed that does nothing is a mistake; chance may well do something in vain.
    pub(super) fn by_hand(&mut self, ops: &[Op]) -> Result<(), String> {
        if self.write_by_hand(ops) || !self.setup.calm {
            return Ok(());
        }
        Err("nothing comes of it: there is no such record, or no quorum".to_owned())
    }

    pub(super) fn rewrite(
        &mut self,
        key: Key,
        change: impl FnOnce(&str) -> String,
    ) -> Result<(), String> {
        let data = self.ensemble.head.get(&key).map(|node| change(&node.data));
        self.by_hand(&[Op::Set { key, version: None, data: data.unwrap_or_default() }])
    }

    /// Whether there was such a record or not: now it is garbage.
    fn write_garbage(&mut self, key: Key) -> Result<(), String> {
        let data = "not ours".to_owned();
        if self.ensemble.head.get(&key).is_some() {
            self.by_hand(&[Op::Set { key, version: None, data }])
        } else {
            self.by_hand(&[Op::Create { key, data }])
        }
    }
}

/// A record as a program wrote it that did not know these fields yet.
fn without(text: &str, fields: &[&str]) -> String {
    let mut record: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    if let Some(record) = record.as_object_mut() {
        record.retain(|field, _| !fields.contains(&field.as_str()));
    }
    record.to_string()
}

/// `2s` or `1.5s`.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').and_then(|number| number.parse::<f64>().ok());
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .ok_or_else(|| format!("`{text}` is no span: write it as `2s`"))
}
