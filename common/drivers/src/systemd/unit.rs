//! What systemd says of a unit, in our words.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use headship_core::fencing::End;
use headship_core::services::Observed;
use serde::Deserialize;
use zbus::zvariant::Type;
use zbus::{OwnedObjectPath, OwnedVariant, Variant};

use super::{Job, Transient};
use crate::host::gate;

/// How the names of transient units begin.
pub(crate) const TRANSIENT: &str = "headship-";
/// What is known of a failure when nothing more can be learnt.
pub(super) const FAILED: &str = "systemd says: failed";

/// How our own program's last status line begins, if it fails. No other program says so.
pub const FAILED_WORDS: &str = "headship: failed: ";

/// `si_code` of a process that exited by itself.
const CLD_EXITED: i32 = 1;
/// `si_code` of a process that a signal ended.
const CLD_KILLED: i32 = 2;
/// `si_code` of a process that a signal ended, and that left a core.
const CLD_DUMPED: i32 = 3;

/// One line of `ListUnitsByNames`: state and job in one answer, so that none is lost between two.
#[derive(Debug, Deserialize, Type)]
pub(super) struct Listed {
    /// The unit's own name: another one than was asked for if that is an alias.
    pub(super) name: String,
    _description: String,
    load: String,
    active: String,
    sub: String,
    _following: String,
    _path: OwnedObjectPath,
    job_id: u32,
    job_type: String,
    pub(super) job_path: OwnedObjectPath,
}

impl Listed {
    pub(super) fn job(&self) -> Option<Job> {
        (self.job_id != 0).then(|| match self.job_type.as_str() {
            "start" | "verify-active" => Job::Start,
            "stop" => Job::Stop,
            "restart" | "try-restart" => Job::Restart,
            other => Job::Other(other.to_owned()),
        })
    }

    /// State and queued job together: what will run soon is not stopped.
    pub(super) fn observed(&self) -> Observed {
        let job = self.job();
        let starts = matches!(job, Some(Job::Start | Job::Restart));
        let stops = matches!(job, Some(Job::Stop));
        match self.active.as_str() {
            "active" | "reloading" | "refreshing" if stops => Observed::Stopping,
            // A restart ends what runs and starts it anew.
            "active" | "reloading" | "refreshing" if job == Some(Job::Restart) => {
                Observed::Starting
            }
            "active" | "reloading" | "refreshing" => Observed::Running,
            "activating" if stops => Observed::Stopping,
            "activating" => Observed::Starting,
            "deactivating" if starts => Observed::Starting,
            "deactivating" => Observed::Stopping,
            "inactive" | "failed" if starts => Observed::Starting,
            "inactive" => self.inactive(),
            "failed" => Observed::Failed { why: FAILED.to_owned() },
            other => {
                tracing::debug!("{} is in a state that is not known: {other}", self.name);
                Observed::Unknown
            }
        }
    }

    /// Whether its process has ended and systemd calls it active all the same, as `RemainAfterExit=yes` asks for.
    pub(super) fn has_exited(&self) -> bool {
        self.active == "active" && self.sub == "exited" && self.job_id == 0
    }

    /// Why it cannot be started under the name `asked`, if so.
    pub(super) fn unusable(&self, asked: &str) -> Option<String> {
        let why = match self.load.as_str() {
            _ if self.name != asked => return Some(alias(asked, &self.name)),
            "loaded" => return None,
            // A transient unit is made by its start.
            "not-found" if asked.starts_with(TRANSIENT) => return None,
            "not-found" => return Some(format!("no such unit: {asked}")),
            "masked" => "is masked: `systemctl unmask` it".to_owned(),
            load => format!("cannot be loaded ({load}): see `systemctl status {asked}`"),
        };
        Some(format!("{asked} {why}"))
    }

    /// Whether there is more to be learnt of why it failed.
    pub(super) fn has_failed(&self) -> bool {
        self.active == "failed"
    }

    fn inactive(&self) -> Observed {
        match self.load.as_str() {
            "loaded" | "masked" => Observed::Stopped,
            // A transient unit that ended well is forgotten.
            "not-found" if self.name.starts_with(TRANSIENT) => Observed::Stopped,
            "not-found" => Observed::Failed { why: "there is no such unit".to_owned() },
            load => Observed::Failed { why: format!("its unit cannot be loaded ({load})") },
        }
    }
}

/// What is said of a name that is not the unit's own: systemd names control groups, and we kill, by the unit's own.
pub(crate) fn alias(asked: &str, own: &str) -> String {
    format!("`{asked}` is an alias of `{own}`: name `{own}` in the configuration")
}

/// The properties of a service that tell why it failed.
#[derive(Debug, Deserialize, Type)]
#[serde(transparent)]
pub(super) struct ServiceProperties(HashMap<String, OwnedVariant>);

/// Path, arguments, whether a failure is ignored, four times of start and end, process, `si_code` and status.
type Executed = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

impl ServiceProperties {
    /// Whether the start gate kept it from starting.
    pub(super) fn refused_by(&self, gate: &Path) -> bool {
        self.ended_before_start(gate)
            .any(|(_, code, status)| code == CLD_EXITED && status == i32::from(gate::REFUSED))
    }

