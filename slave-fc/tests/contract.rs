//! What every driver keeps to, whatever it drives: one list of promises, and each driver held to it, as plain processes.
//!
//! With units of systemd the same is seen in the lab.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic, in its helpers as well")]

#[path = "contract/ambari.rs"]
mod ambari;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use headship_core::config::checked::{
    Actions, Driver as Kind, Programs, RestartBudget, Service, Starter,
};
use headship_core::epoch::{Epoch, Incarnation};
use headship_core::lease::Permit;
use headship_core::services::{Ended, Observed};
use headship_drivers::host::run::RunDir;
use headship_drivers::host::{clock, identity};
use headship_drivers::process::Gated;
use headship_drivers::{Driver, Drivers};
use tokio::time::{Instant, sleep};

use self::ambari::Ambari;

const GATE: &str = env!("CARGO_BIN_EXE_gate");
/// Here, so that it is built: the drivers look for it beside the gate.
const ACTIONS: &str = env!("CARGO_BIN_EXE_actions");
/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
/// What hangs is cut off after this.
const SHORT: Duration = Duration::from_millis(300);
/// And what needs some rounds of questions to be ordered at all.
const ROUNDS: Duration = Duration::from_secs(8);

/// A service whose whole being is a file, `up`. Files beside it make it hang, fail or talk nonsense.
const THING: &str = r#"#!/bin/sh
dir=@DIR@
[ -e "$dir/hang-$1" ] && exec sleep 1000
[ -e "$dir/fail-$1" ] && exit 1
[ -e "$dir/nonsense-$1" ] && exit 42
case "$1" in
start) env > "$dir/environment"; : > "$dir/up" ;;
stop) rm -f "$dir/up" ;;
monitor) [ -e "$dir/up" ] || exit 7 ;;
status) [ -e "$dir/up" ] || exit 3 ;;
run)
    [ -e "$dir/hang-stop" ] && trap '' TERM
    : > "$dir/up"
    while [ -e "$dir/up" ]; do sleep 0.02; done
    exit 1 ;;
*) exit 3 ;;
esac
"#;

/// The drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// A command in the foreground.
    Foreground,
    /// A command with three programs.
    Three,
    /// A resource agent.
    Ocf,
    /// A component of Ambari, known by its process.
    Ambari,
}

struct Host {
    dir: tempfile::TempDir,
    run: RunDir,
    which: Which,
    ambari: Option<Ambari>,
}

impl Host {
    fn new(which: Which) -> Self {
        assert!(Path::new(ACTIONS).exists());
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("run"));
        run.create().unwrap();
        let folder = dir.path().join("ocf/resource.d/test");
        fs::create_dir_all(&folder).unwrap();
        let thing = folder.join("Thing");
        fs::write(&thing, THING.replace("@DIR@", dir.path().to_str().unwrap())).unwrap();
        fs::set_permissions(&thing, fs::Permissions::from_mode(0o755)).unwrap();
        let ambari = (which == Which::Ambari).then(|| Ambari::new(dir.path(), &thing));
        let host = Self { dir, run, which, ambari };
        host.run.write_permit(&permit()).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn thing(&self) -> PathBuf {
        self.path("ocf/resource.d/test/Thing")
    }

    fn put(&self, name: &str) {
        fs::write(self.path(name), "").unwrap();
        self.agent(name, true);
    }

    fn take(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
        self.agent(name, false);
    }

    /// What makes trouble for the other drivers' programs makes it for an agent's scripts.
    fn agent(&self, name: &str, is_put: bool) {
        if let Some(ambari) = &self.ambari {
            ambari.trouble(name, is_put);
        }
    }

    /// Whether what is to be ordered elsewhere was, and is on record.
    fn is_ordered(&self) -> bool {
        let record = fs::read_to_string(self.run.path().join("ambari-agent")).unwrap_or_default();
        self.which != Which::Ambari || record.contains("\"request\":1")
    }

    /// Starts it as nobody should.
    fn start_by_hand(&self) -> Option<Child> {
        if self.which != Which::Ambari {
            self.put("up");
            return None;
        }
        let mut command = Command::new(self.thing());
        command.arg("run").stdout(Stdio::null()).stderr(Stdio::null());
        Some(command.spawn().unwrap())
    }

