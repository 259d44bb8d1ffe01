//! `headship` against a real ensemble. The tests write the records of a cluster, and play its active.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, too; clippy exempts only the test functions themselves"
)]

mod adopt;
mod answers;
mod config;
mod failover;
mod fence;
mod hadoop;
mod lab;
mod late;
mod midway;
mod refusals;
mod settings;
mod transcript;

use std::fs;
use std::time::{Duration, Instant};

use headship_core::epoch::Epoch;
use headship_core::quorum::{Found, Op};
use headship_core::record::{Answer, Key, Phase, SwitchoverOrder};
use serde_json::Value;

use crate::lab::{Lab, active, code, create, interrupt, interrupt_when_told, node, stderr, stdout};

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

    // What lies in a folder, by names that only the quorum knows.
    let listed = lab.link.folder("headnodes").await.unwrap();
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["hn0", "hn1"]);
    assert!(listed.iter().all(|(_, found)| matches!(found, Found::Data { .. })), "{listed:?}");
    assert_eq!(lab.link.folder("elsewhere").await, Some(vec![]));

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
    fs::create_dir_all(lab.run.path().join("master-fc")).unwrap();
    fs::write(lab.run.path().join("master-fc/status"), "active (epoch 7): holds office").unwrap();
    (0..3).for_each(|server| lab.ensemble.borrow_mut().kill(server).unwrap());
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
    let order: SwitchoverOrder = lab.await_order().await;
    assert_eq!((order.epoch, order.to.clone()), (Epoch(7), Some(node("hn1"))));
    let second = lab.run(&["switchover"]).await;
    assert_eq!(code(&second), 6, "{second:?}");
    assert!(stderr(&second).contains(&format!("{} ordered a switchover", order.by)), "{second:?}");

    let paused = lab.run(&["pause"]).await;
    assert_eq!(code(&paused), 6, "{paused:?}");
    assert!(stderr(&paused).contains("ordered a switchover to hn1, which is not answered yet"));

    lab.answer(order, Answer::Accepted).await;
    let paused = lab.run(&["pause"]).await;
    assert_eq!(code(&paused), 6, "{paused:?}");
    assert!(stderr(&paused).contains("a switchover to hn1 that "), "{paused:?}");
    assert!(stderr(&paused).contains("is being carried out"), "{paused:?}");
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
    lab.await_order::<SwitchoverOrder>().await;
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6, "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["conclusion"], "interrupted: the order is withdrawn, and nothing moved");
    lab.await_missing(Key::Switchover).await;

    // Once it is accepted it goes on, and that is said.
    let child = lab.begin(&["switchover"]);
    let order: SwitchoverOrder = lab.await_order().await;
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
        lab.await_missing(Key::Switchover).await;
    }
    let child = lab.begin(&["switchover"]);
    let order: SwitchoverOrder = lab.await_order().await;
    let why = "no headnode is eligible and ready: hn1: no disk space".to_owned();
    lab.answer(order, Answer::Refused { why: why.clone() }).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6);
    assert!(stderr(&output).contains(&why), "{output:?}");
    // The order that was refused is over: a new one takes its place.
    let child = lab.begin(&["switchover"]);
    let order: SwitchoverOrder = lab.await_order().await;
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
