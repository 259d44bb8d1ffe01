//! Input as somebody hostile, or a broken disk, would send it: what is almost right, spoiled in a few places.
//!
//! Each case is drawn by `proptest`, which also finds the smallest one that fails. By default the cases are the same each time;
//! with `HEADSHIP_FUZZ_MINUTES` they are others, for as long, and one that failed is kept in `proptest-regressions.txt` and tried
//! first from then on.

use std::fmt::Debug;
use std::ops::Deref;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Just, any};
use proptest::strategy::{Strategy, Union};
use proptest::test_runner::{
    Config, FileFailurePersistence, RngAlgorithm, TestCaseResult, TestRng, TestRunner,
};

/// Where cases that failed are kept.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proptest-regressions.txt");

/// How many cases are tried where no time is given.
const CASES: u32 = 5000;

/// What parsers are known to stumble over.
const TOKENS: [&str; 36] = [
    "",
    "0",
    "-1",
    "1e999",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "0x7fffffff",
    "1.5",
    "null",
    "true",
    "\"\"",
    "{}",
    "[]",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\n",
    "\u{0}",
    "\n",
    "\r\n",
    "\t",
    "\u{1b}[31m",
    "#",
    "=",
    ",",
    ":",
    "\u{feff}",
    "\u{202e}",
    "é",
];

/// One thing that is done to a text, at a place that is counted modulo its length.
#[derive(Clone, Debug)]
enum Edit {
    Replace(usize, u8),
    Insert(usize, Vec<u8>),
    Cut(usize, usize),
    /// A piece of it, once more, somewhere else.
    Copy(usize, usize, usize),
    Repeat(usize, u16),
}

impl Edit {
    fn apply(&self, text: &mut Vec<u8>) {
        let place = |at: usize, text: &[u8]| at.checked_rem(text.len() + 1).unwrap_or_default();
        let piece = |from: usize, length: usize, text: &[u8]| {
            let from = place(from, text);
            from..from.saturating_add(length).min(text.len())
        };
        match self {
            Self::Replace(at, byte) => {
                let at = place(*at, text);
                if let Some(old) = text.get_mut(at) {
                    *old = *byte;
                }
            }
            Self::Insert(at, more) => {
                let at = place(*at, text);
                text.splice(at..at, more.iter().copied());
            }
            Self::Cut(from, length) => {
                let piece = piece(*from, *length, text);
                text.drain(piece);
            }
            Self::Copy(from, length, to) => {
                let copied = text.get(piece(*from, *length, text)).unwrap_or_default().to_vec();
                let to = place(*to, text);
                text.splice(to..to, copied);
            }
            Self::Repeat(at, times) => {
                let at = place(*at, text);
                let byte = text.get(at).copied().unwrap_or(b' ');
                text.splice(at..at, std::iter::repeat_n(byte, usize::from(*times)));
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let token = proptest::sample::select(&TOKENS[..]).prop_map(|token| token.as_bytes().to_vec());
    Union::new([
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)).boxed(),
        (any::<usize>(), token).prop_map(|(at, more)| Edit::Insert(at, more)).boxed(),
        (any::<usize>(), vec(any::<u8>(), 1..8))
            .prop_map(|(at, more)| Edit::Insert(at, more))
            .boxed(),
        (any::<usize>(), 1..40_usize).prop_map(|(from, length)| Edit::Cut(from, length)).boxed(),
        (any::<usize>(), 1..200_usize, any::<usize>())
            .prop_map(|(from, length, to)| Edit::Copy(from, length, to))
            .boxed(),
        (any::<usize>(), 1..3000_u16).prop_map(|(at, times)| Edit::Repeat(at, times)).boxed(),
    ])
}

/// What was made of an example.
#[derive(Clone)]
pub struct Spoiled(pub Vec<u8>);

impl Deref for Spoiled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Debug for Spoiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One of `examples`, spoiled in up to six places; whole now and then.
pub fn spoiled<T: AsRef<[u8]>>(examples: &[T]) -> impl Strategy<Value = Spoiled> + use<T> {
    let examples = examples.iter().map(|example| Just(example.as_ref().to_vec()));
    (Union::new(examples), vec(edit(), 0..6)).prop_map(|(mut text, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut text));
        Spoiled(text)
    })
}

