//! What each command says when something happens between its beginning and its end: `midway.txt` has all of it, in the order of
//! this file. `HEADSHIP_REWRITE=1` accepts what is said now.
//!
//! Each situation has a cluster of its own, whose headnodes the test plays.

use headship_core::epoch::Epoch;
use headship_core::quorum::{Found, Op};
use headship_core::record::{
    self, Active, AdoptOrder, Answer, ConfirmOrder, HeadnodeState, Keep, Kept, Key, Order, Phase,
    Settings, SwitchoverOrder, signs_of,
};
use headship_core::time::WallTime;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Duration, sleep, timeout};
use zookeeper_client::Permission;

use crate::fence::{claim, fall_silent};
use crate::lab::{LIMIT, Lab, Running, active, identity, node};
use crate::settings::{shows, written};
use crate::transcript::{Transcript, compare, words};

const CONFIRM: &str = "fence confirm hn0 --yes";

impl Transcript {
    /// From now on it is about another cluster, in which hn0 is active in epoch 7 and hn1 is ready.
    async fn afresh(&mut self, what: &str) {
        self.situation(what);
        let cluster = format!("midway{}", self.text.len());
        self.lab = self.lab.beside(&cluster).await;
        self.lab.write_cluster().await;
    }

    /// Begins a command and waits for its order.
    async fn ordered<O: Order + DeserializeOwned>(&mut self, line: &str) -> Running {
        let running = self.begin(line);
        self.lab.await_order::<O>().await;
        running
    }

    /// The same, once it is accepted and that is told.
    async fn accepted(&mut self) -> Running {
        let mut running = self.ordered::<SwitchoverOrder>("switchover").await;
        self.answered(Answer::Accepted).await;
        running.until("accepts").await;
        running
    }

    async fn answered(&mut self, answer: Answer) {
        let answer = Some(answer);
        self.change(Key::Switchover, |order: &mut SwitchoverOrder| order.answer = answer).await;
    }

    async fn refused(&mut self) {
        self.answered(Answer::Refused { why: "the test says so".to_owned() }).await;
    }

    async fn office(&mut self, holder: &str, epoch: u64, phase: Phase) {
        self.lab.set_active(active(holder, epoch, phase)).await;
    }

    async fn delete(&mut self, key: Key) {
        self.lab.write(vec![Op::Delete { key, version: None }]).await;
    }

    async fn save<T: Serialize>(&mut self, key: Key, record: &T) {
        self.set(key, record::write(record)).await;
    }
}

fn ceded() -> Phase {
    Phase::Ceded { to: Some(node("hn1")), until_ms: 20_000 }
}

/// A switchover that is not answered comes to nothing, or to something else.
async fn without_an_answer(told: &mut Transcript) {
    told.afresh("somebody takes the order out of the records, then Ctrl-C").await;
    let running = told.ordered::<SwitchoverOrder>("switchover").await;
    told.delete(Key::Switchover).await;
    told.lab.await_missing(Key::Switchover).await;
    running.interrupt();
    told.told("switchover", "", running).await;

    told.afresh("hn0 stops its services by itself, then Ctrl-C").await;
    let mut running = told.ordered::<SwitchoverOrder>("switchover").await;
    told.office("hn0", 7, Phase::BecomingStandby).await;
    running.until("stops its services").await;
    running.interrupt();
    told.told("switchover", "", running).await;

    told.afresh("hn0 stops its services by itself, and refuses").await;
    let mut running = told.ordered::<SwitchoverOrder>("switchover").await;
    told.office("hn0", 7, Phase::BecomingStandby).await;
    running.until("stops its services").await;
    told.refused().await;
    told.told("switchover", "", running).await;

    for (what, holder) in [("hn1 takes office", "hn1"), ("hn0 takes office once more", "hn0")] {
        told.afresh(&format!("{what} before anybody has answered")).await;
        let running = told.ordered::<SwitchoverOrder>("switchover").await;
        told.office(holder, 8, Phase::Active).await;
        told.told("switchover", "", running).await;
    }

    told.afresh("somebody restores the records of an earlier epoch").await;
    let running = told.ordered::<SwitchoverOrder>("switchover").await;
    told.office("hn0", 6, Phase::Active).await;
    told.told("switchover", "", running).await;
}

