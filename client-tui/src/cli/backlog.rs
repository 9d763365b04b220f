//! What rooms have had so far, on its way to the output: the rooms merged by time, each in its own order. Imports pages
//! and the renderer.

use std::collections::VecDeque;

use quip_protocol::client::{Error, Page};
use quip_protocol::frame::PageFrom;
use quip_protocol::{Cursor, Event, RoomId, Seq, Target, Timestamp};

use super::exit::CliError;
use super::out::{Out, say};
use super::pages::{self, PAGE};
use super::render::Render;

/// One room's past.
#[derive(Debug)]
pub struct Backlog {
    /// Prints its events, also those that come later.
    pub render: Render,
    /// The room.
    pub room: RoomId,
    /// The place from which what comes follows.
    pub place: Cursor,
    waiting: VecDeque<Event>,
    /// Behind this there may be more to fetch.
    behind: Option<Seq>,
}

impl Backlog {
    /// The newest `count` messages of a room, and what happened between them.
    ///
    /// # Errors
    /// What `fetch` says.
    pub async fn newest(
        render: Render,
        count: usize,
        fetch: &impl AsyncFn(&Target, PageFrom, u32) -> Result<Page, Error>,
    ) -> Result<Backlog, CliError> {
        let target = render.target().clone();
        // One event even if no message is wanted: the room's id and the place to go on from.
        let newest = fetch(&target, PageFrom::Latest, 1).await?;
        let place = newest.events.last().map_or(newest.head, place);
        let page = async |from, limit| fetch(&target, from, limit).await;
        let waiting = pages::newest(page, None, Seq::ZERO, count).await?.into();
        Ok(Backlog { render, room: newest.room, place, waiting, behind: None })
    }

    /// Everything of a room behind `since`, fetched as it is printed.
    ///
    /// # Errors
    /// What `fetch` says.
    pub async fn since(
        render: Render,
        since: Seq,
        fetch: &impl AsyncFn(&Target, PageFrom, u32) -> Result<Page, Error>,
    ) -> Result<Backlog, CliError> {
        let page = fetch(render.target(), PageFrom::After(since), PAGE).await?;
        if page.events.is_empty() && since > page.head.seq {
            say(&format!("{} is at {}: nothing is behind {since} yet", render.target(), page.head.seq));
        }
        let (room, place) = (page.room, page.head);
        let mut past = Backlog { render, room, place, waiting: VecDeque::new(), behind: None };
        past.take(page);
        Ok(past)
    }

    fn take(&mut self, page: Page) {
        let last = page.events.last().map(|event| event.seq);
        self.behind = last.filter(|last| *last < page.head.seq);
        self.waiting.extend(page.events);
    }

    async fn fill(
        &mut self,
        fetch: &impl AsyncFn(&Target, PageFrom, u32) -> Result<Page, Error>,
        out: &mut Out,
    ) -> Result<(), CliError> {
        while let (true, Some(behind)) = (self.waiting.is_empty(), self.behind) {
            out.flush()?;
            let page = fetch(self.render.target(), PageFrom::After(behind), PAGE).await?;
            self.take(page);
        }
        Ok(())
    }
}

/// Prints all of it, the oldest first.
///
/// # Errors
/// What `fetch` says, or when the output takes no more.
pub async fn print(
    pasts: &mut [Backlog],
    fetch: impl AsyncFn(&Target, PageFrom, u32) -> Result<Page, Error>,
    out: &mut Out,
) -> Result<(), CliError> {
    loop {
        for past in pasts.iter_mut() {
            past.fill(&fetch, out).await?;
        }
        let oldest = |past: &&mut Backlog| past.waiting.front().map_or(Timestamp(u64::MAX), |event| event.at);
        let Some(past) = pasts.iter_mut().min_by_key(oldest) else { return out.flush() };
        let Some(event) = past.waiting.pop_front() else { return out.flush() };
        past.render.event(&event, out)?;
        past.place = place(&event);
    }
}

fn place(event: &Event) -> Cursor {
    Cursor { epoch: event.epoch, seq: event.seq }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::out::tests::Written;
    use crate::cli::pages::tests::message;

    /// Messages of a room at these times.
    fn log(room: u64, times: &[u64]) -> Vec<Event> {
        let of = |(seq, at): (u64, &u64)| Event {
            room: RoomId(room),
            at: Timestamp(*at),
            ..message(seq, &format!("{room}:{seq}"))
        };
        (1..).zip(times).map(of).collect()
    }

    async fn printed(since: bool, logs: &[Vec<Event>]) -> Vec<String> {
        let written = Written::default();
        let mut out = Out::to(written.clone(), false);
        // Two events a page, so that the rooms are fetched bit by bit.
        let fetch = async |target: &Target, from: PageFrom, limit: u32| {
            let number: usize = target.to_string()[2..].parse().unwrap();
            let log = &logs[number];
            let limit = if since { 2 } else { limit as usize };
            let events: Vec<Event> = match from {
                PageFrom::After(seq) => log.iter().filter(|e| e.seq > seq).take(limit).cloned().collect(),
                PageFrom::Latest => log[log.len().saturating_sub(limit)..].to_vec(),
                PageFrom::Before(seq) => log.iter().filter(|e| e.seq < seq).cloned().collect(),
            };
            let head = log.last().map_or(Cursor::default(), place);
            Ok(Page { room: RoomId(number as u64), head, events })
        };
        let mut pasts = Vec::new();
        for number in 0..logs.len() {
            let render = Render::new(format!("#r{number}").parse().unwrap(), since.then_some(Seq::ZERO));
            pasts.push(match since {
                true => Backlog::since(render, Seq::ZERO, &fetch).await.unwrap(),
                false => Backlog::newest(render, 10, &fetch).await.unwrap(),
            });
        }
        print(&mut pasts, fetch, &mut out).await.unwrap();
        let places: Vec<u64> = pasts.iter().map(|past| past.place.seq.0).collect();
        assert_eq!(places, logs.iter().map(|log| log.len() as u64).collect::<Vec<_>>());
        let text = written.text();
        text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn rooms_are_merged_by_time_and_each_keeps_its_order() {
        // In the first room a clock stepped back between 30 and 25: its order is its own.
        let logs = [log(0, &[10, 30, 25, 60]), log(1, &[20, 27, 28, 40, 70]), log(2, &[])];
        let expected = ["0:1", "1:1", "1:2", "1:3", "0:2", "0:3", "1:4", "0:4", "1:5"];
        for since in [false, true] {
            assert_eq!(printed(since, &logs).await, expected, "since: {since}");
        }
    }
}
