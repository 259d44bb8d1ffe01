//! `headship` against a real ensemble. The tests write the records of a cluster, and play its active.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, too; clippy exempts only the test functions themselves"
)]

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use headship_core::epoch::{Epoch, Incarnation};
use headship_core::node::{Identity, NodeName};
use headship_core::quorum::{Found, Op, Outcome};
use headship_core::record::{
    self, Active, Answer, FORMAT, HeadnodeState, Health, Key, Lease, Lock, Maintenance, Phase,
    Rest, Role, ServicesState, Settings, SwitchoverOrder, Verdict,
};
use headship_core::time::WallTime;
use headship_tests::ensemble::{Ensemble, FAST_TICK};
use headship_zk::{OneShot, Options, Watched};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Within this everything comes about on a busy machine, too.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn status_and_active_tell_what_the_records_say() {
    let mut lab = Lab::start().await;
    let fresh = lab.run(&["active"]).await;
    assert_eq!((code(&fresh), stdout(&fresh).as_str()), (8, ""));
    assert!(stderr(&fresh).contains("nobody is active: nobody ever held office"), "{fresh:?}");

    lab.write_cluster().await;
    // Its session lives, but nobody renews: what a lost headnode looks like for the first seconds.
    let silent = lab.run(&["status"]).await;
    assert_eq!(code(&silent), 11, "{silent:?}");
    let told = "hn0 is active in epoch 7, but it may be gone: no renewal of its lease was seen for";
    assert!(stdout(&silent).contains(told), "{silent:?}");
    assert_eq!(stdout(&lab.run(&["active"]).await), "hn0\n");

    let renewals = lab.renew().await;
    let status = lab.healthy_status().await;
    let page = stdout(&status);
    assert!(page.ends_with("\nhn0 is active in epoch 7; hn1 is ready to take over.\n"), "{page}");
    assert!(page.contains("3 of 3 servers answer") && !page.contains('\x1b'), "{page}");
    let json = lab.json(&["status", "--json"]).await;
    assert_eq!(json["active"], "hn0");
    assert_eq!(json["headnodes"][1]["ready"], true);
    assert_eq!(stdout(&lab.run(&["active"]).await), "hn0\n");
    assert_eq!(stdout(&lab.run(&["active", "--host"]).await), "localhost\n");
    let ip = stdout(&lab.run(&["active", "--ip"]).await);
    assert!(ip == "127.0.0.1\n" || ip == "::1\n", "{ip}");

    for (arguments, exit) in
        [(&["is-active"][..], 0), (&["is-active", "hn1"], 7), (&["is-active", "hn7"], 4)]
    {
        assert_eq!(code(&lab.run(arguments).await), exit, "{arguments:?}");
    }
    assert_eq!(stdout(&lab.run(&["history"]).await), "nobody ever held office\n");
    let history = r#"{"format":1,"transitions":[{"epoch":7,"from":"hn1","to":"hn0","cause":"ceded","at":0,"phases":[]}]}"#;
    lab.write(vec![create(Key::History, history.to_owned())]).await;
    let told = stdout(&lab.run(&["history"]).await);
    assert!(told.contains("7      1970-01-01 00:00:00 UTC  hn1   hn0  0 ms"), "{told}");
    assert_eq!(lab.json(&["history", "--json"]).await["transitions"][0]["cause"], "ceded");

    renewals.abort();
    // The lock deleted by hand, and nobody renews: the record alone makes nobody active.
    lab.write(vec![Op::Delete { key: Key::Lock, version: None }]).await;
    let still = lab.run(&["active"]).await;
    assert_eq!((code(&still), stdout(&still).as_str()), (8, ""));
    assert!(stderr(&still).contains("its lease stands still"), "{still:?}");
    // And a foreign record is named, by every command, and survived.
    lab.write(vec![Op::Set { key: Key::Active, version: None, data: "hello".to_owned() }]).await;
    let corrupt = lab.run(&["status"]).await;
    assert_eq!(code(&corrupt), 1);
    assert!(stdout(&corrupt).contains("`active` is not a record of headship"), "{corrupt:?}");
}