/// A switchover that was accepted ends otherwise.
async fn half_way(told: &mut Transcript) {
    told.afresh("accepted, then Ctrl-C").await;
    let running = told.accepted().await;
    running.interrupt();
    told.told("switchover", "", running).await;

    told.afresh("the successor gives up at once").await;
    let running = told.accepted().await;
    told.office("hn1", 8, Phase::BecomingStandby).await;
    told.told("switchover", "", running).await;

    let claimed = Active { claimant: Some(identity("hn1")), ..active("hn0", 7, Phase::Active) };
    let ways = [
        ("refused while the services stop", active("hn0", 7, Phase::BecomingStandby), "stops"),
        ("refused after hn1 claimed", claimed, "claims"),
        ("refused after hn0 ceded", active("hn0", 7, ceded()), "ceded"),
    ];
    for (what, active, seen) in ways {
        told.afresh(what).await;
        let mut running = told.accepted().await;
        told.lab.set_active(active).await;
        running.until(seen).await;
        told.refused().await;
        told.told("switchover", "", running).await;
    }

    told.afresh("hn0 stops its services, and starts them again").await;
    let mut running = told.accepted().await;
    told.office("hn0", 7, Phase::BecomingStandby).await;
    running.until("stops").await;
    told.office("hn0", 7, Phase::Active).await;
    told.told("switchover", "", running).await;

    told.afresh("all goes well").await;
    let mut running = told.accepted().await;
    for (holder, epoch, phase, seen) in [
        ("hn0", 7, Phase::BecomingStandby, "stops"),
        ("hn0", 7, ceded(), "ceded"),
        ("hn1", 8, Phase::BecomingActive, "services start"),
        ("hn1", 8, Phase::Active, "hn1 is active"),
    ] {
        told.office(holder, epoch, phase).await;
        running.until(seen).await;
    }
    told.told("switchover", "", running).await;
}

/// Questions to a person.
async fn asked(told: &mut Transcript) {
    told.afresh("somebody is asked, and says no").await;
    declined(told, "failover --from hn0").await;
    claim(&mut told.lab).await;
    fall_silent(&mut told.lab).await;
    declined(told, "fence confirm hn0").await;
    // Nor can anybody be asked without a terminal.
    told.each(&["fence confirm hn0", "fence confirm hn0 --json"]).await;
    told.situation("and no record tells over whom hn1 claims");
    let forget = |state: &mut HeadnodeState| state.attempt.as_mut().unwrap().over = None;
    told.change(Key::Headnode(node("hn1")), forget).await;
    declined(told, "fence confirm hn0").await;
    let nobody = |state: &mut HeadnodeState| state.attempt.as_mut().unwrap().awaited.clear();
    told.change(Key::Headnode(node("hn1")), nobody).await;
    told.each(&["fence confirm hn0"]).await;
    told.afresh("nobody can be asked").await;
    told.each(&["failover --from hn0 --json"]).await;

    told.afresh("hn1 claims anew before somebody says yes").await;
    claim(&mut told.lab).await;
    fall_silent(&mut told.lab).await;
    let (mut running, mut terminal) = told.lab.run_at_a_terminal(&words("fence confirm hn0"));
    running.until_it_asks().await;
    claim(&mut told.lab).await;
    running.answer(&mut terminal, "yes").await;
    told.told("fence confirm hn0", "", running).await;
}

async fn declined(told: &mut Transcript, line: &str) {
    let (mut running, mut terminal) = told.lab.run_at_a_terminal(&words(line));
    running.answer(&mut terminal, "no").await;
    told.told(line, "", running).await;
}

/// Words about a claim.
async fn confirmations(told: &mut Transcript) {
    told.afresh("hn1 claims over hn0, of which nothing is seen").await;
    claim(&mut told.lab).await;
    fall_silent(&mut told.lab).await;
    for (key, _) in signs_of(&node("hn0")) {
        let data = r#"{"format":1,"machine":"machine-of-hn0","boot":"boot-of-hn0"}"#.to_owned();
        told.lab.write(vec![Op::Create { key: key.clone(), data }]).await;
        told.each(&[CONFIRM]).await;
        told.delete(key).await;
    }
    let first = told.ordered::<ConfirmOrder>(CONFIRM).await;
    told.each(&[CONFIRM]).await;
    claim(&mut told.lab).await;
    told.told(CONFIRM, "the first one, and hn1 claims anew", first).await;
    told.delete(Key::Confirm).await;
    told.lab.await_missing(Key::Confirm).await;

    let mut first = told.ordered::<ConfirmOrder>(CONFIRM).await;
    let accepted = Some(Answer::Accepted);
    told.change(Key::Confirm, |order: &mut ConfirmOrder| order.answer = accepted).await;
    first.until("accepts").await;
    told.each(&[CONFIRM]).await;
    first.interrupt();
    told.told(CONFIRM, "the first one, on Ctrl-C", first).await;
}

