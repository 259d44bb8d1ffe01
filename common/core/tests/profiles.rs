//! Profiles: what each cluster type brings along, what is written over it, and that the whole can be written out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking that it failed")]

use std::collections::BTreeSet;

use headship_core::config::checked::{Driver, ProbeKind, Service, Starter};
use headship_core::config::{self, Config, Effective};
use headship_core::node::NodeName;

const TYPES: [&str; 5] = ["hadoop", "spark", "hbase", "kafka", "interactive-query"];

const CLUSTER: &str = r#"
cluster = "main"
failover_quorum.servers = ["zk0:2181", "zk1:2181", "zk2:2181"]
[[headnode]]
name = "hn0"
address = "10.0.0.10"
[[headnode]]
name = "hn1"
address = "fd00::11"
"#;

/// What a cluster can have of everything else.
const ALL_ELSE: &str = r#"
node = "hn1"
failover_quorum.tick_ms = 2000
[apache_quorum]
hbase = "/hbase-unsecure"
[hadoop]
conf = "/opt/hadoop/conf"
[follow]
alias = "active"
agent_command = ["/usr/bin/agent", "a 'quoted' \"word\"", "two\nlines"]
[timing]
preset = "tolerant"
dead_after_ms = 4000
fence_budget_ms = 70000
[health]
fall = 4
[[fence]]
name = "bmc"
method = "fence_agent"
agent = "fence_ipmilan"
parameters = { lanplus = true, cipher = 17 }
secrets_file = "/etc/headship/bmc.secrets"
node.hn0 = { ip = "10.0.1.10" }
node.hn1 = { ip = "10.0.1.11" }
[[fence]]
name = "ssh"
method = "ssh"
arguments = ["-i", "/etc/headship/fence.key"]
[[fence]]
name = "own"
method = "command"
command = ["/usr/local/sbin/fence"]
limit_ms = 10000
[[service]]
name = "address"
driver = "ocf"
agent = "heartbeat:IPaddr2"
parameters = { ip = "10.0.0.9", cidr_netmask = 24 }
monitor_interval_ms = 5000
[[service]]
name = "disk"
driver = "command"
start = ["/opt/disk", "up"]
stop = ["/opt/disk", "down"]
status = ["/opt/disk", "look"]
after = ["address"]
[[service]]
name = "notebook"
driver = "command"
start = ["/opt/notebook"]
restart.times = 2
[[service.probe]]
kind = "http"
address = "127.0.0.1:8888"
body = '"state": *"STARTED"'
[[service.probe]]
kind = "tcp"
address = "127.0.0.1:8889"
[[service]]
name = "old"
unit = "old.service"
enabled = false
"#;

fn effective(fragments: &[(&str, &str)]) -> Effective {
    let owned = |&(file, text): &(&str, &str)| (file.to_owned(), text.to_owned());
    let fragments: Vec<_> = fragments.iter().map(owned).collect();
    let effective = config::effective(&fragments, NodeName::try_from("hn0").unwrap());
    effective.unwrap_or_else(|faults| panic!("{faults}"))
}

fn load(fragments: &[(&str, &str)]) -> Config {
    effective(fragments).config
}

/// A cluster of this type, with more at the top and at the end.
fn cluster(of: &str, esp: bool, more: &str) -> Config {
    load(&[("main", &text(of, esp)), ("more", more)])
}

fn text(of: &str, esp: bool) -> String {
    format!("cluster_type = \"{of}\"\nesp = {esp}\n{CLUSTER}")
}

fn service<'a>(config: &'a Config, name: &str) -> &'a Service {
    let mut services = config.services.iter().chain(&config.pinned);
    services.find(|service| service.name == name).unwrap()
}

fn names(services: &[Service]) -> Vec<&str> {
    services.iter().map(|service| service.name.as_str()).collect()
}

fn unit(service: &Service) -> &str {
    match &service.driver {
        Driver::Systemd { unit } => unit,
        Driver::Command { .. } | Driver::Actions(_) => panic!("{service:?}"),
    }
}

/// Each probe, as it is said in the log.
fn asked(service: &Service) -> Vec<String> {
    service.probes.iter().map(|probe| probe.kind.to_string()).collect()
}

