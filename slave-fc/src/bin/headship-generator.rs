//! The systemd generator: puts the start gate before every HA service, on every node, before anything can start.
//!
//! PID 1 runs it at boot and at each `daemon-reload`, in a place where little else works: no D-Bus, perhaps no `/var`,
//! perhaps everything read-only. So it keeps no state. From a configuration with faults it takes every unit that is named
//! in it at all, and those of its profile: a gate too many is harmless, a gate too few is not. Without a configuration it
//! does nothing.
//!
//! What the gate then decides is in `headship_core::lease`.
//!
//! It also gives our own units what their sandbox (SECURITY.md, "Rights") must not keep from them under this configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use headship_core::config::checked::{Driver, Service};
use headship_core::config::{self, Config, OWN_UNITS};
use headship_core::node::NodeName;
use headship_daemon::configuration::{self, ConfigurationError, FOLDER};
use headship_drivers::host::gate::GATE;

/// Its name is the last in the order of names, so that it is read after what an administrator writes by `systemctl edit`.
const DROP_IN: &str = "zz-headship.conf";

fn main() -> ExitCode {
    // Called by hand without a folder it shows nothing and harms nothing.
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        say("give the folder for generated units, as systemd does");
        return ExitCode::FAILURE;
    };
    let mut rights = BTreeMap::new();
    let units = match configuration::load(Path::new(FOLDER)) {
        Ok(config) => {
            let mounts = ["/etc/fstab", "/proc/self/mounts"].map(fs::read_to_string);
            rights = rights_of(&config, mounts.iter().flatten().any(|it| has_file_servers(it)));
            units(&config)
        }
        Err(ConfigurationError::Missing { .. }) => BTreeMap::new(),
        Err(error) => {
            let texts = configuration::texts(Path::new(FOLDER));
            let units = named_units(&texts);
            say(&told_of_faults(&units, configuration::pins(&texts), &error));
            units
        }
    };
    let mut code = ExitCode::SUCCESS;
    for (unit, drop_in) in units {
        if let Err(error) = write_drop_in(&folder, &unit, &drop_in.text()) {
            say(&format!("{unit} is NOT gated: cannot write its drop-in: {error}"));
            code = ExitCode::FAILURE;
        }
    }
    for (unit, drop_in) in rights {
        if let Err(error) = write_drop_in(&folder, unit, &drop_in) {
            say(&format!("{unit} has not the rights it needs: cannot write its drop-in: {error}"));
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Whose units may write next to nothing, and see no home folders. For that systemd has to look at `/home` and `/root`, and waits
/// for a file server that hangs: no guard would start.
const STRICT: [&str; 3] = ["slave-ha-service.service", "master-fc.service", "slave-fc.service"];

/// What needs no look there.
const LESS_STRICT: &str = "\
    # Written by headship-generator: this host has file systems that may hang, and home folders may lie on one.\n\
    [Service]\nProtectHome=no\nProtectSystem=full\n";

/// Beginnings of the kinds of file systems that wait for somebody else.
const WAITING: [&str; 12] = [
    "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "fuse", "gluster", "gpfs", "lustre", "nfs",
    "smb",
];

/// Whether there are such in a list of mounts, as in fstab(5). Only text is looked at: to ask a file system may be to wait for it.
fn has_file_servers(mounts: &str) -> bool {
    let mut lines = mounts.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(place), Some(kind)) = (fields.next(), fields.next()) else { return false };
        // The kernel's own, and what systemd mounts when somebody looks.
        let is_ours =
            ["/proc", "/sys", "/dev"].iter().any(|ours| Path::new(place).starts_with(ours));
        !is_ours && WAITING.iter().any(|waiting| kind.starts_with(waiting))
    })
}

/// Who stops services of actions at D by programs of their own, as children: what those need is theirs to say, and what they
/// take away has to be gone from the host and not from a sandbox.
const STOPS_ACTIONS: [&str; 3] =
    ["slave-ha-service.service", "master-fc.service", "master-ha-service.service"];

/// Every directive of these units' sandbox, taken back.
const NO_SANDBOX: &str = "\
    NoNewPrivileges=no\nCapabilityBoundingSet=~\nProtectSystem=no\nReadWritePaths=\nProtectHome=no\nPrivateTmp=no\n\
    PrivateDevices=no\nPrivateMounts=no\nProtectProc=default\nProtectHostname=no\nProtectClock=no\n\
    ProtectKernelTunables=no\nProtectKernelModules=no\nProtectKernelLogs=no\nProtectControlGroups=no\n\
    RestrictAddressFamilies=\nRestrictNamespaces=no\nRestrictRealtime=no\nRestrictSUIDSGID=no\nLockPersonality=no\n\
    MemoryDenyWriteExecute=no\nSystemCallArchitectures=\nSystemCallFilter=\nUMask=0022\n";

