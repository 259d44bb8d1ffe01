//! Services that are no process: an address, a mount and a state, kept by real resource agents of Debian's.

use std::time::Duration;

use headship_tests::lab::{Host, Signal};

use super::cluster::{Cluster, DAEMONS, FAILOVER, SOON};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const MORE: [Test; 2] = [
    ("what_resource_agents_keep_moves_with_the_office_and_the_network_hears_of_the_address", moves),
    ("what_resource_agents_keep_comes_back_on_the_active_and_goes_on_the_standby", put_right),
];

const FRAGMENT: &str = "/etc/headship/conf.d/70-actions.toml";
const IMAGE: &str = "/srv/data.img";
const MOUNT: &str = "/srv/data";
const STATE: &str = "/run/dummy.state";
/// What is written on the mount, and must be found there by whoever mounts it again.
const NOTE: &str = "/srv/data/note";

/// A container has none, and a boot forgets them.
const LOOP_DEVICES: &str = "test -e /dev/loop-control || mknod /dev/loop-control c 10 237; \
    for n in 0 1 2 3 4 5 6 7; do test -e /dev/loop$n || mknod /dev/loop$n b 7 $n; done";

/// A headnode that never started it looks for it this often, and some patience.
const LOOKED_FOR: Duration = Duration::from_secs(90);

fn configuration(address: &str) -> String {
    format!(
        r#"
[[service]]
name = "address"
driver = "ocf"
agent = "heartbeat:IPaddr2"
parameters = {{ ip = "{address}", cidr_netmask = 24 }}
monitor_interval_ms = 500

[[service]]
name = "data"
driver = "ocf"
agent = "heartbeat:Filesystem"
parameters = {{ device = "{IMAGE}", directory = "{MOUNT}", fstype = "ext4", options = "loop" }}
monitor_interval_ms = 500

[[service]]
name = "dummy"
driver = "ocf"
agent = "heartbeat:Dummy"
parameters = {{ state = "{STATE}" }}
after = ["data"]
monitor_interval_ms = 500
"#
    )
}

/// The cluster with these services; their address.
fn begin(cluster: &Cluster<'_>) -> Answer<String> {
    let own = cluster.lab().host("hn0")?.address();
    let (network, _) = own.rsplit_once('.').ok_or("an address without a dot")?;
    let address = format!("{network}.200");
    for host in cluster.lab().headnodes() {
        host.run(&["sh", "-c", LOOP_DEVICES])?;
        host.run(&["sh", "-c", &format!("truncate -s 16M {IMAGE} && mkfs.ext4 -qF {IMAGE}")])?;
        host.write_file(FRAGMENT, &configuration(&address))?;
    }
    restart(cluster)?;
    Ok(address)
}

/// The cluster without them: what they keep is stopped while the daemons know of it.
fn end(cluster: &Cluster<'_>, address: &str) -> Outcome {
    for host in cluster.lab().headnodes() {
        host.run(&["systemctl", "stop", "master-fc"])?;
    }
    for host in cluster.lab().headnodes() {
        assert_eq!(kept(&host, address), NOTHING, "{} after an orderly stop", host.name());
        host.run(&["rm", FRAGMENT])?;
    }
    restart(cluster)
}

fn restart(cluster: &Cluster<'_>) -> Outcome {
    for host in cluster.lab().headnodes() {
        host.run(&["systemctl", "daemon-reload"])?;
        host.run(&[&["systemctl", "restart"], &DAEMONS[..]].concat())?;
        host.run(&["systemctl", "try-restart", "master-ha-service"])?;
    }
    cluster.settle()
}

/// Address, mount and state.
type Kept = [bool; 3];
const ALL: Kept = [true; 3];
const NOTHING: Kept = [false; 3];

/// What is there on a host, whoever put it there.
fn kept(host: &Host, address: &str) -> Kept {
    let succeeds = |command: &[&str]| host.run(command).is_ok();
    let addresses = host.run(&["ip", "-oneline", "address", "show"]).unwrap_or_default();
    [
        addresses.contains(&format!(" {address}/")),
        succeeds(&["mountpoint", "--quiet", MOUNT]),
        succeeds(&["test", "-e", STATE]),
    ]
}

