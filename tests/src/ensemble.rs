//! A real ZooKeeper ensemble of three servers as plain processes on loopback: no root, no network of its own.
//!
//! Each ensemble has a loopback address for itself, so that several can run at a time, with fixed ports that no outgoing
//! connection takes while a server is down. It ends with its value, and with the thread that started it, however it ends.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The tick that suits tests: session timeouts from 200 ms to 2 s are granted, and elections are short.
pub const FAST_TICK: Duration = Duration::from_millis(100);

const JAR: &str = "/usr/share/java/zookeeper.jar";
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
const CLIENT_PORT: u16 = 2181;
const SERVERS: [u16; 3] = [0, 1, 2];
/// How long the servers may need until they serve: three JVMs on a busy machine.
const SERVE_LIMIT: Duration = Duration::from_secs(60);
/// How long one four-letter word may take; a frozen server never answers.
const WORD_LIMIT: Duration = Duration::from_millis(500);

/// Why there is no ensemble, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum EnsembleError {
    /// Java or ZooKeeper is not installed.
    #[error("`{0}` is missing: apt-get install zookeeper default-jre-headless")]
    NotInstalled(&'static str),
    /// The system refused something.
    #[error("the ensemble failed: {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The servers run but do not serve.
    #[error("fewer than {wanted} servers of the ensemble serve after {SERVE_LIMIT:?}: {said}")]
    NotServing {
        /// How many should serve.
        wanted: usize,
        /// What the servers wrote.
        said: String,
    },
    /// There is no such server, or it does not run.
    #[error("server {0} of the ensemble does not run")]
    NotRunning(usize),
}

/// Three ZooKeeper servers. A server is named by its number: 0, 1 or 2.
#[derive(Debug)]
pub struct Ensemble {
    dir: TempDir,
    address: Ipv4Addr,
    processes: [Option<Child>; SERVERS.len()],
}

impl Ensemble {
    /// Starts three servers with this tick and waits until they serve.
    ///
    /// # Errors
    /// If something is not installed, the system refuses, or they do not come to serve.
    pub fn start(tick: Duration) -> Result<Self, EnsembleError> {
        require_installed()?;
        let dir = TempDir::with_prefix("headship-ensemble-").map_err(system("make a folder"))?;
        let address = free_address(CLIENT_PORT).map_err(system("find a free loopback address"))?;
        for server in SERVERS {
            write_config(dir.path(), address, server, tick).map_err(system("write zoo.cfg"))?;
        }
        let mut ensemble = Self { dir, address, processes: [None, None, None] };
        for server in 0..SERVERS.len() {
            ensemble.launch(server)?;
        }
        ensemble.wait_serving(SERVERS.len())?;
        Ok(ensemble)
    }

    /// The servers' client addresses as `host:port`.
    pub fn servers(&self) -> Vec<String> {
        SERVERS.iter().map(|server| self.client_address(*server).to_string()).collect()
    }

