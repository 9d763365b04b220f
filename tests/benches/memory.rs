//! What accounts, devices, rooms and memberships cost in the engine's memory: real commands, applied; bytes by a counting
//! allocator, and resident memory. `cargo bench -p quip-tests --bench memory -- 100000 1000000`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a program that prints its figures"
)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "counts are far below 2^52")]

use std::alloc::System;
use std::hint::black_box;

use quip_protocol::{AccountName, DeviceKey, Epoch, SafeLine, Timestamp};
use quip_server::engine::{Actor, Command, CommandBody, Engine, Rules, Terms};
use quip_tests::past::NoPast;
use quip_tests::process::Process;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TERMS: Terms = Terms { epoch: Epoch::FIRST, rules: Rules::FIRST };
const FOREVER: Timestamp = Timestamp(u64::MAX);
/// Of how many rooms of which size each account is a member, beside the one that everybody is in.
const DIRECT: u64 = 4;
const ROOMS: [(u64, u64); 3] = [(8, 10), (5, 100), (2, 1_000)];
/// Greater than any number of accounts, so that each of them mixes all.
const PRIMES: [u64; 20] = [
    1_000_003, 1_000_033, 1_000_037, 1_000_039, 1_000_081, 1_000_099, 1_000_117, 1_000_121, 1_000_133,
    1_000_151, 1_000_159, 1_000_171, 1_000_183, 1_000_187, 1_000_193, 1_000_199, 1_000_211, 1_000_213,
    1_000_231, 1_000_249,
];

fn key(account: u64, device: u8) -> DeviceKey {
    let mut key = [device; 32];
    key[..8].copy_from_slice(&account.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    DeviceKey(key)
}

fn name(account: u64) -> AccountName {
    format!("person-{account}").parse().unwrap()
}

/// A community that grows.
struct World {
    engine: Engine,
    accounts: u64,
    rooms: u64,
}

impl World {
    fn new(accounts: u64) -> World {
        let mut world = World { engine: Engine::default(), accounts, rooms: 0 };
        world.apply(Actor::Operator, CommandBody::Bootstrap { owner: [1; 32], expires: FOREVER });
        world
    }

    fn apply(&mut self, by: Actor, body: CommandBody) {
        let command = Command { at: Timestamp(1_767_225_600_000), by, body };
        let mut changes = Vec::new();
        self.engine.apply(&NoPast, TERMS, &command, &mut changes).unwrap();
        black_box(changes);
    }

    fn register(&mut self) {
        for account in 0..self.accounts {
            let (name, label) = (name(account), SafeLine::new("thinkpad"));
            self.apply(Actor::Device(key(account, 1)), CommandBody::Register { name, label });
        }
    }

    /// Each links another device, by a code.
    fn link(&mut self) {
        for account in 0..self.accounts {
            let hash = key(account, 9).0;
            let code = CommandBody::NewDeviceCode { hash, expires: FOREVER };
            self.apply(Actor::Device(key(account, 1)), code);
            let redeem = CommandBody::Redeem { hash, name: None, label: SafeLine::new("desktop") };
            self.apply(Actor::Device(key(account, 2)), redeem);
        }
    }

    /// All accounts, in an order that is another each time.
    fn mixed(&self, round: usize) -> impl Iterator<Item = u64> + use<> {
        let (all, step) = (self.accounts, PRIMES[round]);
        (0..all).map(move |n| n * step % all)
    }

    fn directs(&mut self) {
        for round in 0..DIRECT {
            let order: Vec<u64> = self.mixed(round as usize).collect();
            for pair in order.chunks_exact(2) {
                let with = name(pair[1]);
                self.apply(Actor::Device(key(pair[0], 1)), CommandBody::OpenDirect { with });
            }
        }
    }

    fn rooms(&mut self, from: u64, rounds: u64, size: u64) {
        for round in from..from + rounds {
            let order: Vec<u64> = self.mixed(round as usize).collect();
            for members in order.chunks(size as usize) {
                self.rooms += 1;
                let body = CommandBody::CreateRoom {
                    name: format!("project-{}", self.rooms).parse().unwrap(),
                    private: true,
                    topic: SafeLine::new("what we are about to do"),
                    members: members[1..].iter().copied().map(name).collect(),
                };
                self.apply(Actor::Device(key(members[0], 1)), body);
            }
        }
    }
}

/// What a step added.
#[derive(Clone, Copy)]
struct Added {
    bytes: f64,
    blocks: f64,
    resident: f64,
}

fn measured(step: impl FnOnce()) -> Added {
    let (region, before) = (Region::new(ALLOCATOR), resident());
    step();
    let change = region.change();
    Added {
        bytes: change.bytes_allocated as f64 - change.bytes_deallocated as f64,
        blocks: change.allocations as f64 - change.deallocations as f64,
        resident: resident() - before,
    }
}

/// In bytes; 0 where that is not known.
fn resident() -> f64 {
    Process::this().rss_kib().unwrap_or(0) as f64 * 1_024.0
}

fn line(what: &str, count: u64, added: Added) {
    let each = |of: f64| of / count as f64;
    println!(
        "{what:<48} {count:>9}  {:>7.0} bytes  {:>5.1} blocks  {:>7.0} resident",
        each(added.bytes),
        each(added.blocks),
        each(added.resident)
    );
}

fn measure(accounts: u64) {
    let mut world = World::new(accounts);
    println!("{accounts} accounts; of each one of these:");
    let mut steps = vec![measured(|| world.register())];
    line("account, a device, a place in #general", accounts, steps[0]);
    steps.push(measured(|| world.link()));
    line("one more device, and the code it came by", accounts, steps[1]);
    steps.push(measured(|| world.directs()));
    line("direct room of two", accounts * DIRECT / 2, steps[2]);
    let (mut from, mut each) = (DIRECT, Vec::new());
    for (rounds, size) in ROOMS {
        let (before, added) = (world.rooms, measured(|| world.rooms(from, rounds, size)));
        let count = world.rooms - before;
        line(&format!("room of {size}"), count, added);
        each.push([added.bytes, added.resident].map(|all| all / count as f64));
        steps.push(added);
        from += rounds;
    }
    let slope = |of: usize| (each[2][of] - each[1][of]) / (ROOMS[2].1 - ROOMS[1].1) as f64;
    println!(
        "a place in a room, by those of 100 and of 1000: {:.0} bytes, {:.0} resident",
        slope(0),
        slope(1)
    );
    let all = |of: fn(&Added) -> f64| steps.iter().map(of).sum::<f64>();
    let (bytes, in_memory) = (all(|step| step.bytes), all(|step| step.resident));
    println!(
        "in all {:.0} MiB ({:.0} resident): {:.0} bytes an account ({:.0}) with 2 devices, in 20 rooms\n",
        bytes / 1_048_576.0,
        in_memory / 1_048_576.0,
        bytes / accounts as f64,
        in_memory / accounts as f64
    );
    black_box(world);
}

/// For as many accounts as the arguments say, one after the other.
fn main() {
    let said: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for accounts in if said.is_empty() { vec![2_000] } else { said } {
        measure(accounts);
    }
}
