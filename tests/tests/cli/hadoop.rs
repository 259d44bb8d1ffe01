//! What `headship status` shows of the Apache quorum, whose znodes the tests write byte by byte, as Hadoop does; and what
//! `headship check` says of Hadoop's files.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use headship_tests::ensemble::{Ensemble, FAST_TICK};
use headship_tests::lab::service_log::{What, now};
use headship_tests::lab::{Preset, wait_until};
use headship_tests::plain::{Plain, services};
use headship_tests::programs::programs;

use crate::lab::{LIMIT, Lab, code, one_more_up, stdout};

/// A client of ZooKeeper that can write any bytes.
struct Scribe(TcpStream);

impl Scribe {
    fn new(server: &str) -> Self {
        let mut scribe = Self(TcpStream::connect(server).unwrap());
        // Protocol 0, nothing seen, a session of 10 s, none of before, and no password of it.
        let mut hello = Vec::new();
        for part in [&0_u32.to_be_bytes()[..], &[0; 8], &10_000_u32.to_be_bytes(), &[0; 8]] {
            hello.extend_from_slice(part);
        }
        hello.extend(buffer(&[0; 16]));
        scribe.ask(&hello);
        scribe
    }

    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.0.write_all(&buffer(request)).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut reply).unwrap();
        reply
    }

    /// Creates a znode that stays, for everybody.
    fn create(&mut self, path: &str, data: &[u8]) {
        let mut request = [1_u32.to_be_bytes(), 1_u32.to_be_bytes()].concat();
        request.extend(buffer(path.as_bytes()));
        request.extend(buffer(data));
        request.extend([1_u32.to_be_bytes(), 31_u32.to_be_bytes()].concat());
        request
            .extend([buffer(b"world"), buffer(b"anyone"), 0_u32.to_be_bytes().to_vec()].concat());
        let reply = self.ask(&request);
        assert_eq!(reply[12..16], [0; 4], "{path}: {reply:?}");
    }
}

fn buffer(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// The records of three elections.
fn elect(server: &str) {
    let mut scribe = Scribe::new(server);
    let name_node =
        b"\x0a\x09mycluster\x12\x03nn2\x1a\x0bhn1.example\x20\xd4\x3e\x28\xd3\x3e".as_slice();
    let hbase = b"\xff\x00\x00\x00\x14master:16000\x01\x02\x03\x04\x05\x06\x07\x08PBUF\
        \x0a\x0a\x0a\x03zk0\x10\x80\x7d\x18\x01\x10\x00\x18\x8a\x7d"
        .as_slice();
    for (path, data) in [
        ("/hadoop-ha", &[][..]),
        ("/hadoop-ha/mycluster", &[]),
        ("/hadoop-ha/mycluster/ActiveStandbyElectorLock", name_node),
        ("/hadoop-ha/mycluster/ActiveBreadCrumb", name_node),
        ("/yarn-leader-election", &[]),
        ("/yarn-leader-election/yarn1", &[]),
        ("/yarn-leader-election/yarn1/ActiveBreadCrumb", b"\x0a\x05yarn1\x12\x03rm1"),
        ("/hbase", &[]),
        ("/hbase/master", hbase),
        ("/hbase/backup-masters", &[]),
        ("/hbase/backup-masters/zk1,16000,1690000000000", &[]),
    ] {
        scribe.create(path, data);
    }
}

/// How many znodes there are.
fn count(server: &str) -> String {
    told(server, "Node count")
}

/// The line of what a server says of itself that begins like this.
fn told(server: &str, line: &str) -> String {
    let said = answer(server, "srvr");
    said.lines().find(|it| it.starts_with(line)).unwrap().to_owned()
}

/// What a server answers to a four-letter word.
fn answer(server: &str, word: &str) -> String {
    let mut connection = TcpStream::connect(server).unwrap();
    connection.write_all(word.as_bytes()).unwrap();
    let mut said = String::new();
    connection.read_to_string(&mut said).unwrap();
    said
}

#[tokio::test]
async fn status_shows_who_is_elected_in_the_apache_quorum_and_writes_nothing_there() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    let page = stdout(&lab.run(&["status"]).await);
    assert!(!page.contains("APACHE"), "{page}");
    assert!(lab.json(&["status", "--json"]).await.get("apache_quorum").is_none());

    // The same servers for both; nobody was elected yet.
    lab.configure("tick_ms = 100\nsync_limit = 5\n[apache_quorum]\n");
    let page = stdout(&lab.run(&["status"]).await);
    assert!(page.contains("\nApache quorum   nothing is elected there\n"), "{page}");

    let server = lab.servers()[0].clone();
    elect(&server);
    let before = count(&server);
    let status = lab.run(&["status"]).await;
    // Nobody renews in this cluster, and nothing else counts.
    assert_eq!(code(&status), 11, "{status:?}");
    let page = stdout(&status);
    for row in [
        "NameNode mycluster     nn2 on hn1.example  its records tell of no standby\n",
        "ResourceManager yarn1  nobody              rm1 was last, its records tell of no standby\n",
        "HBase Master           zk0                 zk1 (standby)\n",
    ] {
        assert!(page.contains(row), "{row} in {page}");
    }
    let json = lab.json(&["status", "--json"]).await;
    let seen = &json["apache_quorum"]["components"];
    assert_eq!(seen[0]["component"], "name-node");
    assert_eq!(
        (&seen[0]["active"]["host"], &seen[0]["active"]["port"]),
        (&"hn1.example".into(), &8020.into())
    );
    assert_eq!((&seen[1]["active"], &seen[1]["last"]["id"]), (&().into(), &"rm1".into()));
    assert_eq!(seen[2]["standbys"][0]["host"], "zk1");
    assert_eq!(count(&server), before, "it only looks");
}

