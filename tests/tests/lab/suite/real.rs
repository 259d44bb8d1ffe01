//! Hadoop's Application Timeline Server and Job History Server, and Livy, as HA services: the programs themselves.
//!
//! Each fault comes while a client submits batches to whichever Livy answers. After it, the web pages answer at the
//! alias from every host, at no other headnode, and each batch that some Livy took is on record.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headship_tests::lab::livy::{self, Batch};
use headship_tests::lab::service_log::{self, What};
use headship_tests::lab::{Disk, Host, Signal, web};

use super::cluster::{Cluster, FAILOVER, SOON};
use super::services::{forget_budgets, killed, refused_on_standby, wait_served};
use super::{Answer, Test};
use crate::{Outcome, caught};

pub(super) const REAL: [Test; 9] = [
    ("after_a_power_loss_the_real_servers_answer_on_the_other_headnode", power_loss),
    ("a_switchover_moves_the_real_servers_and_what_is_kept_locally_stays_behind", both_ways),
    ("each_real_server_that_is_killed_is_back_and_the_others_do_not_notice", each_killed),
    ("each_real_server_that_hangs_is_found_by_its_unanswered_probe_and_started_anew", each_hung),
    ("a_cut_headnode_has_stopped_its_real_servers_before_the_other_starts_them", cut),
    ("a_full_disk_on_the_active_moves_the_real_servers", full_disk),
    ("check_names_what_the_real_servers_keep_on_one_headnode_alone", checked),
    ("two_livys_at_once_write_over_each_others_records_and_are_found", two_livys),
    ("a_start_of_a_real_server_by_hand_on_the_standby_fails", by_hand),
];

/// What answers, by which program: its port, and a page that it answers with 200 once it serves.
const PAGES: [(&str, u16, &str); 3] = [
    ("timeline-server", 8188, "/ws/v1/timeline"),
    ("job-history", 19888, "/ws/v1/history/info"),
    ("livy", livy::PORT, "/version"),
];

/// How long an answer may take: a moment, on a busy machine some more.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long the client waits between two batches: each is a process of Livy's for a while.
const PAUSE: Duration = Duration::from_millis(500);

// ---- what is asked after each fault ----

/// Waits until every host finds each page at the alias, and there at `active`; fails if another headnode has its port open.
fn answers(cluster: &Cluster<'_>, active: &Host) -> Outcome {
    let wanted = format!("200 {}", active.address());
    for host in cluster.lab().hosts().iter().filter(|host| host.has_power()) {
        for (service, port, path) in PAGES {
            let page = format!("http://headnodehost:{port}{path}");
            let told = "%{http_code} %{remote_ip}";
            let ask = ["curl", "--silent", "--max-time", "5", "--output", "/dev/null"];
            let line = [&ask[..], &["--write-out", told, &page]].concat();
            let sentence = format!("{service} of {} answers {}", active.name(), host.name());
            cluster.wait(&sentence, SOON, || {
                let said = host.output(&line).ok()?;
                (String::from_utf8_lossy(&said.stdout) == wanted).then_some(())
            })?;
        }
    }
    for other in cluster.lab().headnodes().iter().filter(|other| other.name() != active.name()) {
        for (service, port, _) in PAGES {
            let open = TcpStream::connect_timeout(
                &format!("{}:{port}", other.address()).parse()?,
                Duration::from_secs(1),
            );
            assert!(open.is_err(), "the port of {service} is open on {}", other.name());
        }
    }
    Ok(())
}

/// Does something to the cluster while a client submits batches to whichever Livy answers. Fails unless afterwards all
/// records are whole, and Livy of whoever is active then knows each batch that was taken.
fn with_client(cluster: &Cluster<'_>, fault: impl FnOnce() -> Outcome) -> Outcome {
    let addresses: Vec<String> = (cluster.lab().headnodes().iter())
        .map(|host| format!("{}:{}", host.address(), livy::PORT))
        .collect();
    let over = AtomicBool::new(false);
    let (outcome, taken) = thread::scope(|scope| {
        let client = scope.spawn(|| submit_until(&over, &addresses));
        let outcome = caught(fault);
        over.store(true, Ordering::Relaxed);
        (outcome, client.join().unwrap_or_default())
    });
    outcome?;
    let (active, _) = cluster.pair()?;
    answers(cluster, &active)?;
    let address = format!("{}:{}", active.address(), livy::PORT);
    let last = livy::submit(&address, &name(), ANSWER_LIMIT)?.ok_or("Livy takes no more")?;
    assert!(!taken.is_empty(), "nothing was submitted meanwhile: nothing is shown");
    let taken = [taken, vec![last]].concat();
    let faults = livy::faults(&cluster.lab().place().shared_dir().join("livy"), &taken);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let known = livy::batches(&address, ANSWER_LIMIT)?;
    for batch in &taken {
        assert!(known.contains(batch), "Livy on {} does not know {batch:?}", active.name());
    }
    Ok(())
}

