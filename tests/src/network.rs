//! Two machines with networks of their own: Linux namespaces, and cables between them that are replaced. Everything else
//! of this machine they share, but for the names that they know.

mod machine;
mod routed;

use std::path::PathBuf;
use std::process::Child;

use tempfile::TempDir;

pub use machine::Machine;
pub use routed::Routed;

use machine::{Way, begin, first};

/// Where the server is, whichever cable leads to it.
pub const SERVER: &str = "10.9.9.9";

/// Whether this system is why there is no network namespace, and not what was tried: it forbids or lacks something.
pub fn is_of_the_system(why: &str) -> bool {
    let lacks =
        ["not permitted", "ermission denied", "ead-only", "No such file", "not found", "not supported"];
    lacks.iter().any(|lack| why.contains(lack))
}

/// Two machines.
#[derive(Debug)]
pub struct Network {
    /// Where a client is to run.
    pub laptop: Machine,
    /// Where the server is to run.
    pub server: Machine,
    /// What is told of names, on both.
    hosts: PathBuf,
    laptop_pid: u32,
    first: [Child; 2],
    _dir: TempDir,
}

impl Network {
    /// Two machines without a cable.
    ///
    /// # Panics
    /// When this system gives nobody a network namespace; it says what is missing.
    pub fn new() -> Network {
        let dir = tempfile::tempdir().expect("a directory");
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost\n").expect("a file of names");
        let (first, server, enter) = first(&hosts).unwrap_or_else(|why| panic!("{why}"));
        let (second, laptop) =
            begin(&server, &Way { make: &[], enter }, &hosts).expect("a second machine beside the first");
        server.ip(&format!("addr add {SERVER}/32 dev lo"));
        let laptop_pid = second.id();
        Network { laptop, server, hosts, laptop_pid, first: [first, second], _dir: dir }
    }

    /// Plugs in cable `number`: the laptop is 10.NUMBER.0.2 now, and finds the server over 10.NUMBER.0.1.
    pub fn plug(&self, number: u8) {
        let pid = self.laptop_pid;
        self.server.ip(&format!("link add s{number} type veth peer name l{number} netns {pid}"));
        self.server.ip(&format!("addr add 10.{number}.0.1/24 dev s{number}"));
        self.server.ip(&format!("link set s{number} up"));
        self.laptop.ip(&format!("addr add 10.{number}.0.2/24 dev l{number}"));
        self.raise(number);
    }

    /// The laptop's end of that cable is up, and the way to the server known.
    pub fn raise(&self, number: u8) {
        self.laptop.ip(&format!("link set l{number} up"));
        self.laptop.ip(&format!("route replace {SERVER}/32 via 10.{number}.0.1"));
    }

    /// Takes that cable away.
    pub fn unplug(&self, number: u8) {
        self.laptop.ip(&format!("link del l{number}"));
    }

    /// From now on this name is at this address.
    pub fn name(&self, name: &str, address: &str) {
        // In place: the file is mounted.
        std::fs::write(&self.hosts, format!("127.0.0.1 localhost\n{address} {name}\n"))
            .expect("a file of names");
    }
}

impl Default for Network {
    fn default() -> Self {
        Network::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for first in &mut self.first {
            let _ = first.kill();
            let _ = first.wait();
        }
    }
}
