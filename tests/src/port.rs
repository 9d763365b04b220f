//! Ports for servers that are started again on the one that they had.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports that the system gives to nobody by itself: while a server is away, no client's socket takes its place.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// One that is free now, for UDP and TCP.
///
/// # Panics
/// When none is.
pub fn free() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 200).expect("less than 200") * 100;
    let mut ports = std::iter::repeat_with(|| {
        let next = process.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        PORTS.start + next % (PORTS.end - PORTS.start)
    });
    let is_free = |port: &u16| {
        UdpSocket::bind(("127.0.0.1", *port)).is_ok() && TcpListener::bind(("127.0.0.1", *port)).is_ok()
    };
    ports.by_ref().take(usize::from(PORTS.end - PORTS.start)).find(is_free).expect("there is a free port")
}
