//! Keepers of the log, and the way of questions to them: delayed, lost, done and not answered, done late.

use std::collections::BTreeMap;

use quip_protocol::NodeName;
use quip_server::log::shared::contract::{Answer, Ask, Lost};
use quip_server::log::shared::member::{Input, Lane};
use quip_tests::cluster::Model;
use quip_tests::cluster::model::Kept;

use super::world::{Asker, Event, Fails, World};

/// After so long a question is given up, beyond what it waits.
const TIME_OUT_MS: u64 = 1_000;
/// A node that has not said for so long that it lives does not.
const DEAD_AFTER_MS: u64 = 5_000;

/// One process that keeps the log, or kept it.
#[derive(Debug)]
pub struct Keeper {
    /// Nothing while it is down.
    pub model: Option<Model>,
    waiting: Vec<(Asker, Ask)>,
    /// What a crash leaves, or what a replica has.
    pub saved: Kept,
    beats: BTreeMap<NodeName, u64>,
}

impl Keeper {
    pub fn new(model: Model) -> Keeper {
        Keeper {
            saved: model.kept().clone(),
            model: Some(model),
            waiting: Vec::new(),
            beats: BTreeMap::new(),
        }
    }

    pub fn describe(&self) -> String {
        let look = self.model.clone().and_then(|mut model| model.answer(0, &Ask::Look));
        format!("keeper: {look:?}")
    }
}

impl World {
    /// A node asks: the question goes on its way, or is lost.
    pub fn ask(&mut self, node: usize, lane: Lane, ask: Ask) {
        let serial = self.next_serial();
        let life = self.nodes[node].life;
        let asker = Asker { node, life, lane, serial };
        self.nodes[node].asked(lane, serial);
        let wait = if let Ask::Read { wait_ms, .. } = &ask { *wait_ms } else { 0 };
        let lost = Err(Lost("it takes too long".to_owned()));
        self.at(wait + TIME_OUT_MS, Event::Answered { asker, answer: lost });
        let (keeper, is_cut) = (self.nodes[node].keeper, self.nodes[node].is_cut);
        let is_lost = is_cut || (self.is_noisy && self.luck.one_in(20));
        if is_lost {
            return;
        }
        let is_late = self.is_noisy && self.luck.one_in(20);
        let delay = if is_late { self.luck.between(900, 8_000) } else { self.delay() };
        let lost = self.is_noisy && self.luck.one_in(20);
        self.at(delay, Event::Arrives { keeper, asker, ask, lost });
    }

    /// Of one way.
    pub fn delay(&mut self) -> u64 {
        if self.is_noisy && self.luck.one_in(10) {
            self.luck.between(20, 600)
        } else if self.setting.fails == Fails::Log {
            // So that nodes differ in what they have read when the log is gone.
            self.luck.between(1, 90)
        } else {
            self.luck.between(1, 5)
        }
    }

    pub fn arrives(&mut self, keeper: usize, asker: Asker, ask: Ask, lost: bool) {
        let now = self.now;
        let Some(model) = &mut self.keepers[keeper].model else {
            let refused = Err(Lost("refused".to_owned()));
            return self.at(2, Event::Answered { asker, answer: refused });
        };
        let answer = model.answer(now, &ask);
        if !matches!(ask, Ask::Look | Ask::Read { .. } | Ask::Report { .. }) {
            self.trace(|| format!("{keeper} {} {ask:?} → {answer:?}", self.nodes[asker.node].name));
        }
        match (answer, &ask) {
            (Some(answer), _) if !lost => self.answer(asker, answer),
            (Some(_), _) => {}
            (None, Ask::Read { wait_ms, .. }) => {
                self.at(*wait_ms, Event::WaitOver { keeper, asker });
                self.keepers[keeper].waiting.push((asker, ask));
            }
            (None, _) => unreachable!("only a read waits"),
        }
        self.wake(keeper);
    }

    fn answer(&mut self, asker: Asker, answer: Answer) {
        let delay = self.delay();
        if !self.nodes[asker.node].is_cut {
            self.at(delay, Event::Answered { asker, answer: Ok(answer) });
        }
    }

    /// Whoever waits for an entry that is there is told.
    pub fn wake(&mut self, keeper: usize) {
        let now = self.now;
        let Keeper { model: Some(model), waiting, .. } = &mut self.keepers[keeper] else { return };
        let mut told = Vec::new();
        waiting.retain(|(asker, ask)| match model.answer(now, ask) {
            Some(answer) => {
                told.push((*asker, answer));
                false
            }
            None => true,
        });
        told.into_iter().for_each(|(asker, answer)| self.answer(asker, answer));
    }

    pub fn wait_over(&mut self, keeper: usize, asker: Asker) {
        let before = self.keepers[keeper].waiting.len();
        self.keepers[keeper].waiting.retain(|(other, _)| *other != asker);
        if self.keepers[keeper].waiting.len() < before {
            self.answer(asker, Answer::Entries(Vec::new()));
        }
    }

    /// The process ends: its connections do.
    pub fn keeper_ends(&mut self, keeper: usize) {
        self.keepers[keeper].model = None;
        for (asker, _) in std::mem::take(&mut self.keepers[keeper].waiting) {
            self.at(1, Event::Answered { asker, answer: Err(Lost("closed".to_owned())) });
        }
    }

    pub fn answered(&mut self, asker: Asker, answer: Result<Answer, Lost>) {
        if self.nodes[asker.node].is_open(asker) {
            self.nodes[asker.node].closed(asker.lane);
            self.input(asker.node, asker.life, Input::Answered(asker.lane, answer));
        }
    }

    /// A node says that it lives, and hears who else does.
    pub fn heartbeat(&mut self, node: usize) {
        self.at(1_000, Event::Heartbeat { node });
        let Node { keeper, is_cut, life, .. } = self.nodes[node];
        let keeper = &mut self.keepers[keeper];
        if is_cut || keeper.model.is_none() || !self.nodes[node].is_up() {
            return;
        }
        keeper.beats.insert(self.nodes[node].name.clone(), self.now);
        let now = self.now;
        let alive = keeper.beats.iter().filter(|(_, at)| **at + DEAD_AFTER_MS > now);
        let alive = alive.map(|(name, _)| name.clone()).collect();
        self.input(node, life, Input::Nodes(alive));
    }

    /// What a crash of the process would leave from here on.
    pub fn save(&mut self) {
        for keeper in &mut self.keepers {
            if let Some(model) = &keeper.model {
                keeper.saved = model.kept().clone();
            }
        }
        let after = self.luck.between(50, 1_500);
        self.at(after, Event::Save);
    }
}

use super::node::Node;
