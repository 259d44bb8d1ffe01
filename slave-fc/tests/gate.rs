//! The start gate as a program, and commands as plain processes behind it.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use headship_core::config::checked::{Driver as Kind, RestartBudget, Service, Starter};
use headship_core::epoch::{Epoch, Incarnation};
use headship_core::lease::{Closed, Permit};
use headship_core::services::{Ended, Observed};
use headship_daemon::Exit;
use headship_drivers::host::run::RunDir;
use headship_drivers::host::{clock, identity};
use headship_drivers::process::{Gated, Process};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const GATE: &str = env!("CARGO_BIN_EXE_gate");
const LIMIT: Duration = Duration::from_secs(20);

struct Host {
    dir: tempfile::TempDir,
    run: RunDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path().join("run"));
        run.create().unwrap();
        Self { dir, run }
    }

    fn with_permit() -> Self {
        let host = Self::new();
        host.run.write_permit(&permit(clock::now().after(Duration::from_secs(600)))).unwrap();
        host
    }

    fn gate(&self) -> Output {
        let run = self.run.path();
        Command::new(GATE).arg("--run").arg(run).arg("livy.service").output().unwrap()
    }

    /// A service that runs a line of shell.
    fn service(&self, line: &str) -> Process {
        let command = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        Process::new("livy".to_owned(), command, self.run.clone(), PathBuf::from(GATE), Gated::Yes)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn permit(deadline: headship_core::time::Time) -> Permit {
    Permit {
        incarnation: Incarnation("i".to_owned()),
        epoch: Epoch(7),
        boot: identity::boot().unwrap(),
        deadline,
        lease_ms: 6000,
        kill_ms: 2000,
        grace_ms: 1500,
        alone: [].into(),
        kept: None,
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not come about in {LIMIT:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn read_pid(path: &Path) -> i32 {
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn words(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_start_without_a_permit_is_refused_with_our_sentence_and_code() {
    let host = Host::new();
    let output = host.gate();
    assert_eq!(output.status.code(), Some(77));
    assert!(words(&output).starts_with("livy.service: this headnode holds no permit"));
}

#[test]
fn a_refusal_says_that_it_may_be_due_to_a_faulty_configuration() {
    let host = Host::new();
    let run = host.run.path();
    let mut gate = Command::new(GATE);
    let output = gate.arg("--run").arg(run).args(["--faulty", "p.service"]).output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    assert!(words(&output).starts_with("p.service: this headnode holds no permit"));
    assert!(words(&output).contains("; the configuration has faults, so even what is pinned"));
    assert!(!words(&host.gate()).contains("faults"));
}

#[test]
fn a_live_permit_lets_through_without_a_word() {
    let host = Host::with_permit();
    let output = host.gate();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(words(&output), "");
}

#[test]
fn an_expired_a_closed_and_a_damaged_permit_are_refused_with_the_reason() {
    let host = Host::with_permit();
    let incarnation = Incarnation("i".to_owned());
    host.run.write_closed(&Closed { incarnation, epoch: Epoch(7) }).unwrap();
    assert!(words(&host.gate()).contains("epoch 7 is closed"));
    fs::remove_file(host.run.path().join("closed")).unwrap();
    host.run.write_permit(&permit(clock::now())).unwrap();
    assert!(words(&host.gate()).contains("the permit of epoch 7 ended"));
    fs::write(host.run.path().join("permit"), "{").unwrap();
    let output = host.gate();
    assert_eq!(output.status.code(), Some(77));
    assert!(words(&output).contains("permit` is damaged"), "{}", words(&output));
}

#[test]
fn a_command_line_that_is_not_understood_lets_nothing_through() {
    let output = Command::new(GATE).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// What is noted of the guard, told to have ended like this.
fn noted_of_the_guard(result: &str, code: &str, status: &str) -> bool {
    let host = Host::new();
    let mut gate = Command::new(GATE);
    gate.arg("--run").arg(host.run.path()).arg("--guard-ended");
    gate.env("SERVICE_RESULT", result).env("EXIT_CODE", code).env("EXIT_STATUS", status);
    let output = gate.output().unwrap();
    assert_eq!((output.status.code(), words(&output)), (Some(0), String::new()));
    host.run.guard_failed().unwrap().is_some()
}

#[test]
fn a_guard_that_was_stopped_or_that_another_start_would_not_help_has_not_failed() {
    assert!(!noted_of_the_guard("success", "exited", "0"));
    for exit in Exit::FINAL {
        let status = exit.code().to_string();
        assert!(!noted_of_the_guard("exit-code", "exited", &status), "{exit:?}");
    }
}

#[test]
fn a_guard_that_crashed_or_was_killed_has_failed() {
    assert!(noted_of_the_guard("exit-code", "exited", "1"));
    assert!(noted_of_the_guard("exit-code", "exited", "101"));
    // As by its watchdog; systemd gives the signal's name.
    assert!(noted_of_the_guard("watchdog", "killed", "KILL"));
    let of_the_configuration = Exit::Configuration.code().to_string();
    assert!(noted_of_the_guard("signal", "killed", &of_the_configuration));
}

#[tokio::test]
async fn a_process_is_started_seen_and_stopped() {
    let host = Host::with_permit();
    let service = host.service("exec sleep 1000");
    assert_eq!(service.observe(), Observed::Stopped);
    assert_eq!(service.start(LIMIT).await, Ended::Done);
    assert_eq!(service.observe(), Observed::Running);
    // A second start finds it running.
    assert_eq!(service.start(LIMIT).await, Ended::Done);
    assert_eq!(service.stop(LIMIT).await, Ended::Done);
    assert_eq!(service.observe(), Observed::Stopped);
}

#[tokio::test]
async fn without_a_permit_no_process_is_started() {
    let host = Host::new();
    let touched = host.file("touched");
    let service = host.service(&format!("touch {}", touched.display()));
    let ended = service.start(LIMIT).await;
    let Ended::Failed { why, by_gate: true } = ended else { panic!("{ended:?}") };
    assert!(why.starts_with("livy: this headnode holds no permit"), "{why}");
    assert_eq!(service.observe(), Observed::Stopped);
    assert!(!touched.exists());
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_does_not_run() {
    let host = Host::with_permit();
    let command = vec!["/nonexistent".to_owned()];
    let service =
        Process::new("livy".to_owned(), command, host.run.clone(), PathBuf::from(GATE), Gated::Yes);
    service.start(LIMIT).await;
    until("its end", || matches!(service.observe(), Observed::Failed { .. })).await;
}

#[tokio::test]
async fn a_kill_ends_the_whole_family() {
    let host = Host::with_permit();
    let child = host.file("child");
    // The child ignores SIGTERM and leads a process group of its own.
    let line = format!(
        "set -m; sh -c 'trap \"\" TERM; echo $$ > {0}.new; mv {0}.new {0}; while :; do sleep 1000; done' & wait",
        child.display()
    );
    let service = host.service(&line);
    assert_eq!(service.start(LIMIT).await, Ended::Done);
    until("the child", || child.exists()).await;
    let pid = read_pid(&child);
    let ended = service.stop(Duration::from_millis(200)).await;
    assert!(matches!(ended, Ended::Failed { by_gate: false, .. }), "{ended:?}");
    assert_eq!(service.observe(), Observed::Stopping);
    assert!(lives(pid));
    assert_eq!(service.kill(LIMIT).await, Ended::Done);
    assert!(!lives(pid));
    assert_eq!(service.observe(), Observed::Stopped);
}

#[tokio::test]
async fn starts_and_deaths_are_told_at_once() {
    let host = Host::with_permit();
    let own = host.file("own");
    let service =
        host.service(&format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", own.display()));
    let (tell, mut changes) = mpsc::channel(8);
    let watch = service.clone().watch(async move || tell.send(()).await.is_ok());
    let watch = tokio::spawn(watch);
    timeout(LIMIT, changes.recv()).await.unwrap().unwrap();
    assert_eq!(service.start(LIMIT).await, Ended::Done);
    timeout(LIMIT, changes.recv()).await.unwrap().unwrap();
    until("its number", || own.exists()).await;
    while changes.try_recv().is_ok() {}
    let pid = nix::unistd::Pid::from_raw(read_pid(&own));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    timeout(LIMIT, changes.recv()).await.unwrap().unwrap();
    until("its end", || matches!(service.observe(), Observed::Failed { .. })).await;
    watch.abort();
}

/// A daemon that starts the service and dies, as a process of its own: this very test, called by the next one.
#[tokio::test]
async fn start_and_die() {
    let Some(run) = std::env::var_os("HEADSHIP_TEST_RUN") else { return };
    let command = ["/bin/sleep", "1000"].map(str::to_owned).to_vec();
    let service =
        Process::new("livy".to_owned(), command, RunDir::new(run), PathBuf::from(GATE), Gated::Yes);
    assert_eq!(service.start(LIMIT).await, Ended::Done);
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_process_survives_the_daemon_that_started_it() {
    let host = Host::with_permit();
    let daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "start_and_die"])
        .env("HEADSHIP_TEST_RUN", host.run.path())
        .output()
        .unwrap();
    assert!(!daemon.status.success());
    let service = host.service("the command matters only to a start");
    assert_eq!(service.observe(), Observed::Running);
    assert_eq!(service.kill(LIMIT).await, Ended::Done);
}

/// Commands need no unit; with a run folder of their own they are plain processes, whatever this host's PID 1 is.
#[tokio::test]
async fn drivers_of_commands_are_plain_processes_without_systemd() {
    let host = Host::with_permit();
    let service = Service {
        name: "livy".to_owned(),
        driver: Kind::Command { start: vec!["/bin/sleep".to_owned(), "1000".to_owned()] },
        started_by: Starter::MasterHaService,
        after: std::collections::BTreeSet::new(),
        announce: false,
        critical: false,
        pinned: None,
        start_limit: LIMIT,
        stop_limit: LIMIT,
        restart: RestartBudget { times: 1, within: LIMIT, back_off: vec![] },
        probes: vec![],
    };
    let drivers =
        headship_drivers::Drivers::new(&[service], &host.run, Path::new(GATE), Gated::Yes).unwrap();
    assert!(drivers.systemd().is_none());
    let livy = drivers.get("livy").unwrap();
    let mut changes = drivers.changes();
    timeout(LIMIT, changes.recv()).await.unwrap().unwrap();
    assert_eq!(livy.start(LIMIT).await, Ended::Done);
    assert!(livy.runs().unwrap());
    timeout(LIMIT, changes.recv()).await.unwrap().unwrap();
    assert_eq!(livy.stop(LIMIT).await, Ended::Done);
    assert!(!livy.runs().unwrap());
}
