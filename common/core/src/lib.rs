//! Every decision of headship, and all its vocabulary. Start reading here.
//!
//! The programs of the suite are thin: each owns one *root machine* of this crate and does what it says. A root machine has
//! four verbs: `handle` takes an event, `handle_timeout` lets time pass, `poll_action` says what is to be done, and
//! `poll_timeout` when to come back. Decisions are functions of events; the crate reads no clock, does no I/O, starts no
//! thread and waits for nothing, so that the simulator, the model and the scenarios run the very code that runs on hosts.

pub mod actions;
pub mod ambari;
pub mod config;
pub mod controller;
pub mod duty;
pub mod eligibility;
pub mod epoch;
pub mod fencing;
pub mod follower;
pub mod guard;
pub mod hadoop;
pub mod hosts_file;
pub mod known;
pub mod lease;
pub mod node;
pub mod office;
pub mod presence;
mod publish;
pub mod quorum;
pub mod record;
pub mod say;
pub mod services;
pub mod time;