/// What our own units need beyond what is installed.
fn rights_of(config: &Config, file_servers: bool) -> BTreeMap<&'static str, String> {
    let mut rights: BTreeMap<&str, String> = BTreeMap::new();
    if file_servers {
        rights.extend(STRICT.map(|unit| (unit, LESS_STRICT.to_owned())));
    }
    let mut services = config.services.iter().chain(&config.pinned);
    if services.any(|service| matches!(service.driver, Driver::Actions(_))) {
        let text = format!(
            "# Written by headship-generator from {FOLDER}: programs that stop services must be able to do what they do.\n\
             [Service]\n{NO_SANDBOX}"
        );
        // The last word counts.
        STOPS_ACTIONS.iter().for_each(|unit| rights.entry(unit).or_default().push_str(&text));
    }
    let hosts_file = config.follow.as_ref().map(|follow| Path::new(&follow.hosts_file));
    if let Some(folder) = hosts_file.and_then(folder_elsewhere) {
        let text = format!(
            "# Written by headship-generator from {FOLDER}: the hosts file lies here.\n\
             [Service]\nReadWritePaths=-{}\n",
            quoted_path(&folder)
        );
        rights.entry("slave-fc.service").or_default().push_str(&text);
    }
    rights
}

/// The folder of the file itself, behind links, where that is not in /etc, which slave-fc's unit names.
fn folder_elsewhere(hosts_file: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(hosts_file).unwrap_or_else(|_| hosts_file.to_owned());
    real.parent().filter(|folder| !folder.starts_with("/etc")).map(Path::to_owned)
}

/// As systemd reads it: `%` begins a specifier.
fn quoted_path(path: &Path) -> String {
    let plain = path.display().to_string().replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{}\"", plain.replace('%', "%%"))
}

/// The units of the HA services, each with what is put before it.
type Units = BTreeMap<String, DropIn>;

/// What a unit gets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DropIn {
    gate: Gate,
    /// The units that it comes after.
    after: BTreeSet<String>,
}

/// Whether a unit may start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Gate {
    /// Under a permit.
    Permit,
    /// Under a permit, as a configuration with faults does not surely tell whether it needs one.
    Faulty,
    /// Never here: it is pinned to this headnode.
    Elsewhere(NodeName),
    /// Always: it is pinned to the headnode that this is.
    Open,
}

/// The units of the HA services. What is no unit needs no drop-in: transient units carry the gate themselves.
fn units(config: &Config) -> Units {
    let unit = |service: &Service| match &service.driver {
        Driver::Systemd { unit } => Some(unit.clone()),
        Driver::Command { .. } | Driver::Actions(_) => None,
    };
    let all = || config.services.iter().chain(&config.pinned);
    let drop_in = |service: &Service| DropIn {
        gate: match &service.pinned {
            None => Gate::Permit,
            Some(node) if *node == config.node => Gate::Open,
            Some(node) => Gate::Elsewhere(node.clone()),
        },
        after: all().filter(|other| service.after.contains(&other.name)).filter_map(unit).collect(),
    };
    all().filter_map(|service| Some((unit(service)?, drop_in(service)))).collect()
}

/// What is said of a configuration with faults. Nobody can be sure which of its units are pinned, and one that moves must not
/// start without a permit.
fn told_of_faults(units: &Units, pins: bool, error: &ConfigurationError) -> String {
    let named = units.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let pinned = if pins { "; what is pinned starts without a permit no more either" } else { "" };
    format!(
        "the configuration has faults (see `headship check`), so each unit that it names is gated until that is mended and `systemctl daemon-reload` is run: {named}{pinned}; {error}"
    )
}

