//! Random acts in random batches, crashes at any byte of the journal, and the store kept, thrown away or spoilt.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use quip_protocol::Position;
use quip_protocol::limits::MAX_TEXT;
use quip_storage::record::Applied;
use quip_storage::{DataDir, Journal, JournalOptions, Opened, Store, StoreOptions};

use crate::model::{Act, Model, at, founding};

const ROOMS: u64 = 3;
const ACCOUNTS: u64 = 4;

#[derive(Debug, Clone)]
enum Step {
    Do(Act),
    /// Bring the store up.
    Apply,
    Sync,
    /// The process dies, and so many bytes of the journal's newest segment were not written.
    Crash {
        lost: usize,
        store: Fate,
    },
}

/// What becomes of the store in a crash.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// As it lies on the disk when the process is killed.
    Kept,
    Closed,
    Gone,
    Garbage,
}

fn act() -> impl Strategy<Value = Act> {
    let room = 0..ROOMS;
    let account = 0..ACCOUNTS;
    let text = prop_oneof![8 => 0..200_usize, 1 => 0..MAX_TEXT, 1 => Just(MAX_TEXT)];
    // Mostly in order of time, as a sender makes them, and some anywhere.
    let id = prop_oneof![3 => (1..1u128 << 40).prop_map(|id| id << 80), 1 => any::<u128>()];
    let pick = any::<usize>();
    let (send, edit) = ((room.clone(), text.clone(), id.clone()), (room.clone(), pick, text, id.clone()));
    let react = (room.clone(), pick, 0..200u64, 0..20usize, any::<bool>(), id.clone());
    let member = (room.clone(), account.clone());
    prop_oneof![
        20 => send.prop_map(|(room, text, id)| Act::Send { room, text, id }),
        4 => edit.prop_map(|(room, pick, text, id)| Act::Edit { room, pick, text, id }),
        1 => (room.clone(), pick, id).prop_map(|(room, pick, id)| Act::Delete { room, pick, id }),
        6 => react.prop_map(|(room, pick, who, emoji, on, id)| Act::React { room, pick, who, emoji, on, id }),
        4 => room.clone().prop_map(|room| Act::Join { room }),
        4 => account.clone().prop_map(|account| Act::Notice { account }),
        1 => (account, any::<bool>()).prop_map(|(account, suspended)| Act::Account { account, suspended }),
        1 => (0..3u8, any::<bool>()).prop_map(|(key, revoked)| Act::Device { key, revoked }),
        1 => (0..3u8, 0..9u32).prop_map(|(hash, uses_left)| Act::Invite { hash, uses_left }),
        1 => (room, 0..500usize).prop_map(|(room, topic)| Act::Room { room, topic }),
        2 => (member.clone(), 0..100u64)
            .prop_map(|((room, account), mentions)| Act::Member { room, account, mentions }),
        1 => member.clone().prop_map(|(room, account)| Act::Gone { room, account }),
        1 => (member.clone(), 0..4u8)
            .prop_map(|((room, account), name)| Act::ConsumerGone { account, room, name }),
        3 => (member, 0..4u8, pick)
            .prop_map(|((room, account), name, pick)| Act::Consumer { account, room, name, pick }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        4 => Just(Fate::Kept), 2 => Just(Fate::Closed), 1 => Just(Fate::Gone), 1 => Just(Fate::Garbage)
    ];
    let lost = prop_oneof![2 => Just(0), 3 => 0..200_usize, 1 => 0..5_000_usize];
    prop_oneof![
        60 => act().prop_map(Step::Do),
        4 => Just(Step::Apply),
        1 => Just(Step::Sync),
        2 => (lost, fate).prop_map(|(lost, store)| Step::Crash { lost, store }),
    ]
}

/// A server's data, and what it must be.
struct Run {
    root: tempfile::TempDir,
    open: Option<(DataDir, Journal, Store)>,
    /// Everything the journal holds: entry n has offset n + 1.
    entries: Vec<Applied>,
    model: Model,
}

impl Run {
    fn new() -> Run {
        let root = tempfile::tempdir().unwrap();
        let mut run = Run { root, open: None, entries: Vec::new(), model: Model::default() };
        run.open();
        run.append(founding(ROOMS, ACCOUNTS));
        run
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn parts(&mut self) -> (&mut Journal, &mut Store) {
        let (_, journal, store) = self.open.as_mut().unwrap();
        (journal, store)
    }

    /// Opens what there is, as a server does, and brings the model to what the journal still has.
    fn open(&mut self) {
        let dir = DataDir::open(self.dir()).unwrap();
        let options = JournalOptions { segment_bytes: 400, compress: true };
        let journal = Journal::open(dir.journal(), options).unwrap();
        self.entries.truncate(usize::try_from(journal.last().offset).unwrap());
        self.model = Model::of(&self.entries);
        let (mut store, _) = Store::open(dir.store(), StoreOptions { cache_bytes: 1 << 20 }).unwrap();
        if store.applied() > journal.last() {
            store.set_aside().unwrap();
            let (new, opened) = Store::open(dir.store(), StoreOptions { cache_bytes: 1 << 20 }).unwrap();
            assert_eq!((opened, new.applied()), (Opened::New, Position::ZERO));
            store = new;
        }
        self.open = Some((dir, journal, store));
        self.catch_up();
    }

    fn append(&mut self, entry: Applied) {
        let number = (self.entries.len() as u64).to_le_bytes();
        self.parts().0.append(entry.position, &number).unwrap();
        self.model.apply(&entry);
        self.entries.push(entry);
    }

    /// Applies everything the journal has behind the store.
    fn catch_up(&mut self) {
        let (journal, store) = self.parts();
        let behind = store.applied();
        let replayed: Vec<(Position, Vec<u8>)> =
            journal.replay(behind).unwrap().map(Result::unwrap).collect();
        let waiting = &self.entries[usize::try_from(behind.offset).unwrap()..];
        assert_eq!(replayed.len(), waiting.len());
        for (entry, (position, payload)) in waiting.iter().zip(replayed) {
            assert_eq!((entry.position, &payload[..]), (position, &(position.offset - 1).to_le_bytes()[..]));
        }
        let (_, _, store) = self.open.as_ref().unwrap();
        store.apply(waiting).unwrap();
        assert_eq!(store.applied(), at(self.entries.len() as u64));
    }

    fn crash(&mut self, lost: usize, fate: Fate) {
        let (dir, journal, store) = self.open.take().unwrap();
        let killed = self.root.path().join("killed");
        if fate == Fate::Kept {
            copy(&dir.store(), &killed);
        }
        drop(journal);
        drop(store);
        cut_newest_segment(&dir.journal(), lost);
        if fate != Fate::Closed {
            fs::remove_dir_all(dir.store()).unwrap();
        }
        match fate {
            Fate::Kept => fs::rename(&killed, dir.store()).unwrap(),
            Fate::Garbage => {
                fs::create_dir(dir.store()).unwrap();
                fs::write(dir.store().join("db"), [0x5A; 10_000]).unwrap();
            }
            Fate::Closed | Fate::Gone => {}
        }
        drop(dir);
        self.open();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Do(act) => {
                let changes = act.changes(&self.model);
                let position = at(self.entries.len() as u64 + 1);
                self.append(Applied { position, changes });
            }
            Step::Apply => self.catch_up(),
            Step::Sync => self.parts().1.sync().unwrap(),
            Step::Crash { lost, store } => {
                self.crash(lost, store);
                if self.entries.is_empty() {
                    self.append(founding(ROOMS, ACCOUNTS));
                }
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn cut_newest_segment(dir: &Path, lost: usize) {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    let Some(newest) = paths.iter().max() else { return };
    let file = fs::OpenOptions::new().write(true).open(newest).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(lost as u64)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn journal_and_store_are_plain_maps_that_survive_crashes(
        steps in proptest::collection::vec(step(), 1..400)
    ) {
        let mut run = Run::new();
        for step in steps {
            let crash = matches!(step, Step::Crash { .. });
            run.step(step);
            if crash {
                run.catch_up();
                run.model.assert_equals(&run.open.as_ref().unwrap().2);
            }
        }
        run.catch_up();
        run.model.assert_equals(&run.open.as_ref().unwrap().2);
    }
}
