//! What every headship daemon is built of: the loop around a root machine, its clock, its log, what it tells systemd,
//! how its configuration is read and how it ends.
//!
//! Nothing is decided here that concerns the cluster. Who speaks ZooKeeper or starts services is not known here either: a
//! program brings both together in its [`Program`](run::Program). A `main` goes: arguments, [`configuration::load`],
//! [`log::init`], the daemon's lock, [`run::block_on`] around [`run::run`], and the [`Exit`] as its exit code.

pub mod arguments;
pub mod clock;
pub mod configuration;
pub mod exit;
mod journal;
pub mod log;
pub mod notify;
pub mod run;
pub mod signal;
pub mod start;

pub use exit::Exit;
