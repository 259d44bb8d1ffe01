//! Whether a host answers anything at all: what came back when it was knocked at.
//!
//! A host that refuses a connection lives as much as one that accepts it. Silence is one of several conditions of fencing,
//! and never a proof: a firewall is silent, too. So it counts only where both ways of knocking could be gone, and something went
//! out on both: what one's own network cannot do says nothing of another host.

use std::time::Duration;

/// How long a host is knocked at: a living one answers within a few milliseconds. It fits into the time that a holder has to
/// answer a challenge.
pub const LIMIT: Duration = Duration::from_millis(400);

/// What came back on one way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Back {
    /// An answer.
    Answer,
    /// A refusal, by the host's kernel.
    Refusal,
    /// Nothing, though it was asked.
    Nothing,
    /// Somebody on the way says that nobody is there, which may be one's own kernel with a cable of its own pulled out; what it said.
    Unreachable(String),
    /// Nobody could be asked on this way; why.
    Unasked(String),
}

/// What several tries on one way come to, in the order in which they were made.
pub fn of_tries(tries: &[Back]) -> Back {
    let find = |wanted: fn(&Back) -> bool| tries.iter().find(|back| wanted(back)).cloned();
    // One's own network failed at least once: what it let through before or after may not have arrived either.
    find(|back| *back == Back::Answer)
        .or_else(|| find(|back| *back == Back::Refusal))
        .or_else(|| find(|back| matches!(back, Back::Unasked(_))))
        // A host on the same network that is gone is told so by one's own kernel now and then; all the time, it is one's own network.
        .or_else(|| find(|back| *back == Back::Nothing))
        .or_else(|| find(|back| matches!(back, Back::Unreachable(_))))
        .unwrap_or_else(|| Back::Unasked("it was not tried".to_owned()))
}

/// What came back when a host was knocked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Knocked {
    /// By a TCP connection.
    pub tcp: Back,
    /// By an ICMP echo.
    pub echo: Back,
}

/// What that says of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// It lives.
    Answers {
        /// What shows it.
        how: &'static str,
    },
    /// It answers nothing.
    Silent,
    /// It cannot be told.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What it says of a host that this came back from it.
pub fn judge(knocked: &Knocked) -> Reach {
    let answers = |how| Reach::Answers { how };
    match (&knocked.tcp, &knocked.echo) {
        (Back::Answer, _) => answers("it accepts connections"),
        (Back::Refusal, _) => answers("it refuses connections"),
        (_, Back::Answer | Back::Refusal) => answers("it answers an echo"),
        (Back::Nothing, Back::Nothing) => Reach::Silent,
        (Back::Unasked(why) | Back::Unreachable(why), _) => {
            Reach::Unknown { why: format!("no connection can be tried: {why}") }
        }
        (Back::Nothing, Back::Unasked(why) | Back::Unreachable(why)) => {
            Reach::Unknown { why: format!("no echo can be asked for: {why}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tcp: Back, echo: Back) -> Reach {
        judge(&Knocked { tcp, echo })
    }

    #[test]
    fn any_answer_is_a_sign_of_life_and_a_refusal_is_one() {
        let unasked = || Back::Unasked("no".to_owned());
        for (tcp, echo) in [
            (Back::Refusal, Back::Nothing),
            (Back::Answer, unasked()),
            (Back::Nothing, Back::Answer),
            (unasked(), Back::Answer),
        ] {
            let reach = of(tcp.clone(), echo.clone());
            assert!(matches!(reach, Reach::Answers { .. }), "{tcp:?} {echo:?}: {reach:?}");
        }
    }

    #[test]
    fn what_ones_own_network_cannot_do_is_no_silence_of_the_host() {
        let unasked = || Back::Unasked("network is unreachable".to_owned());
        let unreachable = || Back::Unreachable("no route to host".to_owned());
        let nothing = || Back::Nothing;
        assert_eq!(of_tries(&[nothing(), unreachable(), nothing()]), Back::Nothing);
        assert_eq!(of_tries(&[unreachable(), unreachable(), unreachable()]), unreachable());
        assert_eq!(of_tries(&[unasked(), nothing(), nothing()]), unasked());
        assert_eq!(of_tries(&[unasked(), nothing(), Back::Refusal]), Back::Refusal);
        assert_eq!(of_tries(&[nothing(), Back::Answer]), Back::Answer);
        for (tcp, echo) in [(unreachable(), nothing()), (nothing(), unreachable())] {
            let reach = of(tcp, echo);
            assert!(matches!(reach, Reach::Unknown { .. }), "{reach:?}");
        }
    }

    #[test]
    fn a_host_is_silent_only_if_it_was_knocked_at_on_both_ways() {
        let unasked = || Back::Unasked("no route".to_owned());
        assert_eq!(of(Back::Nothing, Back::Nothing), Reach::Silent);
        for (tcp, echo) in
            [(unasked(), Back::Nothing), (Back::Nothing, unasked()), (unasked(), unasked())]
        {
            let reach = of(tcp, echo);
            assert!(matches!(&reach, Reach::Unknown { why } if why.ends_with(": no route")));
        }
    }
}
