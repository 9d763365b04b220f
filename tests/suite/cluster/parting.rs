//! A node whose journal has parted from the log comes back when the log is trimmed past what both have, too: by comparing
//! with another node, stepping aside and a snapshot. Whatever becomes of Redis and of itself meanwhile, nothing is lost or
//! doubled.

use quip_protocol::{MessageId, Position};
use quip_server::log::redis::Connection;
use quip_server::log::shared::contract::{Answer, Ask, Look};
use quip_tests::cluster::Node;
use quip_tests::{Middlebox, eventually, post_all};

use super::several::{Several, Talk};

/// Of two nodes the second went on without what only the first one has, and the log does not reach back to where they parted.
struct Parting {
    several: Several,
    talk: Talk,
    /// What the first node asks the second goes through it, a source each question.
    between: Middlebox,
    /// How many messages only the first one has.
    only_a_has: usize,
    /// What only the second one has.
    only_b_has: Vec<MessageId>,
}

/// How the two have parted.
#[derive(Default)]
struct Terms {
    /// Bytes a second between the nodes; none is without bound.
    rate: Option<u32>,
    /// Messages that only the first node has, beside five.
    more: usize,
    /// Large ones that only the second has, beside twenty.
    large: usize,
}

impl Parting {
    /// The first node is killed.
    fn begin(terms: &Terms) -> Parting {
        let mut several = Several::new(1);
        let between = several.add_behind_a_box("b", terms.rate);
        let mut talk = Talk::begin(&several);
        talk.say(20);
        talk.check(&several.links);
        assert!(several.nodes[1].stop());
        talk.move_to(&several.links[0]);
        let only_a_has = [talk.say(5), talk.shout(terms.more)].concat();
        talk.reappended.extend(&only_a_has);
        let last_of_a = look(&several, &talk).last;
        several.nodes[0].kill();
        several.redis.replace_by_an_empty_one();
        several.links[1] = several.nodes[1].started();
        talk.move_to(&several.links[1]);
        let only_b_has = talk.say(20);
        let texts = (0..terms.large).map(|_| "x".repeat(15 * 1024));
        talk.runtime.block_on(post_all(&talk.people[0].1, &talk.room, texts));
        let Look { last, .. } = look(&several, &talk);
        assert!(last.epoch > last_of_a.epoch, "{last} {last_of_a}");
        let upto = Position { offset: last.offset - 1, ..last };
        ask(&several, &talk, &Ask::Trim { upto });
        let base = look(&several, &talk).base;
        assert!(base > last_of_a, "{base} {last_of_a}");
        Parting { several, talk, between, only_a_has: only_a_has.len(), only_b_has }
    }

    fn a(&mut self) -> &mut Node {
        &mut self.several.nodes[0]
    }

    /// The first node starts, has answers to so many questions, and waits for that to the next one.
    fn waits_after(&mut self, answers: usize) {
        let admitted = self.between.seen().0 + answers;
        self.between.admit(admitted);
        self.a().start();
        eventually("it asks the other node", || (self.between.seen().0 > admitted).then_some(()));
    }

    /// How much there is of a kind in the directory of the first node.
    fn kept(&self, prefix: &str) -> usize {
        let names = std::fs::read_dir(self.several.nodes[0].data_dir()).unwrap();
        names.filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with(prefix)).count()
    }

    /// It gets its answers, and in the end serves, and both nodes have everything.
    fn comes_back(&mut self) {
        self.between.admit(usize::MAX);
        self.several.links[0] = self.several.nodes[0].ready();
        eventually("nothing is left to append", || (self.kept("orphans-") == 0).then_some(()));
        self.talk.say(5);
        self.talk.check(&self.several.links);
        assert_eq!(self.kept("diverged-"), 1);
        let log = self.several.nodes[0].log();
        let appended = format!("appended again count={} refused=0", self.only_a_has);
        for said in ["comparing journals", "got what was missing", &appended] {
            assert!(log.contains(said), "{said}: {log}");
        }
        assert!(!log.contains("panicked"), "{log}");
    }
}

fn ask(several: &Several, talk: &Talk, ask: &Ask) -> Answer {
    let mut connection = Connection::new(several.redis.url().parse().unwrap());
    talk.runtime.block_on(connection.ask(ask)).unwrap()
}

