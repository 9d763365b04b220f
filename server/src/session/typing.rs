//! Datagrams: who types a message, passed on to those who watch the room with them. Nothing of it is kept, and what is
//! malformed, too much or not allowed is dropped without a word: so nobody learns of rooms they are not in.

use std::sync::Arc;

use bytes::Bytes;
use quip_protocol::codec::{decode_datagram, encode_datagram};
use quip_protocol::datagram::Datagram;
use quip_protocol::{AccountId, RoomId, RoomKind, Timestamp};

use crate::engine::Engine;
use crate::feed::{FeedKey, Watch};
use crate::node::Node;
use crate::ops::metrics::Metrics;

use super::budget::Rate;
use super::{Ended, Session};

/// In rooms with more watches nobody is told: it would cost more than it is worth, and be noise.
const MOST_WATCHES: usize = 50;
/// Datagrams of all connections of an account, bots included: as many rooms as one types in, every three seconds.
const RATE: Rate = Rate { burst: 10, every_us: 500_000 };

/// Takes datagrams until the connection ends.
pub(super) async fn run(session: &Session) -> Result<(), Ended> {
    loop {
        let datagram = session.connection.read_datagram().await?;
        Metrics::count(&session.shared.node.metrics.datagrams);
        if Box::pin(session.pass_on(&datagram)).await.is_none() {
            Metrics::count(&session.shared.node.metrics.datagrams_dropped);
        }
        // A flood is always ready: the session's other work has its turn all the same.
        tokio::task::coop::consume_budget().await;
    }
}

impl Session {
    /// Passes a datagram on; `None` if it is dropped.
    async fn pass_on(&self, datagram: &[u8]) -> Option<()> {
        let node = &self.shared.node;
        let (account, payer) = ((*self.account.lock())?, (*self.payer.lock())?);
        node.sessions.spent.may_whisper(payer, RATE, Timestamp::now()).then_some(())?;
        let Ok(Datagram::Typing { room }) = decode_datagram(datagram) else { return None };
        tell(node, account, room).await?;
        if node.cluster.is_some() {
            node.sessions.whispers.say(room, account);
        }
        Some(())
    }
}

/// Somebody types on another node, which has taken it from their budget there; here again, so that no node is flooded.
pub(crate) async fn heard(node: &Node, room: RoomId, account: AccountId) -> Option<()> {
    node.sessions.spent.may_whisper(account, RATE, Timestamp::now()).then_some(())?;
    tell(node, account, room).await
}

/// Tells who is to be told; `None` if nobody may be.
async fn tell(node: &Node, account: AccountId, room: RoomId) -> Option<()> {
    let asked = node.ask(|engine| audience(node, engine, account, room));
    let (watches, datagram) = node.settled(asked).await.ok()??;
    for connection in node.sessions.connections_of(&watches) {
        // Lost if it cannot be sent now.
        let _ = connection.send_datagram(datagram.clone());
    }
    Some(())
}

/// Who is told that `account` types, and in which words: other members who watch a small room of theirs.
fn audience(
    node: &Node,
    engine: &Engine,
    account: AccountId,
    room: RoomId,
) -> Option<(Vec<Arc<Watch>>, Bytes)> {
    let state = engine.room(room)?;
    state.role(account)?;
    let mut watches = node.feeds.watching(FeedKey::Room(room), MOST_WATCHES + 1);
    if watches.len() > MOST_WATCHES && state.room.kind != RoomKind::Direct {
        return None;
    }
    watches.retain(|watch| watch.account() != account && state.role(watch.account()).is_some());
    let who = engine.account(account)?.name.clone();
    Some((watches, encode_datagram(&Datagram::TypingBy { room, who })))
}
