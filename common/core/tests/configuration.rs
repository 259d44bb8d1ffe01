//! What good configurations mean: defaults, presets, fragments, and the sample that is installed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking that it failed")]

use std::time::Duration;

use headship_core::ambari::{Body, Component, Credentials, Server};
use headship_core::config::checked::{Actions, Driver, FenceKind, Programs, Starter, Timing};
use headship_core::config::{self, Config};
use headship_core::node::NodeName;

const SAMPLE: &str = include_str!("../../../packaging/root/etc/headship/headship.toml.sample");

fn load(fragments: &[(&str, &str)]) -> Config {
    let owned = |&(file, text): &(&str, &str)| (file.to_owned(), text.to_owned());
    let fragments: Vec<_> = fragments.iter().map(owned).collect();
    let config = config::load(&fragments, NodeName::try_from("hn0").unwrap());
    config.unwrap_or_else(|faults| panic!("{faults}"))
}

/// The sample with every default written out: `#key = …` without the `#`.
fn written_out() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
        Some(_) | None => format!("{line}\n"),
    };
    SAMPLE.lines().map(line).collect()
}

#[test]
fn the_sample_written_out_says_exactly_the_defaults() {
    let defaults = load(&[("sample", SAMPLE)]);
    let spelt = written_out();
    assert!(spelt.contains("\nlease_ms = 6000") && spelt.contains("\npreset = \"normal\""));
    // What cannot be a default beside the sample's own choice of driver, and of what moves.
    let spelt = spelt.replace("\nstart = [\"/usr/bin/program\", \"argument\"]\n", "\n");
    let spelt = spelt.replace("agent_command = [\"/usr/bin/agent\", \"argument\"]\n", "");
    let spelt = spelt.replace("pinned = \"hn0\"\n", "");
    let spelt = spelt.replace("body = '\"state\": *\"STARTED\"'\n", "");
    assert_eq!(load(&[("sample", &spelt)]), defaults);
}

#[test]
fn what_the_sample_says_can_be_left_out_can() {
    const OPTIONAL: [&str; 3] = ["[apache_quorum]", "[follow]", "[[service.probe]]"];
    let (head, _) = SAMPLE.split_once("\n\n").unwrap();
    let mut left_out = false;
    let kept = SAMPLE.lines().filter(|line| {
        if line.starts_with('[') {
            left_out = OPTIONAL.contains(line);
        }
        !left_out
    });
    let text: String = kept.map(|line| format!("{line}\n")).collect();
    let config = load(&[("sample", &text)]);
    assert!(config.apache_quorum.is_none() && config.follow.is_none());
    assert!(config.services.iter().all(|service| service.probes.is_empty()));
    for table in OPTIONAL {
        assert!(head.contains(table), "{table} is left out without a word at the top");
    }
    // They stand behind a `#` though they have no default.
    for example in ["node", "agent_command", "start", "pinned"] {
        assert!(head.contains(&format!("`{example}`")), "{example}");
    }
}

#[test]
fn the_sample_names_every_key() {
    // An unknown key is told together with all known ones: ask in every table.
    let ask = |table: &str| {
        let text = format!("{table}zzz = 1\n");
        let node = NodeName::try_from("hn0").unwrap();
        let faults = config::load(&[("f".to_owned(), text)], node).unwrap_err().to_string();
        let line = faults.lines().find(|line| line.contains("unknown key `zzz`")).unwrap();
        let known: Vec<String> = line.split('`').skip(3).step_by(2).map(str::to_owned).collect();
        assert!(!known.is_empty(), "{line}");
        known
    };
    let tables = [
        "",
        "[failover_quorum]\n",
        "[[headnode]]\n",
        "[timing]\n",
        "[follow]\n",
        "[ambari]\n",
        "[[fence]]\n",
        "[health]\n",
        "[[service]]\n",
        "[[service]]\n[service.restart]\n",
        "[[service]]\n[[service.probe]]\n",
    ];
    for table in tables {
        for key in ask(table) {
            let named = written_out().lines().any(|line| {
                line.starts_with(&format!("{key} = "))
                    || line.contains(&format!("[{key}]"))
                    || line.contains(&format!(".{key}]"))
                    || line.contains(&format!(" {key} = "))
            });
            assert!(named, "`{key}` of {table:?} is not in the sample");
        }
    }
}

