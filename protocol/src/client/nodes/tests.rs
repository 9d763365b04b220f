//! Which node is chosen: tables and seeded properties.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::identity::{Fingerprint, Identity};

const NOW: Duration = Duration::from_secs(100);

fn key(byte: u8) -> Fingerprint {
    Fingerprint([byte; 32])
}

fn node(name: &str, byte: u8) -> NodeAddress {
    let address = Address::new(format!("{name}.example"), 7847).unwrap();
    NodeAddress { name: name.parse().unwrap(), address, fingerprint: key(byte) }
}

fn summary(name: &str, byte: u8, connections: u32) -> NodeSummary {
    NodeSummary { node: node(name, byte), connections, draining: false }
}

fn config(nodes: Vec<NodeAddress>) -> Config {
    let identity = Identity::from_seed([1; 32]);
    Config { nodes, ..Config::new("a.example", 7847, Trust::Pinned(key(1)), identity) }
}

/// A cluster of which the user has named `a`.
fn three() -> Nodes {
    let mut nodes = Nodes::new(&config(Vec::new()));
    nodes.learn(&[summary("a", 1, 10), summary("b", 2, 20), summary("c", 3, 30)]);
    nodes
}

/// Numbers that chance could have given.
fn chance(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    }
}

fn hosts(order: &[Place]) -> String {
    order.iter().map(|place| place.host.split('.').next().unwrap()).collect::<Vec<_>>().join(" ")
}

/// How often each is tried first.
fn firsts(nodes: &Nodes, now: Duration) -> BTreeMap<String, u32> {
    let mut firsts = BTreeMap::new();
    for seed in 0..3_000 {
        let order = nodes.order(now, chance(seed));
        *firsts.entry(hosts(&order[..1])).or_default() += 1;
    }
    firsts
}

#[test]
fn a_server_alone_is_tried_and_tried_again() {
    let mut nodes = Nodes::new(&config(Vec::new()));
    for second in 0..100 {
        let now = Duration::from_secs(second);
        assert_eq!(nodes.order(now, || 7), [Place::of(&config(Vec::new()))]);
        nodes.failed(&Place::of(&config(Vec::new())), now);
        nodes.stopping(&Place::of(&config(Vec::new())));
        assert!(!nodes.candidates[0].draining, "there is nowhere else to go");
    }
}

#[test]
fn the_less_loaded_of_two_is_first_and_none_is_always() {
    let firsts = firsts(&three(), NOW);
    let [a, b, c] = ["a", "b", "c"].map(|name| firsts.get(name).copied().unwrap_or_default());
    // 5, 3 and 1 of 9.
    assert!(
        (1_550..1_800).contains(&a) && (900..1_100).contains(&b) && (250..420).contains(&c),
        "{firsts:?}"
    );
}

#[test]
fn those_whose_load_is_not_known_are_chosen_alike() {
    let nodes = Nodes::new(&config(vec![node("a", 1), node("b", 2), node("c", 3)]));
    assert!(
        firsts(&nodes, NOW).values().all(|count| (900..1_100).contains(count)),
        "{:?}",
        firsts(&nodes, NOW)
    );
}

#[test]
fn one_that_failed_is_avoided_for_longer_and_longer_and_tried_again() {
    let mut nodes = three();
    let b = Place::of_node(&node("b", 2));
    let mut now = NOW;
    for avoided in [1, 2, 4, 8, 16, 32, 60, 60] {
        nodes.failed(&b, now);
        let last = now + Duration::from_secs(avoided) - Duration::from_millis(1);
        for time in [now, last] {
            assert_eq!(firsts(&nodes, time).get("b"), None, "{avoided} s are not over");
            assert_eq!(hosts(&nodes.order(time, chance(1))[2..]), "b", "if nothing else helps");
        }
        now += Duration::from_secs(avoided);
        assert!(firsts(&nodes, now).contains_key("b"), "{avoided} s are over");
    }
    nodes.lasted(&b);
    nodes.failed(&b, now);
    assert!(firsts(&nodes, now + AVOIDED).contains_key("b"), "the count begins anew");
}

#[test]
fn one_that_is_stopping_is_the_last_to_go_to() {
    let mut nodes = three();
    nodes.stopping(&Place::of_node(&node("a", 1)));
    nodes.failed(&Place::of_node(&node("b", 2)), NOW);
    nodes.failed(&Place::of_node(&node("c", 3)), NOW + Duration::from_secs(1));
    assert_eq!(hosts(&nodes.order(NOW, chance(5))), "b c a");
    assert!(!nodes.is_ready(NOW) && nodes.is_ready(NOW + Duration::from_secs(1)));
    // It says so of itself, or another node does.
    let mut stopping = summary("c", 3, 0);
    stopping.draining = true;
    nodes.learn(&[summary("b", 2, 20), stopping]);
    assert_eq!(hosts(&nodes.order(NOW, chance(5))), "a b c", "what failed stays avoided");
}