fn wait_kept(cluster: &Cluster<'_>, host: &Host, address: &str, limit: Duration) -> Outcome {
    cluster.wait(&format!("{} has all that is kept", host.name()), limit, || {
        (kept(host, address) == ALL).then_some(())
    })
}

/// The hardware address that a host knows an address of the network by.
fn neighbour(host: &Host, address: &str) -> Option<String> {
    let known = host.run(&["ip", "neighbour", "show", address]).ok()?;
    let mut words = known.split_whitespace().skip_while(|word| *word != "lladdr");
    words.nth(1).map(str::to_owned)
}

fn hardware_address(host: &Host) -> Answer<String> {
    let link = host.run(&["ip", "-oneline", "link", "show", "eth0"])?;
    let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
    Ok(words.nth(1).ok_or("no hardware address")?.to_owned())
}

fn answers(from: &Host, address: &str) -> bool {
    from.run(&["ping", "-c", "1", "-W", "2", address]).is_ok()
}

fn moves(cluster: &Cluster<'_>) -> Outcome {
    let address = begin(cluster)?;
    let worker = cluster.lab().host("wn0")?;
    let (first, second) = cluster.pair()?;
    wait_kept(cluster, &first, &address, FAILOVER)?;
    assert_eq!(kept(&second, &address), NOTHING, "on the standby");
    first.write_file(NOTE, "of the first")?;
    assert!(answers(&worker, &address), "it does not answer");
    assert_eq!(neighbour(&worker, &address), Some(hardware_address(&first)?));

    let epoch = cluster.epoch(&first)?;
    first.run(&["headship", "switchover"])?;
    let moved = hardware_address(&second)?;
    // Nobody on that host asks: it is told.
    cluster.wait("wn0 has heard where the address is", FAILOVER, || {
        (neighbour(&worker, &address)? == moved).then_some(())
    })?;
    wait_kept(cluster, &second, &address, FAILOVER)?;
    assert_eq!(kept(&first, &address), NOTHING, "where office was ceded");
    assert!(answers(&worker, &address), "it does not answer after the switchover");
    cluster.wait_active(&second, epoch)?;
    cluster.wait_ready()?;

    let epoch = cluster.epoch(&second)?;
    second.power_off()?;
    cluster.wait_active(&first, epoch)?;
    wait_kept(cluster, &first, &address, FAILOVER)?;
    assert_eq!(first.read_file(NOTE)?, "of the first");
    assert!(answers(&worker, &address), "it does not answer after the failover");
    second.power_on()?;
    cluster.wait_ready()?;
    assert_eq!(kept(&second, &address), NOTHING, "on the headnode that came back");
    end(cluster, &address)
}

/// K-1 and K-2 for what is no process.
fn put_right(cluster: &Cluster<'_>) -> Outcome {
    let address = begin(cluster)?;
    let (active, standby) = cluster.pair()?;
    wait_kept(cluster, &active, &address, FAILOVER)?;
    let device = active.run(&["ip", "-oneline", "route", "get", &address])?;
    assert!(device.contains("local"), "{device}");
    for by_hand in [
        format!("ip address delete {address}/24 dev eth0"),
        format!("umount {MOUNT}"),
        format!("rm {STATE}"),
    ] {
        active.run(&["sh", "-c", &by_hand])?;
        wait_kept(cluster, &active, &address, SOON)?;
    }
    // Whatever becomes of the process that stands for it.
    active.kill("headship-address.service", Signal::KILL)?;
    cluster.wait("it is stopped and started again", SOON, || {
        let said = cluster.journal(&active, "master-ha-service").ok()?;
        said.contains("address serves again").then_some(())
    })?;
    wait_kept(cluster, &active, &address, SOON)?;

    let agent = "/usr/lib/ocf/resource.d/heartbeat/Dummy";
    let by_hand = format!("OCF_ROOT=/usr/lib/ocf OCF_RESKEY_state={STATE} {agent} start");
    standby.run(&["sh", "-c", &by_hand])?;
    assert_eq!(kept(&standby, &address), [false, false, true], "started by hand");
    cluster.wait("what was started by hand is found and stopped", LOOKED_FOR, || {
        (kept(&standby, &address) == NOTHING).then_some(())
    })?;
    end(cluster, &address)
}
