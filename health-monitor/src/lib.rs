//! health-monitor: measures its headnode and publishes the verdict that `headship_core::eligibility` draws from it.

mod measure;
pub mod monitor;
