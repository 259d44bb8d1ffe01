//! The only crate that knows ZooKeeper: it carries the requests of `headship_core::quorum` to the failover quorum and
//! brings their answers and the connection's own events back.
//!
//! It decides nothing and retries no request. What it does by itself is connecting: for ever, with a new session once one
//! is lost. Each new session first sees to it that the folders exist and watches everything below the cluster's root.
//!
//! Two windows remain that no client can close; both are why every write of office is bound to a version:
//! - A request passes our look at the connection and the connection breaks before it is sent. The client library keeps it
//!   and writes it after a reconnect within the same session. Its answer is `Outcome::Unknown`, given at the disconnect.
//! - A request whose answer nobody awaits any more (the handle was dropped) may still be carried out.

mod one_shot;
mod options;
mod quorum;
mod session;
mod wire;
pub mod words;

pub use one_shot::{OneShot, Unreachable};
pub use options::{Options, Watched};
pub use quorum::Quorum;
