//! What a daemon tells systemd about itself: ready, its status, that it is alive, that it ends.
//!
//! Written here rather than taken from a crate, because it is sent from the loop that keeps the lease: it must not wait
//! for a full socket, as libraries do. What could not be sent is sent again later or replaced by what is newer.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to systemd, if it waits to hear.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// As systemd asked for in the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    ///
    /// # Errors
    ///
    /// The socket's address is none, or the process has no file descriptor left.
    pub fn from_environment() -> io::Result<Self> {
        let ours =
            env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let micros = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse::<u64>().ok());
        let watchdog = micros.filter(|&micros| ours && micros > 0).map(Duration::from_micros);
        Self::new(env::var_os("NOTIFY_SOCKET").as_deref(), watchdog)
    }

    /// To this socket (`@` begins an abstract one), with this time between two signs of life at most.
    ///
    /// # Errors
    ///
    /// The socket's address is none, or the process has no file descriptor left.
    pub fn new(address: Option<&OsStr>, watchdog: Option<Duration>) -> io::Result<Self> {
        let Some(address) = address else { return Ok(Self { socket: None, watchdog }) };
        let address = match address.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Some((socket, address)), watchdog })
    }

    /// How often the daemon has to show that it is alive: more than twice in what systemd waits, so that one sign may be late.
    pub fn ping_period(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog * 2 / 5)
    }

    /// It guards, or whatever its work is. False if that has to be said again.
    pub fn ready(&self) -> bool {
        self.send("READY=1")
    }

    /// The loop turns.
    pub fn ping(&self) -> bool {
        self.send("WATCHDOG=1")
    }

    /// It ends.
    pub fn stopping(&self) -> bool {
        self.send("STOPPING=1")
    }

    /// The one sentence of `systemctl status`.
    pub fn status(&self, sentence: &str) -> bool {
        self.send(&format!("STATUS={}", sentence.replace('\n', " ")))
    }

    fn send(&self, message: &str) -> bool {
        let Some((socket, address)) = &self.socket else { return true };
        socket.send_to_addr(message.as_bytes(), address).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_arrive_at_a_socket_in_the_file_system_and_at_an_abstract_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let plain = UnixDatagram::bind(&path).unwrap();
        let name = format!("headship-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let abstract_one = UnixDatagram::bind_addr(&address).unwrap();
        for (address, socket) in
            [(path.into_os_string(), plain), (format!("@{name}").into(), abstract_one)]
        {
            let notifier = Notifier::new(Some(&address), None).unwrap();
            assert!(notifier.ready() && notifier.status("one\nline") && notifier.ping());
            let received: Vec<String> = (0..3).map(|_| receive(&socket)).collect();
            assert_eq!(received, ["READY=1", "STATUS=one line", "WATCHDOG=1"]);
        }
    }

    #[test]
    fn a_listener_that_reads_nothing_does_not_hold_the_daemon_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _listener = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(Some(path.as_os_str()), None).unwrap();
        // A blocking socket would never come back from filling the queue.
        assert!((0..1_000_000).any(|_| !notifier.ping()));
    }

    #[test]
    fn without_systemd_there_is_nothing_to_say_and_nothing_fails() {
        let notifier = Notifier::new(None, None).unwrap();
        assert!(notifier.ready() && notifier.ping() && notifier.status("x") && notifier.stopping());
        assert_eq!(notifier.ping_period(), None);
    }
}
