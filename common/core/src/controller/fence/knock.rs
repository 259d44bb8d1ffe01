//! Knocking at the host of a holder that seems dead: whether it answers anything, and whether its silence would say something.

use std::time::Duration;

use super::Use;
use crate::controller::{Action, Controller};
use crate::fencing::knock::{Knocked, LIMIT, Reach, judge};
use crate::quorum::ActionId;
use crate::time::Time;

/// How old a host's silence may be when it is gone by.
const SILENCE_HOLDS: Duration = Duration::from_secs(1);

/// What came of knocking at a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Knocks {
    pub(super) asked: Option<ActionId>,
    /// When it was last found silent, since the last movement.
    pub(super) silent: Option<Time>,
    /// Whether it ever answered: only then its silence says something.
    pub(super) acquainted: bool,
    /// When a host that has not answered yet is knocked at again.
    pub(super) again: Time,
}

impl Controller {
    /// Whether the host's silence would say anything: a host that never answered may be silent by its firewall. After a claim
    /// that no longer matters: of a host that lives and sees the quorum a session is there.
    pub(super) fn is_acquainted(&mut self, now: Time, used: Use) -> bool {
        let Some(suspicion) = &self.suspicion else { return false };
        let again = suspicion.knocks.again;
        match used {
            Use::Claimed => return true,
            Use::Early if suspicion.knocks.acquainted => return true,
            Use::Early if now >= again => self.knock(now),
            Use::Early => self.wake_at(again),
        }
        false
    }

    pub(super) fn knock(&mut self, now: Time) {
        let Some(suspicion) = &mut self.suspicion else { return };
        let knocks = &mut suspicion.knocks;
        let silent = knocks.silent.is_some_and(|at| now.since(at) < SILENCE_HOLDS);
        if knocks.asked.is_some() || silent {
            return;
        }
        let (id, node) = (self.ids.draw(), suspicion.over.node.clone());
        (knocks.asked, knocks.silent) = (Some(id), None);
        knocks.again = now.after(self.config.timing.period);
        self.actions.push_back(Action::Knock { id, node, limit: LIMIT });
    }

    /// What came back when a host was knocked at.
    pub(in crate::controller) fn knocked(&mut self, now: Time, id: ActionId, knocked: &Knocked) {
        let dead_after = self.config.fencing.dead_after;
        let Some(suspicion) = self.suspicion.as_mut().filter(|it| it.knocks.asked == Some(id))
        else {
            return;
        };
        suspicion.knocks.asked = None;
        let why = match judge(knocked) {
            Reach::Silent => {
                suspicion.knocks.silent = Some(now);
                return;
            }
            Reach::Answers { how } => {
                // Should it die once more, every method is asked again.
                (suspicion.knocks.acquainted, suspicion.goes_on) = (true, false);
                how.to_owned()
            }
            Reach::Unknown { why } => why,
        };
        if suspicion.watched {
            suspicion.rests = Some((now.after(dead_after), why));
        }
    }
}