    /// Whether the start gate stands before it, and systemd does not know that it ever ran: a `daemon-reload` takes that.
    fn forgets(&self, gate: &Path) -> bool {
        self.ended_before_start(gate).any(|(process, ..)| process == 0)
    }

    /// How the commands before its start that are `program` ended: process, `si_code` and status.
    fn ended_before_start(&self, program: &Path) -> impl Iterator<Item = (u32, i32, i32)> {
        let commands: Vec<Executed> = self
            .0
            .get("ExecStartPre")
            .and_then(|value| value.try_clone().ok())
            .and_then(|value| value.try_into().ok())
            .unwrap_or_default();
        let is_it = |path: &str| Path::new(path).as_os_str() == program.as_os_str();
        let ours = commands.into_iter().filter(move |(path, ..)| is_it(path));
        ours.map(|(_, _, _, _, _, _, _, process, code, status)| (process, code, status))
    }

    /// What our own program said of why it failed.
    fn own_words(&self) -> Option<&str> {
        let status: &str = self.0.get("StatusText")?.downcast_ref().ok()?;
        status.strip_prefix(FAILED_WORDS)
    }

    /// Why it failed, in words, if it did.
    pub(super) fn fault(&self, gate: &Path) -> Option<String> {
        if self.refused_by(gate) {
            return Some("the start gate refused it".to_owned());
        }
        let result: &str = self.0.get("Result")?.downcast_ref().ok()?;
        if let Some(why) = self.own_words().filter(|_| result != "success") {
            return Some(why.to_owned());
        }
        let number = |name| -> Option<i32> { self.0.get(name)?.downcast_ref().ok() };
        let code = number("ExecMainCode").unwrap_or_default();
        let status = number("ExecMainStatus").unwrap_or_default();
        Some(match result {
            "success" => return None,
            "exit-code" if code == CLD_EXITED => format!("its process exited with status {status}"),
            "exit-code" if self.forgets(gate) => {
                "a start of it failed, as at the start gate: systemd was reloaded since, and does not know the command any more".to_owned()
            }
            "exit-code" => "a command around its start or stop failed".to_owned(),
            "signal" | "core-dump" | "watchdog" if code == 0 => {
                "a command before its start was killed".to_owned()
            }
            "signal" => format!("its process was killed by signal {status}"),
            "core-dump" => format!("its process dumped core by signal {status}"),
            "timeout" => "it took too long to start or stop".to_owned(),
            "watchdog" => "it missed its watchdog".to_owned(),
            "oom-kill" => "the kernel killed it for want of memory".to_owned(),
            "resources" => "systemd lacked the resources to start it".to_owned(),
            "start-limit-hit" => "systemd's start limit is in the way".to_owned(),
            other => format!("systemd says: {other}"),
        })
    }
}

impl ServiceProperties {
    /// How a program that ran once ended, if it was no success.
    pub(super) fn end(&self, limit: Duration) -> End {
        let word = |name| -> Option<&str> { self.0.get(name)?.downcast_ref().ok() };
        let number = |name| -> Option<i32> { self.0.get(name)?.downcast_ref().ok() };
        let (result, code) = (word("Result").unwrap_or_default(), number("ExecMainCode"));
        match (result, code, number("ExecMainStatus")) {
            ("timeout", _, _) => End::Late(limit),
            (_, Some(CLD_EXITED), Some(status)) => End::Exited(status),
            (_, Some(CLD_KILLED | CLD_DUMPED), Some(signal)) => End::Signal(signal),
            (other, _, _) => End::Unseen(format!("cannot be run: systemd says: {other}")),
        }
    }
}

/// The properties of a transient unit. `ExecStartPre` without a user of its own runs as root, as a `+` would make it.
pub(super) fn transient_properties<'a>(it: &Transient<'a>) -> Vec<(&'static str, Variant<'a>)> {
    let command = |line: &[String]| {
        let path = line.first().cloned().unwrap_or_default();
        Variant::new(vec![(path, line.to_vec(), false)])
    };
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let mut properties = vec![
        ("Description", Variant::new(it.description.clone())),
        ("Slice", Variant::new(it.slice)),
        ("Type", Variant::new(if it.notify.is_some() { "notify" } else { "exec" })),
        ("Restart", Variant::new("no")),
        // The restart budget is ours; systemd's own limit would refuse a start that we owe.
        ("StartLimitIntervalUSec", Variant::new(0_u64)),
        ("TimeoutStopUSec", Variant::new(micros(it.stop_limit))),
        ("ExecStart", command(it.command)),
    ];
    properties.extend(it.gate.as_ref().map(|gate| ("ExecStartPre", command(gate))));
    properties.extend(it.credential.map(load_credential));
    if let Some(notify) = &it.notify {
        properties.extend([
            ("TimeoutStartUSec", Variant::new(micros(notify.start_limit))),
            ("ExecStop", command(&notify.clear)),
            ("ExecStopPost", command(&notify.clear)),
        ]);
    }
    properties
}

