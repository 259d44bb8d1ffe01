//! A server on a port: HTTP as far as clients of Ambari speak it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::server::{Call, Reply, Server};
use super::state::{self, Store};

/// How often it does what it does by itself.
const AGAIN: Duration = Duration::from_millis(20);

/// A server that serves until it is dropped.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Serving {
    /// Begins to serve, on a free port of this host.
    pub fn start(id: u64, store: Store) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let server = store.change(|state| Server::new(id, state))?;
        let server = Arc::new(Mutex::new(server));
        let worker = {
            let (server, store, ends) = (server.clone(), store.clone(), ends.clone());
            thread::spawn(move || {
                while !ends.load(Ordering::Acquire) {
                    let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
                    let worked = store.change(|state| server.work(state, state::now()));
                    drop(server);
                    if worked.is_err() {
                        return;
                    }
                    thread::sleep(AGAIN);
                }
            })
        };
        let acceptor = {
            let ends = ends.clone();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if ends.load(Ordering::Acquire) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (server, store, ends) = (server.clone(), store.clone(), ends.clone());
                    thread::spawn(move || {
                        // A client that goes away is its own affair.
                        drop(serve(&stream, &server, &store, &ends));
                    });
                }
            })
        };
        Ok(Self { address, ends, threads: vec![worker, acceptor] })
    }

    /// Where it serves.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        // Wakes whoever waits for a connection.
        drop(TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            // One that has panicked has said so.
            drop(thread.join());
        }
    }
}

fn serve(
    stream: &TcpStream,
    server: &Mutex<Server>,
    store: &Store,
    ends: &AtomicBool,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(call) = read(&mut reader)? {
        if ends.load(Ordering::Acquire) {
            return Ok(());
        }
        let reply = {
            let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
            store.change(|state| server.answer(state, &call))?
        };
        thread::sleep(Duration::from_millis(reply.after));
        write(stream, &reply)?;
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> io::Result<Option<Call>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Call { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}

fn write(mut stream: &TcpStream, reply: &Reply) -> io::Result<()> {
    let cookie = reply
        .cookie
        .as_ref()
        .map_or_else(String::new, |cookie| format!("Set-Cookie: {cookie};Path=/;HttpOnly\r\n"));
    // It says text, though it is JSON.
    let head = format!(
        "HTTP/1.1 {} x\r\n{cookie}Content-Type: text/plain;charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        reply.status,
        reply.body.len()
    );
    stream.write_all(format!("{head}{}", reply.body).as_bytes())
}