    fn is_up(&self) -> bool {
        self.path("up").exists()
    }

    fn kind(&self) -> Kind {
        let thing = self.thing().display().to_string();
        let program = |verb: &str| vec![thing.clone(), verb.to_owned()];
        let programs = match self.which {
            Which::Foreground => return Kind::Command { start: program("run") },
            Which::Three => {
                let (start, stop, status) = (program("start"), program("stop"), program("status"));
                Programs::Command { start, stop, status }
            }
            Which::Ocf => Programs::Ocf {
                root: self.path("ocf").display().to_string(),
                provider: "test".to_owned(),
                agent: "Thing".to_owned(),
                parameters: [("ip".to_owned(), "10.0.0.9".to_owned())].into(),
            },
            Which::Ambari => {
                let ambari = self.ambari.as_ref().unwrap();
                Programs::Ambari(Box::new(ambari.component(self.dir.path(), &self.thing())))
            }
        };
        Kind::Actions(Actions { programs, interval: Duration::from_millis(50), limit: LIMIT })
    }

    fn limited(&self, start_limit: Duration, stop_limit: Duration) -> Driver {
        let service = Service {
            name: "thing".to_owned(),
            driver: self.kind(),
            started_by: Starter::MasterHaService,
            after: BTreeSet::new(),
            announce: false,
            critical: false,
            pinned: None,
            start_limit,
            stop_limit,
            restart: RestartBudget { times: 1, within: LIMIT, back_off: vec![] },
            probes: vec![],
        };
        let gate = Path::new(GATE);
        let drivers = Drivers::new(&[service], &self.run, gate, Gated::Yes).unwrap();
        drivers.get("thing").unwrap().clone()
    }

    fn driver(&self) -> Driver {
        self.limited(LIMIT, LIMIT)
    }
}

fn permit() -> Permit {
    Permit {
        incarnation: Incarnation("i".to_owned()),
        epoch: Epoch(7),
        boot: identity::boot().unwrap(),
        deadline: clock::now().after(Duration::from_secs(600)),
        lease_ms: 6000,
        kill_ms: 2000,
        grace_ms: 1500,
        alone: [].into(),
        kept: None,
    }
}

fn why(ended: &Ended) -> &str {
    match ended {
        Ended::Failed { why, .. } | Ended::Unknown { why } => why,
        Ended::Done => panic!("it was done"),
    }
}

