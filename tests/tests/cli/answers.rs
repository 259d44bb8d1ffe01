//! What the headnodes themselves answer to orders, and what each command says beside a real active: `answers.txt` has all of
//! it, in the order of this file. `HEADSHIP_REWRITE=1` accepts what is said now.
//!
//! Who has to answer is made to stand still now and then, so that something else can happen between an order and its answer.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use headship_core::epoch::{Epoch, Incarnation};
use headship_core::known::Content;
use headship_core::quorum::{Found, Op, Outcome};
use headship_core::record::{
    self, Active, Answer, ConfirmOrder, FORMAT, FailoverOrder, HeadnodeState, Health, Key, Order,
    Rest, Role, Settings, SwitchoverOrder, Verdict,
};
use headship_core::time::WallTime;
use headship_tests::lab::Preset;
use headship_tests::plain::{Host, Plain};
use headship_tests::programs::programs;
use headship_zk::{OneShot, Options, Watched};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::lab::{await_order, code, interrupt, node, one_more_up, stderr, stdout};
use crate::transcript::{compare, neutral, without};

/// Within this everything comes about on a busy machine, too: sessions end after 10 s here.
const LIMIT: Duration = Duration::from_secs(60);

/// Somebody else, who gives orders by hand.
const EVE: &str = "eve@hn1";

/// A cluster of two headnodes, with hn0 in office, and what was said in it so far.
struct Cluster {
    plain: Plain,
    link: OneShot,
    text: String,
}

impl Cluster {
    async fn start() -> Self {
        // With the preset `tolerant` a master-fc may stand still for some seconds without losing its session.
        let plain = Plain::start(&programs().unwrap(), Preset::Tolerant).unwrap();
        let (servers, watched) = (plain.servers(), Watched::Record(Key::Switchover));
        let (root, session) = ("/headship/plain".to_owned(), Duration::from_secs(20));
        let options = Options { servers, session, root, watched };
        let link = OneShot::connect(options, LIMIT).await.unwrap();
        let mut cluster = Self { plain, link, text: String::new() };
        cluster.until_in_order().await;
        if cluster.active().await.holder.unwrap().node != node("hn0") {
            let output = cluster.run("switchover --to hn0").await;
            assert_eq!(code(&output), 0, "{output:?}");
            cluster.until_in_order().await;
        }
        cluster
    }

    fn host(&self, name: &str) -> &Host {
        self.plain.host(name).unwrap()
    }

    fn situation(&mut self, what: &str) {
        self.text.push_str(&format!("\n## {what}\n"));
    }

