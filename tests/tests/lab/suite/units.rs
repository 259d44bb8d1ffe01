//! Units that are not what the configuration takes them for: a headnode that has such a one is not ready.

use headship_core::record::{Health, Key, Verdict};
use headship_tests::lab::Host;

use super::Test;
use super::cluster::{Cluster, FAILOVER, node};
use crate::Outcome;

pub(super) const FAST: [Test; 2] = [
    ("a_unit_that_is_an_alias_makes_its_headnode_ineligible_and_check_says_so", alias),
    ("a_masked_unit_makes_its_headnode_ineligible_and_nothing_moves_there", masked),
];

const UNITS: &str = "/usr/lib/systemd/system";

// The control group of an alias has another name, so nothing could be killed by it at the deadline.
fn alias(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (_, standby) = cluster.pair()?;
    let (unit, real) = (format!("{UNITS}/livy.service"), format!("{UNITS}/livy-server.service"));
    standby.run(&["mv", &unit, &real])?;
    standby.run(&["ln", "--symbolic", "livy-server.service", &unit])?;
    standby.run(&["systemctl", "daemon-reload"])?;
    let outcome = wait_ineligible(cluster, &standby, "livy-server.service");
    let check = String::from_utf8(standby.output(&["headship", "check"])?.stdout)?;
    standby.run(&["mv", "--no-target-directory", &real, &unit])?;
    standby.run(&["systemctl", "daemon-reload"])?;
    outcome?;
    assert!(check.contains("alias") && check.contains("livy-server.service"), "{check}");
    cluster.assert_untouched(&before)
}

fn masked(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (active, standby) = cluster.pair()?;
    standby.run(&["systemctl", "mask", "--runtime", "livy.service"])?;
    let outcome = wait_ineligible(cluster, &standby, "masked");
    let order = active.output(&["headship", "switchover"])?;
    standby.run(&["systemctl", "unmask", "--runtime", "livy.service"])?;
    outcome?;
    assert!(!order.status.success(), "a switchover went to where livy cannot start");
    cluster.assert_untouched(&before)
}

/// Waits until health-monitor calls a headnode ineligible, and says this word among its reasons.
fn wait_ineligible(cluster: &Cluster<'_>, host: &Host, word: &str) -> Outcome {
    let health: Health =
        cluster.wait(&format!("{} is ineligible", host.name()), FAILOVER, || {
            let health: Health = cluster.read(&Key::Health(node(host))).ok()?;
            (health.verdict == Verdict::Ineligible).then_some(health)
        })?;
    assert!(health.reasons.iter().any(|why| why.contains(word)), "{:?}", health.reasons);
    cluster.wait_role(host, "out")
}
