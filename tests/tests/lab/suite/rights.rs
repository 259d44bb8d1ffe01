//! What the daemons may do on their hosts: as little as their units say, and all that a service of actions needs.

use headship_tests::lab::Host;

use super::cluster::{Cluster, DAEMONS, SOON};
use super::hosts::cut_and_read_deadline;
use super::{Answer, Test};
use crate::Outcome;

pub(super) const FAST: [Test; 1] =
    [("no_daemon_may_do_more_on_its_host_than_its_unit_says", few_rights)];

pub(super) const MORE: [Test; 1] = [(
    "what_a_service_of_actions_mounted_is_gone_from_its_host_at_the_deadline_without_pid_1",
    unmounted_at_the_deadline,
)];

/// What its unit has at most, also where the generator adds something; in tenths of a point.
const MOST_EXPOSURE: &str = "--threshold=20";
/// The same for those that need more (SECURITY.md), and whether they have mounts of their own.
const MORE_EXPOSURE: [(&str, &str, bool); 4] = [
    ("slave-ha-service.service", "--threshold=22", true),
    ("master-fc.service", "--threshold=23", true),
    ("master-ha-service.service", "--threshold=37", false),
    ("health-monitor.service", "--threshold=31", false),
];
/// Writes a file where a daemon of the host sees it, with all of root's rights and none of the daemon's.
const TOUCH: &str = "pid=$(systemctl show --property=MainPID --value $0)
    nsenter --mount --target=$pid touch $1/headship-was-here && rm $1/headship-was-here";

fn main_user(host: &Host, unit: &str) -> Answer<String> {
    let script = "ps --no-headers -o user= --pid $(systemctl show --property=MainPID --value $0)";
    Ok(host.run(&["sh", "-c", script, unit])?.trim().to_owned())
}

fn few_rights(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    for unit in DAEMONS.into_iter().chain(["master-ha-service.service"]) {
        let more = MORE_EXPOSURE.iter().find(|(of, ..)| *of == unit);
        let (most, mounts) = more.map_or((MOST_EXPOSURE, true), |(_, most, own)| (*most, *own));
        active.run(&["systemd-analyze", "security", "--no-pager", most, unit])?;
        let user = if unit == "health-monitor.service" { "headship" } else { "root" };
        assert_eq!(main_user(&active, unit)?, user, "{unit}");
        if !mounts {
            continue;
        }
        let writes = |folder| {
            let touched = active.output(&["sh", "-c", TOUCH, unit, folder]);
            touched.map(|output| output.status.success())
        };
        assert!(!writes("/usr/lib/systemd/system")?, "{unit} can write units");
        assert_eq!(writes("/etc")?, unit == "slave-fc.service", "{unit} in /etc");
    }
    Ok(())
}

const PROGRAM: &str = "/usr/local/sbin/share";
const FRAGMENT: &str = "/etc/headship/conf.d/70-share.toml";

/// What it leaves is no process.
const SHARE: &str = r#"#!/bin/sh
case $1 in
up) mkdir --parents /srv/share && { mountpoint --quiet /srv/share || mount -t tmpfs share /srv/share; } ;;
down) ! mountpoint --quiet /srv/share || umount /srv/share ;;
look) mountpoint --quiet /srv/share || exit 3 ;;
esac
"#;

const CONFIGURATION: &str = r#"[[service]]
name = "share"
driver = "command"
start = ["/usr/local/sbin/share", "up"]
stop = ["/usr/local/sbin/share", "down"]
status = ["/usr/local/sbin/share", "look"]
after = ["ambari-server"]
"#;

/// Which of the two has it.
fn shares(host: &Host) -> bool {
    host.output(&["mountpoint", "--quiet", "/srv/share"]).is_ok_and(|it| it.status.success())
}

fn unmounted_at_the_deadline(cluster: &Cluster<'_>) -> Outcome {
    for host in cluster.lab().headnodes() {
        host.write_file(PROGRAM, SHARE)?;
        host.run(&["chmod", "755", PROGRAM])?;
        host.write_file(FRAGMENT, CONFIGURATION)?;
        host.run(&["systemctl", "daemon-reload"])?;
        host.run(&[&["systemctl", "restart"], &DAEMONS[..]].concat())?;
        host.run(&["systemctl", "try-restart", "master-ha-service"])?;
    }
    cluster.settle()?;
    let (active, standby) = cluster.pair()?;
    cluster.wait("the active has the share", SOON, || shares(&active).then_some(()))?;
    let epoch = cluster.epoch(&active)?;
    active.freeze_pid1()?;
    cut_and_read_deadline(cluster, &active)?;
    cluster.wait_active(&standby, epoch)?;
    let left = shares(&active);
    let up = active.has_power();
    active.thaw_pid1()?;
    active.heal()?;
    assert!(up && !left, "the share is mounted on the host still, or the host went down");
    cluster.wait("the standby has the share", SOON, || shares(&standby).then_some(()))?;
    cluster.wait_role(&active, "standby")?;
    for host in cluster.lab().headnodes() {
        host.run(&["systemctl", "stop", "master-fc"])?;
        host.run(&["rm", FRAGMENT])?;
        host.run(&["systemctl", "daemon-reload"])?;
        host.run(&[&["systemctl", "restart"], &DAEMONS[..]].concat())?;
    }
    cluster.settle()
}
