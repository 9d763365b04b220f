//! A box in the middle, as a home router is: it forwards datagrams, each source from a port of its own, and can forget
//! who was where.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Longer than any datagram.
const DATAGRAM: usize = 64 * 1024;
/// What a narrow line holds before it drops, in datagrams.
const QUEUE: usize = 32;
/// The first bit of a QUIC packet of a handshake.
const LONG_HEADER: u8 = 0x80;

/// Forwards to one server until the test's process ends.
#[derive(Debug, Clone)]
pub struct Middlebox {
    front: Arc<UdpSocket>,
    server: SocketAddr,
    sources: Arc<Mutex<HashMap<SocketAddr, Source>>>,
    /// What reaches a client, in bytes a second; everything at once if that is not said.
    rate: Option<u32>,
    /// So many sources get through, those that came first.
    admitted: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Source {
    /// How many came before it.
    number: usize,
    behind: Arc<UdpSocket>,
    handshakes: bool,
}

impl Middlebox {
    /// In front of a server on this machine.
    pub fn new(server_port: u16) -> Middlebox {
        Middlebox::start(server_port, None)
    }

    /// The same with a line to each client that carries so many bytes a second.
    pub fn narrow(server_port: u16, rate: u32) -> Middlebox {
        Middlebox::start(server_port, Some(rate))
    }

    fn start(server_port: u16, rate: Option<u32>) -> Middlebox {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        let server = ([127, 0, 0, 1], server_port).into();
        let admitted = Arc::new(AtomicUsize::new(usize::MAX));
        let middlebox = Middlebox { front, server, sources: Arc::default(), rate, admitted };
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

    /// What comes from another source than the first so many is lost, until more are admitted.
    pub fn admit(&self, count: usize) {
        self.admitted.store(count, Ordering::Relaxed);
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
            let number = sources.len();
            let source = sources.entry(from).or_insert_with(|| Source {
                number,
                behind: self.open(from),
                handshakes: false,
            });
            source.handshakes |= datagram[0] & LONG_HEADER != 0;
            if source.number < self.admitted.load(Ordering::Relaxed) {
                // What is lost, is lost: QUIC sends it again.
                let _ = source.behind.send(&datagram[..length]);
            }
        }
    }

    /// A port of its own for a client, and the way back.
    fn open(&self, client: SocketAddr) -> Arc<UdpSocket> {
        let behind = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        behind.connect(self.server).expect("an address of this machine");
        let (front, back) = (Arc::clone(&self.front), Arc::clone(&behind));
        let (line, waiting) = sync_channel::<Vec<u8>>(QUEUE);
        let rate = self.rate;
        if let Some(rate) = rate {
            let front = Arc::clone(&front);
            thread::spawn(move || {
                for datagram in waiting {
                    // As long as the line takes for it.
                    thread::park_timeout(Duration::from_secs(1) * datagram.len() as u32 / rate);
                    let _ = front.send_to(&datagram, client);
                }
            });
        }
        thread::spawn(move || {
            let mut datagram = vec![0; DATAGRAM];
            loop {
                // An error says that the server is away for now.
                if let Ok(length) = back.recv(&mut datagram) {
                    // What is lost, is lost.
                    let _ = match rate {
                        Some(_) => line.try_send(datagram[..length].to_vec()).is_ok(),
                        None => front.send_to(&datagram[..length], client).is_ok(),
                    };
                }
            }
        });
        behind
    }
}
