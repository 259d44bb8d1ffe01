//! The order of methods, their time, and what each answer permits.

use std::collections::BTreeMap;

use super::*;
use crate::config::checked::{FenceKind, FenceMethod};

pub(crate) fn victim() -> Victim {
    Victim {
        node: NodeName::try_from("hn0").unwrap(),
        machine: "m-hn0".to_owned(),
        boot: "b-1".to_owned(),
        epoch: Epoch(7),
    }
}

pub(crate) fn run(end: End, said: &str) -> Run {
    Run { end, said: said.to_owned() }
}

fn method(name: &str, seconds: u64) -> FenceMethod {
    let kind = FenceKind::Ssh { arguments: Vec::new() };
    FenceMethod { name: name.to_owned(), limit: Duration::from_secs(seconds), kind }
}

fn fencing(methods: Vec<FenceMethod>) -> Fencing {
    let (budget, dead_after) = (Duration::from_secs(30), Duration::from_secs(1));
    Fencing { methods, budget, dead_after }
}

fn ask(method: usize, seconds: u64) -> Step {
    Step::Ask { method, limit: Duration::from_secs(seconds) }
}

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

fn no() -> Answer {
    Answer::No { why: "it is on".to_owned() }
}

fn unknown() -> Answer {
    Answer::Unknown { why: "no route".to_owned() }
}

#[test]
fn agents_have_switched_a_host_off_once_all_of_it_may_have_been_asked_for_their_limits() {
    let node = |name: &str| NodeName::try_from(name).unwrap();
    let agent = |name: &str, seconds: u64, of: &str| {
        let nodes = BTreeMap::from([(node(of), BTreeMap::new())]);
        let program = "/usr/sbin/fence_x".to_owned();
        let kind = FenceKind::Agent { program, secrets_file: None, nodes };
        FenceMethod { name: name.to_owned(), limit: Duration::from_secs(seconds), kind }
    };
    let mut methods = vec![agent("ipmi", 3, "hn0"), method("ssh", 9), agent("pdu", 4, "hn0")];
    methods.push(agent("other", 8, "hn1"));
    let after = |methods: &[FenceMethod], of: &str| {
        let sum = switched_off_after(&fencing(methods.to_vec()), &node(of));
        sum.map(|(looks, asked)| (looks.as_millis(), asked.as_millis()))
    };
    assert_eq!(after(&methods, "hn0"), Some((2 * 1500, 7000)), "a look before each");
    assert_eq!(after(&methods, "hn1"), Some((1500, 8000)));
    assert_eq!(after(&methods, "hn2"), None);
    methods.push(agent("slow", 60, "hn0"));
    assert_eq!(after(&methods, "hn0"), Some((3 * 1500, 30_000)), "their budget");
}

/// `method` does not say Yes, and a look shows nothing: the step after that.
fn further(asking: &mut Asking, now: Time, method: usize, answer: Answer) -> Step {
    assert_eq!(asking.answered(now, method, answer), Some(Step::Look));
    let (went_on, step) = asking.clone().go_on(now, &fencing(Vec::new()), |_| true);
    *asking = went_on;
    step
}

#[test]
fn methods_are_asked_in_order_until_one_says_yes() {
    let fencing = fencing(vec![method("ipmi", 10), method("pdu", 10), method("ssh", 10)]);
    let (mut asking, step) = Asking::begin(at(0), victim(), &fencing, |_| true);
    assert_eq!(step, ask(0, 10));
    assert_eq!(further(&mut asking, at(1), 0, no()), ask(1, 10));
    let yes = Answer::Yes { how: "it is off".to_owned() };
    let fenced = Step::Fenced { by: "pdu".to_owned(), how: "it is off".to_owned() };
    assert_eq!(asking.answered(at(2), 1, yes), Some(fenced));
    assert_eq!(asking.poll_timeout(), None);
}

#[test]
fn after_the_last_method_it_is_refused_with_what_each_said() {
    let fencing = fencing(vec![method("ipmi", 10), method("ssh", 10)]);
    let (mut asking, _) = Asking::begin(at(0), victim(), &fencing, |_| true);
    assert_eq!(further(&mut asking, at(1), 0, no()), ask(1, 10));
    let why = "no fence method says that hn0 is off (ipmi: no, it is on; ssh: unknown, no route)";
    let refused = Step::Refused { why: why.to_owned() };
    assert_eq!(asking.answered(at(2), 1, unknown()), Some(refused));
}

#[test]
fn a_round_goes_on_with_the_methods_that_were_not_asked_in_it_and_with_new_time() {
    let fencing = fencing(vec![method("ipmi", 10), method("ssh", 10), method("pdu", 25)]);
    let early = |it: &FenceMethod| it.name != "ssh";
    let (mut asking, _) = Asking::begin(at(0), victim(), &fencing, early);
    assert_eq!(further(&mut asking, at(9), 0, no()), ask(2, 21));
    assert!(matches!(asking.answered(at(30), 2, unknown()), Some(Step::Refused { .. })));
    let (mut asking, step) = asking.go_on(at(40), &fencing, |_| true);
    assert_eq!(step, ask(1, 10));
    let why = "no fence method says that hn0 is off (ipmi: no, it is on; pdu: unknown, no route; ssh: unknown, no route)";
    let refused = Step::Refused { why: why.to_owned() };
    assert_eq!(asking.answered(at(41), 1, unknown()), Some(refused));
}

