//! `headship failover`.

use headship_core::quorum::Op;
use headship_core::record::{self, Answer, FailoverOrder, Key, Phase, SwitchoverOrder};

use crate::lab::{Lab, active, code, identity, interrupt, node, stderr, stdout};

const FAILOVER: [&str; 4] = ["failover", "--from", "hn0", "--yes"];

#[tokio::test]
async fn a_failover_is_given_for_the_holder_and_followed_and_nothing_else_beside_it() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    // Nobody can be asked, and nobody said yes.
    let unasked = lab.run(&["failover", "--from", "hn0"]).await;
    assert_eq!(code(&unasked), 6, "{unasked:?}");
    assert!(stderr(&unasked).contains("nothing is ordered: say yes"), "{unasked:?}");
    lab.await_missing(Key::Failover).await;
    // Nor is anybody asked for what cannot be done.
    let in_vain = lab.run(&["failover", "--from", "hn1"]).await;
    assert_eq!(code(&in_vain), 6, "{in_vain:?}");
    assert!(stderr(&in_vain).contains("hn1 does not hold office: hn0 does"), "{in_vain:?}");
    let other = lab.run(&["failover", "--from", "hn1", "--yes"]).await;
    assert_eq!(code(&other), 6, "{other:?}");
    assert!(stderr(&other).contains("hn1 does not hold office: hn0 does"), "{other:?}");

    let child = lab.begin(&FAILOVER);
    let order: FailoverOrder = lab.await_order().await;
    assert_eq!((order.epoch.0, order.from.clone()), (7, node("hn0")));
    let beside = lab.run(&["switchover"]).await;
    assert_eq!(code(&beside), 6, "{beside:?}");
    let by_name = format!("{} ordered a failover from hn0, which is not answered yet", order.by);
    assert!(stderr(&beside).contains(&by_name), "{beside:?}");

    let (answer, taker) = (Some(Answer::Accepted), Some(node("hn1")));
    let data = record::write(&FailoverOrder { answer, taker, ..order });
    lab.write(vec![Op::Set { key: Key::Failover, version: None, data }]).await;
    let claimed = active("hn0", 7, Phase::Active);
    lab.set_active(record::Active { claimant: Some(identity("hn1")), ..claimed }).await;
    lab.set_active(active("hn1", 8, Phase::Active)).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let last = stdout(&output);
    assert!(last.lines().last().unwrap().starts_with("hn1 is active in epoch 8; it took "));
}

#[tokio::test]
async fn a_failover_is_refused_by_the_name_of_a_switchover_and_leaves_no_half_order() {
    let mut lab = Lab::start().await;
    lab.write_cluster().await;
    let switchover = lab.begin(&["switchover"]);
    let order: SwitchoverOrder = lab.await_order().await;
    let beside = lab.run(&FAILOVER).await;
    assert_eq!(code(&beside), 6, "{beside:?}");
    assert!(stderr(&beside).contains(&format!("{} ordered a switchover", order.by)), "{beside:?}");
    interrupt(&switchover);
    assert_eq!(code(&switchover.wait_with_output().await.unwrap()), 6);

    let child = lab.begin(&FAILOVER);
    lab.await_order::<FailoverOrder>().await;
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(stderr(&output).contains("the order is withdrawn, and nothing moved"), "{output:?}");
    lab.await_missing(Key::Failover).await;
}
