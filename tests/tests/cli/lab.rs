//! An ensemble with the records of a cluster, whose active the tests play.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use headship_core::epoch::{Epoch, Incarnation};
use headship_core::node::{Identity, NodeName};
use headship_core::quorum::{Found, Op, Outcome, Refusal};
use headship_core::record::{
    self, Active, Answer, FORMAT, HeadnodeState, Health, Key, Lease, Lock, Maintenance, Order,
    Phase, Rest, Role, ServicesState, Settings, SwitchoverOrder, Verdict,
};
use headship_core::time::WallTime;
use headship_tests::ensemble::{Ensemble, FAST_TICK};
use headship_tests::programs::programs;
use headship_zk::{OneShot, Options, Watched};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Within this everything comes about on a busy machine, too.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How many ensembles are up at once. Most of the time the tests wait for something.
const UP_AT_ONCE: usize = 2;

/// An ensemble, a few at a time, with a configuration and a run folder of a host.
pub(crate) struct Lab {
    pub(crate) ensemble: Ensemble,
    pub(crate) config: TempDir,
    pub(crate) run: TempDir,
    pub(crate) link: OneShot,
    _up: SemaphorePermit<'static>,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        let up = one_more_up().await;
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
        let lab = Self { ensemble, config: folder(), run: folder(), link, _up: up };
        fs::create_dir(lab.run.path().join("status")).unwrap();
        lab.configure("tick_ms = 100\nsync_limit = 5\n");
        lab
    }

    pub(crate) fn configure(&self, quorum: &str) {
        let text = format!(
            "cluster = \"cli\"\nnode = \"hn0\"\n[[headnode]]\nname = \"hn0\"\naddress = \"localhost\"\n\
             [[headnode]]\nname = \"hn1\"\naddress = \"127.0.0.1\"\n[timing]\npreset = \"fast\"\n\
             [[service]]\nname = \"livy\"\ndriver = \"command\"\nstart = [\"/bin/sleep\", \"9\"]\nannounce = true\n\
             [failover_quorum]\nservers = {:?}\n{quorum}",
            self.ensemble.servers()
        );
        fs::write(self.config.path().join("headship.toml"), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).arg("--config").arg(self.config.path());
        command.arg("--run").arg(self.run.path()).stdin(Stdio::null());
        command
    }

    /// Not blocking: the session that owns the records has to be kept alive meanwhile.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        timeout(LIMIT, self.command(arguments).output()).await.unwrap().unwrap()
    }

    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(arguments).await.stdout).unwrap()
    }

    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// hn0 is active in epoch 7, and hn1 is ready.
    pub(crate) async fn write_cluster(&mut self) {
        let settings = Settings {
            format: FORMAT,
            incarnation: Incarnation("i".to_owned()),
            paused: None,
            keep: None,
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
                attempt: None,
                fence: None,
                kept: None,
                gave_up: None,
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
                kept: None,
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
    pub(crate) async fn renew(&self) -> JoinHandle<()> {
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
    pub(crate) async fn healthy_status(&self) -> Output {
        let begin = Instant::now();
        loop {
            let status = self.run(&["status"]).await;
            if code(&status) == 0 {
                return status;
            }
            assert!(begin.elapsed() < LIMIT, "{status:?}");
        }
    }

    pub(crate) async fn settings(&mut self) -> Settings {
        let Found::Data { data, .. } = self.read(Key::Settings).await else {
            panic!("no settings")
        };
        record::parse(&Key::Settings, &data).unwrap()
    }

    pub(crate) async fn set_active(&mut self, active: Active) {
        let data = record::write(&active);
        self.write(vec![Op::Set { key: Key::Active, version: None, data }]).await;
    }

    pub(crate) async fn write(&mut self, ops: Vec<Op>) {
        let begin = Instant::now();
        let outcome = loop {
            let outcome = self.link.write(ops.clone()).await;
            // On a busy machine the connection may just be gone, and is made anew.
            let unsent = matches!(outcome, Outcome::Refused { why: Refusal::NotSent, .. });
            if !unsent || begin.elapsed() > LIMIT {
                break outcome;
            }
            sleep(Duration::from_millis(20)).await;
        };
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    }

    pub(crate) async fn read(&mut self, key: Key) -> Found {
        self.link.read(&[key]).await.pop().unwrap()
    }

    pub(crate) async fn await_order<O: Order + DeserializeOwned>(&mut self) -> O {
        await_order(&mut self.link).await
    }

    /// Waits until a record is gone for this connection, too, whose server may be behind that of whoever deleted it.
    pub(crate) async fn await_missing(&mut self, key: Key) {
        let missing = async {
            while self.read(key.clone()).await != Found::Missing {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, missing).await.expect("it is gone");
    }

    pub(crate) async fn answer(&mut self, order: SwitchoverOrder, answer: Answer) {
        let data = record::write(&SwitchoverOrder { answer: Some(answer), ..order });
        self.write(vec![Op::Set { key: Key::Switchover, version: None, data }]).await;
    }
}

/// Leave to have one more ensemble up.
pub(crate) async fn one_more_up() -> SemaphorePermit<'static> {
    static UP: Semaphore = Semaphore::const_new(UP_AT_ONCE);
    UP.acquire().await.unwrap()
}

/// Waits for an order without an answer, as the active does.
pub(crate) async fn await_order<O: Order + DeserializeOwned>(link: &mut OneShot) -> O {
    let order = async {
        loop {
            if let Found::Data { data, .. } = link.read(&[O::KEY]).await.pop().unwrap() {
                let order: O = record::parse(&O::KEY, &data).unwrap();
                if order.given().answer.is_none() {
                    return order;
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, order).await.expect("an order comes")
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    programs().unwrap().join("headship")
}

/// Waits until the program has told of something, interrupts it, and sees it say that it goes on.
pub(crate) async fn interrupt_when_told(mut child: Child, what: &str) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = async { while !lines.next_line().await.unwrap().expect(what).contains(what) {} };
    timeout(LIMIT, told).await.expect(what);
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 10, "{output:?}");
    assert!(stderr(&output).contains("it goes on by itself"), "{output:?}");
}

pub(crate) fn interrupt(child: &Child) {
    let id = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
}

pub(crate) fn create(key: Key, data: String) -> Op {
    Op::Create { key, data }
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::try_from(name).unwrap()
}

pub(crate) fn identity(name: &str) -> Identity {
    let id = |what: &str| format!("{what}-of-{name}");
    Identity { node: node(name), machine: id("machine"), boot: id("boot"), process: id("process") }
}

pub(crate) fn active(holder: &str, epoch: u64, phase: Phase) -> Active {
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
        taken_on: None,
        rest: Rest::new(),
    }
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
