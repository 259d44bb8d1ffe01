//! An operator's word that the holder is powered off.
//!
//! Decides when it may be given, when a claimant hears it, and whether it is believed. An operator tells the truth, or what a
//! sign of life shows to be untrue: of a host that was merely cut off nobody else can tell.

use super::rules::Rule;
use super::scope::Scope;
use super::state::{Node, Role, State, Yes};

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
