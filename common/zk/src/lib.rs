//! The only crate that knows ZooKeeper: it carries the requests of `headship_core::quorum` to the failover quorum and
//! brings their answers and the connection's own events back.
//!
//! It decides nothing and retries no request. What it does by itself is connecting: for ever, with a new session once one
//! is lost. Each new session first sees to it that the folders exist and watches everything below the cluster's root.
//!
//! A window remains that no client can close, and it is why every write of office is bound to a version: a request that
//! was sent may be carried out late, after its answer was given up as `Outcome::Unknown`, or although nobody awaits it any
//! more (the handle was dropped). What was not sent when the connection broke never is.

mod guest;
mod one_shot;
mod options;
mod quorum;
mod servers;
mod session;
mod wire;
pub mod words;

pub use guest::{Guest, Look, Unwelcome};
pub use one_shot::{OneShot, Unreachable};
pub use options::{Options, Watched};
pub use quorum::Quorum;