#[tokio::test]
async fn out_of_sight_of_the_quorum_the_host_is_asked() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    fs::write(lab.run.path().join("status/master-fc"), "active (epoch 7): holds office").unwrap();
    (0..3).for_each(|server| lab.ensemble.kill(server).unwrap());
    let begin = Instant::now();
    let status = lab.run(&["status", "--timeout", "2"]).await;
    assert!(begin.elapsed() < Duration::from_secs(10), "took {:?}", begin.elapsed());
    assert_eq!(code(&status), 9, "{status:?}");
    let page = stdout(&status);
    for line in ["0 of 3 servers answer", "permit        none", "active (epoch 7): holds office"] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let active = lab.run(&["active", "--timeout", "1"]).await;
    assert_eq!((code(&active), stdout(&active).as_str()), (9, ""));
    let switchover = lab.run(&["switchover", "--timeout", "1"]).await;
    assert_eq!(code(&switchover), 9, "{switchover:?}");
    let check = lab.run(&["check", "--timeout", "1"]).await;
    assert_eq!(code(&check), 9, "{check:?}");
}

#[tokio::test]
async fn a_switchover_is_followed_and_a_second_one_is_refused_by_name() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    let first = lab.begin(&["switchover", "--to", "hn1"]);
    let order = lab.await_order().await;
    assert_eq!((order.epoch, order.to.clone()), (Epoch(7), Some(node("hn1"))));
    let second = lab.run(&["switchover"]).await;
    assert_eq!(code(&second), 6, "{second:?}");
    assert!(stderr(&second).contains(&format!("{} ordered a switchover", order.by)), "{second:?}");

    lab.answer(order, Answer::Accepted).await;
    let until_ms = 20_000;
    let ceded = Phase::Ceded { to: Some(node("hn1")), until_ms };
    lab.set_active(active("hn0", 7, Phase::BecomingStandby)).await;
    lab.set_active(active("hn0", 7, ceded)).await;
    lab.set_active(active("hn1", 8, Phase::BecomingActive)).await;
    lab.set_active(active("hn1", 8, Phase::Active)).await;
    let output = first.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let told = stdout(&output);
    assert!(told.contains("s  hn1 is active in epoch 8\n"), "{told}");
    assert!(
        told.lines().last().unwrap().starts_with("hn1 is active in epoch 8; it took "),
        "{told}"
    );
    // `livy` announces office, so it serves there, whatever its record says of the time before.
    assert!(told.contains(" s; all services run\n"), "{told}");
}

#[tokio::test]
async fn an_order_that_was_not_answered_is_withdrawn_by_ctrl_c() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    let child = lab.begin(&["switchover", "--json"]);
    lab.await_order().await;
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6, "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["conclusion"], "interrupted: the order is withdrawn, and nothing moved");
    assert_eq!(lab.read(Key::Switchover).await, Found::Missing);

    // Once it is accepted it goes on, and that is said.
    let child = lab.begin(&["switchover"]);
    let order = lab.await_order().await;
    lab.answer(order.clone(), Answer::Accepted).await;
    interrupt_when_told(child, "hn0 accepts").await;
    assert_ne!(lab.read(Key::Switchover).await, Found::Missing);
}

#[tokio::test]
async fn a_refusal_gives_the_reason_and_what_cannot_be_is_not_even_ordered() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    for (to, why) in [
        ("hn7", "hn7 is not a headnode of this cluster: say one of hn0, hn1"),
        ("hn0", "hn0 is active already (epoch 7)"),
    ] {
        let output = lab.run(&["switchover", "--to", to]).await;
        assert_eq!(code(&output), 6);
        assert!(stderr(&output).contains(why), "{output:?}");
        assert_eq!(lab.read(Key::Switchover).await, Found::Missing);
    }
    let child = lab.begin(&["switchover"]);
    let order = lab.await_order().await;
    let why = "no headnode is eligible and ready: hn1: no disk space".to_owned();
    lab.answer(order, Answer::Refused { why: why.clone() }).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6);
    assert!(stderr(&output).contains(&why), "{output:?}");
    // The order that was refused is over: a new one takes its place.
    let child = lab.begin(&["switchover"]);
    let order = lab.await_order().await;
    lab.answer(order, Answer::Refused { why }).await;
    assert_eq!(code(&child.wait_with_output().await.unwrap()), 6);
}

