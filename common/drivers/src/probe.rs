//! Asks a service whether it serves.
//!
//! No answer within the limit is no data: a service under load is slow, not dead. A refused connection, a reset or a wrong
//! status is an answer, and a bad one.

use headship_core::config::checked::{Probe, ProbeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How much of an answer is read: the status line is all that is looked at.
const STATUS_LINE: u64 = 512;

/// Whether it serves; none if there is no data.
pub(crate) async fn ask(probe: &Probe) -> Option<bool> {
    timeout(probe.limit, answer(&probe.kind)).await.ok()
}

async fn answer(kind: &ProbeKind) -> bool {
    match kind {
        ProbeKind::Tcp { address } => TcpStream::connect(address).await.is_ok(),
        ProbeKind::Http { address, path, status } => {
            get(address, path).await.is_ok_and(|answered| answered == Some(*status))
        }
    }
}

/// The status of a plain GET.
async fn get(address: &str, path: &str) -> std::io::Result<Option<u16>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut stream = stream.take(STATUS_LINE);
    while !head.contains(&b'\n') && stream.read_buf(&mut head).await? > 0 {}
    Ok(status(&String::from_utf8_lossy(&head)))
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
        let kind = ProbeKind::Http { address, path: "/".to_owned(), status: 200 };
        Probe { kind, interval: Duration::from_secs(1), limit, rise: 1, fall: 1 }
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
}
