//! What zookeeper-client uses of the crate async-io, on tokio.
//!
//! The client library waits with async-io and async-net, whose reactor is a thread of its own: every message and every
//! tick of a session would wake two threads, half of what a daemon at rest costs. `Cargo.toml` of the workspace puts
//! this crate and its neighbour in their place, so that a daemon has one reactor.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use nix::errno::Errno;
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
    /// set again. A timer of the kernel that repeats itself wakes it once.
    Ticks(AsyncFd<Ticks>),
    /// Where no descriptor is left for that.
    Repeated(Pin<Box<Sleep>>, Duration),
}

struct Ticks(TimerFd);

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

    /// Ends each time that so much time has passed. Points that nobody awaited are left out.
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
        // Zero would disarm it.
        let period = TimeSpec::from_duration(period.max(Duration::from_nanos(1)));
        timer.set(Expiration::Interval(period), TimerSetTimeFlags::empty())?;
        AsyncFd::with_interest(Self(timer), Interest::READABLE)
    }
}

fn poll_tick(ticks: &AsyncFd<Ticks>, context: &mut Context<'_>) -> Poll<()> {
    loop {
        // An error would be that the runtime is ending: nobody waits any more.
        let Ok(mut readable) = ready!(ticks.poll_read_ready(context)) else { return Poll::Pending };
        match readable.get_inner().0.wait() {
            Err(Errno::EAGAIN | Errno::EINTR) => readable.clear_ready(),
            _ticked => {
                // It is read empty; to find that out by trying would cost another call at each tick.
                readable.clear_ready();
                return Poll::Ready(());
            }
        }
    }
}

impl AsRawFd for Ticks {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
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
