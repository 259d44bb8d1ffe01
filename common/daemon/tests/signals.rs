//! Signals reach the loop as inputs. In a process of its own, as every loop of a process would get them.

#![expect(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

use std::ops::ControlFlow;

use headship_core::time::Time;
use headship_daemon::Exit;
use headship_daemon::log::Stands;
use headship_daemon::notify::Notifier;
use headship_daemon::run::{self, Program};
use headship_daemon::signal::Signal;
use nix::sys::signal::{self, Signal as Send};
use nix::unistd::Pid;

/// Sends itself one signal after the other, and ends with the last.
struct Sender {
    to_send: Vec<Send>,
    received: Vec<Signal>,
}

impl Program for Sender {
    type Input = Signal;
    type Action = Option<Send>;

    async fn next(&mut self) -> Signal {
        std::future::pending().await
    }

    fn handle(&mut self, _now: Time, signal: Signal) {
        self.received.push(signal);
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn poll_action(&mut self) -> Option<Option<Send>> {
        if self.received.len() == 3 {
            return Some(None);
        }
        // The next one only when the last one has come: signals of different numbers have no order.
        let sent = 3 - self.to_send.len();
        (sent == self.received.len()).then(|| self.to_send.pop())
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn carry_out(&mut self, action: Option<Send>) -> ControlFlow<Exit> {
        match action {
            Some(signal) => {
                signal::kill(Pid::this(), signal).unwrap();
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(Exit::Ok),
        }
    }

    fn status(&self) -> String {
        String::new()
    }

    fn stands(&self) -> Stands {
        Stands::default()
    }

    fn show(&mut self, _status: &str) {}
}

#[test]
fn each_signal_reaches_the_program_as_an_input() {
    let to_send = vec![Send::SIGTERM, Send::SIGINT, Send::SIGHUP];
    let mut sender = Sender { to_send, received: Vec::new() };
    let notifier = Notifier::new(None, None).unwrap();
    assert_eq!(run::block_on(run::run(&mut sender, &notifier)).unwrap().unwrap(), Exit::Ok);
    assert_eq!(sender.received, [Signal::HangUp, Signal::Interrupt, Signal::Terminate]);
}
