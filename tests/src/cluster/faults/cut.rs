//! Partitions: who does not reach whom, and what they are called. PURE.

/// One of them. Nodes by their number in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// A node and Redis do not reach each other.
    NodeAndRedis(usize),
    /// What a node says does not reach Redis.
    ToRedis(usize),
    /// What Redis says does not reach a node: it is done, and not known.
    FromRedis(usize),
    /// A node and the clients do not reach each other.
    NodeAndClients(usize),
    /// What a node says does not reach the clients: what they say is done, and not known.
    ToClients(usize),
    /// A node reaches nobody, and nobody reaches it.
    Node(usize),
    /// The same, and it sees that: its cable is pulled.
    Cable(usize),
    /// Two nodes do not reach each other.
    Nodes(usize, usize),
    /// What one node says does not reach another.
    OneWay(usize, usize),
    /// Redis reaches nobody, and nobody reaches it.
    Redis,
}

impl Cut {
    /// What it is called in figures.
    pub fn name(self) -> &'static str {
        match self {
            Cut::NodeAndRedis(_) => "node and redis cut off from each other",
            Cut::ToRedis(_) => "node not heard by redis",
            Cut::FromRedis(_) => "redis not heard by a node",
            Cut::NodeAndClients(_) => "node and clients cut off from each other",
            Cut::ToClients(_) => "node not heard by clients",
            Cut::Node(_) => "node cut off from everyone",
            Cut::Cable(_) => "node unplugged",
            Cut::Nodes(..) => "two nodes cut off from each other",
            Cut::OneWay(..) => "node not heard by another",
            Cut::Redis => "redis cut off from everyone",
        }
    }
}

/// Those that hit one node; without networks of their own, the one that is left.
pub fn of_node(node: usize, networks: bool) -> Vec<Cut> {
    if !networks {
        return vec![Cut::NodeAndRedis(node)];
    }
    let redis = [Cut::NodeAndRedis, Cut::ToRedis, Cut::FromRedis];
    let others = [Cut::NodeAndClients, Cut::ToClients, Cut::Node, Cut::Cable];
    redis.into_iter().chain(others).map(|cut| cut(node)).collect()
}

/// Those between two of so many nodes.
pub fn of_pair(nodes: usize) -> Vec<Cut> {
    let pairs = (0..nodes).flat_map(|one| (0..nodes).map(move |other| (one, other)));
    let different = pairs.filter(|(one, other)| one != other);
    let both = |(one, other): (usize, usize)| (one < other).then_some(Cut::Nodes(one, other));
    different.flat_map(|pair| [both(pair), Some(Cut::OneWay(pair.0, pair.1))]).flatten().collect()
}
