//! Beginning to watch. Under the engine's lock only the right is checked and the watch registered, so that a right
//! that ends from then on ends it; the reader's cursor is compared with the log outside of the lock, on a thread that
//! may wait for the disk.

use std::collections::HashSet;
use std::sync::Arc;

use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event, decode_stored_notice};
use quip_protocol::frame::{Reply, WatchState};
use quip_protocol::limits::{MAX_WATCHED, MAX_WATCHES};
use quip_protocol::room::Digest;
use quip_protocol::{AccountId, Cursor, Epoch, ErrorCode, Refusal, RoomId, RoomKind, Seq};
use quip_storage::record::Head;
use tracing::error;

use crate::engine::Engine;
use crate::feed::{FeedKey, Interest, Tier, Watch};
use crate::node::{Asked, Node};
use crate::pipeline::durable::NeverDurable;

use super::Session;
use super::bulk::mending;
use super::cursors::{Fit, at_once, compare};
use super::fresh::not_fresh;
use super::watching::Watching;

/// A watch that was registered, and what has to be found out before it begins.
struct Registered {
    watch: Arc<Watch>,
    cursor: Option<Cursor>,
    head: Cursor,
    /// Where the room stands, if that is all that is told.
    digest: Option<Digest>,
}

impl Session {
    /// Watches rooms; the reply, and the group that must be durable before it is told.
    pub(super) async fn watch(
        &self,
        account: AccountId,
        label: u32,
        rooms: Vec<(RoomId, Option<Cursor>)>,
        tier: Tier,
    ) -> Result<(Reply, u64), Refusal> {
        check(&rooms)?;
        let is_fresh = self.fresh.is_so(&self.shared.node).await;
        let ids: Vec<RoomId> = rooms.iter().map(|(room, _)| *room).collect();
        let Asked { answer, group } = self.ask(|engine| {
            let registered = rooms.into_iter().map(|(room, cursor)| {
                let head = engine.readable(account, room)?;
                let key = FeedKey::Room(room);
                // A direct room: its other member waits for an answer.
                let urgent = engine.room(room).is_some_and(|state| state.room.kind == RoomKind::Direct);
                let tier = if urgent { Tier::Live } else { tier };
                let interest = Interest { tier, urgent, ..Interest::live(key, account, head.cursor.seq) };
                let mut registered = self.register(interest, label, cursor, head.cursor)?;
                if tier == Tier::Digest && self.shared.node.feeds.tells_digests(key) {
                    let Head { cursor: head, ordinal: messages, at } = head;
                    registered.digest = Some(Digest { room, head, messages, at });
                }
                Ok(registered)
            });
            registered.collect::<Vec<_>>()
        });
        let (node, watching) = (&self.shared.node, &self.watching);
        let fits = begin(node, watching, answer, group, is_fresh).await?;
        let states = ids.into_iter().zip(fits).map(|(room, fit)| match fit {
            Ok((Fit::Good(_), _, Some(digest))) => WatchState::Digest(digest),
            Ok((Fit::Good(from), head, None)) => WatchState::Live { room, from, head },
            Ok((Fit::Reset(keep), head, _)) => WatchState::Reset { room, keep, head },
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
        let is_fresh = self.fresh.is_so(&self.shared.node).await;
        let inbox = |engine: &Engine| engine.account(account).map(|a| a.inbox).unwrap_or_default();
        let Asked { answer, group } = self.ask(|engine| {
            let head = inbox(engine);
            let interest = Interest::live(FeedKey::Inbox(account), account, head.seq);
            self.register(interest, label, from, head)
        });
        let fit = begin(&self.shared.node, &self.watching, vec![answer], group, is_fresh).await?.pop();
        Ok((fit.map_or_else(|| Reply::Refused(unreadable()), inbox_reply), group))
    }

    fn register(
        &self,
        interest: Interest,
        label: u32,
        cursor: Option<Cursor>,
        head: Cursor,
    ) -> Result<Registered, Refusal> {
        let watch = self.watching.add(&self.shared.node.feeds, interest, label);
        let watch = watch.ok_or_else(|| {
            let text = format!("a connection watches at most {MAX_WATCHED} rooms; watch fewer");
            Refusal::new(ErrorCode::TooMany, text)
        })?;
        Ok(Registered { watch, cursor, head, digest: None })
    }
}

/// Of each watch from where it begins, its head, and where the room stands if that is all that is told.
type Begun = Result<(Fit, Cursor, Option<Digest>), Refusal>;

/// Begins what was registered, each from where its cursor is good. A watch that cannot begin ends.
///
/// # Errors
/// When nothing can be said of any now: the reader asks again, for a room that is refused is dropped.
async fn begin(
    node: &Arc<Node>,
    watching: &Watching,
    registered: Vec<Result<Registered, Refusal>>,
    group: u64,
    is_fresh: bool,
) -> Result<Vec<Begun>, Refusal> {
    let looked = match look(node, &registered, group).await {
        Ok(looked) if !is_fresh && is_doubtful(&registered, &looked) => Err(not_fresh()),
        looked => looked,
    };
    let mut looked = match looked {
        Ok(looked) => looked.into_iter(),
        Err(refusal) => {
            for Registered { watch, .. } in registered.iter().flatten() {
                watching.end(&node.feeds, watch);
            }
            return Err(refusal);
        }
    };
    let begun = registered.into_iter().map(|registered| {
        let Registered { watch, cursor, head, digest } = registered?;
        let fit = match at_once(cursor, head) {
            Some(fit) => Ok(fit),
            None => looked.next().unwrap_or_else(|| Err(unreadable())),
        };
        let is_inbox = matches!(watch.key(), FeedKey::Inbox(_));
        match fit {
            // An inbox has no reset: its reader begins anew.
            Ok(Fit::Reset(_)) if is_inbox => drop(watching.end(&node.feeds, &watch)),
            Ok(Fit::Good(_)) if digest.is_some() => watching.begin(&watch, head.seq),
            Ok(Fit::Good(from) | Fit::Reset(from)) => watching.begin(&watch, from.seq),
            Err(_) => drop(watching.end(&node.feeds, &watch)),
        }
        fit.map(|fit| (fit, head, digest))
    });
    Ok(begun.collect())
}

/// Whether something is refused, or begins anew, that a node which has more would serve.
fn is_doubtful(registered: &[Result<Registered, Refusal>], looked: &[Result<Fit, Refusal>]) -> bool {
    let resets = |fit: &Fit| matches!(fit, Fit::Reset(_));
    let at_once = |r: &Registered| at_once(r.cursor, r.head).as_ref().is_some_and(resets);
    registered.iter().any(|r| r.as_ref().map_or(true, at_once))
        || looked.iter().any(|fit| fit.as_ref().is_ok_and(resets))
}

/// Looks into the logs where the heads do not say enough, which is rare: where a log was repaired. One answer for each
/// of those.
async fn look(
    node: &Arc<Node>,
    registered: &[Result<Registered, Refusal>],
    group: u64,
) -> Result<Vec<Result<Fit, Refusal>>, Refusal> {
    // What is not published yet can be read from nowhere; and a watch of what never will be would take the places of
    // what was lost for its own, and so miss its end there.
    let lost = |e: NeverDurable| Refusal::retry(ErrorCode::Degraded, e.to_string(), 5_000);
    node.durable.reached(group).await.map_err(lost)?;
    let unclear = registered.iter().flatten().filter(|r| at_once(r.cursor, r.head).is_none());
    let unclear: Vec<(FeedKey, Cursor, Cursor)> =
        unclear.filter_map(|r| Some((r.watch.key(), r.cursor?, r.head))).collect();
    if unclear.is_empty() {
        return Ok(Vec::new());
    }
    let looking = Arc::clone(node);
    let looked = tokio::task::spawn_blocking(move || look_into(&looking, &unclear));
    looked.await.unwrap_or_else(|_| Ok(Vec::new()))
}

fn look_into(
    node: &Node,
    unclear: &[(FeedKey, Cursor, Cursor)],
) -> Result<Vec<Result<Fit, Refusal>>, Refusal> {
    let before = node.whole.glance();
    let fits: Vec<_> = unclear
        .iter()
        .map(|(key, cursor, head)| (key, compare(*cursor, *head, |seq| epoch_at(node, *key, seq))))
        .collect();
    let failed = fits.iter().any(|(_, fit)| fit.is_err());
    if !node.whole.was_since(before) || (failed && node.is_mending()) {
        return Err(mending());
    }
    let told = fits.into_iter().map(|(key, fit)| {
        fit.map_err(|why| {
            error!(why, log = ?key, "a log cannot be read: run quipd check");
            unreadable()
        })
    });
    Ok(told.collect())
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

fn inbox_reply(fit: Begun) -> Reply {
    match fit {
        Ok((Fit::Good(_), head, _)) => Reply::Inbox { head },
        Ok((Fit::Reset(_), ..)) => Reply::Refused(Refusal::new(
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

    const ROOM: FeedKey = FeedKey::Room(RoomId(1));

    /// Whether a watch of a room that stands at (2, 5), for a reader at (1, 3), begins once `group` is known of.
    async fn watched(harm: impl FnOnce(&Node)) -> (Result<usize, ErrorCode>, usize) {
        let dir = tempfile::tempdir().expect("a directory");
        let options = quip_storage::store::StoreOptions { cache_bytes: 4 << 20 };
        let opened = crate::pipeline::open::open(dir.path(), options, false, &crate::Stopping::default())
            .expect("it opens");
        let config = crate::Config::new(Vec::new(), dir.path().to_owned());
        let core = crate::start::Core::start(&config, opened).expect("a writer starts");
        let node = Arc::clone(&core.shared.node);
        let watching = Watching::default();
        let at = |epoch, seq| Cursor { epoch: Epoch(epoch), seq: Seq(seq) };
        let interest = Interest::live(ROOM, AccountId(1), Seq(5));
        let watch = watching.add(&node.feeds, interest, 1).expect("few are watched");
        harm(&node);
        let registered = vec![Ok(Registered { watch, cursor: Some(at(1, 3)), head: at(2, 5), digest: None })];
        let begun = begin(&node, &watching, registered, 7, true).await;
        let begun = begun.map(|fits| fits.len()).map_err(|refusal| {
            assert!(refusal.retry_after_ms.is_some(), "{refusal}");
            refusal.code
        });
        let watches = node.feeds.watches();
        drop(node);
        core.close().await;
        (begun, watches)
    }

    #[tokio::test]
    async fn a_request_that_nothing_can_be_said_of_now_is_refused_as_a_whole_and_leaves_no_watch() {
        let mended = |node: &Node| {
            node.durable.advance(7);
            node.whole.broken();
        };
        assert_eq!(watched(mended).await, (Err(ErrorCode::Degraded), 0), "while the store is mended");
        let lost = |node: &Node| {
            node.durable.stall();
            node.durable.lose(7);
        };
        assert_eq!(watched(lost).await, (Err(ErrorCode::Degraded), 0), "when its group is lost");
        let well = |node: &Node| node.durable.advance(7);
        assert_eq!(watched(well).await, (Ok(1), 0), "a log that cannot be read is refused alone");
    }
}
