//! No input of another program's makes ours panic, hang, lose what is not theirs, or say something on two lines.

#![expect(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use headship_core::actions::Recipe;
use headship_core::config::{self, Effective, Place};
use headship_core::epoch::Epoch;
use headship_core::fencing::{End, Next, Run, Victim, agent, ssh};
use headship_core::hadoop;
use headship_core::hosts_file::{current, patch, rewrite};
use headship_core::lease::{Closed, Permit, gate};
use headship_core::node::NodeName;
use headship_core::record::{self, Key};
use headship_core::time::Time;
use headship_tests::hostile::{RECORDS, spoiled, try_all};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq};
use proptest::strategy::Union;
use proptest::test_runner::TestCaseResult;
use serde::Serialize;
use serde::de::DeserializeOwned;

const SAMPLE: &str = include_str!("../../packaging/root/etc/headship/headship.toml.sample");

/// What the sample only has in comments.
const MORE: &str = r#"
[[fence]]
name = "ipmi"
method = "fence_agent"
agent = "fence_ipmilan"
parameters = { lanplus = true, port = 623 }
secrets_file = "/etc/headship/ipmi.secrets"
node.hn0 = { ip = "10.0.1.10" }
node.hn1 = { ip = "10.0.1.11" }
limit_ms = 20000

[[fence]]
name = "ssh"
method = "ssh"
arguments = ["-i", "/etc/headship/fence.key"]

[[service]]
name = "address"
driver = "ocf"
agent = "heartbeat:IPaddr2"
parameters = { ip = "10.0.0.9", cidr_netmask = 24 }
restart = { times = 3, within_s = 600, back_off_s = [0, 5] }

[[service]]
name = "own"
driver = "command"
start = ["/usr/local/sbin/own", "up"]
stop = ["/usr/local/sbin/own", "down"]
status = ["/usr/local/sbin/own", "look"]

[[service.probe]]
kind = "http"
address = "127.0.0.1:8998"
body = '"state": *"STARTED"'
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn node(name: &str) -> NodeName {
    NodeName::try_from(name).unwrap()
}

/// One line, and nothing in it that a terminal would obey.
fn is_plain(said: &str) -> bool {
    !said.is_empty() && !said.contains(|c: char| c.is_control() && c != '\t')
}

#[test]
fn a_configuration_is_loaded_or_each_fault_is_said_in_one_line_at_a_place_that_is_there() {
    let commented = |line: &str| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n";
    let spelt_out: String = SAMPLE.lines().map(commented).collect();
    let whole = format!("{SAMPLE}{MORE}");
    let profiled = format!("cluster_type = \"spark\"\nesp = true\n{whole}");
    let examples = [whole.as_str(), &profiled, &spelt_out, MORE, SAMPLE];
    try_all(file!(), &spoiled(&examples), |bytes| {
        let text = text(&bytes);
        let fragments = [("headship.toml".to_owned(), text.clone())];
        let faults = match config::effective(&fragments, node("hn0")) {
            Ok(effective) => return comes_back_as_written_out(&effective),
            Err(faults) => faults,
        };
        prop_assert!(!faults.is_empty());
        for fault in faults.0 {
            let lines = text.lines().count() + 1;
            let is_there = match &fault.place {
                Place::Line { file, line } => file == "headship.toml" && (1..=lines).contains(line),
                Place::Profile(_) => text.contains("cluster_type"),
            };
            prop_assert!(is_there, "{fault}");
            prop_assert!(is_plain(&fault.to_string()), "{:?}", fault.to_string());
        }
        Ok(())
    });
}

/// As it is written out it is the same configuration, without the profile and all that it was made of.
fn comes_back_as_written_out(effective: &Effective) -> TestCaseResult {
    let text = effective.to_toml();
    let again = config::load(&[("headship.toml".to_owned(), text.clone())], node("hn0"));
    prop_assert_eq!(again.as_ref(), Ok(&effective.config), "{}", text);
    Ok(())
}

/// What can be read can be written, and says the same then: with all that this version does not know.
fn comes_back<T>(key: &Key, text: &str) -> TestCaseResult
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    match record::parse::<T>(key, text) {
        Ok(read) => prop_assert_eq!(record::parse::<T>(key, &record::write(&read)), Ok(read)),
        Err(why) => prop_assert!(is_plain(&why.to_string()), "{:?}", why.to_string()),
    }
    Ok(())
}

