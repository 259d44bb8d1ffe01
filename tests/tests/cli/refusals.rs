//! What each command says when it cannot do what it was asked for, and how it ends: `refusals.txt` has all of it, in the
//! order of this file. `HEADSHIP_REWRITE=1` accepts what is said now.

use std::fs::{self, File};

use headship_core::epoch::Incarnation;
use headship_core::quorum::Op;
use headship_core::record::{
    self, Active, FORMAT, Health, Key, Lock, Phase, ServicesState, Settings, Verdict,
};
use rustix::fs::{FlockOperation, flock};
use tokio::process::Command;

use crate::lab::{End, Lab, active, identity, node, program};
use crate::transcript::{Transcript, compare};

/// The daemons, of which one each runs on a host.
const DAEMONS: [&str; 5] =
    ["master-fc", "master-ha-service", "slave-fc", "slave-ha-service", "health-monitor"];

/// Those that run on headnodes only.
const HEADNODES_ALONE: [&str; 3] = ["master-fc", "master-ha-service", "health-monitor"];

/// A host's name that no resolver has to be asked about: its only label is too long.
const NO_HOST: &str = "a-label-of-more-than-sixty-three-letters-is-the-name-of-no-host-at-all";

/// Every command that asks or changes something, with what it needs to be understood.
const EACH: [&str; 16] = [
    "status",
    "active",
    "is-active",
    "history",
    "switchover",
    "failover --from hn0 --yes",
    "fence list",
    "fence confirm hn0 --yes",
    "pause",
    "pause --keep",
    "resume",
    "maintenance hn1 on",
    "maintenance livy off",
    "adopt",
    "check",
    "config show",
];

impl Transcript {
    /// hn0 holds office, and what is in the way of this and that.
    async fn in_office(&mut self) {
        self.lab.write_cluster().await;
        let renewals = self.lab.renew().await;
        self.lab.healthy_status().await;
        self.situation("hn0 is active in epoch 7, hn1 is ready");
        self.each(&[
            "is-active hn1",
            "is-active hn7",
            "switchover --to hn0",
            "switchover --to hn7",
            "failover --from hn0",
            "failover --from hn1 --yes",
            "failover --from hn7 --yes",
            "fence confirm hn0 --yes",
            "maintenance hn0 on",
            "maintenance hn7 on",
            "maintenance hn1 off",
            "resume",
            "maintenance hn1 on",
            "maintenance hn1 on",
            "maintenance hn1 off",
            "pause",
            "resume",
        ])
        .await;
        self.left_alone().await;
        self.situation("hn0 has taken office and starts its services");
        self.lab.set_active(active("hn0", 7, Phase::BecomingActive)).await;
        self.each(&["active", "switchover --to hn0"]).await;
        self.lab.set_active(active("hn0", 7, Phase::Active)).await;
        self.situation("a peer that cannot run the services");
        self.change(Key::Health(node("hn1")), |health: &mut Health| {
            health.verdict = Verdict::Ineligible;
            health.reasons = vec!["/ has 0 MiB free, 100 are wanted".to_owned()];
        })
        .await;
        self.each(&["status", "failover --from hn0 --yes"]).await;
        self.situation("paused");
        self.change(Key::Settings, |settings: &mut Settings| {
            settings.paused = Some("eve@hn1: new racks".to_owned());
        })
        .await;
        self.each(&["pause", "failover --from hn0 --yes"]).await;
        self.change(Key::Settings, |settings: &mut Settings| settings.paused = None).await;

        self.situation("claimed by hn1, and hn0 lives");
        let claimant = Some(identity("hn1"));
        self.lab.set_active(Active { claimant, ..active("hn0", 7, Phase::Active) }).await;
        self.each(&[
            "active",
            "fence list",
            "fence confirm hn0 --yes",
            "fence confirm hn1 --yes",
            "fence confirm hn7 --yes",
            "failover --from hn0 --yes",
            "pause --keep",
            "maintenance hn1 on",
            "pause",
            "resume",
        ])
        .await;

        renewals.abort();
    }

