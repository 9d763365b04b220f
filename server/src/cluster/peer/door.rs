//! The side that is asked: reads the own journal and tells it. It reads no faster than it writes, holds one block at a time,
//! and leaves half of the time to others.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quinn::{Connection, RecvStream, SendStream};
use quip_protocol::{NodeName, Position, Timestamp};
use quip_storage::{EpochSpan, JournalError, JournalReader, Replay};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

use crate::cluster::key::ClusterKey;
use crate::log::shared::contract::ClusterId;
use crate::ops::metrics::Metrics;
use crate::session::budget::Tally;

use super::outline::MAX_EPOCHS;
use super::proof::{PROOF_BYTES, Role, check, prove};
use super::wire::{
    Ask, BLOCK_BYTES, BLOCK_RECORDS, Broken, Hello, Refused, STALL, Told, read, read_exact, write,
    write_bytes,
};

/// So many nodes are told the journal at once.
const AT_ONCE: usize = 2;
/// Who has not shown the key within this is gone.
const PROOF_DEADLINE: Duration = Duration::from_secs(5);

/// Where other nodes come in.
#[derive(Debug)]
pub struct Door {
    cluster: ClusterId,
    name: NodeName,
    key: ClusterKey,
    journal: JournalReader,
    places: Semaphore,
    strangers: Mutex<Tally>,
}

impl Door {
    /// A door to this journal, for who has the key.
    pub fn new(cluster: ClusterId, name: NodeName, key: ClusterKey, journal: JournalReader) -> Door {
        let places = Semaphore::new(AT_ONCE);
        Door { cluster, name, key, journal, places, strangers: Mutex::default() }
    }

    /// Answers one connection, until it ends or the server stops.
    pub async fn serve(&self, metrics: &Metrics, connection: Connection, mut stop: watch::Receiver<bool>) {
        let ended = tokio::select! {
            ended = self.converse(metrics, &connection) => ended,
            _ = stop.wait_for(|stop| *stop) => Err(Broken::Stopping),
        };
        let Err(broken) = ended else { return };
        let broken = broken.or_said(&connection).await;
        broken.close(&connection);
        let peer = connection.remote_address();
        if !matches!(broken, Broken::Key) {
            return debug!(%peer, why = %broken, "a conversation with a node ended early");
        }
        Metrics::count(&metrics.peers_refused);
        if let Some(count) = self.strangers.lock().note(Timestamp::now()) {
            warn!(%peer, count, "refused who asks as a node: {broken}");
        }
    }

    async fn converse(&self, metrics: &Metrics, connection: &Connection) -> Result<(), Broken> {
        let (mut send, mut recv) = self.prove(connection).await?;
        let hello: Hello = read(&mut recv).await?;
        match self.answer(metrics, hello, &mut send).await {
            Err(Broken::Refused(refused)) => write(&mut send, &Told::Refused(refused)).await?,
            answered => answered?,
        }
        // Nothing was finished twice.
        let _ = send.finish();
        // Until all of it has arrived.
        let _ = tokio::time::timeout(STALL, connection.closed()).await;
        Ok(())
    }

    /// Nothing is read of who has not the key but a proof, and nothing is told.
    async fn prove(&self, connection: &Connection) -> Result<(SendStream, RecvStream), Broken> {
        let proven = async {
            let (mut send, mut recv) = connection.accept_bi().await?;
            let mut proof = [0; PROOF_BYTES];
            read_exact(&mut recv, &mut proof).await?;
            check(&self.key, connection, Role::Asks, &proof)?;
            let own = prove(&self.key, connection, Role::Answers)?;
            write_bytes(&mut send, own.to_vec().into()).await?;
            Ok((send, recv))
        };
        tokio::time::timeout(PROOF_DEADLINE, proven).await.map_err(|_| Broken::Silent)?
    }

    async fn answer(&self, metrics: &Metrics, hello: Hello, send: &mut SendStream) -> Result<(), Broken> {
        if hello.cluster != self.cluster.0 {
            return Err(Refused::OtherCluster.into());
        }
        if hello.to != self.name {
            return Err(Refused::OtherNode(self.name.clone()).into());
        }
        let _place = self.places.try_acquire().map_err(|_| Refused::Busy)?;
        match hello.ask {
            Ask::Epochs => {
                let journal = self.journal.clone();
                let mut spans = blocking(move || journal.epochs()).await?;
                spans.drain(..spans.len().saturating_sub(MAX_EPOCHS));
                let told = spans.into_iter().map(|EpochSpan { epoch, first, last }| (epoch, first, last));
                write(send, &Told::Epochs(told.collect())).await
            }
            Ask::Records { after } => {
                info!(node = %hello.from, %after, last = %self.journal.last(), "a node gets our journal");
                self.tell(metrics, after, send).await
            }
        }
    }

    async fn tell(&self, metrics: &Metrics, after: Position, send: &mut SendStream) -> Result<(), Broken> {
        let journal = self.journal.clone();
        let begun = blocking(move || match journal.holds(after)? {
            true => Ok(Some((journal.last(), Reading::new(journal.replay(after)?)))),
            false => Ok(None),
        });
        let (last, mut reading) = begun.await?.ok_or(Refused::NotHeld(after))?;
        write(send, &Told::Records { last }).await?;
        loop {
            let begun = Instant::now();
            let block;
            (reading, block) = blocking(move || {
                let block = reading.block()?;
                Ok((reading, block))
            })
            .await?;
            if block.is_empty() {
                break;
            }
            let took = begun.elapsed();
            Metrics::count(&metrics.peer_blocks);
            self.tell_block(block, send).await?;
            // People who talk go before a node that catches up.
            tokio::time::sleep(took).await;
        }
        write(send, &Told::End { last: self.journal.last() }).await
    }

    async fn tell_block(&self, block: Vec<(Position, Vec<u8>)>, send: &mut SendStream) -> Result<(), Broken> {
        let place = |(position, payload): &(Position, Vec<u8>)| {
            (*position, u32::try_from(payload.len()).expect("the journal has records of at most MAX_PAYLOAD"))
        };
        write(send, &Told::Block(block.iter().map(place).collect())).await?;
        for (_, payload) in block {
            write_bytes(send, payload.into()).await?;
        }
        Ok(())
    }
}

/// A journal, block by block.
struct Reading {
    replay: Replay,
    /// A record that was too much for the block before.
    next: Option<(Position, Vec<u8>)>,
}

impl Reading {
    fn new(replay: Replay) -> Reading {
        Reading { replay, next: None }
    }

    /// The next records; none at the end.
    fn block(&mut self) -> Result<Vec<(Position, Vec<u8>)>, JournalError> {
        let (mut block, mut bytes) = (Vec::new(), 0);
        while block.len() < BLOCK_RECORDS {
            let record = match self.next.take() {
                Some(record) => Some(record),
                None => self.replay.next().transpose()?,
            };
            let Some(record) = record else { break };
            bytes += record.1.len();
            if !block.is_empty() && bytes > BLOCK_BYTES {
                self.next = Some(record);
                break;
            }
            block.push(record);
        }
        Ok(block)
    }
}

/// Reads where reading may take its time.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, Broken> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => {
            warn!(%error, "the journal cannot be told to another node");
            Err(Refused::Unreadable.into())
        }
        // The runtime is being dropped.
        Err(_) => Err(Broken::Stopping),
    }
}
