//! What is written wrong: in the configuration, and in the failover quorum.

use std::time::Duration;

use headship_core::quorum::Op;
use headship_core::record::{Active, Health, History, Key, Lease};
use headship_tests::lab::Host;
use headship_tests::lab::service_log::{self, What};
use serde::de::DeserializeOwned;

use super::cluster::{Cluster, DAEMONS, FAILOVER, SOON, node};
use super::{Answer, Test};
use crate::Outcome;

/// What takes long.
pub(super) const MORE: [Test; 2] = [
    ("a_record_that_nobody_understands_is_told_once_and_survived", corrupt_records),
    ("a_cluster_with_one_service_moves_that_one_only", one_service),
];

pub(super) const FAST: [Test; 6] = [
    ("a_bad_configuration_is_told_with_all_its_faults_and_nothing_is_touched", bad_configuration),
    ("a_unit_with_a_bad_configuration_does_not_crash_in_a_loop", no_crash_loop),
    ("a_headnodes_daemon_on_another_node_says_so_and_does_nothing", not_this_node),
    ("master_ha_service_started_by_hand_on_the_standby_says_so_and_ends", duty_on_standby),
    ("a_second_daemon_on_the_same_host_says_so_and_ends", second_daemon),
    ("an_active_record_that_nobody_understands_is_survived", corrupt_active),
];

const MASTER_FC: &str = "master-fc.service";

/// What a kill at D takes on a busy machine, and the beat before it, in nanoseconds.
const LITTLE: u64 = 200_000_000;

const FAULTY: &str = "cluster = \"lab\"
node = \"hn0\"
colour = \"red\"

