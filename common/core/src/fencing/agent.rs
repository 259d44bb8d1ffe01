//! Fence agents of the ClusterLabs kind: what they are told, and what their exits mean.
//!
//! An agent reads `key=value` lines from its standard input and answers by its exit status. It is told `off`, never
//! `reboot`: that would succeed when the *off* half worked, and bring back a headnode that nobody has looked at. `off` alone
//! proves nothing here: only a `status` that says off does, whatever became of the `off` before it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Answer, End, Next, Run};

/// What an agent is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To switch the host off, and to see that it is.
    Off,
    /// Whether it is on or off.
    Status,
    /// Whether the fence device answers.
    Monitor,
    /// Which plugs the fence device has.
    List,
}

/// What an agent's `status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Power {
    /// The host has power.
    On,
    /// It has none.
    Off,
}

impl Action {
    /// The agents' word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Status => "status",
            Self::Monitor => "monitor",
            Self::List => "list",
        }
    }
}

/// What is written to the agent's standard input. The action comes last, for the last value of a key counts.
pub fn input(
    action: Action,
    parameters: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
) -> String {
    let lines = parameters.iter().chain(secrets);
    let lines: String = lines.map(|(name, value)| format!("{name}={value}\n")).collect();
    format!("{lines}action={}\n", action.word())
}

/// How much of a method's limit `off` may take: the rest is for `status`, which may find a host off whose `off` hangs.
pub fn share_of_off(limit: Duration) -> Duration {
    limit / 4 * 3
}

/// What `status` says, if it is an answer at all: 0 is on, 2 is off, and 1 (the device is out of reach) and whatever else is
/// none.
pub fn power(status: &Run) -> Option<Power> {
    match status.end {
        End::Exited(0) => Some(Power::On),
        End::Exited(2) => Some(Power::Off),
        End::Exited(_) | End::Signal(_) | End::Late(_) | End::Unseen(_) => None,
    }
}

/// The newer of two runs of `status` that tells something: one that the limit cut short tells less than the one before it.
pub fn newest(before: Option<Run>, status: Run) -> Run {
    match (before, &status.end) {
        (Some(before), End::Late(_) | End::Unseen(_)) if power(&before).is_some() => before,
        (_, End::Late(_) | End::Unseen(_) | End::Exited(_) | End::Signal(_)) => status,
    }
}

/// What follows from `status` after `off`; `last` if there is no time to ask again.
pub fn next(off: &Run, status: &Run, last: bool) -> Next {
    match power(status) {
        Some(Power::Off) => {
            Next::Say(Answer::Yes { how: "the fence agent's `status` says off".to_owned() })
        }
        Some(Power::On) | None if !last => Next::Again,
        Some(Power::On) => {
            Next::Say(Answer::No { why: format!("`off` {off}, and `status` says that it is on") })
        }
        None => Next::Say(Answer::Unknown { why: format!("`off` {off}, and `status` {status}") }),
    }
}

/// Whether a parameter is a secret by its name. A script that tells one (`passwd_script`) is none.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = ["passw", "secret", "token", "community"].iter().any(|word| name.contains(word));
    secret && !name.ends_with("script")
}

/// Why a parameter cannot be given to an agent, if so.
pub fn refused(name: &str, value: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Some("is no name of a parameter: write letters, digits, `_` and `-`");
    }
    if value.chars().any(char::is_control) {
        return Some("has a line feed or another control character in it: remove that");
    }
    match name.replace('-', "_").as_str() {
        "action" | "option" => Some("is what headship asks for: remove it"),
        "missing_as_off" => Some(
            "has a host that the fence device does not know count as switched off, by a typing error for instance: remove it",
        ),
        _ => None,
    }
}

/// The secrets in a file of `key=value` lines, with `#` before comments.
///
/// # Errors
///
/// The line, counted from 1, and what is wrong with it. Never its content.
pub fn secrets(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut secrets = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {number} is not `key=value`: write that, or `#` before it"));
        };
        if let Some(why) = refused(name, value) {
            return Err(format!("the parameter in line {number} {why}"));
        }
        secrets.insert(name.to_owned(), value.to_owned());
    }
    Ok(secrets)
}

