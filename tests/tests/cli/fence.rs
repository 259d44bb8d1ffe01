//! `headship fence list` and `fence confirm`.

use std::process::Output;

use headship_core::epoch::Epoch;
use headship_core::quorum::{Found, Op};
use headship_core::record::{
    self, Active, Answer, Attempt, ConfirmOrder, HeadnodeState, Keep, Kept, Key, Phase, Settings,
    Way, WayAnswer,
};
use headship_core::time::WallTime;

use crate::lab::{Lab, active, code, identity, interrupt, node, stderr, stdout};

const CONFIRM: [&str; 4] = ["fence", "confirm", "hn0", "--yes"];

fn claimed() -> Active {
    Active { claimant: Some(identity("hn1")), ..active("hn0", 7, Phase::Active) }
}

/// hn1 claims over hn0, and shows that it waits.
pub(crate) async fn claim(lab: &mut Lab) {
    lab.set_active(claimed()).await;
    let Found::Data { version, .. } = lab.read(Key::Active).await else { panic!("no `active`") };
    let attempt = Attempt {
        claim: version.0,
        epoch: Epoch(7),
        over: Some(identity("hn0")),
        since: WallTime(0),
        until: WallTime(0),
        awaited: vec![node("hn0")],
        ways: vec![Way {
            way: "promise".to_owned(),
            answer: WayAnswer::Unknown,
            why: "no promise of epoch 7 yet: hn0".to_owned(),
        }],
    };
    let key = Key::Headnode(node("hn1"));
    let Found::Data { data, .. } = lab.read(key.clone()).await else { panic!("no hn1") };
    let state: HeadnodeState = record::parse(&key, &data).unwrap();
    let data = record::write(&HeadnodeState { attempt: Some(attempt), ..state });
    lab.write(vec![Op::Set { key, version: None, data }]).await;
}

/// The sessions of hn0 have ended.
pub(crate) async fn fall_silent(lab: &mut Lab) {
    let keys = [Key::Headnode(node("hn0")), Key::Health(node("hn0")), Key::Services(node("hn0"))];
    lab.write(keys.map(|key| Op::Delete { key, version: None }).to_vec()).await;
}

#[tokio::test]
async fn a_claim_is_listed_and_confirmed_once_the_host_shows_no_sign_of_life() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    let none = lab.run(&["fence", "list"]).await;
    assert_eq!(
        (code(&none), stdout(&none).as_str()),
        (0, "nobody claims office: hn0 holds it in epoch 7\n")
    );
    let unclaimed = lab.run(&CONFIRM).await;
    assert_eq!(code(&unclaimed), 6, "{unclaimed:?}");
    assert!(stderr(&unclaimed).contains("nobody claims office"), "{unclaimed:?}");

    claim(&mut lab).await;
    let lives = lab.run(&CONFIRM).await;
    assert_eq!(code(&lives), 6, "{lives:?}");
    assert!(stderr(&lives).contains("hn0 is not off: its master-fc has a session"), "{lives:?}");
    let json = lab.json(&["fence", "list", "--json"]).await;
    assert_eq!(json["attempt"]["claimant"], "hn1");
    assert!(json["attempt"]["awaited"][0]["alive"].is_string(), "{json}");
    fall_silent(&mut lab).await;
    let listed = stdout(&lab.run(&["fence", "list"]).await);
    assert!(listed.ends_with("if hn0 is powered off: `headship fence confirm hn0`\n"), "{listed}");
    // Nobody can be asked, and nobody said yes.
    let unasked = lab.run(&CONFIRM[..3]).await;
    assert_eq!(code(&unasked), 6, "{unasked:?}");
    lab.await_missing(Key::Confirm).await;

    let child = lab.begin(&CONFIRM);
    let order: ConfirmOrder = lab.await_order().await;
    assert_eq!((order.epoch.0, &order.node, &order.claimant), (7, &node("hn0"), &identity("hn1")));
    assert_eq!(order.over, Some(identity("hn0")));
    let beside = lab.run(&CONFIRM).await;
    assert_eq!(code(&beside), 6, "{beside:?}");
    let by_name = format!("{} ordered a confirmation that hn0 is powered off", order.by);
    assert!(stderr(&beside).contains(&by_name), "{beside:?}");
    let data = record::write(&ConfirmOrder { answer: Some(Answer::Accepted), ..order });
    lab.write(vec![Op::Set { key: Key::Confirm, version: None, data }]).await;
    lab.set_active(active("hn1", 8, Phase::Active)).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("hn1 accepts: hn0 counts as powered off"), "{output:?}");
    assert!(
        stdout(&output).lines().last().unwrap().starts_with("hn1 is active in epoch 8; it took ")
    );
}

