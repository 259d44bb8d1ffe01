//! What zookeeper-client uses of the crate async-net, on tokio. The neighbouring async-io says why.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::{self, ReadBuf};
use tokio::net;

/// A connection to a server.
#[derive(Debug)]
pub struct TcpStream(net::TcpStream);

impl TcpStream {
    /// Connects to a port of a host; a name is looked up on a thread of its own.
    ///
    /// # Errors
    ///
    /// No address of the host could be connected to.
    pub async fn connect(server: (&str, u16)) -> Result<Self> {
        net::TcpStream::connect(server).await.map(Self)
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
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        io::AsyncWrite::poll_write(Pin::new(&mut self.0), context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        io::AsyncWrite::poll_write_vectored(Pin::new(&mut self.0), context, slices)
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

    use futures_lite::{AsyncReadExt, AsyncWriteExt};

    use super::*;

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
            let mut stream = TcpStream::connect(("localhost", port)).await.unwrap();
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
    fn nobody_listening_is_an_error() {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let refused = runtime.block_on(TcpStream::connect(("localhost", port)));
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
