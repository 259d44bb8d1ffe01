//! What zookeeper-client uses of the crate async-net, on tokio. The neighbouring async-io says why.
//!
//! Nothing is connected to here: whoever uses the client library connects, and brings the connection along. The library
//! would choose the next server by chance, wait for a lost one as long as for a silent one, and pause longer each time;
//! and it would write what was asked before the connection broke.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::{self, ReadBuf};
use tokio::net;

tokio::task_local! {
    static BROUGHT: Cell<Option<net::TcpStream>>;
}

/// Does `work` with a connection at hand: the first one that it asks for, to whatever server, is `connection`.
pub async fn bringing<F: Future>(connection: net::TcpStream, work: F) -> F::Output {
    BROUGHT.scope(Cell::new(Some(connection)), work).await
}

/// A connection to a server.
#[derive(Debug)]
pub struct TcpStream(net::TcpStream);

impl TcpStream {
    /// The connection that was brought along; the server is the one that it leads to. Where there is none (any more, and
    /// always in a task of the library's own), this never ends: the library has its limits, but tries again without a
    /// pause, for ever, where an error comes at once.
    ///
    /// # Errors
    ///
    /// None; the library expects that there may be some.
    pub async fn connect(_server: (&str, u16)) -> Result<Self> {
        match BROUGHT.try_with(Cell::take).ok().flatten() {
            Some(brought) => {
                async_io::opened();
                Ok(Self(brought))
            }
            None => pending().await,
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(io::AsyncRead::poll_read(Pin::new(&mut self.0), context, &mut buffer))?;
        async_io::received();
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = ready!(io::AsyncWrite::poll_write(Pin::new(&mut self.0), context, bytes))?;
        async_io::sent();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let writing = io::AsyncWrite::poll_write_vectored(Pin::new(&mut self.0), context, slices);
        let written = ready!(writing)?;
        async_io::sent();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        io::AsyncWrite::poll_flush(Pin::new(&mut self.0), context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::thread;
    use std::time::Duration;

    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn what_is_sent_arrives_and_closing_ends_it() {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            stream.read_to_end(&mut asked).unwrap();
            stream.write_all(b"answer").unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
            asked
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            let connection = net::TcpStream::connect(("localhost", port)).await.unwrap();
            let mut stream =
                bringing(connection, TcpStream::connect(("localhost", port))).await.unwrap();
            stream.write_all(b"one ").await.unwrap();
            let two = [IoSlice::new(b"two "), IoSlice::new(b"three")];
            assert_eq!(stream.write_vectored(&two).await.unwrap(), 9);
            stream.flush().await.unwrap();
            stream.close().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answer
        });
        assert_eq!(
            (server.join().unwrap().as_slice(), answer.as_slice()),
            (&b"one two three"[..], &b"answer"[..])
        );
    }

    #[test]
    fn what_was_brought_is_given_once_and_to_nobody_else() {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let server = ("localhost", listener.local_addr().unwrap().port());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let connection = net::TcpStream::connect(server).await.unwrap();
            bringing(connection, async {
                let port = server.1;
                let other = tokio::spawn(timeout(SHORT, async move {
                    TcpStream::connect(("localhost", port)).await
                }));
                other.await.unwrap().unwrap_err();
                TcpStream::connect(server).await.unwrap();
                timeout(SHORT, TcpStream::connect(server)).await.unwrap_err();
            })
            .await;
            timeout(SHORT, TcpStream::connect(server)).await.unwrap_err();
        });
    }
}