/// Every `unit = "….service"` of the texts, whatever surrounds it, and the units of a profile that they name. Not our own
/// units: gated, nobody could help.
fn named_units(texts: &[String]) -> Units {
    let lines = texts.iter().flat_map(|text| text.lines());
    let lines = lines.filter(|line| !line.trim_start().starts_with('#'));
    // The agent is none, and the gate would keep it down on every node.
    let lines = lines.map(|line| line.replace("agent_unit", ""));
    let lines: Vec<String> = lines.collect();
    let values = lines.iter().flat_map(|line| line.split("unit").skip(1).filter_map(quoted));
    let is_unit = |name: &&str| {
        name.ends_with(".service") && !name.contains('/') && !OWN_UNITS.contains(name)
    };
    let drop_in = || DropIn { gate: Gate::Faulty, after: BTreeSet::new() };
    let named = values.filter(is_unit).chain(config::named_units(texts));
    named.map(|name| (name.to_owned(), drop_in())).collect()
}

/// What stands in quotes behind an equals sign.
fn quoted(text: &str) -> Option<&str> {
    let value = text.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.get(1..)?.split(quote).next()
}

fn write_drop_in(folder: &Path, unit: &str, text: &str) -> io::Result<()> {
    let folder = folder.join(format!("{unit}.d"));
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(DROP_IN), text)
}

impl DropIn {
    /// `%n` is the unit's full name, escaped as PID 1 likes it. `+` runs the gate as root, outside of the unit's sandbox.
    /// Restarts and their budget are the suite's: systemd's own would race with it, and its start limit refuse it.
    /// The order is the suite's as well; systemd needs it at a shutdown, when it stops all units by itself.
    fn text(&self) -> String {
        let after: String = self.after.iter().map(|unit| format!("After={unit}\n")).collect();
        let (what, gate) = match &self.gate {
            Gate::Permit => (
                "starts only where headship permits it".to_owned(),
                format!("ExecStartPre=+{GATE} %n\n"),
            ),
            Gate::Faulty => (
                "starts only where headship permits it, as the configuration has faults".to_owned(),
                format!("ExecStartPre=+{GATE} --faulty %n\n"),
            ),
            Gate::Elsewhere(node) => (
                format!("is pinned to {node}, and runs nowhere else"),
                format!("ExecStartPre=+{GATE} --pinned {node} %n\n"),
            ),
            Gate::Open => ("is pinned to this headnode".to_owned(), String::new()),
        };
        format!(
            "# Written by headship-generator from {FOLDER}: this HA service {what}.\n\
             [Unit]\nStartLimitIntervalSec=0\n{after}\n[Service]\n{gate}Restart=no\n"
        )
    }
}

