//! As much of HTTP as is needed to ask the lab's services: one request, one answer, within a limit.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How much of an answer is read. The longest are lists of some hundred batches.
const BYTES_MAX: u64 = 4 << 20;

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status, such as 200.
    pub status: u16,
    /// What came after the head.
    pub body: String,
}

/// Asks `address`, a host and a port, for a page.
///
/// # Errors
/// Nobody answers within `limit`, or with something else than HTTP.
pub fn get(address: &str, path: &str, limit: Duration) -> io::Result<Answer> {
    ask(address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"), limit)
}

/// Sends JSON to `address`, a host and a port.
///
/// # Errors
/// Nobody answers within `limit`, or with something else than HTTP.
pub fn post(address: &str, path: &str, json: &str, limit: Duration) -> io::Result<Answer> {
    let head = format!("POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json");
    ask(address, &format!("{head}\r\nContent-Length: {}\r\n\r\n{json}", json.len()), limit)
}

fn ask(address: &str, request: &str, limit: Duration) -> io::Result<Answer> {
    let mut addresses = address.to_socket_addrs()?;
    let address = addresses.next().ok_or_else(|| Error::from(ErrorKind::AddrNotAvailable))?;
    let mut connection = TcpStream::connect_timeout(&address, limit)?;
    connection.set_read_timeout(Some(limit))?;
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.take(BYTES_MAX).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| Error::from(ErrorKind::InvalidData))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.split(' ');
    let status = words.next()?.starts_with("HTTP/").then(|| words.next())??.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = parse("HTTP/1.1 405 Method Not Allowed\r\nServer: x\r\n\r\n{}\n").unwrap();
        assert_eq!(answer, Answer { status: 405, body: "{}\n".to_owned() });
        for bad in ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 many\r\n\r\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
