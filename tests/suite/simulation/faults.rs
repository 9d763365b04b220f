//! What goes wrong, and when: from the seed.

use quip_server::log::shared::contract::Ask;
use quip_tests::cluster::Model;

use super::keeper::Keeper;
use super::world::{Event, Fails, World};

/// What is done to the world.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// A node's process is killed.
    Crash { node: usize },
    /// It begins again.
    Start { node: usize },
    /// It is stopped for a while.
    Pause { node: usize },
    /// Nothing goes between it and the log for a while.
    Cut { node: usize },
    /// Until now.
    Mend { node: usize },
    /// Its disk is slow and fails.
    BadDisk { node: usize },
    /// It does not any more.
    GoodDisk { node: usize },
    /// The log's process ends, and loses what it had not saved, or not.
    Restart { loses: bool },
    /// It is there again.
    Return,
    /// Everything in it is dropped, by the same process, or with it.
    Wipe { restarts: bool },
    /// A copy that lags takes over; nodes go there at once, or after a while, when the old one goes on.
    Promote { splits: bool },
    /// A node finds the one that is to be asked.
    Move { node: usize },
    /// What all live nodes have is dropped from the log.
    Trim,
    /// Messages are delayed and lost from here on.
    Noise,
    /// They are not any more.
    Quiet,
    /// Nothing happens from here on.
    Calm,
}

impl World {
    pub fn schedule_faults(&mut self) {
        let mut at = self.luck.between(500, 3_000);
        while at < self.calm_at {
            let fault = self.any_fault();
            self.at(at, Event::Fault(fault));
            at += self.luck.between(100, 4_000);
        }
        let calm_at = self.calm_at;
        self.at(calm_at, Event::Fault(Fault::Calm));
    }

    fn any_fault(&mut self) -> Fault {
        let node = self.luck.index(self.nodes.len());
        let coin = self.luck.one_in(2);
        let which = match self.setting.fails {
            Fails::All => self.luck.index(18),
            Fails::Log => 8 + self.luck.index(5),
        };
        match which {
            0..=2 => Fault::Crash { node },
            3 | 4 => Fault::Pause { node },
            5 | 6 => Fault::Cut { node },
            7 => Fault::BadDisk { node },
            8..=11 => Fault::Restart { loses: coin },
            12 => Fault::Wipe { restarts: coin },
            13 | 14 => Fault::Promote { splits: coin },
            15 => Fault::Trim,
            _ => Fault::Noise,
        }
    }

    pub fn strike(&mut self, fault: Fault) {
        let is_over = self.now >= self.calm_at;
        self.trace(|| format!("--- {fault:?}"));
        let soon = self.luck.between(100, 6_000).min(self.calm_at.saturating_sub(self.now).max(1));
        match fault {
            Fault::Crash { node } => {
                self.crash(node);
                self.at(soon, Event::Fault(Fault::Start { node }));
            }
            Fault::Start { node } => {
                if !self.nodes[node].is_up() && !self.nodes[node].is_aside {
                    self.start(node);
                }
            }
            Fault::Pause { node } => self.nodes[node].paused_until = Some(self.now + soon),
            Fault::Cut { node } => {
                self.nodes[node].is_cut = true;
                self.at(soon, Event::Fault(Fault::Mend { node }));
            }
            Fault::Mend { node } => self.nodes[node].is_cut = false,
            Fault::BadDisk { node } => {
                self.nodes[node].has_bad_disk = true;
                self.at(soon, Event::Fault(Fault::GoodDisk { node }));
            }
            Fault::GoodDisk { node } => self.nodes[node].has_bad_disk = false,
            Fault::Restart { loses } => {
                let restart_after = soon.min(3_000);
                self.keep_for_return(loses);
                self.at(restart_after, Event::Fault(Fault::Return));
            }
            Fault::Return => self.keeper_returns(),
            Fault::Wipe { restarts } => self.wipe(restarts),
            Fault::Promote { splits } => self.promote(splits),
            Fault::Move { node } => self.nodes[node].keeper = self.master,
            Fault::Trim => self.trim(),
            Fault::Noise => {
                self.is_noisy = !is_over;
                self.at(soon, Event::Fault(Fault::Quiet));
            }
            Fault::Quiet => self.is_noisy = false,
            Fault::Calm => self.calm(),
        }
    }

    fn keep_for_return(&mut self, loses: bool) {
        let master = self.master;
        let keeper = &mut self.keepers[master];
        if let Some(model) = keeper.model.as_ref().filter(|_| !loses) {
            keeper.saved = model.kept().clone();
        }
        self.keeper_ends(master);
    }

    /// Another life of the log's process, with what was saved.
    fn keeper_returns(&mut self) {
        let name = self.next_serial().to_string();
        for keeper in self.keepers.iter_mut().filter(|keeper| keeper.model.is_none()) {
            let mut model = Model::of(keeper.saved.clone(), &name);
            model.flaw = self.setting.broken.keeper();
            keeper.model = Some(model);
        }
    }

    fn wipe(&mut self, restarts: bool) {
        let master = self.master;
        if let Some(model) = &mut self.keepers[master].model {
            model.wipe();
        }
        if restarts {
            self.keep_for_return(false);
            self.keeper_returns();
        }
    }

    fn promote(&mut self, splits: bool) {
        let name = self.next_serial().to_string();
        let mut model = Model::of(self.keepers[self.master].saved.clone(), &name);
        model.flaw = self.setting.broken.keeper();
        self.keepers.push(Keeper::new(model));
        let old = std::mem::replace(&mut self.master, self.keepers.len() - 1);
        for node in 0..self.nodes.len() {
            let after = if splits { self.luck.between(1, 5_000) } else { self.luck.between(1, 200) };
            self.at(after, Event::Fault(Fault::Move { node }));
        }
        if !splits {
            self.keeper_ends(old);
        }
    }

    /// Up to what every node has that is live, if the log has that: a node that is about to find that it has gone another way
    /// says nothing of what the others have.
    fn trim(&mut self) {
        let live = self.nodes.iter().filter(|node| node.is_live());
        let Some(upto) = live.map(|node| node.last()).min() else { return };
        let (now, master) = (self.now, self.master);
        if let Some(model) = self.keepers[master].model.as_mut().filter(|model| model.kept().has(upto)) {
            model.answer(now, &Ask::Trim { upto });
        }
    }

    fn calm(&mut self) {
        self.is_noisy = false;
        self.keeper_returns();
        for node in 0..self.nodes.len() {
            let here = &mut self.nodes[node];
            here.is_cut = false;
            here.has_bad_disk = false;
            here.paused_until = None;
            self.at(6_000, Event::Fault(Fault::Move { node }));
            self.at(6_000, Event::Fault(Fault::Start { node }));
        }
    }
}
