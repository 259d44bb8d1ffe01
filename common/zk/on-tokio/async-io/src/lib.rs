//! What zookeeper-client uses of the crate async-io, on tokio.
//!
//! The client library waits with async-io and async-net, whose reactor is a thread of its own: every message and every
//! tick of a session would wake two threads, half of what a daemon at rest costs. `Cargo.toml` of the workspace puts
//! this crate and its neighbour in their place, so that a daemon has one reactor.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Sleep, sleep, sleep_until};

/// Ends at a point of time, once or again and again.
#[derive(Debug)]
pub struct Timer(Kind);

enum Kind {
    Never,
    Once(Pin<Box<Sleep>>),
    /// tokio's own interval wakes a thread at rest three times for each tick: to look closer, to tick, and because it is
    /// set again. A timer of the kernel wakes it once.
    Ticks(AsyncFd<Ticks>),
    /// Where no descriptor is left for that.
    Repeated(Pin<Box<Sleep>>, Duration),
}

/// The client looks at its clock at each tick, and has something to do at two points only: nothing was sent for three ticks
/// (it sends a ping), or nothing came for eight (the connection is lost). All other ticks would wake a thread for nothing,
/// which was a third of what a daemon at rest costs; they are left out.
struct Ticks {
    timer: TimerFd,
    period: Duration,
    /// When it last ticked, or was made.
    ticked: Instant,
    /// What the timer is set to.
    set: Option<Instant>,
}

/// After how many ticks without a byte sent the client has something to do: `reset_timeout` in its session.
const PING_TICKS: u32 = 3;
/// And without a byte received.
const SILENT_TICKS: u32 = 8;
/// The client reads its clock a moment after the bytes went through, and does nothing if it is asked a moment too early.
const MOMENT: Duration = Duration::from_millis(1);

/// When bytes last went through this thread's connection.
#[derive(Clone, Copy)]
struct Used {
    sent: Instant,
    received: Instant,
}

thread_local! {
    /// A daemon has one connection. Where a thread has more, each puts off the others' ticks, up to the time in which a
    /// connection is found to be lost.
    static USED: Cell<Option<Used>> = const { Cell::new(None) };
}

/// A connection was made: ticks count from now.
pub fn opened() {
    let now = Instant::now();
    USED.set(Some(Used { sent: now, received: now }));
}

/// Bytes were sent.
pub fn sent() {
    USED.set(USED.get().map(|used| Used { sent: Instant::now(), ..used }));
}

/// Bytes were received.
pub fn received() {
    USED.set(USED.get().map(|used| Used { received: Instant::now(), ..used }));
}

impl Timer {
    /// Never ends.
    pub fn never() -> Self {
        Self(Kind::Never)
    }

    /// Ends once this time has passed.
    pub fn after(duration: Duration) -> Self {
        Self(Kind::Once(Box::pin(sleep(duration))))
    }

    /// Ends at this point.
    pub fn at(point: Instant) -> Self {
        Self(Kind::Once(Box::pin(sleep_until(point.into()))))
    }

    /// Ends each time that so much time has passed. Points that nobody awaited are left out, and those at which the client
    /// would find nothing to do.
    pub fn interval(period: Duration) -> Self {
        match Ticks::every(period) {
            Ok(ticks) => Self(Kind::Ticks(ticks)),
            Err(_no_descriptor_left) => Self(Kind::Repeated(Box::pin(sleep(period)), period)),
        }
    }
}

impl Future for Timer {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Instant> {
        match &mut self.0 {
            Kind::Never => return Poll::Pending,
            Kind::Once(sleep) => ready!(sleep.as_mut().poll(context)),
            Kind::Ticks(ticks) => ready!(poll_tick(ticks, context)),
            Kind::Repeated(sleep, period) => {
                ready!(sleep.as_mut().poll(context));
                sleep.as_mut().reset(tokio::time::Instant::now() + *period);
            }
        }
        Poll::Ready(Instant::now())
    }
}

