//! `headship adopt`.

use std::time::Duration;

use headship_core::quorum::{Found, Op};
use headship_core::record::{self, AdoptOrder, Answer, Key};
use tokio::time::{sleep, timeout};

use crate::lab::{LIMIT, Lab, code, interrupt, node, stderr, stdout};

async fn await_adoption(lab: &mut Lab) -> AdoptOrder {
    let order = async {
        loop {
            if let Found::Data { data, .. } = lab.read(Key::Adopt).await {
                return record::parse(&Key::Adopt, &data).unwrap();
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, order).await.expect("an order comes")
}

async fn answer(lab: &mut Lab, order: &mut AdoptOrder, name: &str, answer: Answer) {
    order.answers.insert(node(name), answer);
    let data = record::write(order);
    lab.write(vec![Op::Set { key: Key::Adopt, version: None, data }]).await;
}

#[tokio::test]
async fn an_adoption_ends_with_the_word_of_every_headnode_or_with_the_first_refusal() {
    let mut lab = Lab::start().await;
    assert_eq!(code(&lab.run(&["adopt"]).await), 6, "there is nothing to follow yet");
    lab.write_cluster().await;
    let child = lab.begin(&["adopt"]);
    let mut order = await_adoption(&mut lab).await;
    assert_eq!(order.incarnation.0, "i");
    let second = lab.run(&["adopt"]).await;
    assert_eq!(code(&second), 6, "{second:?}");
    assert!(stderr(&second).contains(&format!("{} ordered to adopt", order.by)), "{second:?}");
    answer(&mut lab, &mut order, "hn0", Answer::Accepted).await;
    answer(&mut lab, &mut order, "hn1", Answer::Accepted).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).ends_with("all headnodes follow life i: hn0, hn1\n"), "{output:?}");

    // Everybody answered the first one: it is over, and a new one takes its place.
    let child = lab.begin(&["adopt"]);
    let mut order = loop {
        let order = await_adoption(&mut lab).await;
        if order.answers.is_empty() {
            break order;
        }
    };
    let why = "hn0 holds office of epoch 7 in another life of the cluster".to_owned();
    answer(&mut lab, &mut order, "hn0", Answer::Refused { why }).await;
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(stderr(&output).contains("hn0 refused: hn0 holds office of epoch 7"), "{output:?}");
    lab.await_missing(Key::Adopt).await;

    let child = lab.begin(&["adopt"]);
    await_adoption(&mut lab).await;
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(stderr(&output).contains("interrupted: the order is withdrawn"), "{output:?}");
    lab.await_missing(Key::Adopt).await;
}