#[test]
fn without_a_fence_table_nobody_is_fenced_and_the_samples_example_would_do() {
    assert!(load(&[("sample", SAMPLE)]).fencing.methods.is_empty());
    let example = SAMPLE.lines().skip_while(|line| *line != "# [[fence]]");
    let example = example.take_while(|line| line.starts_with('#'));
    let example: String =
        example.map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let fencing = load(&[("sample", SAMPLE), ("10", &example)]).fencing;
    let names: Vec<&str> = fencing.methods.iter().map(|method| method.name.as_str()).collect();
    assert_eq!(names, ["ipmi", "ssh", "own"]);
    assert_eq!(fencing.budget, Duration::from_secs(60));
    assert_eq!(fencing.dead_after, Duration::from_secs(1));
    let FenceKind::Agent { program, secrets_file, nodes } = &fencing.methods[0].kind else {
        panic!("{fencing:?}")
    };
    assert_eq!(program, "/usr/sbin/fence_ipmilan");
    assert_eq!(secrets_file.as_deref(), Some("/etc/headship/ipmi.secrets"));
    let told = &nodes[&NodeName::try_from("hn1").unwrap()];
    assert_eq!((told["ip"].as_str(), told["lanplus"].as_str()), ("10.0.1.11", "true"));
    let node = |name| NodeName::try_from(name).unwrap();
    assert!(fencing.methods.iter().all(|method| method.fences(&node("hn0"))));
    assert!(!fencing.methods[0].fences(&node("hn2")) && fencing.methods[1].fences(&node("hn2")));
}

#[test]
fn what_a_later_fragment_says_of_a_fence_method_overrides_single_keys() {
    let fence = "[[fence]]\nname = \"a\"\nmethod = \"fence_agent\"\nagent = \"fence_apc\"\nparameters = { ip = \"10.0.1.1\" }\nnode = { hn0 = { plug = 1 } }\n";
    let later = "[[fence]]\nname = \"a\"\nlimit_ms = 5000\nnode = { hn1 = { plug = \"2\" } }\n";
    let fencing = load(&[("sample", SAMPLE), ("10", fence), ("20", later)]).fencing;
    assert_eq!(fencing.methods.len(), 1);
    assert_eq!(fencing.methods[0].limit, Duration::from_secs(5));
    let FenceKind::Agent { nodes, .. } = &fencing.methods[0].kind else { panic!("{fencing:?}") };
    assert_eq!(nodes.len(), 2);
}

#[test]
fn the_holder_counts_as_dead_after_two_renewals_or_a_heartbeat() {
    let dead_after = |text: &str| load(&[("sample", SAMPLE), ("more", text)]).fencing.dead_after;
    let fast = "failover_quorum.tick_ms = 100\n[timing]\npreset = \"fast\"\n";
    assert_eq!(dead_after(fast), Duration::from_secs(1));
    let tolerant = "failover_quorum.tick_ms = 2000\n[timing]\npreset = \"tolerant\"\n";
    assert_eq!(dead_after(tolerant), Duration::from_secs(2));
    assert_eq!(dead_after("[health]\ninterval_ms = 2500\n"), Duration::from_millis(2500));
    assert_eq!(dead_after("[timing]\ndead_after_ms = 3000\n"), Duration::from_secs(3));
}

fn preset(name: &str, tick_ms: u64) -> Timing {
    let text = format!("[timing]\npreset = \"{name}\"\n[failover_quorum]\ntick_ms = {tick_ms}\n");
    load(&[("sample", SAMPLE), ("preset", &text)]).timing
}