/// What was taken, by whichever Livy. One that answers nothing may have taken a batch all the same.
fn submit_until(over: &AtomicBool, addresses: &[String]) -> Vec<Batch> {
    let mut taken = Vec::new();
    while !over.load(Ordering::Relaxed) {
        for address in addresses {
            let answer = livy::submit(address, &name(), Duration::from_secs(2));
            taken.extend(answer.ok().flatten());
        }
        thread::sleep(PAUSE);
    }
    taken
}

/// A name that no other batch has.
fn name() -> String {
    format!("b{}", service_log::now())
}

/// Waits until the client has surely had some batches taken, so that the fault comes while it submits.
fn under_way(cluster: &Cluster<'_>) {
    cluster.last(Duration::from_secs(2));
}

// ---- faults ----

// B-01, B-04, B-28, B-34, B-39 (crash).
fn power_loss(cluster: &Cluster<'_>) -> Outcome {
    with_client(cluster, || {
        let (active, standby) = cluster.pair()?;
        let epoch = cluster.epoch(&active)?;
        under_way(cluster);
        let pulled = service_log::now();
        active.power_off()?;
        assert_eq!(cluster.wait_active(&standby, epoch)?, epoch + 1);
        cluster.assert_started_in_order(&standby, pulled)?;
        answers(cluster, &standby)?;
        active.power_on()?;
        cluster.wait_role(&active, "standby")?;
        cluster.wait_ready()
    })
}

// B-01, B-04, B-26, B-35, K-4, and what `check` warns of (B-42): the timelines are on the disk of one headnode.
fn both_ways(cluster: &Cluster<'_>) -> Outcome {
    let (first, second) = cluster.pair()?;
    let kind = name();
    note(&first, &kind)?;
    assert_eq!(noted(&first, &kind)?, 1);
    for (from, to, left) in [(&first, &second, 0), (&second, &first, 1)] {
        with_client(cluster, || {
            let epoch = cluster.epoch(from)?;
            under_way(cluster);
            let since = service_log::now();
            from.run(&["headship", "switchover", "--to", to.name()])?;
            assert_eq!(cluster.wait_active(to, epoch)?, epoch + 1);
            cluster.assert_stopped_in_order(from, since)?;
            cluster.assert_started_in_order(to, since)?;
            cluster.wait_role(from, "standby")?;
            cluster.wait_ready()
        })?;
        assert_eq!(noted(to, &kind)?, left, "timelines on {}", to.name());
    }
    Ok(())
}

/// Has the Timeline Server of a headnode keep something of this kind.
fn note(host: &Host, kind: &str) -> Outcome {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let entity = format!("{{\"entity\":\"one\",\"entitytype\":\"{kind}\",\"starttime\":{now}}}");
    let address = format!("{}:8188", host.address());
    let path = "/ws/v1/timeline?user.name=lab";
    let json = format!("{{\"entities\":[{entity}]}}");
    let answer = web::post(&address, path, &json, ANSWER_LIMIT)?;
    assert_eq!(answer.status, 200, "{}", answer.body);
    Ok(())
}

/// How much of this kind the Timeline Server of a headnode knows.
fn noted(host: &Host, kind: &str) -> Answer<usize> {
    let address = format!("{}:8188", host.address());
    let answer = web::get(&address, &format!("/ws/v1/timeline/{kind}"), ANSWER_LIMIT)?;
    let page: serde_json::Value = serde_json::from_str(&answer.body)?;
    Ok(page.pointer("/entities").and_then(|it| it.as_array()).map_or(0, Vec::len))
}

// B-08, B-36 (active), B-38, K-2.
fn each_killed(cluster: &Cluster<'_>) -> Outcome {
    with_client(cluster, || {
        under_way(cluster);
        killed(cluster)
    })
}

// K-3: a JVM that stands still accepts connections and answers none.
fn each_hung(cluster: &Cluster<'_>) -> Outcome {
    with_client(cluster, || {
        let (active, _) = cluster.pair()?;
        let epoch = cluster.epoch(&active)?;
        for (service, port, path) in PAGES {
            let since = service_log::now();
            active.kill(&format!("{service}.service"), Signal::STOP)?;
            cluster.wait(&format!("{service} is started anew"), FAILOVER, || {
                cluster.log().ok()?.first(active.name(), service, What::Start, since)
            })?;
            wait_served(cluster, &active, service, since)?;
            let told = cluster.told(since)?;
            assert!(told.iter().all(|event| event.service == service), "others: {told:?}");
            let said = cluster.journal(&active, "master-ha-service")?;
            let probe = format!("{service} is down: its http probe of ");
            let asked = format!(":{port}{path} failed: asked");
            let found = said.lines().any(|line| line.contains(&probe) && line.contains(&asked));
            assert!(found, "{said}");
        }
        assert_eq!(cluster.epoch(&active)?, epoch);
        forget_budgets(cluster)
    })
}

