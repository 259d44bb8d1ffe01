//! What reaches the journal, and what reaches stderr where there is none. Each test logs in a process of its own: this
//! test program once more, told by an environment variable what to be.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says by panicking that it failed"
)]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use headship_core::epoch::Epoch;
use headship_core::node::NodeName;
use headship_core::say::{Kind, Line};
use headship_daemon::log;

const PART: &str = "HEADSHIP_TEST_PART";

fn is_part(part: &str) -> bool {
    std::env::var(PART).as_deref() == Ok(part)
}

fn log_two_lines() {
    log::init("master-fc", &NodeName::try_from("hn0").unwrap()).unwrap();
    let text = "standby -> claimant (over epoch 7): the lock is gone".to_owned();
    log::say(&Line { kind: Kind::RoleBecomingActive, text, epoch: Some(Epoch(7)) });
    let text = "fencing failed".to_owned();
    log::tell(Kind::HostReboots, text);
    tracing::info!(target: "zookeeper_client", "library chatter");
    tracing::debug!(target: "headship_core", "detail");
}

/// This test program once more, as `part` of the test `name`.
fn once_more(program: &[&str], name: &str, part: &str) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut words = program.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    words.push(exe.to_str().unwrap().to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["--exact", name, "--nocapture"]);
    command.env(PART, part).env_remove("HEADSHIP_LOG").env_remove("JOURNAL_STREAM");
    command
}

/// In a mount namespace with a `/run` of its own.
const PRIVATE_RUN: [&str; 6] = [
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    r#"mount -t tmpfs none /run && exec "$0" "$@""#,
];

#[test]
fn lines_reach_the_journal_with_their_fields() {
    if is_part("journal") {
        fs::create_dir_all("/run/systemd/journal").unwrap();
        let journal = UnixDatagram::bind("/run/systemd/journal/socket").unwrap();
        journal.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        log_two_lines();
        let mut buffer = [0; 4096];
        log::complain("master-fc", Kind::ConfigurationFault, "`cluster` is missing");
        for _ in 0..3 {
            let length = journal.recv(&mut buffer).unwrap();
            #[expect(clippy::print_stdout, reason = "this is how it reaches the test")]
            {
                print!("{}", String::from_utf8_lossy(&buffer[..length]));
            }
        }
        journal.set_nonblocking(true).unwrap();
        assert!(journal.recv(&mut buffer).is_err(), "neither chatter nor details");
        return;
    }
    let namespace = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    if !namespace.is_ok_and(|output| output.status.success()) {
        #[expect(clippy::print_stdout, reason = "whoever runs the tests shall see it")]
        {
            println!("skipped: this machine grants no mount namespace to put a journal in");
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let stderr = File::create(folder.path().join("stderr")).unwrap();
    let stream = stderr.metadata().map(|file| format!("{}:{}", file.dev(), file.ino())).unwrap();
    let name = "lines_reach_the_journal_with_their_fields";
    let mut part = once_more(&PRIVATE_RUN, name, "journal");
    let output = part.env("JOURNAL_STREAM", stream).stderr(stderr).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let complaints = fs::read_to_string(folder.path().join("stderr")).unwrap();
    assert!(output.status.success(), "{stdout}{complaints}");
    // Which fields there are, and how they are written, is tested beside their code.
    for part in [
        "master-fc\n",
        "hn0\n",
        "standby -> claimant (over epoch 7): the lock is gone\n",
        "`cluster` is missing\n",
        "master-fc.service\n",
        Kind::ConfigurationFault.id(),
    ] {
        assert!(stdout.contains(part), "{part:?} in {stdout:?}");
    }
    for part in ["claimant", "missing"] {
        assert!(!complaints.contains(part), "once is enough: {complaints}");
    }
}

#[test]
fn without_the_journal_sentences_go_to_stderr_as_plain_lines() {
    if is_part("stderr") {
        log_two_lines();
        return;
    }
    let name = "without_the_journal_sentences_go_to_stderr_as_plain_lines";
    let said = |level: Option<&str>| {
        let mut part = once_more(&[], name, "stderr");
        if let Some(level) = level {
            part.env("HEADSHIP_LOG", level);
        }
        let output = part.output().unwrap();
        assert!(output.status.success());
        let stderr = String::from_utf8(output.stderr).unwrap();
        // Without the time.
        let lines = stderr.lines().map(|line| line.split_once(' ').unwrap().1.trim().to_owned());
        lines.collect::<Vec<String>>()
    };
    let sentences =
        ["INFO standby -> claimant (over epoch 7): the lock is gone", "ERROR fencing failed"];
    assert_eq!(said(None), sentences);
    assert_eq!(said(Some("debug")), [sentences[0], sentences[1], "DEBUG detail"]);
    assert_eq!(said(Some("error")), [sentences[1]]);
    assert_eq!(said(Some("warn,zookeeper_client=info")), [sentences[1], "INFO library chatter"]);
    let misread = said(Some("headship=loud"));
    assert!(
        misread[0].contains("`HEADSHIP_LOG` is `headship=loud`, which is no level"),
        "{misread:?}"
    );
    assert_eq!(misread[1..], sentences);
}