async fn until(what: &str, driver: &Driver, is: impl Fn(&Observed) -> bool) {
    let end = Instant::now() + LIMIT;
    loop {
        let seen = driver.observe(LIMIT).await;
        if is(&seen) {
            return;
        }
        assert!(Instant::now() < end, "{what} did not come about: {seen:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn is_gone(host: &Host, driver: &Driver) {
    until("its end", driver, Observed::is_down).await;
    assert!(!driver.runs().unwrap());
    // A process that is killed leaves its file.
    let leaves_it = matches!(host.which, Which::Foreground | Which::Ambari);
    assert!(!host.is_up() || leaves_it, "it is up, and called gone");
}

const ALL: [Which; 4] = [Which::Foreground, Which::Three, Which::Ocf, Which::Ambari];
/// Whatever is started and comes back.
const OF_ACTIONS: [Which; 3] = [Which::Three, Which::Ocf, Which::Ambari];
/// Whatever only its own programs can stop.
const OF_PROGRAMS: [Which; 2] = [Which::Three, Which::Ocf];

#[tokio::test]
async fn twice_started_and_twice_stopped_is_as_once() {
    for which in ALL {
        let host = Host::new(which);
        let driver = host.driver();
        assert!(driver.observe(LIMIT).await.is_down(), "{which:?}");
        for _ in 0..2 {
            assert_eq!(driver.start(LIMIT).await, Ended::Done, "{which:?}");
            until("its start", &driver, |seen| *seen == Observed::Running).await;
            assert!(driver.runs().unwrap());
        }
        for _ in 0..2 {
            assert_eq!(driver.stop(LIMIT).await, Ended::Done, "{which:?}");
            assert_eq!(driver.observe(LIMIT).await, Observed::Stopped, "{which:?}");
            is_gone(&host, &driver).await;
        }
    }
}

#[tokio::test]
async fn a_kill_leaves_nothing() {
    for which in ALL {
        let host = Host::new(which);
        let driver = host.driver();
        assert_eq!(driver.kill(LIMIT).await, Ended::Done, "{which:?}");
        assert_eq!(driver.start(LIMIT).await, Ended::Done, "{which:?}");
        assert_eq!(driver.kill(LIMIT).await, Ended::Done, "{which:?}");
        is_gone(&host, &driver).await;
    }
}

#[tokio::test]
async fn without_a_permit_nothing_is_started() {
    for which in ALL {
        let host = Host::new(which);
        host.run.remove_permit().unwrap();
        let driver = host.driver();
        let ended = driver.start(LIMIT).await;
        assert!(matches!(ended, Ended::Failed { by_gate: true, .. }), "{which:?}: {ended:?}");
        assert!(!host.is_up());
        is_gone(&host, &driver).await;
    }
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    for which in OF_ACTIONS {
        let host = Host::new(which);
        host.put("fail-start");
        let driver = host.driver();
        let ended = driver.start(LIMIT).await;
        let begins = if which == Which::Ambari { "its start failed" } else { "its `start` " };
        assert!(why(&ended).starts_with(begins), "{which:?}: {ended:?}");
        is_gone(&host, &driver).await;
        host.take("fail-start");
        assert_eq!(driver.start(LIMIT).await, Ended::Done, "{which:?}");
        assert_eq!(driver.kill(LIMIT).await, Ended::Done, "{which:?}");
    }
}

#[tokio::test]
async fn a_start_that_hangs_is_cut_off_and_leaves_nothing() {
    for which in OF_ACTIONS {
        let host = Host::new(which);
        host.put("hang-start");
        let is_ambari = which == Which::Ambari;
        let driver = host.limited(if is_ambari { ROUNDS } else { SHORT }, LIMIT);
        let ended = driver.start(LIMIT).await;
        let says = if is_ambari { "has not carried out its start" } else { "longer than 300ms" };
        assert!(why(&ended).contains(says), "{which:?}: {ended:?}");
        is_gone(&host, &driver).await;
    }
}

/// D comes while a start hangs: what it has done by then is undone, and nothing of it goes on.
#[tokio::test]
async fn a_kill_in_the_middle_of_a_start_leaves_nothing() {
    for which in OF_ACTIONS {
        let host = Host::new(which);
        host.put("hang-start");
        if which != Which::Ambari {
            host.put("up");
        }
        let driver = host.driver();
        let starting = {
            let driver = driver.clone();
            tokio::spawn(async move { driver.start(LIMIT).await })
        };
        until("its start", &driver, |seen| *seen == Observed::Starting && host.is_ordered()).await;
        assert_eq!(driver.kill(LIMIT).await, Ended::Done, "{which:?}");
        assert_ne!(starting.await.unwrap(), Ended::Done);
        is_gone(&host, &driver).await;
    }
}

#[tokio::test]
async fn what_does_not_stop_is_never_called_gone() {
    for which in OF_PROGRAMS {
        for trouble in
            ["hang-stop", "fail-stop", "nonsense-stop", "hang-monitor", "nonsense-monitor"]
        {
            // Only an agent has a `monitor`.
            let trouble = match which {
                Which::Three => trouble.replace("monitor", "status"),
                Which::Foreground | Which::Ocf | Which::Ambari => trouble.to_owned(),
            };
            let host = Host::new(which);
            let driver = host.limited(LIMIT, SHORT);
            assert_eq!(driver.start(LIMIT).await, Ended::Done, "{which:?}");
            host.put(&trouble);
            // A look that hangs does so for its own limit, which nobody waits for here.
            let patience = Duration::from_secs(2);
            let stopped = driver.stop(patience).await;
            let killed = driver.kill(patience).await;
            assert_ne!(
                (stopped, killed.clone()),
                (Ended::Done, Ended::Done),
                "{which:?} {trouble}"
            );
            assert_ne!(killed, Ended::Done, "{which:?} {trouble}");
            assert!(driver.runs().unwrap(), "{which:?} {trouble}");
            assert!(!driver.observe(LIMIT).await.is_down(), "{which:?} {trouble}");
        }
    }
}

#[tokio::test]
async fn a_stop_that_failed_is_tried_anew() {
    for which in OF_PROGRAMS {
        let host = Host::new(which);
        let driver = host.driver();
        assert_eq!(driver.start(LIMIT).await, Ended::Done, "{which:?}");
        host.put("fail-stop");
        let ended = driver.stop(LIMIT).await;
        assert!(why(&ended).starts_with("its `stop` "), "{which:?}: {ended:?}");
        host.take("fail-stop");
        assert_eq!(driver.stop(LIMIT).await, Ended::Done, "{which:?}");
        is_gone(&host, &driver).await;
    }
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed() {
    let host = Host::new(Which::Foreground);
    host.put("hang-stop");
    let driver = host.driver();
    assert_eq!(driver.start(LIMIT).await, Ended::Done);
    until("its start", &driver, |_| host.is_up()).await;
    assert_ne!(driver.stop(SHORT).await, Ended::Done);
    assert_eq!(driver.kill(LIMIT).await, Ended::Done);
    is_gone(&host, &driver).await;
}

#[tokio::test]
async fn what_vanishes_is_seen_to_run_no_more() {
    for which in ALL {
        let host = Host::new(which);
        let driver = host.driver();
        assert_eq!(driver.start(LIMIT).await, Ended::Done, "{which:?}");
        until("its start", &driver, |seen| *seen == Observed::Running && host.is_up()).await;
        host.take("up");
        until("its end", &driver, |seen| *seen != Observed::Running).await;
        assert_eq!(driver.stop(LIMIT).await, Ended::Done, "{which:?}");
        assert_eq!(driver.start(LIMIT).await, Ended::Done, "{which:?}");
        assert_eq!(driver.kill(LIMIT).await, Ended::Done, "{which:?}");
    }
}

#[tokio::test]
async fn what_talks_nonsense_while_it_runs_has_failed() {
    for which in OF_PROGRAMS {
        let host = Host::new(which);
        let driver = host.driver();
        assert_eq!(driver.start(LIMIT).await, Ended::Done, "{which:?}");
        host.put("nonsense-monitor");
        host.put("nonsense-status");
        until("its end", &driver, |seen| *seen != Observed::Running).await;
        assert!(driver.runs().unwrap(), "{which:?}");
    }
}

/// What somebody made by hand, or a boot left, is found by whoever looks for the first time, and stopped like any other.
#[tokio::test]
async fn what_nobody_started_here_is_found_and_stopped() {
    for which in OF_ACTIONS {
        let host = Host::new(which);
        let mut by_hand = host.start_by_hand();
        let driver = host.driver();
        until("its start", &driver, |_| host.is_up()).await;
        assert_eq!(driver.observe(LIMIT).await, Observed::Stopping, "{which:?}");
        assert!(driver.runs().unwrap(), "{which:?}");
        assert_eq!(driver.stop(LIMIT).await, Ended::Done, "{which:?}");
        is_gone(&host, &driver).await;
        if let Some(child) = &mut by_hand {
            assert!(!child.wait().unwrap().success());
        }
    }
}

/// An address that was changed in the configuration while it is up: what is up is taken down.
#[tokio::test]
async fn what_was_started_is_stopped_as_it_was_started() {
    let host = Host::new(Which::Ocf);
    let driver = host.driver();
    assert_eq!(driver.start(LIMIT).await, Ended::Done);
    let environment = fs::read_to_string(host.path("environment")).unwrap();
    for variable in ["OCF_RESKEY_ip=10.0.0.9", "OCF_RESOURCE_INSTANCE=thing", "LC_ALL=C"] {
        assert!(environment.lines().any(|line| line == variable), "{environment}");
    }
    let (run, dir) = (host.run.clone(), tempfile::tempdir().unwrap());
    let other = Host { which: Which::Three, run, dir, ambari: None };
    assert_eq!(other.driver().kill(LIMIT).await, Ended::Done);
    assert!(!host.is_up());
}
