//! `headship-zk` against a real ensemble: what is written, what is refused, and what a broken connection leaves behind.
//!
//! One ensemble runs at a time. The tests' runtime has one thread, like the daemons': nothing here may block it for long.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, too; clippy exempts only the test functions themselves"
)]

mod broken;
mod client;

use std::time::{Duration, Instant};

use headship_core::node::NodeName;
use headship_core::quorum::{Event, Found, Outcome, Refusal, Request, Version};
use headship_core::record::Key;
use headship_zk::{OneShot, Options, Watched};

use client::{
    Client, Lab, check, create, delete, done, exists, owner, refused, set, text, until_found,
};

/// The longest timeout that an ensemble with the fast tick grants.
pub(crate) const SESSION: Duration = Duration::from_secs(2);
/// Within this everything comes about, on a busy machine, too; three JVMs may have to start first.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn each_step_that_refuses_is_named_and_nothing_is_written() {
    let lab = Lab::start().await;
    let mut client = lab.one_shot().await;
    let created = client.write(vec![create(Key::Active, "a"), create(Key::Lease, "l")]).await;
    assert_eq!(created, done(&[0, 0]));

    let first = check(Key::Active, 0);
    for (refuses, why) in [
        (check(Key::Lease, 1), Refusal::OtherVersion),
        (check(Key::Settings, 0), Refusal::Missing),
        (exists(Key::Settings), Refusal::Missing),
        (create(Key::Lease, "x"), Refusal::Exists),
        (set(Key::Lease, Some(7), "x"), Refusal::OtherVersion),
        (set(Key::Settings, None, "x"), Refusal::Missing),
        (delete(Key::Lease, Some(7)), Refusal::OtherVersion),
        (delete(Key::Lock, None), Refusal::Missing),
    ] {
        let steps =
            vec![first.clone(), set(Key::Active, None, "b"), refuses, create(Key::History, "h")];
        let named = format!("{steps:?}");
        assert_eq!(client.write(steps).await, Outcome::Refused { step: 2, why }, "{named}");
    }
    let stale = vec![check(Key::Active, 3), set(Key::Lease, None, "x")];
    assert_eq!(client.write(stale).await, refused(0, Refusal::OtherVersion));
    let found = client.read(&[Key::Active, Key::Lease, Key::History]).await;
    assert_eq!(text(&found[0]), ("a", Version(0)));
    assert_eq!(text(&found[1]), ("l", Version(0)));
    assert_eq!(found[2], Found::Missing);
}

#[tokio::test]
async fn versions_owners_and_order_of_changes_are_told() {
    let lab = Lab::start().await;
    let mut client = lab.one_shot().await;
    let node = NodeName::try_from("hn0").unwrap();
    let first = vec![create(Key::Active, "a"), create(Key::Lock, "l")];
    assert_eq!(client.write(first).await, done(&[0, 0]));
    let second = vec![
        exists(Key::Lock),
        check(Key::Active, 0),
        set(Key::Active, Some(0), "b"),
        set(Key::Active, None, "c"),
        create(Key::Promise(node.clone()), "p"),
        delete(Key::Lock, Some(0)),
        create(Key::Lock, "again"),
    ];
    assert_eq!(client.write(second).await, done(&[0, 0, 1, 2, 0, 0, 0]));
    let third = vec![set(Key::Active, Some(2), "d")];
    assert_eq!(client.write(third).await, done(&[3]));

    let found = client.read(&[Key::Lock, Key::Active, Key::Promise(node)]).await;
    let [lock, active, promise] = [0, 1, 2].map(|i| match &found[i] {
        Found::Data { data, changed, owner, .. } => (data.as_str(), *changed, *owner),
        other @ (Found::Missing | Found::Unread) => panic!("{other:?}"),
    });
    assert_eq!((lock.0, lock.2), ("again", Some(client.session())));
    assert_eq!((active.0, active.2), ("d", None));
    assert_eq!((promise.0, promise.2), ("p", None));
    assert_eq!(lock.1, promise.1, "written by one transaction");
    assert!(active.1 > lock.1, "written later");
}

#[tokio::test]
async fn too_much_data_is_denied_and_the_connection_stays() {
    let lab = Lab::start().await;
    let mut client = lab.client().await;
    let outcome = client.write(vec![create(Key::History, &"x".repeat(1_000_000))]).await;
    assert!(
        matches!(&outcome, Outcome::Refused { why: Refusal::Denied(why), .. } if why.contains("bytes")),
        "{outcome:?}"
    );
    // The most that we let pass is not too much for a server as it is shipped.
    assert_eq!(client.write(vec![create(Key::History, &"x".repeat(999_800))]).await, done(&[0]));
    client.never_saw(&Event::Disconnected);
}