/// Why an agent of this name proves nothing about what runs on a host, if so: it takes away storage or network, only waits or
/// asks, or has an operator say so, for which there is `headship fence confirm`.
pub fn leaves_the_host_running(agent: &str) -> Option<&'static str> {
    match agent {
        "fence_brocade" | "fence_cisco_mds" | "fence_sanbox2" | "fence_scsi" | "fence_mpath"
        | "fence_nvme" => {
            Some("which takes the host's storage away and leaves its services running")
        }
        "fence_ifmib" | "fence_crosslink" => {
            Some("which takes the host's network away and leaves its services running")
        }
        "fence_heuristics_ping"
        | "fence_heuristics_resource"
        | "fence_kdump"
        | "fence_evacuate"
        | "fence_compute" => Some("which does not switch off the host"),
        "fence_ack_manual" | "fence_manual" => Some("for which there is `headship fence confirm`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fencing::tests::run;

    fn exited(status: i32) -> Run {
        run(End::Exited(status), "")
    }

    #[test]
    fn only_status_says_that_a_host_is_off() {
        let (ok, off, on) = (exited(0), exited(2), exited(0));
        assert!(matches!(next(&ok, &off, false), Next::Say(Answer::Yes { .. })));
        // An `off` that broke off and a host that is off all the same.
        let broken = run(End::Late(Duration::from_secs(9)), "");
        assert!(matches!(next(&broken, &off, true), Next::Say(Answer::Yes { .. })));
        // Says off, and is on.
        assert_eq!(next(&ok, &on, false), Next::Again);
        let why = "`off` exited with 0, and `status` says that it is on".to_owned();
        assert_eq!(next(&ok, &on, true), Next::Say(Answer::No { why }));
    }

    #[test]
    fn a_status_that_is_no_answer_is_unknown() {
        let ends = [1, 3, 4, 5, 7, 8, 255].map(End::Exited).into_iter().chain([
            End::Signal(15),
            End::Late(Duration::from_secs(1)),
            End::Unseen("it is gone".to_owned()),
        ]);
        for end in ends {
            let status = run(end.clone(), "");
            assert_eq!(power(&status), None, "{end:?}");
            assert_eq!(next(&exited(0), &status, false), Next::Again);
            let last = next(&exited(0), &status, true);
            assert!(matches!(last, Next::Say(Answer::Unknown { .. })), "{last:?}");
        }
    }

    #[test]
    fn a_status_that_is_cut_short_at_the_end_does_not_hide_the_one_before_it() {
        let late = run(End::Late(Duration::from_millis(40)), "");
        assert_eq!(newest(Some(exited(0)), late.clone()), exited(0));
        assert_eq!(newest(Some(exited(1)), late.clone()), late);
        assert_eq!(newest(None, late.clone()), late);
        assert_eq!(newest(Some(exited(0)), exited(2)), exited(2));
    }

    #[test]
    fn an_agent_is_told_the_action_last_and_never_to_reboot() {
        let pair = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let told = input(Action::Off, &pair("plug", "hn0"), &pair("password", "p=w d"));
        assert_eq!(told, "plug=hn0\npassword=p=w d\naction=off\n");
        let words = [Action::Off, Action::Status, Action::Monitor, Action::List].map(Action::word);
        assert_eq!(words, ["off", "status", "monitor", "list"]);
    }

    #[test]
    fn a_file_of_secrets_is_read_line_by_line_and_its_faults_do_not_tell_them() {
        let read = secrets("# ours\nlogin=admin\n\npassword=a=b#c\n").unwrap();
        assert_eq!(read["password"], "a=b#c");
        assert_eq!(read.len(), 2);
        let fault = secrets("login=admin\nhunter2\n").unwrap_err();
        assert_eq!(fault, "line 2 is not `key=value`: write that, or `#` before it");
        for bad in ["action=on", "=x", "a b=c", "missing-as-off=1"] {
            assert!(secrets(bad).unwrap_err().starts_with("the parameter in line 1"), "{bad}");
        }
    }

    #[test]
    fn secrets_are_told_by_their_names() {
        for secret in ["password", "passwd", "snmp_priv_passwd", "secret_key", "api-token"] {
            assert!(is_secret(secret), "{secret}");
        }
        for open in ["passwd_script", "login", "plug", "ip"] {
            assert!(!is_secret(open), "{open}");
        }
    }
}
