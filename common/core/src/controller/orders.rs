//! An operator's orders, as far as the holder carries them out. Each is bound to the epoch it was given for and to an end
//! of its validity, and is answered before anything moves.

use super::{Controller, Write};
use crate::controller::fitness::Fitness;
use crate::node::NodeName;
use crate::office::Standing;
use crate::quorum::Op;
use crate::record::{self, Active, Answer, Key, SwitchoverOrder};
use crate::time::Time;

impl Controller {
    /// Answers an order to switch over, if there is one. True if there was something to do.
    pub(super) fn obey_switchover(&mut self, now: Time) -> bool {
        let mine = self.standing() == Standing::Holder && self.leaving.is_none();
        if !mine || !self.records.switchover.is_fresh() {
            return false;
        }
        let Some(active) = self.records.active.record().cloned() else { return false };
        let Some(order) = self.records.switchover.record() else { return false };
        let order = order.clone();
        let old = order.epoch != active.epoch || self.wall > order.not_after;
        let accepted = match order.answer {
            // One of a later epoch is for whoever holds that: this look at `active` is behind.
            None if order.epoch > active.epoch => return false,
            None => false,
            Some(Answer::Accepted) if old => return false,
            // By this process or one before it: nobody else carries it out.
            Some(Answer::Accepted) => true,
            Some(Answer::Refused { .. }) => return false,
        };
        let answer = match self.target(now, &active, &order) {
            Ok(to) if accepted => {
                self.begin_leaving(Some(to), format!("switchover ordered by {}", order.by), now);
                return true;
            }
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
            return Err(format!("automatic failover is paused ({by}): that must end first"));
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