#[test]
fn each_cluster_type_has_the_services_of_the_matrix() {
    let all_but_livy = ["ambari-server", "timeline-server", "job-history"];
    for of in TYPES {
        let config = cluster(of, false, "");
        let expected = match of {
            "kafka" => all_but_livy.get(..1).unwrap().to_vec(),
            "spark" => [&all_but_livy[..], &["livy"]].concat(),
            _ => all_but_livy.to_vec(),
        };
        assert_eq!(names(&config.services), expected, "{of}");
        assert!(config.pinned.is_empty(), "{of}");
        for service in &config.services {
            let is_first = service.name == "ambari-server";
            assert_eq!(service.announce, is_first, "{service:?}");
            assert_eq!(service.started_by == Starter::MasterFc, is_first, "{service:?}");
            assert_eq!(service.after.contains("ambari-server"), !is_first, "{service:?}");
            assert!(!service.critical, "{service:?}");
        }
    }
    let spark = cluster("spark", false, "");
    let told = spark.services.iter().map(|it| (unit(it), asked(it).concat()));
    let expected = [
        ("ambari-server.service", "http probe of 127.0.0.1:8080/"),
        ("hadoop-yarn-timelineserver.service", "http probe of 127.0.0.1:8188/ws/v1/timeline"),
        (
            "hadoop-mapreduce-historyserver.service",
            "http probe of 127.0.0.1:19888/ws/v1/history/info",
        ),
        ("livy-server.service", "http probe of 127.0.0.1:8998/version"),
    ];
    let expected = expected.map(|(unit, probe)| (unit, probe.to_owned()));
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn with_esp_only_ambari_server_moves_and_the_others_stay_on_the_first_headnode() {
    for of in TYPES {
        let (moving, staying) = (cluster(of, false, ""), cluster(of, true, ""));
        assert_eq!(names(&staying.services), ["ambari-server"], "{of}");
        assert_eq!(staying.services.first(), moving.services.first(), "{of}");
        assert_eq!(names(&staying.pinned), names(moving.services.get(1..).unwrap()), "{of}");
        for service in &staying.pinned {
            assert_eq!(service.pinned.as_ref().unwrap().as_str(), "hn0");
            // It may ask for a ticket, and it may listen on its headnode's own name alone.
            let [probe] = &service.probes[..] else { panic!("{service:?}") };
            let ProbeKind::Tcp { address } = &probe.kind else { panic!("{probe:?}") };
            assert!(address.starts_with("10.0.0.10:"), "{address}");
        }
    }
}

#[test]
fn with_esp_a_service_moves_where_that_is_asked_for() {
    let livy = "[[service]]\nname = \"livy\"\npinned = \"\"\n";
    let config = cluster("spark", true, livy);
    assert_eq!(names(&config.services), ["ambari-server", "livy"]);
    assert_eq!(names(&config.pinned), ["timeline-server", "job-history"]);
    let livy = service(&config, "livy");
    assert!(livy.after.contains("ambari-server"));
    assert_eq!(asked(livy), ["tcp probe of 127.0.0.1:8998"]);
    let elsewhere = "[[service]]\nname = \"livy\"\npinned = \"hn1\"\n";
    let config = cluster("spark", true, elsewhere);
    let livy = service(&config, "livy");
    assert_eq!(livy.pinned.as_ref().unwrap().as_str(), "hn1");
    assert_eq!(asked(livy), ["tcp probe of [fd00::11]:8998"]);
}

#[test]
fn where_nodes_follow_a_moving_service_is_asked_at_the_alias() {
    let ats = |follow: &str, esp| {
        let config = cluster("hadoop", esp, follow);
        assert_eq!(asked(service(&config, "ambari-server")), ["http probe of 127.0.0.1:8080/"]);
        asked(service(&config, "timeline-server")).concat()
    };
    assert_eq!(ats("[follow]", false), "http probe of headnodehost:8188/ws/v1/timeline");
    let named = "[follow]\nalias = \"active\"";
    assert_eq!(ats(named, false), "http probe of active:8188/ws/v1/timeline");
    assert_eq!(ats(named, true), "tcp probe of 10.0.0.10:8188");
}

#[test]
fn each_piece_of_a_profile_can_be_written_over() {
    let livy = r#"
        [[service]]
        name = "livy"
        unit = "livy2.service"
        restart = { times = 7 }
        probe = [{ kind = "tcp", address = "127.0.0.1:8999" }]
    "#;
    let mut expected = cluster("spark", false, "");
    let config = cluster("spark", false, livy);
    let livy = expected.services.last_mut().unwrap();
    livy.driver = Driver::Systemd { unit: "livy2.service".to_owned() };
    livy.restart.times = 7;
    livy.probes.first_mut().unwrap().kind = ProbeKind::Tcp { address: "127.0.0.1:8999".to_owned() };
    assert_eq!(config, expected);
    let own = "[[service]]\nname = \"livy\"\ndriver = \"command\"\nstart = [\"/bin/livy\"]\n";
    let config = cluster("spark", false, own);
    let start = vec!["/bin/livy".to_owned()];
    assert_eq!(service(&config, "livy").driver, Driver::Command { start });
    // Whatever the order of the files: the profile lies beneath all of them.
    let late = format!("cluster_type = \"spark\"\n{CLUSTER}");
    assert_eq!(load(&[("a", own), ("b", &late)]), config);
}

#[test]
fn what_is_left_out_is_no_service_and_nobody_waits_for_it() {
    let without = "[[service]]\nname = \"livy\"\nenabled = false\n";
    assert_eq!(cluster("spark", false, without), cluster("hadoop", false, ""));
    let instead = "[[service]]\nname = \"ambari-server\"\nenabled = false\n\
        [[service]]\nname = \"manager\"\nunit = \"ambari-server.service\"\nstarted_by = \"master-fc\"\n";
    let config = cluster("hbase", false, instead);
    assert_eq!(names(&config.services), ["manager", "timeline-server", "job-history"]);
    assert!(config.services.iter().all(|service| service.after.is_empty()));
    let back = "[[service]]\nname = \"livy\"\nenabled = true\n";
    let config = load(&[("a", &text("spark", false)), ("b", without), ("c", back)]);
    assert_eq!(config, cluster("spark", false, ""));
}

/// All clusters that are looked at as a whole.
fn all() -> Vec<Effective> {
    let over = "[[service]]\nname = \"job-history\"\npinned = \"\"\ncritical = true\n\
        [[service]]\nname = \"timeline-server\"\nenabled = false\n";
    let mut all = Vec::new();
    for of in TYPES {
        for esp in [false, true] {
            all.push(effective(&[("main", &text(of, esp))]));
        }
    }
    for esp in [false, true] {
        let text = text("spark", esp);
        all.push(effective(&[("main", &text), ("over", over)]));
        all.push(effective(&[("main", &text), ("more", ALL_ELSE), ("over", over)]));
    }
    // Heartbeats so seldom that nobody is fenced early: what follows from that cannot be written.
    let seldom = "[health]\ninterval_ms = 10000\nsilent_after_ms = 30000\n\
        [follow]\nagent_unit = \"ambari-agent.service\"\n";
    all.push(effective(&[("main", &text("kafka", false)), ("seldom", seldom)]));
    all
}

#[test]
fn what_is_written_out_is_the_same_configuration_without_the_profile() {
    for effective in all() {
        let text = effective.to_toml();
        assert!(!text.contains("\ncluster_type") && !text.contains("\nesp"), "{text}");
        assert_eq!(load(&[("again", &text)]), effective.config, "{text}");
    }
}

#[test]
fn what_is_written_out_is_the_same_as_json() {
    for effective in all() {
        // What stands aside counts in JSON.
        let text = effective.to_toml();
        let text: Vec<&str> =
            text.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).collect();
        let text: Vec<&str> = text.into_iter().filter(|line| !line.starts_with(' ')).collect();
        let toml: toml::Table = toml::from_str(&text.join("\n")).unwrap();
        assert_eq!(serde_json::to_value(toml).unwrap(), effective.to_json());
    }
}

