//! The lab's power distribution: a fence device that really takes a host's power away, and gives it back.
//!
//! It listens where the lab's network meets this machine, in a process of its own that lives as long as the lab. A
//! connection brings one line (`off hn0`, `on hn0`, `status hn0`, `list`, `monitor`) and gets the answer. What it does wrong,
//! it does on request: by a file that a test can change while it runs. What it was told and did, it writes down.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::wait_until;
use super::error::{LabError, Result, Tried};
use super::files::Sources;
use super::host::Host;
use super::place::{HOSTS, Place};
use super::service_log::now;
use super::{HA_UNITS, Lab, cgroup};

/// Port of the device, at the address that this machine has on the lab's network.
pub const PORT: u16 = 6230;

/// How long the device may take to listen when the lab comes up.
const START_LIMIT: Duration = Duration::from_secs(5);

/// How long a client may take to ask.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);

/// How long a host may take to have a PID 1.
const ON_LIMIT: Duration = Duration::from_secs(20);

/// How to misbehave: `power.conf` in the lab's state directory, TOML, every key optional. Read anew for each order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manner {
    /// Says that a host was switched off, and that it is off, and leaves it running.
    pub lies: bool,
    /// Takes orders and never answers.
    pub hangs: bool,
    /// Answers everything with an error.
    pub fails: bool,
    /// Answers, and acts, only after this long.
    pub delay_ms: u64,
}

/// A fragment of the suite's configuration that fences by this device. The lab puts its own network in place of 10.79.0.
pub const FENCE: &str = r#"
[[fence]]
name = "power"
method = "fence_agent"
agent = "fence_lab"
node.hn0 = { ip = "10.79.0.1", plug = "hn0" }
node.hn1 = { ip = "10.79.0.1", plug = "hn1" }
limit_ms = 10000
"#;

/// What the device did for somebody who asked: a line of its log, `ASKED DONE ORDER HOST ANSWER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obeyed {
    /// When it was asked, as [`now`] counts.
    pub asked: u64,
    /// When it was done, just before the answer; when it was asked, if it never answered.
    pub done: u64,
    /// What it was told: `off`, `on` or `status`.
    pub order: String,
    /// About which host.
    pub host: String,
    /// What it answered; `-` if nothing.
    pub answer: String,
}

impl Obeyed {
    /// Whether a host was switched off, or was off already.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.order == "off" && self.answer == "ok"
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().map(str::to_owned);
        Some(Self {
            asked: word()?.parse().ok()?,
            done: word()?.parse().ok()?,
            order: word()?,
            host: word()?,
            answer: word()?,
        })
    }
}

impl fmt::Display for Obeyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, done, order, host, answer } = self;
        write!(f, "{asked} {done} {order} {host} {answer}")
    }
}

/// [`FENCE`] for the lab at `place`, for whoever writes it to a host that is up.
#[must_use]
pub fn fence_fragment(place: &Place) -> String {
    FENCE.replace("10.79.0.", &place.network())
}

impl Lab {
    /// What the power distribution was told about hosts since `since`, and did, in the order in which it was done.
    #[must_use]
    pub fn power_log(&self, since: u64) -> Vec<Obeyed> {
        // Nobody asked it yet, if there is none.
        let text = fs::read_to_string(self.place.power_log_file()).unwrap_or_default();
        text.lines().filter_map(Obeyed::parse).filter(|it| it.asked >= since).collect()
    }

    /// Starts the device, in a control group of the lab's, so that it ends with it.
    pub(super) fn start_power(&self, sources: &Sources) -> Result<()> {
        let program = sources.find("target/release/lab-power");
        if !program.is_file() {
            return Err(LabError::NotBuilt { missing: vec![program.display().to_string()] });
        }
        let groups = cgroup::create(&format!("{}/power", self.place.prefix()))?;
        let said = self.place.dir().join("console/power");
        let said = File::create(&said).tried(|| format!("create `{}`", said.display()))?;
        let into_groups = "for group; do [ \"$group\" = -- ] && break; \
            echo $$ >\"$group/cgroup.procs\" || exit; shift; done; shift; exec \"$@\"";
        let mut command = Command::new("setsid");
        command.args(["--fork", "sh", "-c", into_groups, "power"]).args(groups).arg("--");
        command.arg(program).arg(self.place.dir()).arg(self.place.number().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        command.status().tried(|| "start `setsid`".to_owned())?;
        let address = self.place.own_address();
        wait_until("the lab's power distribution listens", START_LIMIT, || {
            TcpStream::connect((address.as_str(), PORT)).is_ok()
        })
    }

    /// Tells the power distribution how to misbehave from now on; the default makes it behave again.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_power_manner(&self, manner: &Manner) -> Result<()> {
        let file = self.place.power_file();
        let text =
            toml::to_string(manner).map_err(|error| LabError::Unavailable(error.to_string()))?;
        fs::write(&file, text).tried(|| format!("write `{}`", file.display()))
    }
}

