//! A gate in front of Redis, for one node: closed, nothing gets through and nothing is told, as when a network is cut; opened
//! again, what was sent meanwhile arrives late.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Bytes that are carried at once.
const CHUNK: usize = 16 * 1024;

/// Forwards to a port of this machine until the program ends.
#[derive(Debug, Clone)]
pub struct Gate {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    /// An open one.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn before(port: u16) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let front = listener.local_addr().expect("it is bound").port();
        let gate =
            Gate { port: front, state: Arc::new(State { open: Mutex::new(true), changed: Condvar::new() }) };
        let state = Arc::clone(&gate.state);
        thread::spawn(move || {
            for node in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&state);
                thread::spawn(move || carry_both(&state, node, port));
            }
        });
        gate
    }

    /// What a node is given as its Redis.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Closed, nothing gets through any more; open, everything does, and what waited first.
    pub fn set(&self, open: bool) {
        self.state.set(open);
    }
}

impl State {
    fn set(&self, open: bool) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(open, |open| !*open));
    }
}

/// Both ways of one connection. It ends when one side does.
fn carry_both(state: &Arc<State>, node: TcpStream, port: u16) {
    state.wait();
    let Ok(redis) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let (Ok(from), Ok(to)) = (node.try_clone(), redis.try_clone()) else { return };
    let back = Arc::clone(state);
    thread::spawn(move || carry(&back, redis, node));
    carry(state, from, to);
}

fn carry(state: &State, mut from: TcpStream, mut to: TcpStream) {
    // An end that is gone is told to the other, and that is all.
    let _ = carry_all(state, &mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

fn carry_all(state: &State, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    // A question waits for each answer.
    to.set_nodelay(true)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk)?;
        state.wait();
        if length == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..length])?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_said_at_a_closed_gate_arrives_late() {
        let redis = TcpListener::bind("127.0.0.1:0").unwrap();
        let gate = Gate::before(redis.local_addr().unwrap().port());
        let mut node = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
        let (mut end, _) = redis.accept().unwrap();
        let mut said = [0; 2];
        node.write_all(b"hi").unwrap();
        end.read_exact(&mut said).unwrap();
        gate.set(false);
        node.write_all(b"on").unwrap();
        end.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(end.read_exact(&mut said).is_err(), "nothing gets through");
        gate.set(true);
        end.set_read_timeout(None).unwrap();
        end.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"on");
        drop(end);
        assert_eq!(node.read(&mut said).unwrap(), 0, "the end of one side is told to the other");
    }
}
