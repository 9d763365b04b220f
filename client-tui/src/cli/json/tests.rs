//! The shapes of `--json`, literally. A change here breaks somebody's script.

use quip_protocol::{Epoch, RoomId};

use super::*;
use crate::cli::pages::tests::{event, message};

fn name(name: &str) -> AccountName {
    name.parse().unwrap()
}

fn id() -> MessageId {
    "01900000-0000-7000-8000-000000000001".parse().unwrap()
}

fn text(line: &Line<'_>) -> String {
    serde_json::to_string(line).unwrap()
}

fn ops() -> Target {
    "#ops".parse().unwrap()
}

#[test]
fn a_message_is_as_the_interface_says() {
    let mut event = message(42, "hi \"all\"\nthere");
    let EventBody::Message(message) = &mut event.body else { unreachable!("made as a message") };
    message.id = id();
    let plain = r##"{"type":"message","room":"#ops","epoch":1,"seq":42,"id":"01900000-0000-7000-8000-000000000001","author":"ann","at":"2026-11-20T23:16:00.123Z","text":"hi \"all\"\nthere","edited":false,"reply_to":null}"##;
    assert_eq!(text(&Line::event(&ops(), &event)), plain);
    let EventBody::Message(message) = &mut event.body else { unreachable!("made as a message") };
    message.edited = Some(Timestamp(1));
    message.original = Some("helo".into());
    message.reply_to = Some(Seq(40));
    message.kind = MessageKind::Action;
    message.reactions.push(Reaction { emoji: "👍".into(), by: vec![name("bob")] });
    let amended = text(&Line::event(&ops(), &event));
    let end = r#""edited":true,"reply_to":40,"action":true,"reactions":[{"emoji":"👍","by":["bob"]}],"original":"helo"}"#;
    assert!(amended.ends_with(end), "{amended}");
    let direct = text(&Line::event(&"@bob".parse().unwrap(), &event));
    assert!(direct.starts_with(r#"{"type":"message","room":"@bob","epoch":1,"seq":42,"#), "{direct}");
}

#[test]
fn a_receipt_and_a_gap_are_as_the_interface_says() {
    let receipt = Receipt { room: RoomId(7), epoch: Epoch::FIRST, seq: Seq(42), id: id() };
    assert_eq!(
        text(&Line::receipt(&ops(), &receipt)),
        r##"{"type":"receipt","room":"#ops","epoch":1,"seq":42,"id":"01900000-0000-7000-8000-000000000001"}"##
    );
    assert_eq!(
        text(&Line::Gap { room: &ops(), from: Seq(40), to: Seq(41) }),
        r##"{"type":"gap","room":"#ops","from":40,"to":41}"##
    );
    let keep = Cursor { epoch: Epoch(2), seq: Seq(9) };
    assert_eq!(text(&Line::reset(&ops(), keep)), r##"{"type":"reset","room":"#ops","epoch":2,"seq":9}"##);
}

#[test]
fn other_events_have_their_own_type() {
    let id = id();
    let table = [
        (
            EventBody::Edited { target: Seq(4), id, text: "new".into(), drops: None },
            "edit",
            r#","target":4,"id":"01900000-0000-7000-8000-000000000001","text":"new""#,
        ),
        (
            EventBody::Edited { target: Seq(4), id, text: "".into(), drops: None },
            "edit",
            r#","target":4,"id":"01900000-0000-7000-8000-000000000001","text":null"#,
        ),
        (
            EventBody::Deleted { target: Seq(4), id, edits: vec![Seq(5)] },
            "delete",
            r#","target":4,"id":"01900000-0000-7000-8000-000000000001""#,
        ),
        (
            EventBody::Reacted { target: Seq(4), id, emoji: "ok".into(), on: true },
            "reaction",
            r#","target":4,"id":"01900000-0000-7000-8000-000000000001","emoji":"ok","on":true"#,
        ),
        (EventBody::Created { members: 3 }, "create", r#","members":3"#),
        (EventBody::Joined, "join", ""),
        (EventBody::Left, "leave", ""),
        (EventBody::Invited { who: vec![name("bob")], count: 9 }, "invite", r#","who":["bob"],"count":9"#),
        (
            EventBody::Kicked { who: name("bob"), reason: "spam".into() },
            "kick",
            r#","who":"bob","reason":"spam""#,
        ),
        (
            EventBody::RoleSet { who: name("bob"), role: Role::Moderator },
            "role",
            r#","who":"bob","role":"moderator""#,
        ),
        (EventBody::Topic { topic: "runs".into() }, "topic", r#","topic":"runs""#),
        (EventBody::Archived, "archive", ""),
    ];
    for (body, kind, rest) in table {
        let head = format!(
            r##"{{"type":"{kind}","room":"#ops","epoch":1,"seq":5,"author":"ann","at":"2026-11-20T23:16:00.123Z"{rest}}}"##
        );
        assert_eq!(text(&Line::event(&ops(), &event(5, body))), head);
    }
}

fn room() -> RoomSummary {
    RoomSummary {
        id: RoomId(1),
        target: ops(),
        kind: RoomKind::Public,
        topic: "runs".into(),
        archived: false,
        role: None,
        members: 3,
        head: Cursor { epoch: Epoch::FIRST, seq: Seq(20) },
        active_at: Timestamp(0),
        read: Seq(8),
        unread: 12,
        mentions: 2,
    }
}

#[test]
fn rooms_members_accounts() {
    assert_eq!(
        text(&Line::room(&room())),
        r##"{"type":"room","room":"#ops","kind":"public","topic":"runs","archived":false,"role":null,"members":3,"epoch":1,"seq":20,"active_at":"1970-01-01T00:00:00.000Z","read":8,"unread":12,"mentions":2}"##
    );
    assert_eq!(
        text(&Line::unread(&room())),
        r##"{"type":"unread","room":"#ops","unread":12,"mentions":2,"read":8,"seq":20}"##
    );
    let member = MemberSummary { name: name("bob"), role: Role::Owner, online: true, bot: false };
    assert_eq!(
        text(&Line::member(&ops(), &member, None)),
        r##"{"type":"member","room":"#ops","name":"bob","role":"owner","online":true,"bot":false,"presence":"online"}"##
    );
    let lunch = SafeLine::new("lunch");
    assert_eq!(
        text(&Line::member(&ops(), &member, Some(&lunch))),
        r##"{"type":"member","room":"#ops","name":"bob","role":"owner","online":true,"bot":false,"presence":"away","away":"lunch"}"##
    );
    let account = AccountSummary {
        name: name("bot"),
        bot: true,
        owner: Some(name("ann")),
        admin: false,
        suspended: false,
        online: false,
        created_at: Timestamp(0),
    };
    let start = r#"{"type":"account","name":"bot","bot":true,"owner":"ann","admin":false,"suspended":false,"online":false,"presence":"offline","created_at":"1970-01-01T00:00:00.000Z""#;
    assert_eq!(text(&Line::account(&account, Some(&lunch), None)), format!("{start}}}"));
    assert_eq!(
        text(&Line::account(&account, None, Some(Place::new("quip://h:1", &[])))),
        format!(r#"{start},"server":"quip://h:1"}}"#)
    );
}

#[test]
fn devices_tokens_links() {
    let device = DeviceSummary {
        key: DeviceKey([0; 32]),
        label: "laptop".into(),
        added_at: Timestamp(0),
        revoked: false,
        online: true,
    };
    let key = "A".repeat(43);
    assert_eq!(
        text(&Line::device(&name("ann"), &device, true)),
        format!(
            r#"{{"type":"device","account":"ann","key":"{key}","label":"laptop","added_at":"1970-01-01T00:00:00.000Z","revoked":false,"online":true,"this":true}}"#
        )
    );
    assert_eq!(
        text(&Line::Token { name: &name("bot"), token: "quip_x", server: "quip://h:1" }),
        r#"{"type":"token","name":"bot","token":"quip_x","server":"quip://h:1"}"#
    );
    assert_eq!(
        text(&Line::Link { link: "quip://h:1/#c", expires: Timestamp(0) }),
        r#"{"type":"link","link":"quip://h:1/#c","expires":"1970-01-01T00:00:00.000Z"}"#
    );
    assert_eq!(text(&Line::Ready { link: "quip://h:1" }), r#"{"type":"ready","link":"quip://h:1"}"#);
    let room = ops();
    assert_eq!(
        text(&Line::Read { room: &room, seq: Seq(20), was_unread: 12 }),
        r##"{"type":"read","room":"#ops","seq":20,"was_unread":12}"##
    );
}