// B-26 (the loser stops by its own decision), B-39 (network loss of the active), B-40.
fn cut(cluster: &Cluster<'_>) -> Outcome {
    with_client(cluster, || {
        let (active, standby) = cluster.pair()?;
        let epoch = cluster.epoch(&active)?;
        under_way(cluster);
        active.cut()?;
        let cut = service_log::now();
        cluster.wait_active(&standby, epoch)?;
        let (lease, kill) = cluster.lease_and_kill();
        let last = cluster.last_sign(&active, cut)?;
        assert!(last <= cut + lease + kill, "services lived {} ms", (last - cut) / 1_000_000);
        cluster.assert_started_in_order(&standby, cut)?;
        active.heal()?;
        cluster.wait_role(&active, "standby")?;
        cluster.wait_ready()
    })
}

// B-01, B-33 (quits): nothing of its services can be written there any more.
fn full_disk(cluster: &Cluster<'_>) -> Outcome {
    with_client(cluster, || {
        let (active, standby) = cluster.pair()?;
        let epoch = cluster.epoch(&active)?;
        under_way(cluster);
        let since = service_log::now();
        active.fill(Disk::Root)?;
        // A host with a full disk cannot change its hosts file either, and follows later.
        let moved = cluster.wait_active(&standby, epoch);
        active.empty(Disk::Root)?;
        moved?;
        cluster.assert_started_in_order(&standby, since)?;
        cluster.wait_role(&active, "standby")?;
        cluster.wait_ready()
    })
}

// B-09, K-1.
fn by_hand(cluster: &Cluster<'_>) -> Outcome {
    with_client(cluster, || {
        under_way(cluster);
        refused_on_standby(cluster)
    })
}

// B-42, on the files that the programs themselves go by.
fn checked(cluster: &Cluster<'_>) -> Outcome {
    let (active, _) = cluster.pair()?;
    let check = || -> Answer<String> {
        Ok(String::from_utf8(active.output(&["headship", "check"])?.stdout)?)
    };
    let page = check()?;
    for text in [
        "keeps its timelines on this host (LeveldbTimelineStore in `/var/lib/hadoop-yarn/timeline`)",
        "(`mapreduce.jobhistory.done-dir` is `file:/srv/shared/mr-history/done`)",
        "(`mapreduce.jobhistory.intermediate-done-dir` is `file:/srv/shared/mr-history/tmp`)",
        "(`livy.server.recovery.state-store.url` is `file:///srv/shared/livy`)",
    ] {
        assert!(page.contains(text), "{text:?} in {page}");
    }
    let file = "/etc/livy/conf/livy.conf";
    let text = active.read_file(file)?;
    let off = text.replace("livy.server.recovery.mode = recovery\n", "");
    active.write_file(file, &off)?;
    let page = check();
    active.write_file(file, &text)?;
    let page = page?;
    assert!(page.contains("Livy does not recover"), "{page}");
    Ok(())
}

/// Livys that the suite knows nothing of, with records and a port of their own.
const OTHER_LIVY: &str = "other-livy.service";
const OTHER_PORT: u16 = 8999;
const OTHER_STORE: &str = "other-livy";

// That the records are a witness: what `with_client` relies on.
fn two_livys(cluster: &Cluster<'_>) -> Outcome {
    let hosts = cluster.lab().headnodes();
    for host in &hosts {
        let unit = host.read_file("/usr/lib/systemd/system/livy.service")?;
        let started = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let (_, program) = started.and_then(|line| line.split_once(" -- ")).ok_or("no program")?;
        let unit = unit.lines().map(|line| match line.split_once('=') {
            Some(("Type", _)) => "Type=exec".to_owned(),
            Some(("ExecStart", _)) => format!("ExecStart={program}"),
            _ => line.to_owned(),
        });
        let unit = unit.collect::<Vec<_>>().join("\n").replace("/etc/livy/conf", "/etc/other-livy");
        host.write_file(&format!("/run/systemd/system/{OTHER_LIVY}"), &unit)?;
        let conf = host.read_file("/etc/livy/conf/livy.conf")?;
        let conf = conf
            .replace("/srv/shared/livy", &format!("/srv/shared/{OTHER_STORE}"))
            .replace("8998", &OTHER_PORT.to_string());
        host.write_file("/etc/other-livy/livy.conf", &conf)?;
        host.run(&["systemctl", "daemon-reload"])?;
        host.run(&["systemctl", "start", OTHER_LIVY])?;
    }
    let store = cluster.lab().place().shared_dir().join(OTHER_STORE);
    let mut taken = Vec::new();
    for host in &hosts {
        let address = format!("{}:{OTHER_PORT}", host.address());
        let batch = cluster.wait(&format!("{address} takes a batch"), SOON, || {
            livy::submit(&address, host.name(), ANSWER_LIMIT).ok().flatten()
        })?;
        taken.push(batch);
    }
    let faults = livy::faults(&store, &taken);
    for host in &hosts {
        host.run(&["systemctl", "stop", OTHER_LIVY])?;
    }
    assert_eq!(faults.len(), 2, "{faults:?}, of {taken:?}");
    Ok(())
}
