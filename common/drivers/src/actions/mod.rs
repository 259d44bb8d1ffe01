//! Services of actions: programs that start, stop and look at something, and end.
//!
//! What they leave may be no process, so a mark stands for it on this host: written before a start, and removed only when
//! it was seen gone. [`run`], [`clear`], [`kill`] and [`look`] are what the program `actions` does, apart from the daemons; `driver` is the
//! daemons' side. What a program is told, and what its end means, is decided in `headship_core::actions`.

mod driver;
mod marks;
mod means;
mod program;

pub(crate) use self::driver::Acts;
pub use self::marks::MarkError;
pub use self::program::{NotRunning, clear, kill, look, run};