/// A credential of this name, from where systemd keeps those of the host.
pub(super) fn load_credential(name: &str) -> (&'static str, Variant<'_>) {
    ("LoadCredential", Variant::new(vec![(name.to_owned(), name.to_owned())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(load: &str, active: &str, job: &str) -> Listed {
        Listed {
            name: "x.service".to_owned(),
            _description: String::new(),
            load: load.to_owned(),
            active: active.to_owned(),
            sub: String::new(),
            _following: String::new(),
            _path: OwnedObjectPath::default(),
            job_id: u32::from(!job.is_empty()),
            job_type: job.to_owned(),
            job_path: OwnedObjectPath::default(),
        }
    }

    fn listed(load: &str, active: &str, job: &str) -> Observed {
        unit(load, active, job).observed()
    }

    #[test]
    fn a_queued_start_is_never_taken_for_stopped() {
        for active in ["inactive", "failed", "activating", "deactivating"] {
            for job in ["start", "restart", "try-restart", "verify-active"] {
                assert_eq!(listed("loaded", active, job), Observed::Starting, "{active} {job}");
            }
        }
        assert_eq!(listed("loaded", "active", "restart"), Observed::Starting);
    }

    #[test]
    fn a_queued_stop_shows_before_it_begins() {
        for active in ["active", "activating", "deactivating", "reloading"] {
            assert_eq!(listed("loaded", active, "stop"), Observed::Stopping, "{active}");
        }
    }

    #[test]
    fn without_a_job_the_state_is_what_it_is() {
        assert_eq!(listed("loaded", "active", ""), Observed::Running);
        assert_eq!(listed("loaded", "active", "reload"), Observed::Running);
        assert_eq!(listed("loaded", "inactive", ""), Observed::Stopped);
        assert_eq!(listed("masked", "inactive", ""), Observed::Stopped);
        assert_eq!(
            listed("not-found", "inactive", ""),
            Observed::Failed { why: "there is no such unit".to_owned() }
        );
        // The file was removed while it runs: it runs.
        assert_eq!(listed("not-found", "active", ""), Observed::Running);
        assert!(matches!(listed("loaded", "failed", ""), Observed::Failed { .. }));
        assert!(matches!(listed("loaded", "maintenance", ""), Observed::Unknown));
    }

    #[test]
    fn only_what_is_loaded_under_its_own_name_can_be_started() {
        let why = |load: &str| unit(load, "inactive", "").unusable("x.service");
        assert_eq!(why("loaded"), None);
        assert_eq!(why("not-found").as_deref(), Some("no such unit: x.service"));
        for (load, begins) in [
            ("masked", "x.service is masked"),
            ("bad-setting", "x.service cannot be loaded (bad-setting)"),
            ("error", "x.service cannot be loaded (error)"),
        ] {
            assert!(why(load).is_some_and(|why| why.starts_with(begins)), "{:?}", why(load));
        }
        // A file that was removed while it runs: nothing would start it again.
        assert!(unit("not-found", "active", "").unusable("x.service").is_some());
        let command = Listed {
            name: "headship-livy.service".to_owned(),
            ..unit("not-found", "inactive", "")
        };
        assert_eq!(command.unusable("headship-livy.service"), None);
    }

    #[test]
    fn an_alias_cannot_be_started_whatever_its_unit_is() {
        let sentence =
            "`alias.service` is an alias of `x.service`: name `x.service` in the configuration";
        for load in ["loaded", "masked", "not-found"] {
            let why = unit(load, "active", "").unusable("alias.service");
            assert_eq!(why.as_deref(), Some(sentence), "{load}");
        }
    }

    #[test]
    fn the_end_of_a_program_that_ran_once_is_told_by_its_result_and_its_process() {
        let limit = Duration::from_secs(5);
        let end = |result: &'static str, code: i32, status: i32| {
            let owned = |variant: Variant<'static>| OwnedVariant::try_from(variant).unwrap();
            let properties = [
                ("Result".to_owned(), owned(Variant::new(result))),
                ("ExecMainCode".to_owned(), owned(Variant::new(code))),
                ("ExecMainStatus".to_owned(), owned(Variant::new(status))),
            ];
            ServiceProperties(HashMap::from(properties)).end(limit)
        };
        assert_eq!(end("exit-code", 1, 2), End::Exited(2));
        assert_eq!(end("signal", 2, 9), End::Signal(9));
        assert_eq!(end("core-dump", 3, 11), End::Signal(11));
        // The signal was PID 1's own.
        assert_eq!(end("timeout", 2, 9), End::Late(limit));
        assert!(matches!(end("resources", 0, 0), End::Unseen(_)));
    }

    #[test]
    fn a_unit_has_exited_only_when_nothing_is_about_to_happen_with_it() {
        let exited = |active: &str, sub: &str, job: &str| {
            Listed { sub: sub.to_owned(), ..unit("loaded", active, job) }.has_exited()
        };
        assert!(exited("active", "exited", ""));
        assert!(!exited("active", "exited", "stop") && !exited("active", "exited", "restart"));
        assert!(!exited("active", "running", "") && !exited("inactive", "dead", ""));
    }
}
