//! What runs a real program in the lab, as plain processes: what it says of the program is what the kernel knows of it.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, too")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use headship_tests::lab::overlap::End;
use headship_tests::lab::service_log::{ServiceLog, What, Writer};
use headship_tests::lab::wait_until;
use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_secs(20);

/// Nobody listens there.
const NO_PAGE: &str = "127.0.0.1:9/";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["alive", "locks"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    fs::write(folder.path().join("events"), "").unwrap();
    folder
}

fn runner(log: &Path, page: &str, program: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab-runner"));
    command.args(["livy", page, "--host", "hn0", "--log-dir"]).arg(log).arg("--").args(program);
    command
}

fn told(log: &Path, what: What) -> bool {
    let log = ServiceLog::read(log).unwrap();
    log.events().iter().any(|event| event.what == what)
}

fn observer_of(child: &Child) -> Pid {
    let file = format!("/proc/{0}/task/{0}/children", child.id());
    let children = fs::read_to_string(file).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

#[test]
fn a_program_is_on_record_until_it_has_ended_and_its_status_is_its_own() {
    let log = folder();
    let mut child =
        runner(log.path(), NO_PAGE, &["sh", "-c", "sleep 0.2; exit 7"]).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    wait_until("the end is on record", LIMIT, || told(log.path(), What::Stop)).unwrap();
    let lives = ServiceLog::read(log.path()).unwrap().intervals();
    let [life] = lives.as_slice() else { unreachable!("one life: {lives:?}") };
    assert_eq!((life.pid, life.end), (child.id(), End::Stopped));
    assert!(life.to - life.from >= 200_000_000, "{life}");
    assert!(!told(log.path(), What::Ready));
}

#[test]
fn what_cannot_be_executed_has_started_and_ended() {
    let log = folder();
    let status = runner(log.path(), NO_PAGE, &["/no/such/program"]).status().unwrap();
    assert!(!status.success());
    wait_until("the end is on record", LIMIT, || told(log.path(), What::Stop)).unwrap();
}

#[test]
fn the_lock_is_the_programs_and_outlives_its_observer() {
    let log = folder();
    let mut child = runner(log.path(), NO_PAGE, &["sleep", "600"]).spawn().unwrap();
    let runs = || fs::read_link(format!("/proc/{}/exe", child.id())).unwrap().ends_with("sleep");
    wait_until("the program runs", LIMIT, || told(log.path(), What::Start) && runs()).unwrap();
    let observer = observer_of(&child);
    kill_process(observer, Signal::KILL).unwrap();
    let file = format!("/proc/{}/stat", observer.as_raw_nonzero());
    // Its parent is the program, which does not ask after it.
    let is_dead = || fs::read_to_string(&file).is_ok_and(|stat| stat.contains(") Z "));
    wait_until("the observer is dead", LIMIT, is_dead).unwrap();
    drop(Writer::start(log.path(), "hn1", "livy", 1).unwrap());
    assert!(told(log.path(), What::Witness), "the program holds no lock");

    child.kill().unwrap();
    child.wait().unwrap();
    drop(Writer::start(log.path(), "hn2", "livy", 2).unwrap());
    let after = ServiceLog::read(log.path()).unwrap();
    assert!(after.first("hn2", "livy", What::Witness, 0).is_none(), "the lock is still held");
}

#[test]
fn it_serves_once_its_page_is_answered_with_200_and_not_before() {
    let log = folder();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = format!("{}/page", listener.local_addr().unwrap());
    let (status, asked) = (AtomicU16::new(503), AtomicU16::new(0));
    let socket = log.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(LIMIT)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while status.load(Ordering::Relaxed) != 0 {
                let (mut client, _) = listener.accept().unwrap();
                let lines = BufReader::new(&client).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                assert!(head.first().is_none_or(|line| line == "GET /page HTTP/1.0"));
                asked.fetch_add(1, Ordering::Relaxed);
                let status = status.load(Ordering::Relaxed);
                write!(client, "HTTP/1.1 {status} Lab\r\n\r\n").ok();
            }
        });
        let mut command = runner(log.path(), &page, &["sleep", "600"]);
        let mut child = command.env("NOTIFY_SOCKET", &socket).spawn().unwrap();
        wait_until("it was asked", LIMIT, || asked.load(Ordering::Relaxed) > 2).unwrap();
        assert!(!told(log.path(), What::Ready), "503 counts as an answer");
        status.store(200, Ordering::Relaxed);
        let mut said = [0; 64];
        let length = systemd.recv(&mut said).unwrap();
        assert_eq!(said.get(..length), Some(&b"READY=1"[..]));
        assert!(told(log.path(), What::Ready));
        // Told to stop, as systemd tells each process of a unit.
        kill_process(observer_of(&child), Signal::TERM).unwrap();
        wait_until("the order is on record", LIMIT, || told(log.path(), What::Term)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("the end is on record", LIMIT, || told(log.path(), What::Stop)).unwrap();
        status.store(0, Ordering::Relaxed);
        drop(std::net::TcpStream::connect(listener.local_addr().unwrap()));
    });
}
