//! What an operator orders: the records that the command line writes.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use headship_core::epoch::Epoch;
use headship_core::node::NodeName;
use headship_core::quorum::{Op, Version};
use headship_core::record::{
    self, Active, AdoptOrder, Answer, ConfirmOrder, FORMAT, FailoverOrder, Keep, KeepConfirmed,
    Key, Maintenance, Order, Pausing, Phase, Rest, Settings, SwitchoverOrder,
};
use headship_core::time::WallTime;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::clock::micros;
use super::world::{Happening, World};

/// Who pauses and begins maintenance, from where and why.
const OPERATOR: &str = "operator, for a test";

/// How long a word is good for that must not be believed, in milliseconds: less than any session outlives its host.
const SOON_MS: u64 = 300;

/// Who gives orders, and from where.
const BY: &str = "operator@test";

impl World {
    /// Carries out an operator's order now.
    pub(super) fn operator(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["pause"] => self.pause(None),
            ["pause", "once", "accepted"] => {
                self.pauses_once_accepted = true;
                Ok(())
            }
            ["pause", "keep", rest @ ..] => self.pause_and_keep(rest),
            ["resume"] => self.resume(),
            ["resume", "as", "ever"] => self.settings(|settings| settings.paused = None),
            ["maintenance", "all", "off"] => {
                self.settings(|settings| settings.maintenance = Maintenance::default())
            }
            ["maintenance", name, how @ ("on" | "off")] => self.maintain(name, *how == "on"),
            ["switchover", rest @ ..] => self.order_switchover(rest),
            ["failover", rest @ ..] => self.order_failover(rest),
            ["fence", "confirm", "lost", "machines"] => self.confirm_lost_machines(),
            ["fence", "confirm", node, rest @ ..] => self.confirm_off(node, rest),
            ["adopt"] => self.order_adoption(),
            ["lose", "the", "records"] => self.lose_the_records(),
            _ => Err("unknown words".to_owned()),
        }
    }

    fn settings(&mut self, change: impl FnOnce(&mut Settings)) -> Result<(), String> {
        self.rewrite(Key::Settings, |text| {
            let settings = record::parse::<Settings>(&Key::Settings, text);
            settings.map_or_else(
                |_| text.to_owned(),
                |mut settings| {
                    change(&mut settings);
                    record::write(&settings)
                },
            )
        })
    }

    /// Who was first stands, as with the command line.
    fn pause(&mut self, keep: Option<Keep>) -> Result<(), String> {
        self.settings(|settings| {
            if settings.pausing() == Pausing::Automatic {
                *settings = settings.pause(OPERATOR, keep);
            }
        })
    }

    fn resume(&mut self) -> Result<(), String> {
        let settings = self.ensemble.head.get(&Key::Settings);
        let settings =
            settings.and_then(|it| record::parse::<Settings>(&Key::Settings, &it.data).ok());
        let resumed = settings.map(|settings| self.resumed(&settings, OPERATOR));
        self.settings(|settings| *settings = resumed.unwrap_or_else(|| settings.clone()))
    }

    /// Asked of whoever holds office by the records, unless the words say otherwise.
    fn pause_and_keep(&mut self, words: &[&str]) -> Result<(), String> {
        let Some((id, epoch, not_after)) = self.new_order(words)? else { return Ok(()) };
        self.pause(Some(Keep::asked(id, epoch, not_after)))
    }

    fn maintain(&mut self, name: &str, on: bool) -> Result<(), String> {
        let node = self.named_host(name).ok().map(|host| self.host(host).name.clone());
        self.settings(|settings| {
            let Maintenance { nodes, services, .. } = &mut settings.maintenance;
            match (node, on) {
                (Some(node), true) => drop(nodes.insert(node, OPERATOR.to_owned())),
                (Some(node), false) => drop(nodes.remove(&node)),
                (None, true) => drop(services.insert(name.to_owned(), OPERATOR.to_owned())),
                (None, false) => drop(services.remove(name)),
            }
        })
    }

    /// The ensemble's data is lost, and somebody begins another life of the cluster in it. Without the records, what a cut-off
    /// holder of another lease may still do is known to nobody: `protocol.md`, 10.
    fn lose_the_records(&mut self) -> Result<(), String> {
        if self.leases_differed {
            return Ok(());
        }
        let mut lost = self.ensemble.head.persistent();
        lost.extend(self.ensemble.head.get(&Key::Lock).map(|_| Key::Lock));
        self.lives += 1;
        let data = record::write(&Settings {
            format: FORMAT,
            incarnation: headship_core::epoch::Incarnation(format!("life-{}", self.lives)),
            paused: None,
            keep: None,
            maintenance: Maintenance::default(),
            rest: Rest::new(),
        });
        let ops = lost.into_iter().map(|key| Op::Delete { key, version: None });
        let ops: Vec<Op> = ops.chain([Op::Create { key: Key::Settings, data }]).collect();
        self.by_hand(&ops)
    }

    /// The operator made the settings before anybody came, with automatic failover off.
    pub(super) fn begin_paused(&mut self) {
        let settings = Settings {
            format: FORMAT,
            incarnation: headship_core::epoch::Incarnation("first".to_owned()),
            paused: Some(OPERATOR.to_owned()),
            keep: None,
            maintenance: Maintenance::default(),
            rest: Rest::new(),
        };
        let data = record::write(&settings);
        self.write_by_hand(&[Op::Create { key: Key::Settings, data }]);
    }

    fn order_switchover(&mut self, words: &[&str]) -> Result<(), String> {
        let (to, words) = match words {
            ["to", node, rest @ ..] => (Some(self.node(node)?), rest),
            rest => (None, rest),
        };
        let Some((order, epoch, not_after)) = self.new_order(words)? else { return Ok(()) };
        let by = BY.to_owned();
        let (answer, rest) = (None, Rest::new());
        self.give(&SwitchoverOrder {
            format: FORMAT,
            order,
            by,
            epoch,
            to,
            not_after,
            answer,
            rest,
        })
    }

    fn order_failover(&mut self, words: &[&str]) -> Result<(), String> {
        let ["from", node, words @ ..] = words else {
            return Err("from which headnode?".to_owned());
        };
        let from = self.node(node)?;
        let Some((order, epoch, not_after)) = self.new_order(words)? else { return Ok(()) };
        let by = BY.to_owned();
        let (taker, answer, rest) = (None, None, Rest::new());
        self.give(&FailoverOrder {
            format: FORMAT,
            order,
            by,
            epoch,
            from,
            not_after,
            taker,
            answer,
            rest,
        })
    }

    /// Says that a headnode is powered off, of the claim as it is; nothing where there is none.
    fn confirm_off(&mut self, node: &str, words: &[&str]) -> Result<(), String> {
        let node = self.node(node)?;
        // Without further words it is the truth, or a scenario's affair.
        if words.is_empty() && self.confirm_keep_off(&node)? {
            return Ok(());
        }
        let Some(found) = self.ensemble.head.get(&Key::Active) else { return Ok(()) };
        let Ok(active) = record::parse::<Active>(&Key::Active, &found.data) else { return Ok(()) };
        let claimant = match (&active.claimant, self.setup.calm) {
            (Some(claimant), _) => claimant.clone(),
            // Refused by the holder, in a scenario; chance says it of claims only.
            (None, true) => active.holder.clone().ok_or("there is nobody to answer")?,
            (None, false) => return Ok(()),
        };
        let (claim, not_after) = match words {
            [] => (found.version, u64::MAX),
            ["too", "late"] => (found.version, 1),
            ["of", "an", "earlier", "claim"] => (found.version - 1, u64::MAX),
            // It must not be believed any more when the signs of life of a host that was cut since are gone.
            ["soon"] => (found.version, self.wall_of(&claimant.node) + SOON_MS),
            _ => return Err("unknown words".to_owned()),
        };
        self.orders += 1;
        let (order, by) = (format!("order-{}", self.orders), BY.to_owned());
        let (epoch, over, not_after) = (active.epoch, active.holder, WallTime(not_after));
        let (answer, rest) = (None, Rest::new());
        self.give(&ConfirmOrder {
            format: FORMAT,
            order,
            by,
            epoch,
            node,
            over,
            claimant,
            claim,
            not_after,
            answer,
            rest,
        })
    }

    /// Says it of the host of a keep that was resumed, where nobody claims. The command line looks for signs of life first.
    /// False if there is no such keep.
    fn confirm_keep_off(&mut self, node: &NodeName) -> Result<bool, String> {
        let active = self.ensemble.head.get(&Key::Active);
        let active = active.and_then(|it| record::parse::<Active>(&Key::Active, &it.data).ok());
        if active.is_some_and(|active| active.claimant.is_some()) {
            return Ok(false);
        }
        let Some(settings) = self.ensemble.head.get(&Key::Settings) else { return Ok(false) };
        let Ok(read) = record::parse::<Settings>(&Key::Settings, &settings.data) else {
            return Ok(false);
        };
        let over = match read.pausing() {
            Pausing::Resuming { kept } if kept.by.node == *node => kept.clone(),
            Pausing::Automatic
            | Pausing::Paused(_)
            | Pausing::Asked { .. }
            | Pausing::Kept { .. }
            | Pausing::Resuming { .. } => return Ok(false),
        };
        let lease = self.ensemble.head.get(&Key::Lease).map(|lease| lease.version);
        let (by, at) = (BY.to_owned(), WallTime(self.wall_of(node)));
        let word = KeepConfirmed { by, at, over, lease };
        self.settings(|settings| *settings = settings.confirm_off(Some(word)))?;
        Ok(true)
    }

    /// Of a headnode that was kept and whose machine was replaced since nobody but a person knows that it is off.
    fn confirm_lost_machines(&mut self) -> Result<(), String> {
        let Some(settings) = self.ensemble.head.get(&Key::Settings) else { return Ok(()) };
        let Ok(read) = record::parse::<Settings>(&Key::Settings, &settings.data) else {
            return Ok(());
        };
        let Some(by) = read.keep.and_then(|keep| keep.acknowledged).map(|kept| kept.by) else {
            return Ok(());
        };
        let there = self.host_by_name(by.node.as_str()).map(|host| &self.host(host).machine);
        if there.is_some_and(|machine| *machine != by.machine) {
            self.confirm_keep_off(&by.node)?;
        }
        Ok(())
    }

    fn wall_of(&self, node: &NodeName) -> u64 {
        self.host_by_name(node.as_str()).map_or(0, |host| self.wall(host).0)
    }

    fn order_adoption(&mut self) -> Result<(), String> {
        let settings = self.ensemble.head.get(&Key::Settings);
        let settings =
            settings.and_then(|node| record::parse::<Settings>(&Key::Settings, &node.data).ok());
        let Some(Settings { incarnation, .. }) = settings else { return Ok(()) };
        self.orders += 1;
        let order = AdoptOrder {
            format: FORMAT,
            order: format!("order-{}", self.orders),
            by: BY.to_owned(),
            incarnation,
            not_after: WallTime(u64::MAX),
            answers: BTreeMap::new(),
            rest: Rest::new(),
        };
        self.put(Key::Adopt, record::write(&order))
    }

    /// An order, or the answer to one, was written.
    pub(super) fn order_written<O: Order + DeserializeOwned>(&mut self, data: &str) {
        let order = record::parse::<O>(&O::KEY, data).ok();
        match order.and_then(|order| order.given().answer.cloned()) {
            Some(Answer::Accepted) => {
                self.notice("quorum", "the order is accepted".to_owned());
                self.pause_for_all_that();
            }
            Some(Answer::Refused { why }) => {
                self.notice("quorum", format!("the order is refused: {why}"));
                self.order_refused(&O::KEY, &why);
            }
            None => {}
        }
    }

    /// Somebody pauses who has not seen that an order is being carried out, at once or a little later. The command line
    /// refuses that; this is for one that was not told, or that is of a program from before. Drawn apart from all else, so that
    /// the rest of a seed is as it would be without.
    fn pause_for_all_that(&mut self) {
        if std::mem::take(&mut self.pauses_once_accepted) {
            self.after(Duration::ZERO, Happening::Command("pause".to_owned()));
        }
        if self.setup.calm {
            return;
        }
        let mut rng = Rng::with_seed(self.setup.seed ^ micros(self.now) ^ 0x9a05e);
        let pause = Duration::from_micros(if rng.bool() { 0 } else { rng.u64(0..2_000_000) });
        let resume = pause + Duration::from_micros(rng.u64(1_000_000..30_000_000));
        if rng.u32(0..4) == 0 {
            self.after(pause, Happening::Command("pause".to_owned()));
            self.after(resume, Happening::Command("resume".to_owned()));
        }
    }

    /// Who cedes to another does so for its sake: while it may not claim, nobody would be active. Whoever is stopped cedes in any
    /// case.
    pub(super) fn check_cession(&mut self, active: &Active) {
        let (Phase::Ceded { to: Some(to), .. }, Some(holder)) = (&active.phase, &active.holder)
        else {
            return;
        };
        let settings = self.ensemble.head.get(&Key::Settings);
        let settings =
            settings.and_then(|it| record::parse::<Settings>(&Key::Settings, &it.data).ok());
        let paused = settings.is_some_and(|settings| match settings.pausing() {
            Pausing::Paused(_) | Pausing::Asked { .. } | Pausing::Kept { .. } => true,
            Pausing::Automatic | Pausing::Resuming { .. } => false,
        });
        let of = self.host_by_name(holder.node.as_str());
        let why = of.and_then(|host| Some(self.controller(host)?.status().1.to_owned()));
        if paused && why.is_some_and(|why| !why.contains("master-fc is being stopped")) {
            let epoch = active.epoch;
            self.violation(format!(
                "epoch {epoch} is ceded to {to}, which may not claim it: automatic failover is paused"
            ));
        }
    }

    /// As `order_written`, of an order that many answer.
    pub(super) fn adoption_written(&mut self, data: &str) {
        let order = record::parse::<AdoptOrder>(&Key::Adopt, data).ok();
        if let Some((node, why)) = order.as_ref().and_then(AdoptOrder::refusal) {
            self.notice("quorum", format!("{node} refuses the adoption: {why}"));
            self.order_refused(&Key::Adopt, why);
        }
    }

    /// As `order_written`. Chance says it of hosts without power, so that it must be refused (then it has an end), or where it does no
    /// harm. Of another boot it was no untruth.
    pub(super) fn confirm_written(&mut self, data: &str) {
        let Ok(order) = record::parse::<ConfirmOrder>(&Key::Confirm, data) else { return };
        let host = self.host_by_name(order.node.as_str());
        let host = host.filter(|host| !self.device.slandered.contains(host));
        let host = host.map(|host| self.host(host)).filter(|host| host.powered);
        let said_of = |boot: String| match &order.over {
            Some(over) => over.boot == boot,
            None => order.not_after != WallTime(u64::MAX),
        };
        let lives = host.is_some_and(|host| said_of(host.boot_id()));
        self.order_written::<ConfirmOrder>(data);
        if lives && order.answer == Some(Answer::Accepted) && !self.setup.calm {
            self.violation(format!("{} is believed to be off, and lives", order.node));
        }
    }

    fn node(&self, name: &str) -> Result<NodeName, String> {
        name.try_into().map_err(|error| format!("{error}"))
    }

    /// Id, epoch and end of an order for the office as it is; nothing where there is none.
    fn new_order(&mut self, words: &[&str]) -> Result<Option<(String, Epoch, WallTime)>, String> {
        let active = self.ensemble.head.get(&Key::Active);
        let active = active.and_then(|node| record::parse::<Active>(&Key::Active, &node.data).ok());
        let Some(active) = active else { return Ok(None) };
        let (epoch, not_after) = match words {
            [] => (active.epoch, u64::MAX),
            ["too", "late"] => (active.epoch, 1),
            ["of", "another", "epoch"] => (active.epoch.next(), u64::MAX),
            ["of", "an", "earlier", "epoch"] => (Epoch(active.epoch.0.saturating_sub(1)), u64::MAX),
            _ => return Err("unknown words".to_owned()),
        };
        self.orders += 1;
        Ok(Some((format!("order-{}", self.orders), epoch, WallTime(not_after))))
    }

    fn give<T: Order + Serialize>(&mut self, order: &T) -> Result<(), String> {
        self.put(T::KEY, record::write(order))
    }

    fn put(&mut self, key: Key, data: String) -> Result<(), String> {
        let op = match self.ensemble.head.get(&key) {
            Some(node) => Op::Set { key, version: Some(Version(node.version)), data },
            None => Op::Create { key, data },
        };
        self.by_hand(&[op])
    }
}
