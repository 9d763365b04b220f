//! What is asked in the composer's place, what is offered above it, and what is laid over everything.

use quip::app::{Input, Loaded};
use quip_protocol::room::MemberSummary;
use quip_protocol::*;

use super::rooms::{opened, with_bob_away};
use crate::harness::*;

/// The scene with these keys pressed.
fn pressed(mut world: World, keys: &str) -> World {
    world.keys(keys);
    world
}

pub fn switcher(world: World) -> World {
    pressed(opened(world), "<C-k>")
}

pub fn switcher_typed(world: World) -> World {
    pressed(opened(world), "<C-k>ro")
}

pub fn recall(world: World) -> World {
    let lines = "first thing<Enter>/me waves<Enter>another thing, which is longer than the others are<Enter>";
    let mut world = pressed(opened(world), lines);
    let pasted = world.outside("a line");
    world.input(Input::Paste(pasted));
    pressed(world, "<Enter>draft<C-r>")
}

pub fn mentions(mut world: World) -> World {
    world.host(1, "#general", "");
    world.host(2, "#a-room-with-a-very-long-name", "");
    for n in 0..30 {
        let text =
            if n % 9 == 4 { "@ann could you please look at the thing that fell over?" } else { "noise" };
        world.said(2, MIDNIGHT + n * MINUTE, "bob", text);
    }
    world.said(1, MIDNIGHT + HOUR, "carl", "see @ann, please");
    world.unread(1, 0, 1, 1);
    world.unread(2, 20, 10, 1);
    world.connect();
    world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), ..Default::default() })));
    pressed(world, "<A-1><A-n>")
}

pub fn sure(world: World) -> World {
    pressed(opened(world), "a message that is to be deleted<Enter>/delete<Enter>")
}

const DAY: u64 = 24 * HOUR;

/// Two rooms, with what is looked for far back in one of them.
fn few(mut world: World) -> World {
    world.host(1, "#general", "everything else");
    world.host(2, "#ops", "what runs");
    world.said(1, MIDNIGHT - 400 * DAY, "bob", "the very first deploy of the year before");
    for number in 0..200u64 {
        let text = match number {
            20 => "DEPLOY failed:\nsee src/like.rs:42 for the naïve loop",
            21 => "漢字を書く deploy",
            _ => &format!("message number {number}"),
        };
        world.said(1, MIDNIGHT - 20 * DAY + number * 2 * HOUR, ["bob", "carl"][number as usize % 2], text);
    }
    let long = format!("{} and then a deploy at its end", "words ".repeat(40));
    world.said(2, MIDNIGHT + 9 * HOUR, "carl", &long);
    world.said(2, MIDNIGHT + 10 * HOUR, "bob", "deployed foo_bar");
    world.connect();
    pressed(world, "<C-k>#gen<Enter>")
}

pub fn search(world: World) -> World {
    pressed(few(world), "<C-f>")
}

pub fn search_room(world: World) -> World {
    pressed(few(world), "<C-f>depl")
}

pub fn search_all(world: World) -> World {
    pressed(few(world), "<C-f>depl<C-f><Down>")
}

pub fn search_none(world: World) -> World {
    let mut world = few(world);
    world.remaining = 40_000;
    pressed(world, "/search zebra<Enter>")
}

pub fn search_wrong(world: World) -> World {
    pressed(few(world), "/search after:soon<Enter>")
}

pub fn search_jumped(world: World) -> World {
    pressed(few(world), "<C-f>like.rs<Enter>")
}

pub fn completion_commands(world: World) -> World {
    pressed(opened(world), "/")
}

pub fn completion_usage(world: World) -> World {
    pressed(opened(world), "/search ")
}

pub fn completion_nicks(world: World) -> World {
    pressed(opened(world), "what does @<Tab>")
}

pub fn completion_emoji(world: World) -> World {
    pressed(opened(world), ":c<Tab>")
}

pub fn completion_levels(world: World) -> World {
    pressed(opened(world), "/notify <Tab>")
}

pub fn help(world: World) -> World {
    pressed(opened(world), "<F1>")
}

pub fn help_end(world: World) -> World {
    pressed(opened(world), &format!("<F1>{}", "<PgDn>".repeat(60)))
}

pub fn thread(world: World) -> World {
    let mut world = opened(world);
    answers(&mut world, "no, I do, since yesterday evening when you gave them to me");
    pressed(world, "/thread<Enter>")
}

/// A question, an answer to it, and one to that, which is `last`; something else between them.
pub fn answers(world: &mut World, last: &str) {
    let question = world.says(1, "bob", "who has the keys?");
    let answer = |number: u64, text: &str, to: Seq| {
        EventBody::Message(Message::new(id(number), MessageKind::Plain, text.into(), Some(to)))
    };
    let first = world.live(1, "carl", answer(901, "I do", question));
    world.says(1, "bob", "lunch?");
    world.live(1, "ann", answer(902, last, first));
}

pub fn edits(world: World) -> World {
    let mut world = opened(world);
    let edit = |target: Seq, number: u64, text: &str| EventBody::Edited {
        target,
        id: id(number),
        text: text.into(),
        drops: None,
    };
    let target = world.says(1, "bob", "the deploy is tomorow at nine");
    world.pass(60_000);
    world.live(1, "bob", edit(target, 911, "the deploy is tomorrow at nine"));
    world.pass(60_000);
    world.live(1, "bob", edit(target, 912, "the deploy is tomorrow at ten,\nnot at nine"));
    pressed(world, "/edits<Enter>")
}

pub fn members(world: World) -> World {
    let mut world = with_bob_away(world);
    let hosted = world.rooms.get_mut(&RoomId(1)).unwrap();
    let name = name("a-name-of-thirty-two-characters-");
    hosted.members.push(MemberSummary { name, role: Role::Reader, online: true, bot: true });
    pressed(world, "/who<Enter>")
}

pub fn whois(world: World) -> World {
    pressed(with_bob_away(world), "/whois @bob<Enter>")
}

pub fn public_rooms(world: World) -> World {
    pressed(opened(world), "/rooms<Enter>")
}

pub fn list(world: World) -> World {
    pressed(opened(world), "/list<Enter>")
}

pub fn invite(world: World) -> World {
    pressed(opened(world), "/invite<Enter>")
}

/// A link that is shown at the start.
pub fn welcome(world: World) -> World {
    let mut world = opened(world);
    let lines = [
        "A colleague joins with: quip join 'quip://192.0.2.7:7847/?fp=SHA256:TU4ouADlp2sccMiUlKEIvJhzhd9AgAbjBlg8QLI-S7g#AAECAwQFBgcICQoLDA0ODw' --name NAME",
        "The server runs in this client.",
    ];
    let (title, lines) = (world.outside_line("Welcome"), lines.map(|line| world.outside_line(line)).to_vec());
    world.input(Input::Show { title, lines });
    world
}
