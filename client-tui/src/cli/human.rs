//! What people read: one calm line for each event, room, member, device. Imports the protocol's types.

use jiff::tz::TimeZone;
use quip_protocol::room::{AccountSummary, DeviceSummary, MemberSummary, RoomSummary};
use quip_protocol::{Event, EventBody, Message, MessageKind, NodeSummary, SafeLine, Target};

use super::json::kind;
use super::time::minute;
use crate::app::presence::Presence;
use crate::app::words::{counted, with_article};

/// How far the further lines of a message are indented, so that none of them looks like a message.
const INDENT: &str = "\n    ";

/// `2026-11-21 14:03 #ops 42 <ann> text`; without the room if there is only one.
pub fn event(event: &Event, room: Option<&Target>, zone: &TimeZone) -> String {
    let at = minute(event.at, zone);
    let what = said(event).replace('\n', INDENT);
    match room {
        Some(room) => format!("{at} {room} {} {what}", event.seq),
        None => format!("{at} {} {what}", event.seq),
    }
}

fn said(event: &Event) -> String {
    let author = &event.author;
    match &event.body {
        EventBody::Message(message) => self::message(author.as_str(), message),
        EventBody::Edited { target, text, .. } if text.is_empty() => format!("* {author} edited {target}"),
        EventBody::Edited { target, text, .. } => format!("* {author} edited {target}: {text}"),
        EventBody::Deleted { target, .. } => format!("* {author} deleted {target}"),
        EventBody::Reacted { target, emoji, on: true, .. } => {
            format!("* {author} reacted to {target} with {emoji}")
        }
        EventBody::Reacted { target, emoji, on: false, .. } => {
            format!("* {author} took {emoji} away from {target}")
        }
        EventBody::Created { members: 1 } => format!("* {author} made the room"),
        EventBody::Created { members } => format!("* {author} made the room with {members} members"),
        EventBody::Joined => format!("* {author} joined"),
        EventBody::Left => format!("* {author} left"),
        EventBody::Invited { who, count } => format!("* {author} invited {}", names(who, *count)),
        EventBody::Kicked { who, reason } if reason.is_empty() => format!("* {author} removed {who}"),
        EventBody::Kicked { who, reason } => format!("* {author} removed {who}: {reason}"),
        EventBody::RoleSet { who, role } => format!("* {author} made {who} {}", with_article(*role)),
        EventBody::Topic { topic } if topic.is_empty() => format!("* {author} took the topic away"),
        EventBody::Topic { topic } => format!("* {author} set the topic: {topic}"),
        EventBody::Archived => format!("* {author} archived the room"),
    }
}

fn message(author: &str, message: &Message) -> String {
    let mut line = match message.kind {
        MessageKind::Plain => format!("<{author}> "),
        MessageKind::Action => format!("* {author} "),
    };
    if let Some(seq) = message.reply_to {
        line += &format!("(re {seq}) ");
    }
    line += if message.deleted { "(deleted)" } else { message.text() };
    if message.edited.is_some() && !message.deleted {
        line += " (edited)";
    }
    for reaction in &message.reactions {
        line += &format!(" [{} {}]", reaction.emoji, reaction.by.len());
    }
    line
}