#[tokio::test]
async fn requests_keep_their_order_and_so_do_their_answers() {
    let lab = Lab::start().await;
    let mut client = lab.client().await;
    assert_eq!(client.write(vec![create(Key::Lease, "0")]).await, done(&[0]));
    let rounds = 1..=100;
    let asked: Vec<_> = rounds
        .clone()
        .map(|round: i32| {
            let write = client.ask(Request::Write(vec![set(Key::Lease, None, &round.to_string())]));
            (write, client.ask(Request::Read(Key::Lease)))
        })
        .collect();
    for (round, (write, read)) in rounds.zip(asked) {
        let answer = |event: &Event| {
            matches!(event, Event::Wrote { .. } | Event::Read { .. }).then(|| event.clone())
        };
        let wrote = client.until("an answer", answer).await;
        assert_eq!(wrote, Event::Wrote { id: write, outcome: done(&[round]) });
        let Event::Read { id, found, .. } = client.until("an answer", answer).await else {
            panic!("two writes were answered in a row");
        };
        assert_eq!((id, text(&found)), (read, (round.to_string().as_str(), Version(round))));
    }
}

#[tokio::test]
async fn changes_by_others_are_told_and_foreign_paths_are_not() {
    let lab = Lab::start().await;
    let mut client = lab.client().await;
    let mut other = lab.one_shot().await;
    let mut foreign = lab.one_shot_at("/headship/lab2").await;
    assert_eq!(foreign.write(vec![create(Key::Settings, "s")]).await, done(&[0]));
    assert_eq!(
        other.write(vec![create(Key::Active, "a"), create(Key::Lock, "l")]).await,
        done(&[0, 0])
    );
    client.until_event(&Event::Changed(Key::Active)).await;
    client.until_event(&Event::Changed(Key::Lock)).await;
    assert_eq!(other.write(vec![set(Key::Active, Some(0), "b")]).await, done(&[1]));
    client.until_event(&Event::Changed(Key::Active)).await;
    other.close(LIMIT).await;
    client.until_event(&Event::Changed(Key::Lock)).await;
    client.never_saw(&Event::Changed(Key::Settings));
}

#[tokio::test]
async fn changes_are_told_only_of_what_is_watched() {
    let lab = Lab::start().await;
    let watched = Watched::Record(Key::Active);
    let mut one_record = Client::connect(Options { watched, ..lab.options() }).await;
    let mut nothing = Client::connect(Options { watched: Watched::Nothing, ..lab.options() }).await;
    let mut other = lab.one_shot().await;
    // The lock's hint would come before the office's, and before the answer to a read that is asked later.
    other.write(vec![create(Key::Lock, "l"), create(Key::Active, "a")]).await;
    one_record.until_event(&Event::Changed(Key::Active)).await;
    other.write(vec![set(Key::Active, Some(0), "b")]).await;
    one_record.until_event(&Event::Changed(Key::Active)).await;
    one_record.never_saw(&Event::Changed(Key::Lock));
    assert_eq!(text(&nothing.read(Key::Active).await), ("b", Version(1)));
    nothing.never_saw(&Event::Changed(Key::Active));
    nothing.never_saw(&Event::Changed(Key::Lock));
}

#[tokio::test]
async fn closing_removes_ephemerals_at_once_and_leaves_the_rest() {
    let lab = Lab::start().await;
    let mut client = lab.one_shot().await;
    let mut other = lab.one_shot().await;
    assert_eq!(
        client.write(vec![create(Key::Lock, "l"), create(Key::Active, "a")]).await,
        done(&[0, 0])
    );
    let since = Instant::now();
    client.close(LIMIT).await;
    until_found(&mut other, Key::Lock, &Found::Missing).await;
    assert!(since.elapsed() < SESSION / 2, "it expired only after {:?}", since.elapsed());
    assert_eq!(text(&other.read(&[Key::Active]).await[0]), ("a", Version(0)));
}

#[tokio::test]
async fn a_detached_session_outlives_its_program_and_then_expires() {
    let lab = Lab::start().await;
    let options = lab.options();
    let program = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::connect(options).await;
            assert_eq!(client.write(vec![create(Key::Lock, "l")]).await, done(&[0]));
            client.quorum.detach();
        });
    });
    program.join().unwrap();
    let since = Instant::now();
    let mut other = lab.one_shot().await;
    assert_eq!(text(&other.read(&[Key::Lock]).await[0]), ("l", Version(0)));
    until_found(&mut other, Key::Lock, &Found::Missing).await;
    // A client pings at an eighth of the timeout; without the slack for that the server was not the one to end it.
    assert!(since.elapsed() > SESSION / 2, "it ended after {:?}", since.elapsed());
}

#[tokio::test]
async fn a_killed_server_costs_the_connection_but_not_the_session() {
    let mut lab = Lab::start().await;
    let mut client = lab.client().await;
    assert_eq!(client.write(vec![create(Key::Lock, "l")]).await, done(&[0]));
    let server = lab.ensemble.server_of(client.session.0).unwrap();
    lab.ensemble.kill(server).unwrap();
    client.reconnects_within_its_session().await;
    assert_eq!(owner(&client.read(Key::Lock).await), Some(client.session));
    // The watch is there again.
    let mut other = lab.one_shot().await;
    assert_eq!(other.write(vec![create(Key::Active, "a")]).await, done(&[0]));
    client.until_event(&Event::Changed(Key::Active)).await;
}