#[tokio::test]
async fn check_compares_the_ensemble_with_the_configuration() {
    let lab = Lab::start().await;
    let of_quorum = |json: &Value| {
        let findings = json["findings"].as_array().unwrap().clone();
        findings.into_iter().filter(|it| it["area"] == "quorum").collect::<Vec<_>>()
    };
    let found = of_quorum(&lab.json(&["check", "--json"]).await);
    assert!(found.len() == 4 && found.iter().all(|it| it["level"] == "ok"), "{found:#?}");

    lab.configure("tick_ms = 200\nsync_limit = 2\n");
    let json = lab.json(&["check", "--json"]).await;
    assert_eq!(json["exit"], 3);
    let text = json.to_string();
    assert!(text.contains("tickTime 100, and `failover_quorum.tick_ms` is 200"), "{text}");
    assert!(text.contains("syncLimit 5, and `failover_quorum.sync_limit` is 2"), "{text}");

    // Bad input: all faults at once, and nothing is asked of anybody.
    lab.configure("tick_ms = \"soon\"\nkluster = 1\n");
    let output = lab.run(&["check"]).await;
    assert_eq!(code(&output), 3);
    assert_eq!(stdout(&output).matches("FAULT").count(), 2, "{output:?}");
    assert_eq!(code(&lab.run(&["status"]).await), 3);
}

/// An ensemble, one at a time, with a configuration and a run folder of a host.
struct Lab {
    ensemble: Ensemble,
    config: TempDir,
    run: TempDir,
    link: OneShot,
    _only: MutexGuard<'static, ()>,
}

impl Lab {
    async fn start() -> Self {
        static ONLY: Mutex<()> = Mutex::const_new(());
        let only = ONLY.lock().await;
        // Before there is a session that has to be kept alive.
        program();
        let ensemble = Ensemble::start(FAST_TICK).unwrap_or_else(|error| panic!("{error}"));
        let root = "/headship/cli".to_owned();
        // Longer than a frozen test machine, as far as the ensemble grants it.
        let session = Duration::from_secs(2);
        let watched = Watched::Record(Key::Switchover);
        let options = Options { servers: ensemble.servers(), session, root, watched };
        let link = OneShot::connect(options, LIMIT).await.unwrap();
        let folder = || tempfile::tempdir().unwrap();
        let lab = Self { ensemble, config: folder(), run: folder(), link, _only: only };
        fs::create_dir(lab.run.path().join("status")).unwrap();
        lab.configure("tick_ms = 100\nsync_limit = 5\n");
        lab
    }

