//! This host: its clock, its identity, its files, its control groups, its reboot, and the start gate.
//!
//! Nothing here decides anything; it reads and writes what `headship-core` asks for.

pub(crate) mod alias;
pub mod cgroup;
pub mod clock;
pub(crate) mod files;
pub mod gate;
pub mod hosts;
pub mod identity;
pub mod reboot;
pub mod run;
pub mod state;
pub mod watch;

pub use files::FileError;
