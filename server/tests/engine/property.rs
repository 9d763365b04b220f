//! What holds for every sequence of commands.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use quip_protocol::{AccountId, EventBody, RoomId};
use quip_server::engine::{Command, Engine, NotApplied};
use quip_storage::record::{Change, Standing};

use crate::commands::commands;
use crate::world::{FIRST, PlainPast, snapshot};

/// The engine, its past and all changes after these commands. A refused one must have changed nothing.
pub fn run(commands: &[Command]) -> (Engine, PlainPast, Vec<Change>) {
    let (mut engine, mut past, mut all) = (Engine::default(), PlainPast::default(), Vec::new());
    for command in commands {
        let before = engine.clone();
        let mut changes = Vec::new();
        match engine.apply(&past, FIRST, command, &mut changes) {
            Ok(_) => past.note(&changes),
            Err(NotApplied::Refused(refusal)) => {
                assert!(changes.is_empty() && engine == before, "{command:?} changed something: {refusal:?}");
            }
            Err(NotApplied::Unreadable(why)) => panic!("plain maps can be read: {why}"),
        }
        all.extend(changes);
    }
    (engine, past, all)
}

/// Seqs are dense, and the ordinal of each event counts the messages up to it.
fn check_logs(engine: &Engine, changes: &[Change]) {
    let mut logs: BTreeMap<RoomId, (u64, u64)> = BTreeMap::new();
    let mut inboxes: HashMap<AccountId, u64> = HashMap::new();
    for change in changes {
        match change {
            Change::Event(recorded) => {
                let event = &recorded.event;
                let (seq, ordinal) = logs.entry(event.room).or_default();
                *seq += 1;
                *ordinal += u64::from(matches!(event.body, EventBody::Message(_)));
                assert_eq!((event.seq.0, event.ordinal), (*seq, *ordinal), "{event:?}");
            }
            Change::Notice(recorded) => {
                let seq = inboxes.entry(recorded.account).or_default();
                *seq += 1;
                assert_eq!(recorded.notice.seq.0, *seq, "{recorded:?}");
            }
            _ => {}
        }
    }
    for (room, (seq, ordinal)) in logs {
        let head = engine.room(room).expect("a room with events is there").head;
        assert_eq!((head.cursor.seq.0, head.ordinal), (seq, ordinal));
    }
    for account in engine.all_accounts() {
        assert_eq!(account.inbox.seq.0, inboxes.get(&account.id).copied().unwrap_or_default());
    }
}

fn check_members(engine: &Engine) {
    for id in (1..20).map(RoomId) {
        let Some(room) = engine.room(id) else { continue };
        let known = engine.all_accounts().filter_map(|account| room.member(account.id));
        let known: Vec<_> = known.collect();
        let inside = known.iter().filter(|m| matches!(m.standing, Standing::In(_))).count();
        assert_eq!(room.members() as usize, inside, "{room:?}");
        for member in known {
            assert!(
                member.read <= room.head.cursor.seq && member.read_ordinal <= room.head.ordinal,
                "{member:?}"
            );
            assert!(member.mentions.iter().all(|seq| *seq > member.read), "{member:?}");
            let summary = engine.summary(member.account, id).expect("it is there");
            let listed = engine.rooms(member.account, None).0.contains(&summary);
            assert_eq!(listed, matches!(member.standing, Standing::In(_)), "{member:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked(commands in commands(200)) {
        let (engine, _, changes) = run(&commands);
        check_logs(&engine, &changes);
        check_members(&engine);
        prop_assert!(Engine::from_snapshot(snapshot(&changes)) == engine, "what is stored and what is held differ");
    }

    #[test]
    fn the_same_commands_change_the_same(commands in commands(100)) {
        let (engine, _, changes) = run(&commands);
        let (again, _, changes_again) = run(&commands);
        prop_assert_eq!(changes, changes_again);
        prop_assert!(engine == again);
    }
}
