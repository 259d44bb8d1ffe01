//! Fence methods against real programs: Debian's fence agents, an ssh server, and programs that misbehave.
//!
//! Programs run in process groups, as they do without systemd. With `HEADSHIP_FENCE_UNITS=1`, as root on a host under
//! systemd, they run as transient units; everything else that is seen must be the same.

#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a test's helpers")]

mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headship_core::config::{self, Config};
use headship_core::epoch::Epoch;
use headship_core::fencing::agent::Action;
use headship_core::fencing::{Answer, End, Victim};
use headship_core::node::NodeName;
use headship_drivers::fence::Fence;
use headship_drivers::host::run::RunDir;

use self::server::Server;

/// For what ends by itself, on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// For what never ends.
const SHORT: Duration = Duration::from_secs(2);
/// How much later than its limit an answer may come here.
const LATER: Duration = Duration::from_secs(5);

const OTHER_BOOT: &str = "00000000-0000-0000-0000-000000000000";

fn node(name: &str) -> NodeName {
    NodeName::try_from(name).unwrap()
}

/// This machine, so that an order over ssh finds what it looks for.
fn victim(boot: &str) -> Victim {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_else(|_| "0".repeat(32));
    let machine = machine.trim().to_owned();
    Victim { node: node("hn0"), machine, boot: boot.to_owned(), epoch: Epoch(7) }
}

fn this_boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    boot.trim().to_owned()
}

fn config(fence: &str) -> Config {
    let text = format!(
        "cluster = \"main\"\nfailover_quorum.servers = [\"zk0:2181\"]\n\
         headnode = [{{ name = \"hn0\", address = \"127.0.0.1\" }}, {{ name = \"hn1\", address = \"127.0.0.2\" }}]\n\
         service = [{{ name = \"a\", unit = \"a.service\", started_by = \"master-fc\" }}]\n\
         [timing]\nfence_budget_ms = 3600000\n[[fence]]\nname = \"test\"\n{fence}"
    );
    let config = config::load(&[("test".to_owned(), text)], node("hn1"));
    config.unwrap_or_else(|faults| panic!("{faults}"))
}

fn as_units() -> bool {
    std::env::var_os("HEADSHIP_FENCE_UNITS").is_some()
}

/// A folder with our programs, and what they leave in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fence");
        for program in ["behave", "fence_test", "host"] {
            fs::copy(programs.join(program), folder.path().join(program)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn fence(&self, fence: &str) -> Fence {
        // Only the host's own folder speaks for systemd. Nothing is written there.
        let run = if as_units() { PathBuf::from("/run/headship") } else { self.path("run") };
        Fence::new(&config(fence), &RunDir::new(&run))
    }

    fn agent(&self, behaviour: &str) -> Fence {
        let (dir, agent) = (self.0.path().display(), self.path("fence_test"));
        self.fence(&format!(
            "method = \"fence_agent\"\nagent = \"{}\"\nparameters = {{ dir = \"{dir}\", behaviour = \"{behaviour}\" }}\nnode.hn0 = {{ plug = 1 }}\n",
            agent.display()
        ))
    }

    fn command(&self, behaviour: &str) -> Fence {
        let (dir, command) = (self.0.path().display(), self.path("behave"));
        self.fence(&format!(
            "method = \"command\"\ncommand = [\"{}\", \"{behaviour}\", \"{dir}\", \"ask\"]\n",
            command.display()
        ))
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Each process that a program of ours named, and whether it lives.
    fn living(&self) -> Vec<String> {
        let lives = |pid: &String| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        };
        self.lines("pids").into_iter().filter(lives).collect()
    }
}

/// Asks, and sees that the answer is in time and that nothing is left.
async fn ask(what: &str, folder: &Folder, fence: &Fence, boot: &str, limit: Duration) -> Answer {
    let begin = Instant::now();
    let answer = fence.ask(0, &victim(boot), limit).await;
    let took = begin.elapsed();
    assert!(took < limit + LATER, "{what}: {answer} after {took:?}");
    assert_eq!(folder.living(), Vec::<String>::new(), "{what}: {answer}");
    answer
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Yes { .. } => "yes",
        Answer::No { .. } => "no",
        Answer::Unknown { .. } => "unknown",
    }
}

