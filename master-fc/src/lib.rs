//! The two programs of the active headnode: master-fc, which holds office, and master-ha-service, which keeps services
//! running under its permit.
//!
//! Both only carry out what `headship_core::controller` and `headship_core::duty` decide.

use headship_core::config::checked::Driver;
use headship_daemon::arguments::Arguments;
use headship_drivers::host::run::RunDir;

pub mod controller;
pub mod duty;

/// How master-ha-service is started and stopped here: a unit on a host with systemd, a command elsewhere.
fn duty_driver(run: &RunDir, arguments: &Arguments) -> Driver {
    if run.under_systemd() {
        Driver::Systemd { unit: format!("{}.service", duty::NAME) }
    } else {
        Driver::Command { start: arguments.command(duty::NAME) }
    }
}
