//! How services and hosts are started, stopped, seen and fenced.
//!
//! Everything here only carries out: what is to be started, stopped, killed or rebooted, and when, is decided in
//! `headship-core`.

pub mod actions;
pub mod ambari;
mod driver;
mod executor;
pub mod fence;
pub mod host;
mod knock;
mod probe;
pub mod process;
mod secret;
pub mod systemd;
mod unit;

pub use driver::{Change, Driver, DriverError, Drivers};
pub use executor::Executor;
pub use knock::knock;
