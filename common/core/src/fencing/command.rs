//! A fence command of the operator's: what it is told, and what its end means.
//!
//! It is told in its environment, by names of capital letters, digits and `_` only, so that every shell can read them. Its
//! exit status is the answer: 0 is Yes, 1 is No. Everything else is Unknown, a signal and a limit that ran out included: a
//! script that breaks off must not look like one that has made sure.

use std::time::Duration;

use super::{Answer, End, Run, Victim};
use crate::time::millis;

/// The environment of a fence command for a victim at this address, with this long to answer.
pub fn environment(victim: &Victim, address: &str, limit: Duration) -> Vec<(String, String)> {
    let pairs = [
        ("HEADSHIP_FENCE_NODE", victim.node.to_string()),
        ("HEADSHIP_FENCE_ADDRESS", address.to_owned()),
        ("HEADSHIP_FENCE_MACHINE", victim.machine.clone()),
        ("HEADSHIP_FENCE_BOOT", victim.boot.clone()),
        ("HEADSHIP_FENCE_EPOCH", victim.epoch.to_string()),
        ("HEADSHIP_FENCE_LIMIT_MS", millis(limit).to_string()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// What its end means.
pub fn answer(run: &Run) -> Answer {
    match &run.end {
        End::Exited(0) => Answer::Yes { how: format!("it {run}") },
        End::Exited(1) => Answer::No { why: format!("it {run}") },
        End::Exited(_) | End::Signal(_) | End::Late(_) => {
            Answer::Unknown { why: format!("it {run}") }
        }
        End::Unseen(_) => Answer::Unknown { why: run.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fencing::tests::{run, victim};

    #[test]
    fn only_a_clean_success_is_a_yes() {
        assert_eq!(
            answer(&run(End::Exited(0), "off")),
            Answer::Yes { how: "it exited with 0, saying `off`".to_owned() }
        );
        assert!(matches!(answer(&run(End::Exited(1), "")), Answer::No { .. }));
        let ends = [
            End::Exited(2),
            End::Exited(127),
            End::Exited(255),
            End::Exited(-1),
            End::Signal(9),
            End::Late(Duration::from_secs(1)),
            End::Unseen("x".to_owned()),
        ];
        for end in ends {
            assert!(matches!(answer(&run(end.clone(), "off")), Answer::Unknown { .. }), "{end:?}");
        }
    }

    #[test]
    fn every_shell_can_read_the_names_of_its_environment() {
        let environment = environment(&victim(), "10.0.0.10", Duration::from_secs(20));
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(environment.iter().all(|(name, _)| name.chars().all(plain)));
        let limit = ("HEADSHIP_FENCE_LIMIT_MS".to_owned(), "20000".to_owned());
        assert!(environment.contains(&limit));
    }
}