impl Ticks {
    #[expect(
        deprecated,
        reason = "its replacement is unsafe; `Ticks` owns its descriptor and always names the same one"
    )]
    fn every(period: Duration) -> io::Result<AsyncFd<Self>> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let ticks = Self { timer, period, ticked: Instant::now(), set: None };
        AsyncFd::with_interest(ticks, Interest::READABLE)
    }

    /// When the next tick is due.
    fn due(&self) -> Instant {
        let earliest = self.ticked + self.period;
        let latest = self.ticked + self.period * SILENT_TICKS;
        USED.get().map_or(earliest, |used| {
            let ping = used.sent + self.period * PING_TICKS;
            let silent = used.received + self.period * SILENT_TICKS;
            (ping.min(silent) + MOMENT).clamp(earliest, latest)
        })
    }

    /// Has the timer wake its thread at `due`, if that is not what it is set to.
    fn set(&mut self, now: Instant, due: Instant) {
        if self.set == Some(due) {
            return;
        }
        // Zero would disarm it.
        let rest = due.saturating_duration_since(now).max(Duration::from_nanos(1));
        let rest = Expiration::OneShot(TimeSpec::from_duration(rest));
        // It fails for a time that is none only.
        self.set = self.timer.set(rest, TimerSetTimeFlags::empty()).is_ok().then_some(due);
    }
}

fn poll_tick(ticks: &mut AsyncFd<Ticks>, context: &mut Context<'_>) -> Poll<()> {
    loop {
        let now = Instant::now();
        let due = ticks.get_ref().due();
        if now >= due {
            let ticks = ticks.get_mut();
            ticks.ticked = now;
            return Poll::Ready(());
        }
        ticks.get_mut().set(now, due);
        // An error would be that the runtime is ending: nobody waits any more.
        let Ok(mut readable) = ready!(ticks.poll_read_ready_mut(context)) else {
            return Poll::Pending;
        };
        // Whether it had ended, or was set anew since, is told by the clock.
        let _ended = readable.get_inner_mut().timer.wait();
        readable.clear_ready();
    }
}

impl AsRawFd for Ticks {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Never => "Never",
            Self::Once(_) => "Once",
            Self::Ticks(_) | Self::Repeated(..) => "Ticks",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(10);

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// A timer that ticks at once, again and again, would be as wrong as one that never does.
    async fn ticks_four_times(timer: Timer, made: Instant) {
        let mut timer = pin!(timer);
        for _ in 0..4 {
            timeout(LONG, timer.as_mut()).await.expect("it ticks");
        }
        assert!(made.elapsed() >= SHORT * 4, "four ticks within {:?}", made.elapsed());
    }

    #[test]
    fn an_interval_ticks_again_and_again() {
        block_on(async {
            let made = Instant::now();
            ticks_four_times(Timer::interval(SHORT), made).await;
            let made = Instant::now();
            let repeated = Kind::Repeated(Box::pin(sleep(SHORT)), SHORT);
            ticks_four_times(Timer(repeated), made).await;
        });
    }

    #[test]
    fn ticks_that_nobody_awaited_come_once() {
        block_on(async {
            let begun = Instant::now();
            let mut timer = pin!(Timer::interval(SHORT));
            // What is waited for is that time passes while the thread, and so the reactor, stands still.
            std::thread::sleep(SHORT * 4 + SHORT / 2);
            timer.as_mut().await;
            let next = timer.await;
            assert!(next - begun >= SHORT * 5, "only one of four was left");
        });
    }

    #[test]
    fn ticks_come_when_the_client_has_something_to_do() {
        block_on(async {
            opened();
            let begun = Instant::now();
            let mut timer = pin!(Timer::interval(SHORT));
            let ping = timeout(LONG, timer.as_mut()).await.expect("nothing was sent for a while");
            assert!(ping >= begun + SHORT * PING_TICKS);
            sent();
            let sent_at = Instant::now();
            let ping = timeout(LONG, timer.as_mut()).await.expect("nothing was sent again");
            assert!(ping >= sent_at + SHORT * PING_TICKS);
            // From here on something is always sent, and nothing comes back.
            let received_at = Instant::now();
            received();
            let lost = timeout(LONG, async {
                let mut busy = tokio::time::interval(SHORT);
                loop {
                    tokio::select! {
                        tick = timer.as_mut() => break tick,
                        _ = busy.tick() => sent(),
                    }
                }
            });
            let lost = lost.await.expect("nothing was received for a while");
            assert!(lost >= received_at + SHORT * SILENT_TICKS);
        });
    }

    #[test]
    fn a_point_is_waited_for_and_never_is_never() {
        block_on(async {
            let begun = Instant::now();
            Timer::after(SHORT).await;
            Timer::at(begun + SHORT * 2).await;
            assert!(begun.elapsed() >= SHORT * 2 && begun.elapsed() < LONG);
            Timer::at(begun).await;
            timeout(SHORT, Timer::never()).await.unwrap_err();
        });
    }
}
