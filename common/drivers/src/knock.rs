//! Knocks at a host: by a TCP connection and by an ICMP echo, several times each. What that says of the host is decided in
//! `headship_core::fencing::knock`.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use headship_core::fencing::knock::{Back, Knocked, of_tries};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

/// Where a connection is tried: ssh, which firewalls let through if anything. Whether somebody listens does not matter.
const PORT: u16 = 22;

/// How often each way is tried within the limit: one packet may be lost.
const TRIES: u32 = 3;

/// Tells our echoes apart from those of other programs.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Knocks at the host at `address` for no longer than `limit`, counted from when its name is found, which may take as long again: a slow
/// name server must not cost the host its time to answer. Must be called within a tokio runtime.
pub async fn knock(address: &str, limit: Duration) -> Knocked {
    let unasked =
        |why: String| Knocked { tcp: Back::Unasked(why.clone()), echo: Back::Unasked(why) };
    let ip = match timeout(limit, lookup_host((address, PORT))).await {
        Ok(Ok(mut found)) => found.next().map(|address| address.ip()),
        Ok(Err(error)) => return unasked(format!("`{address}` is not found: {error}")),
        Err(_) => return unasked(format!("`{address}` is not found in time")),
    };
    let Some(ip) = ip else { return unasked(format!("`{address}` has no address")) };
    let pause = limit / TRIES;
    let (tcp, echo) = tokio::join!(tcp(SocketAddr::new(ip, PORT), pause), echo(ip, pause));
    Knocked { tcp, echo }
}

async fn tcp(address: SocketAddr, pause: Duration) -> Back {
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        let next = Instant::now() + pause;
        let back = match timeout(pause, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Back::Answer,
            Ok(Err(error)) => back(&error),
            Err(_) => Back::Nothing,
        };
        if back == Back::Refusal {
            return back;
        }
        tries.push(back);
        sleep_until(next).await;
    }
    of_tries(&tries)
}

async fn echo(ip: IpAddr, pause: Duration) -> Back {
    let socket = match open(ip).await {
        Ok(socket) => socket,
        Err(error) => return Back::Unasked(error.to_string()),
    };
    let packet = request(ip);
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        let next = Instant::now() + pause;
        tries.push(match timeout(pause, answer(&socket, ip, &packet)).await {
            Ok(Ok(())) => return Back::Answer,
            Ok(Err(error)) => back(&error),
            Err(_) => Back::Nothing,
        });
        sleep_until(next).await;
    }
    of_tries(&tries)
}

/// What an error says of the host that was knocked at.
fn back(error: &Error) -> Back {
    let kind = error.kind();
    if matches!(kind, ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) {
        return Back::Refusal;
    }
    if kind == ErrorKind::TimedOut {
        return Back::Nothing;
    }
    let down = error.raw_os_error() == Some(Errno::HOSTDOWN.raw_os_error());
    if down || kind == ErrorKind::HostUnreachable {
        return Back::Unreachable(error.to_string());
    }
    Back::Unasked(error.to_string())
}

/// A socket for echoes with this host only. The kernel's own kind needs no privilege, but a group that is allowed to.
async fn open(ip: IpAddr) -> Result<UdpSocket, Error> {
    let (family, protocol) = match ip {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let of_kind = |kind| socket_with(family, kind, flags, Some(protocol));
    let socket = of_kind(SocketType::DGRAM).or_else(|_| of_kind(SocketType::RAW))?;
    // It sends and receives as one for UDP does.
    let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
    socket.connect(SocketAddr::new(ip, 0)).await?;
    Ok(socket)
}

const HEADER: usize = 8;
const LENGTH: usize = HEADER + 8;

/// An echo request that no other one is like.
fn request(ip: IpAddr) -> [u8; LENGTH] {
    let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let kind = if ip.is_ipv4() { 8 } else { 128 };
    let [.., high, low] = number.to_be_bytes();
    let ([p0, p1, p2, p3], [n0, n1, n2, n3]) = (process.to_be_bytes(), number.to_be_bytes());
    let with =
        |[c0, c1]: [u8; 2]| [kind, 0, c0, c1, p2, p3, high, low, p0, p1, p2, p3, n0, n1, n2, n3];
    with(checksum(&with([0, 0])))
}

/// The Internet's checksum (RFC 1071). The kernel computes it anew where it knows better.
fn checksum(packet: &[u8; LENGTH]) -> [u8; 2] {
    let words = packet.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    [high, low]
}

/// Sends the request and waits for its answer.
async fn answer(socket: &UdpSocket, ip: IpAddr, packet: &[u8; LENGTH]) -> Result<(), Error> {
    socket.send(packet).await?;
    let mut buffer = [0; 256];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_answer(ip, packet, buffer.get(..length).unwrap_or_default()) {
            return Ok(());
        }
    }
}