#[tokio::test]
async fn a_killed_leader_costs_the_connection_but_not_the_session() {
    let mut lab = Lab::start().await;
    let mut client = lab.client().await;
    assert_eq!(client.write(vec![create(Key::Lock, "l")]).await, done(&[0]));
    let leader = lab.ensemble.leader().unwrap();
    lab.ensemble.kill(leader).unwrap();
    client.reconnects_within_its_session().await;
    assert_eq!(client.write(vec![set(Key::Lock, Some(0), "m")]).await, done(&[1]));
    assert_eq!(owner(&client.read(Key::Lock).await), Some(client.session));
}

#[tokio::test]
async fn a_silent_server_is_noticed_while_the_session_lives() {
    let lab = Lab::start().await;
    let mut client = lab.client().await;
    let server = lab.ensemble.server_of(client.session.0).unwrap();
    lab.ensemble.freeze(server).unwrap();
    let since = Instant::now();
    client.until_event(&Event::Disconnected).await;
    assert!(since.elapsed() < SESSION * 2 / 3, "noticed after {:?}", since.elapsed());
}

#[tokio::test]
async fn what_is_asked_while_disconnected_is_never_written() {
    let lab = Lab::start().await;
    let mut client = lab.client().await;
    lab.freeze_all();
    client.until_event(&Event::Disconnected).await;
    assert_eq!(client.write(vec![create(Key::Active, "late")]).await, refused(0, Refusal::NotSent));
    assert_eq!(client.read(Key::Active).await, Found::Unread);
    lab.thaw_all();
    // After this write whatever was queued before it would have been written, too.
    client.until_written(create(Key::Lease, "marker")).await;
    let mut other = lab.one_shot().await;
    assert_eq!(other.read(&[Key::Active]).await, [Found::Missing]);
}

#[tokio::test]
async fn a_request_without_an_answer_is_unknown_before_the_disconnect_is_told() {
    let lab = Lab::start().await;
    let mut client = lab.client().await;
    lab.freeze_all();
    let write = client.ask(Request::Write(vec![create(Key::Active, "a")]));
    let read = client.ask(Request::Read(Key::Active));
    let seen = client.until_event(&Event::Disconnected).await;
    let unread = Event::Read { id: read, key: Key::Active, found: Found::Unread };
    let unknown = Event::Wrote { id: write, outcome: Outcome::Unknown };
    assert_eq!(seen, [unknown, unread, Event::Disconnected]);
    lab.thaw_all();
    client.until_connected().await;
}

#[tokio::test]
async fn a_lost_session_is_told_replaced_and_its_requests_are_not_sent() {
    let lab = Lab::start().await;
    let mut client = lab.client().await;
    assert_eq!(client.write(vec![create(Key::Lock, "l")]).await, done(&[0]));
    // Whether a session is over is for the servers to say: here they run, and it is the client that stands still, with
    // the one thread of its runtime.
    std::thread::sleep(SESSION * 2);
    let seen = client.until_event(&Event::SessionLost).await;
    assert!(seen.ends_with(&[Event::Disconnected, Event::SessionLost]), "{seen:?}");
    let old = client.session;
    client.until_connected().await;
    assert_ne!(client.session, old);

    let id = client.ask_as(old, Request::Write(vec![create(Key::Active, "old")]));
    assert_eq!(client.outcome(id).await, refused(0, Refusal::NotSent));
    assert_eq!(client.read(Key::Active).await, Found::Missing);
    client.until_missing(Key::Lock).await;
    assert_eq!(client.write(vec![create(Key::Lock, "m")]).await, done(&[0]));
    assert_eq!(owner(&client.read(Key::Lock).await), Some(client.session));
    // The new session watches, too.
    let mut other = lab.one_shot().await;
    assert_eq!(other.write(vec![create(Key::Lease, "l")]).await, done(&[0]));
    client.until_event(&Event::Changed(Key::Lease)).await;
}

#[tokio::test]
async fn an_ensemble_that_was_away_is_found_again_by_old_and_new_clients() {
    let mut lab = Lab::start().await;
    let mut client = lab.client().await;
    assert_eq!(client.write(vec![create(Key::Active, "a")]).await, done(&[0]));
    (0..3).for_each(|server| lab.ensemble.kill(server).unwrap());
    client.until_event(&Event::Disconnected).await;
    let limit = Duration::from_millis(500);
    let error = OneShot::connect(lab.options(), limit).await.unwrap_err();
    assert!(error.to_string().starts_with("no answer from the failover quorum (127."), "{error}");
    let options = lab.options();
    let newcomer = tokio::spawn(async move { Client::connect(options).await });
    // Sessions outlive their ensemble's absence, however long: they count from its return.
    tokio::time::sleep(SESSION * 2).await;
    (0..3).for_each(|server| lab.ensemble.launch(server).unwrap());
    client.until_connected().await;
    client.never_saw(&Event::SessionLost);
    let mut newcomer = newcomer.await.unwrap();
    for client in [&mut client, &mut newcomer] {
        assert_eq!(text(&client.read(Key::Active).await), ("a", Version(0)));
    }
}