#[tokio::test]
async fn an_apache_quorum_that_is_away_costs_status_its_limit_at_most_and_changes_no_exit_code() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    let renewals = lab.renew().await;
    lab.healthy_status().await;
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let text =
        format!("tick_ms = 100\nsync_limit = 5\n[apache_quorum]\nservers = [\"{address}\"]\n");
    lab.configure(&text);
    let begin = Instant::now();
    let status = lab.healthy_status().await;
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let page = stdout(&status);
    assert!(page.contains(&format!("Apache quorum   no answer from {address}: ")), "{page}");
    let json = lab.json(&["status", "--json"]).await;
    assert!(json["apache_quorum"]["why"].as_str().unwrap().contains("no answer"), "{json}");
    renewals.abort();
}

/// B-13: of two quorums one decides who is active, and the other one is only looked at, by `status` alone.
#[tokio::test]
async fn the_apache_quorum_away_moves_nobody_and_the_failover_quorum_away_touches_nothing_there() {
    let _up = one_more_up().await;
    let mut apache = Ensemble::start(FAST_TICK).unwrap();
    elect(&apache.servers()[0]);
    let more = format!("[apache_quorum]\nservers = {:?}\n", apache.servers());
    let mut cluster = Plain::start_with(&programs().unwrap(), Preset::Normal, &more).unwrap();
    let status = |cluster: &Plain| {
        let output = cluster.hosts()[0].headship(&["status"]).output().unwrap();
        (code(&output), stdout(&output))
    };
    let elected = "NameNode mycluster     nn2 on hn1.example";
    let is_well = |cluster: &Plain, seen: &str| {
        let (code, page) = status(cluster);
        code == 0 && page.contains(seen)
    };
    wait_until("all is well", LIMIT, || is_well(&cluster, elected)).unwrap();
    let (before, active) = held(&cluster);

    (0..3).for_each(|server| apache.kill(server).unwrap());
    let away = now();
    let renewed = |cluster: &Plain| {
        let host = cluster.host(active).unwrap();
        host.deadline().is_some_and(|deadline| deadline > away + 2 * LEASE)
    };
    wait_until("the active goes on for longer than its lease", LIMIT, || renewed(&cluster))
        .unwrap();
    let (exit, page) = status(&cluster);
    assert!(exit == 0 && page.contains("Apache quorum   no answer from"), "{page}");
    assert!(page.contains("is ready to take over.\n"), "{page}");
    assert_eq!(held(&cluster), (before, active));
    let log = cluster.service_log().unwrap();
    let moved = log.events().iter().find(|event| event.at > away && event.what != What::Alive);
    assert_eq!(moved, None, "a service was started or stopped");
    (0..3).for_each(|server| apache.launch(server).unwrap());
    apache.wait_serving(3).unwrap();
    wait_until("what is elected there is seen again", LIMIT, || is_well(&cluster, elected))
        .unwrap();

    // Once no session is left, each transaction is somebody's who should not be there.
    let servers = apache.servers();
    let zxids = || servers.iter().map(|server| told(server, "Zxid")).collect::<Vec<_>>();
    let nobody = |server: &String| !answer(server, "dump").lines().any(|it| it.starts_with("\t0x"));
    wait_until("no session is left, and all servers are as far", LIMIT, || {
        let zxids = zxids();
        servers.iter().all(nobody) && zxids.iter().all(|zxid| *zxid == zxids[0])
    })
    .unwrap();
    let zxids_before = zxids();
    let (lost, host) = (now(), cluster.host(active).unwrap().name());
    (0..3).for_each(|server| cluster.ensemble().kill(server).unwrap());
    wait_until("every service has stopped by D", LIMIT, || {
        let log = cluster.service_log().unwrap();
        services().iter().all(|service| log.first(host, service, What::Stop, lost).is_some())
    })
    .unwrap();
    (0..3).for_each(|server| cluster.ensemble().launch(server).unwrap());
    cluster.ensemble().wait_serving(3).unwrap();
    let returned = now();
    wait_until("somebody serves again", LIMIT, || {
        let log = cluster.service_log().unwrap();
        cluster.hosts().iter().any(|host| {
            let served = |it: &&str| log.first(host.name(), it, What::Ready, returned).is_some();
            services().iter().all(served)
        })
    })
    .unwrap();
    assert_eq!(zxids(), zxids_before, "nobody even opened a session there");
    assert!(cluster.overlaps().unwrap().is_empty());
}

