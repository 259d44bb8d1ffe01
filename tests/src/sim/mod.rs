//! The whole cluster around the real core, in virtual time.
//!
//! Nothing of `headship-core` is replaced: its five root machines run as they do on hosts. What is simulated is everything
//! else: the failover quorum, the network, hosts and their clocks, systemd, the services. All chance comes from one seed, so
//! that a run can be had again, line for line. `check` compares what happens with the invariants of ARCHITECTURE.md.

mod chaos;
mod check;
mod client;
mod clock;
mod command;
mod daemon;
mod dropped;
mod ensemble;
mod fence;
mod follow;
mod heal;
mod host;
mod log;
#[cfg(test)]
mod lying;
mod machine;
mod net;
mod operator;
mod rare;
mod reached;
mod run;
mod scenario;
mod setup;
mod shrink;
mod soak;
mod tree;
mod unit;
mod watch;
mod world;
mod writes;

pub use fence::Count;
pub use reached::Reached;
pub use run::{Verdict, first_election, run};
pub use scenario::{Played, play, play_without};
pub use setup::{Broken, Fencing, Setup};
pub use shrink::{Shrunk, shrink};
pub use soak::{Tally, soak};
pub use world::World;
