//! The driver between two connections: it dials, watches again what was watched, and waits where that failed.

use super::super::backoff::Backoff;
use super::super::command::{Command, refuse};
use super::super::dial::{Dialled, dial};
use super::super::nodes::Place;
use super::super::restore::{RestoreError, Restored, restore, spread};
use super::super::resume::ToWatch;
use super::super::roaming::roamed;
use super::super::{Error, Event};
use super::{Driver, End, random};
use crate::safe_text::SafeLine;

impl Driver {
    /// Connects, watches what was watched, and serves.
    pub(super) async fn connect(&mut self) -> End {
        let config = self.config.clone();
        let order = self.nodes.order(self.began.elapsed(), random);
        let dialled = self.meanwhile(async move { dial(&config, order).await }).await;
        let Some(Dialled { connection, failed }) = dialled else { return End::Closed };
        failed.iter().for_each(|place| self.failed(place));
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => return error.into(),
        };
        let (rooms, inbox) = (self.resume.to_watch(), self.resume.inbox());
        let restoring = {
            let (connection, rooms) = (connection.clone(), rooms.clone());
            async move { restore(&connection, &rooms, inbox).await }
        };
        match self.meanwhile(restoring).await {
            None => {
                connection.close().await;
                End::Closed
            }
            Some(Ok(restored)) => match self.restored(&rooms, &restored) {
                Ok(()) => self.serve(connection).await,
                Err(end) => end,
            },
            Some(Err(why)) => {
                connection.close().await;
                self.not_restored(&connection.place, why)
            }
        }
    }

    fn not_restored(&mut self, place: &Place, why: RestoreError) -> End {
        match why {
            RestoreError::Inbox => {
                self.resume.restart_inbox();
                Error::Disconnected.into()
            }
            RestoreError::Other(error) => {
                self.failed(place);
                error.into()
            }
        }
    }

    pub(super) fn failed(&mut self, place: &Place) {
        self.nodes.failed(place, self.began.elapsed());
    }

    /// Takes the answers to what was watched again.
    fn restored(&mut self, rooms: &[ToWatch], restored: &Restored) -> Result<(), End> {
        for ((watch, rooms), (label, states)) in rooms.iter().zip(&restored.rooms) {
            self.watching((*label, *watch), rooms, states, true)?;
        }
        if let Some(head) = restored.inbox {
            self.resume.watching_inbox(self.resume.inbox(), head);
        }
        self.resume.connected();
        Ok(())
    }

    /// Waits before the next attempt.
    pub(super) async fn pause(&mut self, why: SafeLine) -> End {
        let random = random();
        // Where another node can be gone to, nobody waits for this one.
        let elsewhere = self.nodes.len() > 1 && self.nodes.is_ready(self.began.elapsed());
        let asked = self.hint.take().filter(|_| !elsewhere);
        let wait = match elsewhere {
            true => Backoff::soon(random),
            false => self.backoff.next(random).max(spread(asked.unwrap_or_default(), random)),
        };
        tracing::info!(server = self.config.address(), %why, ?wait, "disconnected");
        self.report(Event::Down { why, retry_in: Some(wait) });
        // A laptop that is opened has its network some seconds later, and then need not wait longer.
        let server = self.server.filter(|_| asked.is_none());
        let waited = async move {
            match server {
                None => tokio::time::sleep(wait).await,
                Some(server) => drop(tokio::time::timeout(wait, roamed(server)).await),
            }
        };
        match self.meanwhile(waited).await {
            Some(()) => Error::Disconnected.into(),
            None => End::Closed,
        }
    }

    /// Runs `future` while there is no connection; `None` if the user ended it.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let events = self.events.clone();
        tokio::pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return Some(output),
                () = events.closed() => return None,
                permit = events.reserve(), if !self.queue.is_empty() => {
                    if let (Ok(permit), Some(event)) = (permit, self.queue.pop_front()) {
                        permit.send(Ok(event));
                    }
                }
                command = self.commands.recv() => match command {
                    None | Some(Command::Close) => return None,
                    Some(command) => refuse(command),
                },
            }
        }
    }
}
