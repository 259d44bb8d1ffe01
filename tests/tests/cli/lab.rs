//! An ensemble with the records of a cluster, whose active the tests play.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::rc::Rc;
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
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use zookeeper_client::{Acl, AuthId, Client, Permission};

/// Within this everything comes about on a busy machine, too.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How many ensembles are up at once. Most of the time the tests wait for something.
const UP_AT_ONCE: usize = 2;

/// The tick of the preset `normal`. Sessions of up to 20 ticks are granted.
const SLOW_TICK: Duration = Duration::from_millis(500);

/// Within this everything ends that a command does, with the longest time that it waits for an answer.
const END: Duration = Duration::from_secs(90);

/// A cluster's records in an ensemble, of which a few are up at a time, with a configuration and a run folder of a host.
pub(crate) struct Lab {
    pub(crate) ensemble: Rc<RefCell<Ensemble>>,
    cluster: String,
    tick: Duration,
    pub(crate) config: TempDir,
    pub(crate) run: TempDir,
    pub(crate) link: OneShot,
    up: Rc<SemaphorePermit<'static>>,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(FAST_TICK).await
    }

    /// As `start`, where no session has to end in time: they last five times as long.
    pub(crate) async fn patient() -> Self {
        Self::with(SLOW_TICK).await
    }

    async fn with(tick: Duration) -> Self {
        let up = Rc::new(one_more_up().await);
        // Before there is a session that has to be kept alive.
        program();
        let ensemble = Ensemble::start(tick).unwrap_or_else(|error| panic!("{error}"));
        Self::of((Rc::new(RefCell::new(ensemble)), tick), "cli", up).await
    }

    /// Another cluster of this name in the same ensemble, which nobody has begun yet.
    pub(crate) async fn beside(&self, cluster: &str) -> Self {
        let ensemble = (Rc::clone(&self.ensemble), self.tick);
        Self::of(ensemble, cluster, Rc::clone(&self.up)).await
    }

    async fn of(
        (ensemble, tick): (Rc<RefCell<Ensemble>>, Duration),
        cluster: &str,
        up: Rc<SemaphorePermit<'static>>,
    ) -> Self {
        let servers = ensemble.borrow().servers();
        let link = OneShot::connect(options(servers, cluster), LIMIT).await.unwrap();
        let folder = || tempfile::tempdir().unwrap();
        let (config, run, cluster) = (folder(), folder(), cluster.to_owned());
        let lab = Self { ensemble, cluster, tick, config, run, link, up };
        lab.configure(&format!("tick_ms = {}\nsync_limit = 5\n", tick.as_millis()));
        lab
    }

    pub(crate) fn configure(&self, quorum: &str) {
        let preset = if self.tick == SLOW_TICK { "normal" } else { "fast" };
        let text = format!(
            "cluster = \"{}\"\nnode = \"hn0\"\n[[headnode]]\nname = \"hn0\"\naddress = \"localhost\"\n\
             [[headnode]]\nname = \"hn1\"\naddress = \"127.0.0.1\"\n[timing]\npreset = \"{preset}\"\n\
             [[service]]\nname = \"livy\"\ndriver = \"command\"\nstart = [\"/bin/sleep\", \"9\"]\nannounce = true\n\
             [failover_quorum]\nservers = {:?}\n{quorum}",
            self.cluster,
            self.servers()
        );
        self.rewrite(&text);
    }

    /// Changes a part of the configuration, and returns what it was as a whole.
    pub(crate) fn reconfigure(&self, from: &str, to: &str) -> String {
        let before = fs::read_to_string(self.config.path().join("headship.toml")).unwrap();
        assert!(before.contains(from), "{from}: {before}");
        self.rewrite(&before.replacen(from, to, 1));
        before
    }

    /// Writes the configuration as a whole.
    pub(crate) fn rewrite(&self, text: &str) {
        fs::write(self.config.path().join("headship.toml"), text).unwrap();
    }

    pub(crate) fn servers(&self) -> Vec<String> {
        self.ensemble.borrow().servers()
    }

    /// Leaves everybody this right alone to a node below the cluster's root, as somebody with ZooKeeper's own tools would.
    pub(crate) async fn allow_only(&self, permission: Permission, path: &str) {
        let connector = Client::connector().with_session_timeout(SLOW_TICK * 20);
        let [server, ..] = &self.servers()[..] else { panic!("there are three") };
        let connection = TcpStream::connect(server).await.unwrap();
        let client = async_net::bringing(connection, connector.connect(server)).await.unwrap();
        let (path, acl) = (format!("/headship/{}/{path}", self.cluster), AuthId::anyone());
        client.set_acl(&path, &[Acl::new(permission, acl)], None).await.unwrap();
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

    pub(crate) fn run_on(&self, arguments: &[&str]) -> Running {
        Running::new(self.begin(arguments))
    }

    /// As `run_on`, with a terminal on which somebody can answer.
    pub(crate) fn run_at_a_terminal(&self, arguments: &[&str]) -> (Running, File) {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let theirs = rustix::fs::open(&theirs, flags, Mode::empty()).unwrap();
        let mut command = self.command(arguments);
        command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
        (Running::new(command.spawn().unwrap()), File::from(ours))
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
        let options = options(self.servers(), &self.cluster);
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

/// A command that runs, and what it said so far.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    err: ChildStderr,
    said: String,
    complained: String,
}

/// How a command ended.
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) said: String,
    pub(crate) complained: String,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (said, complained) = (String::new(), String::new());
        Self { child, out: BufReader::new(out), err, said, complained }
    }

    /// Waits until it has told of something.
    pub(crate) async fn until(&mut self, what: &str) {
        let told = async {
            while !self.said.contains(what) {
                let read = self.out.read_line(&mut self.said).await.unwrap();
                assert!(read > 0, "it ends without a word of {what}: {}", self.said);
            }
        };
        timeout(LIMIT, told).await.expect(what);
    }

    /// Waits until it asks, and answers.
    pub(crate) async fn answer(&mut self, terminal: &mut File, answer: &str) {
        self.until_it_asks().await;
        writeln!(terminal, "{answer}").unwrap();
    }

    pub(crate) async fn until_it_asks(&mut self) {
        let asked = async {
            while !self.complained.ends_with("[yes/no] ") {
                let mut some = [0; 1024];
                let read = self.err.read(&mut some).await.unwrap();
                assert!(read > 0, "it ends without a question: {}", self.complained);
                self.complained.push_str(std::str::from_utf8(&some[..read]).unwrap());
            }
        };
        timeout(LIMIT, asked).await.expect("it asks");
    }

    pub(crate) fn interrupt(&self) {
        interrupt(&self.child);
    }

    /// How it ended, with all that it said and complained of.
    pub(crate) async fn end(mut self) -> End {
        let (out, err) = (&mut self.said, &mut self.complained);
        let rest = async {
            tokio::try_join!(self.out.read_to_string(out), self.err.read_to_string(err)).unwrap();
            self.child.wait().await.unwrap()
        };
        let status = timeout(END, rest).await.expect("it ends");
        let Self { said, complained, .. } = self;
        End { code: status.code().expect("by itself"), said, complained }
    }
}

/// Of a session that lasts longer than a test machine stands still, as far as the ensemble grants it.
fn options(servers: Vec<String>, cluster: &str) -> Options {
    let (session, root) = (SLOW_TICK * 20, format!("/headship/{cluster}"));
    Options { servers, session, root, watched: Watched::Record(Key::Switchover) }
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
