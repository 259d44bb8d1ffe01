//! The cluster as a test sees it: who is active, what runs where, what is untouched; and how it is put in order.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

use headship_core::lease::Permit;
use headship_core::node::NodeName;
use headship_core::quorum::{Found, Op, Outcome as Written};
use headship_core::record::{self, HeadnodeState, Health, Key, Role, Verdict};
use headship_tests::lab::ensemble::CLIENT_PORT;
use headship_tests::lab::overlap::{End, Overlap};
use headship_tests::lab::service_log::{self, Event, ServiceLog, What};
use headship_tests::lab::{HA_UNITS, Host, Lab, Preset};
use headship_tests::suite;
use headship_zk::{OneShot, Options, Watched};
use serde::de::DeserializeOwned;

use super::{Answer, OnPurpose};

/// Units of the suite that are enabled on a headnode; master-ha-service is started by master-fc.
pub(super) const DAEMONS: [&str; 4] =
    ["slave-fc.service", "slave-ha-service.service", "master-fc.service", "health-monitor.service"];

/// The HA services, in an order that fits their `after`.
pub(super) const SERVICES: [&str; 4] = ["ambari-server", "timeline-server", "job-history", "livy"];

/// How long a settled cluster may take: a failover by waiting, the standby's boot, and the ensemble's own start.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// What takes a moment, on a busy machine, too.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// What takes a failover with the slowest figures that are used here, and some patience.
pub(super) const FAILOVER: Duration = Duration::from_secs(30);

/// How often a condition is looked at: each look reads files of several hosts, on two cores that the hosts need, too.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A service that lives beats more often than this, on a busy machine, too.
const BEAT_LIMIT: u64 = 2_000_000_000;

/// What brings a headnode back in order that a test left without some of its daemons.
const TIDY: &str = "systemctl unmask --runtime --quiet master-fc slave-ha-service health-monitor master-ha-service;
    rm -f /run/headship/guard-failed;
    systemctl start slave-fc slave-ha-service master-fc health-monitor";

/// What must be the same afterwards where nothing was to happen to the services.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) at: u64,
    pub(super) active: &'static str,
    epoch: u64,
    lives: BTreeMap<String, u32>,
}

