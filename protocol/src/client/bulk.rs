//! Pages on bulk streams: each is one bidirectional stream of lower priority than live events, read at the pace of
//! whoever asked.

use std::time::Duration;

use super::Error;
use crate::codec::{Frame, FrameKind, encode_frame};
use crate::cursor::{Cursor, Seq};
use crate::event::Event;
use crate::frame::{PageEnd, PageFrom, PageRequest};
use crate::limits::MAX_EVENT_FRAME;
use crate::room::RoomId;
use crate::transport::{FrameReader, write_frame};

/// Below 0, which the request stream has.
const PRIORITY: i32 = -1;
/// The server may take this long to find the first event, and each next one.
const FRAME_WITHIN: Duration = Duration::from_secs(30);

/// A page of a room's history, oldest event first, without a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The room.
    pub room: RoomId,
    /// The newest event of the room.
    pub head: Cursor,
    /// The events.
    pub events: Vec<Event>,
}

/// A page that arrives event by event, however long it is.
#[derive(Debug)]
pub struct PageStream {
    frames: FrameReader,
    check: Check,
    /// Read already, to know whether the page is refused.
    first: Option<Event>,
    end: Option<(RoomId, Cursor)>,
}

impl PageStream {
    /// Asks for a page, and waits until it begins.
    pub(super) async fn open(quic: &quinn::Connection, request: &PageRequest) -> Result<PageStream, Error> {
        let check = Check::new(request);
        let (mut send, receive) = quic.open_bi().await?;
        // Cannot fail on a stream that was just opened, and matters little if it does.
        let _ = send.set_priority(PRIORITY);
        write_frame(&mut send, encode_frame(FrameKind::Page, request)).await?;
        let _ = send.finish();
        let frames = FrameReader::new(receive, MAX_EVENT_FRAME);
        let mut page = PageStream { frames, check, first: None, end: None };
        page.first = page.read().await?;
        Ok(page)
    }

    /// The next event, oldest first; `None` when the page is complete.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Disconnected`], [`Error::TimedOut`], or [`Error::Protocol`] if the server
    /// left a hole. After an error the page is not complete.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        match self.first.take() {
            None if self.end.is_none() => self.read().await,
            first => Ok(first),
        }
    }

    async fn read(&mut self) -> Result<Option<Event>, Error> {
        let frame = tokio::time::timeout(FRAME_WITHIN, self.frames.next())
            .await
            .map_err(|_| Error::TimedOut)??
            .ok_or(Error::Disconnected)?;
        self.take(&frame)
    }

    fn take(&mut self, frame: &Frame) -> Result<Option<Event>, Error> {
        if frame.kind == FrameKind::Event {
            let event: Event = frame.decode(FrameKind::Event, "event")?;
            self.check.event(&event)?;
            return Ok(Some(event));
        }
        match frame.decode(FrameKind::PageEnd, "end of page")? {
            PageEnd::Complete { room, head } => {
                self.check.end(room, head)?;
                self.end = Some((room, head));
                Ok(None)
            }
            PageEnd::Refused(refusal) => Err(refusal.into()),
        }
    }

    /// The newest event of the room; known when the page is complete.
    pub fn head(&self) -> Option<Cursor> {
        self.end.map(|(_, head)| head)
    }

    /// The room; known when the page is complete.
    pub fn room(&self) -> Option<RoomId> {
        self.end.map(|(room, _)| room)
    }

    pub(super) async fn collect(mut self) -> Result<Page, Error> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        let (room, head) = self.end.ok_or(Error::Disconnected)?;
        Ok(Page { room, head, events })
    }
}

/// Holds a page to what was asked: one room, dense seqs, in the range, no more than the limit. PURE.
#[derive(Debug)]
struct Check {
    from: PageFrom,
    left: u32,
    last: Option<(RoomId, Seq)>,
}

fn hole(what: &str) -> Error {
    Error::protocol(format!("a page with {what}"))
}

impl Check {
    fn new(request: &PageRequest) -> Check {
        Check { from: request.from, left: request.limit, last: None }
    }

    fn event(&mut self, event: &Event) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or_else(|| hole("more events than were asked for"))?;
        let expected = match (self.last, self.from) {
            (Some((room, _)), _) if room != event.room => return Err(hole("events of two rooms")),
            (Some((_, seq)), _) | (None, PageFrom::After(seq)) => seq.next(),
            (None, _) => event.seq,
        };
        if event.seq != expected {
            return Err(hole("a hole"));
        }
        self.last = Some((event.room, event.seq));
        Ok(())
    }

    /// A page may be shorter than asked only where the log begins or ends.
    fn end(&self, room: RoomId, head: Cursor) -> Result<(), Error> {
        let Some((of, last)) = self.last else { return Ok(()) };
        let complete = match self.from {
            PageFrom::Latest => true,
            PageFrom::Before(seq) => last.next() == seq.min(head.seq.next()),
            PageFrom::After(_) => self.left == 0 || last >= head.seq,
        };
        if room == of && complete { Ok(()) } else { Err(hole("a hole at its end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{Epoch, Timestamp};
    use crate::event::EventBody;

    fn event(room: u64, seq: u64) -> Event {
        Event {
            room: RoomId(room),
            epoch: Epoch::FIRST,
            seq: Seq(seq),
            at: Timestamp(0),
            ordinal: 0,
            author: "ann".parse().unwrap(),
            body: EventBody::Joined,
        }
    }

    fn check(from: PageFrom, limit: u32, events: &[(u64, u64)], head: u64) -> Result<(), Error> {
        let target = "#ops".parse().unwrap();
        let mut check = Check::new(&PageRequest { target, from, limit });
        for (room, seq) in events {
            check.event(&event(*room, *seq))?;
        }
        check.end(RoomId(1), Cursor { epoch: Epoch::FIRST, seq: Seq(head) })
    }

    #[test]
    fn pages_without_holes_pass_and_others_do_not() {
        use PageFrom::{After, Before, Latest};
        type Case = (PageFrom, u32, &'static [(u64, u64)], u64, bool);
        let table: &[Case] = &[
            (Latest, 3, &[(1, 7), (1, 8), (1, 9)], 9, true),
            (Latest, 3, &[], 0, true),
            (Latest, 3, &[(1, 7), (1, 9)], 9, false),
            (Latest, 2, &[(1, 7), (1, 8), (1, 9)], 9, false),
            (Latest, 2, &[(1, 7), (2, 8)], 9, false),
            (Latest, 2, &[(2, 8)], 9, false),
            (After(Seq(4)), 2, &[(1, 5), (1, 6)], 9, true),
            (After(Seq(4)), 2, &[(1, 6), (1, 7)], 9, false),
            (After(Seq(4)), 9, &[(1, 5)], 9, false),
            (After(Seq(4)), 9, &[(1, 5)], 5, true),
            (Before(Seq(4)), 2, &[(1, 2), (1, 3)], 9, true),
            (Before(Seq(4)), 2, &[(1, 1), (1, 2)], 9, false),
            (Before(Seq(40)), 2, &[(1, 8), (1, 9)], 9, true),
        ];
        for (from, limit, events, head, good) in table {
            assert_eq!(check(*from, *limit, events, *head).is_ok(), *good, "{from:?} {events:?}");
        }
    }
}
