//! The loop of a daemon: wait for an input, a point of time or a signal; let the root machine decide; carry out at once
//! what it decided; tell systemd and the status file.
//!
//! The loop decides nothing. It shows systemd that it is alive only when it has turned, so a machine or an executor that
//! hangs is noticed: the watchdog is not fed by a task of its own.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use headship_core::time::Time;

use crate::Exit;
use crate::clock::{self, Timer};
use crate::log::{self, Stands};
use crate::notify::Notifier;
use crate::signal::{Signal, Signals};

/// How often an unchanged status is shown again: its age tells whether the daemon is alive.
pub const STATUS_PERIOD: Duration = Duration::from_secs(5);

/// How long what blocks a thread may take to end with the daemon.
const BLOCKED_LIMIT: Duration = Duration::from_secs(1);

/// What the status file of a daemon says when it has ended by itself: its last sentence would be taken for the present.
const ENDED: &str = "has ended";

/// A daemon: its root machine, and the executors of what that decides.
///
/// The four verbs of the root machine are passed through; `next` and `carry_out` are the world around it.
pub trait Program {
    /// All that can come in: events of the quorum, outcomes of drivers, signals. One closed enum in each program.
    type Input: From<Signal>;
    /// What the root machine wants done.
    type Action;

    /// The next input from the world. It is dropped whenever time or a signal comes first, so it must lose nothing when
    /// it is dropped while it waits (a channel's `recv` is such a one).
    fn next(&mut self) -> impl Future<Output = Self::Input>;

    /// Takes an input; `now` was read just before.
    fn handle(&mut self, now: Time, input: Self::Input);

    /// Lets time pass; `now` was read just before. Called once at the start, too.
    fn handle_timeout(&mut self, now: Time);

    /// What is to be done next, if anything.
    fn poll_action(&mut self) -> Option<Self::Action>;

    /// When `handle_timeout` is due.
    fn poll_timeout(&self) -> Option<Time>;

    /// Does it, or has it begun: it must not wait for anything. Its outcome comes back as an input. `Break` ends the
    /// daemon.
    fn carry_out(&mut self, action: Self::Action) -> ControlFlow<Exit>;

    /// What the daemon is doing and why, in one sentence.
    fn status(&self) -> String;

    /// What each line of its log tells beside its sentence.
    fn stands(&self) -> Stands;

    /// Shows the status on this host, beside `systemctl status`: called when it has changed, and every
    /// [`STATUS_PERIOD`].
    fn show(&mut self, status: &str);
}

/// Runs `future` on a runtime of this thread.
///
/// # Errors
///
/// The process has no file descriptor left.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    // A name that is being looked up, or a disk that hangs, must not keep the next process of its kind waiting.
    runtime.shutdown_timeout(BLOCKED_LIMIT);
    Ok(output)
}

/// Runs a daemon until it ends itself.
///
/// # Errors
///
/// The process has no file descriptor left.
pub async fn run<P: Program>(program: &mut P, notifier: &Notifier) -> io::Result<Exit> {
    let mut timer = Timer::new()?;
    let mut signals = Signals::new()?;
    let mut herald = Herald::default();
    program.handle_timeout(clock::now());
    let exit = loop {
        if let ControlFlow::Break(exit) = carry_out_all(program) {
            break exit;
        }
        herald.turned(program, notifier, clock::now());
        let due = earliest(program.poll_timeout(), herald.due(notifier));
        let input = tokio::select! {
            signal = signals.next() => Some(signal.into()),
            () = timer.until(due) => None,
            input = program.next() => Some(input),
        };
        // Time first, whatever woke us: a flood of inputs must not delay D.
        let now = clock::now();
        if program.poll_timeout().is_some_and(|due| due <= now) {
            program.handle_timeout(now);
            if let ControlFlow::Break(exit) = carry_out_all(program) {
                break exit;
            }
        }
        if let Some(input) = input {
            program.handle(clock::now(), input);
        }
    };
    notifier.stopping();
    program.show(ENDED);
    Ok(exit)
}

fn carry_out_all<P: Program>(program: &mut P) -> ControlFlow<Exit> {
    log::stand(program.stands());
    while let Some(action) = program.poll_action() {
        program.carry_out(action)?;
    }
    ControlFlow::Continue(())
}

