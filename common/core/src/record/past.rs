//! Records that outlive what they tell: who lost its power leaves its own behind until its session ends.

use super::{Active, HeadnodeState, Role};
use crate::node::Identity;

impl HeadnodeState {
    /// Whether this tells of an office that is over: of an earlier epoch than `active` has, by who neither holds nor claims it.
    pub fn is_past(&self, active: &Active) -> bool {
        let in_office = match self.role {
            Role::Active | Role::BecomingActive | Role::BecomingStandby | Role::Neutral => true,
            Role::Standby | Role::Out => false,
        };
        let own = |by: &Option<Identity>| by.as_ref().is_some_and(|by| by.same_boot(&self.by));
        // Who has just taken office may say so a moment later than `active` does.
        let concerned = own(&active.holder) || own(&active.claimant);
        in_office && self.epoch < active.epoch && !concerned
    }

    /// What was said here of an office that is over, in a phrase that follows the name of the headnode.
    pub fn was(&self) -> String {
        format!(
            "was {} in epoch {} and has said nothing since it lost office",
            self.role.as_str(),
            self.epoch
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::{Epoch, Incarnation};
    use crate::node::NodeName;
    use crate::record::{FORMAT, Phase, Rest};
    use crate::time::WallTime;

    fn identity(node: &str, boot: &str) -> Identity {
        Identity {
            node: NodeName::try_from(node).unwrap(),
            machine: format!("machine of {node}"),
            boot: boot.to_owned(),
            process: "p".to_owned(),
        }
    }

    /// hn0 said in its first boot that it is this in epoch 3.
    fn state(role: Role) -> HeadnodeState {
        HeadnodeState {
            format: FORMAT,
            by: identity("hn0", "b0"),
            role,
            epoch: Epoch(3),
            why: "holds office".to_owned(),
            attempt: None,
            fence: None,
            kept: None,
            gave_up: None,
            rest: Rest::new(),
        }
    }

    fn active(epoch: u64, holder: Identity) -> Active {
        Active {
            format: FORMAT,
            incarnation: Incarnation("i".to_owned()),
            epoch: Epoch(epoch),
            holder: Some(holder),
            phase: Phase::Active,
            claimant: None,
            lease_ms: 6000,
            kill_ms: 2000,
            services: vec![],
            addresses: vec![],
            since: WallTime(1),
            taken_on: None,
            rest: Rest::new(),
        }
    }

    #[test]
    fn an_office_of_an_earlier_epoch_is_over() {
        let successor = active(4, identity("hn1", "b0"));
        for role in [Role::Active, Role::BecomingActive, Role::BecomingStandby, Role::Neutral] {
            assert!(state(role).is_past(&successor), "{role:?}");
        }
        let again_after_a_reboot = active(4, identity("hn0", "b1"));
        assert!(state(Role::Active).is_past(&again_after_a_reboot));
        assert_eq!(
            state(Role::Active).was(),
            "was active in epoch 3 and has said nothing since it lost office"
        );
    }

    #[test]
    fn who_does_not_speak_of_office_or_is_in_it_speaks_of_now() {
        let successor = active(4, identity("hn1", "b0"));
        assert!(!state(Role::Standby).is_past(&successor));
        assert!(!state(Role::Out).is_past(&successor));
        let role = Role::BecomingActive;
        assert!(!state(role).is_past(&active(3, identity("hn0", "b0"))));
        assert!(!state(role).is_past(&active(4, identity("hn0", "b0"))), "it lags");
        let claimed = Active { claimant: Some(identity("hn0", "b0")), ..successor };
        assert!(!state(role).is_past(&claimed));
    }
}