/// The lease of the preset `normal`, in nanoseconds.
const LEASE: u64 = 6_000_000_000;

/// The epoch, and who holds office.
fn held(cluster: &Plain) -> (u64, &'static str) {
    let output = cluster.hosts()[0].headship(&["active", "--json"]).output().unwrap();
    let active: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = active["active"].as_str().unwrap();
    (active["epoch"].as_u64().unwrap(), cluster.host(name).unwrap().name())
}

#[tokio::test]
async fn check_says_what_hadoops_services_keep_on_this_headnode_alone() {
    let lab = Lab::start().await;
    let folder = tempfile::tempdir().unwrap();
    let site = "<configuration><property><name>yarn.timeline-service.enabled</name><value>true</value></property>\
        <property><name>yarn.timeline-service.leveldb-timeline-store.path</name><value>/hadoop/timeline</value></property></configuration>";
    fs::write(folder.path().join("yarn-site.xml"), site).unwrap();
    fs::write(folder.path().join("mapred-site.xml"), "<html>").unwrap();
    lab.configure(&format!(
        "tick_ms = 100\nsync_limit = 5\n[hadoop]\nconf = {:?}\n",
        folder.path()
    ));
    let page = stdout(&lab.run(&["check"]).await);
    let told = page.split_once("what services keep\n").unwrap().1;
    for text in [
        "warning  the Application Timeline Server keeps its timelines on this host (LeveldbTimelineStore in `/hadoop/timeline`)",
        "mapred-site.xml` cannot be read: ",
        "advice   not checked, as there is no ",
    ] {
        assert!(told.contains(text), "{text:?} in {page}");
    }
    let json = lab.json(&["check", "--json"]).await;
    let findings = json["findings"].as_array().unwrap();
    assert!(findings.iter().any(|it| it["area"] == "state" && it["level"] == "warning"));
}