#[test]
fn a_record_is_understood_or_refused_and_written_back_as_it_was() {
    let of_kind = |(path, example): (&'static str, &'static str)| {
        let key = Key::from_path(path).unwrap();
        spoiled(&[example]).prop_map(move |record| (key.clone(), record)).boxed()
    };
    let cases = Union::new(RECORDS.map(of_kind));
    try_all(file!(), &cases, |(key, bytes)| {
        let text = text(&bytes);
        match key {
            Key::Settings => comes_back::<record::Settings>(&key, &text),
            Key::Lock => comes_back::<record::Lock>(&key, &text),
            Key::Active => comes_back::<record::Active>(&key, &text),
            Key::Lease => comes_back::<record::Lease>(&key, &text),
            Key::Challenge => comes_back::<record::Challenge>(&key, &text),
            Key::Promise(_) => comes_back::<record::Promise>(&key, &text),
            Key::Headnode(_) => comes_back::<record::HeadnodeState>(&key, &text),
            Key::Health(_) => comes_back::<record::Health>(&key, &text),
            Key::Services(_) => comes_back::<record::ServicesState>(&key, &text),
            Key::Duty(_) => comes_back::<record::Duty>(&key, &text),
            Key::Node(_) => comes_back::<record::NodeState>(&key, &text),
            Key::Restart(_) => comes_back::<record::RestartSlot>(&key, &text),
            Key::Switchover => comes_back::<record::SwitchoverOrder>(&key, &text),
            Key::Failover => comes_back::<record::FailoverOrder>(&key, &text),
            Key::Confirm => comes_back::<record::ConfirmOrder>(&key, &text),
            Key::Adopt => comes_back::<record::AdoptOrder>(&key, &text),
            Key::History => comes_back::<record::History>(&key, &text),
        }
    });
}

const ALIAS: &str = "headnodehost";
const HOSTS: [&str; 3] = [
    "127.0.0.1 localhost\n10.0.0.10 hn0.example hn0\n\n# a comment\n::1 ip6-localhost\n",
    "127.0.0.1\tlocalhost\r\n# headship begin: slave-fc keeps these lines, do not edit them\r\n10.0.0.11 headnodehost # headship\r\n# headship end\r\n10.0.0.11 hn1\r\n",
    "# headship begin: slave-fc keeps these lines, do not edit them\n10.0.0.11                               headnodehost # headship\n# headship end\n10.0.0.12 last",
];

/// The lines that are none of ours: neither of our comments, nor an address of the alias. Those between our markers move, so the
/// order is none.
fn foreign(file: &[u8]) -> Vec<Vec<u8>> {
    let ours = |line: &[u8]| {
        let line = text(line);
        let named = line.split_whitespace().nth(1) == Some(ALIAS);
        named || line.starts_with("# headship ") || line.ends_with("# headship")
    };
    let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let foreign = lines.filter(|line| !ours(line) && !line.is_empty());
    let mut foreign: Vec<Vec<u8>> = foreign.map(<[u8]>::to_vec).collect();
    foreign.sort();
    foreign
}

#[test]
fn a_hosts_file_is_refused_or_says_the_alias_once_and_loses_no_line() {
    let address: IpAddr = "10.0.0.10".parse().unwrap();
    try_all(file!(), &spoiled(&HOSTS), |bytes| {
        match rewrite(&bytes, ALIAS, address) {
            Ok(new) => {
                prop_assert_eq!(current(&new.text, ALIAS), Some(address));
                let again = rewrite(&new.text, ALIAS, address).unwrap();
                prop_assert!(again.diff.is_empty() && again.text == new.text);
                prop_assert_eq!(foreign(&new.text), foreign(&bytes));
            }
            Err(why) => prop_assert!(is_plain(&why.to_string()), "{:?}", why.to_string()),
        }
        // Where its own lines are too short they are blanked first, and written anew behind.
        let mut in_place = bytes.to_vec();
        for _ in 0..3 {
            match patch(&in_place, ALIAS, address) {
                Ok(patch) => in_place = patch.applied(&in_place),
                Err(why) => prop_assert!(is_plain(&why.to_string()), "{:?}", why.to_string()),
            }
        }
        if rewrite(&bytes, ALIAS, address).is_ok() {
            prop_assert_eq!(current(&in_place, ALIAS), Some(address));
            prop_assert_eq!(foreign(&in_place), foreign(&bytes));
        }
        Ok(())
    });
}

#[test]
fn hadoops_records_are_understood_or_refused_and_name_what_can_be_shown() {
    let examples: [&[u8]; 4] = [
        b"\x0a\x09mycluster\x12\x03nn1\x1a\x0bhn0.example\x20\xd4\x3e\x28\xd3\x3e",
        b"\x0a\x05yarn1\x12\x03rm2\x52\x08hn1:8032\x5a\x08hn1:8033",
        b"\xff\x00\x00\x00\x14master:16000\x01\x02\x03\x04\x05\x06\x07\x08PBUF\x0a\x0a\x0a\x03zk0\x10\x80\x7d\x18\x01\x10\x00\x18\x8a\x7d",
        b"zk1,16000,1690000000000",
    ];
    try_all(file!(), &spoiled(&examples), |bytes| {
        let found = [
            hadoop::name_node(&bytes),
            hadoop::resource_manager(&bytes),
            hadoop::hbase_master(&bytes),
            hadoop::hbase_backup(&text(&bytes)),
        ];
        for found in found {
            prop_assert!(is_plain(&found.map_or_else(|why| why.to_string(), |it| it.to_string())));
        }
        Ok(())
    });
}

