//! How fast and how large the suite is: figures from a lab that nothing else is done in, as medians.
//!
//! Nothing here passes or fails: a busy machine is no defect. What holds is in the lab tests.

mod report;
mod size;
mod time;

use std::time::Duration;

use crate::lab::{Lab, LabError, Options, Preset, wait_for};
use crate::suite;

pub use report::{Figure, Report, Unit};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The lab failed, or what was waited for did not happen.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Something has another form than it should.
    #[error("{0}")]
    Odd(String),
}

/// Figures, or why there are none.
pub type Result<T> = std::result::Result<T, BenchError>;

/// How long the cluster may take to be in order.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);

/// Measures everything, `runs` times where it is a time; one lab for each preset. `say` hears what is measured.
///
/// # Errors
/// A lab does not come up, or something does not happen at all.
pub fn measure(
    options: &Options,
    presets: &[Preset],
    runs: usize,
    say: &mut dyn FnMut(&str),
) -> Result<Report> {
    let mut report = Report::default();
    size::of_binaries(&options.sources, &mut report)?;
    for preset in presets {
        let lab = Lab::up(&Options { preset: *preset, ..options.clone() }, say)?;
        let measured = in_lab(&lab, runs, &mut report, say);
        // A lab that cannot be ended is worth saying only if nothing else went wrong.
        let ended = lab.down();
        measured?;
        ended?;
    }
    Ok(report)
}

fn in_lab(lab: &Lab, runs: usize, report: &mut Report, say: &mut dyn FnMut(&str)) -> Result<()> {
    let preset = lab.settings().preset.name();
    settle(lab)?;
    say(&format!("{preset}: processor and memory at rest"));
    size::at_rest(lab, report)?;
    for run in 1..=runs {
        for measurement in time::ALL {
            say(&format!("{preset}: {}, {run} of {runs}", measurement.name));
            settle(lab)?;
            for figure in (measurement.take)(lab)? {
                report.add(preset, figure);
            }
        }
    }
    Ok(())
}

/// Repairs what a measurement broke, and waits until both headnodes are what they should be, and know it of each other.
fn settle(lab: &Lab) -> Result<()> {
    lab.repair()?;
    for host in lab.headnodes() {
        // Restarts counted for an earlier run's kill must not slow down this one's.
        host.run(&["systemctl", "restart", "master-fc"])?;
        host.run(&["systemctl", "try-restart", "master-ha-service"])?;
    }
    wait_for(
        "one headnode is active with all services, and the other ready",
        SETTLE_LIMIT,
        || {
            let (active, standby) = suite::pair(lab.headnodes()).ok()?;
            let ready = suite::runs_all(&active)
                && suite::runs_none(&standby)
                && active.output(&["headship", "status"]).ok()?.status.success();
            if !ready {
                // A look costs a process on the host.
                std::thread::sleep(Duration::from_millis(200));
            }
            ready.then_some(())
        },
    )?;
    Ok(())
}
