//! What the programs of both languages are told, and what their ends mean.

use std::collections::BTreeSet;

use super::*;
use crate::config::checked::{Actions, RestartBudget, Starter};

const MINUTE: Duration = Duration::from_secs(60);

fn recipe(programs: Programs) -> Recipe {
    let limit = Duration::from_secs(20);
    let actions = Actions { programs, interval: Duration::from_secs(10), limit };
    let service = Service {
        name: "vip".to_owned(),
        driver: Driver::Actions(actions),
        started_by: Starter::MasterFc,
        after: BTreeSet::new(),
        announce: false,
        critical: false,
        pinned: None,
        start_limit: MINUTE,
        stop_limit: MINUTE,
        restart: RestartBudget { times: 1, within: MINUTE, back_off: vec![MINUTE] },
        probes: vec![],
    };
    Recipe::of(&service).unwrap()
}

fn speaker(recipe: &Recipe) -> Speaker<'_> {
    match recipe.means() {
        Means::Programs(speaker) => speaker,
        Means::Ambari(component) => panic!("{component:?}"),
    }
}

fn agent() -> Recipe {
    let parameters = [("ip".to_owned(), "10.0.0.9".to_owned())].into();
    let [root, provider, agent] = ["/usr/lib/ocf", "heartbeat", "IPaddr2"].map(str::to_owned);
    recipe(Programs::Ocf { root, provider, agent, parameters })
}

fn command() -> Recipe {
    let program = |it: &str| vec![format!("/opt/{it}"), "x".to_owned()];
    let (start, stop, status) = (program("up"), program("down"), program("look"));
    recipe(Programs::Command { start, stop, status })
}

#[test]
fn an_agent_finds_its_parameters_and_limits_in_its_environment() {
    let agent = agent();
    let step = speaker(&agent).step(Action::Monitor);
    assert_eq!(step.command, ["/usr/lib/ocf/resource.d/heartbeat/IPaddr2", "monitor"]);
    assert_eq!(step.limit, Duration::from_secs(20));
    let told: Vec<String> =
        step.environment.iter().map(|(name, it)| format!("{name}={it}")).collect();
    assert_eq!(
        told,
        [
            "OCF_CHECK_LEVEL=0",
            "OCF_RA_VERSION_MAJOR=1",
            "OCF_RA_VERSION_MINOR=1",
            "OCF_RESKEY_CRM_meta_interval=10000",
            "OCF_RESKEY_CRM_meta_name=monitor",
            "OCF_RESKEY_CRM_meta_timeout=20000",
            "OCF_RESKEY_ip=10.0.0.9",
            "OCF_RESOURCE_INSTANCE=vip",
            "OCF_RESOURCE_PROVIDER=heartbeat",
            "OCF_RESOURCE_TYPE=IPaddr2",
            "OCF_ROOT=/usr/lib/ocf",
        ]
    );
}

#[test]
fn a_command_is_told_service_action_and_limit() {
    let command = command();
    let step = speaker(&command).step(Action::Monitor);
    assert_eq!(step.command, ["/opt/look", "x"]);
    let told: Vec<String> =
        step.environment.iter().map(|(name, it)| format!("{name}={it}")).collect();
    assert_eq!(told, ["HEADSHIP_ACTION=status", "HEADSHIP_LIMIT_MS=20000", "HEADSHIP_SERVICE=vip"]);
    assert_eq!(speaker(&command).step(Action::Stop).command, ["/opt/down", "x"]);
}

#[test]
fn a_recipe_is_the_same_behind_a_command_line() {
    assert_eq!(Recipe::from_word(&agent().to_word()).unwrap(), agent());
    assert!(Recipe::from_word("{}").is_err());
    // Marks of a package before this one are read, too.
    let word = r#"{"service":"vip","language":"command","start":["/a"],"stop":["/b"],"monitor":["/c"],"environment":{},"start_ms":1,"stop_ms":2,"monitor_ms":3,"interval_ms":4}"#;
    let old = Recipe::from_word(word).unwrap();
    assert_eq!(speaker(&old).step(Action::Stop).command, ["/b"]);
    assert_eq!(old.to_word(), word);
}

#[test]
fn each_exit_code_of_an_agent_has_its_meaning() {
    let agent = agent();
    let told = |code| speaker(&agent).told(&End::Exited(code));
    for running in [0, 8, 190, 191] {
        assert_eq!(told(running), Told::Running, "{running}");
    }
    assert_eq!(told(7), Told::Down);
    for (failed, says) in [
        (1, "it failed"),
        (2, "a parameter is wrong"),
        (3, "the agent does not know the action"),
        (4, "a permission is missing"),
        (5, "something that it needs is not installed on this host"),
        (6, "the configuration is wrong"),
        (9, "it failed as the promoted one"),
    ] {
        let why = format!("its `monitor` says: {says} (exit code {failed})");
        assert_eq!(told(failed), Told::Failed(why));
    }
    assert_eq!(told(42), Told::Failed("its `monitor` ended with exit code 42".to_owned()));
}

#[test]
fn a_command_says_by_three_that_nothing_runs_and_by_nothing_else() {
    let command = command();
    let told = |code| speaker(&command).told(&End::Exited(code));
    assert_eq!((told(0), told(3)), (Told::Running, Told::Down));
    for code in [1, 2, 4, 5, 7, 8, 190] {
        assert!(matches!(told(code), Told::Failed(_)), "{code}");
    }
}

#[test]
fn gone_is_only_what_was_stopped_and_then_not_seen() {
    let agent = agent();
    let agent = speaker(&agent);
    let (well, down) = (End::Exited(0), End::Exited(7));
    assert_eq!(agent.cleared(&well, &down), Ok(()));
    let failed = |stop: &End, monitor: &End| agent.cleared(stop, monitor).unwrap_err();
    assert!(failed(&End::Exited(1), &down).contains("its `stop` says: it failed"));
    assert!(failed(&End::Exited(7), &down).contains("exit code 7"));
    assert!(failed(&End::Late(MINUTE), &down).contains("took longer than 60s"));
    assert!(failed(&well, &well).contains("says that it runs"));
    // An answer that means nothing proves nothing.
    for nonsense in [End::Exited(42), End::Exited(5), End::Late(MINUTE), End::Signal(9)] {
        assert!(failed(&well, &nonsense).contains("nobody knows whether it is gone"));
    }
}

#[test]
fn what_nobody_started_here_may_run_unless_its_agent_denies_it() {
    let (agent, command) = (agent(), command());
    let agent = speaker(&agent);
    assert!(!agent.may_run(&End::Exited(7)));
    assert!(!agent.may_run(&End::Exited(5)));
    for end in [End::Exited(0), End::Exited(1), End::Exited(9), End::Late(MINUTE)] {
        assert!(agent.may_run(&end), "{end:?}");
    }
    assert!(speaker(&command).may_run(&End::Exited(5)));
}

#[test]
fn late_answers_end_a_service_only_if_there_are_three_in_a_row() {
    let agent = agent();
    let late = || speaker(&agent).told(&End::Late(MINUTE));
    let mut watch = Watch::default();
    assert_eq!((watch.take(late()), watch.take(late())), (None, None));
    assert_eq!(watch.take(Told::Running), None);
    assert_eq!((watch.take(late()), watch.take(late())), (None, None));
    let why = watch.take(late()).unwrap();
    assert_eq!(why, "its `monitor` took longer than 60s and was killed, 3 times in a row");
    assert_eq!(Watch::default().take(Told::Down).as_deref(), Some("it runs no more"));
    assert!(Watch::default().take(Told::Failed("x".to_owned())).is_some());
}
