//! What each command says when it cannot do what it was asked for, and how it ends: `refusals.txt` has all of it, in the
//! order of this file. `HEADSHIP_REWRITE=1` accepts what is said now.

use std::fs;

use headship_core::epoch::Incarnation;
use headship_core::quorum::{Found, Op};
use headship_core::record::{self, Active, Health, Key, Phase, Settings, Verdict};

use crate::lab::{Lab, active, code, identity, node, stderr, stdout};
use crate::transcript::{compare, neutral};

/// Every command that asks or changes something, with what it needs to be understood.
const EACH: [&str; 15] = [
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
];

/// A lab, and what was said in it so far.
struct Transcript {
    lab: Lab,
    text: String,
}

impl Transcript {
    fn situation(&mut self, what: &str) {
        self.text.push_str(&format!("\n## {what}\n"));
    }

    async fn each(&mut self, lines: &[&str]) {
        for line in lines {
            self.line(line, line).await;
        }
    }

    /// Runs a command with what is needed besides, and writes down what came of it.
    async fn line(&mut self, shown: &str, line: &str) {
        let arguments: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let output = self.lab.run(&arguments).await;
        // The pages of `status` and `check` have tests of their own; what they come to is told by the exit code.
        let page = matches!(arguments.first(), Some(&"status" | &"check"));
        let said = if page { String::new() } else { stdout(&output) };
        let said = self.plain(&format!("{said}{}", stderr(&output)));
        self.text.push_str(&format!("\n$ headship {shown}\n{said}= {}\n", code(&output)));
    }

    /// Without what differs from run to run: places, ports, people and times.
    fn plain(&self, said: &str) -> String {
        let (config, run) = (self.lab.config.path(), self.lab.run.path());
        neutral(said, &self.lab.ensemble.servers(), (config, run))
    }

    async fn change<R>(&mut self, key: Key, change: impl FnOnce(&mut R))
    where
        R: serde::Serialize + serde::de::DeserializeOwned,
    {
        let Found::Data { data, .. } = self.lab.read(key.clone()).await else {
            panic!("no {key:?}")
        };
        let mut record: R = record::parse(&key, &data).unwrap();
        change(&mut record);
        self.set(key, record::write(&record)).await;
    }

    async fn set(&mut self, key: Key, data: String) {
        self.lab.write(vec![Op::Set { key, version: None, data }]).await;
    }
}

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
        ])
        .await;
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
        ])
        .await;

        renewals.abort();
    }

    /// Nobody is active, or nobody can say who is.
    async fn without_office(&mut self) {
        self.situation("in transition");
        self.lab.set_active(active("hn0", 7, Phase::BecomingStandby)).await;
        self.each(&["active", "is-active hn0", "switchover", "maintenance hn0 on"]).await;
        self.situation("a holder that renews no more, and is not seen");
        self.lab.set_active(active("hn0", 7, Phase::Active)).await;
        self.lab.write(vec![Op::Delete { key: Key::Lock, version: None }]).await;
        self.each(&["active", "is-active hn0"]).await;

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
        (0..3).for_each(|server| self.lab.ensemble.kill(server).unwrap());
        for line in EACH {
            self.line(line, &format!("{line} --timeout 0.5")).await;
        }
        self.situation("a faulty configuration");
        self.lab.configure("tick_ms = \"soon\"\n");
        self.each(&EACH).await;
        self.situation("no configuration");
        fs::remove_file(self.lab.config.path().join("headship.toml")).unwrap();
        self.each(&EACH).await;
    }
}

#[tokio::test]
async fn every_refusal_and_error_of_every_command_is_as_written_down() {
    let lab = Lab::start().await;
    let mut told = Transcript { lab, text: String::new() };
    told.situation("arguments that make no sense");
    told.each(&[
        "switchover --to a/b",
        "failover",
        "maintenance hn1",
        "maintenance hn1 perhaps",
        "status --timeout soon",
        "active --host --ip",
        "failback",
    ])
    .await;
    told.situation("nobody ever held office");
    told.each(&EACH).await;

    told.in_office().await;
    told.without_office().await;
    told.without_quorum_or_configuration().await;
    compare("refusals.txt", &told.text);
}
