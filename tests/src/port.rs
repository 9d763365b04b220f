//! Ports for servers that are started again on the one that they had.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::sync::Mutex;

/// Ports that the system gives to nobody by itself: while a server is away, no client's socket takes its place.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Locks on those that this process was given: no test of another process takes one of a server that is away.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// One that is free now, for UDP and TCP, and this process's as long as it runs.
///
/// # Panics
/// When none is.
pub fn free() -> u16 {
    let mut held = HELD.lock().expect("nobody panics with it");
    let process = u16::try_from(std::process::id() % 200).expect("less than 200") * 100;
    let after = u16::try_from(held.len()).expect("fewer than there are ports");
    let size = PORTS.end - PORTS.start;
    let ports = (0..size).map(|n| PORTS.start + (process + after + n) % size);
    let (port, lock) =
        ports.filter_map(|port| Some((port, take(port)?))).next().expect("there is a free port");
    held.push(lock);
    port
}

fn take(port: u16) -> Option<File> {
    let lock = File::create(std::env::temp_dir().join(format!("quip-test-port-{port}"))).ok()?;
    lock.try_lock().ok()?;
    let is_free =
        UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
    is_free.then_some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once() {
        let given: std::collections::BTreeSet<u16> = (0..50).map(|_| free()).collect();
        assert_eq!(given.len(), 50);
        assert!(given.iter().all(|port| take(*port).is_none()), "another process would not get it either");
    }
}
