//! Whom a node asks for what it lacks, and when: who broke off least often, and not before its pause is over. Knows the roster, and
//! no connection.

use std::collections::BTreeMap;
use std::time::Duration;

use quip_protocol::{NodeName, Position};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use crate::cluster::pause::pause;
use crate::cluster::{BootId, Heartbeat, Roster};

use super::fetch::FetchError;
use super::wire::{Broken, Refused};

/// Without a record for so long it is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Who is asked next.
pub(super) struct Peers {
    roster: watch::Receiver<Roster>,
    own: NodeName,
    /// Who broke off since something came.
    failed: BTreeMap<NodeName, Failed>,
    /// Who will say no again in that life.
    refused: BTreeMap<NodeName, (BootId, Broken)>,
    /// Nothing came since then.
    since: Instant,
    has_got: bool,
    why: String,
}

/// A node that broke off.
#[derive(Debug, Clone, Copy)]
struct Failed {
    /// In which life: one that was started again is asked like any other.
    boot: BootId,
    times: u32,
    /// It is not asked before. The time and not how long: where the nodes have much to do, their positions change more often than a pause
    /// is over.
    due: Instant,
}

impl Peers {
    pub(super) fn new(roster: watch::Receiver<Roster>, own: NodeName) -> Peers {
        Peers {
            roster,
            own,
            failed: BTreeMap::new(),
            refused: BTreeMap::new(),
            since: Instant::now(),
            has_got: false,
            why: "no other node lives that has more".to_owned(),
        }
    }

    /// What the last one said.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// A node that has more than `position`; waits for one. `None` when something came, and nobody has more.
    pub(super) async fn next(
        &mut self,
        position: Position,
    ) -> Result<Option<(NodeName, Heartbeat)>, FetchError> {
        loop {
            if self.since.elapsed() >= PATIENCE {
                return Err(FetchError::Nobody { after: position, why: self.why.clone() });
            }
            let (others, best) = self.choose(position);
            if let Some((name, at)) = best {
                match self.failures(&name, &at).map(|failed| failed.due) {
                    Some(due) if due > Instant::now() => self.wait(due).await,
                    _ => return Ok(Some((name, at))),
                }
                continue;
            }
            if let Some((from, (_, why))) = self.refused.pop_first() {
                return Err(FetchError::Refused { from, why });
            }
            if others && self.has_got {
                return Ok(None);
            }
            self.wait(Instant::now() + pause(3)).await;
        }
    }

    /// Whether any other node lives, and the one to ask: which broke off least often, and has least to do. One that joins or
    /// stops has no door.
    fn choose(&mut self, position: Position) -> (bool, Option<(NodeName, Heartbeat)>) {
        // What changes from here on ends the wait for it.
        let roster = self.roster.borrow_and_update().clone();
        let others = || roster.iter().filter(|(name, _)| **name != self.own);
        let refused = |name, at: &Heartbeat| {
            self.refused.get(name).is_some_and(|(boot, _): &(BootId, _)| *boot == at.boot)
        };
        let able =
            others().filter(|(name, at)| at.position > position && !at.draining && !refused(*name, at));
        let best = able.min_by_key(|(name, at)| {
            (self.failures(name, at).map_or(0, |failed| failed.times), at.connections, (*name).clone())
        });
        (others().next().is_some(), best.map(|(name, at)| (name.clone(), at.clone())))
    }

    fn failures(&self, name: &NodeName, at: &Heartbeat) -> Option<Failed> {
        self.failed.get(name).copied().filter(|failed| failed.boot == at.boot)
    }

    /// Waits, unless the nodes that live change before: then whom to ask is another question.
    async fn wait(&mut self, until: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            Ok(()) = self.roster.changed() => {}
        }
    }

    pub(super) fn got_more(&mut self) {
        self.failed.clear();
        self.since = Instant::now();
        self.has_got = true;
    }

    pub(super) fn failed(&mut self, name: NodeName, boot: BootId, broken: Broken) {
        self.why = format!("{name}: {broken}");
        if matches!(broken, Broken::Key | Broken::Refused(Refused::OtherCluster | Refused::NotHeld(_))) {
            self.refused.insert(name, (boot, broken));
            return;
        }
        warn!(node = %name, why = %broken, "another node broke off telling its journal");
        let before = self.failed.get(&name).filter(|failed| failed.boot == boot);
        let before = before.map_or(0, |failed| failed.times);
        let (times, due) = (before.saturating_add(1), Instant::now() + pause(before));
        self.failed.insert(name, Failed { boot, times, due });
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::{Epoch, Fingerprint};

    use super::*;

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(1), offset }
    }

    fn heartbeat(boot: u8, offset: u64) -> Heartbeat {
        Heartbeat {
            boot: BootId([boot; 16]),
            address: "a.example:1".into(),
            fingerprint: Fingerprint([0; 32]),
            connections: 0,
            position: at(offset),
            draining: false,
        }
    }

    fn peers(roster: Roster) -> (watch::Sender<Roster>, Peers) {
        let (told, roster) = watch::channel(roster);
        (told, Peers::new(roster, name("own")))
    }

    fn broke() -> Broken {
        Broken::Unreachable("it does not answer".into())
    }

    async fn asked(peers: &mut Peers) -> NodeName {
        peers.next(at(5)).await.unwrap().expect("one has more").0
    }

    /// The time until the next one is asked, after the only one has broken off so many times.
    async fn paused(peers: &mut Peers, times: u32) -> Duration {
        for _ in 0..times {
            peers.failed(name("a"), BootId([1; 16]), broke());
        }
        let begun = Instant::now();
        assert_eq!(asked(peers).await, name("a"));
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_broke_off_is_asked_again_after_its_pause_however_often_the_roster_changes() {
        let (told, mut peers) = peers(Roster::from([(name("a"), heartbeat(1, 9))]));
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(700));
            for offset in 10.. {
                tick.tick().await;
                told.send_replace(Roster::from([(name("a"), heartbeat(1, offset))]));
            }
        });
        assert_eq!(paused(&mut peers, 0).await, Duration::ZERO);
        let (first, long) =
            (paused(&mut peers, 1).await.as_millis(), paused(&mut peers, 7).await.as_millis());
        assert!((50..=101).contains(&first), "{first}");
        assert!((2_500..=5_001).contains(&long), "{long}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_started_again_is_asked_at_once() {
        let (told, mut peers) = peers(Roster::from([(name("a"), heartbeat(1, 9))]));
        let begun = Instant::now();
        for _ in 0..7 {
            peers.failed(name("a"), BootId([1; 16]), broke());
        }
        told.send_replace(Roster::from([(name("a"), heartbeat(2, 9))]));
        assert_eq!(asked(&mut peers).await, name("a"));
        peers.failed(name("a"), BootId([2; 16]), Refused::OtherCluster.into());
        let refused = peers.next(at(5)).await.unwrap_err();
        assert!(matches!(refused, FetchError::Refused { .. }), "{refused}");
        peers.failed(name("a"), BootId([2; 16]), Broken::Key);
        told.send_replace(Roster::from([(name("a"), heartbeat(3, 9))]));
        assert_eq!(asked(&mut peers).await, name("a"));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_broke_off_least_often_comes_first() {
        let nodes = ["a", "b"].map(|node| (name(node), heartbeat(1, 9)));
        let (_told, mut peers) = peers(Roster::from(nodes));
        for expected in ["a", "b", "a", "b"] {
            let chosen = asked(&mut peers).await;
            assert_eq!(chosen, name(expected));
            peers.failed(chosen, BootId([1; 16]), broke());
        }
    }
}
