//! Beginning to watch. Under the engine's lock only the right is checked and the watch registered, so that a right
//! that ends from then on ends it; the reader's cursor is compared with the log outside of the lock, on a thread that
//! may wait for the disk.

use std::collections::HashSet;
use std::sync::Arc;

use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event, decode_stored_notice};
use quip_protocol::frame::{Reply, WatchState};
use quip_protocol::limits::{MAX_WATCHED, MAX_WATCHES};
use quip_protocol::{AccountId, Cursor, Epoch, ErrorCode, Refusal, RoomId, Seq};
use tracing::error;

use crate::engine::Engine;
use crate::feed::{FeedKey, Watch};
use crate::node::{Asked, Node};

use super::Session;
use super::cursors::{Fit, at_once, compare};

/// A watch that was registered, and what has to be found out before it begins.
struct Registered {
    watch: Arc<Watch>,
    cursor: Option<Cursor>,
    head: Cursor,
}

impl Session {
    /// Watches rooms; the reply, and the group that must be durable before it is told.
    pub(super) async fn watch(
        &self,
        account: AccountId,
        label: u32,
        rooms: Vec<(RoomId, Option<Cursor>)>,
    ) -> Result<(Reply, u64), Refusal> {
        check(&rooms)?;
        let ids: Vec<RoomId> = rooms.iter().map(|(room, _)| *room).collect();
        let Asked { answer, group } = self.ask(|engine| {
            let registered = rooms.into_iter().map(|(room, cursor)| {
                let head = engine.readable(account, room)?.cursor;
                self.register(FeedKey::Room(room), account, label, cursor, head)
            });
            registered.collect::<Vec<_>>()
        });
        let fits = self.begin(answer, group).await;
        let states = ids.into_iter().zip(fits).map(|(room, fit)| match fit {
            Ok((Fit::Good(from), head)) => WatchState::Live { room, from, head },
            Ok((Fit::Reset(keep), head)) => WatchState::Reset { room, keep, head },
            Err(refusal) => WatchState::Refused { room, refusal },
        });
        Ok((Reply::Watching { rooms: states.collect() }, group))
    }

    /// Watches the account's inbox; as [`Session::watch`].
    pub(super) async fn watch_inbox(
        &self,
        account: AccountId,
        label: u32,
        from: Option<Cursor>,
    ) -> Result<(Reply, u64), Refusal> {
        let inbox = |engine: &Engine| engine.account(account).map(|a| a.inbox).unwrap_or_default();
        let Asked { answer, group } =
            self.ask(|engine| self.register(FeedKey::Inbox(account), account, label, from, inbox(engine)));
        let fit = self.begin(vec![answer], group).await.pop();
        Ok((fit.map_or_else(|| Reply::Refused(unreadable()), inbox_reply), group))
    }

    fn register(
        &self,
        key: FeedKey,
        account: AccountId,
        label: u32,
        cursor: Option<Cursor>,
        head: Cursor,
    ) -> Result<Registered, Refusal> {
        let watch = self.watching.add(&self.shared.node.feeds, key, account, head.seq, label);
        let watch = watch.ok_or_else(|| {
            let text = format!("a connection watches at most {MAX_WATCHED} rooms; watch fewer");
            Refusal::new(ErrorCode::TooMany, text)
        })?;
        Ok(Registered { watch, cursor, head })
    }

    /// Begins what was registered, each from where its cursor is good. A watch that cannot begin ends.
    async fn begin(
        &self,
        registered: Vec<Result<Registered, Refusal>>,
        group: u64,
    ) -> Vec<Result<(Fit, Cursor), Refusal>> {
        let mut looked = self.look(&registered, group).await.into_iter();
        let begun = registered.into_iter().map(|registered| {
            let Registered { watch, cursor, head } = registered?;
            let fit = match at_once(cursor, head) {
                Some(fit) => Ok(fit),
                None => looked.next().unwrap_or_else(|| Err(unreadable())),
            };
            let is_inbox = matches!(watch.key(), FeedKey::Inbox(_));
            match fit {
                // An inbox has no reset: its reader begins anew.
                Ok(Fit::Reset(_)) if is_inbox => drop(self.watching.end(&self.shared.node.feeds, &watch)),
                Ok(Fit::Good(from) | Fit::Reset(from)) => self.watching.begin(&watch, from.seq),
                Err(_) => drop(self.watching.end(&self.shared.node.feeds, &watch)),
            }
            fit.map(|fit| (fit, head))
        });
        begun.collect()
    }

