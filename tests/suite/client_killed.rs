//! kill -9 of the terminal client at random moments, while it sends and receives, with the server there and away.

use std::collections::BTreeSet;
use std::thread;

use quip_protocol::Target;
use quip_protocol::client::{Client, Post};
use quip_tests::{Quip, Random, Server, Terminal, connected, eventually, join};
use tokio::runtime::Runtime;

const SEED: u64 = 0x51;
const ROUNDS: usize = 50;
/// Of the other member, in each round while the server is there.
const OTHERS: usize = 20;

/// The numbers behind `word` in a text, in their order.
fn numbers(text: &str, word: &str) -> Vec<usize> {
    let number = |rest: &str| rest.split_once('.').and_then(|(number, _)| number.parse().ok());
    text.split(word).skip(1).filter_map(number).collect()
}

fn talk(runtime: &Runtime, bob: &Client, round: usize) {
    let general: Target = "#general".parse().unwrap();
    for n in 0..OTHERS {
        let post = Post::new(general.clone(), &format!("from bob {}.", round * OTHERS + n));
        // With the same id until there is a receipt: the server may just have been started again.
        let receipt = connected("a receipt", || {
            let (handle, post) = (bob.handle(), post.clone());
            async move { handle.post(post).await }
        });
        runtime.block_on(receipt);
    }
}

/// One life of the client, which lasts until it has shown what it said last if it has to: what was ever seen as its own on the
/// screen.
fn life(ann: &Quip, said: &mut usize, random: &mut Random, must_show: bool) -> BTreeSet<usize> {
    let terminal = Terminal::client(ann, 100, 30);
    terminal.shows("#general");
    for _ in 0..=random.below(3) {
        terminal.say(&format!("from ann {said}."));
        *said += 1;
    }
    let mut seen = BTreeSet::new();
    if must_show {
        let last = *said - 1;
        seen.extend(eventually("it shows what it said", || {
            let shown = numbers(&timeline(&terminal), "from ann ");
            shown.contains(&last).then_some(shown)
        }));
    }
    for _ in 0..random.below(12) {
        seen.extend(numbers(&timeline(&terminal), "from ann "));
    }
    terminal.kill();
    seen
}

/// What is above the composer.
fn timeline(terminal: &Terminal) -> String {
    let screen = terminal.screen();
    let lines: Vec<&str> = screen.lines().collect();
    let composer = lines.iter().rposition(|line| line.starts_with('─'));
    lines[..composer.unwrap_or_default()].join("\n")
}

#[test]
fn a_client_killed_at_fifty_moments_loses_and_doubles_nothing() {
    let mut server = Server::with_config("[limits]\nmessages_per_second = 100000\nburst_messages = 100000");
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let runtime = Runtime::new().unwrap();
    let bob = runtime.block_on(join(&server.invite(&[]), "bob"));
    runtime.block_on(async { bob.join("#general").await.unwrap() });
    let terminal = Terminal::client(&ann, 100, 30);
    terminal.shows("bob joined");
    terminal.say("/quit");
    terminal.ends();
    let (mut random, mut said, mut seen) = (Random::new(SEED), 0, BTreeSet::new());
    for round in 0..ROUNDS {
        match round % 5 {
            3 => server.kill(),
            4 => server.restart(),
            _ => {}
        }
        thread::scope(|scope| {
            if round % 5 != 3 {
                scope.spawn(|| talk(&runtime, &bob, round));
            }
            // Most are killed before anything is shown where the machine is busy; what was not seen shows nothing.
            let must_show = seen.len() <= round / 2 + 1;
            seen.extend(life(&ann, &mut said, &mut random, must_show));
        });
    }
    let terminal = Terminal::client(&ann, 100, 30);
    terminal.connected();
    terminal.say("the very last one");
    let everything = eventually("all arrives", || {
        let arrived = ann.run(&["export", "#general"]).ok();
        arrived.contains("the very last one").then_some(arrived)
    });
    let arrived = numbers(&everything, "\"from ann ");
    let in_order = arrived.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(in_order, "each once, in order (seed {SEED}): {arrived:?}");
    let lost: Vec<&usize> = seen.iter().filter(|number| !arrived.contains(number)).collect();
    assert!(lost.is_empty(), "seen and lost (seed {SEED}): {lost:?}");
    assert!(seen.len() > ROUNDS / 2, "too little was seen to say anything: {}", seen.len());
    terminal.shows("the very last one");
    terminal.say("/quit");
    terminal.ends();
    the_copy_is_the_same(&ann, &mut server, &everything);
}

/// What the client kept of what it received, seq by seq.
fn the_copy_is_the_same(ann: &Quip, server: &mut Server, everything: &str) {
    assert!(server.stop());
    let copy = ann.run(&["export", "#general"]).ok();
    let copied: Vec<&str> = copy.lines().collect();
    let all: Vec<&str> = everything.lines().collect();
    // The copy begins where the client came in.
    assert_eq!(copied[..], all[all.len() - copied.len()..], "(seed {SEED})");
    assert!(copied.len() > ROUNDS * OTHERS / 2, "only {} lines are kept", copied.len());
}
