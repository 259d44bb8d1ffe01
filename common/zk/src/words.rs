//! What a single server says of itself, by ZooKeeper's four-letter words: for people and for `headship check`.
//!
//! Nothing that keeps two headnodes apart depends on it: most installations allow only some of the words, and a server
//! that answers one may still be cut off from the others. The calls block; ask several servers from several threads.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// More than any server has to say; whoever sends more is no ZooKeeper.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// What a server says of itself. What it does not say, or is not allowed to, is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `leader`, `follower`, `observer` or `standalone` (words `srvr` and `mntr`).
    pub mode: Option<String>,
    /// Its `tickTime` (word `conf`).
    pub tick: Option<Duration>,
    /// Its `syncLimit`, in ticks (word `conf`).
    pub sync_limit: Option<u32>,
    /// The shortest session timeout that it grants (word `conf`).
    pub session_min: Option<Duration>,
    /// The longest session timeout that it grants (word `conf`).
    pub session_max: Option<Duration>,
}

/// Why a server says nothing of itself.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Its name has no address here.
    #[error("its name has no address here")]
    Unresolved(#[source] io::Error),
    /// It cannot be reached, or does not answer in time.
    #[error("it does not answer")]
    Unreachable(#[source] io::Error),
    /// It runs and is not part of a quorum.
    #[error("it runs, but serves nobody: it sees no majority of the servers")]
    NotServing,
}

/// Asks a server (`host:port`) for all that it may say; each of its answers may take `limit`.
///
/// # Errors
/// When it cannot be reached, or does not serve.
pub fn look(server: &str, limit: Duration) -> Result<Server, NoAnswer> {
    let srvr = ask(server, "srvr", limit)?;
    let mut found = Server { mode: field(&srvr, "Mode:"), ..Server::default() };
    if srvr.contains("not currently serving requests") {
        return Err(NoAnswer::NotServing);
    }
    if found.mode.is_none() {
        let mntr = ask(server, "mntr", limit)?;
        found.mode = field(&mntr, "zk_server_state");
    }
    let conf = ask(server, "conf", limit)?;
    let millis = |name| field(&conf, name)?.parse().ok().map(Duration::from_millis);
    found.tick = millis("tickTime=");
    found.session_min = millis("minSessionTimeout=");
    found.session_max = millis("maxSessionTimeout=");
    found.sync_limit = field(&conf, "syncLimit=").and_then(|text| text.parse().ok());
    Ok(found)
}

/// Asks a server (`host:port`) only for its mode; `None` if it runs and may not say it.
///
/// # Errors
/// When it cannot be reached, or does not serve.
pub fn mode(server: &str, limit: Duration) -> Result<Option<String>, NoAnswer> {
    let srvr = ask(server, "srvr", limit)?;
    if srvr.contains("not currently serving requests") {
        return Err(NoAnswer::NotServing);
    }
    Ok(field(&srvr, "Mode:"))
}

/// The rest of the line that begins with `name`.
fn field(answer: &str, name: &str) -> Option<String> {
    answer.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
}

fn ask(server: &str, word: &str, limit: Duration) -> Result<String, NoAnswer> {
    let end = Instant::now() + limit;
    let addresses = server.to_socket_addrs().map_err(NoAnswer::Unresolved)?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return talk(stream, word, end).map_err(NoAnswer::Unreachable),
            Err(error) => last = error,
        }
    }
    Err(NoAnswer::Unreachable(last))
}

/// The server answers and closes; until then each piece may come late, all of them together not.
fn talk(mut stream: TcpStream, word: &str, end: Instant) -> io::Result<String> {
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while u64::try_from(answer.len()).is_ok_and(|length| length < ANSWER_MAX_BYTES) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            length => answer.extend(piece.iter().take(length)),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that gives these answers, one connection each, and then nothing more.
    fn server<const N: usize>(answers: [&'static str; N]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut word = [0; 4];
                stream.read_exact(&mut word).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn words_that_are_not_allowed_leave_gaps() {
        let refused = "conf is not executed because it is not in the whitelist.\n";
        let address = server(["Zookeeper version: 3.8\nMode: follower\nNode count: 5\n", refused]);
        let found = look(&address, LIMIT).unwrap();
        assert_eq!(found, Server { mode: Some("follower".to_owned()), ..Server::default() });
    }

    #[test]
    fn conf_tells_the_figures() {
        let conf = "clientPort=2181\ntickTime=500\nminSessionTimeout=1000\nmaxSessionTimeout=10000\nsyncLimit=5\n";
        let address = server(["not allowed", "zk_version\t3.8\nzk_server_state\tleader\n", conf]);
        let expected = Server {
            mode: Some("leader".to_owned()),
            tick: Some(Duration::from_millis(500)),
            sync_limit: Some(5),
            session_min: Some(Duration::from_secs(1)),
            session_max: Some(Duration::from_secs(10)),
        };
        assert_eq!(look(&address, LIMIT).unwrap(), expected);
    }

    #[test]
    fn a_server_without_a_majority_does_not_serve() {
        let address = server(["This ZooKeeper instance is not currently serving requests\n"]);
        assert!(matches!(mode(&address, LIMIT), Err(NoAnswer::NotServing)));
    }

    #[test]
    fn a_server_that_accepts_and_is_silent_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = mode(&address, Duration::from_millis(50));
        assert!(matches!(answer, Err(NoAnswer::Unreachable(_))), "{answer:?}");
    }
}
