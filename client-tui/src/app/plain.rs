//! What is said of an [`App`] in lines, for screen readers and terminals that can do nothing: only what is new since it
//! was asked last. PURE. Imports the app.

use std::collections::BTreeMap;

use jiff::civil::Date;
use quip_protocol::{Event, EventBody, RoomId, SafeLine, Seq, Timestamp};

use super::desk::{Seen, Server};
use super::prompt::Kind;
use super::room::Room;
use super::text::{painted, unturned};
use super::{App, Connection, dates, holes, words};

/// So many messages are told of a room when one comes to it.
const BEGIN: usize = 10;
/// Of a longer message only so many lines are told: who reads line by line cannot skip them.
const LINES: usize = 20;
/// Of an edit so many: a stream is edited four times a second.
const EDIT_LINES: usize = 3;
/// Cells of a sheet.
const WIDTH: usize = 78;

/// Tells what happens.
#[derive(Debug, Default)]
pub struct Narrator {
    links: BTreeMap<Server, String>,
    said: Option<(String, Timestamp)>,
    sheet: Option<String>,
    asked: Option<String>,
    room: Option<(Server, RoomId)>,
    /// Up to where the room was told, once it was.
    told: Option<Seq>,
    day: Option<Date>,
}

impl Narrator {
    /// The lines since the last time. None of them holds a control character, whatever came from outside.
    pub fn news<'a>(&mut self, seen: impl Into<Seen<'a>>) -> Vec<String> {
        let (seen, mut lines) = (seen.into(), Vec::new());
        for (server, app) in seen.servers() {
            self.link(server, &seen.name(server), app, &mut lines);
        }
        let app = seen.app();
        self.room(seen, &mut lines);
        self.said(app, &mut lines);
        self.sheet(app, &mut lines);
        self.prompt(app, &mut lines);
        let safe = |line: String| SafeLine::new(&unturned(line.trim_end())).as_str().to_owned();
        lines.into_iter().map(safe).collect()
    }

    fn link(&mut self, server: Server, name: &SafeLine, app: &App, lines: &mut Vec<String>) {
        let link = match &app.connection {
            Connection::Up => match app.read_only_words() {
                Some(held) => format!("{name} is {held}"),
                None => format!("connected to {name}"),
            },
            Connection::Connecting => format!("connecting to {name}"),
            Connection::Down { why, .. } => {
                let kept = if app.local { "is kept" } else { "waits, and is lost if this client ends" };
                format!("offline from {name}: {why}; what you write {kept}")
            }
        };
        if self.links.get(&server) != Some(&link) {
            lines.push(format!("-- {link}"));
            self.links.insert(server, link);
        }
    }

    fn said(&mut self, app: &App, lines: &mut Vec<String>) {
        let said = app.said.as_ref().map(|said| (said.text.clone(), said.until));
        if let (Some(said), true) = (&app.said, self.said != said) {
            lines.push(format!("{} {}", if said.is_error { "error:" } else { "--" }, said.text));
        }
        self.said = said;
    }

    fn sheet(&mut self, app: &App, lines: &mut Vec<String>) {
        let rows = app.sheet.as_ref().map(|sheet| {
            let rows = sheet.rows(WIDTH).into_iter();
            let rows = rows.map(|row| row.spans.iter().map(|span| span.text.as_str()).collect::<String>());
            std::iter::once(format!("-- {}", sheet.title)).chain(rows).collect::<Vec<_>>()
        });
        let text = rows.as_ref().map(|rows| rows.join("\n"));
        if let (Some(rows), true) = (rows, self.sheet != text) {
            lines.extend(rows);
        }
        self.sheet = text;
    }

    fn prompt(&mut self, app: &App, lines: &mut Vec<String>) {
        let asked = app.prompt.as_ref().map(|prompt| {
            let items = prompt.items.iter().zip(1..);
            let items = items.map(|(item, number)| format!("{number}  {}  {}", item.insert, item.hint));
            let question = match prompt.kind {
                Kind::Sure(..) => prompt.label().to_owned(),
                _ if prompt.items.is_empty() => format!("-- {}", prompt.note()),
                _ => "-- a number goes there, Enter leaves it".to_owned(),
            };
            items.chain([question]).collect::<Vec<_>>().join("\n")
        });
        if let (Some(text), true) = (&asked, self.asked != asked) {
            lines.extend(text.split('\n').map(str::to_owned));
        }
        self.asked = asked;
    }

    /// Where the user is, and what was said there.
    fn room(&mut self, seen: Seen<'_>, lines: &mut Vec<String>) {
        let (app, current) = (seen.app(), seen.room());
        let Some(room) = app.rooms.current() else {
            self.room = None;
            return;
        };
        if self.room != current {
            (self.room, self.told, self.day) = (current, None, None);
            lines.push(arrival(seen, room));
        }
        if !room.timeline.is_loaded() {
            return;
        }
        let told = *self.told.get_or_insert_with(|| beginning(room));
        for event in room.timeline.events().filter(|event| event.seq > told) {
            lines.extend(hole_line(room, event.seq, told));
            let Some(line) = happened(room, event) else { continue };
            let day = dates::day(event.at, &app.zone);
            if self.day.replace(day) != Some(day) {
                lines.push(format!("-- {}", dates::day_label(day, dates::day(app.now, &app.zone))));
            }
            let most = if matches!(event.body, EventBody::Edited { .. }) { EDIT_LINES } else { LINES };
            let mut parts = line.split('\n');
            let first = parts.next().unwrap_or_default();
            lines.push(format!("{} {}", dates::clock(event.at, &app.zone), painted(first)));
            // No further line looks like somebody's.
            lines.extend(parts.by_ref().take(most - 1).map(|part| format!("      {}", painted(part))));
            match parts.count() {
                0 => {}
                more => lines.push(format!("      … {more} more lines; `quip history` prints them")),
            }
        }
        // After a repair of the server's log it comes again.
        self.told = Some(room.timeline.last());
    }
}