fn look(several: &Several, talk: &Talk) -> Look {
    match ask(several, talk, &Ask::Look) {
        Answer::Look(look) => look,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_has_parted_and_is_trimmed_past_comes_back_by_snapshot() {
    let mut parting = Parting::begin(&Terms::default());
    parting.a().start();
    parting.comes_back();
}

#[test]
fn redis_is_wiped_while_it_waits_for_another_node() {
    let mut parting = Parting::begin(&Terms::default());
    assert!(parting.several.nodes[1].stop());
    parting.a().start();
    let log = |parting: &Parting| parting.several.nodes[0].log();
    eventually("it steps aside", || {
        log(&parting).contains("getting the rest from another node").then_some(())
    });
    parting.several.redis.wipe();
    parting.several.links[1] = parting.several.nodes[1].started();
    parting.talk.move_to(&parting.several.links[1]);
    parting.comes_back();
}

#[test]
fn redis_is_wiped_while_it_compares() {
    let mut parting = Parting::begin(&Terms::default());
    parting.waits_after(1);
    let before = look(&parting.several, &parting.talk);
    parting.several.redis.wipe();
    eventually("the other node repairs it", || {
        let now = look(&parting.several, &parting.talk);
        (now.is_agreed() && now.last.epoch > before.last.epoch).then_some(())
    });
    assert_eq!(parting.kept("diverged-"), 0, "nothing is decided by what is no more");
    parting.comes_back();
}

#[test]
fn it_is_stopped_and_killed_wherever_it_waits() {
    let mut parting = Parting::begin(&Terms::default());
    parting.waits_after(0);
    assert!(parting.a().stop(), "while it asks for the rest");
    parting.waits_after(0);
    parting.a().kill();
    parting.waits_after(1);
    assert!(parting.a().stop(), "while it compares");
    parting.waits_after(1);
    parting.a().kill();
    assert_eq!((parting.kept("orphans-"), parting.kept("diverged-")), (0, 0));
    parting.waits_after(2);
    parting.a().kill();
    assert_eq!((parting.kept("orphans-"), parting.kept("diverged-")), (1, 1), "its journal is made again");
    parting.waits_after(0);
    assert!(parting.a().stop(), "while it gets the snapshot");
    assert_eq!((parting.kept("orphans-"), parting.kept("diverged-")), (1, 1));
    parting.a().start();
    parting.comes_back();
}

#[test]
fn it_is_killed_in_the_middle_of_the_snapshot_and_goes_on_there() {
    let mut parting = Parting::begin(&Terms { rate: Some(1024 * 1024), large: 200, ..Terms::default() });
    parting.a().start();
    let journal = parting.several.nodes[0].data_dir().join("journal");
    eventually("a part of it has come", || {
        let files = std::fs::read_dir(&journal).ok()?.filter_map(|file| file.ok()?.metadata().ok());
        let bytes: u64 = files.map(|file| file.len()).sum();
        (parting.kept("diverged-") == 1 && bytes > 512 * 1024).then_some(())
    });
    parting.a().kill();
    let first = parting.several.nodes[0].log();
    assert!(!first.contains("got what was missing"), "{first}");
    parting.a().start();
    parting.comes_back();
    let log = parting.several.nodes[0].log();
    let (_, common) = log.split_once("common=").expect("it said where they parted");
    let common = common.split(' ').next().unwrap();
    let (_, from) =
        log.split_once("got what was missing from other nodes from=").expect("it said from where");
    assert_ne!(from.split(' ').next().unwrap(), common, "it has what came before: {log}");
}

#[test]
fn it_is_killed_while_it_appends_again_and_nothing_is_there_twice() {
    let mut parting = Parting::begin(&Terms { more: 200, ..Terms::default() });
    let before = parting.talk.shown(&parting.several.links[1]);
    parting.a().start();
    eventually("some are appended again", || {
        (parting.talk.shown(&parting.several.links[1]) > before).then_some(())
    });
    parting.a().kill();
    assert_eq!(parting.kept("orphans-"), 1, "others are not");
    parting.a().start();
    parting.comes_back();
}

/// The branch that the cluster went on with is away, too, when Redis is wiped: the other one is gone on with, and nothing of
/// either is lost.
#[test]
fn redis_is_wiped_while_only_the_one_that_parted_is_there() {
    let mut parting = Parting::begin(&Terms::default());
    assert!(parting.several.nodes[1].stop());
    parting.several.redis.wipe();
    parting.several.links[0] = parting.a().started();
    assert_eq!(parting.kept("diverged-"), 0, "it has all that there is");
    let Parting { several, talk, only_b_has, .. } = &mut parting;
    talk.move_to(&several.links[0]);
    talk.say(10);
    talk.reappended.extend(only_b_has.iter());
    several.links[1] = several.nodes[1].started();
    let appended = "appended again count=20 refused=0";
    eventually("it appends again what only it has", || {
        several.nodes[1].log().contains(appended).then_some(())
    });
    talk.say(5);
    talk.check(&several.links);
}

#[test]
fn who_has_something_to_append_again_does_not_leave() {
    let mut parting = Parting::begin(&Terms::default());
    parting.waits_after(2);
    assert!(parting.a().stop());
    let as_a_node = std::mem::replace(&mut parting.a().arguments, vec!["--leave-cluster".to_owned()]);
    let why = parting.a().refused();
    assert!(why.contains("yet to append") && why.contains("start it once more as a node"), "{why}");
    assert_eq!(parting.kept("orphans-"), 1);
    parting.a().arguments = as_a_node;
    parting.a().start();
    parting.comes_back();
    let shown = parting.talk.shown(&parting.several.links[1]);
    assert!(parting.a().stop());
    parting.a().arguments = vec!["--leave-cluster".to_owned()];
    let alone = parting.a().started();
    assert_eq!(parting.talk.shown(&alone), shown, "it leaves with everything");
}