/// Listens until the process ends, for the lab at `place`.
///
/// # Errors
/// The address is not there, or taken.
pub fn serve(place: &Place) -> Result<()> {
    let address = (place.own_address(), PORT);
    let listener = TcpListener::bind((address.0.as_str(), address.1))
        .tried(|| format!("serve at `{}:{PORT}`", address.0))?;
    let device = &Device { place, lied: Mutex::default() };
    thread::scope(|scope| {
        for client in listener.incoming().flatten() {
            // A client that hangs up early is its own concern.
            scope.spawn(move || device.answer(&client).ok());
        }
    });
    Ok(())
}

/// What it is told about one host.
const OF_HOSTS: [&str; 3] = ["off", "on", "status"];

#[derive(Debug)]
struct Device<'a> {
    place: &'a Place,
    /// Whom it said to be off, and is not.
    lied: Mutex<BTreeSet<String>>,
}

impl Device<'_> {
    fn answer(&self, client: &TcpStream) -> std::io::Result<()> {
        client.set_read_timeout(Some(CLIENT_LIMIT))?;
        let mut reader = BufReader::new(client);
        let mut order = String::new();
        reader.read_line(&mut order)?;
        let asked = now();
        let manner = manner(&self.place.power_file());
        thread::sleep(Duration::from_millis(manner.delay_ms));
        if manner.hangs {
            self.note(asked, &order, "-")?;
            client.set_read_timeout(None)?;
            // Until the client gives up.
            reader.read_line(&mut order)?;
            return Ok(());
        }
        let answer = self.obey(order.trim(), &manner).unwrap_or_else(|why| format!("error: {why}"));
        self.note(asked, &order, &answer)?;
        let mut to = client;
        to.write_all(format!("{answer}\n").as_bytes())
    }

    /// Writes down what is done about a host: before the answer, so that whoever goes by that comes later.
    fn note(&self, asked: u64, order: &str, answer: &str) -> std::io::Result<()> {
        let Some((order, host)) = order.trim().split_once(' ') else { return Ok(()) };
        if !OF_HOSTS.contains(&order) {
            return Ok(());
        }
        let (order, host, answer) = (order.to_owned(), host.to_owned(), answer.to_owned());
        let line = Obeyed { asked, done: now(), order, host, answer };
        let file = self.place.power_log_file();
        // One write: lines of several clients never mix.
        let mut log = OpenOptions::new().create(true).append(true).open(file)?;
        log.write_all(format!("{line}\n").as_bytes())
    }

    fn obey(&self, order: &str, manner: &Manner) -> std::result::Result<String, String> {
        if manner.fails {
            return Err("it fails, as it was told to".to_owned());
        }
        let (verb, name) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "monitor" => return Ok("ok".to_owned()),
            "list" => return Ok(HOSTS.map(|host| format!("{0},{0}", host.name)).join("\n")),
            verb if OF_HOSTS.contains(&verb) => {}
            _ => return Err(format!("no order `{verb}`")),
        }
        let host = Host::named(self.place, name).map_err(|error| error.to_string())?;
        let mut lied = self.lied.lock().unwrap_or_else(PoisonError::into_inner);
        if !manner.lies {
            lied.clear();
        }
        let done = match verb {
            "off" if manner.lies => {
                lied.insert(name.to_owned());
                Ok(())
            }
            "off" => host.power_off(),
            "on" => host.switch_on(),
            _ => return Ok(is_on(&host, lied.contains(name))),
        };
        match done {
            // It is as it shall be already.
            Err(LabError::PoweredOff(_) | LabError::PoweredOn(_)) | Ok(()) => Ok("ok".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A host that goes down by itself has lost its PID 1 some milliseconds before the last of its services.
fn is_on(host: &Host, lied: bool) -> String {
    let lives = || host.has_power() || HA_UNITS.into_iter().any(|unit| host.runs(unit));
    if !lied && lives() { "on" } else { "off" }.to_owned()
}

fn manner(file: &Path) -> Manner {
    let text = fs::read_to_string(file).unwrap_or_default();
    toml::from_str(&text).unwrap_or_default()
}

/// What the agent is told on its standard input: `key=value` lines, the last value of a key counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    action: String,
    plug: String,
    address: String,
    port: u16,
}

impl Told {
    fn parse(text: &str) -> Self {
        let mut told = Self { port: PORT, ..Self::default() };
        let mut node = String::new();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for (key, value) in lines.filter_map(|line| line.split_once('=')) {
            match key {
                "action" => value.clone_into(&mut told.action),
                "port" | "plug" => value.clone_into(&mut told.plug),
                "nodename" => value.clone_into(&mut node),
                "ip" | "ipaddr" => value.clone_into(&mut told.address),
                "ipport" => told.port = value.parse().unwrap_or(PORT),
                // Others are for other agents.
                _ => {}
            }
        }
        if told.plug.is_empty() {
            told.plug = node;
        }
        told
    }

    fn ask(&self, verb: &str) -> std::result::Result<String, String> {
        let connected = TcpStream::connect((self.address.as_str(), self.port));
        let asked = connected.and_then(|stream| {
            let mut to = &stream;
            to.write_all(format!("{verb} {}\n", self.plug).as_bytes())?;
            std::io::read_to_string(&stream)
        });
        let answer = asked.map_err(|error| format!("`{}`: {error}", self.address))?;
        match answer.trim_end().strip_prefix("error: ") {
            Some(why) => Err(why.to_owned()),
            None => Ok(answer.trim_end().to_owned()),
        }
    }

    fn becomes(&self, verb: &str) -> std::result::Result<Ended, String> {
        self.ask(verb)?;
        let mut said = String::new();
        let limit = if verb == "on" { ON_LIMIT } else { CLIENT_LIMIT };
        // What was done and verified, or not at all.
        wait_until(verb, limit, || {
            said = self.ask("status").unwrap_or_default();
            said == verb
        })
        .map_err(|_late| format!("{} is `{said}` after `{verb}`", self.plug))?;
        Ok(Ended { status: 0, said: String::new() })
    }
}

/// How the agent ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit status.
    pub status: u8,
    /// What it prints.
    pub said: String,
}

