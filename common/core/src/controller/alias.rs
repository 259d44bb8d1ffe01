//! Before the first start of a term: this host's own alias points here.
//!
//! Services that bind to the alias fail while their own host still points it elsewhere. So starting waits for the word of
//! this host's slave-fc; but never for long, and not where there is none: office is worth more than an alias. Nothing here
//! bears on who may run services, only on when this headnode makes use of it.

use super::Controller;
use crate::epoch::Epoch;
use crate::known::Known;
use crate::record::{NodeState, Phase};
use crate::say::Kind;
use crate::time::Time;

/// How the start of a term's services stands to the alias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum AliasWait {
    /// There is no term whose services could start.
    #[default]
    No,
    /// The services of this term could start, and wait.
    Since(Epoch, Time),
    /// Those of this term wait no longer.
    Over(Epoch),
}

impl Controller {
    /// Whether the services of `epoch`, which may start from now on, wait for the alias.
    pub(super) fn waits_for_alias(&mut self, now: Time, epoch: Epoch) -> bool {
        let Some(limit) = self.config.follow.as_ref().map(|follow| follow.bind_limit) else {
            return false;
        };
        let since = match self.alias_wait {
            AliasWait::Over(over) if over == epoch => return false,
            AliasWait::Since(of, since) if of == epoch => since,
            AliasWait::No | AliasWait::Since(..) | AliasWait::Over(_) => now,
        };
        self.alias_wait = AliasWait::Since(epoch, since);
        let at = since.after(limit);
        let alias = self.alias();
        let points_here = self.follower().is_some_and(|state| {
            state.incarnation.as_ref() == self.incarnation() && state.epoch == epoch
        });
        let over = if points_here || !self.is_entering() {
            true
        } else if self.is_without_follower() {
            let text = format!(
                "no slave-fc shows itself on this host, so nobody points `{alias}` to it: services start without waiting"
            );
            self.tell_of(Kind::AliasUnattended, text);
            true
        } else if now >= at {
            let why = self.follower().map_or("it says nothing", |state| state.why.as_str());
            let limit = limit.as_millis();
            let text = format!(
                "slave-fc has not pointed `{alias}` to this headnode within {limit} ms ({why}): services start all the same, and what binds to it may fail"
            );
            self.tell_of(Kind::AliasLate, text);
            true
        } else {
            self.wake_at(at);
            false
        };
        if over {
            self.alias_wait = AliasWait::Over(epoch);
        }
        !over
    }

    /// What is waited for, for people; nothing if nothing is.
    pub(super) fn alias_waited_for(&self) -> Option<String> {
        let AliasWait::Since(epoch, _) = self.alias_wait else { return None };
        let of_now = self.held().is_some_and(|(held, _)| held == epoch);
        let alias = self.alias();
        of_now.then(|| format!("waits until slave-fc has pointed `{alias}` to this headnode"))
    }

    fn alias(&self) -> String {
        self.config.follow.as_ref().map(|follow| follow.alias.clone()).unwrap_or_default()
    }

    /// Whether the services of the term are still to be started for the first time, as far as the record tells.
    fn is_entering(&self) -> bool {
        let active = self.records.active.record();
        active.is_some_and(|active| active.phase == Phase::BecomingActive)
    }

    /// What this host's slave-fc said last in this boot.
    fn follower(&self) -> Option<&NodeState> {
        let state = self.records.follower.as_ref()?.record()?;
        state.by.same_boot(&self.me).then_some(state)
    }

    /// Whether it was just read that this host has no slave-fc.
    fn is_without_follower(&self) -> bool {
        let fresh = self.records.follower.as_ref().is_some_and(Known::is_fresh);
        fresh && self.follower().is_none()
    }
}