#[test]
fn every_key_is_written_out() {
    let ask = |table: &str| {
        let node = NodeName::try_from("hn0").unwrap();
        let text = format!("{table}zzz = 1\n");
        let faults = config::load(&[("f".to_owned(), text)], node).unwrap_err().to_string();
        let line =
            faults.lines().find(|line| line.contains("unknown key `zzz`")).unwrap().to_owned();
        line.split('`').skip(3).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    };
    // What is made of them is written out, in their place.
    let resolved = ["cluster_type", "esp", "preset"];
    let all: String = all().iter().map(Effective::to_toml).collect();
    let first =
        |line: &str| line.trim_start_matches('#').split([' ', '.']).next().map(str::to_owned);
    let mut written: BTreeSet<String> = all.lines().filter_map(first).collect();
    written.extend(
        all.lines()
            .filter_map(|line| Some(line.strip_prefix("restart.")?.split(' ').next()?.to_owned())),
    );
    let tables = all.lines().filter_map(|line| line.trim_matches(['[', ']']).rsplit('.').next());
    written.extend(tables.map(str::to_owned));
    for table in [
        "",
        "[failover_quorum]\n",
        "[apache_quorum]\n",
        "[hadoop]\n",
        "[[headnode]]\n",
        "[timing]\n",
        "[health]\n",
        "[follow]\n",
        "[[fence]]\n",
        "[[service]]\n",
        "[[service]]\n[service.restart]\n",
        "[[service]]\n[[service.probe]]\n",
    ] {
        for key in ask(table) {
            let is_resolved = resolved.contains(&key.as_str());
            assert!(is_resolved || written.contains(&key), "`{key}` of {table:?}: {written:?}");
        }
    }
}

#[test]
fn each_value_is_written_out_with_where_it_comes_from() {
    let over = "# Ours.\n[[service]]\nname = \"livy\"\nenabled = false\n[[service]]\nname = \"timeline-server\"\n\
        critical = true\n[timing]\npreset = \"fast\"\nkill_ms = 700\n[failover_quorum]\ntick_ms = 100\n\
        [[fence]]\nname = \"ssh\"\nmethod = \"ssh\"\n";
    let effective =
        effective(&[("headship.toml", &text("spark", false)), ("conf.d/10.toml", over)]);
    let said = effective.to_toml();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/effective.toml");
    let expected = include_str!("effective.toml");
    if said != expected && std::env::var_os("HEADSHIP_REWRITE").is_some() {
        rewrite(path, &said);
    }
    assert_eq!(said, expected, "HEADSHIP_REWRITE=1 accepts it");
}

#[expect(clippy::disallowed_methods, reason = "a test may rewrite its own expectations")]
fn rewrite(path: &str, text: &str) {
    std::fs::write(path, text).unwrap();
}
