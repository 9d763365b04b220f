//! A box in the middle, as a home router is: it forwards datagrams, each source from a port of its own, and can forget
//! who was where.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Longer than any datagram.
const DATAGRAM: usize = 64 * 1024;
/// The first bit of a QUIC packet of a handshake.
const LONG_HEADER: u8 = 0x80;

/// Forwards to one server until the test's process ends.
#[derive(Debug, Clone)]
pub struct Middlebox {
    front: Arc<UdpSocket>,
    server: SocketAddr,
    sources: Arc<Mutex<HashMap<SocketAddr, Source>>>,
}

#[derive(Debug)]
struct Source {
    behind: Arc<UdpSocket>,
    handshakes: bool,
}

impl Middlebox {
    /// In front of a server on this machine.
    pub fn new(server_port: u16) -> Middlebox {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        let middlebox =
            Middlebox { front, server: ([127, 0, 0, 1], server_port).into(), sources: Arc::default() };
        let forwarding = middlebox.clone();
        thread::spawn(move || forwarding.forward());
        middlebox
    }

    /// Where clients find it.
    pub fn port(&self) -> u16 {
        self.front.local_addr().expect("it is bound").port()
    }

    /// From now on the server sees every client at another port.
    pub fn forget(&self) {
        for (from, source) in self.sources.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            source.behind = self.open(*from);
        }
    }

    /// How many addresses clients have sent from, and how many of these took part in a handshake.
    pub fn seen(&self) -> (usize, usize) {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        (sources.len(), sources.values().filter(|source| source.handshakes).count())
    }

    fn forward(&self) {
        let mut datagram = vec![0; DATAGRAM];
        while let Ok((length, from)) = self.front.recv_from(&mut datagram) {
            let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            let source =
                sources.entry(from).or_insert_with(|| Source { behind: self.open(from), handshakes: false });
            source.handshakes |= datagram[0] & LONG_HEADER != 0;
            // What is lost, is lost: QUIC sends it again.
            let _ = source.behind.send(&datagram[..length]);
        }
    }

    /// A port of its own for a client, and the way back.
    fn open(&self, client: SocketAddr) -> Arc<UdpSocket> {
        let behind = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        behind.connect(self.server).expect("an address of this machine");
        let (front, back) = (Arc::clone(&self.front), Arc::clone(&behind));
        thread::spawn(move || {
            let mut datagram = vec![0; DATAGRAM];
            loop {
                // An error says that the server is away for now.
                if let Ok(length) = back.recv(&mut datagram) {
                    let _ = front.send_to(&datagram[..length], client);
                }
            }
        });
        behind
    }
}