#[test]
fn the_address_that_was_given_stays() {
    let mut nodes = three();
    nodes.learn(&[summary("b", 2, 20)]);
    assert_eq!(nodes.len(), 2);
    assert!(nodes.order(NOW, chance(2)).contains(&Place::of(&config(Vec::new()))));
    nodes.learn(&[]);
    assert_eq!(nodes.order(NOW, chance(2)), [Place::of(&config(Vec::new()))]);
    // Also among more than are tried at once, behind all the others.
    let many: Vec<NodeSummary> = (10..60).map(|n| summary(&format!("n{n}"), n, 0)).collect();
    nodes.learn(&many);
    nodes.failed(&Place::of(&config(Vec::new())), NOW);
    for seed in 0..50 {
        let order = nodes.order(NOW, chance(seed));
        assert_eq!((order.len(), hosts(&order[TRIED - 1..])), (TRIED, "a".to_owned()));
    }
}

#[test]
fn a_key_is_the_one_that_a_trusted_node_told_last() {
    // Remembered, then announced, then gone from the list.
    let mut nodes = Nodes::new(&config(vec![node("a", 9), node("b", 2)]));
    let trusts = |nodes: &Nodes| {
        let mut of: Vec<_> = nodes.candidates.iter().map(|c| (c.place.host.clone(), c.place.trust)).collect();
        of.sort_by(|a, b| a.0.cmp(&b.0));
        of.into_iter().map(|(_, trust)| trust).collect::<Vec<_>>()
    };
    assert_eq!(trusts(&nodes), [Trust::Pinned(key(9)), Trust::Pinned(key(2))]);
    nodes.learn(&[summary("b", 4, 1), summary("a", 1, 1)]);
    assert_eq!(trusts(&nodes), [Trust::Pinned(key(1)), Trust::Pinned(key(4))]);
    nodes.learn(&[summary("b", 4, 1)]);
    assert_eq!(trusts(&nodes), [Trust::Pinned(key(1)), Trust::Pinned(key(4))], "what the user gave");
}

#[test]
fn a_node_with_two_addresses_has_one_load() {
    let identity = Identity::from_seed([1; 32]);
    let config = Config::new("door.example", 1, Trust::Pinned(key(2)), identity);
    let mut nodes = Nodes::new(&config);
    nodes.learn(&[summary("a", 1, 10), summary("b", 2, 20)]);
    assert_eq!((nodes.candidates[0].load, nodes.len()), (Some(20), 3));
}

/// What happens to a client.
#[derive(Debug, Clone)]
enum Step {
    Learn(Vec<(u8, u32, bool)>),
    Failed(u8),
    Lasted(u8),
    Stopping(u8),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        prop::collection::vec((0..12_u8, 0..100_u32, any::<bool>()), 0..12).prop_map(Step::Learn),
        (0..12_u8).prop_map(Step::Failed),
        (0..12_u8).prop_map(Step::Lasted),
        (0..12_u8).prop_map(Step::Stopping),
        (0..90_000_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..40)
}

fn of_byte(byte: u8) -> NodeAddress {
    // 0 is the one that the user has named.
    let name = if byte == 0 { "a".to_owned() } else { format!("n{byte}") };
    node(&name, byte + 1)
}

proptest! {
    /// Whatever happened, something is tried: at most so many, none twice, the given address among them, who is ready before
    /// who is not.
    #[test]
    fn there_is_always_somewhere_to_go(steps in steps(), seed in any::<u64>()) {
        let mut nodes = Nodes::new(&config(Vec::new()));
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Learn(list) => {
                    let list: Vec<NodeSummary> = list
                        .into_iter()
                        .map(|(byte, connections, draining)| {
                            NodeSummary { node: of_byte(byte), connections, draining }
                        })
                        .collect();
                    nodes.learn(&list);
                }
                Step::Failed(byte) => nodes.failed(&Place::of_node(&of_byte(byte)), now),
                Step::Lasted(byte) => nodes.lasted(&Place::of_node(&of_byte(byte))),
                Step::Stopping(byte) => nodes.stopping(&Place::of_node(&of_byte(byte))),
                Step::Pass(ms) => now += Duration::from_millis(ms),
            }
            let order = nodes.order(now, chance(seed));
            prop_assert_eq!(order.len(), nodes.len().min(TRIED));
            prop_assert!(order.iter().any(|place| place.host == "a.example"));
            let mut once = order.clone();
            once.sort_by(|a, b| a.host.cmp(&b.host));
            once.dedup();
            prop_assert_eq!(once.len(), order.len());
            let ready = |place: &Place| nodes.candidates.iter().any(|c| c.place == *place && c.is_ready(now));
            prop_assert_eq!(ready(&order[0]), nodes.is_ready(now), "{:?}", order);
            // Nobody is avoided for ever.
            let later = now + LONGEST;
            prop_assert!(nodes.candidates.iter().all(|c| c.draining || c.is_ready(later)));
        }
    }
}