/// Whether what was received answers this request. A raw socket shows the header of IPv4, too, and what others asked for.
fn is_answer(ip: IpAddr, packet: &[u8; LENGTH], received: &[u8]) -> bool {
    let kind = if ip.is_ipv4() { 0 } else { 129 };
    let message = match received.first() {
        Some(first) if ip.is_ipv4() && first >> 4 == 4 && received.len() > LENGTH => {
            received.get(usize::from(first & 0xf) * 4..).unwrap_or_default()
        }
        Some(_) | None => received,
    };
    let ours = packet.get(HEADER..).unwrap_or_default();
    message.first() == Some(&kind) && message.get(HEADER..) == Some(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_host_that_lives_answers_on_both_ways() {
        let knocked = runtime().block_on(knock("127.0.0.1", Duration::from_millis(400)));
        assert!(matches!(knocked.tcp, Back::Answer | Back::Refusal), "{knocked:?}");
        // Where no echo may be asked for it is said.
        assert!(matches!(knocked.echo, Back::Answer | Back::Unasked(_)), "{knocked:?}");
    }

    #[test]
    fn nobody_answers_at_an_address_without_a_host_within_the_limit() {
        // Of the block that is kept free for documentation; a network may know that it leads nowhere.
        let (begin, limit) = (Instant::now(), Duration::from_millis(300));
        let knocked = runtime().block_on(knock("192.0.2.1", limit));
        assert!(!matches!(knocked.tcp, Back::Answer), "{knocked:?}");
        assert!(begin.elapsed() < limit * 3, "{:?}", begin.elapsed());
    }

    #[test]
    fn only_the_answer_to_this_very_request_counts() {
        let ip = IpAddr::from([10, 0, 0, 1]);
        let (ours, other) = (request(ip), request(ip));
        let answered = |packet: &[u8; LENGTH]| {
            let mut answer = *packet;
            answer[0] = 0;
            answer
        };
        assert!(is_answer(ip, &ours, &answered(&ours)));
        assert!(!is_answer(ip, &ours, &answered(&other)));
        assert!(!is_answer(ip, &ours, &ours), "our own request, seen on the loopback");
        let with_header = [&[0x45; 20][..], &answered(&ours)].concat();
        assert!(is_answer(ip, &ours, &with_header));
        assert!(!is_answer(ip, &ours, &[]));
    }

    #[test]
    fn a_checksum_makes_the_words_add_up() {
        let packet = request(IpAddr::from([10, 0, 0, 1]));
        let sum: u32 =
            packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn an_error_tells_a_refusal_from_silence_and_from_not_having_asked() {
        let of = |errno: Errno| back(&Error::from(errno));
        assert_eq!(of(Errno::CONNREFUSED), Back::Refusal);
        assert!(matches!(of(Errno::HOSTUNREACH), Back::Unreachable(_)));
        assert!(matches!(of(Errno::HOSTDOWN), Back::Unreachable(_)));
        assert_eq!(of(Errno::TIMEDOUT), Back::Nothing);
        assert!(matches!(of(Errno::NETUNREACH), Back::Unasked(_)));
        assert!(matches!(of(Errno::PERM), Back::Unasked(_)));
    }
}
