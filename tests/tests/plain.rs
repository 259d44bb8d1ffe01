//! The suite as plain processes, where neither root nor namespaces are to be had: what the lab shows on real hosts, as far
//! as it can be seen without taking power or cutting cables.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, too, and tell what the daemons said"
)]

use std::time::Duration;

use headship_tests::lab::service_log::{What, now};
use headship_tests::lab::{Preset, wait_for, wait_until};
use headship_tests::plain::{Host, Plain, services};
use headship_tests::programs::programs;

/// Lease, kill time and every start, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn after_a_crash_of_the_active_its_services_run_on_the_other_headnode() {
    let cluster = Cluster::start();
    let (active, standby) = cluster.in_order();
    let epoch = cluster.epoch();

    let crashed = now();
    active.crash().unwrap();
    cluster.until_all_ready(standby, crashed);
    // The services of the dead ended with it; the other one waited for lease and kill time nevertheless.
    let first = cluster.log(|log| log.first(standby.name(), "ambari-server", What::Start, crashed));
    let waited = Duration::from_nanos(first.unwrap() - crashed);
    assert!(
        waited > Duration::from_millis(7500),
        "a taker waits 8.26 s in `normal`, counted from a renewal at most 0.5 s before; here it started after {waited:?}"
    );
    assert_eq!(cluster.epoch(), epoch + 1);
    cluster.until_followed_by(&[standby], standby);

    active.launch().unwrap();
    let (active_now, _) = cluster.in_order();
    assert_eq!(active_now.name(), standby.name(), "who returns is standby");
    cluster.assert_no_overlap();
}

