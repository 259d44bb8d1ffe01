//! `active` of an earlier office than the one that is followed. A server that lags behind shows it for a moment, an ensemble that was
//! put back to an older state for good.

use super::Follower;
use crate::record::Active;
use crate::time::Time;

/// That it shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Behind {
    /// Since when, in one connection.
    since: Time,
    /// Whether it was read once more after the wait.
    read_again: bool,
}

impl Follower {
    /// Whether `active` has shown an earlier office for as long as a taker waits, and still does: no server lags for so long, and
    /// nothing of the later office runs by then (`protocol.md`, 10).
    pub(super) fn is_put_back(&mut self, now: Time) -> bool {
        let earlier = self.active.record().is_some_and(|active| self.is_earlier(active));
        if !earlier {
            self.behind = None;
            return false;
        }
        // Only what was read in this connection begins the wait: nobody knows what shows while there is none.
        let begun = Behind { since: now, read_again: false };
        let Some(mut behind) = self.behind.or_else(|| self.active.is_fresh().then_some(begun))
        else {
            return false;
        };
        let until = behind.since.after(self.wait);
        if now < until {
            self.wake_at(until);
        } else if !behind.read_again {
            behind.read_again = true;
            self.active.outdate();
        }
        self.behind = Some(behind);
        behind.read_again && self.active.is_fresh()
    }

    fn is_earlier(&self, active: &Active) -> bool {
        let target = self.target.as_ref().or(self.hosts.remembered.as_ref());
        target.is_some_and(|target| {
            target.incarnation == active.incarnation && active.epoch < target.epoch
        })
    }
}
