//! The lab's HA service: a real network server that tells systemd when it serves, and the shared log when it lives.
//!
//! What it does wrong, it does on request: a file that a test can change while it runs.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use serde::Deserialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::error::{LabError, Result, Tried};
use super::service_log::{What, Writer};

/// How often the log hears that the service is alive; a kill is known no more exactly than this.
pub(super) const BEAT: Duration = Duration::from_millis(20);

/// How long a client may take to ask.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);

/// Which service to be.
#[derive(Clone, Debug)]
pub struct Service {
    /// Name, for the log.
    pub name: String,
    /// Address or host name to serve at.
    pub address: String,
    /// Port to serve at.
    pub port: u16,
    /// Host name, for the log.
    pub host: String,
    /// Directory of the shared log.
    pub log_dir: PathBuf,
    /// Directory of the behaviour files.
    pub control_dir: PathBuf,
    /// A process that it does not outlive: where no host's power is taken, a test that is killed would leave it behind.
    pub owner: Option<Pid>,
}

/// How to misbehave: `CONTROL_DIR/NAME.conf`, TOML, every key optional. Read anew whenever it matters.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// Serves only after this long.
    pub start_delay_ms: u64,
    /// Ends with a failure instead of serving.
    pub fail_start: bool,
    /// Ends only this long after it was told to stop.
    pub stop_delay_ms: u64,
    /// Does not stop when told so.
    pub refuse_term: bool,
    /// Ends with a failure this long after its start.
    pub die_after_ms: Option<u64>,
    /// Takes so much memory, in mebibytes, and uses it.
    pub eat_mib: usize,
    /// Looks at this file, once, beside all else.
    pub looks_at: Option<PathBuf>,
    /// Accepts connections and never answers.
    pub silent: bool,
    /// Answers HTTP requests with this status instead of 200.
    pub http_status: Option<u16>,
}

/// How a service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    InOrder,
    /// It was asked to fail.
    Failed,
}

impl Service {
    /// Serves until it is told to stop, or to fail.
    ///
    /// # Errors
    /// The log cannot be written, the port is taken, the behaviour file has an unknown key.
    pub fn run(&self) -> Result<Ended> {
        let began = Instant::now();
        let mut log = Writer::start(&self.log_dir, &self.host, &self.name, std::process::id())?;
        let stop = stop_orders()?;
        let behaviour = self.behaviour()?;
        if behaviour.fail_start {
            return end(&mut log, Ended::Failed);
        }
        if beat_until(&log, &stop, began + Duration::from_millis(behaviour.start_delay_ms))? {
            return end(&mut log, Ended::InOrder);
        }
        self.serve()?;
        notify("READY=1")?;
        log.write(What::Ready)?;
        let mut eaten: Vec<u8> = Vec::new();
        let mut looks = false;
        loop {
            let told = beat_until(&log, &stop, Instant::now())?;
            let behaviour = self.behaviour()?;
            // Not zero, which would be memory in name only.
            eaten.resize(behaviour.eat_mib << 20, 1);
            std::hint::black_box(&eaten);
            if let Some(file) = behaviour.looks_at.filter(|_| !looks) {
                looks = true;
                // What it finds there does not matter: it may never be told.
                thread::spawn(move || std::fs::metadata(file).ok());
            }
            if told {
                log.write(What::Term)?;
                if !behaviour.refuse_term {
                    beat_until(
                        &log,
                        &stop,
                        Instant::now() + Duration::from_millis(behaviour.stop_delay_ms),
                    )?;
                    return end(&mut log, Ended::InOrder);
                }
            }
            if behaviour
                .die_after_ms
                .is_some_and(|after| began.elapsed() >= Duration::from_millis(after))
            {
                return end(&mut log, Ended::Failed);
            }
            if self.owner.is_some_and(|owner| test_kill_process(owner).is_err()) {
                return end(&mut log, Ended::InOrder);
            }
        }
    }

    fn behaviour(&self) -> Result<Behaviour> {
        let file = self.control_dir.join(&self.name).with_extension("conf");
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Behaviour::default());
            }
            Err(error) => return Err(error).tried(|| format!("read `{}`", file.display())),
        };
        toml::from_str(&text).map_err(|error| LabError::Syntax {
            file,
            line: 1,
            why: error.to_string(),
        })
    }

    fn serve(&self) -> Result<()> {
        let listener = TcpListener::bind((self.address.as_str(), self.port))
            .tried(|| format!("serve at `{}:{}`", self.address, self.port))?;
        let service = self.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let service = service.clone();
                // A client that hangs up early is its own concern.
                thread::spawn(move || service.answer(&client).ok());
            }
        });
        Ok(())
    }

    fn answer(&self, client: &TcpStream) -> std::io::Result<()> {
        client.set_read_timeout(Some(CLIENT_LIMIT))?;
        let mut asked = BufReader::new(client).lines();
        while asked.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let behaviour = self.behaviour().map_err(std::io::Error::other)?;
        if behaviour.silent {
            // Until the client gives up.
            asked.next().transpose()?;
            return Ok(());
        }
        let status = behaviour.http_status.unwrap_or(200);
        let body = format!("{} on {}\n", self.name, self.host);
        let mut to = client;
        write!(
            to,
            "HTTP/1.1 {status} Lab\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

fn end(log: &mut Writer, how: Ended) -> Result<Ended> {
    log.write(What::Stop)?;
    Ok(how)
}

/// Beats until `when`, at least once; true as soon as an order to stop comes.
fn beat_until(log: &Writer, stop: &Receiver<()>, when: Instant) -> Result<bool> {
    loop {
        match stop.recv_timeout(BEAT) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(true),
            Err(RecvTimeoutError::Timeout) => log.beat()?,
        }
        if Instant::now() >= when {
            return Ok(false);
        }
    }
}

pub(crate) fn stop_orders() -> Result<Receiver<()>> {
    let (tell, told) = channel();
    let mut signals = Signals::new([SIGTERM, SIGINT]).tried(|| "listen for signals".to_owned())?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    Ok(told)
}

/// Tells systemd, if it asked to be told.
pub(crate) fn notify(message: &str) -> Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let sent = UnixDatagram::unbound()
        .and_then(|from| from.send_to(message.as_bytes(), PathBuf::from(&socket)));
    sent.map(drop).tried(|| format!("notify systemd at `{}`", socket.display()))
}