fn kept() -> Kept {
    Kept { by: identity("hn0"), epoch: Epoch(7) }
}

/// hn0 keeps its services, lost its power, and somebody resumes.
async fn keeps(told: &mut Transcript) {
    told.afresh("hn0 keeps its services, and its daemons are not seen").await;
    let keep = Keep::asked("k".to_owned(), Epoch(7), WallTime(0));
    let mut settings = told.lab.settings().await.pause("eve@hn1", Some(keep));
    settings.keep.as_mut().unwrap().acknowledged = Some(kept());
    told.save(Key::Settings, &settings).await;
    fall_silent(&mut told.lab).await;
    told.each(&[CONFIRM]).await;
    told.delete(Key::Lock).await;
    told.each(&[CONFIRM]).await;

    told.situation("resumed");
    let resumed = settings.resume("eve@hn1");
    told.save(Key::Settings, &resumed).await;
    let renewals = told.lab.renew().await;
    told.each(&["fence list", CONFIRM]).await;
    renewals.abort();
    told.each(&["fence list"]).await;
    declined(told, "fence confirm hn0").await;

    told.situation("hn0 acknowledges the resume before somebody says yes");
    let (mut running, mut terminal) = told.lab.run_at_a_terminal(&words("fence confirm hn0"));
    running.until_it_asks().await;
    told.save(Key::Settings, &resumed.automatic()).await;
    running.answer(&mut terminal, "yes").await;
    told.told("fence confirm hn0", "", running).await;

    told.situation("somebody has confirmed that hn0 is powered off");
    told.save(Key::Settings, &resumed).await;
    told.each(&[CONFIRM]).await;
    told.change(Key::Settings, |settings: &mut Settings| {
        let word = settings.keep.as_mut().and_then(|keep| keep.confirmed.as_mut());
        word.unwrap().at = WallTime(0);
    })
    .await;
    told.each(&[CONFIRM, "fence list"]).await;

    told.situation("hn1 has taken office meanwhile, which ends the keep");
    told.office("hn1", 8, Phase::Active).await;
    told.each(&["pause", "resume"]).await;
}

/// A keep that somebody asks for and does not wait for.
async fn asked_to_keep(told: &mut Transcript) {
    const KEEP: &str = "pause --keep";
    told.afresh("nobody acknowledges the keep, then Ctrl-C").await;
    let running = told.begin(KEEP);
    written(&mut told.lab, |settings| settings.keep.is_some()).await;
    running.interrupt();
    told.told(KEEP, "", running).await;

    for (what, by_master_fc) in [("none of its daemons", false), ("master-fc alone", true)] {
        told.afresh(&format!("hn0 acknowledges the keep, {what} shows it, then Ctrl-C")).await;
        let running = told.begin(KEEP);
        let mut settings = written(&mut told.lab, |settings| settings.keep.is_some()).await;
        let keep = settings.keep.as_mut().unwrap();
        keep.acknowledged = Some(kept());
        if by_master_fc {
            let id = keep.id.clone();
            let key = Key::Headnode(node("hn0"));
            told.change(key, |state: &mut HeadnodeState| state.kept = Some(id)).await;
        }
        told.save(Key::Settings, &settings).await;
        running.interrupt();
        told.told(KEEP, "", running).await;
    }
    told.situation("and both show it");
    let id = told.lab.settings().await.keep.unwrap().id;
    shows(&mut told.lab, Some(&id)).await;
    told.each(&[KEEP, "failover --from hn0 --yes"]).await;
}

async fn adoptions(told: &mut Transcript) {
    const ADOPT: &str = "adopt";
    told.afresh("hn1 does not answer the adoption, then Ctrl-C").await;
    let mut first = adoption(told).await;
    answered_adoption(told, "hn0", Answer::Accepted).await;
    first.until("hn0 follows").await;
    told.each(&[ADOPT]).await;
    first.interrupt();
    told.told(ADOPT, "the first one", first).await;

    told.afresh("somebody takes the order out of the records").await;
    let running = adoption(told).await;
    told.delete(Key::Adopt).await;
    told.told(ADOPT, "", running).await;

    told.afresh("hn1 refuses").await;
    let running = adoption(told).await;
    answered_adoption(told, "hn1", Answer::Refused { why: "the test says so".to_owned() }).await;
    told.told(ADOPT, "", running).await;

    told.afresh("hn1 is not there").await;
    told.delete(Key::Headnode(node("hn1"))).await;
    let running = adoption(told).await;
    answered_adoption(told, "hn0", Answer::Accepted).await;
    told.told(ADOPT, "", running).await;

    told.afresh("all answer").await;
    let mut running = adoption(told).await;
    for name in ["hn0", "hn1"] {
        answered_adoption(told, name, Answer::Accepted).await;
        running.until(&format!("{name} follows")).await;
    }
    told.told(ADOPT, "", running).await;
}

