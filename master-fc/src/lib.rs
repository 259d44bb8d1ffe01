//! The two programs of the active headnode: master-fc, which holds office, and master-ha-service, which keeps services
//! running under its permit.
//!
//! Both only carry out what `headship_core::controller` and `headship_core::duty` decide.

pub mod controller;
pub mod duty;