/// Does as a fence agent of ClusterLabs is told on its standard input.
///
/// # Errors
/// What it prints on its standard error, with exit status 1.
pub fn agent(input: &str) -> std::result::Result<Ended, String> {
    let told = Told::parse(input);
    let ok = |said: String| Ended { status: 0, said };
    match told.action.as_str() {
        "metadata" => Ok(ok(METADATA.to_owned())),
        "monitor" | "list" => told.ask(&told.action).map(ok),
        "status" => told.ask("status").map(|said| Ended {
            status: match said.as_str() {
                "on" => 0,
                "off" => 2,
                _ => 1,
            },
            said: format!("Status: {}", said.to_uppercase()),
        }),
        "off" | "on" => told.becomes(&told.action),
        // Also if nothing was said, as the library of the real agents has it.
        "reboot" | "" => told.becomes("off").and_then(|_| told.becomes("on")),
        other => Err(format!("no action `{other}`")),
    }
}

const METADATA: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_lab" shortdesc="Fence agent for headship's lab">
<parameters>
<parameter name="action" required="1"><content type="string" default="reboot"/></parameter>
<parameter name="ip" required="1"><content type="string"/></parameter>
<parameter name="ipport"><content type="integer" default="6230"/></parameter>
<parameter name="plug" required="1"><content type="string"/></parameter>
</parameters>
<actions>
<action name="on" automatic="0"/><action name="off"/><action name="reboot"/>
<action name="status"/><action name="list"/><action name="monitor"/><action name="metadata"/>
</actions>
</resource-agent>"#;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    #[test]
    fn the_last_value_counts_and_a_plug_comes_before_a_node() {
        let told = Told::parse(
            "# a comment\nip=10.0.0.1\nnodename=hn1\nport=hn0\nlogin=x\naction=status\naction=off\n",
        );
        let expected = Told {
            action: "off".to_owned(),
            plug: "hn0".to_owned(),
            address: "10.0.0.1".to_owned(),
            port: PORT,
        };
        assert_eq!(told, expected);
        assert_eq!(Told::parse("nodename=hn1\n").plug, "hn1");
    }

    /// A device that gives these answers, one a client, and what it hears before it gives each.
    fn asked(answers: &'static [&str]) -> (u16, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, heard) = channel();
        thread::spawn(move || {
            for answer in answers {
                let (mut client, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(&client).read_line(&mut line).unwrap();
                tell.send(line.trim_end().to_owned()).unwrap();
                client.write_all(format!("{answer}\n").as_bytes()).unwrap();
            }
        });
        (port, heard)
    }

    fn told(port: u16, action: &str) -> String {
        format!("ip=127.0.0.1\nipport={port}\nplug=hn0\naction={action}\n")
    }

    #[test]
    fn off_is_done_only_when_the_status_says_so() {
        let (port, heard) = asked(&["ok", "on", "off"]);
        assert_eq!(agent(&told(port, "off")).map(|ended| ended.status), Ok(0));
        let heard: Vec<String> = heard.try_iter().collect();
        assert_eq!(heard, ["off hn0", "status hn0", "status hn0"]);
    }

    #[test]
    fn status_is_told_by_the_exit() {
        for (answer, status) in [(&["on"], 0), (&["off"], 2), (&["odd"], 1)] {
            let (port, heard) = asked(answer);
            assert_eq!(agent(&told(port, "status")).map(|ended| ended.status), Ok(status));
            assert_eq!(heard.recv().as_deref(), Ok("status hn0"));
        }
    }

    #[test]
    fn a_line_of_the_devices_log_is_read_as_it_was_written() {
        for line in ["12 340 off hn0 ok", "12 13 status hn1 error: it fails, as it was told to"] {
            assert_eq!(Obeyed::parse(line).unwrap().to_string(), line);
        }
        assert_eq!(Obeyed::parse("12 340 off hn0"), None);
    }

    #[test]
    fn an_error_of_the_device_is_one_of_the_agent() {
        let (port, _heard) = asked(&["error: no power today"]);
        assert_eq!(agent(&told(port, "off")), Err("no power today".to_owned()));
        assert!(agent("action=dance\n").is_err());
    }
}
