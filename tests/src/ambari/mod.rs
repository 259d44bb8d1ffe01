//! A stand-in for Ambari: a server that answers as a real one was seen to, and agents that carry out what they are handed.
//!
//! Its facts are those that were measured on Ambari 3.0.0 with two agents; `tests.rs` has a test for each that is stood in
//! for. The state lies in one file that several servers may share: they have no guard against each other, as real ones have
//! none, and each believes what it likes. What a server only remembers is gone with it.
//!
//! Not covered: Ambari 2.7, Kerberos, HTTPS and two-way SSL of the server itself, gzip, roles other than an administrator's,
//! blueprints, service and cluster levels, predicates in URLs (bulk orders), installing and deleting components, lists of
//! hosts and components, auto-start by agents, the scripts' own time limit, the bug that hangs an agent after a thaw, and
//! how fast anything is: all times are the figures of [`Pace`]. What a PUT for the state that is believed already does to
//! `desired_state` was not measured; here it sets it. Agents speak to their server through the file, not by STOMP, so a
//! cable that is cut, with what is on its way in it, is a frozen agent here.

mod agent;
mod answer;
mod order;
mod requests;
mod serve;
mod server;
mod state;
#[cfg(test)]
mod tests;

pub use agent::Agent;
pub use serve::Serving;
pub use server::{Call, Reply, Server};
pub use state::{Host, Pace, State, Store};