#[test]
fn presets_fit_the_ticks_they_are_made_for() {
    let figures = |timing: &Timing| {
        [timing.lease, timing.session, timing.renew, timing.kill].map(|span| span.as_millis())
    };
    assert_eq!(figures(&preset("fast", 100)), [2000, 1000, 200, 500]);
    assert_eq!(figures(&preset("normal", 500)), [6000, 4000, 500, 2000]);
    assert_eq!(figures(&preset("tolerant", 2000)), [16_000, 10_000, 1000, 2000]);
}

#[test]
fn the_kill_time_of_normal_covers_a_watchdog_of_one_second_and_that_of_fast_does_not() {
    let needed = Timing::kill_needed(Duration::from_secs(1));
    assert!(preset("normal", 500).kill >= needed);
    assert!(preset("tolerant", 2000).kill >= needed);
    assert!(preset("fast", 100).kill < needed);
}

#[test]
fn later_fragments_override_single_keys_and_add_to_the_table_of_the_same_name() {
    let config = load(&[
        ("sample", SAMPLE),
        (
            "10",
            "node = \"hn1\"\n[timing]\nlease_ms = 8000\n[[headnode]]\nname = \"hn1\"\naddress = \"10.0.0.12\"\n",
        ),
        (
            "20",
            "[[service]]\nname = \"livy\"\ndriver = \"command\"\nstart = [\"/bin/livy\"]\nafter = [\"jobhistory\"]\n",
        ),
        ("30", "[timing]\nlease_ms = 9000\n[[service]]\nname = \"jobhistory\"\ncritical = true\n"),
    ]);
    assert_eq!(config.node.as_str(), "hn1");
    assert_eq!(config.timing.lease, Duration::from_secs(9));
    assert_eq!(config.timing.session, Duration::from_secs(4));
    assert_eq!(config.headnodes[1].address, "10.0.0.12");
    let names: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["ambari-server", "jobhistory", "livy"]);
    assert!(config.services[1].critical);
    assert_eq!(
        config.services[1].driver,
        Driver::Systemd { unit: "mr-jobhistory.service".to_owned() }
    );
    assert_eq!(config.services[2].driver, Driver::Command { start: vec!["/bin/livy".to_owned()] });
}

#[test]
fn services_are_ordered_by_after_whatever_the_order_of_the_file() {
    let config = load(&[
        ("sample", SAMPLE),
        (
            "10",
            "[[service]]\nname = \"z\"\nunit = \"z.service\"\nafter = [\"y\", \"jobhistory\"]\n[[service]]\nname = \"y\"\nunit = \"y.service\"\n",
        ),
    ]);
    let names: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["ambari-server", "jobhistory", "y", "z"]);
    assert_eq!(config.services[0].started_by, Starter::MasterFc);
    assert!(config.services[0].announce && !config.services[1].announce);
}

#[test]
fn the_first_restart_is_immediate() {
    let budget = load(&[("sample", SAMPLE)]).services.remove(0).restart;
    assert_eq!(budget.times, 3);
    assert_eq!(budget.within, Duration::from_secs(600));
    assert_eq!(budget.back_off, [0, 5, 15, 45].map(Duration::from_secs));
}

#[test]
fn a_file_that_was_cut_off_or_garbled_anywhere_is_answered_with_words() {
    let spelt = written_out();
    let node = NodeName::try_from("hn0").unwrap();
    let try_it = |text: String| match config::load(&[("f".to_owned(), text)], node.clone()) {
        Ok(config) => assert!(config.headnodes.len() >= 2),
        Err(faults) => assert!(faults.0.iter().all(|fault| !fault.text.is_empty())),
    };
    for at in (0..spelt.len()).step_by(23).filter(|&at| spelt.is_char_boundary(at)) {
        let (before, after) = spelt.split_at(at);
        try_it(before.to_owned());
        try_it(format!("{before}[{after}"));
        try_it(format!("{before}={after}"));
        try_it(format!("{before}\n5 = {{ a = [1979-05-27, 1e400] }}\n{after}"));
    }
}

