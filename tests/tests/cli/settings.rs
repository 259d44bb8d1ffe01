//! `headship pause`, `resume` and `maintenance`.

use std::time::Duration;

use headship_core::epoch::Epoch;
use headship_core::quorum::{Found, Op};
use headship_core::record::{self, HeadnodeState, Kept, Key, Maintenance, ServicesState, Settings};
use tokio::time::{sleep, timeout};

use crate::lab::{LIMIT, Lab, code, identity, interrupt, node, stderr, stdout};

#[tokio::test]
async fn pause_and_maintenance_are_written_once_with_who_and_where_from() {
    let mut lab = Lab::start().await;
    let early = lab.run(&["pause"]).await;
    assert_eq!(code(&early), 6, "{early:?}");
    assert!(stderr(&early).contains("this cluster has not begun"), "{early:?}");

    lab.write_cluster().await;
    let paused = lab.run(&["pause", "work", "on the racks"]).await;
    assert_eq!(code(&paused), 0, "{paused:?}");
    assert!(stdout(&paused).contains(": work on the racks; hn0 holds office in epoch 7"));
    let by = lab.settings().await.paused.unwrap();
    assert!(by.contains('@') && by.ends_with(": work on the racks"), "{by}");
    let again = lab.run(&["pause", "mine"]).await;
    assert_eq!(code(&again), 6, "{again:?}");
    assert!(stderr(&again).contains(&format!("paused already: {by}")), "{again:?}");
    let resumed = lab.json(&["resume", "--json"]).await;
    assert_eq!((&resumed["changed"], &resumed["exit"]), (&true.into(), &0.into()));
    assert_eq!(lab.settings().await.paused, None);
    assert_eq!(lab.json(&["resume", "--json"]).await["changed"], false);

    keep(&mut lab).await;

    for (arguments, why) in [
        (["maintenance", "hn0", "on"], "`headship switchover` first"),
        (["maintenance", "hn7", "on"], "neither a headnode (hn0, hn1) nor a service (livy)"),
    ] {
        let refused = lab.run(&arguments).await;
        assert_eq!(code(&refused), 6, "{refused:?}");
        assert!(stderr(&refused).contains(why), "{refused:?}");
    }
    assert_eq!(code(&lab.run(&["maintenance", "hn1", "on", "a new disk"]).await), 0);
    assert!(lab.settings().await.maintenance.nodes[&node("hn1")].ends_with(": a new disk"));
    assert_eq!(code(&lab.run(&["maintenance", "hn1", "off"]).await), 0);
    assert_eq!(lab.settings().await.maintenance, Maintenance::default());

    // The active has to show that it goes by it.
    let child = lab.begin(&["maintenance", "livy", "on"]);
    let shown = async {
        while lab.settings().await.maintenance.services.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, shown).await.expect("it is written");
    let key = Key::Services(node("hn0"));
    let Found::Data { data, .. } = lab.read(key.clone()).await else { panic!("it is there") };
    let state: ServicesState = record::parse(&key, &data).unwrap();
    let state = ServicesState { alone: ["livy".to_owned()].into(), ..state };
    lab.write(vec![Op::Set { key, version: None, data: record::write(&state) }]).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("; hn0 leaves it alone"), "{output:?}");
}

/// The active has to acknowledge that it keeps its services, and that it does so no longer; both its daemons have to show it.
async fn keep(lab: &mut Lab) {
    let child = lab.begin(&["pause", "--keep", "new disks"]);
    let settings = written(lab, |settings| settings.keep.is_some()).await;
    let id = settings.keep.as_ref().unwrap().id.clone();
    let mut acknowledged = settings.clone();
    acknowledged.keep.as_mut().unwrap().acknowledged =
        Some(Kept { by: identity("hn0"), epoch: Epoch(7) });
    shows(lab, Some(&id)).await;
    set(lab, &acknowledged).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("; hn0 keeps its services, whatever the quorum does"));
    let refused = lab.run(&["failover", "--from", "hn0", "--yes"]).await;
    assert_eq!(code(&refused), 6, "{refused:?}");
    assert!(stderr(&refused).contains("and hn0 keeps its services: `headship resume` first"));

    // Nobody answers: it is said what may still hold, and a second one waits for the same.
    let late = lab.run(&["resume"]).await;
    assert_eq!(code(&late), 10, "{late:?}");
    assert!(stderr(&late).contains("not acknowledged yet: resumed, but hn0 has not"), "{late:?}");
    let again = lab.run(&["pause"]).await;
    assert_eq!(code(&again), 6, "{again:?}");
    assert!(stderr(&again).contains("may still keep its services (epoch 7)"), "{again:?}");
    let child = lab.begin(&["resume"]);
    let resuming = written(lab, |settings| settings.paused.is_some()).await;
    shows(lab, None).await;
    set(lab, &resuming.automatic()).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 0, "{output:?}");

    // What nobody acknowledges in time is taken back.
    let late = lab.run(&["pause", "--keep"]).await;
    assert_eq!(code(&late), 10, "{late:?}");
    assert!(stderr(&late).contains("not acknowledged yet: hn0 says nothing to it"), "{late:?}");
    assert!(stderr(&late).contains("the keep is withdrawn"), "{late:?}");
    withdrawn(lab).await;

    // And what is not waited for.
    let child = lab.begin(&["pause", "--keep", "--json"]);
    written(lab, |settings| settings.keep.is_some()).await;
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 10, "{output:?}");
    assert!(stdout(&output).contains("; interrupted: not acknowledged yet: hn0"), "{output:?}");
    assert!(stdout(&output).contains(r#""keep":null"#), "{output:?}");
    withdrawn(lab).await;
}

/// The pause stays, without the keep, until it is resumed.
async fn withdrawn(lab: &mut Lab) {
    let settings = lab.settings().await;
    assert!(settings.paused.is_some() && settings.keep.is_none(), "{settings:?}");
    let resumed = lab.run(&["resume"]).await;
    assert_eq!(code(&resumed), 0, "{resumed:?}");
    assert_eq!(lab.settings().await.paused, None);
}

pub(crate) async fn written(lab: &mut Lab, wanted: fn(&Settings) -> bool) -> Settings {
    let seen = async {
        loop {
            let settings = lab.settings().await;
            if wanted(&settings) {
                return settings;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, seen).await.expect("it is written")
}

async fn set(lab: &mut Lab, settings: &Settings) {
    let data = record::write(settings);
    lab.write(vec![Op::Set { key: Key::Settings, version: None, data }]).await;
}

/// Both daemons of hn0 show by which keep they go.
pub(crate) async fn shows(lab: &mut Lab, id: Option<&String>) {
    let key = Key::Headnode(node("hn0"));
    let Found::Data { data, .. } = lab.read(key.clone()).await else { panic!("it is there") };
    let state: HeadnodeState = record::parse(&key, &data).unwrap();
    let state = HeadnodeState { kept: id.cloned(), ..state };
    let data = record::write(&state);
    lab.write(vec![Op::Set { key, version: None, data }]).await;
    let key = Key::Services(node("hn0"));
    let Found::Data { data, .. } = lab.read(key.clone()).await else { panic!("it is there") };
    let state: ServicesState = record::parse(&key, &data).unwrap();
    let state = ServicesState { kept: id.cloned(), ..state };
    let data = record::write(&state);
    lab.write(vec![Op::Set { key, version: None, data }]).await;
}