/// A lab with the suite.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    lab: &'a Lab,
    wrong: &'a OnPurpose,
    since: Cell<u64>,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Cluster<'a> {
    pub(super) fn new(lab: &'a Lab, wrong: &'a OnPurpose) -> Answer<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { lab, wrong, since: Cell::new(service_log::now()), runtime })
    }

    pub(super) fn lab(&self) -> &'a Lab {
        self.lab
    }

    /// When the test began.
    pub(super) fn since(&self) -> u64 {
        self.since.get()
    }

    /// The cluster is in order, and the test begins.
    pub(super) fn begin(&self) {
        self.since.set(service_log::now());
    }

    /// From `from` until now the test itself had services run where they must not.
    pub(super) fn was_on_purpose(&self, from: u64) {
        self.wrong.add(from, service_log::now());
    }

    /// All overlaps of this lab's time, but for those that a test made on purpose.
    pub(super) fn overlaps(&self) -> Answer<Vec<Overlap>> {
        let mut overlaps = self.log()?.overlaps();
        overlaps.retain(|overlap| !self.wrong.covers(overlap));
        Ok(overlaps)
    }

    // ---- order ----

    /// Repairs what an earlier test left, and waits until one headnode is active and the other ready.
    pub(super) fn settle(&self) -> Answer<()> {
        self.lab.repair()?;
        for host in self.lab.headnodes() {
            host.run(&["sh", "-c", TIDY])?;
        }
        self.wait(
            "one headnode is active with all services, the other is standby",
            SETTLE_LIMIT,
            || {
                let (active, standby) = self.pair().ok()?;
                (self.serves_all(&active) && self.runs_none(&standby)).then_some(())
            },
        )?;
        self.wait_ready()
    }

    /// Waits until the quorum's records say that the standby is eligible and ready, and so is the active.
    pub(super) fn wait_ready(&self) -> Answer<()> {
        self.wait("both headnodes are eligible, and one of them is standby", SETTLE_LIMIT, || {
            let (active, standby) = self.pair().ok()?;
            let (mine, peers, state) = self
                .with_quorum(async |quorum| {
                    let keys = [
                        Key::Health(node(&active)),
                        Key::Health(node(&standby)),
                        Key::Headnode(node(&standby)),
                    ];
                    let [mine, peers, state] = quorum.read(&keys).await.try_into().ok()?;
                    let (mine, peers): (Health, Health) =
                        (parse(&keys[0], &mine)?, parse(&keys[1], &peers)?);
                    Some((
                        mine.verdict,
                        peers.verdict,
                        parse::<HeadnodeState>(&keys[2], &state)?.role,
                    ))
                })
                .ok()??;
            ([mine, peers] == [Verdict::Eligible; 2] && state == Role::Standby).then_some(())
        })
    }

    /// Waits for what `look` gives; with real programs as services for longer.
    pub(super) fn wait<T>(
        &self,
        sentence: &str,
        limit: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Answer<T> {
        let begun = Instant::now();
        let limit = limit * self.lab.settings().services.slowness();
        loop {
            if let Some(value) = look() {
                return Ok(value);
            }
            if begun.elapsed() > limit {
                return Err(format!("waited {limit:?} in vain: {sentence}").into());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Lets a fault last for `span`. For faults only: what a test waits for is a condition.
    pub(super) fn last(&self, span: Duration) {
        thread::sleep(span);
    }

    // ---- headnodes ----

    /// The active headnode, by its own word, and the other one, which is standby.
    pub(super) fn pair(&self) -> Answer<(Host, Host)> {
        Ok(suite::pair(self.lab.headnodes())?)
    }

    /// What a headnode says that it is; empty if it says nothing.
    pub(super) fn role(&self, host: &Host) -> String {
        suite::role(host)
    }

    /// The line of a daemon in its folder of `/run/headship`; empty if there is none.
    pub(super) fn status(&self, host: &Host, daemon: &str) -> String {
        suite::status(host, daemon)
    }

    /// The permit on a headnode.
    pub(super) fn permit(&self, host: &Host) -> Option<Permit> {
        suite::permit(host)
    }

    /// D of a headnode, in nanoseconds on the clock of the service log.
    pub(super) fn deadline(&self, host: &Host) -> Answer<u64> {
        suite::deadline(host).ok_or_else(|| format!("{} holds no permit", host.name()).into())
    }

    /// The epoch that a headnode holds.
    pub(super) fn epoch(&self, host: &Host) -> Answer<u64> {
        Ok(self.permit(host).ok_or_else(|| format!("{} holds no permit", host.name()))?.epoch.0)
    }

    /// How long an active may act without a renewal that was acknowledged, and how long after that everything must be
    /// gone, both in nanoseconds.
    pub(super) fn lease_and_kill(&self) -> (u64, u64) {
        match self.lab.settings().preset {
            Preset::Fast => (2_000_000_000, 500_000_000),
            Preset::Normal => (6_000_000_000, 2_000_000_000),
            Preset::Tolerant => (16_000_000_000, 2_000_000_000),
        }
    }

    /// Waits until `host` is active in a later epoch than `epoch`, with all services, and returns that epoch.
    pub(super) fn wait_active(&self, host: &Host, epoch: u64) -> Answer<u64> {
        self.wait(&format!("{} is active with all services", host.name()), FAILOVER, || {
            let held = self.epoch(host).ok()?;
            (held > epoch && self.role(host) == "active" && self.serves_all(host)).then_some(held)
        })
    }

    /// Waits until one headnode is active in a later epoch than `epoch`, with all services, and the other one standby.
    pub(super) fn wait_any_active(&self, epoch: u64) -> Answer<Host> {
        self.wait("one headnode is active with all services, the other standby", FAILOVER, || {
            let (active, standby) = self.pair().ok()?;
            let later = self.epoch(&active).ok()? > epoch;
            (later && self.serves_all(&active) && self.runs_none(&standby)).then_some(active)
        })
    }

    /// Waits until `host` says that it is `role`.
    pub(super) fn wait_role(&self, host: &Host, role: &str) -> Answer<()> {
        self.wait(&format!("{} is {role}", host.name()), FAILOVER, || {
            (self.role(host) == role).then_some(())
        })
    }

    /// Waits until the active has renewed often enough that its deadline lies `span` after what it is now.
    pub(super) fn wait_renewed(&self, host: &Host, span: Duration) -> Answer<()> {
        let nanos = u64::try_from(span.as_nanos())?;
        let until = self.deadline(host)? + nanos;
        self.wait(&format!("{} renews for {span:?}", host.name()), span + SOON, || {
            self.deadline(host).is_ok_and(|deadline| deadline > until).then_some(())
        })
    }

    // ---- services ----

    pub(super) fn log(&self) -> Answer<ServiceLog> {
        Ok(self.lab.service_log()?)
    }

    /// Whether all HA services are alive on a headnode, and each has said that it serves.
    fn serves_all(&self, host: &Host) -> bool {
        let (Ok(log), Ok(alive)) = (self.lab.service_log(), self.lives_at(service_log::now()))
        else {
            return false;
        };
        SERVICES.into_iter().all(|service| {
            let Some(pid) = alive.get(&format!("{service} on {}", host.name())) else {
                return false;
            };
            let mut told = log.events().iter().rev().filter(|event| {
                event.what != What::Alive
                    && (event.host.as_str(), event.service.as_str(), event.pid)
                        == (host.name(), service, *pid)
            });
            told.next().is_some_and(|last| last.what == What::Ready)
        })
    }

    /// Whether no HA service runs on a headnode.
    pub(super) fn runs_none(&self, host: &Host) -> bool {
        suite::runs_none(host)
    }

    /// What services told at or after `since`, but for their beats.
    pub(super) fn told(&self, since: u64) -> Answer<Vec<Event>> {
        let log = self.log()?;
        let told =
            log.events().iter().filter(|event| event.at >= since && event.what != What::Alive);
        Ok(told.cloned().collect())
    }

    /// When a service on a headnode first told `what`, at or after `since`.
    pub(super) fn first(&self, host: &Host, service: &str, what: What, since: u64) -> Answer<u64> {
        let first = self.log()?.first(host.name(), service, what, since);
        first.ok_or_else(|| format!("{service} on {} did not tell {what}", host.name()).into())
    }

    /// The last sign of life of any service on a headnode, of those that began before `before`.
    pub(super) fn last_sign(&self, host: &Host, before: u64) -> Answer<u64> {
        let lives = self.log()?.intervals();
        let last = lives
            .iter()
            .filter(|life| life.host == host.name() && life.from < before)
            .map(|life| life.to)
            .max();
        last.ok_or_else(|| format!("no service ever ran on {}", host.name()).into())
    }

    /// Fails unless services began, since `since`, on `host` only, each once everything before it served.
    pub(super) fn assert_started_in_order(&self, host: &Host, since: u64) -> Answer<()> {
        for event in self.told(since)? {
            assert!(
                event.what != What::Start || event.host == host.name(),
                "started elsewhere: {event}"
            );
        }
        self.assert_started_on(host, since)
    }

    /// Fails unless all services began on `host` since `since`, each once everything before it served.
    pub(super) fn assert_started_on(&self, host: &Host, since: u64) -> Answer<()> {
        let began = |service| self.first(host, service, What::Start, since);
        let served = |service| self.first(host, service, What::Ready, since);
        for (service, after) in ORDER {
            assert!(began(service)? >= served(after)?, "{service} began before {after} served");
        }
        Ok(())
    }

    /// Fails unless each service on `host` was told to stop, since `since`, after everything that needs it had stopped.
    pub(super) fn assert_stopped_in_order(&self, host: &Host, since: u64) -> Answer<()> {
        for (service, after) in ORDER {
            let stopped = self.first(host, service, What::Stop, since)?;
            let told = self.first(host, after, What::Term, since)?;
            assert!(stopped <= told, "{after} was told to stop before {service} had stopped");
        }
        Ok(())
    }

    /// Notes what nothing may touch from now on.
    pub(super) fn before(&self) -> Answer<Before> {
        self.wait("each service runs once", SOON, || {
            let active =
                self.lab.headnodes().into_iter().find(|host| self.role(host) == "active")?;
            let at = service_log::now();
            let lives = self.lives_at(at).ok().filter(|lives| lives.len() == SERVICES.len())?;
            Some(Before { at, active: active.name(), epoch: self.epoch(&active).ok()?, lives })
        })
    }

    /// Fails if since then a service was started, told to stop or killed, or the epoch or the active is another.
    pub(super) fn assert_untouched(&self, before: &Before) -> Answer<()> {
        let told = self.told(before.at)?;
        assert!(
            told.is_empty(),
            "services were touched: {}",
            told.iter().map(|event| format!("{event}; ")).collect::<String>()
        );
        assert_eq!(self.lives_at(service_log::now())?, before.lives, "processes of services");
        let active = self.lab.host(before.active)?;
        // The log is slow to show an end that nobody told it.
        for host in self.lab.headnodes() {
            for unit in HA_UNITS {
                let (runs, must) = (host.runs(unit), host.name() == before.active);
                assert_eq!(runs, must, "whether {unit} runs on {}", host.name());
            }
        }
        assert_eq!(
            (self.role(&active), self.epoch(&active)?),
            ("active".to_owned(), before.epoch),
            "role and epoch of {}",
            before.active
        );
        Ok(())
    }

    /// The services that are alive, and their processes.
    fn lives_at(&self, at: u64) -> Answer<BTreeMap<String, u32>> {
        let mut alive = BTreeMap::new();
        // In the order of their starts: a later life of a service on a host takes the place of an earlier one.
        for life in self.log()?.intervals() {
            let name = format!("{} on {}", life.service, life.host);
            if life.end == End::LastSeen && life.to + BEAT_LIMIT > at {
                alive.insert(name, life.pid);
            } else {
                alive.remove(&name);
            }
        }
        Ok(alive)
    }

    // ---- daemons ----

    /// Waits until the unit runs with another process than `old`, or with any.
    pub(super) fn wait_back(&self, host: &Host, unit: &str, old: Option<i32>) -> Answer<i32> {
        self.wait(&format!("{unit} runs again on {}", host.name()), SOON, || {
            let pid = self.pid(host, unit)?;
            (Some(pid) != old).then_some(pid)
        })
    }

    /// The process of a daemon's unit, as this machine numbers it.
    pub(super) fn pid(&self, host: &Host, unit: &str) -> Option<i32> {
        self.pid_of(host, unit, unit.strip_suffix(".service")?)
    }

    /// The process of a unit that runs `program`. What its `ExecStopPost=` runs is in the same control group.
    pub(super) fn pid_of(&self, host: &Host, unit: &str, program: &str) -> Option<i32> {
        let of_program = host.find_processes(program).ok()?;
        let of_unit = host.find_processes(unit).ok()?;
        let own = of_unit.into_iter().find(|pid| of_program.contains(pid))?;
        Some(own.as_raw_nonzero().get())
    }

    /// What a unit's journal says since the test began, a line an entry.
    pub(super) fn journal(&self, host: &Host, unit: &str) -> Answer<String> {
        let age = Duration::from_nanos(service_log::now().saturating_sub(self.since()));
        let since = format!("-{}s", age.as_secs() + 1);
        Ok(host.run(&[
            "journalctl",
            "--no-pager",
            "--output",
            "cat",
            "--since",
            &since,
            "-u",
            unit,
        ])?)
    }

    // ---- quorum ----

    /// Does something with a session of its own.
    pub(super) fn with_quorum<T>(&self, work: impl AsyncFnOnce(&mut OneShot) -> T) -> Answer<T> {
        let servers = self.lab.servers();
        let options = Options {
            servers: servers
                .iter()
                .map(|server| format!("{}:{CLIENT_PORT}", server.address()))
                .collect(),
            session: Duration::from_millis(u64::from(self.lab.settings().tick_ms) * 8),
            root: "/headship/lab".to_owned(),
            watched: Watched::Nothing,
        };
        self.block_on(async {
            let mut quorum = OneShot::connect(options, SOON).await?;
            let answer = tokio::time::timeout(SOON, work(&mut quorum)).await;
            quorum.close(Duration::from_secs(1)).await;
            Ok(answer?)
        })
    }

    fn block_on<T>(&self, work: impl Future<Output = Answer<T>>) -> Answer<T> {
        self.runtime.block_on(work)
    }

    /// The record under `key`, if it is there and can be understood.
    pub(super) fn read<T: DeserializeOwned>(&self, key: &Key) -> Answer<T> {
        let found =
            self.with_quorum(async |quorum| quorum.read(std::slice::from_ref(key)).await)?;
        let record = found.first().and_then(|found| parse(key, found));
        record.ok_or_else(|| format!("no record `{}`: {found:?}", key.path()).into())
    }

    /// Whether the quorum says that there is no record under `key`.
    pub(super) fn is_missing(&self, key: &Key) -> bool {
        let found = self.with_quorum(async |quorum| quorum.read(std::slice::from_ref(key)).await);
        found.is_ok_and(|found| found == [Found::Missing])
    }

    /// Writes whatever it is, as somebody who does not ask the suite.
    pub(super) fn write(&self, step: Op) -> Answer<()> {
        match self.with_quorum(async |quorum| quorum.write(vec![step]).await)? {
            Written::Done { .. } => Ok(()),
            refused @ (Written::Refused { .. } | Written::Unknown) => {
                Err(format!("not written: {refused:?}").into())
            }
        }
    }
}

/// Which service comes after which, as tests/lab/headship.toml has it.
const ORDER: [(&str, &str); 3] = [
    ("timeline-server", "ambari-server"),
    ("job-history", "timeline-server"),
    ("livy", "ambari-server"),
];

/// A headnode's name as the suite writes it.
pub(super) fn node(host: &Host) -> NodeName {
    NodeName::try_from(host.name()).expect("the lab's host names are short words")
}

fn parse<T: DeserializeOwned>(key: &Key, found: &Found) -> Option<T> {
    match found {
        Found::Data { data, .. } => record::parse(key, data).ok(),
        Found::Missing | Found::Unread => None,
    }
}
