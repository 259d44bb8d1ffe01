//! Asks a service whether it serves.
//!
//! No answer within the limit is no data: a service under load is slow, not dead. A refused connection, a reset, a wrong status
//! or a body without what is looked for is an answer, and a bad one. One asking of a probe ends before the next begins, and reads
//! so much and no more: a service that talks without end does not take its headnode down.

use headship_core::config::checked::{Probe, ProbeKind};
use regex_lite::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How much of an answer is read where only its status counts.
const STATUS_LINE: u64 = 512;
/// And where its body is looked at.
const BODY: u64 = 64 * 1024;

/// Whether it serves; none if there is no data.
pub(crate) async fn ask(probe: &Probe) -> Option<bool> {
    timeout(probe.limit, answer(&probe.kind)).await.ok()
}

async fn answer(kind: &ProbeKind) -> bool {
    match kind {
        ProbeKind::Tcp { address } => TcpStream::connect(address).await.is_ok(),
        ProbeKind::Http { address, path, status, body } => {
            get(address, path, *status, body.as_deref()).await.is_ok_and(|right| right)
        }
    }
}

/// A plain GET: whether it is answered as expected.
async fn get(
    address: &str,
    path: &str,
    expected: u16,
    body: Option<&str>,
) -> std::io::Result<bool> {
    let pattern = body.map(Regex::new).transpose().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut told = Vec::new();
    let mut stream = stream.take(if pattern.is_some() { BODY } else { STATUS_LINE });
    loop {
        let over = stream.read_buf(&mut told).await? == 0;
        let text = String::from_utf8_lossy(&told);
        let Some((line, rest)) = text.split_once('\n') else {
            if over {
                return Ok(false);
            }
            continue;
        };
        let Some(pattern) = pattern.as_ref().filter(|_| status(line) == Some(expected)) else {
            return Ok(status(line) == Some(expected));
        };
        // As soon as it is there: some servers keep a connection open that they were asked to close.
        let body = rest.split_once("\r\n\r\n").map(|(_, body)| body);
        if over || body.is_some_and(|body| pattern.is_match(body)) {
            return Ok(body.is_some_and(|body| pattern.is_match(body)));
        }
    }
}

/// The status in `HTTP/1.1 200 OK`.
fn status(head: &str) -> Option<u16> {
    let mut words = head.split_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    fn http(address: String, limit: Duration) -> Probe {
        let kind = ProbeKind::Http { address, path: "/".to_owned(), status: 200, body: None };
        Probe {
            kind,
            interval: Duration::from_secs(1),
            limit,
            rise: 1,
            fall: 1,
            fall_unanswered: 1,
        }
    }

    async fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut streams = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET / HTTP/1.0\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
                // Kept open: an answer must not need the end of the stream.
                streams.push(stream);
            }
        });
        address
    }

    #[tokio::test]
    async fn the_status_decides_and_silence_is_no_data() {
        let long = Duration::from_secs(10);
        assert_eq!(ask(&http(server("HTTP/1.1 200 OK\r\n\r\n").await, long)).await, Some(true));
        assert_eq!(ask(&http(server("HTTP/1.1 503 No\r\n\r\n").await, long)).await, Some(false));
        assert_eq!(ask(&http(server("SSH-2.0\r\n").await, long)).await, Some(false));
        assert_eq!(ask(&http(server("").await, Duration::from_millis(50))).await, None);
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(ask(&http(closed.to_string(), long)).await, Some(false));
    }
    #[tokio::test]
    async fn a_body_is_looked_through_and_need_not_end() {
        let with = |address, pattern: &str| {
            let mut probe = http(address, Duration::from_secs(10));
            if let ProbeKind::Http { body, .. } = &mut probe.kind {
                *body = Some(pattern.to_owned());
            }
            probe
        };
        let right = "HTTP/1.1 200 OK\r\nServer: RUNNING\r\n\r\n{\"state\": \"RUNNING\"}";
        let headers = "HTTP/1.1 200 OK\r\nServer: RUNNING\r\n\r\n{}";
        let other = "HTTP/1.1 500 No\r\n\r\n{\"state\": \"RUNNING\"}";
        let pattern = r#""state": *"RUN+ING""#;
        assert_eq!(ask(&with(server(right).await, pattern)).await, Some(true));
        assert_eq!(ask(&with(server(other).await, pattern)).await, Some(false));
        let mut unended = with(server(headers).await, "RUNNING");
        unended.limit = Duration::from_millis(50);
        assert_eq!(ask(&unended).await, None);
        let endless: &str = "x".repeat(usize::try_from(BODY).unwrap()).leak();
        let long: &str = format!("HTTP/1.1 200 OK\r\n\r\n{endless}").leak();
        assert_eq!(ask(&with(server(long).await, "RUNNING")).await, Some(false));
    }
}