fn names(who: &[quip_protocol::AccountName], count: u32) -> String {
    let named: Vec<&str> = who.iter().map(|name| name.as_str()).collect();
    match usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// `#ops  3 members  12 unread (2 mentions)  what it is about`.
pub fn room(room: &RoomSummary) -> String {
    let members = if room.members == 1 { "member" } else { "members" };
    let mut line = format!("{:<24} {:>6} {members:<7}", room.target, room.members);
    line += &format!("  {}", room.role.map_or("not in it", |_| kind(room.kind)));
    if room.archived {
        line += "  archived";
    }
    if room.unread > 0 {
        line += &format!("  {} unread{}", room.unread, mentions(room.mentions));
    }
    if !room.topic.is_empty() {
        line += &format!("  {}", room.topic);
    }
    line
}

/// `#ops 12 (2 mentions)`.
pub fn unread(room: &RoomSummary) -> String {
    format!("{} {}{}", room.target, room.unread, mentions(room.mentions))
}

fn mentions(count: u32) -> String {
    match count {
        0 => String::new(),
        1 => " (1 mention)".into(),
        count => format!(" ({count} mentions)"),
    }
}

/// `ann  owner  online`, or `ann  owner  away: lunch`.
pub fn member(member: &MemberSummary, away: Option<&SafeLine>) -> String {
    let presence = Presence::of(member.online, away).words();
    let bot = if member.bot { "  bot" } else { "" };
    format!("{:<24} {:<9}  {presence}{bot}", member.name, member.role)
}

/// `ann  online  account since 2026-11-21 14:03`.
pub fn account(account: &AccountSummary, away: Option<&SafeLine>, zone: &TimeZone) -> String {
    let mut line = account.name.to_string();
    if let Some(owner) = &account.owner {
        line += &format!("  bot of {owner}");
    }
    if account.admin {
        line += "  administrator";
    }
    if account.suspended {
        line += "  suspended";
    }
    line += &format!("  {}", Presence::of(account.online, away).words());
    line + &format!("  account since {}", minute(account.created_at, zone))
}

/// The address of the server; of a cluster that of the node that answered, and the nodes, each on a line of its own,
/// that one first.
pub fn place(server: &str, nodes: &[NodeSummary]) -> String {
    let Some(NodeSummary { node, .. }) = nodes.first() else { return server.to_owned() };
    let mut lines = format!("quip://{}, node {} of {}", node.address, node.name, nodes.len());
    for (place, summary) in nodes.iter().enumerate() {
        let NodeSummary { node, connections, draining } = summary;
        let connections = counted(u64::from(*connections), "connection");
        lines += &format!("\n  {}  {}  {connections}", node.name, node.address);
        lines += if *draining { "  stopping" } else { "" };
        lines += if place == 0 { "  this one" } else { "" };
    }
    lines
}

/// `KEY  laptop  added 2026-11-21 14:03  online  this device`.
pub fn device(device: &DeviceSummary, this: bool, zone: &TimeZone) -> String {
    let mut line = format!("{}  {}  added {}", device.key, device.label, minute(device.added_at, zone));
    if device.revoked {
        line += "  revoked";
    } else if device.online {
        line += "  online";
    }
    if this {
        line += "  this device";
    }
    line
}

/// Events that should be there and are not.
pub fn gap(room: &Target, from: quip_protocol::Seq, to: quip_protocol::Seq) -> String {
    format!("-- {from} to {to} of {room} are missing --")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::pages::tests::{event as event_of, message as message_of};
    use quip_protocol::room::RoomSummary;
    use quip_protocol::{
        Cursor, Epoch, MessageId, Reaction, Role, RoomId, RoomKind, SafeLine, SafeText, Seq, Timestamp,
    };

    fn name(name: &str) -> quip_protocol::AccountName {
        name.parse().unwrap()
    }

    #[test]
    fn a_message_is_one_line_and_what_follows_is_indented() {
        let ops: Target = "#ops".parse().unwrap();
        let event = message_of(42, "one\ntwo");
        let line = super::event(&event, Some(&ops), &TimeZone::UTC);
        assert_eq!(line, "2026-11-20 23:16 #ops 42 <ann> one\n    two");
        assert_eq!(super::event(&event, None, &TimeZone::UTC), "2026-11-20 23:16 42 <ann> one\n    two");
    }

    #[test]
    fn messages_as_they_are_now() {
        let plain = message_of(1, "text").message().unwrap().clone();
        let with = |change: fn(&mut Message)| {
            let mut message = plain.clone();
            change(&mut message);
            super::message("ann", &message)
        };
        assert_eq!(with(|m| m.edited = Some(Timestamp(5))), "<ann> text (edited)");
        assert_eq!(with(|m| m.reply_to = Some(Seq(7))), "<ann> (re 7) text");
        assert_eq!(with(|m| m.kind = MessageKind::Action), "* ann text");
        assert_eq!(
            with(|m| {
                m.deleted = true;
                m.edited = Some(Timestamp(5));
                m.text = SafeText::default();
            }),
            "<ann> (deleted)"
        );
        let thumb =
            |m: &mut Message| m.reactions.push(Reaction { emoji: "👍".into(), by: vec![name("bob")] });
        assert_eq!(with(thumb), "<ann> text [👍 1]");
    }

    #[test]
    fn what_else_happens() {
        let id = MessageId::from_bytes([1; 16]);
        let reacted = |on| EventBody::Reacted { target: Seq(4), id, emoji: "👍".into(), on };
        let kicked = |reason: &str| EventBody::Kicked { who: name("bob"), reason: SafeLine::new(reason) };
        let table = [
            (
                EventBody::Edited { target: Seq(4), id, text: "new".into(), drops: None },
                "* ann edited 4: new",
            ),
            (EventBody::Edited { target: Seq(4), id, text: "".into(), drops: None }, "* ann edited 4"),
            (EventBody::Deleted { target: Seq(4), id, edits: vec![] }, "* ann deleted 4"),
            (reacted(true), "* ann reacted to 4 with 👍"),
            (reacted(false), "* ann took 👍 away from 4"),
            (EventBody::Created { members: 1 }, "* ann made the room"),
            (EventBody::Created { members: 9 }, "* ann made the room with 9 members"),
            (EventBody::Joined, "* ann joined"),
            (EventBody::Left, "* ann left"),
            (EventBody::Invited { who: vec![name("bob")], count: 1 }, "* ann invited bob"),
            (EventBody::Invited { who: vec![name("bob")], count: 9 }, "* ann invited bob and 8 more"),
            (kicked(""), "* ann removed bob"),
            (kicked("spam"), "* ann removed bob: spam"),
            (EventBody::RoleSet { who: name("bob"), role: Role::Moderator }, "* ann made bob a moderator"),
            (EventBody::RoleSet { who: name("bob"), role: Role::Owner }, "* ann made bob an owner"),
            (EventBody::Topic { topic: "runs".into() }, "* ann set the topic: runs"),
            (EventBody::Topic { topic: SafeLine::default() }, "* ann took the topic away"),
            (EventBody::Archived, "* ann archived the room"),
        ];
        for (body, line) in table {
            assert_eq!(said(&event_of(1, body)), line);
        }
    }

    #[test]
    fn rooms_and_what_is_unread_there() {
        let mut room = RoomSummary {
            id: RoomId(1),
            target: "#ops".parse().unwrap(),
            kind: RoomKind::Private,
            topic: "runs".into(),
            archived: false,
            role: Some(Role::Member),
            members: 3,
            head: Cursor { epoch: Epoch::FIRST, seq: Seq(20) },
            active_at: Timestamp(0),
            read: Seq(8),
            unread: 12,
            mentions: 2,
        };
        assert_eq!(unread(&room), "#ops 12 (2 mentions)");
        let line = super::room(&room);
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "#ops 3 members private 12 unread (2 mentions) runs"
        );
        (room.mentions, room.role, room.archived) = (1, None, true);
        assert_eq!(unread(&room), "#ops 12 (1 mention)");
        assert!(super::room(&room).contains("not in it  archived"));
        room.mentions = 0;
        assert_eq!(unread(&room), "#ops 12");
    }

    #[test]
    fn who_is_there_and_who_is_not() {
        for (online, word) in [(true, "online"), (false, "offline")] {
            let member = MemberSummary { name: name("bob"), role: Role::Owner, online, bot: false };
            assert!(super::member(&member, None).ends_with(word), "{word}");
            let (lunch, away) = (SafeLine::new("lunch"), if online { "away: lunch" } else { word });
            assert!(super::member(&member, Some(&lunch)).ends_with(away), "{away}");
            let account = AccountSummary {
                name: name("bob"),
                bot: false,
                owner: None,
                admin: false,
                suspended: false,
                online,
                created_at: Timestamp(0),
            };
            assert_eq!(
                super::account(&account, None, &TimeZone::UTC),
                format!("bob  {word}  account since 1970-01-01 00:00")
            );
        }
    }

    #[test]
    fn the_nodes_of_a_cluster_are_a_line_each() {
        let summary = |name: &str, connections, draining| {
            let address = format!("{name}.example:7848").parse().unwrap();
            let fingerprint = quip_protocol::Fingerprint([1; 32]);
            let node = quip_protocol::NodeAddress { name: name.parse().unwrap(), address, fingerprint };
            NodeSummary { node, connections, draining }
        };
        let joined = "quip://a.example:7848";
        assert_eq!(place(joined, &[]), joined, "a server alone");
        assert_eq!(
            place(joined, &[summary("b", 1, false), summary("a", 12, true)]),
            "quip://b.example:7848, node b of 2\n  b  b.example:7848  1 connection  this one\n  a  a.example:7848  12 connections  stopping"
        );
    }

    #[test]
    fn a_device_says_what_it_is() {
        let device = DeviceSummary {
            key: quip_protocol::DeviceKey([0; 32]),
            label: "laptop".into(),
            added_at: Timestamp(0),
            revoked: false,
            online: true,
        };
        let line = super::device(&device, true, &TimeZone::UTC);
        assert!(line.ends_with("  laptop  added 1970-01-01 00:00  online  this device"), "{line}");
        let revoked = DeviceSummary { revoked: true, ..device };
        assert!(super::device(&revoked, false, &TimeZone::UTC).ends_with("  revoked"));
    }
}
