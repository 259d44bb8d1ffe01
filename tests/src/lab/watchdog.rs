//! A stand-in for a hardware watchdog, as the kernel of a test machine may have none: what stands at `/dev/watchdog0` of a host answers
//! as linux/watchdog.h says, and takes the host's power away once nobody has asked it to wait for the time that was set.
//!
//! It is a file of FUSE, served from outside of the host, so that it goes on when the host stands still. What it is not: it counts
//! from the moment of the opening whatever the options say, and knows no status and no pre-timeout.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::error::{LabError, Result};
use super::fuse::{self, Request, opcode};
use super::host::Host;

/// Where systemd finds it by itself.
const WATCHDOG: &str = "/dev/watchdog0";

const FILE: u32 = 0o100_600;

/// The requests of linux/watchdog.h that systemd makes.
mod ioctl {
    pub(super) const GETSUPPORT: u32 = 0x8028_5700;
    pub(super) const SETOPTIONS: u32 = 0x8004_5704;
    pub(super) const KEEPALIVE: u32 = 0x8004_5705;
    pub(super) const SETTIMEOUT: u32 = 0xc004_5706;
    pub(super) const GETTIMEOUT: u32 = 0x8004_5707;
}

/// What it counts.
#[derive(Debug)]
struct Counter {
    /// In whole seconds, as the hardware.
    timeout: u32,
    /// Since when nobody has asked it to wait, if it counts.
    since: Option<Instant>,
    /// Whether whoever closes it has said that it shall not count on.
    disarmed: bool,
}

impl Counter {
    fn new() -> Self {
        Self { timeout: 60, since: None, disarmed: false }
    }

    fn is_over(&self, now: Instant) -> bool {
        let timeout = Duration::from_secs(self.timeout.into());
        self.since.is_some_and(|since| now.duration_since(since) >= timeout)
    }

    fn hear(&mut self, now: Instant, request: &Request<'_>) -> Option<Vec<u8>> {
        match request.opcode {
            opcode::OPEN => {
                (self.since, self.disarmed) = (Some(now), false);
                // No handle, past the page cache.
                request.answer(&[&[0_u8; 8][..], &1_u32.to_ne_bytes(), &[0; 4]].concat())
            }
            opcode::IOCTL => self.asked(now, request),
            opcode::WRITE => {
                // Head of the request, then what is written: a `V` says that it is closed on purpose.
                let text = request.body.get(40..).unwrap_or_default();
                (self.since, self.disarmed) = (Some(now), text.contains(&b'V'));
                let written = u32::try_from(text.len()).unwrap_or_default();
                request.answer(&[written, 0].map(u32::to_ne_bytes).concat())
            }
            opcode::RELEASE => {
                self.since = self.since.filter(|_| !self.disarmed);
                request.answer(&[])
            }
            opcode::FLUSH => request.answer(&[]),
            _ => request.open_with(FILE).or_else(|| request.refuse(Errno::NOSYS)),
        }
    }

    fn asked(&mut self, now: Instant, request: &Request<'_>) -> Option<Vec<u8>> {
        let number = |from: usize| {
            let bytes = request.body.get(from..from + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let told = match number(12)? {
            ioctl::GETSUPPORT => {
                // Options (time-out may be set, pings count, the magic close), firmware, and a name.
                let mut told = [0x8180_u32, 1].map(u32::to_ne_bytes).concat();
                told.extend(b"headship-lab");
                told.resize(40, 0);
                told
            }
            ioctl::SETTIMEOUT => {
                (self.timeout, self.since) = (number(32)?.max(1), Some(now));
                self.timeout.to_ne_bytes().to_vec()
            }
            ioctl::GETTIMEOUT => self.timeout.to_ne_bytes().to_vec(),
            ioctl::KEEPALIVE | ioctl::SETOPTIONS => {
                self.since = Some(now);
                // systemd leaves no room for what nobody reads.
                Vec::new()
            }
            _ => return request.refuse(Errno::NOTTY),
        };
        // No result, no flags, nothing to be tried again; then what is told.
        request.answer(&[&[0_u8; 16][..], &told].concat())
    }
}

impl Host {
    /// Plugs a watchdog into the host, which is there until the host loses its power. It does nothing until somebody opens it.
    ///
    /// # Errors
    /// The host has no power, or its kernel knows no file systems of others.
    pub fn plug_watchdog(&self) -> Result<()> {
        let pid1 = self.pid1().ok_or_else(|| LabError::PoweredOff(self.name().to_owned()))?;
        self.run(&["touch", WATCHDOG])?;
        let host = self.clone();
        fuse::mount(pid1, WATCHDOG, FILE, move |device| {
            let counter = std::cell::RefCell::new(Counter::new());
            let goes_on = || fuse::lives(pid1) && !counter.borrow().is_over(Instant::now());
            let hear = |request: &Request<'_>| counter.borrow_mut().hear(Instant::now(), request);
            fuse::serve(device, goes_on, hear);
            if counter.borrow().is_over(Instant::now()) {
                // It may have lost its power meanwhile.
                host.power_off().ok();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuse::tests::request;
    use super::*;

    fn ask(counter: &mut Counter, now: Instant, command: u32, value: u32) -> Vec<u8> {
        let mut body = vec![0; 32];
        body[12..16].copy_from_slice(&command.to_ne_bytes());
        body.extend(value.to_ne_bytes());
        let bytes = request(opcode::IOCTL, &body);
        counter.hear(now, &Request::parse(&bytes).unwrap()).unwrap()
    }

    fn hear(counter: &mut Counter, now: Instant, opcode: u32, body: &[u8]) {
        let bytes = request(opcode, body);
        counter.hear(now, &Request::parse(&bytes).unwrap()).unwrap();
    }

    #[test]
    fn it_is_over_once_nobody_has_asked_it_to_wait_for_as_long_as_was_set() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut counter = Counter::new();
        assert!(!counter.is_over(begin + second * 3600), "nobody has opened it");
        hear(&mut counter, begin, opcode::OPEN, &[0; 8]);
        let told = ask(&mut counter, begin, ioctl::SETTIMEOUT, 2);
        assert_eq!(told[32..], 2_u32.to_ne_bytes());
        ask(&mut counter, begin + second, ioctl::KEEPALIVE, 0);
        assert!(!counter.is_over(begin + second * 2));
        assert!(counter.is_over(begin + second * 3));
    }

    #[test]
    fn it_counts_on_when_it_is_closed_unless_told_otherwise() {
        let (begin, minutes) = (Instant::now(), Duration::from_secs(120));
        for (last, over) in [(b'V', false), (b'1', true)] {
            let mut counter = Counter::new();
            hear(&mut counter, begin, opcode::OPEN, &[0; 8]);
            hear(&mut counter, begin, opcode::WRITE, &[&[0; 40][..], &[last]].concat());
            hear(&mut counter, begin, opcode::RELEASE, &[0; 24]);
            assert_eq!(counter.is_over(begin + minutes), over);
        }
    }

    #[test]
    fn what_it_does_not_know_it_refuses() {
        let mut counter = Counter::new();
        let told = ask(&mut counter, Instant::now(), 0x8004_5709, 0);
        assert_eq!(told[4..8], (-Errno::NOTTY.raw_os_error()).to_ne_bytes());
    }
}