/// Each behaviour, how long it is given, and what an agent, a command and a host behind ssh are heard to say.
const CONTRACT: [(&str, Duration, [&str; 3]); 9] = [
    ("works", LONG, ["yes", "yes", "yes"]),
    ("says-no", SHORT, ["unknown", "no", "unknown"]),
    ("hangs", SHORT, ["unknown", "unknown", "unknown"]),
    ("leaves-a-child", LONG, ["yes", "yes", ""]),
    ("floods", LONG, ["yes", "yes", "unknown"]),
    ("floods-for-ever", SHORT, ["unknown", "unknown", "unknown"]),
    ("dies", SHORT, ["unknown", "unknown", "unknown"]),
    ("babbles", SHORT, ["unknown", "unknown", "unknown"]),
    ("closes-its-outputs", LONG, ["yes", "yes", "unknown"]),
];

#[tokio::test]
async fn every_kind_of_method_answers_within_its_limit_and_leaves_nothing_behind() {
    for (behaviour, limit, [agent, command, ssh]) in CONTRACT {
        let folder = Folder::new();
        let answer = ask(behaviour, &folder, &folder.agent(behaviour), OTHER_BOOT, limit).await;
        assert_eq!(word(&answer), agent, "agent, {behaviour}: {answer}");
        assert!(!folder.lines("pids").is_empty(), "agent, {behaviour}: {answer}");
        println!("agent, {behaviour}: {answer}");

        let folder = Folder::new();
        let answer = ask(behaviour, &folder, &folder.command(behaviour), OTHER_BOOT, limit).await;
        assert_eq!(word(&answer), command, "command, {behaviour}: {answer}");
        assert!(!folder.lines("pids").is_empty(), "command, {behaviour}: {answer}");
        println!("command, {behaviour}: {answer}");

        if ssh.is_empty() {
            continue;
        }
        let folder = Folder::new();
        let Some(server) = Server::start(&folder, behaviour) else { continue };
        let begin = Instant::now();
        let answer = server.fence.ask(0, &victim(OTHER_BOOT), limit).await;
        assert!(begin.elapsed() < limit + LATER, "ssh, {behaviour}: {answer}");
        assert_eq!(word(&answer), ssh, "ssh, {behaviour}: {answer}");
        // What runs on the host is the host's; what runs here is ssh.
        assert_eq!(server.clients(), Vec::<String>::new(), "ssh, {behaviour}: {answer}");
        println!("ssh, {behaviour}: {answer}");
    }
}

#[tokio::test]
async fn an_agent_that_says_off_while_status_says_on_is_a_no() {
    let folder = Folder::new();
    let answer = ask("lies", &folder, &folder.agent("lies"), OTHER_BOOT, SHORT).await;
    let why = "`off` exited with 0, saying `switched off`, and `status` says that it is on";
    assert_eq!(answer, Answer::No { why: why.to_owned() });
    let actions = folder.lines("actions");
    assert!(actions.len() > 2 && actions.iter().skip(1).all(|it| it == "status"), "{actions:?}");
}

#[tokio::test]
async fn an_off_that_hangs_leaves_time_to_see_that_the_host_is_off() {
    let folder = Folder::new();
    let limit = Duration::from_secs(12);
    let answer = ask("hangs", &folder, &folder.agent("hangs-in-off"), OTHER_BOOT, limit).await;
    assert_eq!(word(&answer), "yes", "{answer}");
    assert_eq!(folder.lines("actions"), ["off", "status"]);
}

#[tokio::test]
async fn a_program_that_vanishes_between_two_runs_is_unknown() {
    let folder = Folder::new();
    let fence = folder.agent("vanishes");
    let answer = ask("vanishes", &folder, &fence, OTHER_BOOT, SHORT).await;
    let Answer::Unknown { why } = &answer else { panic!("{answer}") };
    assert!(why.contains("and `status` cannot be run: `"), "{why}");
    assert!(fence.unfit(0).unwrap().starts_with("cannot be run: `"));
    let fence = folder.command("works");
    assert_eq!(fence.unfit(0), None);
    fs::remove_file(folder.path("behave")).unwrap();
    let answer = ask("vanishes", &folder, &fence, OTHER_BOOT, SHORT).await;
    assert_eq!(word(&answer), "unknown", "{answer}");
}