    /// Looks into the logs where the heads do not say enough, which is rare: where a log was repaired. One answer
    /// for each of those.
    async fn look(
        &self,
        registered: &[Result<Registered, Refusal>],
        group: u64,
    ) -> Vec<Result<Fit, Refusal>> {
        let unclear = registered.iter().flatten().filter(|r| at_once(r.cursor, r.head).is_none());
        let unclear: Vec<(FeedKey, Cursor, Cursor)> =
            unclear.filter_map(|r| Some((r.watch.key(), r.cursor?, r.head))).collect();
        if unclear.is_empty() {
            return Vec::new();
        }
        // What is not published yet can be read from nowhere.
        if let Err(e) = self.shared.node.durable.reached(group).await {
            let refusal = Refusal::retry(ErrorCode::Degraded, e.to_string(), 5_000);
            return vec![Err(refusal); unclear.len()];
        }
        let node = Arc::clone(&self.shared.node);
        let looking = tokio::task::spawn_blocking(move || {
            let fits = unclear.iter().map(|(key, cursor, head)| {
                compare(*cursor, *head, |seq| epoch_at(&node, *key, seq)).map_err(|why| {
                    error!(why, log = ?key, "a log cannot be read: run quipd check");
                    unreadable()
                })
            });
            fits.collect()
        });
        looking.await.unwrap_or_default()
    }
}

fn check(rooms: &[(RoomId, Option<Cursor>)]) -> Result<(), Refusal> {
    if rooms.len() > MAX_WATCHES {
        let text = format!("watch at most {MAX_WATCHES} rooms in one request");
        return Err(Refusal::new(ErrorCode::TooMany, text));
    }
    let mut seen = HashSet::new();
    match rooms.iter().find(|(room, _)| !seen.insert(*room)) {
        None => Ok(()),
        Some((room, _)) => {
            let text = format!("room {} is twice in one request to watch; name each room once", room.0);
            Err(Refusal::new(ErrorCode::BadRequest, text))
        }
    }
}

fn inbox_reply(fit: Result<(Fit, Cursor), Refusal>) -> Reply {
    match fit {
        Ok((Fit::Good(_), head)) => Reply::Inbox { head },
        Ok((Fit::Reset(_), _)) => Reply::Refused(Refusal::new(
            ErrorCode::BadCursor,
            "this cursor is not of this inbox as it is now; read the inbox from its beginning",
        )),
        Err(refusal) => Reply::Refused(refusal),
    }
}

fn unreadable() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the server cannot read this log; tell its operator")
}

fn epoch_at(node: &Node, key: FeedKey, seq: Seq) -> Result<Epoch, String> {
    let stored = match (node.feeds.frame(key, seq), key) {
        (Some(frame), _) => Some(frame.slice(LENGTH_BYTES..)),
        (None, FeedKey::Room(room)) => node.store.event(room, seq).map_err(|e| e.to_string())?,
        (None, FeedKey::Inbox(account)) => {
            let before = Seq(seq.0.saturating_sub(1));
            let found = node.store.notices(account, before, seq, 1).map_err(|e| e.to_string())?;
            (found.count > 0).then(|| found.bytes.slice(LENGTH_BYTES..))
        }
    };
    let stored = stored.ok_or_else(|| format!("{seq} is missing"))?;
    let epoch = match key {
        FeedKey::Room(_) => decode_stored_event(&stored).map(|event| event.epoch),
        FeedKey::Inbox(_) => decode_stored_notice(&stored).map(|notice| notice.epoch),
    };
    epoch.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_watched_once_in_a_request() {
        let rooms = |ids: &[u64]| ids.iter().map(|id| (RoomId(*id), None)).collect::<Vec<_>>();
        assert_eq!(check(&rooms(&[1, 2, 3])), Ok(()));
        let refusal = check(&rooms(&[1, 2, 1])).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::BadRequest);
        assert!(refusal.text.as_str().contains("room 1 "), "{refusal}");
        let many: Vec<u64> = (0..=MAX_WATCHES as u64).collect();
        assert_eq!(check(&rooms(&many)).unwrap_err().code, ErrorCode::TooMany);
    }
}
