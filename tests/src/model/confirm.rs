//! An operator's word that the holder is powered off.
//!
//! Decides when it may be given, when a claimant hears it, and whether it is believed. An operator tells the truth, or what a
//! sign of life shows to be untrue: of a host that was merely cut off nobody else can tell.

use super::rules::Rule;
use super::scope::Scope;
use super::state::{Host, Node, Role, Service, Settings, State, Yes};

impl Host {
    /// Whether this host can tell that nothing runs here by a keep: the permit is gone with the services, or with the boot.
    pub(super) fn keeps_nothing(&self) -> bool {
        let outside = self.controller.role == Role::Standby;
        outside && !self.permit.present && self.service == Service::Stopped && !self.order
    }
}

impl Scope {
    /// Whether the holder of office shows that it lives: its session, which a host without power soon has no more.
    pub(super) fn shows_life(&self, state: &State) -> bool {
        let holder = state.host(state.active.node);
        holder.up && holder.controller.session
    }

    /// Whether an operator has something to say of this claim: that its holder is without power, which is true; or that it is,
    /// though it shows that it lives, which is not.
    pub(super) fn may_confirm(&self, state: &State) -> bool {
        let Some(claimant) = state.active.claimant else { return false };
        let holder = state.active.node;
        let lives = self.shows_life(state) && !self.has(Rule::ConfirmSigns);
        let other = !state.active.missing && claimant.node != holder;
        other && state.confirm == Yes::None && (!state.host(holder).up || lives)
    }

    /// Whether an operator has something to say of the host of a keep that was resumed: the same, where nobody claims.
    pub(super) fn may_confirm_keep(&self, state: &State) -> bool {
        let active = &state.active;
        let resuming = state.settings == Settings::Resuming && !active.missing;
        let lives = self.shows_life(state) && !self.has(Rule::KeepWordSigns);
        let unclaimed = active.claimant.is_none() && active.ceded.is_none();
        resuming && unclaimed && !state.kept_off && (!state.host(active.node).up || lives)
    }

    /// Whether that word counts: as long as the host shows no sign of life.
    pub(super) fn kept_is_off(&self, state: &State) -> bool {
        state.kept_off && (!self.shows_life(state) || !self.has(Rule::KeepWordSigns))
    }

    /// Whether services may run by a keep that was resumed: then there is nothing to be waited out.
    pub(super) fn may_be_kept(&self, state: &State) -> bool {
        let active = &state.active;
        let over = active.ceded.is_some() || state.host(active.node).promised == 0;
        state.settings == Settings::Resuming && !over && !self.kept_is_off(state)
    }

    /// Whether this claimant has an operator's word to hear.
    pub(super) fn may_hear(&self, state: &State, node: Node) -> bool {
        let host = state.host(node);
        let controller = &host.controller;
        state.confirm != Yes::None
            && host.reads()
            && host.answered()
            && controller.role == Role::Claimant
            && controller.knows_active
            && controller.yes != Yes::Valid
    }

    /// Believes an operator's word, or refuses it.
    pub(super) fn hear(&self, state: &mut State, node: Node) {
        let refused = self.shows_life(state) && self.has(Rule::ConfirmSigns);
        state.confirm = Yes::None;
        if !refused {
            state.host_mut(node).controller.yes = Yes::Valid;
        }
    }
}