#[tokio::test]
async fn what_is_given_up_is_killed() {
    let folder = Folder::new();
    let fence = folder.command("hangs");
    let (victim, limit) = (victim(OTHER_BOOT), Duration::from_secs(20));
    {
        let asked = fence.ask(0, &victim, limit);
        let begun = async {
            while folder.lines("pids").len() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            answer = asked => panic!("{answer}"),
            () = begun => {}
        }
    }
    // PID 1 ends a unit at its limit.
    let end = Instant::now() + LATER + if as_units() { limit } else { Duration::ZERO };
    while !folder.living().is_empty() {
        assert!(Instant::now() < end, "{:?}", folder.living());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_command_is_not_asked_about_ids_that_a_shell_would_obey() {
    let folder = Folder::new();
    let fence = folder.command("works");
    let answer = ask("hostile", &folder, &fence, "$(reboot)", SHORT).await;
    assert_eq!(
        answer,
        Answer::Unknown { why: "the record of hn0 has no usable machine and boot id".to_owned() }
    );
    assert!(folder.lines("pids").is_empty(), "it is not even begun");
}

#[tokio::test]
async fn a_command_is_told_whom_to_fence_and_nothing_else_of_our_environment() {
    let folder = Folder::new();
    let out = folder.path("environment");
    let fence = folder.fence(&format!(
        "method = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"env >{}; exit 1\"]\n",
        out.display()
    ));
    let answer = ask("env", &folder, &fence, OTHER_BOOT, LONG).await;
    assert_eq!(word(&answer), "no", "{answer}");
    let mut names: Vec<String> = folder.lines("environment");
    // systemd hands on what it is started with, which is next to nothing in PID 1.
    let others = ["PWD=", "_=", "SHLVL="];
    let ours = ["HEADSHIP_", "LC_ALL=", "PATH="];
    names.retain(|line| !others.iter().any(|it| line.starts_with(it)));
    names.retain(|line| !as_units() || ours.iter().any(|it| line.starts_with(it)));
    names.sort();
    let machine = victim(OTHER_BOOT).machine;
    let wanted = [
        "HEADSHIP_FENCE_ADDRESS=127.0.0.1".to_owned(),
        format!("HEADSHIP_FENCE_BOOT={OTHER_BOOT}"),
        "HEADSHIP_FENCE_EPOCH=7".to_owned(),
        "HEADSHIP_FENCE_LIMIT_MS=60000".to_owned(),
        format!("HEADSHIP_FENCE_MACHINE={machine}"),
        "HEADSHIP_FENCE_NODE=hn0".to_owned(),
        "LC_ALL=C".to_owned(),
    ];
    assert_eq!(
        names.iter().filter(|it| !it.starts_with("PATH=")).collect::<Vec<_>>(),
        wanted.iter().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_agent_finds_its_secrets_on_its_standard_input_and_others_find_them_nowhere() {
    let folder = Folder::new();
    let secrets = folder.path("secrets");
    fs::write(&secrets, "# ours\npassword=hunter2\n").unwrap();
    let dir = folder.0.path().display();
    let fence = folder.fence(&format!(
        "method = \"fence_agent\"\nagent = \"{dir}/fence_test\"\nsecrets_file = \"{}\"\nparameters = {{ dir = \"{dir}\", behaviour = \"works\" }}\nnode.hn0 = {{ plug = 1 }}\n",
        secrets.display()
    ));
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o644)).unwrap();
    let answer = ask("open", &folder, &fence, OTHER_BOOT, SHORT).await;
    let Answer::Unknown { why } = answer else { panic!("{answer}") };
    assert!(why.contains("is open to others than its owner"), "{why}");
    assert!(folder.lines("pids").is_empty(), "it is not even begun");
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
    let answer = ask("secret", &folder, &fence, OTHER_BOOT, LONG).await;
    assert_eq!(word(&answer), "yes", "{answer}");
    assert_eq!(folder.lines("password"), ["hunter2"]);
}

#[tokio::test]
async fn the_host_behind_ssh_powers_off_only_if_it_is_the_victim() {
    let folder = Folder::new();
    let Some(server) = Server::start(&folder, "works") else { return };
    let answer = server.fence.ask(0, &victim(OTHER_BOOT), LONG).await;
    let Answer::Yes { how } = &answer else { panic!("{answer}") };
    assert_eq!(*how, format!("it answers from boot {}, so boot {OTHER_BOOT} is over", this_boot()));
    let other = Victim { machine: "f".repeat(32), ..victim(&this_boot()) };
    let answer = server.fence.ask(0, &other, LONG).await;
    assert_eq!(word(&answer), "unknown", "{answer}");
    assert!(!folder.path("trigger").exists(), "neither was the victim");
    // It is told, and does not go. Where ssh takes seconds, it may look silent at the end.
    let answer = server.fence.ask(0, &victim(&this_boot()), Duration::from_secs(10)).await;
    let told = "it was told to power off";
    assert!(word(&answer) != "yes" && answer.to_string().contains(told), "{answer}");
    assert_eq!(folder.lines("trigger"), ["o"]);
}

#[tokio::test]
async fn a_host_that_went_silent_is_unknown_and_one_that_came_back_is_a_yes() {
    let folder = Folder::new();
    let Some(server) = Server::start(&folder, "goes-silent") else { return };
    let answer = server.fence.ask(0, &victim(&this_boot()), Duration::from_secs(10)).await;
    let silent = "unknown, it was told to power off and is silent, which is no proof";
    assert_eq!(answer.to_string(), silent);
    drop(server);
    let folder = Folder::new();
    let Some(server) = Server::start(&folder, "returns") else { return };
    let answer = server.fence.ask(0, &victim(&this_boot()), LONG).await;
    assert_eq!(word(&answer), "yes", "{answer}");
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_or_has_another_key_is_unknown_at_once() {
    let folder = Folder::new();
    let Some(server) = Server::start(&folder, "works") else { return };
    fs::write(folder.path("known_hosts"), "").unwrap();
    let begin = Instant::now();
    let answer = server.fence.ask(0, &victim(OTHER_BOOT), LONG).await;
    assert!(answer.to_string().contains("Host key verification failed"), "{answer}");
    server.stop();
    let answer = server.fence.ask(0, &victim(OTHER_BOOT), LONG).await;
    assert!(answer.to_string().contains("Connection refused"), "{answer}");
    assert!(begin.elapsed() < LONG, "neither used up its limit");
}

/// Debian's own, with a file for a host. A file that is missing is off to it: here a host always has one.
#[tokio::test]
async fn debians_fence_agent_switches_off_and_says_so() {
    let folder = Folder::new();
    if !Path::new("/usr/sbin/fence_dummy").exists() {
        println!("skipped: the package fence-agents is not installed");
        return;
    }
    let (hn0, hn1) = (folder.path("hn0"), folder.path("hn1"));
    fs::write(&hn0, "on").unwrap();
    fs::write(&hn1, "on").unwrap();
    let fence = folder.fence(&format!(
        "method = \"fence_agent\"\nagent = \"fence_dummy\"\nnode.hn0 = {{ status_file = \"{}\" }}\nnode.hn1 = {{ status_file = \"{}\" }}\n",
        hn0.display(),
        hn1.display()
    ));
    let look = async |action| fence.look(0, &node("hn0"), action, LONG).await.unwrap();
    assert_eq!(look(Action::Status).await.0.end, End::Exited(0));
    assert_eq!(look(Action::Monitor).await.0.end, End::Exited(0));
    let answer = ask("fence_dummy", &folder, &fence, OTHER_BOOT, LONG).await;
    assert_eq!(word(&answer), "yes", "{answer}");
    assert_eq!(fs::read_to_string(&hn0).unwrap(), "off");
    assert_eq!(fs::read_to_string(&hn1).unwrap(), "on");
    assert_eq!(look(Action::Status).await.0.end, End::Exited(2));
    assert_eq!(fence.look(0, &node("hn0"), Action::Off, LONG).await, None, "that is no look");
    // A second `off` finds it off already.
    let answer = ask("fence_dummy", &folder, &fence, OTHER_BOOT, LONG).await;
    assert_eq!(word(&answer), "yes", "{answer}");
}

/// Debian's agents print what they do not understand, such as a secret under a misspelt name.
#[tokio::test]
async fn what_an_agent_prints_of_its_secrets_is_not_told() {
    let folder = Folder::new();
    if !Path::new("/usr/sbin/fence_dummy").exists() {
        println!("skipped: the package fence-agents is not installed");
        return;
    }
    let (host, secrets) = (folder.path("hn0"), folder.path("secrets"));
    fs::write(&host, "on").unwrap();
    fs::write(&secrets, "passwort=hunter2\n").unwrap();
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
    let fence = folder.fence(&format!(
        "method = \"fence_agent\"\nagent = \"fence_dummy\"\nsecrets_file = \"{}\"\nnode.hn0 = {{ status_file = \"{}\" }}\n",
        secrets.display(),
        host.display()
    ));
    let (run, _) = fence.look(0, &node("hn0"), Action::Status, LONG).await.unwrap();
    assert!(run.said.contains("passwort=***"), "{run}");
}

/// Debian's own, in its mode of failing: it never says on or off.
#[tokio::test]
async fn debians_fence_agent_that_fails_is_unknown() {
    let folder = Folder::new();
    if !Path::new("/usr/sbin/fence_dummy").exists() {
        println!("skipped: the package fence-agents is not installed");
        return;
    }
    let fence = folder.fence(
        "method = \"fence_agent\"\nagent = \"fence_dummy\"\nparameters = { type = \"fail\", random_sleep_range = 1 }\nnode.hn0 = { plug = 1 }\n",
    );
    let answer = ask("fence_dummy", &folder, &fence, OTHER_BOOT, Duration::from_secs(8)).await;
    assert_ne!(word(&answer), "yes", "{answer}");
}