    /// Services in maintenance: livy on the headnode in office, which shows that it goes by it, and one that is pinned.
    async fn left_alone(&mut self) {
        self.situation("of services");
        let services = Key::Services(node("hn0"));
        let leaves = |name: &'static str| {
            move |state: &mut ServicesState| state.alone = [name.to_owned()].into()
        };
        let keeps_all = |state: &mut ServicesState| state.alone.clear();
        self.change(services.clone(), leaves("livy")).await;
        self.each(&["maintenance livy on", "maintenance livy on"]).await;
        self.change(services.clone(), keeps_all).await;
        self.each(&["maintenance livy off"]).await;
        let pinned = "[[service]]\nname = \"esp\"\nunit = \"esp.service\"\npinned = \"hn0\"\n";
        let before =
            self.lab.reconfigure("[failover_quorum]", &format!("{pinned}[failover_quorum]"));
        self.change(services.clone(), leaves("esp")).await;
        self.each(&["maintenance esp on"]).await;
        self.change(services, keeps_all).await;
        self.each(&["maintenance esp off"]).await;
        self.lab.rewrite(&before);
    }

    /// Nobody is active, or nobody can say who is.
    async fn without_office(&mut self) {
        self.situation("in transition");
        self.lab.set_active(active("hn0", 7, Phase::BecomingStandby)).await;
        self.each(&["active", "is-active hn0", "switchover", "pause", "maintenance hn0 on"]).await;
        self.each(&["maintenance hn0 on", "maintenance hn1 on"]).await;
        self.situation("ceded, and not claimed yet");
        let (to, until_ms) = (Some(node("hn1")), 20_000);
        self.lab.set_active(active("hn0", 7, Phase::Ceded { to, until_ms })).await;
        self.each(&["active", "failover --from hn0 --yes"]).await;
        self.situation("a holder that renews no more, and is not seen");
        self.lab.set_active(active("hn0", 7, Phase::Active)).await;
        self.lab.write(vec![Op::Delete { key: Key::Lock, version: None }]).await;
        self.each(&["active", "is-active hn0"]).await;

        self.situation(
            "a holder that the configuration here does not know, or whose address nobody knows",
        );
        let unknown = self.lab.reconfigure("\"localhost\"", &format!("{NO_HOST:?}"));
        self.lab.write(vec![create_lock("hn0")]).await;
        self.each(&["active --host", "active --ip", "active --json"]).await;
        self.lab.set_active(active("hn7", 7, Phase::Active)).await;
        self.set(Key::Lock, lock("hn7")).await;
        self.each(&["active", "active --json", "is-active hn0", "resume"]).await;
        self.lab.rewrite(&unknown);
        self.lab.set_active(active("hn0", 7, Phase::Active)).await;
        self.lab.write(vec![Op::Delete { key: Key::Lock, version: None }]).await;
        self.situation("another life of the cluster in `active` than in `settings`");
        self.change(Key::Settings, |settings: &mut Settings| {
            settings.incarnation = Incarnation("another".to_owned());
        })
        .await;
        self.each(&["status", "active", "failover --from hn0 --yes"]).await;
        self.situation("records that are none");
        for key in [Key::Active, Key::Settings, Key::Lease] {
            self.set(key, "hello".to_owned()).await;
        }
        self.lab.write(vec![Op::Create { key: Key::History, data: "hello".to_owned() }]).await;
        self.each(&EACH).await;
    }

    /// Nothing can be asked.
    async fn without_quorum_or_configuration(&mut self) {
        self.situation("the failover quorum is out of sight");
        (0..3).for_each(|server| self.lab.ensemble.borrow_mut().kill(server).unwrap());
        for line in EACH {
            self.line(line, &format!("{line} --timeout 0.5")).await;
        }
        self.situation("a configuration of another node, and of a service with a headnode's name");
        let before = self.lab.reconfigure("node = \"hn0\"", "node = \"wn1\"");
        self.each(&["is-active"]).await;
        self.daemons(&HEADNODES_ALONE).await;
        self.lab.rewrite(&before);
        self.lab.reconfigure("name = \"livy\"", "name = \"hn1\"");
        self.each(&["maintenance hn1 on"]).await;
        self.situation("a faulty configuration");
        self.lab.configure("tick_ms = \"soon\"\n");
        self.each(&EACH).await;
        self.daemons(&DAEMONS).await;
        self.as_json().await;
        self.situation("no configuration");
        fs::remove_file(self.lab.config.path().join("headship.toml")).unwrap();
        self.each(&EACH).await;
        self.situation("a configuration that is no file");
        fs::create_dir(self.lab.config.path().join("headship.toml")).unwrap();
        self.each(&EACH[..2]).await;
        self.as_json().await;
    }

    /// Programs that asked for JSON get it, too, with the exit code and the sentence in it, and nothing on standard error.
    async fn as_json(&mut self) {
        // Of these the first has none, and the second prints its findings.
        for line in EACH.iter().filter(|line| !["is-active", "check"].contains(line)) {
            let line = format!("{line} --json");
            let end = self.begin(&line).end().await;
            let json: serde_json::Value = serde_json::from_str(&end.said).unwrap();
            assert_eq!((&json["exit"], end.complained.as_str()), (&end.code.into(), ""), "{line}");
            self.write(&line, "", &end);
        }
    }

    /// What daemons say that end at once.
    async fn daemons(&mut self, daemons: &[&str]) {
        for daemon in daemons {
            let (config, run) = (self.lab.config.path(), self.lab.run.path());
            let mut command = Command::new(program().with_file_name(daemon));
            command.arg("--config").arg(config).arg("--run").arg(run);
            let output = command.output().await.unwrap();
            let [said, complained] =
                [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
            let end = End { code: output.status.code().unwrap(), said, complained };
            self.write_of(daemon, "", &end);
        }
    }

    /// Of each daemon another one runs.
    async fn other_daemons(&mut self) {
        self.situation("another one of each daemon runs");
        let locks = DAEMONS.map(|daemon| {
            let folder = self.lab.run.path().join(daemon);
            fs::create_dir_all(&folder).unwrap();
            let lock = File::create(folder.join("lock")).unwrap();
            flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
            lock
        });
        self.daemons(&DAEMONS).await;
        drop(locks);
    }
}

fn lock(holder: &str) -> String {
    record::write(&Lock { format: FORMAT, by: identity(holder) })
}

fn create_lock(holder: &str) -> Op {
    Op::Create { key: Key::Lock, data: lock(holder) }
}

#[tokio::test]
async fn every_refusal_and_error_of_every_command_is_as_written_down() {
    let mut told = Transcript::new(Lab::start().await);
    told.situation("arguments that make no sense");
    told.each(&[
        "",
        "fence",
        "fence confirm",
        "config",
        "switchover --to a/b",
        "failover",
        "maintenance hn1",
        "maintenance hn1 perhaps",
        "status --timeout soon",
        "active --host --ip",
        "failback",
    ])
    .await;
    told.other_daemons().await;
    told.situation("nobody ever held office");
    told.each(&EACH).await;

    told.in_office().await;
    told.without_office().await;
    told.without_quorum_or_configuration().await;
    compare("refusals.txt", &told.text);
}
