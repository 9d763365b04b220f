//! Machines with a router between them that carries everything, or what it is told to. All of it is in namespaces without a
//! name, which end with this process, however it ends: nothing of it is left, and many may be there at once.

use std::io;
use std::net::Ipv4Addr;
use std::process::Child;

use tempfile::TempDir;

use super::machine::{AS_ROOT, Machine, begin};

/// The most machines: each has a net of its own, and a number for each that it may be cut off from.
const MOST: usize = 99;
/// The router's rules from this number on are ours, before the one by which it carries everything.
const RULES: usize = 10_000;
/// What a machine calls its end of the cable.
const PORT: &str = "eth0";

/// Machines, each with an address, that reach each other.
#[derive(Debug)]
pub struct Routed {
    machines: Vec<Machine>,
    router: Machine,
    /// The first program of each, and at last of the router.
    first: Vec<Child>,
    _dir: TempDir,
}

impl Routed {
    /// So many machines. A thread of this process can enter each of them.
    ///
    /// # Errors
    /// Where that is not allowed or not possible, and why.
    pub fn new(count: usize) -> Result<Routed, String> {
        if count > MOST {
            return Err(format!("more than {MOST} machines"));
        }
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost\n").map_err(|error| error.to_string())?;
        let begin = || begin(&Machine::default(), &AS_ROOT, &hosts);
        let (child, router) = begin()?;
        let mut routed = Routed { machines: Vec::new(), router, first: vec![child], _dir: dir };
        routed.router.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        for machine in 0..count {
            let (child, reached) = begin()?;
            let pid = child.id();
            routed.first.insert(machine, child);
            routed.machines.push(reached.while_watched());
            routed.lay(machine, pid)?;
        }
        std::thread::scope(|scope| scope.spawn(|| routed.enter(0)).join())
            .expect("entering does not panic")
            .map_err(|error| format!("a thread cannot enter a network: {error}"))?;
        Ok(routed)
    }

    /// A cable to the router.
    fn lay(&self, machine: usize, pid: u32) -> Result<(), String> {
        let (end, gateway, address) = (format!("m{machine}"), gateway(machine), self.address(machine));
        self.router.try_ip(&format!("link add {end} type veth peer name {PORT} netns {pid}"))?;
        self.router.try_ip(&format!("addr add {gateway}/24 dev {end}"))?;
        self.router.try_ip(&format!("link set {end} up"))?;
        self.machines[machine].try_ip(&format!("addr add {address}/24 dev {PORT}"))?;
        self.try_plug(machine)
    }

    fn try_plug(&self, machine: usize) -> Result<(), String> {
        self.machines[machine].try_ip(&format!("link set {PORT} up"))?;
        self.machines[machine].try_ip(&format!("route replace default via {}", gateway(machine)))
    }

    /// Where a program is to run.
    pub fn machine(&self, machine: usize) -> Machine {
        self.machines[machine].clone()
    }

    /// Where it is reached.
    pub fn address(&self, machine: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, net(machine), 0, 2)
    }

    /// From now on this thread, and each that it starts, has the network of that machine. There is no way back.
    ///
    /// # Errors
    /// When that is not allowed, or this system has no such networks.
    pub fn enter(&self, machine: usize) -> io::Result<()> {
        enter(self.first[machine].id())
    }

    /// What one machine sends to another is lost from now on, without a word to either; `None` is any.
    ///
    /// # Panics
    /// When that fails.
    pub fn cut(&self, from: Option<usize>, to: Option<usize>) {
        let [source, target] = [from, to].map(|end| end.map(|machine| self.address(machine)));
        let mut words = format!("rule add pref {}", rule(from, to));
        words += &source.map_or(" from all".to_owned(), |address| format!(" from {address}"));
        words += &target.map_or(String::new(), |address| format!(" to {address}"));
        self.router.ip(&(words + " blackhole"));
    }

    /// It arrives again.
    ///
    /// # Panics
    /// When it was not cut.
    pub fn mend(&self, from: Option<usize>, to: Option<usize>) {
        self.router.ip(&format!("rule del pref {}", rule(from, to)));
    }

    /// A machine's cable is pulled, and it sees that.
    ///
    /// # Panics
    /// When that fails.
    pub fn unplug(&self, machine: usize) {
        self.machines[machine].ip(&format!("link set {PORT} down"));
    }

    /// It is plugged in again.
    ///
    /// # Panics
    /// When that fails.
    pub fn plug(&self, machine: usize) {
        self.try_plug(machine).unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        for first in &mut self.first {
            // It may have ended already.
            let _ = first.kill();
            let _ = first.wait();
        }
    }
}