/// That something is missing between what was told and an event.
fn hole_line(room: &Room, seq: Seq, told: Seq) -> Option<String> {
    let hole =
        room.timeline.hole(Seq(seq.0.checked_sub(1)?), room.upto()).filter(|hole| hole.first > told)?;
    Some(format!("-- … {} missing; `quip history` prints them", holes::grouped(hole.count())))
}

fn arrival(seen: Seen<'_>, room: &Room) -> String {
    let summary = &room.summary;
    let topic = if summary.topic.is_empty() { String::new() } else { format!(": {}", summary.topic) };
    let unread = match summary.unread {
        0 => String::new(),
        unread => format!(" ({unread} unread)"),
    };
    format!("-- {}{unread}{topic}", seen.label(&summary.target))
}

/// Behind this a room is told from when one comes to it.
fn beginning(room: &Room) -> Seq {
    let messages = room.timeline.newest_run().rev().filter(|event| event.message().is_some());
    messages.take(BEGIN).last().map_or(Seq::ZERO, |event| Seq(event.seq.0.saturating_sub(1)))
}

fn happened(room: &Room, event: &Event) -> Option<String> {
    let author = &event.author;
    let about = |seq: &Seq| {
        let said = room.timeline.message(*seq).map(|(_, message)| words::start(message.text(), 5));
        said.filter(|said| !said.is_empty())
            .map_or_else(|| "an earlier message".to_owned(), |said| format!("“{said}”"))
    };
    Some(match &event.body {
        EventBody::Message(message) if message.deleted => format!("{author}: (deleted)"),
        EventBody::Message(message) => {
            let answers = message.reply_to.map_or_else(String::new, |seq| format!(" (to {})", about(&seq)));
            match message.kind {
                quip_protocol::MessageKind::Action => format!("* {author} {}", message.text()),
                quip_protocol::MessageKind::Plain => format!("{author}{answers}: {}", message.text()),
            }
        }
        EventBody::Edited { text, .. } => format!("* {author} changed a message: {text}"),
        EventBody::Deleted { .. } => format!("* {author} deleted a message"),
        EventBody::Reacted { target, emoji, on: true, .. } => {
            format!("* {author} reacted with {emoji} to {}", about(target))
        }
        EventBody::Reacted { .. } => return None,
        _ => format!("* {}", words::happening(event)?.1),
    })
}
