//! How nodes, Redis and clients reach each other: from a network namespace each, over a router, where this system allows that;
//! if not, over one network that they share, with a gate between each node and Redis.

use std::net::Ipv4Addr;

use super::cut::Cut;
use crate::cluster::{Gate, Redis};
use crate::network::{Machine, Routed};

/// What can be cut.
#[derive(Debug)]
pub enum Wires {
    /// Everything.
    Networks(Networks),
    /// Nodes from Redis: a gate for each, and why there is no more.
    Gates(Vec<Gate>, String),
}

/// A machine for each node, then Redis', then that of all clients.
#[derive(Debug)]
pub struct Networks {
    routed: Routed,
    nodes: usize,
}

/// Whose packets, by the number of the machine; nobody in particular if there is none.
type End = Option<usize>;

impl Wires {
    /// Between so many nodes, clients, and a Redis, which is started. This thread, and those that it starts, are where the
    /// clients are; the programs that it starts end with it.
    ///
    /// # Panics
    /// When there is no `redis-server`; `tests/run` installs it.
    pub fn lay(nodes: usize) -> (Wires, Redis) {
        let networks = Routed::new(nodes + 2).map(|routed| Networks { routed, nodes });
        let entered = networks.and_then(|networks| {
            let clients = networks.routed.enter(networks.clients());
            clients.map(|()| networks).map_err(|error| error.to_string())
        });
        match entered {
            Ok(networks) => {
                let machine = networks.redis();
                let redis = Redis::on(networks.routed.machine(machine), networks.routed.address(machine));
                (Wires::Networks(networks), redis)
            }
            Err(why) => {
                let redis = Redis::start();
                let gates = (0..nodes).map(|_| Gate::before(redis.port())).collect();
                (Wires::Gates(gates, why.lines().collect::<Vec<_>>().join(", ")), redis)
            }
        }
    }

    /// Why not everything can be cut, if so.
    pub fn lack(&self) -> Option<&str> {
        match self {
            Wires::Networks(_) => None,
            Wires::Gates(_, why) => Some(why),
        }
    }

    /// Where a node runs.
    pub fn place(&self, node: usize) -> (Machine, Ipv4Addr) {
        match self {
            Wires::Networks(networks) => (networks.routed.machine(node), networks.routed.address(node)),
            Wires::Gates(..) => (Machine::default(), Ipv4Addr::LOCALHOST),
        }
    }

    /// Where a node finds Redis.
    pub fn url(&self, redis: &Redis, node: usize) -> String {
        match self {
            Wires::Networks(_) => redis.url(),
            Wires::Gates(gates, _) => gates[node].url(),
        }
    }

    /// From now on these do not reach each other.
    ///
    /// # Panics
    /// When that fails, or a gate is no means to it.
    pub fn cut(&self, cut: Cut) {
        self.set(cut, false);
    }

    /// They do again.
    ///
    /// # Panics
    /// As [`Wires::cut`].
    pub fn mend(&self, cut: Cut) {
        self.set(cut, true);
    }

    fn set(&self, cut: Cut, reach: bool) {
        match (self, cut) {
            (Wires::Gates(gates, _), Cut::NodeAndRedis(node)) => gates[node].set(reach),
            (Wires::Gates(..), _) => panic!("{cut:?} needs networks"),
            (Wires::Networks(networks), Cut::Cable(node)) if reach => networks.routed.plug(node),
            (Wires::Networks(networks), Cut::Cable(node)) => networks.routed.unplug(node),
            (Wires::Networks(networks), _) => {
                let set = if reach { Routed::mend } else { Routed::cut };
                networks.ways(cut).iter().for_each(|(from, to)| set(&networks.routed, *from, *to));
            }
        }
    }
}

impl Networks {
    fn redis(&self) -> usize {
        self.nodes
    }

    fn clients(&self) -> usize {
        self.nodes + 1
    }

    /// On which ways packets are lost, from whom and to whom.
    fn ways(&self, cut: Cut) -> Vec<(End, End)> {
        let (redis, clients) = (Some(self.redis()), Some(self.clients()));
        let both = |one, other| vec![(one, other), (other, one)];
        match cut {
            Cut::NodeAndRedis(node) => both(Some(node), redis),
            Cut::ToRedis(node) => vec![(Some(node), redis)],
            Cut::FromRedis(node) => vec![(redis, Some(node))],
            Cut::NodeAndClients(node) => both(Some(node), clients),
            Cut::ToClients(node) => vec![(Some(node), clients)],
            Cut::Node(node) | Cut::Cable(node) => both(Some(node), None),
            Cut::Nodes(one, other) => both(Some(one), Some(other)),
            Cut::OneWay(from, to) => vec![(Some(from), Some(to))],
            Cut::Redis => both(redis, None),
        }
    }
}
