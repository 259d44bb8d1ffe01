//! An operator's orders, as far as the holder carries them out. Each is bound to the epoch it was given for and to an end
//! of its validity, and is answered before anything moves.

use super::{Controller, Write};
use crate::controller::fitness::Fitness;
use crate::node::NodeName;
use crate::quorum::{Op, Version};
use crate::record::{self, Active, Answer, Key, Phase, SwitchoverOrder};
use crate::time::Time;

impl Controller {
    /// Answers an order to switch over, if there is one. True if there was something to do.
    pub(super) fn obey_switchover(&mut self, now: Time, active: &Active) -> bool {
        if !self.records.switchover.is_fresh() {
            return false;
        }
        let Some(order) = self.records.switchover.record() else { return false };
        // One of a later epoch is for whoever holds that: this look at `active` is behind.
        if order.answer.is_some() || order.epoch > active.epoch {
            return false;
        }
        let order = order.clone();
        let answer = match self.target(now, active, &order) {
            Ok(_) => Answer::Accepted,
            Err(why) => Answer::Refused { why },
        };
        let Some(version) = self.records.switchover.version() else { return false };
        let order = SwitchoverOrder { answer: Some(answer), ..order };
        let data = record::write(&order);
        let ops = vec![Op::Set { key: Key::Switchover, version: Some(version), data }];
        self.write(now, ops, Write::Answer(order));
        true
    }

    /// The answer is written: what was accepted is carried out.
    pub(super) fn answered(&mut self, now: Time, order: SwitchoverOrder, version: Version) {
        let accepted = order.answer == Some(Answer::Accepted);
        let held =
            self.records.active.record().cloned().filter(|active| active.epoch == order.epoch);
        if accepted && let Some(active) = held {
            match self.target(now, &active, &order) {
                Ok(to) => {
                    self.begin_leaving(Some(to), format!("switchover ordered by {}", order.by), now)
                }
                Err(why) => self.warn(format!("switchover is not carried out after all: {why}")),
            }
        }
        self.records.switchover.wrote(now, order, version, None);
    }

    /// The headnode that the order shall make active, or why it cannot.
    fn target(
        &mut self,
        now: Time,
        active: &Active,
        order: &SwitchoverOrder,
    ) -> Result<NodeName, String> {
        if order.epoch != active.epoch {
            return Err(format!(
                "it was ordered in epoch {}, and this is epoch {}: see `headship status`, and order anew if need be",
                order.epoch, active.epoch
            ));
        }
        if self.wall > order.not_after {
            return Err("it came too late: order anew, and compare the hosts' clocks".to_owned());
        }
        if let Some(by) =
            self.records.settings.record().and_then(|settings| settings.paused.clone())
        {
            return Err(format!("automatic failover is paused ({by}): resume first"));
        }
        if active.phase != Phase::Active {
            return Err(format!(
                "{} is not active yet: wait until its services serve",
                self.me.node
            ));
        }
        let peers: Vec<NodeName> = self.config.peers().map(|peer| peer.name.clone()).collect();
        let candidates: Vec<NodeName> = match &order.to {
            Some(to) if *to == self.me.node => return Err(format!("{to} is active already")),
            Some(to) if !peers.contains(to) => {
                let known: Vec<String> = peers.iter().map(ToString::to_string).collect();
                return Err(format!(
                    "{to} is not a headnode of this cluster: say one of {}",
                    known.join(", ")
                ));
            }
            Some(to) => vec![to.clone()],
            None => peers,
        };
        let mut refusals = Vec::new();
        for candidate in candidates {
            match self.peer_fitness(&candidate, now) {
                Fitness::Fit => return Ok(candidate),
                Fitness::Reluctant(why) | Fitness::Unfit(why) => refusals.push(why),
            }
        }
        Err(format!("no headnode is eligible and ready: {}", refusals.join("; ")))
    }
}