fn victim() -> Victim {
    let id = |digit: &str| format!("{}-{digit}", "0123456789abcdef0123456789abcdef");
    Victim { node: node("hn1"), machine: id("a"), boot: id("b"), epoch: Epoch(7) }
}

#[test]
fn what_fence_programs_say_is_no_yes_unless_it_is_one() {
    let Victim { machine, boot, .. } = victim();
    let said = [
        format!("headship-fence: {machine} {boot}\n"),
        format!("Status: OFF\n{machine} {boot}"),
        "Warning: Permanently added 'hn1' to the list of known hosts.".to_owned(),
    ];
    let ends = (any::<i32>(), 0..4_u8).prop_map(|(number, kind)| match kind {
        0 => End::Exited(number),
        1 => End::Signal(number),
        2 => End::Late(Duration::from_millis(u64::from(number.unsigned_abs()))),
        _ => End::Unseen("it is gone".to_owned()),
    });
    let cases = (spoiled(&said), ends, any::<bool>(), any::<bool>());
    try_all(file!(), &cases, |(said, end, mut told, last)| {
        let output = text(&said);
        let run = Run { end: end.clone(), said: output.clone() };
        let by_agent = agent::next(&run, &run, last);
        let is_yes = matches!(by_agent, Next::Say(headship_core::fencing::Answer::Yes { .. }));
        prop_assert_eq!(is_yes, end == End::Exited(2));
        if let Next::Say(headship_core::fencing::Answer::Yes { how }) =
            ssh::next(&victim(), &run, &output, &mut told, last)
        {
            // Only the machine itself, with a boot that could be one, and another one.
            prop_assert!(output.contains(&victim().machine), "{how}");
            prop_assert!(!output.contains(&format!("{machine} {boot}")), "{how}");
        }
        Ok(())
    });
}

#[test]
fn secrets_of_fence_agents_are_read_or_refused_without_a_word_of_them() {
    let examples = ["# of the power switch\npassword=topsecret\nlogin=admin\n"];
    try_all(file!(), &spoiled(&examples), |bytes| {
        match agent::secrets(&text(&bytes)) {
            Ok(secrets) => {
                for (name, value) in secrets {
                    prop_assert!(!name.contains(char::is_whitespace) && !value.contains('\n'));
                }
            }
            Err(why) => prop_assert!(is_plain(&why) && !why.contains("topsecret"), "{why}"),
        }
        Ok(())
    });
}

#[test]
fn permits_of_any_figures_end_and_the_gate_judges_them() {
    let permits = [
        r#"{"incarnation":"i","epoch":7,"boot":"b","deadline":1000000,"lease_ms":6000,"kill_ms":2000,"grace_ms":1500,"alone":{"livy":"x"},"kept":"k"}"#,
    ];
    let closed = [r#"{"incarnation":"i","epoch":6}"#];
    let cases = (spoiled(&permits), spoiled(&closed), any::<u64>());
    try_all(file!(), &cases, |(permit, closed, now)| {
        let permit: Option<Permit> = serde_json::from_slice(&permit).ok();
        let closed: Option<Closed> = serde_json::from_slice(&closed).ok();
        let now = Time::from_micros(now);
        let verdict = gate(permit.as_ref(), closed.as_ref(), "b", now);
        if let Some(permit) = &permit {
            prop_assert!(permit.grace_from() <= permit.end() && permit.end() <= permit.all_gone());
            prop_assert!(
                permit
                    .window()
                    .is_none_or(|window| window >= Duration::from_millis(permit.kill_ms))
            );
            let over = now >= permit.end() || permit.boot != "b";
            prop_assert!(!(over && verdict.is_ok()));
        } else {
            prop_assert!(verdict.is_err());
        }
        Ok(())
    });
}

#[test]
fn a_mark_is_a_recipe_or_none() {
    let service = format!("{SAMPLE}{MORE}");
    let config =
        config::load(&[("a".to_owned(), service)], node("hn0")).unwrap_or_else(|it| panic!("{it}"));
    let services = config.services.iter().chain(&config.pinned);
    let words: Vec<String> = services.filter_map(Recipe::of).map(|it| it.to_word()).collect();
    assert_eq!(words.len(), 2);
    try_all(file!(), &spoiled(&words), |bytes| {
        if let Ok(recipe) = Recipe::from_word(&text(&bytes)) {
            prop_assert_eq!(Recipe::from_word(&recipe.to_word()).unwrap(), recipe);
        }
        Ok(())
    });
}