    fn begin(&self, line: &str) -> Child {
        let arguments: Vec<&str> = line.split(' ').collect();
        // Not on the host whose daemons stand still: where is all the same to the records.
        let mut command = Command::from(self.host("hn1").headship(&arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    async fn run(&self, line: &str) -> Output {
        timeout(LIMIT, self.begin(line).wait_with_output()).await.unwrap().unwrap()
    }

    fn tell(&mut self, line: &str, meanwhile: &str, output: &Output) {
        let host = self.host("hn1").dir();
        let said = format!("{}{}", stdout(output), stderr(output));
        let said = neutral(&said, &self.plain.servers(), (&host.join("config"), &host.join("run")));
        let said = without_numbers(&said);
        let meanwhile =
            if meanwhile.is_empty() { String::new() } else { format!("   # {meanwhile}") };
        let end = code(output);
        self.text.push_str(&format!("\n$ headship {line}{meanwhile}\n{said}= {end}\n"));
    }

    async fn each(&mut self, lines: &[&str]) {
        for line in lines {
            let output = self.run(line).await;
            self.tell(line, "", &output);
        }
    }

    /// Gives an order while `who` stands still that has to answer it, changes it, and lets it be answered.
    async fn changed<O: Order + Serialize + DeserializeOwned>(
        &mut self,
        (who, line): (&str, &str),
        meanwhile: &str,
        change: impl FnOnce(&mut O),
    ) {
        self.host(who).freeze("master-fc").unwrap();
        let child = self.begin(line);
        let mut order: O = await_order(&mut self.link).await;
        change(&mut order);
        self.set(O::KEY, &order).await;
        self.host(who).thaw("master-fc").unwrap();
        let output = timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
        self.tell(line, meanwhile, &output);
    }

    async fn read<T: DeserializeOwned>(&mut self, key: &Key) -> Content<T> {
        match self.link.read(std::slice::from_ref(key)).await.pop().unwrap() {
            Found::Missing => Content::Missing,
            Found::Unread => Content::Unread,
            Found::Data { data, .. } => {
                record::parse(key, &data).map_or_else(Content::Corrupt, Content::Record)
            }
        }
    }

    async fn active(&mut self) -> Active {
        match self.read(&Key::Active).await {
            Content::Record(active) => active,
            Content::Missing | Content::Unread | Content::Corrupt(_) => panic!("it is there"),
        }
    }

    async fn set<T: Serialize>(&mut self, key: Key, record: &T) {
        let data = record::write(record);
        let exists = !matches!(self.read::<serde_json::Value>(&key).await, Content::Missing);
        let op =
            if exists { Op::Set { key, version: None, data } } else { Op::Create { key, data } };
        self.write(op).await;
    }

    async fn write(&mut self, op: Op) {
        let outcome = self.link.write(vec![op]).await;
        assert!(matches!(outcome, Outcome::Done { .. }), "{outcome:?}");
    }

    async fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        let Content::Record(mut settings) = self.read(&Key::Settings).await else {
            panic!("they are there")
        };
        change(&mut settings);
        self.set(Key::Settings, &settings).await;
    }

    /// Waits until a record is as it should be.
    async fn until<T: DeserializeOwned>(
        &mut self,
        what: &str,
        key: Key,
        is: impl Fn(&Content<T>) -> bool,
    ) {
        let seen = async {
            while !is(&self.read(&key).await) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LIMIT, seen).await.unwrap_or_else(|_| panic!("{what} within {LIMIT:?}"));
    }

    async fn until_role(&mut self, name: &str, role: Role) {
        let is = |seen: &Content<HeadnodeState>| match seen {
            Content::Record(state) => state.role == role,
            Content::Missing | Content::Unread | Content::Corrupt(_) => false,
        };
        let what = format!("{name} is {}", role.as_str());
        self.until(&what, Key::Headnode(node(name)), is).await;
    }

    async fn until_in_order(&self) {
        let in_order = async { while code(&self.run("status").await) != 0 {} };
        timeout(LIMIT, in_order).await.expect("`headship status` calls the cluster healthy");
    }

    /// An order that somebody wrote by hand, past all that the command line asks first, and its answer.
    async fn by_hand<O: Order + Serialize + DeserializeOwned>(&mut self, order: &O) {
        self.set(O::KEY, order).await;
        let id = order.given().id.to_owned();
        let answered = |seen: &Content<O>| match seen {
            Content::Record(seen) => seen.given().id == id && seen.given().answer.is_some(),
            Content::Missing | Content::Unread | Content::Corrupt(_) => false,
        };
        self.until("it is answered", O::KEY, answered).await;
        let Content::Record(order) = self.read::<O>(&O::KEY).await else { panic!("it is there") };
        let given = order.given();
        let said = match given.answer {
            Some(Answer::Refused { why }) => format!("refused: {why}"),
            Some(Answer::Accepted) => "accepted".to_owned(),
            None => "no answer".to_owned(),
        };
        let said = without_numbers(&neutral(&said, &[], (Path::new("/-"), Path::new("/-"))));
        let what = given.what.clone();
        self.text.push_str(&format!("\n({what}, written by hand)\n{said}"));
        self.write(Op::Delete { key: O::KEY, version: None }).await;
    }
}

/// Without the numbers that differ from run to run: epochs, as nobody knows who wins the first one, and boots.
fn without_numbers(said: &str) -> String {
    let is_hex = |it: char| it.is_ascii_hexdigit() || it == '-';
    let said = without(said, "epoch ", |it| it.is_ascii_digit());
    without(&said, "(boot ", is_hex)
}

/// Past what the command line asks first: whether anybody could take over at all.
fn unanswered_failover(epoch: Epoch) -> FailoverOrder {
    FailoverOrder { answer: None, ..accepted_failover(epoch) }
}

fn accepted_failover(epoch: Epoch) -> FailoverOrder {
    FailoverOrder {
        format: FORMAT,
        order: "by-hand".to_owned(),
        by: EVE.to_owned(),
        epoch,
        from: node("hn0"),
        not_after: WallTime(u64::MAX),
        // Nobody's: it is not carried out.
        taker: None,
        answer: Some(Answer::Accepted),
        rest: Rest::new(),
    }
}

/// That hn0 is off, of the claim that whoever is in office or claims it may have made.
fn confirmation(active: &Active, version: i32) -> ConfirmOrder {
    ConfirmOrder {
        format: FORMAT,
        order: format!("by-hand-{version}"),
        by: EVE.to_owned(),
        epoch: active.epoch,
        node: node("hn0"),
        over: active.holder.clone(),
        claimant: active.claimant.clone().or_else(|| active.holder.clone()).unwrap(),
        claim: version,
        not_after: WallTime(u64::MAX),
        answer: None,
        rest: Rest::new(),
    }
}

impl Cluster {
    async fn version_of_active(&mut self) -> i32 {
        match self.link.read(&[Key::Active]).await.pop().unwrap() {
            Found::Data { version, .. } => version.0,
            Found::Missing | Found::Unread => panic!("it is there"),
        }
    }

    /// What comes of an order that is another one by the time it is read.
    async fn orders_that_do_not_fit(&mut self) {
        self.situation("hn0 is active, hn1 is ready");
        self.each(&["switchover --to hn0", "maintenance hn0 on", "fence confirm hn0 --yes"]).await;
        let switchover = ("hn0", "switchover");
        self.changed(switchover, "it came too late", |order: &mut SwitchoverOrder| {
            order.not_after = WallTime(1);
        })
        .await;
        self.changed(switchover, "it was of another epoch", |order: &mut SwitchoverOrder| {
            order.epoch = Epoch(0);
        })
        .await;
        let unknown = "it was to a headnode that this one does not know";
        self.changed(switchover, unknown, |order: &mut SwitchoverOrder| {
            order.to = Some(node("hn7"));
        })
        .await;
        let failover = ("hn1", "failover --from hn0 --yes");
        self.changed(failover, "it came too late", |order: &mut FailoverOrder| {
            order.not_after = WallTime(1);
        })
        .await;
        self.changed(failover, "it was of another than the holder", |order: &mut FailoverOrder| {
            order.from = node("hn1");
        })
        .await;
        let (active, version) = (self.active().await, self.version_of_active().await);
        self.by_hand(&confirmation(&active, version)).await;
    }

    /// Of two orders, and of an order and a pause, one is refused by the name of the other.
    async fn two_at_once(&mut self) {
        self.situation("hn0 has not answered a switchover yet");
        self.host("hn0").freeze("master-fc").unwrap();
        let first = self.begin("switchover");
        await_order::<SwitchoverOrder>(&mut self.link).await;
        // All at once: nothing may stand still for as long as a session lasts.
        let lines = ["switchover --to hn1", "failover --from hn0 --yes", "pause", "pause --keep"];
        let beside = lines.map(|line| (line, self.begin(line)));
        for (line, child) in beside {
            let output = timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
            self.tell(line, "", &output);
        }
        interrupt(&first);
        let output = first.wait_with_output().await.unwrap();
        self.tell("switchover", "the first one, on Ctrl-C", &output);
        self.host("hn0").thaw("master-fc").unwrap();

        self.situation("a failover is being carried out, as eve ordered");
        let epoch = self.active().await.epoch;
        self.set(Key::Failover, &accepted_failover(epoch)).await;
        self.each(&["switchover", "failover --from hn0 --yes", "pause"]).await;
        self.write(Op::Delete { key: Key::Failover, version: None }).await;
        self.host("hn0").freeze("master-fc").unwrap();
        let child = self.begin("switchover");
        await_order::<SwitchoverOrder>(&mut self.link).await;
        self.set(Key::Failover, &accepted_failover(epoch)).await;
        self.host("hn0").thaw("master-fc").unwrap();
        let output = child.wait_with_output().await.unwrap();
        self.tell("switchover", "the failover was ordered in the same moment", &output);
        self.write(Op::Delete { key: Key::Failover, version: None }).await;
    }

    /// hn1 could not take over, for this and that.
    async fn peers_that_are_not_ready(&mut self) {
        let orders = ["switchover", "switchover --to hn1", "failover --from hn0 --yes"];
        self.situation("hn1 is in maintenance");
        let output = self.run("maintenance hn1 on").await;
        assert_eq!(code(&output), 0, "{output:?}");
        self.until_role("hn1", Role::Out).await;
        self.each(&orders).await;
        self.each(&["maintenance hn0 on"]).await;
        let output = self.run("maintenance hn1 off").await;
        assert_eq!(code(&output), 0, "{output:?}");

        self.situation("hn1 runs no slave-ha-service");
        self.host("hn1").kill("slave-ha-service").unwrap();
        self.until_role("hn1", Role::Out).await;
        self.each(&orders[..2]).await;
        self.host("hn1").relaunch("slave-ha-service").unwrap();
        self.until_role("hn1", Role::Standby).await;

        self.situation("hn1 is ineligible");
        self.host("hn1").freeze("health-monitor").unwrap();
        let key = Key::Health(node("hn1"));
        let Content::Record(health) = self.read::<Health>(&key).await else {
            panic!("it is there")
        };
        let reasons = vec!["/ has 0 MiB free, 512 are wanted".to_owned()];
        self.set(key, &Health { verdict: Verdict::Ineligible, reasons, ..health }).await;
        self.until_role("hn1", Role::Out).await;
        self.each(&orders).await;
        let epoch = self.active().await.epoch;
        self.by_hand(&unanswered_failover(epoch)).await;
        self.host("hn1").thaw("health-monitor").unwrap();
        self.until_role("hn1", Role::Standby).await;
    }

    async fn paused(&mut self) {
        let while_paused = [
            "switchover",
            "switchover --to hn1",
            "failover --from hn0 --yes",
            "pause",
            "pause --keep",
            "maintenance hn0 on",
            "fence confirm hn0 --yes",
        ];
        self.situation("paused");
        let failover = ("hn1", "failover --from hn0 --yes");
        self.host(failover.0).freeze("master-fc").unwrap();
        let child = self.begin(failover.1);
        await_order::<FailoverOrder>(&mut self.link).await;
        self.change_settings(|settings| settings.paused = Some(EVE.to_owned())).await;
        self.host(failover.0).thaw("master-fc").unwrap();
        let output = child.wait_with_output().await.unwrap();
        self.tell(failover.1, "somebody paused before hn1 answered", &output);
        self.each(&while_paused).await;
        self.each(&["resume"]).await;

        self.situation("hn0 keeps its services");
        self.each(&["pause --keep"]).await;
        self.each(&while_paused).await;

        self.situation("resumed, and hn0 cannot acknowledge that");
        self.host("hn0").freeze("master-fc").unwrap();
        self.each(&["resume"]).await;
        self.until("its session ends", Key::Lock, |seen: &Content<serde_json::Value>| {
            *seen == Content::Missing
        })
        .await;
        for line in while_paused {
            let output = self.run(&format!("{line} --timeout 1")).await;
            self.tell(line, "", &output);
        }
        let epoch = self.active().await.epoch;
        self.by_hand(&unanswered_failover(epoch)).await;
        self.host("hn0").thaw("master-fc").unwrap();
        self.until("hn0 acknowledges it", Key::Settings, |seen: &Content<Settings>| match seen {
            Content::Record(settings) => settings.keep.is_none(),
            Content::Missing | Content::Unread | Content::Corrupt(_) => false,
        })
        .await;
        self.until_in_order().await;
        self.each(&["resume"]).await;
    }

    /// The records are those of another life, and hn0 holds office in the first one.
    async fn another_life(&mut self) {
        self.situation("somebody restored the records of another life");
        let mut first = None;
        self.change_settings(|settings| {
            let another = Incarnation("another".to_owned());
            first = Some(std::mem::replace(&mut settings.incarnation, another));
        })
        .await;
        self.each(&["adopt", "switchover"]).await;
        self.change_settings(|settings| settings.incarnation = first.unwrap()).await;
        self.until_in_order().await;
    }

    /// hn1 claims over hn0, whose health-monitor alone is there to see.
    async fn a_sign_of_life(&mut self) {
        self.situation("hn1 claims, and hn0 shows a sign of life");
        for program in ["slave-ha-service", "master-fc"] {
            self.host("hn0").freeze(program).unwrap();
        }
        self.until("hn1 claims", Key::Active, |seen: &Content<Active>| match seen {
            Content::Record(active) => active.claimant.is_some(),
            Content::Missing | Content::Unread | Content::Corrupt(_) => false,
        })
        .await;
        let services = Key::Services(node("hn0"));
        self.until("its sessions end", services, |seen: &Content<serde_json::Value>| {
            *seen == Content::Missing
        })
        .await;
        self.each(&["fence confirm hn0 --yes", "fence confirm hn1 --yes"]).await;
        let (active, version) = (self.active().await, self.version_of_active().await);
        self.by_hand(&confirmation(&active, version)).await;
        self.by_hand(&confirmation(&active, version - 1)).await;
    }
}

#[tokio::test]
async fn each_answer_of_a_headnode_to_what_it_refuses_is_as_written_down() {
    let _up = one_more_up().await;
    let mut cluster = Cluster::start().await;
    cluster.orders_that_do_not_fit().await;
    cluster.two_at_once().await;
    cluster.peers_that_are_not_ready().await;
    cluster.paused().await;
    cluster.another_life().await;
    cluster.a_sign_of_life().await;
    compare("answers.txt", &cluster.text);
    let overlaps = cluster.plain.overlaps().unwrap();
    assert!(overlaps.is_empty(), "{overlaps:?}");
}
