//! What each command says when nobody answers it in time: `late.txt` has all of it, in the order of this file.
//! `HEADSHIP_REWRITE=1` accepts what is said now.
//!
//! Each waits beside the others, on a cluster of its own: the longest wait is all the time that it takes.

use headship_core::epoch::Epoch;
use headship_core::quorum::Op;
use headship_core::record::{self, Answer, Keep, Kept, Key, SwitchoverOrder};
use headship_core::time::WallTime;

use crate::fence::{claim, fall_silent};
use crate::lab::{Lab, identity};
use crate::transcript::{Transcript, compare};

/// What nobody answers.
const UNANSWERED: [&str; 5] =
    ["switchover", "failover --from hn0 --yes", "adopt", "pause --keep", "maintenance livy on"];

async fn cluster(lab: &Lab, name: &str) -> Transcript {
    let mut told = Transcript::new(lab.beside(name).await);
    told.lab.write_cluster().await;
    told
}

/// Nobody answers, and everybody is there.
async fn unanswered(lab: &Lab, number: usize) -> String {
    let mut told = cluster(lab, &format!("late{number}")).await;
    told.each(&UNANSWERED[number..=number]).await;
    told.text
}

async fn unanswered_confirmation(lab: &Lab) -> String {
    let mut told = cluster(lab, "late-confirmation").await;
    claim(&mut told.lab).await;
    fall_silent(&mut told.lab).await;
    told.each(&["fence confirm hn0 --yes"]).await;
    told.text
}

/// hn0 keeps its services, and cannot acknowledge that this is over.
async fn unacknowledged_resume(lab: &Lab) -> String {
    let mut told = cluster(lab, "late-resume").await;
    let keep = Keep::asked("k".to_owned(), Epoch(7), WallTime(0));
    let mut settings = told.lab.settings().await.pause("eve@hn1", Some(keep));
    let kept = Kept { by: identity("hn0"), epoch: Epoch(7) };
    settings.keep.as_mut().unwrap().acknowledged = Some(kept);
    let data = record::write(&settings);
    told.lab.write(vec![Op::Set { key: Key::Settings, version: None, data }]).await;
    told.each(&["resume"]).await;
    told.text
}

/// hn0 accepts the switchover, and does nothing for longer than its service may need to stop and to start.
async fn accepted_in_vain(lab: &Lab) -> String {
    let mut told = cluster(lab, "late-switchover").await;
    let limits = "announce = true\nstart_limit_ms = 1000\nstop_limit_ms = 1000";
    told.lab.reconfigure("announce = true", limits);
    let running = told.begin("switchover");
    let order: SwitchoverOrder = told.lab.await_order().await;
    told.lab.answer(order, Answer::Accepted).await;
    told.told("switchover", "hn0 accepts it, and nothing follows", running).await;
    told.text
}

#[tokio::test]
async fn each_answer_of_a_headnode_that_does_not_come_is_told_as_written_down() {
    let lab = Lab::patient().await;
    let (switchover, failover, adopt, keep, maintenance, confirmation, resume, in_vain) = tokio::join!(
        unanswered(&lab, 0),
        unanswered(&lab, 1),
        unanswered(&lab, 2),
        unanswered(&lab, 3),
        unanswered(&lab, 4),
        unanswered_confirmation(&lab),
        unacknowledged_resume(&lab),
        accepted_in_vain(&lab),
    );
    let told = [switchover, failover, adopt, keep, maintenance, confirmation, resume, in_vain];
    compare("late.txt", &told.concat());
}