/// To the journal where it runs (at a reload), otherwise to the kernel's log (at boot), otherwise to whoever called.
fn say(sentence: &str) {
    // Entries of the journal end at a line feed; a configuration's faults come in lines.
    let sentence = sentence.replace('\n', "; ");
    let entry = format!("PRIORITY=3\nSYSLOG_IDENTIFIER=headship-generator\nMESSAGE={sentence}\n");
    let journal = UnixDatagram::unbound().and_then(|socket| {
        // PID 1 waits for us: nothing here may wait for the journal.
        socket.set_nonblocking(true)?;
        socket.send_to(entry.as_bytes(), "/run/systemd/journal/socket")
    });
    if journal.is_ok() {
        return;
    }
    let line = format!("<3>headship-generator: {sentence}\n");
    let kernel = OpenOptions::new().write(true).open("/dev/kmsg");
    if kernel.and_then(|mut log| log.write_all(line.as_bytes())).is_err() {
        // Nobody is left to be told.
        drop(writeln!(io::stderr(), "headship-generator: {sentence}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_configuration_still_names_its_units() {
        let texts = [
            "cluster = oops\n[[service]]\nname = \"livy\"\nunit = \"livy.service\"\n".to_owned(),
            "service = [{ name = 'a', unit='a@1.service', order = }, { unit = \"b.service\" }]"
                .to_owned(),
        ];
        let units = named_units(&texts);
        let units: Vec<&str> = units.keys().map(String::as_str).collect();
        assert_eq!(units, ["a@1.service", "b.service", "livy.service"]);
    }

    #[test]
    fn the_units_of_a_profile_are_gated_with_faults_or_without() {
        let text = r#"
            cluster_type = "spark"
            esp = true
            cluster = "c"
            failover_quorum.servers = ["zk0:2181"]
            headnode = [{ name = "hn0", address = "10.0.0.1" }, { name = "hn1", address = "10.0.0.2" }]
            service = [{ name = "timeline-server", pinned = "" }]
        "#;
        let fragments = [("headship.toml".to_owned(), text.to_owned())];
        let config = config::load(&fragments, NodeName::try_from("hn1").unwrap()).unwrap();
        let gates = |units: &Units| -> Vec<(String, Gate)> {
            units.iter().map(|(unit, drop_in)| (unit.clone(), drop_in.gate.clone())).collect()
        };
        let hn0 = || Gate::Elsewhere(NodeName::try_from("hn0").unwrap());
        let expected = [
            ("ambari-server.service", Gate::Permit),
            ("hadoop-mapreduce-historyserver.service", hn0()),
            ("hadoop-yarn-timelineserver.service", Gate::Permit),
            ("livy-server.service", hn0()),
        ];
        assert_eq!(
            gates(&units(&config)),
            expected.clone().map(|(it, gate)| (it.to_owned(), gate))
        );
        let faulty = [format!("oops\n{text}")];
        let expected = expected.map(|(it, _)| (it.to_owned(), Gate::Faulty));
        assert_eq!(gates(&named_units(&faulty)), expected);
        let told = told_of_faults(
            &named_units(&faulty),
            configuration::pins(&faulty),
            &ConfigurationError::Missing { path: PathBuf::from("x") },
        );
        assert!(told.contains("livy-server.service; what is pinned starts"), "{told}");
    }

    #[test]
    fn what_is_no_service_of_ours_to_gate_is_left_alone() {
        let texts =
            ["# unit = \"old.service\"\nunit = \"master-fc.service\"\nunit = \"../x.service\"\n\
                      unit = \"x.socket\"\nunit = \"\nunits = 7\nunit"
                .to_owned()];
        assert!(named_units(&texts).is_empty());
    }

    #[test]
    fn an_agent_is_never_gated_whether_or_not_the_configuration_has_faults() {
        let text = r#"
            cluster = "c"
            failover_quorum.servers = ["zk0:2181"]
            headnode = [{ name = "hn0", address = "10.0.0.1" }, { name = "hn1", address = "10.0.0.2" }]
            service = [{ name = "a", unit = "a.service", started_by = "master-fc" }]
            follow = { agent_unit = "agent.service" }
        "#;
        let fragments = [("headship.toml".to_owned(), text.to_owned())];
        let node = NodeName::try_from("hn0").unwrap();
        let config = config::load(&fragments, node).unwrap();
        let follow = config.follow.as_ref().unwrap();
        assert_eq!(follow.agent, Some(Driver::Systemd { unit: "agent.service".to_owned() }));
        let faulty = format!("oops\n{text} x = {{ agent_unit='b.service', unit='c.service' }}");
        for (units, expected) in [
            (units(&config), vec!["a.service"]),
            (named_units(&[faulty]), vec!["a.service", "c.service"]),
        ] {
            assert_eq!(units.keys().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn with_faults_what_is_pinned_is_gated_too_and_that_is_said() {
        let texts = ["oops\n[[service]]\nunit = \"p.service\"\npinned = 'hn0'\n".to_owned()];
        let units = named_units(&texts);
        let text = units["p.service"].text();
        assert!(text.contains("ExecStartPre=+/usr/lib/headship/gate --faulty %n\n"), "{text}");
        let error = ConfigurationError::Missing { path: PathBuf::from("x") };
        let told = |pins| told_of_faults(&units, pins, &error);
        let both = (told(configuration::pins(&texts)), told(configuration::pins(&[])));
        assert!(both.0.contains(": p.service; what is pinned starts without a permit no more"));
        assert!(both.1.contains(": p.service; there is no configuration"), "{}", both.1);
    }

    #[test]
    fn a_drop_in_lies_where_systemd_looks_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let after = ["ambari-server.service".to_owned()].into();
        let drop_in = DropIn { gate: Gate::Permit, after };
        write_drop_in(folder.path(), "livy.service", &drop_in.text()).unwrap();
        let text =
            fs::read_to_string(folder.path().join("livy.service.d/zz-headship.conf")).unwrap();
        assert!(text.contains("ExecStartPre=+/usr/lib/headship/gate %n\nRestart=no\n"), "{text}");
        assert!(text.contains("StartLimitIntervalSec=0\nAfter=ambari-server.service\n"), "{text}");
    }

    #[test]
    fn a_pinned_unit_starts_on_its_headnode_and_nowhere_else() {
        let text = r#"
            cluster = "c"
            failover_quorum.servers = ["zk0:2181"]
            headnode = [{ name = "hn0", address = "10.0.0.1" }, { name = "hn1", address = "10.0.0.2" }]
            service = [
                { name = "a", unit = "a.service", started_by = "master-fc" },
                { name = "p", unit = "p.service", pinned = "hn0" },
            ]
        "#;
        let on = |node: &str| {
            let fragments = [("headship.toml".to_owned(), text.to_owned())];
            let config = config::load(&fragments, NodeName::try_from(node).unwrap()).unwrap();
            units(&config)["p.service"].text()
        };
        assert!(on("hn0").ends_with("[Service]\nRestart=no\n"), "{}", on("hn0"));
        for other in ["hn1", "wn0"] {
            let text = on(other);
            assert!(
                text.contains("ExecStartPre=+/usr/lib/headship/gate --pinned hn0 %n\n"),
                "{text}"
            );
        }
    }

    const HEAD: &str = r#"
        cluster = "c"
        failover_quorum.servers = ["zk0:2181"]
        headnode = [{ name = "hn0", address = "10.0.0.1" }, { name = "hn1", address = "10.0.0.2" }]
    "#;

    const UNIT: &str =
        r#"service = [{ name = "a", unit = "a.service", started_by = "master-fc" }]"#;

    fn rights(more: &str) -> BTreeMap<&'static str, String> {
        rights_where(more, false)
    }

    fn rights_where(more: &str, file_servers: bool) -> BTreeMap<&'static str, String> {
        let fragments = [("headship.toml".to_owned(), format!("{HEAD}{more}"))];
        let node = NodeName::try_from("hn0").unwrap();
        rights_of(&config::load(&fragments, node).unwrap(), file_servers)
    }

    #[test]
    fn who_stops_a_service_by_its_own_programs_has_no_sandbox() {
        assert!(rights(UNIT).is_empty());
        let actions = r#"service = [{ name = "a", driver = "command", start = ["/a", "start"],
            stop = ["/a", "stop"], status = ["/a", "status"], started_by = "master-fc" }]"#;
        let given = rights(actions);
        assert_eq!(given.len(), STOPS_ACTIONS.len());
        let units =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/root/usr/lib/systemd/system");
        for (name, text) in given {
            let unit = fs::read_to_string(units.join(name)).unwrap();
            let (_, sandbox) = unit.split_once("\n# Least rights").unwrap();
            let (sandbox, _) = sandbox.split_once("OOMScoreAdjust=").unwrap();
            let keys = sandbox.lines().filter_map(|line| line.split_once('=')).map(|(key, _)| key);
            const HARMLESS: [&str; 2] = ["Environment", "SystemCallErrorNumber"];
            let kept: Vec<&str> = keys
                .filter(|key| !key.starts_with('#') && !HARMLESS.contains(key))
                .filter(|key| !text.contains(&format!("\n{key}=")))
                .collect();
            assert!(kept.is_empty(), "{name} keeps {kept:?}");
        }
    }

    #[test]
    fn where_homes_may_hang_no_unit_looks_at_them() {
        let given = rights_where(UNIT, true);
        let units: BTreeSet<&str> = given.keys().copied().collect();
        assert_eq!(units, BTreeSet::from(STRICT));
        assert!(given.values().all(|text| text.ends_with("ProtectHome=no\nProtectSystem=full\n")));
    }

    #[test]
    fn file_servers_are_told_from_what_every_host_has() {
        let every = "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\ntmpfs /run tmpfs rw 0 0\n\
            fusectl /sys/fs/fuse/connections fusectl rw 0 0\nsystemd-1 /proc/sys/fs/binfmt_misc autofs rw 0 0\n\
            # nas:/home /home nfs\n\n/swap none swap sw 0 0\nshort\n";
        assert!(!has_file_servers(every));
        for line in [
            "nas:/home /home nfs4 rw 0 0",
            "nas:/d /development nfs4 rw 0 0",
            "map /home autofs rw 0 0",
            "hdfs /mnt fuse.hdfs rw 0 0",
        ] {
            assert!(has_file_servers(&format!("{every}{line}\n")), "{line}");
        }
    }

    #[test]
    fn a_hosts_file_elsewhere_is_opened_for_slave_fc_alone() {
        let follow = |file: &str| rights(&format!("{UNIT}\nfollow = {{ hosts_file = '{file}' }}"));
        assert!(follow("/etc/hosts").is_empty());
        assert!(follow("/etc/none-such/hosts").is_empty());
        let given = follow("/none such/100%/hosts");
        assert_eq!(given.keys().collect::<Vec<_>>(), [&"slave-fc.service"]);
        let text = &given["slave-fc.service"];
        assert!(text.ends_with("[Service]\nReadWritePaths=-\"/none such/100%%\"\n"), "{text}");
    }
}
