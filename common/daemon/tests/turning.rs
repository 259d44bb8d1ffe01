//! The loop with a real clock, a real runtime and a socket in systemd's place.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says by panicking that it failed"
)]

use std::ops::ControlFlow;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use headship_core::time::Time;
use headship_daemon::Exit;
use headship_daemon::clock;
use headship_daemon::log::Stands;
use headship_daemon::notify::Notifier;
use headship_daemon::run::{self, Program};
use headship_daemon::signal::Signal;

/// Longer than anything here takes, however busy the machine.
const LIMIT: Duration = Duration::from_secs(20);

enum Input {
    Signal(#[expect(dead_code, reason = "no signal is sent here")] Signal),
    Tick,
    Hang,
    End,
}

impl From<Signal> for Input {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

enum Action {
    Hang,
    Note(&'static str),
    End,
}

/// A daemon that does what its inputs say.
struct Puppet {
    inputs: tokio::sync::mpsc::UnboundedReceiver<Input>,
    /// Whether there is always one more input.
    flood: bool,
    actions: Vec<Action>,
    due: Option<Time>,
    period: Duration,
    timeouts: u32,
    timeouts_until_end: u32,
    notes: mpsc::Sender<String>,
    /// What a hanging action waits for.
    release: mpsc::Receiver<()>,
    status: String,
}

/// The strings that a puppet hangs on.
struct Strings {
    inputs: tokio::sync::mpsc::UnboundedSender<Input>,
    notes: mpsc::Receiver<String>,
    release: mpsc::Sender<()>,
}

fn puppet() -> (Puppet, Strings) {
    let (input, inputs) = tokio::sync::mpsc::unbounded_channel();
    let (note, notes) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let puppet = Puppet {
        inputs,
        flood: false,
        actions: Vec::new(),
        due: None,
        period: Duration::from_millis(2),
        timeouts: 0,
        timeouts_until_end: u32::MAX,
        notes: note,
        release: released,
        status: "standby: hn0 is active".to_owned(),
    };
    (puppet, Strings { inputs: input, notes, release })
}

impl Program for Puppet {
    type Input = Input;
    type Action = Action;

    async fn next(&mut self) -> Input {
        if self.flood {
            return Input::Tick;
        }
        match self.inputs.recv().await {
            Some(input) => input,
            None => std::future::pending().await,
        }
    }

    fn handle(&mut self, now: Time, input: Input) {
        assert!(now <= clock::now());
        match input {
            Input::Signal(_) | Input::Tick => self.actions.push(Action::Note("tick")),
            Input::Hang => self.actions.push(Action::Hang),
            Input::End => {
                self.actions.extend([Action::Note("first"), Action::Note("second"), Action::End]);
            }
        }
        self.actions.reverse();
    }

    fn handle_timeout(&mut self, now: Time) {
        self.timeouts += 1;
        if self.timeouts >= self.timeouts_until_end {
            self.actions.push(Action::End);
        }
        self.due = self.due.map(|_| now.after(self.period));
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    fn carry_out(&mut self, action: Action) -> ControlFlow<Exit> {
        match action {
            Action::Note(note) => self.notes.send(note.to_owned()).unwrap(),
            Action::Hang => {
                self.notes.send("hangs".to_owned()).unwrap();
                self.release.recv().unwrap();
            }
            Action::End => return ControlFlow::Break(Exit::Refused),
        }
        ControlFlow::Continue(())
    }

    fn status(&self) -> String {
        self.status.clone()
    }

    fn stands(&self) -> Stands {
        Stands::default()
    }

    fn show(&mut self, status: &str) {
        self.notes.send(format!("shown: {status}")).unwrap();
    }
}

fn turn(mut puppet: Puppet, notifier: Notifier) -> thread::JoinHandle<Exit> {
    thread::spawn(move || run::block_on(run::run(&mut puppet, &notifier)).unwrap().unwrap())
}

fn listen(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn receive(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

#[test]
fn the_watchdog_is_fed_while_the_loop_turns_and_not_while_an_action_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = listen(&path);
    let (puppet, strings) = puppet();
    let watchdog = Duration::from_millis(60);
    let daemon = turn(puppet, Notifier::new(Some(path.as_os_str()), Some(watchdog)).unwrap());

    // Nothing happens, and still it shows that it lives.
    let first: Vec<String> = (0..8).map(|_| receive(&socket).unwrap()).collect();
    assert_eq!(first[0], "READY=1");
    assert!(first.contains(&"STATUS=standby: hn0 is active".to_owned()), "{first:?}");
    assert_eq!(first.iter().filter(|message| *message == "WATCHDOG=1").count(), 6, "{first:?}");

    strings.inputs.send(Input::Hang).unwrap();
    while strings.notes.recv_timeout(LIMIT).unwrap() != "hangs" {}
    socket.set_nonblocking(true).unwrap();
    while receive(&socket).is_some() {}
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(watchdog * 5)).unwrap();
    assert_eq!(receive(&socket), None, "a task of its own would go on");

    strings.release.send(()).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(receive(&socket).unwrap(), "WATCHDOG=1");

    strings.inputs.send(Input::End).unwrap();
    assert_eq!(daemon.join().unwrap(), Exit::Refused);
    let rest: Vec<String> = std::iter::from_fn(|| {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        receive(&socket)
    })
    .collect();
    assert_eq!(rest.last().unwrap(), "STOPPING=1");
}

#[test]
fn all_that_one_input_decides_is_carried_out_in_order_before_the_daemon_ends() {
    let (puppet, strings) = puppet();
    let daemon = turn(puppet, Notifier::new(None, None).unwrap());
    strings.inputs.send(Input::End).unwrap();
    assert_eq!(daemon.join().unwrap(), Exit::Refused);
    let notes: Vec<String> = strings.notes.iter().collect();
    assert_eq!(notes, ["shown: standby: hn0 is active", "first", "second", "shown: has ended"]);
}

#[test]
fn a_flood_of_inputs_does_not_hold_up_timeouts() {
    let (mut puppet, _strings) = puppet();
    puppet.flood = true;
    puppet.due = Some(Time::default());
    puppet.timeouts_until_end = 20;
    let start = Instant::now();
    assert_eq!(turn(puppet, Notifier::new(None, None).unwrap()).join().unwrap(), Exit::Refused);
    // Twenty times two milliseconds.
    assert!(start.elapsed() >= Duration::from_millis(38));
    assert!(start.elapsed() < LIMIT);
}

#[test]
fn without_a_watchdog_an_idle_loop_is_not_woken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = listen(&path);
    let (puppet, strings) = puppet();
    let daemon = turn(puppet, Notifier::new(Some(path.as_os_str()), None).unwrap());
    strings.inputs.send(Input::Tick).unwrap();
    strings.inputs.send(Input::End).unwrap();
    daemon.join().unwrap();
    let said: Vec<String> = (0..3).map(|_| receive(&socket).unwrap()).collect();
    assert_eq!(said, ["READY=1", "STATUS=standby: hn0 is active", "STOPPING=1"]);
}
