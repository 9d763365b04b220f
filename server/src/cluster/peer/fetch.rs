//! Getting what a node lacks from others: from one that has more, going on at another one when that one dies, until there is no more.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quip_protocol::{NodeName, Position};
use quip_storage::EpochSpan;
use tokio::sync::watch;
use tracing::info;

use crate::cluster::{Heartbeat, Roster};

use super::ask::{Asked, Asker};
use super::peers::{PATIENCE, Peers};
use super::wire::{Ask, Broken, Told};

/// How often it is said how far it is.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// Why not everything was got.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No node tells.
    #[error("no node gave what is missing behind {after} for {} s: {why}", PATIENCE.as_secs())]
    Nobody {
        /// What is there.
        after: Position,
        /// What the last one said.
        why: String,
    },
    /// All that have more refuse, and will again.
    #[error("the node {from} does not give what is missing: {why}")]
    Refused {
        /// Which.
        from: NodeName,
        /// Why.
        why: Broken,
    },
    /// What came was not written.
    #[error("what another node gave cannot be written: {0}")]
    Sink(io::Error),
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Who tells.
    pub from: NodeName,
    /// What was there before.
    pub begun: Position,
    /// What is there.
    pub position: Position,
    /// Where that node's journal ended when it was asked.
    pub to: Position,
    /// Bytes of records so far.
    pub bytes: u64,
}

impl Progress {
    /// Of 100.
    pub fn percent(&self) -> u64 {
        let all = self.to.offset.saturating_sub(self.begun.offset).max(1);
        (self.position.offset.saturating_sub(self.begun.offset).saturating_mul(100) / all).min(100)
    }
}

/// Gets the records behind `after`, which other nodes have too, in order; each block goes to `sink`, on a thread that
/// may wait for the disk, and is asked for no more once that has taken it. Ends where the journal of a node that lives ends, and says
/// what is there then.
///
/// # Errors
/// See [`FetchError`]; what `sink` has taken is there all the same, and the next try may begin there.
pub async fn fetch<S>(
    roster: watch::Receiver<Roster>,
    asker: &Asker,
    after: Position,
    sink: S,
    progress: impl FnMut(&Progress) + Send,
) -> Result<Position, FetchError>
where
    S: FnMut(Vec<(Position, Bytes)>) -> io::Result<()> + Send + 'static,
{
    let mut fetching = Fetching {
        begun: after,
        position: after,
        bytes: 0,
        since: Instant::now(),
        said: Instant::now(),
        sink: Some(sink),
        progress,
    };
    let mut peers = Peers::new(roster, asker.name.clone());
    loop {
        let Some((name, at)) = peers.next(fetching.position).await? else { return Ok(fetching.position) };
        let before = fetching.position;
        let taken = fetching.take(asker, &name, &at).await;
        if fetching.position > before {
            peers.got_more();
        }
        match taken {
            Ok(true) => return Ok(fetching.position),
            Ok(false) => {}
            Err(Stopped::Sink(e)) => return Err(FetchError::Sink(e)),
            Err(Stopped::Broken(broken)) => peers.failed(name, at.boot, broken),
        }
    }
}

/// The epochs of a node that lives, the newest ones: together with the own ones they say up to where the two journals are
/// the same ([`super::common`]).
///
/// # Errors
/// See [`FetchError`].
pub async fn epochs(
    roster: watch::Receiver<Roster>,
    asker: &Asker,
) -> Result<(NodeName, Vec<EpochSpan>), FetchError> {
    let mut peers = Peers::new(roster, asker.name.clone());
    loop {
        // Every node has something that this one may lack, whatever their places are.
        let Some((name, at)) = peers.next(Position::ZERO).await? else {
            return Err(FetchError::Nobody { after: Position::ZERO, why: peers.why().to_owned() });
        };
        match asker.epochs(&name, &at).await {
            Ok(spans) => return Ok((name, spans)),
            Err(broken) => peers.failed(name, at.boot, broken),
        }
    }
}

/// Why a node is not listened to any more.
enum Stopped {
    Broken(Broken),
    Sink(io::Error),
}

impl From<Broken> for Stopped {
    fn from(broken: Broken) -> Stopped {
        Stopped::Broken(broken)
    }
}

struct Fetching<S, P> {
    begun: Position,
    position: Position,
    bytes: u64,
    since: Instant,
    said: Instant,
    /// With the thread that writes, while that does.
    sink: Option<S>,
    progress: P,
}

impl<S, P> Fetching<S, P>
where
    S: FnMut(Vec<(Position, Bytes)>) -> io::Result<()> + Send + 'static,
    P: FnMut(&Progress),
{
    /// Takes what a node has, up to where its journal ended when it was asked; whether that is still all.
    async fn take(&mut self, asker: &Asker, from: &NodeName, at: &Heartbeat) -> Result<bool, Stopped> {
        let mut asked = asker.ask(from, at, Ask::Records { after: self.position }).await?;
        let Told::Records { last: to } = asked.told().await? else {
            return Err(Broken::Protocol("records were asked for").into());
        };
        loop {
            match asked.told().await? {
                Told::Block(places) => self.take_block(&mut asked, places).await?,
                Told::End { last } => return Ok(last <= self.position),
                _ => return Err(Broken::Protocol("records were to follow").into()),
            }
            let (from, begun, position, bytes) = (from.clone(), self.begun, self.position, self.bytes);
            self.say(&Progress { from, begun, position, to, bytes });
        }
    }

    async fn take_block(&mut self, asked: &mut Asked, places: Vec<(Position, u32)>) -> Result<(), Stopped> {
        let mut last = self.position;
        for (position, _) in &places {
            if position.offset <= last.offset || position.epoch < last.epoch {
                return Err(Broken::Protocol("its records are out of order").into());
            }
            last = *position;
        }
        let block = asked.payloads(places).await?;
        let bytes: usize = block.iter().map(|(_, payload)| payload.len()).sum();
        self.write(block).await?;
        self.position = last;
        self.bytes += bytes as u64;
        Ok(())
    }

    async fn write(&mut self, block: Vec<(Position, Bytes)>) -> Result<(), Stopped> {
        let mut sink = self.sink.take().expect("it comes back with each block, or nothing more is taken");
        let written = tokio::task::spawn_blocking(move || {
            let written = sink(block);
            (sink, written)
        });
        let (sink, written) = written.await.map_err(|e| Stopped::Sink(io::Error::other(e)))?;
        self.sink = Some(sink);
        written.map_err(Stopped::Sink)
    }

    fn say(&mut self, progress: &Progress) {
        (self.progress)(progress);
        if self.said.elapsed() < SAY_EVERY {
            return;
        }
        self.said = Instant::now();
        let rate = self.bytes / u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        info!(
            from = %progress.from, position = %progress.position, to = %progress.to, kb_per_second = rate,
            "getting the journal from another node: {} %", progress.percent()
        );
    }
}
