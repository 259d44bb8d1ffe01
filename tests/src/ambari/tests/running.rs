//! With an agent that runs something, over HTTP.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

struct Running {
    dir: tempfile::TempDir,
    store: Store,
    server: Serving,
    _agent: Agent,
}

impl Running {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pace = Pace { lost: 300, report: 20, database: 100 };
        let state = State::new("lab", ("MAPREDUCE2", JHS), &["h1"], pace);
        let store = Store::new(&dir.path().join("state"), &state).unwrap();
        let server = Serving::start(1, store.clone()).unwrap();
        let up = dir.path().join("up");
        let program = move || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", ": > \"$0\"; exec sleep 600"]).arg(&up);
            command
        };
        let name = Arc::new(AtomicU64::new(1));
        let agent = Agent::start(store.clone(), ("h1", JHS), name, program);
        let running = Self { dir, store, server, _agent: agent };
        running.until("its agent", || {
            running.call("GET", "clusters/lab/hosts/h1", "").contains("HEALTHY")
        });
        running
    }

    fn up(&self) -> std::path::PathBuf {
        self.dir.path().join("up")
    }

    fn until(&self, what: &str, is: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is() {
            assert!(Instant::now() < end, "{what} did not come about");
            sleep(Duration::from_millis(5));
        }
    }

    fn call(&self, method: &str, path: &str, body: &str) -> String {
        use std::io::{Read, Write};
        let address = self.server.url().replace("http://", "");
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let (name, value) = ADMIN;
        let head =
            format!("{method} /api/v1/{path} HTTP/1.1\r\n{name}: {value}\r\nX-Requested-By: x\r\n");
        let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).unwrap();
        told
    }

    fn start(&self) {
        assert!(self.is_accepted());
    }

    fn is_accepted(&self) -> bool {
        let level = json!({ "level": "HOST_COMPONENT", "cluster_name": "lab" });
        let body = json!({ "RequestInfo": { "operation_level": level }, "Body": { "HostRoles": { "state": "STARTED" } } });
        let path = format!("clusters/lab/hosts/h1/host_components/{JHS}");
        self.call("PUT", &path, &body.to_string()).starts_with("HTTP/1.1 202")
    }

    fn status(&self) -> String {
        self.store.change(|state| state.tasks().last().unwrap().3.clone()).unwrap()
    }

    fn frozen(&self, is_frozen: bool) {
        self.store.change(|state| state.host("h1").is_frozen = is_frozen).unwrap();
    }
}

#[test]
fn n_an_agent_that_was_frozen_carries_out_what_was_given_up_meanwhile() {
    let running = Running::new();
    running.store.change(|state| state.host("h1").delay = 100).unwrap();
    running.start();
    running.until("its handing over", || running.status() == "IN_PROGRESS");
    running.frozen(true);
    running.until("its loss", || running.status() == "ABORTED");
    assert!(!running.up().exists());
    running.frozen(false);
    running.until("its late start", || running.up().exists());
    assert_eq!(running.status(), "ABORTED");
}

#[test]
fn n_an_agent_that_lives_does_not_carry_out_what_was_given_up() {
    let running = Running::new();
    running.store.change(|state| state.host("h1").delay = 200).unwrap();
    running.start();
    running.until("its handing over", || running.status() == "IN_PROGRESS");
    let body = r#"{"Requests":{"request_status":"ABORTED","abort_reason":"x"}}"#;
    assert!(running.call("PUT", "clusters/lab/requests/1", body).starts_with("HTTP/1.1 200"));
    // What it is handed next comes to its end, so nothing before that is to come.
    running.store.change(|state| state.host("h1").fails = true).unwrap();
    running.until("its next order", || running.is_accepted());
    running.until("its end", || running.status() == "FAILED");
    assert!(!running.up().exists());
}

#[test]
fn n_a_script_that_fails_says_why_and_its_exit_code_is_zero() {
    let running = Running::new();
    running.store.change(|state| state.host("h1").fails = true).unwrap();
    running.start();
    running.until("its end", || running.status() == "FAILED");
    let told = running.call("GET", "clusters/lab/requests/1", "");
    assert!(told.contains("Fail: no room") && told.contains("\"exit_code\":0"), "{told}");
}
