//! What becomes of requests when the connection breaks: of those that were sent, and of those that were still to be sent.

use std::time::{Duration, Instant};

use headship_core::quorum::{Event, Found, Outcome, Request};
use headship_core::record::Key;
use headship_zk::{OneShot, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::LIMIT;
use crate::client::{Client, Lab, create, set};

/// As much of what the client sends is taken from the kernel while the way is held.
const TAKEN: usize = 64 * 1024;
/// More than the kernel keeps of one connection: what is asked after it is still with the client.
const BIG: (usize, usize) = (40, 900_000);

/// A way to one server, with somebody on it.
struct Way {
    address: String,
    mode: watch::Sender<Mode>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Passes,
    /// What the client sends is taken up to a limit, and goes no further. Nobody new is let in.
    Holds,
    /// What was held reaches the server, and the connection ends.
    Ends,
}

impl Way {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, of_mode) = watch::channel(Mode::Passes);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *of_mode.borrow() == Mode::Passes {
                    let server = TcpStream::connect(&server).await.unwrap();
                    tokio::spawn(go_between(client, server, of_mode.clone()));
                }
            }
        });
        Self { address, mode, accepting }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn go_between(client: TcpStream, server: TcpStream, mut mode: watch::Receiver<Mode>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut held = Vec::new();
    let mut bytes = vec![0; TAKEN];
    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
        held.extend_from_slice(&bytes[..count]);
        if *mode.borrow() == Mode::Passes {
            to_server.write_all(&held).await.unwrap();
            held.clear();
        } else if held.len() >= TAKEN {
            mode.wait_for(|mode| *mode == Mode::Ends).await.unwrap();
            to_server.write_all(&held).await.unwrap();
            break;
        }
    }
    back.abort();
}

async fn until_there(client: &mut OneShot, key: Key) {
    let since = Instant::now();
    while client.read(std::slice::from_ref(&key)).await == [Found::Missing] {
        assert!(since.elapsed() < LIMIT, "{key:?} is still missing");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_was_sent_may_happen_after_a_break_and_what_was_not_never_does() {
    let lab = Lab::start().await;
    let server = lab.ensemble.servers().into_iter().next().unwrap();
    let way = Way::to(server).await;
    let servers = vec![way.address.clone()];
    let mut client = Client::connect(Options { servers, ..lab.options() }).await;

    way.mode.send(Mode::Holds).unwrap();
    let sent = client.ask(Request::Write(vec![create(Key::Lease, "sent")]));
    let (times, bytes) = BIG;
    let big = "x".repeat(bytes);
    for _ in 0..times {
        client.ask(Request::Write(vec![set(Key::History, None, &big)]));
    }
    let queued = client.ask(Request::Write(vec![create(Key::Active, "queued")]));
    // Silent, as it is: the client leaves it.
    client.until_event(&Event::Disconnected).await;
    for id in [sent, queued] {
        let unknown = Event::Wrote { id, outcome: Outcome::Unknown };
        assert!(client.told.contains(&unknown), "{id:?}");
    }
    // A new one each time, as nobody drives it while others are awaited.
    let mut other = lab.one_shot().await;
    assert_eq!(other.read(&[Key::Lease, Key::Active]).await, [Found::Missing, Found::Missing]);

    way.mode.send(Mode::Ends).unwrap();
    until_there(&mut other, Key::Lease).await;

    way.mode.send(Mode::Passes).unwrap();
    client.until_connected().await;
    // After this write whatever the client still had to send would have been written, too.
    client.until_written(create(Key::Settings, "marker")).await;
    assert_eq!(lab.one_shot().await.read(&[Key::Active]).await, [Found::Missing]);
}