fn earliest(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Tells systemd and the status file how the daemon is.
#[derive(Debug, Default)]
struct Herald {
    ready: bool,
    status: String,
    shown: Option<Time>,
    pinged: Option<Time>,
}

impl Herald {
    /// The loop has turned: everything decided is carried out or begun.
    fn turned<P: Program>(&mut self, program: &mut P, notifier: &Notifier, now: Time) {
        let is_due = |last: Option<Time>, period: Duration| {
            last.is_none_or(|last| now >= last.after(period))
        };
        if !self.ready {
            self.ready = notifier.ready();
        }
        // Together with whatever else woke the loop, if most of its time has passed: a thread at rest is dear to wake.
        if notifier.ping_period().is_some_and(|period| is_due(self.pinged, period * 2 / 3)) {
            notifier.ping();
            self.pinged = Some(now);
        }
        let status = program.status();
        if status != self.status || is_due(self.shown, STATUS_PERIOD) {
            notifier.status(&status);
            program.show(&status);
            self.status = status;
            self.shown = Some(now);
        }
    }

    /// When the loop has to turn even if nothing happens.
    fn due(&self, notifier: &Notifier) -> Option<Time> {
        let ping = notifier.ping_period().zip(self.pinged).map(|(period, last)| last.after(period));
        earliest(ping, self.shown.map(|last| last.after(STATUS_PERIOD)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A program that only has a status, and counts how often it is shown.
    struct Idle {
        status: &'static str,
        shown: u32,
    }

    impl Program for Idle {
        type Input = Signal;
        type Action = ();

        async fn next(&mut self) -> Signal {
            std::future::pending().await
        }
        fn handle(&mut self, _now: Time, _input: Signal) {}
        fn handle_timeout(&mut self, _now: Time) {}
        fn poll_action(&mut self) -> Option<()> {
            None
        }
        fn poll_timeout(&self) -> Option<Time> {
            None
        }
        fn carry_out(&mut self, (): ()) -> ControlFlow<Exit> {
            ControlFlow::Continue(())
        }
        fn status(&self) -> String {
            self.status.to_owned()
        }
        fn stands(&self) -> Stands {
            Stands::default()
        }
        fn show(&mut self, _status: &str) {
            self.shown += 1;
        }
    }

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_status_is_shown_when_it_changes_and_again_after_its_period() {
        let mut idle = Idle { status: "a", shown: 0 };
        let notifier = Notifier::new(None, None).unwrap();
        let mut herald = Herald::default();
        for (millis, status, shown) in
            [(0, "a", 1), (4999, "a", 1), (5000, "a", 2), (5001, "b", 3), (10_000, "b", 3)]
        {
            idle.status = status;
            herald.turned(&mut idle, &notifier, at(millis));
            assert_eq!(idle.shown, shown, "at {millis}");
        }
        assert_eq!(herald.due(&notifier), Some(at(10_001)));
    }

    #[test]
    fn the_loop_wakes_for_the_watchdog_two_fifths_of_its_time_after_the_last_sign() {
        let mut idle = Idle { status: "a", shown: 0 };
        let notifier = Notifier::new(None, Some(Duration::from_millis(750))).unwrap();
        let mut herald = Herald::default();
        herald.turned(&mut idle, &notifier, at(100));
        assert_eq!(herald.due(&notifier), Some(at(400)));
        // Turning for another reason pushes it away only with a sign, which is given when most of that time has passed.
        herald.turned(&mut idle, &notifier, at(299));
        assert_eq!(herald.due(&notifier), Some(at(400)));
        herald.turned(&mut idle, &notifier, at(300));
        assert_eq!(herald.due(&notifier), Some(at(600)));
    }

    #[test]
    fn ready_is_said_until_it_was_heard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let notifier = Notifier::new(Some(path.as_os_str()), None).unwrap();
        let mut idle = Idle { status: "a", shown: 0 };
        let mut herald = Herald::default();
        herald.turned(&mut idle, &notifier, at(0));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        herald.turned(&mut idle, &notifier, at(1));
        herald.turned(&mut idle, &notifier, at(2));
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        assert!(socket.recv(&mut buffer).is_err(), "said once");
    }
}
