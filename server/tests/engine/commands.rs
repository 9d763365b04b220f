//! Random commands of a few accounts in a few rooms, wrong ones among them.

use proptest::collection::vec;
use proptest::prelude::*;
use quip_protocol::{
    AccountName, ConsumerName, Cursor, Epoch, MessageId, MessageKind, Role, RoomId, RoomName, SafeLine,
    SafeText, Seq, Target, Timestamp,
};
use quip_server::engine::{Actor, Command, CommandBody};

use crate::world::{OWNER, account, bootstrap, create, id, key, room};

/// Devices that may ask; the first four have accounts of the same name to begin with.
const DEVICES: [&str; 7] = ["ann", "bob", "eve", "zoe", "d4", "d5", "d6"];
const NAMES: [&str; 7] = ["ann", "bob", "eve", "zoe", "bot", "new", "nobody"];
const ROOMS: [&str; 4] = ["general", "ops", "secret", "absent"];

/// The commands before the random ones: four people, and `#ops` of ann with all of them.
pub fn beginning() -> Vec<Command> {
    let mut commands = vec![Command { at: Timestamp(1), by: Actor::Operator, body: bootstrap() }];
    let people = DEVICES[..4].iter().map(|name| Command {
        at: Timestamp(1),
        by: Actor::Device(key(name)),
        body: CommandBody::Register { name: account(name), label: SafeLine::new("laptop") },
    });
    commands.extend(people);
    let body = create("#ops", true, &DEVICES[..4]);
    commands.push(Command { at: Timestamp(1), by: Actor::Device(key("ann")), body });
    commands
}

/// Up to `most` of them, in time's order, but for a clock that is set back now and then.
pub fn commands(most: usize) -> impl Strategy<Value = Vec<Command>> {
    vec((actor(), body(), 0..200u64), 0..most).prop_map(|asked| {
        let mut now = 100;
        let stamped = asked.into_iter().map(|(by, body, step)| {
            now = if step == 0 { now / 2 } else { now + step };
            Command { at: Timestamp(now), by, body }
        });
        beginning().into_iter().chain(stamped).collect()
    })
}

fn actor() -> impl Strategy<Value = Actor> {
    let device = |at: usize| Just(Actor::Device(key(DEVICES[at])));
    prop_oneof![
        2 => Just(Actor::Operator),
        16 => device(0),
        10 => device(1),
        5 => device(2),
        4 => device(3),
        4 => prop::sample::select(&DEVICES[4..]).prop_map(|name| Actor::Device(key(name))),
    ]
}

fn person() -> impl Strategy<Value = AccountName> {
    prop_oneof![5 => prop::sample::select(&NAMES[1..4]), 2 => prop::sample::select(&NAMES[..])]
        .prop_map(account)
}

fn name() -> impl Strategy<Value = RoomName> {
    prop_oneof![5 => Just("ops"), 3 => Just("general"), 1 => prop::sample::select(&ROOMS[2..])].prop_map(room)
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![5 => name().prop_map(Target::Room), 1 => person().prop_map(Target::Direct)]
}

fn place() -> impl Strategy<Value = (RoomId, Seq)> {
    let room = prop_oneof![5 => Just(2), 3 => Just(1), 1 => 3..6u64];
    (room, prop_oneof![6 => 2..12u64, 1 => 0..40u64]).prop_map(|(room, seq)| (RoomId(room), Seq(seq)))
}

fn consumer() -> impl Strategy<Value = ConsumerName> {
    prop::sample::select(&["a", "b"][..]).prop_map(|name| name.parse().expect("a valid name"))
}

fn number() -> impl Strategy<Value = MessageId> {
    prop_oneof![1 => 0..20u128, 8 => any::<u128>()].prop_map(id)
}

fn text() -> impl Strategy<Value = SafeText> {
    prop::sample::select(&["hello", "@bob look", "@ann @zoe @nobody", "x\ny", "hi", "hey", ""][..])
        .prop_map(SafeText::new)
}

fn hash() -> impl Strategy<Value = [u8; 32]> {
    prop_oneof![8 => (0..2u8).prop_map(|n| [n; 32]), 1 => Just(OWNER)]
}

fn body() -> impl Strategy<Value = CommandBody> {
    prop_oneof![40 => messages(), 12 => rooms(), 7 => accounts()]
}

