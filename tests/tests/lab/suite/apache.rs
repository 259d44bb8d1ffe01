//! NameNodes with their failover controllers, and ResourceManagers: the programs themselves, elected in an Apache quorum of
//! its own, beside everything that the suite does to its services. It may not touch them, nor they it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{Host, Signal, ensemble, web};

use super::cluster::{Cluster, FAILOVER, SOON};
use super::{Answer, Test};
use crate::Outcome;

pub(super) const REAL: [Test; 1] = [(
    "name_node_and_resource_manager_stay_where_they_are_whatever_happens_to_our_quorum_and_office",
    stay,
)];

/// How many times the office moves.
const MOVES: usize = 6;

/// Servers of the Apache quorum, on the hosts of the failover quorum.
const QUORUM: &str = "apache-quorum.service";
const QUORUM_PORT: u16 = 2182;

/// Units on both headnodes, none of which is ours.
const UNITS: [&str; 3] = ["namenode.service", "zkfc.service", "resourcemanager.service"];

const NAME_NODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const CONTROLLER: &str = "org.apache.hadoop.hdfs.tools.DFSZKFailoverController";
const RESOURCE_MANAGER: &str = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager";

/// The web ports that tell who is active: 200, or 405.
const ELECTED: [(&str, u16); 2] = [("name-node", 9870), ("resource-manager", 8088)];

const FRAGMENT: &str = "/etc/headship/conf.d/80-apache.toml";
const CONFIGURATION: &str =
    "[apache_quorum]\nservers = [\"zk0:2182\", \"zk1:2182\", \"zk2:2182\"]\n";

/// What is there of them at a moment: who is active, by their own word, and each process.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    active: Vec<String>,
    processes: Vec<(String, i32)>,
}

// B-03, B-13, B-14, B-43.
fn stay(cluster: &Cluster<'_>) -> Outcome {
    set_up(cluster)?;
    let before = seen(cluster)?;
    is_shown(cluster, &before)?;
    for round in 0..MOVES {
        let (active, standby) = cluster.pair()?;
        let epoch = cluster.epoch(&active)?;
        if round % 3 == 2 {
            active.run(&["systemctl", "stop", "master-fc"])?;
            cluster.wait_active(&standby, epoch)?;
            active.run(&["systemctl", "start", "master-fc"])?;
        } else {
            active.run(&["headship", "switchover"])?;
            cluster.wait_active(&standby, epoch)?;
        }
        cluster.wait_role(&active, "standby")?;
        cluster.wait_ready()?;
        assert_eq!(seen(cluster)?, before, "after round {round}");
    }
    without_failover_quorum(cluster, &before)?;
    without_apache_quorum(cluster, &before)?;
    tear_down(cluster)
}

/// Ours stop by D, theirs notice nothing.
fn without_failover_quorum(cluster: &Cluster<'_>, before: &Seen) -> Outcome {
    let (active, _) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    let away = service_log::now();
    for server in cluster.lab().servers() {
        server.kill(ensemble::UNIT, Signal::KILL)?;
    }
    cluster.wait("our services have stopped", FAILOVER, || {
        (!cluster.lab().headnodes().iter().any(headship_tests::suite::runs_all)
            && cluster.runs_none(&active))
        .then_some(())
    })?;
    cluster.first(&active, "livy", What::Stop, away)?;
    assert_eq!(&seen(cluster)?, before, "without the failover quorum");
    for server in cluster.lab().servers() {
        server.run(&["systemctl", "start", ensemble::UNIT])?;
    }
    // Whoever held office may go on with it.
    cluster.wait_any_active(epoch.saturating_sub(1)).map(drop)?;
    cluster.wait_ready()?;
    assert_eq!(&seen(cluster)?, before, "after the failover quorum is back");
    Ok(())
}

/// Theirs are without an active, and elect one again; ours notice nothing.
fn without_apache_quorum(cluster: &Cluster<'_>, before: &Seen) -> Outcome {
    cluster.settle()?;
    let ours = cluster.before()?;
    let active = cluster.lab().host(ours.active)?;
    for server in cluster.lab().servers() {
        server.kill(QUORUM, Signal::KILL)?;
    }
    let (lease, _) = cluster.lease_and_kill();
    cluster.wait_renewed(&active, 2 * Duration::from_nanos(lease))?;
    cluster.assert_untouched(&ours)?;
    let page = String::from_utf8(active.output(&["headship", "status"])?.stdout)?;
    assert!(page.contains("Apache quorum   no answer from"), "{page}");
    start_quorum(cluster)?;
    cluster.wait("one of each is elected again", FAILOVER, || {
        let again = seen(cluster).ok()?;
        (again.active.len() == before.active.len()).then_some(())
    })?;
    cluster.assert_untouched(&ours)
}

/// Whether `headship status` names those that say of themselves that they are active.
fn is_shown(cluster: &Cluster<'_>, seen: &Seen) -> Outcome {
    let (active, _) = cluster.pair()?;
    let output = active.output(&["headship", "status", "--json"])?;
    let page: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let components = page.pointer("/apache_quorum/components").and_then(|it| it.as_array());
    let text = |value: &serde_json::Value, at: &str| -> Option<String> {
        Some(value.pointer(at)?.as_str()?.to_owned())
    };
    let shown: Vec<String> = components
        .ok_or("no components")?
        .iter()
        .filter_map(|it| {
            // The record of a ResourceManager names none, and its id is that of its host here.
            let host = text(it, "/active/host").or_else(|| text(it, "/active/id"))?;
            Some(format!("{} on {host}", text(it, "/component")?))
        })
        .collect();
    assert_eq!(shown, seen.active, "{page:#}");
    Ok(())
}