[failover_quorum]
servers = [\"zk0:2181\"]

[[headnode]]
name = \"hn0\"
address = \"hn0\"

[[headnode]]
name = \"hn1\"
address = \"hn1\"

[timing]
lease_ms = \"long\"
renew_ms = 5000

[[service]]
name = \"livy\"
unit = \"livy.service\"

[[service]]
name = \"livy\"
unit = \"livy.service\"
";

fn bad_configuration(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (_, standby) = cluster.pair()?;
    standby.write_file("/root/faulty/headship.toml", FAULTY)?;
    for program in
        ["master-fc", "slave-fc", "slave-ha-service", "health-monitor", "master-ha-service"]
    {
        let program = format!("/usr/lib/headship/{program}");
        let line = [
            &program,
            "--config",
            "/root/faulty",
            "--run",
            "/root/faulty/run",
            "--state",
            "/root/faulty/state",
        ];
        let answer = standby.output(&line)?;
        let said = String::from_utf8(answer.stderr)?;
        assert_eq!(answer.status.code(), Some(3), "{program}: {said}");
        // All faults at once, each with its file and line.
        for fault in [
            "headship.toml:3: ",
            "colour",
            "headship.toml:17: ",
            "lease_ms",
            "headship.toml:25: ",
            "livy",
        ] {
            assert!(said.contains(fault), "{program} does not tell of {fault}: {said}");
        }
        assert!(!standby.root().join("root/faulty/run").exists(), "{program} touched something");
    }
    standby.run(&["rm", "--recursive", "/root/faulty"])?;
    cluster.assert_untouched(&before)
}

// The services run on while the file is wrong, and the next start after it was repaired goes on in office.
fn no_crash_loop(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (_, standby) = cluster.pair()?;
    let fragment = "/etc/headship/conf.d/70-test.toml";
    standby.write_file(fragment, "[timing]\nlease = 5\n")?;
    for unit in DAEMONS {
        // It is a failure, and told as one.
        assert!(!standby.output(&["systemctl", "restart", unit])?.status.success());
    }
    cluster.wait_renewed(&cluster.lab().host(before.active)?, Duration::from_secs(1))?;
    for unit in DAEMONS {
        let shown = standby.run(&[
            "systemctl",
            "show",
            "--property",
            "NRestarts,ExecMainStatus,ActiveState",
            unit,
        ])?;
        for line in ["NRestarts=0", "ExecMainStatus=3", "ActiveState=failed"] {
            assert!(shown.contains(line), "{unit}: {shown}");
        }
    }
    cluster.assert_untouched(&before)?;
    standby.run(&["rm", fragment])?;
    standby.run(&[&["systemctl", "start"], &DAEMONS[..]].concat())?;
    cluster.wait_role(&standby, "standby")
}

// B-24.
fn not_this_node(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (_, standby) = cluster.pair()?;
    standby.run(&["mkdir", "--parents", "/root/other/conf.d"])?;
    standby.run(&["cp", "/etc/headship/headship.toml", "/root/other/"])?;
    standby.write_file("/root/other/conf.d/80-node.toml", "node = \"worker7\"\n")?;
    for program in ["master-fc", "health-monitor", "master-ha-service"] {
        let program = format!("/usr/lib/headship/{program}");
        let answer =
            standby.output(&[&program, "--config", "/root/other", "--run", "/root/other/run"])?;
        let said = String::from_utf8(answer.stderr)?;
        assert_eq!(answer.status.code(), Some(4), "{program}: {said}");
        assert!(said.contains("worker7"), "{said}");
    }
    standby.run(&["rm", "--recursive", "/root/other"])?;
    cluster.assert_untouched(&before)
}

// B-27.
fn duty_on_standby(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (_, standby) = cluster.pair()?;
    standby.output(&["systemctl", "start", "master-ha-service"])?;
    cluster.wait("it has ended", SOON, || {
        (!standby.runs("master-ha-service.service")).then_some(())
    })?;
    let said = cluster.journal(&standby, "master-ha-service")?;
    assert!(said.contains("this headnode holds no permit"), "{said}");
    cluster.assert_untouched(&before)
}

fn second_daemon(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let active = cluster.lab().host(before.active)?;
    for program in ["master-fc", "slave-fc", "slave-ha-service", "master-ha-service"] {
        let answer = active.output(&["timeout", "10", &format!("/usr/lib/headship/{program}")])?;
        assert_eq!(
            answer.status.code(),
            Some(5),
            "{program}: {}",
            String::from_utf8(answer.stderr)?
        );
    }
    cluster.assert_untouched(&before)
}

/// How often a unit's journal tells of a record since the test began.
fn told(cluster: &Cluster<'_>, host: &Host, unit: &str, record: &str) -> Answer<usize> {
    let said = cluster.journal(host, unit)?;
    Ok(said
        .lines()
        .filter(|line| line.contains(&format!("`{record}` is not a record of headship")))
        .count())
}

fn put(cluster: &Cluster<'_>, key: Key, data: &str) -> Outcome {
    let set = Op::Set { key: key.clone(), version: None, data: data.to_owned() };
    cluster.write(set).or_else(|_| cluster.write(Op::Create { key, data: data.to_owned() }))
}

fn corrupt_records(cluster: &Cluster<'_>) -> Outcome {
    let before = cluster.before()?;
    let (active, standby) = cluster.pair()?;
    let history: History = cluster.read(&Key::History)?;
    let headnodes = [&active, &standby];
    // Nobody writes these anew by himself. The second is something foreign that is JSON.
    let stay = [(Key::History, "not json"), (Key::Switchover, r#"{"format":1,"colour":"red"}"#)];
    for (key, data) in &stay {
        corrupt(cluster, key, data, headnodes)?;
    }
    corrupt_in_passing::<Health>(cluster, &Key::Health(node(&standby)), "[]", headnodes)?;
    corrupt_in_passing::<Lease>(cluster, &Key::Lease, "?", headnodes)?;
    // More than a period, in which everything is read anew.
    cluster.wait_renewed(&active, Duration::from_secs(11))?;
    for (key, _) in &stay {
        told_once(cluster, key, headnodes)?;
    }
    cluster.assert_untouched(&before)?;
    // What the records' writers write anew is well again by itself; the history is the operator's to restore.
    put(cluster, Key::History, &headship_core::record::write(&history))?;
    let restored: History = cluster.read(&Key::History)?;
    assert_eq!(restored, history);
    cluster.wait_ready()
}

/// Writes a record that cannot be understood, more than once, and sees that each master-fc tells of it, and once only.
fn corrupt(cluster: &Cluster<'_>, key: &Key, data: &str, headnodes: [&Host; 2]) -> Outcome {
    for _ in 0..3 {
        put(cluster, key.clone(), data)?;
        for host in headnodes {
            wait_told(cluster, host, &key.path())?;
        }
    }
    told_once(cluster, key, headnodes)
}

fn wait_told(cluster: &Cluster<'_>, host: &Host, record: &str) -> Outcome {
    cluster.wait(&format!("{} tells of `{record}`", host.name()), SOON, || {
        (told(cluster, host, MASTER_FC, record).ok()? > 0).then_some(())
    })
}

fn told_once(cluster: &Cluster<'_>, key: &Key, headnodes: [&Host; 2]) -> Outcome {
    for host in headnodes {
        let times = told(cluster, host, MASTER_FC, &key.path())?;
        assert_eq!(times, 1, "how often {} told of `{}`", host.name(), key.path());
    }
    Ok(())
}

/// Corrupts a record whose writer soon writes it anew, until both have come to read it: each master-fc tells of it at most once
/// each time.
fn corrupt_in_passing<T: DeserializeOwned>(
    cluster: &Cluster<'_>,
    key: &Key,
    data: &str,
    headnodes: [&Host; 2],
) -> Outcome {
    for written in 1..=10 {
        put(cluster, key.clone(), data)?;
        cluster.wait("its writer writes it anew", SOON, || cluster.read::<T>(key).ok())?;
        let mut all_told = true;
        for host in headnodes {
            let times = told(cluster, host, MASTER_FC, &key.path())?;
            assert!(times <= written, "{} told of it {times} times", host.name());
            all_told &= times > 0;
        }
        if all_told {
            return Ok(());
        }
    }
    Err(format!("nothing is told of `{}`", key.path()).into())
}

// Nobody can say any more who holds office: everything stops by D, and after the full wait somebody takes it.
fn corrupt_active(cluster: &Cluster<'_>) -> Outcome {
    let (active, standby) = cluster.pair()?;
    let epoch = cluster.epoch(&active)?;
    put(cluster, Key::Active, "not json")?;
    let written = service_log::now();
    let host = cluster.wait_any_active(epoch)?;
    // No renewal is acknowledged over it: D is no later than a lease after.
    let (last, (lease, _)) = (cluster.last_sign(&active, written)?, cluster.lease_and_kill());
    assert!(
        last <= written + lease + LITTLE,
        "services lived for {} ms without an office",
        (last - written) / 1_000_000
    );
    let record: Active = cluster.read(&Key::Active)?;
    assert_eq!(record.holder.map(|holder| holder.node), Some(node(&host)));
    for headnode in [&active, &standby] {
        let times = told(cluster, headnode, MASTER_FC, "active")?;
        assert_eq!(times, 1, "how often {} told it", headnode.name());
    }
    Ok(())
}

// B-05: which services there are is the configuration's to say.
fn one_service(cluster: &Cluster<'_>) -> Outcome {
    let hosts = cluster.lab().headnodes();
    let whole = hosts.first().ok_or("no headnodes")?.read_file("/etc/headship/headship.toml")?;
    let (head, _) =
        whole.split_once("[[service]]\nname = \"timeline-server\"").ok_or("no timeline-server")?;
    for host in &hosts {
        host.run(&[&["systemctl", "stop"], &DAEMONS[..]].concat())?;
        host.run(&["mv", "/etc/headship/conf.d/60-services.toml", "/root/"])?;
        host.write_file("/etc/headship/headship.toml", head)?;
    }
    let since = service_log::now();
    for host in &hosts {
        host.run(&["systemctl", "daemon-reload"])?;
        host.run(&[&["systemctl", "start"], &DAEMONS[..]].concat())?;
    }
    let (active, standby) =
        cluster.wait("one is active, the other standby", FAILOVER, || cluster.pair().ok())?;
    cluster.wait_ready()?;
    active.run(&["headship", "switchover"])?;
    cluster.first(&standby, "ambari-server", What::Start, since)?;
    for event in cluster.told(since)? {
        assert_eq!(event.service, "ambari-server");
    }
    for host in &hosts {
        host.run(&["systemctl", "stop", "master-fc"])?;
        host.run(&["mv", "/root/60-services.toml", "/etc/headship/conf.d/"])?;
        host.write_file("/etc/headship/headship.toml", &whole)?;
        host.run(&["systemctl", "daemon-reload"])?;
        host.run(&[&["systemctl", "restart"], &DAEMONS[..]].concat())?;
    }
    cluster.settle()
}
