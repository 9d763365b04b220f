//! Putting a directory right whose journal and the log of its cluster have parted, or whose journal ends before the log begins:
//! before it is opened again. Imports peers, realigning and the log.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use quip_protocol::Position;
use quip_storage::EpochSpan;
use quip_storage::journal::JournalReader;
use tracing::{info, warn};

use super::join::{JoinError, Joined, blocking, is_of, look, open_journal, rest, until_answered};
use super::pause::pause;
use super::peer::{self, Asker, Broken, FetchError, Refused as PeerRefused};
use super::realign;
use crate::log::redis::{Connection, Ended};
use crate::log::shared::contract::{Answer, Ask, Look};
use crate::log::shared::member::StepAside;
use crate::pipeline::stopping::Stopping;

/// Bytes of entries that are read at once to find where a journal and the log part.
const READ_BYTES: usize = 1024 * 1024;
/// After so many failures' pause a journal is compared with the log again, where that came to nothing.
const UNSURE: u32 = 3;

impl Joined {
    /// Makes the directory one that can be opened again as a node's; where that cannot be told now, it stays as it is.
    ///
    /// # Errors
    /// See [`JoinError`].
    pub(super) async fn put_right(&self, why: Ended, stopping: &Stopping) -> Result<(), JoinError> {
        let put = match why {
            Ended::Aside(StepAside::Foreign { .. }) => Err(JoinError::Foreign),
            Ended::Aside(StepAside::Behind { base }) => {
                info!(%base, "the shared log begins behind what this node has: getting the rest from another node");
                match self.fetch().await {
                    // Nobody has its last entry: it has parted, too.
                    Err(JoinError::Fetch(FetchError::Refused {
                        why: Broken::Refused(PeerRefused::NotHeld(_)),
                        ..
                    })) => self.realigned(stopping).await,
                    fetched => fetched,
                }
            }
            Ended::Aside(StepAside::Diverged) => self.realigned(stopping).await,
            unreadable => Err(JoinError::Ended(unreadable)),
        };
        or_later(put)
    }

    /// Cuts the journal back to what it has in common with the cluster, and keeps what only it has. Nothing where that
    /// cannot be told now: the directory is opened again as it is, and may be needed to repair the log.
    async fn realigned(&self, stopping: &Stopping) -> Result<(), JoinError> {
        let dir = Arc::clone(&self.dir);
        let journal = blocking(move || open_journal(&dir)).await?;
        let last = journal.last();
        let Some(common) = self.common(journal.reader(), stopping).await?.filter(|common| *common != last)
        else {
            return rest(pause(UNSURE), stopping).await;
        };
        let dir = Arc::clone(&self.dir);
        let cut = blocking(move || {
            let reader = journal.reader();
            // Nothing is renamed under it.
            drop(journal);
            realign::realign(dir.path(), &reader, common)?;
            open_journal(&dir)
        });
        self.heart.has(cut.await?.reader());
        Ok(())
    }

    fn asker(&self) -> Asker {
        Asker { cluster: self.cluster.id, name: self.cluster.name.clone(), key: self.key.clone() }
    }

    /// Writes to the journal what other nodes have more, a block with one fdatasync.
    async fn fetch(&self) -> Result<(), JoinError> {
        let dir = Arc::clone(&self.dir);
        let mut journal = blocking(move || open_journal(&dir)).await?;
        self.heart.has(journal.reader());
        let (dir, after) = (Arc::clone(&self.dir), journal.last());
        let sink = move |block: Vec<(Position, Bytes)>| {
            // With it nobody else has the directory.
            let _ = &dir;
            journal.append_all(&block).map_err(io::Error::other)
        };
        let roster = self.cluster.roster.subscribe();
        let last = peer::fetch(roster, &self.asker(), after, sink, |_| {}).await?;
        info!(from = %after, to = %last, "got what was missing from other nodes");
        Ok(())
    }

    /// The last record that this journal and the cluster have in common: by the log itself, or, where that begins behind it,
    /// by another node's journal. Nothing while the log is not agreed on, or is repaired meanwhile: it may lack what the
    /// cluster has.
    async fn common(
        &self,
        reader: JournalReader,
        stopping: &Stopping,
    ) -> Result<Option<Position>, JoinError> {
        let epochs = blocking(move || Ok(reader.epochs()?)).await?;
        let mut connection = Connection::new(self.address.clone());
        let before = look(&mut connection, stopping).await?;
        if !self.is_ours(&before) {
            return Ok(None);
        }
        let common = self.common_by(&epochs, &before, &mut connection, stopping).await?;
        let after = look(&mut connection, stopping).await?;
        let is_same = before.agreed == after.agreed && before.base == after.base && self.is_ours(&after);
        Ok(is_same.then_some(common))
    }

    fn is_ours(&self, look: &Look) -> bool {
        is_of(look, self.cluster.id)
    }

    async fn common_by(
        &self,
        epochs: &[EpochSpan],
        look: &Look,
        connection: &mut Connection,
        stopping: &Stopping,
    ) -> Result<Position, JoinError> {
        if !realign::holds(epochs, look.base) {
            let (from, theirs) = peer::epochs(self.cluster.roster.subscribe(), &self.asker()).await?;
            info!(node = %from, "comparing journals");
            return Ok(peer::common(epochs, &theirs));
        }
        let mut common = look.base;
        loop {
            let ask = Ask::Read { after: common, max_bytes: READ_BYTES, wait_ms: 0 };
            let entries = match until_answered(connection, &ask, stopping).await? {
                Answer::Entries(entries) => entries,
                _ => Vec::new(),
            };
            let held = entries.iter().take_while(|entry| realign::holds(epochs, entry.position)).count();
            common = entries[..held].last().map_or(common, |entry| entry.position);
            if held < entries.len() || entries.is_empty() {
                return Ok(common);
            }
        }
    }
}

/// Nobody has what is missing now: who has it may come back, and the log may change. So the node looks again at how it stands.
fn or_later(put: Result<(), JoinError>) -> Result<(), JoinError> {
    match put {
        Err(JoinError::Fetch(why @ FetchError::Nobody { .. })) => {
            warn!("{why}; waiting on: start a node that has it, see CLUSTER.md if there is none");
            Ok(())
        }
        put => put,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_waits_for_what_it_may_get_and_ends_where_it_will_not() {
        let nobody = FetchError::Nobody { after: Position::ZERO, why: "nobody lives".into() };
        assert!(nobody.to_string().lines().count() == 1, "{nobody}");
        let refused = FetchError::Refused { from: "b".parse().unwrap(), why: Broken::Key };
        let table = [(Ok(()), true), (Err(nobody.into()), true), (Err(refused.into()), false)];
        for (put, goes_on) in table {
            let put: Result<(), JoinError> = put;
            let told = format!("{put:?}");
            assert_eq!(or_later(put).is_ok(), goes_on, "{told}");
        }
        assert!(or_later(Err(JoinError::Foreign)).is_err());
    }
}