    /// Starts a server that does not run. Returns at once; see [`Self::wait_serving`].
    ///
    /// # Errors
    /// If the system refuses.
    pub fn launch(&mut self, server: usize) -> Result<(), EnsembleError> {
        let home = self.dir.path().join(server.to_string());
        let log = File::create(home.join("log")).map_err(system("make a log"))?;
        let log_too = log.try_clone().map_err(system("make a log"))?;
        // The kernel ends the server with us, even if we are killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "java", "-Xms16m", "-Xmx96m", "-XX:+UseSerialGC"])
            .args(["-XX:TieredStopAtLevel=1", "-Dzookeeper.admin.enableServer=false"])
            .args(["-Dzookeeper.preAllocSize=256", "-cp", JAR, MAIN])
            .arg(home.join("zoo.cfg"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .spawn()
            .map_err(system("start a server with setpriv and java"))?;
        *self.processes.get_mut(server).ok_or(EnsembleError::NotRunning(server))? = Some(child);
        Ok(())
    }

    /// Waits until this many servers serve, one of them as ZooKeeper's leader.
    ///
    /// # Errors
    /// If that takes longer than a minute.
    pub fn wait_serving(&self, wanted: usize) -> Result<(), EnsembleError> {
        let since = Instant::now();
        while since.elapsed() < SERVE_LIMIT {
            let modes = self.modes();
            if modes.iter().flatten().count() >= wanted && modes.iter().flatten().any(is_leader) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        let log = |server: &u16| fs::read_to_string(self.dir.path().join(format!("{server}/log")));
        let said = SERVERS.iter().filter_map(|server| log(server).ok()).collect();
        Err(EnsembleError::NotServing { wanted, said })
    }

    /// The server that is ZooKeeper's leader, if one says so.
    pub fn leader(&self) -> Option<usize> {
        self.modes().iter().position(|mode| mode.as_ref().is_some_and(is_leader))
    }

    /// The server that a session's client is connected to, if it is connected to one that answers.
    pub fn server_of(&self, session: i64) -> Option<usize> {
        let id = format!("sid={session:#x}");
        SERVERS.iter().position(|server| {
            self.ask(*server, "cons").is_some_and(|connections| connections.contains(&id))
        })
    }

    /// Ends a server like a power loss: SIGKILL.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self, server: usize) -> Result<(), EnsembleError> {
        let slot = self.processes.get_mut(server).and_then(Option::take);
        let mut child = slot.ok_or(EnsembleError::NotRunning(server))?;
        child.kill().map_err(system("kill a server"))?;
        child.wait().map_err(system("wait for a killed server"))?;
        Ok(())
    }

    /// Stops a server where it stands: SIGSTOP. Its connections stay open, and nothing answers.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self, server: usize) -> Result<(), EnsembleError> {
        self.signal(server, Signal::STOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self, server: usize) -> Result<(), EnsembleError> {
        self.signal(server, Signal::CONT)
    }

    fn signal(&self, server: usize, signal: Signal) -> Result<(), EnsembleError> {
        let child = self.processes.get(server).and_then(Option::as_ref);
        let child = child.ok_or(EnsembleError::NotRunning(server))?;
        kill_process(Pid::from_child(child), signal)
            .map_err(|error| system("signal a server")(error.into()))
    }

    /// What each server calls itself: leader, follower, or nothing while it does not serve.
    fn modes(&self) -> Vec<Option<String>> {
        let mode = |answer: String| {
            Some(answer.lines().find_map(|line| line.strip_prefix("Mode: "))?.to_owned())
        };
        SERVERS.iter().map(|server| self.ask(*server, "srvr").and_then(mode)).collect()
    }

    /// A server's answer to a four-letter word.
    fn ask(&self, server: u16, word: &str) -> Option<String> {
        let mut stream =
            TcpStream::connect_timeout(&self.client_address(server), WORD_LIMIT).ok()?;
        stream.set_read_timeout(Some(WORD_LIMIT)).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn client_address(&self, server: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address), CLIENT_PORT + server)
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            // Best effort: a server that has ended by itself is fine, too.
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}

fn is_leader(mode: &String) -> bool {
    mode == "leader"
}

fn require_installed() -> Result<(), EnsembleError> {
    if !Path::new(JAR).exists() {
        return Err(EnsembleError::NotInstalled(JAR));
    }
    let version = Command::new("java")
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match version {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(EnsembleError::NotInstalled("java"))
        }
        Err(source) => Err(system("run java")(source)),
    }
}

/// An address of the loopback network that nobody else uses: 127.p.p.n, of our process id and a running number. `port` is
/// free there.
pub(crate) fn free_address(port: u16) -> io::Result<Ipv4Addr> {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::new(127, high, low, number);
        match TcpListener::bind((address, port)) {
            Ok(_) => return Ok(address),
            Err(error) if number == u8::MAX => return Err(error),
            // Another process with the same low bytes in its id, or somebody who listens on all addresses.
            Err(_) => {}
        }
    }
}

fn write_config(dir: &Path, address: Ipv4Addr, server: u16, tick: Duration) -> io::Result<()> {
    let home = dir.join(server.to_string());
    let data = home.join("data");
    fs::create_dir_all(&data)?;
    fs::write(data.join("myid"), format!("{}\n", server + 1))?;
    let mut text = format!(
        "tickTime={}\ninitLimit=100\nsyncLimit=5\ndataDir={}\nclientPortAddress={address}\nclientPort={}\n\
         maxClientCnxns=0\n4lw.commands.whitelist=srvr,cons,conf,dump\n",
        tick.as_millis(),
        data.display(),
        CLIENT_PORT + server,
    );
    for peer in SERVERS {
        let line = format!("server.{}={address}:{}:{}\n", peer + 1, 2888 + peer, 3888 + peer);
        text.push_str(&line);
    }
    fs::write(home.join("zoo.cfg"), text)
}

fn system(what: &'static str) -> impl Fn(io::Error) -> EnsembleError {
    move |source| EnsembleError::System { what, source }
}