/// Tries `check` with what `cases` draws: so often, or for `HEADSHIP_FUZZ_MINUTES`. `file` is where the test is.
///
/// # Panics
/// With the smallest case that fails.
#[expect(clippy::panic, reason = "a test says by panicking that it failed")]
pub fn try_all<S>(file: &'static str, cases: &S, check: impl Fn(S::Value) -> TestCaseResult)
where
    S: Strategy,
    S::Value: Debug,
{
    let minutes = std::env::var("HEADSHIP_FUZZ_MINUTES").ok().and_then(|text| text.parse().ok());
    let failed = FileFailurePersistence::Direct(KEPT);
    let config = Config {
        cases: CASES,
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(failed)),
        source_file: Some(file),
        ..Config::default()
    };
    let (until, mut runner) = match minutes {
        Some(minutes) => {
            let until = Instant::now() + Duration::from_secs(60).mul_f64(minutes);
            (Some(until), TestRunner::new(config))
        }
        None => {
            let same = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            (None, TestRunner::new_with_rng(config, same))
        }
    };
    loop {
        if let Err(error) = runner.run(cases, &check) {
            panic!("{error}");
        }
        if until.is_none_or(|until| Instant::now() >= until) {
            return;
        }
    }
}

/// A record of each kind, by its path below the cluster's root.
pub const RECORDS: [(&str, &str); 17] = [
    (
        "settings",
        r#"{"format":1,"incarnation":"i","paused":"operator@test: a reason","maintenance":{"nodes":{"hn1":"operator@test"},"services":{"livy":"operator@test"}},"keep":{"id":"k","epoch":7,"not_after":1795838615158}}"#,
    ),
    ("lock", r#"{"format":1,"node":"hn1","machine":"m1","boot":"b1","process":"p1"}"#),
    (
        "active",
        r#"{"format":1,"incarnation":"i","epoch":7,"holder":{"node":"hn1","machine":"m1","boot":"b1","process":"p1"},"phase":"active","claimant":null,"lease_ms":6000,"kill_ms":2000,"services":["livy"],"addresses":["10.0.0.11"],"since":1795838615158}"#,
    ),
    (
        "active",
        r#"{"format":1,"incarnation":"i","epoch":8,"holder":{"node":"hn0","machine":"m0","boot":"b0","process":"p0"},"phase":{"ceded":{"to":"hn0","until_ms":20000}},"claimant":{"node":"hn0","machine":"m0","boot":"b0","process":"p0"},"lease_ms":6000,"kill_ms":2000}"#,
    ),
    ("lease", r#"{"format":1,"epoch":7,"seq":12,"lease_ms":6000,"kill_ms":2000}"#),
    (
        "challenge",
        r#"{"format":1,"node":"hn1","machine":"m1","boot":"b1","process":"p1","epoch":7,"seq":3}"#,
    ),
    ("promise/hn1", r#"{"format":1,"machine":"m1","boot":"b1","incarnation":"i","epoch":7}"#),
    (
        "headnodes/hn1",
        r#"{"format":1,"node":"hn1","machine":"m1","boot":"b1","process":"p1","role":"standby","epoch":7,"why":"hn0 is active"}"#,
    ),
    (
        "health/hn0",
        r#"{"format":1,"node":"hn0","machine":"m0","boot":"b0","process":"h0","seq":264,"verdict":"eligible","reasons":[],"checks":{"disk /":"/ has 12039 MiB free, 512 are wanted"}}"#,
    ),
    (
        "services/hn1",
        r#"{"format":1,"node":"hn1","machine":"m1","boot":"b1","process":"g1","services":{"livy":"running"}}"#,
    ),
    (
        "duty/hn1",
        r#"{"format":1,"node":"hn1","machine":"m1","boot":"b1","process":"d1","epoch":7,"services":{"livy":{"observed":"running","restarts":0,"given_up":false}}}"#,
    ),
    (
        "nodes/hn0",
        r#"{"format":1,"node":"hn0","machine":"m0","boot":"b0","process":"f0","incarnation":"i","epoch":7,"active":"hn1","agent":{"observed":"running","epoch":7},"why":"`headnodehost` is hn1","follows":true}"#,
    ),
    (
        "orders/switchover",
        r#"{"format":1,"order":"o","by":"root@hn0","epoch":7,"to":"hn0","not_after":1795838615158,"answer":null}"#,
    ),
    (
        "orders/failover",
        r#"{"format":1,"order":"o","by":"root@hn0","epoch":7,"from":"hn1","not_after":1795838615158,"taker":null,"answer":{"answer":"refused","why":"no"}}"#,
    ),
    (
        "orders/confirm",
        r#"{"format":1,"order":"o","by":"root@hn0","epoch":7,"node":"hn1","not_after":1795838615158,"answer":{"answer":"accepted"}}"#,
    ),
    (
        "orders/adopt",
        r#"{"format":1,"order":"o","by":"root@hn0","incarnation":"i","epoch":7,"not_after":1795838615158,"answer":null}"#,
    ),
    (
        "history",
        r#"{"format":1,"transitions":[{"epoch":7,"from":"hn0","to":"hn1","cause":"it was ceded to hn1","at":1795838325488,"phases":[{"phase":"wait","ms":57}]}]}"#,
    ),
];
