//! Fencing over ssh: what the host is told, and what its words are worth.
//!
//! The host is told to power itself off at once, and first says which boot of which machine it is; it obeys only if that is
//! the victim. That it goes silent then is no proof: a cut cable is silent as well, and whatever froze before it could obey
//! may go on later. So there is one Yes: the victim's machine answers from another boot, for a boot that is over runs nothing.
//! A host that cannot be reached is Unknown from the first attempt on, or the method would keep others waiting whenever it is
//! of no use.

use std::time::Duration;

use super::{Answer, Next, Run, Victim};

/// ssh's options, which nothing in the configuration or in ssh's own files can override: the first value of each counts.
/// A host whose key is not known is nobody: what answers in its place could claim any boot.
const OPTIONS: [&str; 7] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ControlPath=none",
    "ConnectionAttempts=1",
    "ServerAliveInterval=1",
    "ServerAliveCountMax=3",
    "RequestTTY=no",
];

/// How a line of ours begins.
const MARK: &str = "headship ";

/// What a connection showed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// The victim: it has been told to power off.
    Victim,
    /// The victim's machine, in another boot.
    OtherBoot(String),
    /// Another machine.
    OtherMachine(String),
    /// No host said who it is.
    Nothing,
}

/// The arguments of one ssh that tells the host at `address` to power off if it is the victim, with this long to connect.
pub fn arguments(victim: &Victim, address: &str, more: &[String], limit: Duration) -> Vec<String> {
    let seconds = limit.as_secs().clamp(1, 10);
    let options = OPTIONS.iter().map(|option| (*option).to_owned());
    let options = options.chain([format!("ConnectTimeout={seconds}")]);
    let options = options.flat_map(|option| ["-o".to_owned(), option]);
    let end = ["-T".to_owned(), "--".to_owned(), address.to_owned(), script(victim)];
    options.chain(more.iter().cloned()).chain(end).collect()
}

/// What the host runs. The magic key needs neither systemd nor a free hand of the host's; where there is none, as in a
/// container, the system call is next.
fn script(victim: &Victim) -> String {
    let Victim { machine, boot, .. } = victim;
    format!(
        "/bin/sh -c 'm=$(cat /etc/machine-id) && b=$(cat /proc/sys/kernel/random/boot_id) || exit 1; echo \"{MARK}$m $b\"; [ \"$m $b\" = \"{machine} {boot}\" ] || exit 0; echo o >/proc/sysrq-trigger; poweroff -f -f; exit 1'"
    )
}

fn seen(victim: &Victim, output: &str) -> Seen {
    let words = output.lines().find_map(|line| line.trim().strip_prefix(MARK)?.split_once(' '));
    match words {
        Some((machine, _)) if machine != victim.machine => Seen::OtherMachine(machine.to_owned()),
        Some((_, boot)) if boot != victim.boot => Seen::OtherBoot(boot.to_owned()),
        Some(_) => Seen::Victim,
        None => Seen::Nothing,
    }
}

/// What follows from one ssh: how it ended, and its standard output. `told` says whether the victim has been told to power
/// off by an earlier one, and is set by this one; `last` that there is no time for another.
pub fn next(victim: &Victim, run: &Run, output: &str, told: &mut bool, last: bool) -> Next {
    let seen = seen(victim, output);
    let before = *told;
    *told |= seen == Seen::Victim;
    let why = match seen {
        // A line without a boot that could be one proves nothing.
        Seen::OtherBoot(boot) if boot.len() == victim.boot.len() => {
            let how = format!("it answers from boot {boot}, so boot {} is over", victim.boot);
            return Next::Say(Answer::Yes { how });
        }
        Seen::OtherBoot(boot) => format!("its boot `{boot}` is no boot id"),
        Seen::OtherMachine(machine) => format!("another machine ({machine}) answers there"),
        Seen::Victim | Seen::Nothing if *told && !last => return Next::Again,
        Seen::Victim => {
            let why = "it was told to power off, and answers still".to_owned();
            return Next::Say(if before {
                Answer::No { why }
            } else {
                // The time was too short to see what came of it.
                Answer::Unknown { why: "it was told to power off just now".to_owned() }
            });
        }
        Seen::Nothing if *told => {
            "it was told to power off and is silent, which is no proof".to_owned()
        }
        Seen::Nothing => format!("ssh {run}"),
    };
    Next::Say(Answer::Unknown { why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fencing::End;
    use crate::fencing::tests::{run, victim};

    fn told(output: &str, told: bool, last: bool) -> (Next, bool) {
        let mut now = told;
        let next = next(&victim(), &run(End::Exited(255), "no route"), output, &mut now, last);
        (next, now)
    }

    #[test]
    fn only_another_boot_of_the_same_machine_is_a_yes() {
        let (next, _) = told("Welcome!\nheadship m-hn0 b-2\n", false, false);
        let how = "it answers from boot b-2, so boot b-1 is over".to_owned();
        assert_eq!(next, Next::Say(Answer::Yes { how }));
        for odd in ["headship m-hn0 ", "headship m-hn1 b-2", "headship m-hn0 b", "headship"] {
            let (next, now) = told(odd, false, true);
            assert!(matches!(next, Next::Say(Answer::Unknown { .. })), "{odd}: {next:?}");
            assert!(!now, "{odd}");
        }
    }

    #[test]
    fn silence_is_unknown_before_and_after_the_order() {
        let why = "ssh exited with 255, saying `no route`".to_owned();
        assert_eq!(told("", false, false).0, Next::Say(Answer::Unknown { why }));
        assert_eq!(told("", true, false).0, Next::Again);
        let why = "it was told to power off and is silent, which is no proof".to_owned();
        assert_eq!(told("", true, true).0, Next::Say(Answer::Unknown { why }));
    }

    #[test]
    fn a_victim_that_goes_on_answering_is_a_no() {
        assert_eq!(told("headship m-hn0 b-1", false, false), (Next::Again, true));
        assert!(matches!(told("headship m-hn0 b-1", true, true).0, Next::Say(Answer::No { .. })));
        assert!(matches!(
            told("headship m-hn0 b-1", false, true).0,
            Next::Say(Answer::Unknown { .. })
        ));
    }

    #[test]
    fn what_is_configured_comes_after_what_must_hold() {
        let more = ["-o".to_owned(), "StrictHostKeyChecking=no".to_owned()];
        let arguments = arguments(&victim(), "10.0.0.10", &more, Duration::from_millis(300));
        let at = |word: &str| arguments.iter().position(|it| it == word).unwrap();
        assert!(at("StrictHostKeyChecking=yes") < at("StrictHostKeyChecking=no"));
        assert!(at("--") < at("10.0.0.10"));
        assert!(arguments.contains(&"ConnectTimeout=1".to_owned()));
    }
}
