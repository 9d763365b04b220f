//! Networks that change under an open connection: every message comes once and in order, and soon. On Linux, in network
//! namespaces.

use std::io::Write as _;
use std::time::{Duration, Instant};

use quip_protocol::ServerLink;
use quip_tests::network::{Network, SERVER};
use quip_tests::{Quip, Server, eventually};
use serde_json::Value;

use crate::running::Running;

/// As long as a train is in a tunnel.
const TUNNEL: Duration = Duration::from_secs(3);

/// Somebody who counts beside the server, and somebody who hears it over the network.
struct Counting {
    network: Network,
    server: Server,
    _ann: Quip,
    bob: Quip,
    heard: Running,
    /// The next number that is said, and the next that is heard.
    next: (usize, usize),
    /// How many connections there were by then, without bob's, who makes one for each number.
    connections: u64,
}

impl Counting {
    /// Over cable 1; ann knows the server by this name or address.
    fn start(network: Network, host: &str) -> Counting {
        network.plug(1);
        let server = Server::on(network.server.clone(), "0.0.0.0:0");
        let link = |link: &ServerLink, host: &str| ServerLink { host: host.to_owned(), ..link.clone() };
        let owner = link(server.owner.as_ref().unwrap(), host);
        let ann = Quip::at(network.laptop.clone()).join(&owner, "ann");
        let bob = Quip::at(network.server.clone()).join(&link(&server.invite(&[]), SERVER), "bob");
        let heard = Running::start(&ann, &["tail", "#general", "--follow", "--json"]);
        let mut counting = Counting { network, server, _ann: ann, bob, heard, next: (0, 0), connections: 0 };
        counting.say(3);
        counting.hear();
        counting.connections = counting.connections_of_ann();
        counting
    }

    /// The next numbers.
    fn say(&mut self, count: usize) {
        for _ in 0..count {
            self.bob.run(&["send", "#general", &format!("number {}", self.next.0)]).ok();
            self.next.0 += 1;
        }
    }

    /// All that were said, each once and in order.
    fn hear(&mut self) {
        while self.next.1 < self.next.0 {
            if let Some(text) = number(&self.heard.next()) {
                assert_eq!(text, format!("number {}", self.next.1));
                self.next.1 += 1;
            }
        }
    }

    /// The network is as it will be, from now on; what was said meanwhile is heard, and what is said then.
    fn goes_on(mut self, what: &str) {
        let changed = Instant::now();
        assert!(self.next.1 < self.next.0, "something was said meanwhile");
        self.hear();
        let after = changed.elapsed();
        self.say(3);
        self.hear();
        let connection = match self.connections_of_ann() - self.connections {
            0 => "the same connection".to_owned(),
            more => format!("connection {more} behind it"),
        };
        // Not by a macro, whose words the test runner keeps to itself.
        let told = writeln!(std::io::stderr(), "{what}: heard after {after:.1?}, on {connection}");
        told.unwrap();
        let rest = self.heard.kill();
        assert_eq!(rest.iter().find_map(number), None, "none comes twice");
    }

    fn connections_of_ann(&self) -> u64 {
        let stats: Value = serde_json::from_str(&self.server.admin(&["stats"])).unwrap();
        stats["connections"].as_u64().unwrap() - self.next.0 as u64
    }
}

/// What bob said in this line, if he did.
fn number(line: &Value) -> Option<&str> {
    line["text"].as_str().filter(|text| text.starts_with("number "))
}

#[test]
fn the_interface_is_replaced_by_one_with_another_address() {
    let mut counting = Counting::start(Network::new(), SERVER);
    counting.network.unplug(1);
    counting.say(3);
    counting.network.plug(2);
    counting.goes_on("another interface, another address");
}

#[test]
fn the_link_is_down_for_three_seconds() {
    let mut counting = Counting::start(Network::new(), SERVER);
    let down = Instant::now();
    counting.network.laptop.ip("link set l1 down");
    counting.say(3);
    eventually("the tunnel is over", || (down.elapsed() >= TUNNEL).then_some(()));
    counting.network.raise(1);
    counting.goes_on("a link that was down for 3 s");
}

#[test]
fn the_server_moves_to_another_address_of_its_name() {
    let network = Network::new();
    network.name("chat.test", "10.1.0.1");
    let mut counting = Counting::start(network, "chat.test");
    counting.network.server.ip("addr del 10.1.0.1/24 dev s1");
    counting.network.server.ip("addr add 10.1.0.7/24 dev s1");
    counting.say(3);
    counting.network.name("chat.test", "10.1.0.7");
    counting.goes_on("a server with another address");
}