#[test]
fn without_a_method_for_the_victim_it_is_refused_at_once() {
    let of_hn1 = FenceMethod {
        kind: FenceKind::Agent {
            program: "/usr/sbin/fence_x".to_owned(),
            secrets_file: None,
            nodes: [(NodeName::try_from("hn1").unwrap(), [].into())].into(),
        },
        ..method("ipmi", 10)
    };
    let (_, step) = Asking::begin(at(0), victim(), &fencing(vec![of_hn1.clone()]), |_| true);
    let Step::Refused { why } = step else { panic!("{step:?}") };
    assert!(why.starts_with("no fence method can be asked about hn0"), "{why}");
    // The place is that of the configuration, whichever methods are left out.
    let (_, step) =
        Asking::begin(at(0), victim(), &fencing(vec![of_hn1, method("ssh", 5)]), |_| true);
    assert_eq!(step, ask(1, 5));
}

#[test]
fn only_methods_that_may_be_are_asked() {
    let fencing = fencing(vec![method("a", 10), method("b", 10), method("c", 10)]);
    let (mut asking, step) = Asking::begin(at(0), victim(), &fencing, |method| method.name != "b");
    assert_eq!((step, asking.asks()), (ask(0, 10), Some("a")));
    assert_eq!(further(&mut asking, at(1), 0, no()), ask(2, 10));
    let no = no();
    let said: Vec<_> = asking.answers().collect();
    assert_eq!(said, [("a", Some(&no)), ("c", None)]);
}

#[test]
fn a_method_that_does_not_answer_is_given_up_and_its_late_yes_is_not_heard() {
    let fencing = fencing(vec![method("ipmi", 10), method("ssh", 10)]);
    let (mut asking, _) = Asking::begin(at(0), victim(), &fencing, |_| true);
    assert_eq!(asking.poll_timeout(), Some(at(12)));
    assert_eq!(asking.handle_timeout(at(11)), None);
    assert_eq!(asking.handle_timeout(at(12)), Some(Step::Look));
    let (mut asking, step) = asking.go_on(at(12), &fencing, |_| true);
    assert_eq!(step, ask(1, 10));
    let late = Answer::Yes { how: "it is off".to_owned() };
    assert_eq!(asking.answered(at(13), 0, late), None);
    assert_eq!(asking.poll_timeout(), Some(at(24)));
    let Some(Step::Refused { why }) = asking.answered(at(14), 1, unknown()) else { panic!() };
    assert!(why.contains("(ipmi: unknown, it did not answer within 10s; ssh:"), "{why}");
    assert_eq!(asking.answered(at(15), 1, no()), None);
}

#[test]
fn the_budget_cuts_the_last_methods_short() {
    let fencing = fencing(vec![method("a", 20), method("b", 20), method("c", 20)]);
    let (mut asking, step) = Asking::begin(at(100), victim(), &fencing, |_| true);
    assert_eq!(step, ask(0, 20));
    // The look before the next one is none of their time.
    assert_eq!(asking.answered(at(120), 0, no()), Some(Step::Look));
    let (mut asking, step) = asking.go_on(at(125), &fencing, |_| true);
    assert_eq!(step, ask(1, 10));
    let Some(Step::Refused { why }) = asking.answered(at(135), 1, no()) else { panic!() };
    assert!(why.contains("c: unknown, no time was left to ask it"), "{why}");
}

#[test]
fn what_always_succeeds_is_known_in_every_dress() {
    let succeeds =
        |command: &str| always_succeeds(&command.split(' ').map(str::to_owned).collect::<Vec<_>>());
    for bad in [
        "true",
        "/bin/true",
        "/usr/bin/true hn0",
        ":",
        "/usr/bin/env true",
        "/usr/bin/env A=1 true",
        "/bin/busybox true",
        "/bin/sh -c true",
        "/bin/sh -e -c exit",
        "/bin/bash -c :",
        "/usr/bin/nice /bin/sh -c true",
    ] {
        assert!(succeeds(bad), "{bad}");
    }
    let script = |text: &str| always_succeeds(&["/bin/sh", "-c", text].map(str::to_owned));
    assert!(script("exit 0") && script(" true; ") && script("") && script("exit 0;"));
    assert!(!script("exit 1") && !script("/usr/local/sbin/fence || true"));
    for good in ["/usr/local/sbin/fence true", "/bin/false", "/bin/sh /usr/local/sbin/true.sh"] {
        assert!(!succeeds(good), "{good}");
    }
    assert!(!always_succeeds(&[]));
}

#[test]
fn a_run_is_told_in_words_that_can_be_read() {
    let late = |micros| run(End::Late(Duration::from_micros(micros)), "").to_string();
    assert_eq!(late(1_999_999), "took longer than 2.0s and was killed");
    assert_eq!(late(486_124), "took longer than 486ms and was killed");
    assert_eq!(run(End::Signal(9), "oh").to_string(), "was killed by signal 9, saying `oh`");
    let unseen = End::Unseen("cannot be run: it is gone".to_owned());
    assert_eq!(run(unseen, "").to_string(), "cannot be run: it is gone");
}

#[test]
fn ids_that_would_be_more_than_words_to_a_shell_are_refused() {
    assert_eq!(victim().unfit(), None);
    for bad in ["", "'", "a b", "$(x)", "a;b"] {
        assert!(Victim { boot: bad.to_owned(), ..victim() }.unfit().is_some(), "{bad}");
        assert!(Victim { machine: bad.to_owned(), ..victim() }.unfit().is_some(), "{bad}");
    }
}
