//! The model of the log that the simulation runs on is like the real Redis: whatever both are asked, they answer the same.

use std::time::Instant;

use bytes::Bytes;
use quip_protocol::{Epoch, NodeName, Position};
use quip_server::log::shared::contract::{Answer, Ask, BatchId, Claim, ClusterId, Incarnation, Look, Stored};
use quip_tests::Random;
use quip_tests::cluster::Model;
use quip_tests::cluster::contract::Keeper;
use quip_tests::cluster::model::Kept;

use super::contract::Real;

struct Both {
    real: Real,
    model: Model,
    saved: Kept,
    begun: Instant,
    /// What each calls its lives.
    lives: Vec<(Incarnation, Incarnation)>,
    random: Random,
}

fn at(epoch: u32, offset: u64) -> Position {
    Position { epoch: Epoch(epoch), offset }
}

impl Both {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }

    fn life(&mut self, kept: Kept) {
        let name = format!("life {}", self.lives.len());
        self.model = Model::of(kept, &name);
        let Answer::Look(look) = self.real.ask(&Ask::Look) else { panic!("no look") };
        self.lives.push((look.incarnation, Incarnation(name)));
    }

    /// The same question, in each one's names of the lives.
    fn ask(&mut self, ask: &Ask) -> Answer {
        let model_ask = match ask {
            Ask::Claim { incarnation, claim } => {
                Ask::Claim { incarnation: self.translated(incarnation), claim: *claim }
            }
            other => other.clone(),
        };
        let now = self.now();
        let (real, model) = (self.real.ask(ask), self.model.answer(now, &model_ask).expect("nobody waits"));
        let (real, model) = (self.comparable(real), self.comparable(model));
        assert_eq!(real, model, "{ask:?}");
        real
    }

    fn translated(&self, real: &Incarnation) -> Incarnation {
        self.lives.iter().find(|life| life.0 == *real).map_or_else(|| real.clone(), |life| life.1.clone())
    }

    /// In the model's names, and without what is told by the clock.
    fn comparable(&self, answer: Answer) -> Answer {
        let Answer::Look(mut look) = answer else { return answer };
        look.reported_for_ms = 0;
        look.incarnation = self.translated(&look.incarnation);
        if let Some(agreed) = &mut look.agreed {
            agreed.incarnation = self.translated(&agreed.incarnation);
        }
        Answer::Look(look)
    }

    fn something_happens(&mut self) {
        match self.random.below(4) {
            0 => {
                self.real.save();
                self.saved = self.model.kept().clone();
            }
            1 => {
                self.real.roll_back();
                self.life(self.saved.clone());
            }
            2 => {
                self.real.wipe();
                self.model.wipe();
            }
            _ => {
                self.real.restart();
                self.life(self.model.kept().clone());
            }
        }
    }

    fn some(&mut self, look: &Look) -> Ask {
        let (epoch, last) = (look.agreed.as_ref().map_or(Epoch(1), |agreed| agreed.epoch), look.last);
        let random = &mut self.random;
        let node = |random: &mut Random| -> NodeName { ["a", "b"][random.below(2)].parse().unwrap() };
        let position = |random: &mut Random| match random.below(4) {
            0 => last.next(),
            1 => at(1, 0),
            2 => at(random.below(4) as u32, random.below(8) as u64),
            _ => last,
        };
        let (claim, cluster) =
            (Claim([random.below(2) as u8; 16]), ClusterId([random.below(9) as u8 / 8; 16]));
        match random.below(20) {
            0 => Ask::Found { cluster, epoch: Epoch(1 + random.below(3) as u32), base: position(random) },
            1 => Ask::Report { node: node(random), position: position(random) },
            2 | 3 => {
                let incarnation = match random.below(6) {
                    0 => self.lives[random.below(self.lives.len())].0.clone(),
                    _ => look.incarnation.clone(),
                };
                Ask::Claim { incarnation, claim }
            }
            4 => Ask::Reset { claim, base: position(random) },
            5 | 6 => {
                let before = position(random);
                Ask::Restore { claim, entries: restored(random, before) }
            }
            7..=9 => {
                let before = position(random);
                let position = at(epoch.0 + random.below(3) as u32, before.offset + 1);
                Ask::Raise { claim, cluster, entry: Stored { before, position, payload: payload(random) } }
            }
            10 => Ask::Read { after: position(random), max_bytes: 1 + random.below(60), wait_ms: 0 },
            11 => Ask::Trim { upto: [last, look.base, at(900, 1)][random.below(3)] },
            _ => Ask::Append {
                epoch: Epoch(epoch.0 + (random.below(8) / 7) as u32),
                seen: position(random),
                node: node(random),
                batch: BatchId([random.below(5) as u8; 16]),
                payload: payload(random),
            },
        }
    }
}

fn payload(random: &mut Random) -> Bytes {
    random.bytes(20).into()
}

/// As they would follow, but for some.
fn restored(random: &mut Random, mut before: Position) -> Vec<Stored> {
    let entries = (0..random.below(4)).map(|_| {
        let position = at(before.epoch.0, before.offset + 1 - (random.below(9) as u64) / 8);
        let entry = Stored { before, position, payload: payload(random) };
        before = position;
        entry
    });
    entries.collect()
}

#[test]
fn redis_and_the_model_answer_the_same() {
    let real = Real::start();
    let (model, begun) = (Model::new(""), Instant::now());
    let mut both =
        Both { real, model, saved: Kept::default(), begun, lives: Vec::new(), random: Random::new(0) };
    for seed in 0..12 {
        println!("seed {seed}");
        both.random = Random::new(seed);
        both.real.wipe();
        both.real.save();
        both.saved = Kept::default();
        both.life(Kept::default());
        let mut fenced = 0;
        for _ in 0..200 {
            if both.random.below(30) == 0 {
                both.something_happens();
            }
            let Answer::Look(mut look) = both.ask(&Ask::Look) else { panic!("no look") };
            // It was translated.
            look.incarnation = both.lives.last().unwrap().0.clone();
            let ask = both.some(&look);
            fenced += usize::from(both.ask(&ask) == Answer::Fenced);
        }
        both.ask(&Ask::Read { after: at(0, 0), max_bytes: 1 << 20, wait_ms: 0 });
        assert!((20..180).contains(&fenced), "{fenced} of 200 were fenced");
    }
}
