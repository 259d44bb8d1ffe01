//! The suite on real hosts: two headnodes, two workers and a real ensemble that all follow, with one thing at a time done to
//! them.
//!
//! Each test begins with a cluster in order: one headnode active with all services, the other standby and ready, nothing
//! paused, nothing cut. After each, whatever its outcome, the services' own log is asked whether any two headnodes ever ran
//! some at once. A test that fails tells what the hosts said, and where services ran.

mod actions;
mod activation;
mod agents;
mod apache;
mod bystander;
mod cluster;
mod daemons;
mod device;
mod diagnosis;
mod fenced;
mod fencing;
mod followers;
mod health;
mod hosts;
mod kills;
mod messages;
mod on_purpose;
mod orders;
mod packages;
mod pinned;
mod quorum;
mod real;
mod records;
mod rights;
mod services;
mod standstill;
mod units;
mod upgrades;
mod upkeep;

use std::error::Error;

use headship_tests::lab::power::FENCE;
use headship_tests::lab::{Lab, Options, Preset, Services};

use crate::{Outcome, caught, chain};
pub(crate) use cluster::Cluster;
pub(crate) use on_purpose::OnPurpose;

/// A test of the suite by its name, a sentence.
pub(crate) type Test = (&'static str, fn(&Cluster<'_>) -> Outcome);

/// What the lab's services may cost and mean here: budgets that end within a test, and one service that is critical.
const SERVICES: &str = r#"
[[service]]
name = "ambari-server"
restart = { times = 3, within_s = 120, back_off_s = [0, 0, 1] }

[[service]]
name = "timeline-server"
restart = { times = 3, within_s = 120, back_off_s = [0, 0, 1] }

[[service]]
name = "job-history"
restart = { times = 3, within_s = 120, back_off_s = [0, 0, 1] }

[[service]]
name = "livy"
critical = true
restart = { times = 3, within_s = 120, back_off_s = [0, 0, 1] }

[[service]]
name = "zeppelin"
unit = "zeppelin.service"
pinned = "hn0"
"#;

/// With these, nobody being active for long is over within a test.
const FAST_TIMING: &str = "
[timing]
lonely_after_ms = 6000
stay_out_ms = 4000
";

/// The lab for the tests in a preset.
pub(crate) fn options(preset: Preset) -> Options {
    let mut fragments = vec![("60-services".to_owned(), SERVICES.to_owned())];
    if preset == Preset::Fast {
        fragments.push(("61-timing".to_owned(), FAST_TIMING.to_owned()));
    }
    Options { preset, fragments, ..Options::for_tests() }
}

/// The lab for the tests with a fence agent, whose figures are those of `normal`.
pub(crate) fn fenced_options() -> Options {
    let mut options = options(Preset::Normal);
    options.fragments.push(("70-fence".to_owned(), FENCE.to_owned()));
    options
}

/// The lab for the tests with real programs.
pub(crate) fn real_options() -> Options {
    Options { services: Services::Real, ..options(Preset::Normal) }
}

/// With the preset `normal`: what its figures matter for.
pub(crate) fn normal() -> Vec<Test> {
    [&hosts::NORMAL[..], &fencing::NORMAL, &daemons::NORMAL, &quorum::NORMAL].concat()
}

/// With the preset `normal`, and a process that no kill ends.
pub(crate) fn beyond_kill() -> Vec<Test> {
    hosts::BEYOND_KILL.to_vec()
}

/// With a fence agent.
pub(crate) fn fenced() -> Vec<Test> {
    fenced::FENCED.to_vec()
}

/// With the preset `fast`: what takes several failovers, or none.
pub(crate) fn fast() -> Vec<Test> {
    let services = [&services::FAST[..], &units::FAST, &health::FAST, &pinned::FAST].concat();
    let cluster = [&orders::FAST[..], &records::FAST, &messages::FAST, &packages::FAST];
    let cluster = [&cluster.concat()[..], &rights::FAST].concat();
    let nodes = [&followers::FAST[..], &upkeep::FAST].concat();
    [services, nodes, cluster].concat()
}

/// What takes long, for `make test-more`, with the preset `normal`.
pub(crate) fn more_normal() -> Vec<Test> {
    let hosts =
        [&hosts::MORE[..], &standstill::MORE, &fencing::MORE, &quorum::MORE_NORMAL].concat();
    let daemons = [&daemons::MORE[..], &upgrades::MORE, &packages::MORE, &rights::MORE].concat();
    [hosts, daemons].concat()
}

/// The same, and a process that no kill ends.
pub(crate) fn more_beyond_kill() -> Vec<Test> {
    standstill::BEYOND_KILL.to_vec()
}

/// The same, and a file system of the lab's own.
pub(crate) fn more_hung_mounts() -> Vec<Test> {
    [hosts::HUNG_MOUNTS, standstill::WATCHDOG].concat()
}

/// The same, and packages of rpm.
pub(crate) fn more_rpm() -> Vec<Test> {
    packages::RPM.to_vec()
}

/// The same with a fence agent.
pub(crate) fn more_fenced() -> Vec<Test> {
    fenced::MORE.to_vec()
}

/// The same with the preset `fast`.
pub(crate) fn more_fast() -> Vec<Test> {
    let nodes = [&kills::MORE[..], &followers::MORE, &agents::MORE, &upkeep::MORE].concat();
    let cluster =
        [&health::MORE[..], &services::MORE, &pinned::MORE, &orders::MORE, &records::MORE].concat();
    let cluster = [&cluster[..], &quorum::MORE_FAST, &daemons::MORE_FAST].concat();
    let hosts =
        [&actions::MORE[..], &activation::MORE, &device::MORE, &upgrades::MORE_FAST].concat();
    [nodes, cluster, hosts].concat()
}

/// The same with the preset `tolerant`: what its figures matter for.
pub(crate) fn more_tolerant() -> Vec<Test> {
    quorum::MORE_TOLERANT.to_vec()
}

/// With real programs.
pub(crate) fn real() -> Vec<Test> {
    [&real::REAL[..], &apache::REAL].concat()
}

/// Runs a test on a cluster in order. Overlaps count from the lab's first moment on, also while the cluster is put in
/// order after the test before.
pub(crate) fn run(lab: &Lab, wrong: &OnPurpose, test: fn(&Cluster<'_>) -> Outcome) -> Outcome {
    let cluster = Cluster::new(lab, wrong)?;
    let outcome = match cluster.settle() {
        Err(error) => Err(format!("the cluster is not in order: {}", chain(error.as_ref())).into()),
        Ok(()) => {
            cluster.begin();
            // A failed assertion, too, shall tell what the hosts said.
            caught(|| test(&cluster))
        }
    };
    let overlaps = cluster.overlaps()?;
    if outcome.is_ok() && overlaps.is_empty() {
        return Ok(());
    }
    let mut report = outcome.err().map_or_else(String::new, |error| chain(error.as_ref()));
    for overlap in overlaps {
        report.push_str(&format!("\nOVERLAP: {overlap}"));
    }
    report.push_str(&diagnosis::of(&cluster));
    Err(report.into())
}

/// What a helper of a test gives, or why not.
pub(crate) type Answer<T> = Result<T, Box<dyn Error>>;
