//! The protocol in small scope, exhaustively: an explicit-state model.
//!
//! Decides whether the protocol's rules suffice, and what each of them is needed for: [`Scope`]
//! says what may go wrong, [`explore`] visits every state that can come of it, and
//! [`Rules::without`] drops one rule. A tick is the time h between two renewals. Whoever is
//! neither frozen nor cut off does what is due before the next tick; in which order, and between
//! which steps of others, is free. So are repairs, late writes, and when a session ends.
//!
//! Relied upon: a process gets the answers of a session in the order of its requests, so that no
//! answer is older than what was read before. (Without it the model finds two actives: an old
//! `Done` of write 3 or 6 makes a holder of a process that has already read of its successor.)
//!
//! Deliberately left out:
//! - sessions have no timeout: that of a silent client ends at any time, early or late. Ping
//!   relays of followers are in [`Touch`], apart;
//! - the moving services are one service, and SIGKILL is done when it is sent; the kill time is
//!   used up by a guard that is away;
//! - master-ha-service is a part of master-fc, but for its order, which may be late;
//! - the guard reads what is newest, or nothing; its own writes are not late. Its session and
//!   master-fc's share the host's network, but not a lagging server;
//! - clocks lose at most one tick in the lease and one in the kill time, in one host of a run;
//! - the announcement (write 4), health, eligibility, back-off, pins, orders, history;
//! - epochs have no numbers (so no incarnation and no epoch file), versions do not wrap;
//! - a fence agent does not lie, nor does an operator but where a sign of life shows it, and a
//!   host that was switched off boots only afterwards.

mod action;
mod check;
mod confirm;
mod controller;
mod guard;
mod quorum;
mod rules;
mod scope;
mod scopes;
mod settle;
mod state;
mod touch;
mod world;

pub use action::Action;
pub use check::{Cluster, Tell, Verdict, explore, explore_model};
pub use rules::{
    Behind, Claims, Evidence, Figures, Rule, Rules, Shown, claims_are_allowed, gate_admits,
    way_is_free,
};
pub use scope::{Check, Command, Fault, Scope, Start};
pub use state::{
    Active, Claimant, Controller, Guard, Host, KEPT, Kind, Lock, MOST_HEADNODES, Node, Off, Permit,
    Role, Sender, Service, Settings, State, Write, Yes,
};
pub use touch::{Renewal, Standing, Step, Touch};
