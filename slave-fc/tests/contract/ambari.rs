//! The stand-in for Ambari, as a driver's other side.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use headship_core::ambari::{Body, Component, Credentials, Server};
use headship_tests::ambari::{Agent, Pace, Serving, State, Store};

/// A stand-in for a server of two headnodes, `h1` and `h2`, with the agent of this one.
pub(super) struct Ambari {
    store: Store,
    server: Serving,
    _agent: Agent,
}

impl Ambari {
    pub(super) fn new(dir: &Path, thing: &Path) -> Self {
        let pace = Pace { lost: 5000, report: 20, database: 100 };
        let state = State::new("lab", ("MAPREDUCE2", "HISTORYSERVER"), &["h1", "h2"], pace);
        let store = Store::new(&dir.join("ambari"), &state).unwrap();
        let server = Serving::start(1, store.clone()).unwrap();
        let thing = thing.to_owned();
        let program = move || {
            let mut command = Command::new(&thing);
            command.arg("run");
            command
        };
        let name = Arc::new(AtomicU64::new(1));
        let agent = Agent::start(store.clone(), ("h1", "HISTORYSERVER"), name, program);
        let login = dir.join("login");
        fs::write(&login, "user=admin\npassword=secret\n").unwrap();
        fs::set_permissions(&login, fs::Permissions::from_mode(0o600)).unwrap();
        Self { store, server, _agent: agent }
    }

    pub(super) fn component(&self, dir: &Path, thing: &Path) -> Component {
        let server = Server {
            url: self.server.url(),
            cluster: "lab".to_owned(),
            credentials: Credentials::File(dir.join("login").display().to_string()),
            ca_file: None,
            limit_ms: 5000,
            settle_ms: 200,
        };
        Component {
            server,
            name: "HISTORYSERVER".to_owned(),
            host: "h1".to_owned(),
            others: vec!["h2".to_owned()],
            body: Body::Process(thing.display().to_string()),
        }
    }

    /// Makes trouble, or ends it.
    pub(super) fn trouble(&self, name: &str, begins: bool) {
        let change = |state: &mut State| match name {
            "fail-start" => state.host("h1").fails = begins,
            "hang-start" => state.host("h1").delay = if begins { 600_000 } else { 0 },
            _ => {}
        };
        self.store.change(change).unwrap();
    }
}
