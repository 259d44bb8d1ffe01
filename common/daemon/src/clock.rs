//! CLOCK_BOOTTIME: now, and waiting until a point of it.
//!
//! A tokio timer would not do: it counts on CLOCK_MONOTONIC, which stands still while the host is suspended, and the lease
//! does not.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use headship_core::time::Time;
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Now.
pub fn now() -> Time {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("every supported kernel has BOOTTIME");
    let micros = Duration::from(now).as_micros();
    Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Waits until points of CLOCK_BOOTTIME, one at a time.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<Fd>,
    /// What it is set to, until it has ended.
    set: Option<Time>,
}

/// What tokio needs to know of a timer.
#[derive(Debug)]
struct Fd(TimerFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// A timer of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The process has no file descriptor left.
    #[expect(
        deprecated,
        reason = "its replacement is unsafe; `Fd` owns its descriptor and always names the same one"
    )]
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let fd = TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?;
        Ok(Self { fd: AsyncFd::with_interest(Fd(fd), Interest::READABLE)?, set: None })
    }

    /// Waits until `due`, or for ever. It never ends early; it can be dropped and called again at any time.
    pub async fn until(&mut self, due: Option<Time>) {
        let Some(due) = due else { return std::future::pending().await };
        while now() < due {
            self.set(due);
            let mut ready = self.fd.readable().await.expect("the runtime outlives its timers");
            match ready.get_inner().0.wait() {
                Ok(()) => {
                    ready.clear_ready();
                    self.set = None;
                }
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ECANCELED) => ready.clear_ready(),
                Err(error) => unreachable!("reading a timer of our own: {error}"),
            }
        }
    }

    fn set(&mut self, due: Time) {
        if self.set == Some(due) {
            return;
        }
        self.set = Some(due);
        // Zero would disarm the timer; a point as early as that has passed in any case.
        let since_boot = Duration::from_micros(due.as_micros().max(1));
        let at = Expiration::OneShot(TimeSpec::from_duration(since_boot));
        let set = self.fd.get_ref().0.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME);
        set.expect("the timer is ours and the point within the range of the clock");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(future)
    }

    #[test]
    fn now_agrees_with_the_uptime_that_the_kernel_tells() {
        let before = now();
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
        let uptime = Time::default().after(Duration::from_secs_f64(seconds));
        // /proc/uptime is cut to hundredths of a second.
        assert!(before.before(Duration::from_millis(10)) <= uptime && uptime <= now());
    }

    #[test]
    fn a_wait_ends_at_its_point_and_never_before() {
        block_on(async {
            let mut timer = Timer::new().unwrap();
            for millis in [1, 20, 3] {
                let due = now().after(Duration::from_millis(millis));
                timer.until(Some(due)).await;
                assert!(now() >= due);
                assert!(now().since(due) < LONG, "late by {:?}", now().since(due));
            }
        });
    }

    #[test]
    fn a_point_in_the_past_is_over_at_once() {
        block_on(async {
            let start = now();
            let mut timer = Timer::new().unwrap();
            timer.until(Some(Time::default())).await;
            timer.until(Some(start)).await;
            assert!(now().since(start) < LONG);
        });
    }

    #[test]
    fn a_dropped_wait_does_not_end_the_next_one_early() {
        block_on(async {
            let mut timer = Timer::new().unwrap();
            let early = now().after(Duration::from_millis(5));
            tokio::select! {
                biased;
                () = timer.until(Some(early)) => panic!("it is not due yet"),
                () = std::future::ready(()) => {}
            }
            let due = now().after(Duration::from_millis(60));
            timer.until(Some(due)).await;
            assert!(now() >= due);
        });
    }

    #[test]
    fn the_latest_point_there_is_and_no_point_at_all_are_never() {
        block_on(async {
            let (mut never, mut latest, mut soon) =
                (Timer::new().unwrap(), Timer::new().unwrap(), Timer::new().unwrap());
            tokio::select! {
                () = never.until(None) => panic!("no point came"),
                () = latest.until(Some(Time::MAX)) => panic!("the end of time came"),
                () = soon.until(Some(now().after(Duration::from_millis(30)))) => {}
            }
        });
    }
}
