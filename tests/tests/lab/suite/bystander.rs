//! What a daemon of the cluster that is none of ours does meanwhile: nothing may touch it.

use headship_tests::lab::Host;

use super::Answer;
use super::cluster::{Cluster, SOON};
use crate::Outcome;

const UNIT: &str = "namenode.service";

const PROGRAM: &str = "sleep";

/// Its process, with that one running which is there, or a new one.
pub(super) fn start(cluster: &Cluster<'_>, host: &Host) -> Answer<i32> {
    if pid(cluster, host).is_none() {
        host.run(&["systemd-run", "--quiet", &format!("--unit={UNIT}"), PROGRAM, "infinity"])?;
    }
    cluster.wait(&format!("{UNIT} runs on {}", host.name()), SOON, || pid(cluster, host))
}

/// Its process, as this machine numbers it.
pub(super) fn pid(cluster: &Cluster<'_>, host: &Host) -> Option<i32> {
    cluster.pid_of(host, UNIT, PROGRAM)
}

pub(super) fn stop(host: &Host) -> Outcome {
    Ok(host.run(&["systemctl", "stop", UNIT]).map(drop)?)
}