fn messages() -> impl Strategy<Value = CommandBody> {
    let emoji = || prop::sample::select(&["+1", "-1", ""][..]).prop_map(SafeLine::new);
    prop_oneof![
        6 => (target(), number(), text(), prop::option::weighted(0.3, (0..14u64).prop_map(Seq))).prop_map(
            |(target, id, text, reply_to)| CommandBody::Post { target, id, kind: MessageKind::Plain, text, reply_to }
        ),
        3 => (place(), number(), text())
            .prop_map(|((room, target), id, text)| CommandBody::Edit { room, target, id, text }),
        2 => (place(), number()).prop_map(|((room, target), id)| CommandBody::Delete { room, target, id }),
        3 => (place(), number(), emoji(), any::<bool>())
            .prop_map(|((room, target), id, emoji, on)| CommandBody::React { room, target, id, emoji, on }),
        2 => place().prop_map(|(room, seq)| CommandBody::Mark { room, seq }),
        1 => place().prop_map(|(room, seq)| CommandBody::MarkUnread { room, seq }),
        2 => (target(), consumer(), prop::option::of((0..14u64).prop_map(Seq)))
            .prop_map(|(target, name, since)| CommandBody::OpenConsumer { name, target, since }),
        1 => (prop::option::of(target()), consumer())
            .prop_map(|(target, name)| CommandBody::DropConsumer { name, target }),
        3 => (place(), consumer(), 0..3u32).prop_map(|((room, seq), name, epoch)| {
            CommandBody::MoveConsumer { name, room, cursor: Cursor { epoch: Epoch(epoch), seq } }
        }),
    ]
}

fn rooms() -> impl Strategy<Value = CommandBody> {
    let line = || Just(SafeLine::new("about"));
    prop_oneof![
        3 => (name(), any::<bool>(), line(), vec(person(), 0..4)).prop_map(|(name, private, topic, members)| {
            CommandBody::CreateRoom { name, private, topic, members }
        }),
        1 => person().prop_map(|with| CommandBody::OpenDirect { with }),
        3 => name().prop_map(|room| CommandBody::Join { room }),
        1 => name().prop_map(|room| CommandBody::Leave { room }),
        3 => (name(), vec(person(), 0..4)).prop_map(|(room, who)| CommandBody::Invite { room, who }),
        2 => (name(), person(), line()).prop_map(|(room, who, reason)| CommandBody::Kick { room, who, reason }),
        3 => (name(), person(), prop::sample::select(&Role::ALL[..]))
            .prop_map(|(room, who, role)| CommandBody::SetRole { room, who, role }),
        1 => (name(), line()).prop_map(|(room, topic)| CommandBody::SetTopic { room, topic }),
        1 => prop::sample::select(&ROOMS[2..]).prop_map(|name| CommandBody::Archive { room: room(name) }),
        1 => prop::sample::select(&ROOMS[2..]).prop_map(|name| CommandBody::Restore { room: room(name) }),
    ]
}

fn accounts() -> impl Strategy<Value = CommandBody> {
    let label = || Just(SafeLine::new("device"));
    let device = || prop::sample::select(&DEVICES[..]).prop_map(key);
    let lost = || prop::sample::select(&DEVICES[3..]).prop_map(key);
    let until = || (0..20_000u64).prop_map(Timestamp);
    prop_oneof![
        3 => (hash(), prop::option::of(name()), any::<bool>(), 0..3u32, until()).prop_map(
            |(hash, room, admin, uses, expires)| CommandBody::NewInvite { hash, room, admin, uses, expires }
        ),
        1 => (hash(), until()).prop_map(|(hash, expires)| CommandBody::NewDeviceCode { hash, expires }),
        9 => (hash(), prop::option::weighted(0.8, person()), label())
            .prop_map(|(hash, name, label)| CommandBody::Redeem { hash, name, label }),
        1 => (person(), label()).prop_map(|(name, label)| CommandBody::Register { name, label }),
        1 => lost().prop_map(|key| CommandBody::RevokeDevice { key }),
        2 => (person(), device(), label()).prop_map(|(name, key, label)| CommandBody::NewToken { name, key, label }),
        1 => person().prop_map(|name| CommandBody::RevokeToken { name }),
        1 => (person(), any::<bool>()).prop_map(|(name, on)| CommandBody::Suspend { name, on }),
        1 => Just(bootstrap()),
    ]
}