#[test]
fn services_of_actions_have_programs_or_an_agent() {
    let config = load(&[
        ("sample", SAMPLE),
        (
            "10",
            r#"
            [[service]]
            name = "address"
            driver = "ocf"
            agent = "ocf:heartbeat:IPaddr2"
            parameters = { ip = "10.0.0.9", cidr_netmask = 24, run_arping = true }
            after = ["jobhistory"]
            [[service]]
            name = "disk"
            driver = "command"
            start = ["/opt/disk", "up"]
            stop = ["/opt/disk", "down"]
            status = ["/opt/disk", "look"]
            monitor_interval_ms = 2000
            after = ["address"]
            "#,
        ),
    ]);
    let parameters = [("cidr_netmask", "24"), ("ip", "10.0.0.9"), ("run_arping", "true")];
    let parameters =
        parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let [root, provider, agent] = ["/usr/lib/ocf", "heartbeat", "IPaddr2"].map(str::to_owned);
    assert_eq!(
        config.services[2].driver,
        Driver::Actions(Actions {
            programs: Programs::Ocf { root, provider, agent, parameters },
            interval: Duration::from_secs(10),
            limit: Duration::from_secs(20),
        })
    );
    let program = |word: &str| vec!["/opt/disk".to_owned(), word.to_owned()];
    let (start, stop, status) = (program("up"), program("down"), program("look"));
    assert_eq!(
        config.services[3].driver,
        Driver::Actions(Actions {
            programs: Programs::Command { start, stop, status },
            interval: Duration::from_secs(2),
            limit: Duration::from_secs(20),
        })
    );
}

#[test]
fn services_are_components_of_ambari_known_by_a_unit_or_a_process() {
    let ambari = r#"
        [ambari]
        url = "https://headnodehost:8443/"
        cluster = "prod"
        hosts = { hn1 = "hn1.example.com" }
        credentials_file = "/etc/headship/ambari.credentials"
        ca_file = "/etc/headship/ambari-ca.pem"
        [[service]]
        name = "jobhistory"
        driver = "ambari"
        component = "HISTORYSERVER"
        unit = "mr-jobhistory.service"
        [[service]]
        name = "timeline"
        driver = "ambari"
        component = "APP_TIMELINE_SERVER"
        process = "org.apache.hadoop.yarn.server.timeline.Server"
        monitor_interval_ms = 3000
        "#;
    let config = load(&[("sample", SAMPLE), ("10", ambari)]);
    let actions = |place: usize| match &config.services[place].driver {
        Driver::Actions(actions) => actions.clone(),
        Driver::Systemd { .. } | Driver::Command { .. } => panic!("{config:?}"),
    };
    let server = Server {
        url: "https://headnodehost:8443".to_owned(),
        cluster: "prod".to_owned(),
        credentials: Credentials::File("/etc/headship/ambari.credentials".to_owned()),
        ca_file: Some("/etc/headship/ambari-ca.pem".to_owned()),
        limit_ms: 15_000,
        settle_ms: 25_000,
    };
    let component = Component {
        server,
        name: "HISTORYSERVER".to_owned(),
        host: "hn0".to_owned(),
        others: vec!["hn1.example.com".to_owned()],
        body: Body::Unit("mr-jobhistory.service".to_owned()),
    };
    assert_eq!(actions(1).programs, Programs::Ambari(Box::new(component)));
    assert_eq!(config.services[1].driver.gated_unit(), Some("mr-jobhistory.service"));
    assert_eq!(actions(1).interval, Duration::from_secs(1));
    assert_eq!(actions(2).interval, Duration::from_secs(3));
    assert_eq!(config.services[2].driver.gated_unit(), None);
}