fn net(machine: usize) -> u8 {
    u8::try_from(machine + 1).expect("at most MOST machines")
}

fn gateway(machine: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, net(machine), 0, 1)
}

/// Its number alone says which rule is deleted: words would match others, too.
fn rule(from: Option<usize>, to: Option<usize>) -> usize {
    let [from, to] = [from, to].map(|end| end.map_or(0, |machine| machine + 1));
    RULES + from * (MOST + 1) + to
}

#[cfg(target_os = "linux")]
fn enter(pid: u32) -> io::Result<()> {
    use std::os::fd::AsFd as _;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(not(target_os = "linux"))]
fn enter(_pid: u32) -> io::Result<()> {
    Err(io::Error::other("Linux alone has network namespaces"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::poll::DEADLINE;

    #[test]
    fn every_rule_has_a_number_of_its_own() {
        let ends = || std::iter::once(None).chain((0..MOST).map(Some));
        let rules: BTreeSet<usize> = ends().flat_map(|from| ends().map(move |to| rule(from, to))).collect();
        assert_eq!(rules.len(), (MOST + 1) * (MOST + 1));
        // Of the rule by which everything is carried.
        assert!(rules.iter().all(|rule| *rule < 32_766));
    }

    /// A socket on each machine.
    fn sockets(routed: &Routed, count: usize) -> Vec<UdpSocket> {
        let open = |machine| {
            routed.enter(machine).unwrap();
            UdpSocket::bind((routed.address(machine), 0)).unwrap()
        };
        std::thread::scope(|scope| (0..count).map(|n| scope.spawn(move || open(n)).join().unwrap()).collect())
    }

    /// Whether a datagram arrives: waited for to the deadline if it is to, and for a moment if not.
    fn arrives(from: &UdpSocket, to: &UdpSocket, expected: bool) -> bool {
        from.send_to(b"said", to.local_addr().unwrap()).unwrap();
        to.set_read_timeout(Some(if expected { DEADLINE } else { Duration::from_millis(50) })).unwrap();
        to.recv_from(&mut [0; 16]).is_ok()
    }

    #[test]
    fn what_is_cut_is_lost_one_way_and_nothing_else() {
        let routed = match Routed::new(3) {
            Ok(routed) => routed,
            Err(why) => return assert!(super::super::is_of_the_system(&why), "{why}"),
        };
        let at = sockets(&routed, 3);
        let table = |lost: &[(usize, usize)]| {
            for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
                let expected = !lost.contains(&(from, to));
                assert_eq!(arrives(&at[from], &at[to], expected), expected, "{from} to {to} of {lost:?}");
            }
        };
        table(&[]);
        routed.cut(Some(0), Some(1));
        table(&[(0, 1)]);
        routed.cut(Some(1), Some(0));
        table(&[(0, 1), (1, 0)]);
        routed.mend(Some(0), Some(1));
        table(&[(1, 0)]);
        routed.mend(Some(1), Some(0));
        table(&[]);
        routed.cut(None, Some(2));
        table(&[(0, 2), (1, 2)]);
        routed.mend(None, Some(2));
        routed.cut(Some(2), None);
        table(&[(2, 0), (2, 1)]);
        routed.mend(Some(2), None);
        routed.unplug(0);
        assert!(at[0].send_to(b"lost", at[1].local_addr().unwrap()).is_err(), "it sees that there is no way");
        routed.plug(0);
        table(&[]);
    }
}
