//! What a client brings into its local copy by itself: rooms that were never opened, piece by piece, whatever is killed.

use quip_protocol::Target;
use quip_protocol::frame::PageFrom;
use quip_tests::{Quip, Server, Terminal, connected, eventually, join, post_all};

use crate::offline::{fast, seq};

#[test]
fn a_room_that_was_never_opened_is_read_and_searched_without_a_network() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    ann.run(&["room", "create", "#ops", "--members", "bob"]).ok();
    for text in ["a needle in the hay", "hay", "more hay"] {
        bob.run(&["send", "#ops", text]).ok();
    }
    // Which is why that one is opened.
    bob.run(&["send", "#general", "@ann look here"]).ok();
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.until("it is in another room", |screen| {
        screen.contains("connected to") && screen.contains("Message #general")
    });
    let needle = || ann.run(&["search", "needle"]).stdout.lines().next().map(str::to_owned);
    assert!(eventually("it is found", needle).contains("#ops"));
    terminal.say("/quit");
    terminal.ends();
    assert!(server.stop());
    let history = ann.run(&["history", "#ops"]);
    assert!(history.stderr.contains("local copy"), "{history:?}");
    assert!(history.ok().contains("more hay"));
    let export = ann.run(&["export", "#ops"]).ok();
    assert!(!export.contains("\"type\":\"gap\""), "{export}");
    assert_eq!(export.lines().filter_map(seq).next(), Some(1), "from its beginning: {export}");
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.shows("offline from");
    terminal.press(&["M-2"]);
    terminal.shows("a needle in the hay");
}

/// How much is yet to be fetched, as the screen says it.
fn left(screen: &str) -> Option<u64> {
    screen.split(" older to fetch").next()?.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_killed_meanwhile_goes_on() {
    const THERE: usize = 20_000;
    let server = fast();
    let owner = join(server.owner.as_ref().unwrap(), "owner").await;
    let general: Target = "#general".parse().unwrap();
    post_all(&owner, &general, (0..THERE).map(|n| format!("message number {n}."))).await;
    let head = connected("the head", || owner.page(&general, PageFrom::Latest, 1)).await.head.seq;
    let invite = server.invite(&[]);
    let mut server = server;
    tokio::task::spawn_blocking(move || {
        let ann = Quip::joined(&invite, "ann");
        for most in [15_000, 8_000] {
            let terminal = Terminal::client(&ann, 80, 24);
            // All of it may have come between two looks at the screen.
            terminal.until("some of it is there", |screen| {
                let listed = screen.contains("connected to") && !screen.contains("listing");
                left(screen).map_or(listed, |left| left < most)
            });
            terminal.kill();
        }
        let terminal = Terminal::client(&ann, 80, 24);
        terminal.until("all of it is there", |screen| {
            screen.contains("connected to") && !screen.contains("listing") && left(screen).is_none()
        });
        terminal.say("/quit");
        terminal.ends();
        assert!(server.stop());
        let copy = ann.run(&["export", "#general"]).ok();
        let seqs: Vec<u64> = copy.lines().filter_map(seq).take_while(|seq| *seq <= head.0).collect();
        let wrong = (1..=head.0).find(|seq| seqs.get(*seq as usize - 1) != Some(seq));
        assert_eq!((wrong, seqs.len() as u64), (None, head.0), "seq by seq as the server");
    })
    .await
    .unwrap();
}