#[test]
fn a_switchover_moves_the_services_without_an_overlap_and_a_killed_one_is_started_again() {
    let cluster = Cluster::start();
    let (active, standby) = cluster.in_order();

    let killed = now();
    active.kill("livy").unwrap();
    wait_until("livy is started again", LIMIT, || {
        cluster.log(|log| log.first(active.name(), "livy", What::Ready, killed)).is_some()
    })
    .unwrap();

    let ordered = now();
    let output = standby.headship(&["switchover"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    cluster.until_all_ready(standby, ordered);
    let (active_now, _) = cluster.in_order();
    assert_eq!(active_now.name(), standby.name());
    cluster.until_followed_by(&[active, standby], standby);
    for service in services() {
        let stopped = cluster.log(|log| log.first(active.name(), service, What::Stop, ordered));
        assert!(stopped.is_some(), "{service} was stopped in order on {}", active.name());
    }
    cluster.assert_no_overlap();
}

#[test]
fn master_fc_killed_and_returned_changes_nothing_for_the_services() {
    let cluster = Cluster::start();
    let (active, _) = cluster.in_order();
    let epoch = cluster.epoch();

    let killed = now();
    active.kill("master-fc").unwrap();
    active.relaunch("master-fc").unwrap();
    // A deadline this late can only come from a renewal after the kill, and only the new process can have sent it.
    wait_until("the new master-fc renews", LIMIT, || {
        active.deadline().is_some_and(|deadline| deadline > killed + LEASE)
    })
    .unwrap();
    let (active_now, _) = cluster.in_order();
    assert_eq!((active_now.name(), cluster.epoch()), (active.name(), epoch));
    cluster.log(|log| {
        let moved =
            log.events().iter().find(|event| event.at > killed && event.what != What::Alive);
        assert_eq!(moved, None);
    });
}

#[test]
fn what_the_operator_orders_is_carried_out_and_nothing_runs_twice() {
    let cluster = Cluster::start();
    let (active, standby) = cluster.in_order();
    let order = |arguments: &[&str]| {
        let output = standby.headship(arguments).output().unwrap();
        (output.status.code(), format!("{output:?}"))
    };
    let done = |arguments: &[&str]| {
        let (code, output) = order(arguments);
        assert_eq!(code, Some(0), "{output}");
    };

    // What is in maintenance stays down, also when everything else that died with it is back.
    done(&["maintenance", "livy", "on", "a test"]);
    let killed = now();
    active.kill("livy").unwrap();
    active.kill("ambari-server").unwrap();
    wait_until("ambari-server is started again", LIMIT, || {
        cluster.log(|log| log.first(active.name(), "ambari-server", What::Ready, killed)).is_some()
    })
    .unwrap();
    assert_eq!(
        cluster.log(|log| log.first(active.name(), "livy", What::Start, killed)),
        None,
        "nobody starts what is in maintenance"
    );
    done(&["maintenance", "livy", "off"]);
    wait_until("livy is kept running again", LIMIT, || {
        cluster.log(|log| log.first(active.name(), "livy", What::Ready, killed)).is_some()
    })
    .unwrap();

    done(&["pause", "a test"]);
    let (code, output) = order(&["switchover"]);
    assert!(code == Some(6) && output.contains("is paused"), "{output}");
    done(&["resume"]);
    assert_eq!(order(&["maintenance", active.name(), "on"]).0, Some(6));

    done(&["adopt"]);
    cluster.in_order();
    let ordered = now();
    done(&["failover", "--from", active.name(), "--yes"]);
    cluster.until_all_ready(standby, ordered);
    assert_eq!(order(&["is-active", standby.name()]).0, Some(0));
    assert_eq!(order(&["is-active", active.name()]).0, Some(7));
    let (code, history) = order(&["history"]);
    assert!(code == Some(0) && history.contains("a failover was ordered by"), "{history}");
    cluster.assert_no_overlap();
}

/// The lease of the preset `normal`, in nanoseconds.
const LEASE: u64 = 6_000_000_000;

/// A cluster that tells what its daemons said when a test fails.
struct Cluster(Plain);

impl Cluster {
    fn start() -> Self {
        let programs = programs().unwrap_or_else(|error| panic!("{error}"));
        Self(Plain::start(&programs, Preset::Normal).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Waits until hosts file and agent of these follow `active`; nothing else in the file has changed.
    fn until_followed_by(&self, hosts: &[&Host], active: &Host) {
        let address = active.address();
        let text = format!(
            "127.0.0.1 localhost\n# headship begin: slave-fc keeps these lines, do not edit them\n{address} headnodehost # headship\n# headship end\n"
        );
        for host in hosts {
            wait_until(&format!("{} follows {}", host.name(), active.name()), LIMIT, || {
                let noted = host.agent_note().and_then(|note| note.address);
                noted == Some(address.into())
                    && std::fs::read_to_string(host.hosts_file()).is_ok_and(|it| it == text)
            })
            .unwrap();
        }
    }

    /// Waits until one headnode is active with all services and the other one is ready, and returns them in this order.
    fn in_order(&self) -> (&Host, &Host) {
        let [first, second] = self.0.hosts() else { panic!("two headnodes") };
        wait_until("`headship status` calls the cluster healthy", LIMIT, || {
            first.headship(&["status"]).output().is_ok_and(|output| output.status.success())
        })
        .unwrap();
        let active = self.active();
        let (active, standby) =
            if active == first.name() { (first, second) } else { (second, first) };
        self.until_all_ready(active, 0);
        (active, standby)
    }

    fn active(&self) -> String {
        self.ask(&["active"])
    }

    fn epoch(&self) -> u64 {
        let text = self.ask(&["active", "--json"]);
        let active: serde_json::Value = serde_json::from_str(&text).unwrap();
        active
            .get("epoch")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("no epoch in {text}"))
    }

    fn ask(&self, arguments: &[&str]) -> String {
        wait_for("`headship` answers", LIMIT, || {
            let output = self.0.hosts().first()?.headship(arguments).output().ok()?;
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        })
        .unwrap()
    }

    fn log<T>(&self, look: impl FnOnce(&headship_tests::lab::service_log::ServiceLog) -> T) -> T {
        look(&self.0.service_log().unwrap())
    }

    fn until_all_ready(&self, host: &Host, since: u64) {
        wait_until(&format!("all services serve on {}", host.name()), LIMIT, || {
            self.log(|log| {
                services()
                    .iter()
                    .all(|service| log.first(host.name(), service, What::Ready, since).is_some())
            })
        })
        .unwrap();
    }

    fn assert_no_overlap(&self) {
        let overlaps = self.0.overlaps().unwrap();
        assert!(
            overlaps.is_empty(),
            "{}",
            overlaps.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        );
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in self.0.hosts() {
                print!("{}", host.said());
            }
        }
    }
}
