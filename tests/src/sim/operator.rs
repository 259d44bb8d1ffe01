//! What an operator orders: the records that the command line writes.

use headship_core::quorum::{Op, Version};
use headship_core::record::{
    self, Active, FORMAT, Key, Maintenance, Rest, Settings, SwitchoverOrder,
};
use headship_core::time::WallTime;

use super::world::World;

/// Who orders, from where and why.
const OPERATOR: &str = "operator, for a test";

impl World {
    /// Carries out an operator's order now.
    pub(super) fn operator(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["pause"] => self.settings(|settings| settings.paused = Some(OPERATOR.to_owned())),
            ["resume"] => self.settings(|settings| settings.paused = None),
            ["maintenance", "all", "off"] => {
                self.settings(|settings| settings.maintenance = Maintenance::default())
            }
            ["maintenance", name, how @ ("on" | "off")] => self.maintain(name, *how == "on"),
            ["switchover", rest @ ..] => self.order_switchover(rest),
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

    /// The operator made the settings before anybody came, with automatic failover off.
    pub(super) fn begin_paused(&mut self) {
        let settings = Settings {
            format: FORMAT,
            incarnation: headship_core::epoch::Incarnation("first".to_owned()),
            paused: Some(OPERATOR.to_owned()),
            maintenance: Maintenance::default(),
            rest: Rest::new(),
        };
        let data = record::write(&settings);
        self.write_by_hand(&[Op::Create { key: Key::Settings, data }]);
    }

    fn order_switchover(&mut self, words: &[&str]) -> Result<(), String> {
        let active = self.ensemble.head.get(&Key::Active);
        let active = active.and_then(|node| record::parse::<Active>(&Key::Active, &node.data).ok());
        let Some(active) = active else { return Ok(()) };
        let (mut to, mut epoch, mut not_after) = (None, active.epoch, u64::MAX);
        match words {
            [] => {}
            ["to", node] => to = Some((*node).try_into().map_err(|error| format!("{error}"))?),
            ["too", "late"] => not_after = 1,
            ["of", "another", "epoch"] => epoch = epoch.next(),
            _ => return Err("unknown words".to_owned()),
        }
        self.orders += 1;
        let order = SwitchoverOrder {
            format: FORMAT,
            order: format!("order-{}", self.orders),
            by: "operator@test".to_owned(),
            epoch,
            to,
            not_after: WallTime(not_after),
            answer: None,
            rest: Rest::new(),
        };
        let (key, data) = (Key::Switchover, record::write(&order));
        let op = match self.ensemble.head.get(&key) {
            Some(node) => Op::Set { key, version: Some(Version(node.version)), data },
            None => Op::Create { key, data },
        };
        self.by_hand(&[op])
    }
}
