//! A copy with holes: what is in it is read without a network, and Enter fills a hole with one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use quip_protocol::frame::PageFrom;
use quip_protocol::{Event, RoomId, Seq, Target};
use quip_storage::Replica;
use quip_tests::{Quip, Terminal, connected, eventually, join, post_all};

use crate::offline::fast;

const THERE: usize = 900;

/// The files of the only server that this client knows.
fn files(quip: &Quip) -> PathBuf {
    std::fs::read_dir(quip.home().join("data/servers")).unwrap().next().unwrap().unwrap().path()
}

/// Makes the copy anew, of these events alone.
fn keep(files: &Path, runs: &[&[Event]]) {
    let dir = files.join("replica");
    let (rooms, owner) = {
        let (old, _) = Replica::open(&dir).unwrap();
        (old.rooms().unwrap(), old.owner().unwrap().unwrap())
    };
    std::fs::remove_dir_all(&dir).unwrap();
    // It is made again, if it was made at all.
    let _ = std::fs::remove_dir_all(files.join("search"));
    let (new, _) = Replica::open(&dir).unwrap();
    new.set_owner(&owner).unwrap();
    new.put_rooms(&rooms.into_iter().map(|room| room.summary).collect::<Vec<_>>()).unwrap();
    for run in runs.iter().rev() {
        let head = runs.last().unwrap().last().unwrap().seq;
        new.insert(run[0].room, run, head).unwrap();
    }
    new.sync().unwrap();
}

/// Whether the copy has this.
fn has(files: &Path, room: RoomId, seq: u64) -> bool {
    let (copy, _) = Replica::open(files.join("replica")).unwrap();
    copy.event(room, Seq(seq)).unwrap().is_some()
}

fn texts(events: &[Event]) -> BTreeSet<String> {
    events.iter().filter_map(Event::message).map(|message| message.text().to_owned()).collect()
}

/// The rows above what is written and said.
fn timeline(screen: &str) -> Vec<String> {
    screen.lines().take(21).map(str::to_owned).collect()
}

/// Everything that is seen on the way up to the beginning: what was said, and what is missing.
fn read_up(terminal: &Terminal) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut said, mut missing) = (BTreeSet::new(), BTreeSet::new());
    let newest = |screen: &str| screen.contains("offline from") && screen.contains("ann joined");
    let mut screen = terminal.until("the newest", newest);
    loop {
        for line in timeline(&screen) {
            let from = |what: &str| line.find(what).map(|at| line[at..].trim_end().to_owned());
            said.extend(from("message number"));
            missing.extend(from("…").filter(|line| line.contains("missing")));
        }
        if screen.contains("This is the beginning of #general") {
            return (said, missing);
        }
        let before = timeline(&screen);
        terminal.press(&["PPage"]);
        screen = terminal.until("it moved", |screen| timeline(screen) != before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_two_holes_is_read_and_filled() {
    let server = fast();
    let owner = join(server.owner.as_ref().unwrap(), "owner").await;
    let general: Target = "#general".parse().unwrap();
    post_all(&owner, &general, (0..THERE).map(|n| format!("message number {n}."))).await;
    let invite = server.invite(&[]);
    let ann = tokio::task::spawn_blocking(move || {
        let ann = Quip::joined(&invite, "ann");
        let config = ann.home().join("config");
        std::fs::create_dir_all(&config).unwrap();
        // Nothing else fills a hole.
        std::fs::write(config.join("quip.toml"), "keep = 60\n").unwrap();
        let terminal = Terminal::client(&ann, 80, 24);
        terminal.shows("ann joined");
        terminal.shows("connected to");
        terminal.say("/quit");
        terminal.ends();
        ann
    });
    let ann = ann.await.unwrap();
    let mut all: Vec<Event> = Vec::new();
    loop {
        let from = PageFrom::After(all.last().map_or(Seq::ZERO, |event| event.seq));
        let page = connected("a page", || owner.page(&general, from, 500)).await;
        all.extend(page.events);
        if all.last().is_some_and(|event| event.seq == page.head.seq) {
            break;
        }
    }
    let mut server = server;
    let done = tokio::task::spawn_blocking(move || {
        assert!(server.stop());
        let files = files(&ann);
        let newest = all.len() - 60;
        let runs = [&all[..100], &all[400..460], &all[newest..]];
        keep(&files, &runs);

        let terminal = Terminal::client(&ann, 80, 24);
        let (said, missing) = read_up(&terminal);
        assert_eq!(said, texts(&runs.concat()), "all that is in the copy, and nothing else");
        let line = |count: usize| format!("… {count} missing · fetched when connected");
        assert_eq!(missing, [line(300), line(newest - 460)].into());

        terminal.press(&["Escape"]);
        let messages = texts(runs[2]).len();
        terminal.press(&["-N", &(messages + 1).to_string(), "M-k"]);
        terminal.shows(&format!("▌{}", line(newest - 460)));
        terminal.press(&["Enter"]);
        terminal.shows(&format!("offline: {} events are fetched when the server answers", newest - 460));
        server.restart();
        terminal.shows("connected to");
        let last = all[460].message().unwrap().text().to_owned();
        eventually("all of it is in the copy", || {
            ann.run(&["search", &last]).ok().contains(&last).then_some(())
        });
        terminal.say("/quit");
        terminal.ends();
        for seq in [461, newest as u64 - 100, newest as u64] {
            assert!(has(&files, all[0].room, seq), "{seq} was fetched");
        }
        assert!(!has(&files, all[0].room, 150), "nobody asked for the other hole");
    });
    done.await.unwrap();
}