fn seen(cluster: &Cluster<'_>) -> Answer<Seen> {
    let hosts = cluster.lab().headnodes();
    let mut seen = Seen { active: Vec::new(), processes: Vec::new() };
    for (component, port) in ELECTED {
        for host in &hosts {
            let answer = web::get(&format!("{}:{port}", host.address()), "/isActive", SOON)
                .map_err(|error| format!("{component} on {}: {error}", host.name()))?;
            if answer.status == 200 {
                seen.active.push(format!("{component} on {}", host.name()));
            }
        }
    }
    for host in &hosts {
        for unit in UNITS {
            let pid = cluster.pid_of(host, unit, "java");
            let pid = pid.ok_or_else(|| format!("no {unit} on {}", host.name()))?;
            seen.processes.push((format!("{unit} on {}", host.name()), pid));
        }
    }
    Ok(seen)
}

// ---- the programs ----

/// The command line of one of Hadoop's programs on a host.
fn java<'a>(host: &'a str, program: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let line = [
        "java",
        "-Xmx48m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        host,
        "-cp",
        "/etc/hadoop/cluster:/etc/hadoop/conf:/usr/lib/headship-lab/hadoop/*",
        program,
    ];
    [&line[..], more].concat()
}

fn start(host: &Host, unit: &str, program: &str) -> Outcome {
    let own = format!("-Dlab.host={}", host.name());
    let name = format!("--unit={unit}");
    let run = ["systemd-run", "--quiet", &name, "--property=SuccessExitStatus=143"];
    host.run(&[&run[..], &java(&own, program, &[])].concat())?;
    Ok(())
}

/// Runs one of the programs to its end.
fn once(host: &Host, program: &str, argument: &str) -> Outcome {
    let own = format!("-Dlab.host={}", host.name());
    host.run(&java(&own, program, &[argument, "-nonInteractive"]))?;
    Ok(())
}

fn set_up(cluster: &Cluster<'_>) -> Outcome {
    start_quorum(cluster)?;
    let hosts = cluster.lab().headnodes();
    let [first, second] = hosts.as_slice() else { return Err("two headnodes are meant".into()) };
    once(first, NAME_NODE, "-format")?;
    start(first, "namenode.service", NAME_NODE)?;
    let answers = |host: &Host, port: u16, statuses: &[u16]| {
        cluster.wait(&format!("port {port} of {} answers", host.name()), FAILOVER, || {
            let address = format!("{}:{port}", host.address());
            let answer = web::get(&address, "/isActive", Duration::from_secs(2)).ok()?;
            statuses.contains(&answer.status).then_some(())
        })
    };
    answers(first, 9870, &[405])?;
    once(second, NAME_NODE, "-bootstrapStandby")?;
    once(first, CONTROLLER, "-formatZK")?;
    start(second, "namenode.service", NAME_NODE)?;
    answers(second, 9870, &[405])?;
    // The first one is elected, as on a cluster where all is well.
    for host in [first, second] {
        start(host, "zkfc.service", CONTROLLER)?;
        start(host, "resourcemanager.service", RESOURCE_MANAGER)?;
        for (_, port) in ELECTED {
            answers(host, port, if host.name() == first.name() { &[200] } else { &[200, 405] })?;
        }
    }
    for host in cluster.lab().hosts() {
        host.write_file(FRAGMENT, CONFIGURATION)?;
    }
    Ok(())
}

/// Servers of ZooKeeper on the hosts of the failover quorum, with nothing in common with its own.
fn start_quorum(cluster: &Cluster<'_>) -> Outcome {
    let servers = cluster.lab().servers();
    for server in &servers {
        let own = server.read_file("/etc/zookeeper/zoo.cfg")?;
        let text = own
            .replace("clientPort=2181", &format!("clientPort={QUORUM_PORT}"))
            .replace("/var/lib/zookeeper", "/var/lib/zookeeper-apache")
            .replace(":2888:3888", ":2889:3889");
        server.write_file("/etc/zookeeper/apache.cfg", &text)?;
        let id = server.read_file("/var/lib/zookeeper/myid")?;
        server.write_file("/var/lib/zookeeper-apache/myid", &id)?;
        let unit = server.read_file("/usr/lib/systemd/system/zookeeper.service")?;
        let unit = unit.replace("/etc/zookeeper/zoo.cfg", "/etc/zookeeper/apache.cfg");
        server.write_file(&format!("/usr/lib/systemd/system/{QUORUM}"), &unit)?;
        server.run(&["systemctl", "daemon-reload"])?;
        server.run(&["systemctl", "start", QUORUM])?;
    }
    cluster.wait("the Apache quorum serves", FAILOVER, || {
        let serves = servers.iter().all(|server| {
            let mut said = String::new();
            let asked = TcpStream::connect((server.address(), QUORUM_PORT)).and_then(|mut to| {
                to.set_read_timeout(Some(Duration::from_secs(1)))?;
                to.write_all(b"srvr")?;
                to.read_to_string(&mut said)
            });
            asked.is_ok() && said.contains("Mode: ")
        });
        serves.then_some(())
    })
}

fn tear_down(cluster: &Cluster<'_>) -> Outcome {
    for host in cluster.lab().headnodes() {
        host.run(&[&["systemctl", "stop"], &UNITS[..]].concat())?;
    }
    for server in cluster.lab().servers() {
        server.run(&["systemctl", "stop", QUORUM])?;
    }
    for host in cluster.lab().hosts() {
        host.run(&["rm", FRAGMENT])?;
    }
    Ok(())
}