#[tokio::test]
async fn a_word_about_a_claim_that_is_over_ends_with_it_and_leaves_nothing_in_the_way() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    claim(&mut lab).await;
    fall_silent(&mut lab).await;
    let child = lab.begin(&CONFIRM);
    lab.await_order::<ConfirmOrder>().await;
    // The claimant lost its session, and claims anew.
    claim(&mut lab).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(stderr(&output).contains("the attempt has changed meanwhile"), "{output:?}");

    let child = lab.begin(&CONFIRM);
    let order = async {
        loop {
            let order = lab.await_order::<ConfirmOrder>().await;
            let Found::Data { version, .. } = lab.read(Key::Active).await else { panic!("gone") };
            if order.claim == version.0 {
                return;
            }
        }
    };
    order.await;
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(stderr(&output).contains("the order is withdrawn, and nothing moved"), "{output:?}");
    lab.await_missing(Key::Confirm).await;
}

#[tokio::test]
async fn the_host_of_a_keep_is_confirmed_though_nobody_claims_once_it_is_resumed_and_silent() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    let kept = Kept { by: identity("hn0"), epoch: Epoch(7) };
    let mut settings = lab
        .settings()
        .await
        .pause("root", Some(Keep::asked("k".to_owned(), Epoch(7), WallTime(0))));
    settings.keep.as_mut().unwrap().acknowledged = Some(kept.clone());
    let lives =
        |output: &Output| stderr(output).contains("hn0 is not off: its master-fc has a session");
    lab.write(vec![set_settings(&settings)]).await;
    let output = lab.run(&CONFIRM).await;
    assert!(code(&output) == 6 && lives(&output), "{output:?}");
    fall_silent(&mut lab).await;
    lab.write(vec![Op::Delete { key: Key::Lock, version: None }]).await;
    let early = lab.run(&CONFIRM).await;
    assert!(code(&early) == 6 && stderr(&early).contains("`headship resume` first"), "{early:?}");

    lab.write(vec![set_settings(&settings.resume("eve"))]).await;
    let json = lab.json(&["fence", "list", "--json"]).await;
    assert_eq!(json["keep"]["over"]["node"], "hn0");
    assert!(json["keep"]["alive"].is_null() && json["attempt"].is_null(), "{json}");
    let listed = stdout(&lab.run(&["fence", "list"]).await);
    assert!(listed.contains("resume waits for hn0 (epoch 7, "), "{listed}");
    assert!(listed.ends_with("if hn0 is powered off: `headship fence confirm hn0`\n"), "{listed}");
    let unasked = lab.run(&CONFIRM[..3]).await;
    assert_eq!(code(&unasked), 6, "{unasked:?}");
    assert_eq!(lab.settings().await, settings.resume("eve"));

    // Who renews its lease lives.
    let renewals = lab.renew().await;
    let renews = lab.run(&CONFIRM).await;
    renewals.abort();
    assert!(stderr(&renews).contains("hn0 is not off: it renews its lease"), "{renews:?}");
    let output = lab.run(&CONFIRM).await;
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).starts_with("hn0 counts as powered off"), "{output:?}");
    let word = lab.settings().await.keep.unwrap().confirmed.unwrap();
    let Found::Data { version, .. } = lab.read(Key::Lease).await else { panic!("no `lease`") };
    assert_eq!((&word.over, word.lease), (&kept, Some(version.0)));
    let twice = lab.run(&CONFIRM).await;
    assert!(code(&twice) == 6 && stderr(&twice).contains("confirmed at"), "{twice:?}");
}

fn set_settings(settings: &Settings) -> Op {
    Op::Set { key: Key::Settings, version: None, data: record::write(settings) }
}