async fn adoption(told: &mut Transcript) -> Running {
    let running = told.begin("adopt");
    let ordered = async {
        while told.lab.read(Key::Adopt).await == Found::Missing {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, ordered).await.expect("an order comes");
    running
}

async fn answered_adoption(told: &mut Transcript, name: &str, answer: Answer) {
    let change = |order: &mut AdoptOrder| drop(order.answers.insert(node(name), answer));
    told.change(Key::Adopt, change).await;
}

/// Somebody changed the rights to records.
async fn denied(told: &mut Transcript) {
    told.afresh("the failover quorum denies writes").await;
    let running = told.begin("pause --keep");
    written(&mut told.lab, |settings| settings.keep.is_some()).await;
    told.lab.allow_only(Permission::READ, "settings").await;
    running.interrupt();
    told.told("pause --keep", "on Ctrl-C", running).await;
    told.each(&["resume", "maintenance hn1 on"]).await;
    told.lab.allow_only(Permission::READ, "orders").await;
    told.each(&["adopt"]).await;
    told.afresh("the failover quorum denies orders").await;
    told.lab.allow_only(Permission::READ, "orders").await;
    told.each(&["switchover", "failover --from hn0 --yes", "adopt"]).await;

    told.afresh("the failover quorum lets nobody read some records").await;
    let history = r#"{"format":1,"transitions":[]}"#.to_owned();
    told.lab.write(vec![Op::Create { key: Key::History, data: history }]).await;
    for record in ["settings", "active", "history"] {
        told.lab.allow_only(Permission::WRITE, record).await;
    }
    told.each(&["active", "is-active", "history", "pause", "switchover", "fence list"]).await;
}

/// The office is on its way, or records tell less than they should.
async fn gaps(told: &mut Transcript) {
    told.afresh("hn0 has ceded to hn1").await;
    told.office("hn0", 7, ceded()).await;
    told.each(&["pause"]).await;

    told.afresh("hn1 shows no heartbeat").await;
    told.delete(Key::Health(node("hn1"))).await;
    told.each(&["resume"]).await;

    told.afresh("hn1 claims the first office of all, and what it shows is no record").await;
    let (holder, claimant) = (None, Some(identity("hn1")));
    told.lab.set_active(Active { holder, claimant, ..active("hn0", 7, Phase::Active) }).await;
    told.set(Key::Headnode(node("hn1")), "hello".to_owned()).await;
    told.each(&["active"]).await;
}

/// The failover quorum goes away.
async fn out_of_sight(told: &mut Transcript) {
    told.afresh("the failover quorum goes away").await;
    told.delete(Key::Lock).await;
    // Whether it renews is looked at for as long as its lease, or `--timeout`.
    told.lab.set_active(Active { lease_ms: 60_000, ..active("hn0", 7, Phase::Active) }).await;
    let active = told.begin("active --timeout 4");
    let lab = told.lab.beside("midway-switchover").await;
    let mut order = Transcript::new(lab);
    order.lab.write_cluster().await;
    let mut switchover = order.ordered::<SwitchoverOrder>("switchover --timeout 1").await;
    let lab = told.lab.beside("midway-keep").await;
    let mut keep = Transcript::new(lab);
    keep.lab.write_cluster().await;
    let pause = keep.begin("pause --keep --timeout 1");
    written(&mut keep.lab, |settings| settings.keep.is_some()).await;

    (0..3).for_each(|server| told.lab.ensemble.borrow_mut().kill(server).unwrap());
    told.told("active", "", active).await;
    told.told("pause --keep", "", pause).await;
    switchover.until("out of sight").await;
    switchover.interrupt();
    told.told("switchover", "on Ctrl-C", switchover).await;
}

#[tokio::test]
async fn what_happens_while_a_command_waits_is_told_as_written_down() {
    let mut told = Transcript::new(Lab::patient().await);
    without_an_answer(&mut told).await;
    half_way(&mut told).await;
    asked(&mut told).await;
    confirmations(&mut told).await;
    keeps(&mut told).await;
    asked_to_keep(&mut told).await;
    adoptions(&mut told).await;
    denied(&mut told).await;
    gaps(&mut told).await;
    out_of_sight(&mut told).await;
    compare("midway.txt", &told.text);
}