    fn configure(&self, quorum: &str) {
        let text = format!(
            "cluster = \"cli\"\nnode = \"hn0\"\n[[headnode]]\nname = \"hn0\"\naddress = \"localhost\"\n\
             [[headnode]]\nname = \"hn1\"\naddress = \"127.0.0.1\"\n[timing]\npreset = \"fast\"\n\
             [[service]]\nname = \"livy\"\ndriver = \"command\"\nstart = [\"/bin/sleep\", \"9\"]\nannounce = true\n\
             [failover_quorum]\nservers = {:?}\n{quorum}",
            self.ensemble.servers()
        );
        fs::write(self.config.path().join("headship.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(self.config.path());
        command.arg("--run").arg(self.run.path()).stdin(Stdio::null());
        command
    }

    /// Not blocking: the session that owns the records has to be kept alive meanwhile.
    async fn run(&self, arguments: &[&str]) -> Output {
        timeout(LIMIT, self.command(arguments).output()).await.unwrap().unwrap()
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(arguments).await.stdout).unwrap()
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// hn0 is active in epoch 7, and hn1 is ready.
    async fn write_cluster(&mut self) {
        let settings = Settings {
            format: FORMAT,
            incarnation: Incarnation("i".to_owned()),
            paused: None,
            maintenance: Maintenance::default(),
            rest: Rest::new(),
        };
        let lock = Lock { format: FORMAT, by: identity("hn0") };
        let mut ops = vec![
            create(Key::Settings, record::write(&settings)),
            create(Key::Active, record::write(&active("hn0", 7, Phase::Active))),
            create(Key::Lock, record::write(&lock)),
        ];
        for (name, role) in [("hn0", Role::Active), ("hn1", Role::Standby)] {
            let state = HeadnodeState {
                format: FORMAT,
                by: identity(name),
                role,
                epoch: Epoch(7),
                why: "the test says so".to_owned(),
                rest: Rest::new(),
            };
            let health = Health {
                format: FORMAT,
                by: identity(name),
                seq: 1,
                verdict: Verdict::Eligible,
                reasons: vec![],
                checks: [].into(),
                rest: Rest::new(),
            };
            let observed = if role == Role::Active { "running" } else { "stopped" };
            let services = ServicesState {
                format: FORMAT,
                by: identity(name),
                services: [("livy".to_owned(), observed.to_owned())].into(),
                reasons: [].into(),
                alone: [].into(),
                why: "the test says so".to_owned(),
                rest: Rest::new(),
            };
            ops.push(create(Key::Services(node(name)), record::write(&services)));
            ops.push(create(Key::Headnode(node(name)), record::write(&state)));
            ops.push(create(Key::Health(node(name)), record::write(&health)));
        }
        self.write(ops).await;
    }

    /// Renews the lease, as the holder would, until the task is ended.
    async fn renew(&self) -> JoinHandle<()> {
        let root = "/headship/cli".to_owned();
        let (servers, watched) = (self.ensemble.servers(), Watched::Record(Key::Switchover));
        let options = Options { servers, session: Duration::from_secs(2), root, watched };
        let mut link = OneShot::connect(options, LIMIT).await.unwrap();
        tokio::spawn(async move {
            for seq in 0.. {
                let lease =
                    Lease { format: FORMAT, epoch: Epoch(7), seq, lease_ms: 2000, kill_ms: 500 };
                let (key, data) = (Key::Lease, record::write(&lease));
                let op = match seq {
                    0 => Op::Create { key, data },
                    _ => Op::Set { key, version: None, data },
                };
                // What fails is missed by the test, which waits for it.
                drop(link.write(vec![op]).await);
                sleep(Duration::from_millis(50)).await;
            }
        })
    }

    /// `headship status` once it finds all well. On a busy machine renewals may come late at first.
    async fn healthy_status(&self) -> Output {
        let begin = Instant::now();
        loop {
            let status = self.run(&["status"]).await;
            if code(&status) == 0 {
                return status;
            }
            assert!(begin.elapsed() < LIMIT, "{status:?}");
        }
    }

    async fn set_active(&mut self, active: Active) {
        let data = record::write(&active);
        self.write(vec![Op::Set { key: Key::Active, version: None, data }]).await;
    }

    async fn write(&mut self, ops: Vec<Op>) {
        let outcome = self.link.write(ops).await;
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    }

    async fn read(&mut self, key: Key) -> Found {
        self.link.read(&[key]).await.pop().unwrap()
    }

    /// Waits for an order without an answer, as the active does.
    async fn await_order(&mut self) -> SwitchoverOrder {
        let order = async {
            loop {
                if let Found::Data { data, .. } = self.read(Key::Switchover).await {
                    let order: SwitchoverOrder = record::parse(&Key::Switchover, &data).unwrap();
                    if order.answer.is_none() {
                        return order;
                    }
                }
                self.link.changed().await;
            }
        };
        timeout(LIMIT, order).await.expect("an order comes")
    }

    async fn answer(&mut self, order: SwitchoverOrder, answer: Answer) {
        let data = record::write(&SwitchoverOrder { answer: Some(answer), ..order });
        self.write(vec![Op::Set { key: Key::Switchover, version: None, data }]).await;
    }
}

/// The program, built now if that is needed: cargo does not build the programs of other packages for a test.
fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let mut command = std::process::Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--package", "headship-cli", "--message-format", "json"]);
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        let messages = String::from_utf8(output.stdout).unwrap();
        let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let program = messages.filter_map(|it| it["executable"].as_str().map(PathBuf::from)).next();
        program.expect("cargo tells what it built")
    };
    BUILT.get_or_init(build).clone()
}

/// Waits until the program has told of something, interrupts it, and sees it say that it goes on.
async fn interrupt_when_told(mut child: Child, what: &str) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = async { while !lines.next_line().await.unwrap().expect(what).contains(what) {} };
    timeout(LIMIT, told).await.expect(what);
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 10, "{output:?}");
    assert!(stderr(&output).contains("it goes on by itself"), "{output:?}");
}

fn interrupt(child: &Child) {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
}

fn create(key: Key, data: String) -> Op {
    Op::Create { key, data }
}

fn node(name: &str) -> NodeName {
    NodeName::try_from(name).unwrap()
}

fn identity(name: &str) -> Identity {
    let id = |what: &str| format!("{what}-of-{name}");
    Identity { node: node(name), machine: id("machine"), boot: id("boot"), process: id("process") }
}

fn active(holder: &str, epoch: u64, phase: Phase) -> Active {
    Active {
        format: FORMAT,
        incarnation: Incarnation("i".to_owned()),
        epoch: Epoch(epoch),
        holder: Some(identity(holder)),
        phase,
        claimant: None,
        lease_ms: 2000,
        kill_ms: 500,
        services: vec![],
        addresses: vec![],
        since: WallTime(0),
        rest: Rest::new(),
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
