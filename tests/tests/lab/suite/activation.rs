//! What is done once whenever a headnode becomes active: a real oneshot unit, which everything that is announced comes after.

use std::process::Output;

use headship_tests::lab::Host;
use headship_tests::lab::service_log::{self, What};

use super::cluster::{Cluster, DAEMONS, SERVICES, SOON};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const MORE: [Test; 1] = [(
    "an_activation_hook_ends_before_anything_starts_and_one_that_fails_or_hangs_gives_the_office_back",
    hook,
)];

const UNIT: &str = "activation.service";
const UNIT_FILE: &str = "/usr/lib/systemd/system/activation.service";
const FRAGMENT: &str = "/etc/headship/conf.d/70-activation.toml";
const FAILS: &str = "/run/activation-fails";
const HANGS: &str = "/run/activation-hangs";

/// It does what two files on its host say.
const UNIT_TEXT: &str = "[Unit]
Description=What is done once on activation

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'test ! -e /run/activation-hangs || exec sleep 600; test ! -e /run/activation-fails'
";

/// Its time limit is that of a start; two tries are all it has.
const CONFIGURATION: &str = "[[service]]
name = \"activation\"
unit = \"activation.service\"
started_by = \"master-fc\"
start_limit_ms = 2000
restart = { times = 1, within_s = 120, back_off_s = [0] }

[[service]]
name = \"ambari-server\"
after = [\"activation\"]
";

// B-45.
fn hook(cluster: &Cluster<'_>) -> Outcome {
    for host in cluster.lab().headnodes() {
        host.write_file(UNIT_FILE, UNIT_TEXT)?;
        host.write_file(FRAGMENT, CONFIGURATION)?;
        host.run(&["systemctl", "daemon-reload"])?;
        host.run(&[&["systemctl", "restart"], &DAEMONS[..]].concat())?;
    }
    cluster.settle()?;
    goes_first(cluster)?;
    comes_back(cluster, FAILS, "its process exited with status 1")?;
    comes_back(cluster, HANGS, "it did not start within 2 s")?;
    for host in cluster.lab().headnodes() {
        host.run(&["systemctl", "stop", "master-fc"])?;
        host.run(&["rm", FRAGMENT])?;
        host.run(&["systemctl", "stop", UNIT])?;
        host.run(&["rm", UNIT_FILE])?;
        host.run(&["systemctl", "daemon-reload"])?;
        host.run(&[&["systemctl", "restart"], &DAEMONS[..]].concat())?;
    }
    cluster.settle()
}

/// A moment of a unit's life, in microseconds.
fn moment(host: &Host, unit: &str, which: &str) -> Answer<u64> {
    let property = format!("--property={which}");
    Ok(host.run(&["systemctl", "show", &property, "--value", unit])?.trim().parse()?)
}

/// In office it has ended well before the first service is executed; out of office it is over.
fn goes_first(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    active.run(&["headship", "switchover"])?;
    cluster.wait_active(&standby, epoch)?;
    let ended = moment(&standby, UNIT, "ActiveEnterTimestampMonotonic")?;
    let first = moment(&standby, "ambari-server.service", "InactiveExitTimestampMonotonic")?;
    assert!(0 < ended && ended <= first, "it ended at {ended}, ambari-server began at {first}");
    assert!(!active.output(&["systemctl", "is-active", "--quiet", UNIT])?.status.success());
    cluster.wait_ready()
}

/// The standby's hook does not end well: nothing that comes after it is started there, and office goes back.
fn comes_back(cluster: &Cluster<'_>, fault: &str, why: &str) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    standby.run(&["touch", fault])?;
    let since = service_log::now();
    // It is accepted, and comes out otherwise.
    let Output { status, .. } = active.output(&["headship", "switchover"])?;
    assert!(!status.success());
    cluster.wait_active(&active, epoch + 1)?;
    for event in cluster.told(since)? {
        let began = event.what == What::Start && event.host == standby.name();
        assert!(!began, "it began without the hook: {event}");
    }
    let began = |service| cluster.first(&active, service, What::Start, since);
    SERVICES.into_iter().try_for_each(|service| began(service).map(drop))?;
    cluster.wait("nothing of the hook is left", SOON, || (!standby.runs(UNIT)).then_some(()))?;
    let said = cluster.journal(&standby, "master-fc")?;
    assert!(said.contains("gave up activation"), "{said}");
    assert!(said.contains(why), "{why:?} is missing: {said}");
    standby.run(&["rm", fault])?;
    // Whoever gave up a service would rather not take over for a while; its next process does not know of it.
    standby.run(&["systemctl", "restart", "master-fc"])?;
    cluster.wait_ready()
}
