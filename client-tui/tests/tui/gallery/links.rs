//! How the connection is, several servers in one client, and the first screen of all.

use quip::app::first_run::FirstRunScreen;
use quip::app::{Input, Loaded};
use quip_protocol::*;
use quip_storage::Copied;

use super::rooms::{busy, opened};
use crate::harness::*;
use crate::servers::{HOME, Servers, WORK};

pub fn connecting(world: World) -> World {
    world
}

pub fn connecting_long(world: World) -> World {
    let mut world = busy(world);
    world.pass(6 * MINUTE);
    world
}

pub fn no_rooms(mut world: World) -> World {
    world.connect();
    world
}

/// Two messages wait for the server.
pub fn offline(world: World) -> World {
    let mut world = opened(world);
    world.lose(3_000);
    world.keys(
        "are you there?<Enter>and this, which is a little longer than a line of the timeline is<Enter>",
    );
    world
}

pub fn suspended(world: World) -> World {
    let mut world = opened(world);
    world.online = false;
    let why = world.outside_line("this account was suspended; ask the server's operator");
    world.input(Input::Down { why, retry_in_ms: Some(9_000) });
    world
}

/// A client that was away for a while.
pub fn catching_up(mut world: World) -> World {
    world.host(1, "#ops", "what runs");
    for text in ["one", "two", "three", "four"] {
        world.said(1, MIDNIGHT, "bob", text);
    }
    let hosted = &world.rooms[&RoomId(1)];
    let (events, head) = (hosted.events.clone(), hosted.summary.head);
    let rooms = vec![Copied { summary: hosted.summary.clone(), cursor: Some(head), whole: Some(Seq(1)) }];
    world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), rooms, ..Loaded::default() })));
    world.input(Input::Page { room: RoomId(1), from: frame::PageFrom::Latest, events, head });
    for _ in 0..300 {
        world.said(1, MIDNIGHT, "bob", "missed");
    }
    world.connect();
    world
}

/// The server takes no messages for now.
pub fn held_up(world: World) -> World {
    let mut world = opened(world);
    world.online = false;
    world.keys("hello<Enter>");
    let why = world.outside_line("the disk of the server is full");
    world.input(Input::HeldUp(Refusal::retry(ErrorCode::Degraded, why.as_str(), 5_000)));
    world
}

/// The server says that it writes nothing, before anything was written.
pub fn read_only(world: World) -> World {
    let mut world = opened(world);
    let why = world.outside_line("the log that the nodes share does not answer");
    world.input(Input::ReadOnly(why));
    world.online = false;
    world.keys("hello<Enter>");
    world
}

pub fn away(world: World) -> World {
    let mut world = opened(world);
    let text = world.outside_line("back at three");
    world.keys(&format!("/away {text}<Enter>"));
    world.pass(10_000);
    world
}

/// A long word to the user.
pub fn said(world: World) -> World {
    let mut world = opened(world);
    world.keys("/role @bob emperor<Enter>");
    world
}

/// Two servers with rooms of the same names, nothing connected.
fn both(mut home: World) -> Servers {
    let mut work = home.beside("build.example", "work");
    home.host(1, "#general", "where we live");
    home.host(2, "#house", "");
    home.host(3, "@bob", "");
    home.said(1, MIDNIGHT + 9 * HOUR, "bob", "good morning from home");
    home.said(2, MIDNIGHT + 10 * HOUR, "bob", "the roses, @ann");
    home.unread(2, 0, 1, 1);
    work.host(1, "#general", "where we work");
    work.host(2, "#ops", "");
    work.said(1, MIDNIGHT + 8 * HOUR, "carl", "good morning from work");
    work.said(2, MIDNIGHT + 11 * HOUR, "carl", "@ann the deploy failed");
    work.unread(1, 0, 1, 0);
    work.unread(2, 0, 1, 1);
    Servers::of(vec![home, work])
}

/// The same, of tests that ask for no more.
pub fn unconnected() -> Servers {
    both(World::new())
}

pub fn two(world: World) -> Servers {
    let mut servers = both(world);
    servers.connect(HOME);
    servers.connect(WORK);
    // The first room that calls is shown first.
    servers.keys("<A-1>");
    servers
}

pub fn one_down(world: World) -> Servers {
    let mut servers = two(world);
    servers.server(WORK, |work| work.lose(3_000));
    servers
}

pub fn one_connecting(world: World) -> Servers {
    let mut servers = both(world);
    servers.connect(HOME);
    servers
}

fn pressed(mut servers: Servers, keys: &str) -> Servers {
    servers.keys(keys);
    servers
}

pub fn servers(world: World) -> Servers {
    pressed(one_down(world), "<A-5>kept for later<Enter><A-1>/servers<Enter>")
}

pub fn list_two(world: World) -> Servers {
    pressed(two(world), "/list<Enter>")
}

pub fn switcher_two(world: World) -> Servers {
    pressed(two(world), "<C-k>gen")
}

pub fn mentions_two(world: World) -> Servers {
    pressed(two(world), "<A-n>")
}

pub fn search_two(world: World) -> Servers {
    pressed(two(world), "<A-2><C-f><C-f>good mor")
}

fn first(keys: &str) -> FirstRunScreen {
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    parse_keys(keys).into_iter().for_each(|key| drop(screen.key(key)));
    screen
}

pub fn first_run(_: World) -> FirstRunScreen {
    first("")
}

/// A link that is none was pasted.
pub fn first_run_link(world: World) -> FirstRunScreen {
    let mut screen = first("j");
    screen.paste(&world.outside("quip://127.0.0.1:7847/?fp=SHA256:short"));
    parse_keys("<Enter>").into_iter().for_each(|key| drop(screen.key(key)));
    screen
}

pub fn first_run_name(_: World) -> FirstRunScreen {
    let mut screen = first("j");
    screen.paste("'quip://chat.example:7847/#AAECAwQFBgcICQoLDA0ODw'");
    parse_keys("<Enter>").into_iter().for_each(|key| drop(screen.key(key)));
    screen
}
