//! Scenarios: each puts accounts on the server, loads it, checks what came, and reports.

mod catchup;
pub mod cluster;
mod durable;
mod fanout;
mod handshake;
mod idle;
mod members;
mod mixed;
mod overload;
mod page;
pub mod search;
mod stall;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use quip_protocol::client::Client;
use quip_protocol::room::RoomSummary;
use quip_protocol::{RoomName, ServerLink, Target};
use quip_tests::process::Process;
use tokio::task::JoinSet;

use crate::check::{Checker, Fault};
use crate::cli::Scenario;
use crate::crowd::Crowd;
use crate::disk::{self, Disk};
use crate::progress::Progress;
use crate::report::Report;
use crate::send::{Enough, Pace, Sender, Sent};
use crate::stamp::Clock;
use crate::subject::Subject;

/// What every scenario has.
#[derive(Debug)]
pub struct Run {
    subject: Subject,
    disk: Option<Disk>,
    progress: Progress,
    clock: Clock,
}

impl Run {
    /// A run on the given server, or one of its own. In a tokio runtime.
    pub fn new(server: Option<ServerLink>) -> Result<Run> {
        let subject = Subject::new(server)?;
        let measured = subject.dir().map(|dir| disk::measure(&dir)).transpose();
        let disk = measured.context("cannot measure the disk of the server's directory")?;
        Ok(Run { subject, disk, progress: Progress::start(), clock: Clock::start() })
    }

    /// Runs it.
    pub async fn scenario(self, scenario: &Scenario) -> Result<Report> {
        match scenario {
            Scenario::Durable(args) => durable::run(self, args).await,
            Scenario::Fanout(args) => fanout::run(self, args).await,
            Scenario::Catchup(args) => catchup::run(self, args).await,
            Scenario::Handshake(args) => handshake::run(self, args).await,
            Scenario::Idle(args) => idle::run(self, args).await,
            Scenario::Members(args) => members::run(self, args).await,
            Scenario::Mixed(args) => mixed::run(self, args).await,
            Scenario::Overload(args) => overload::run(self, args).await,
            Scenario::Page(args) => page::run(self, args).await,
            Scenario::Stall(args) => stall::run(self, args).await,
        }
    }

    /// So many accounts, members of one room. The server was started again since, so that they are no part of what their
    /// connections cost.
    async fn crowd_in_a_room(&mut self, size: usize) -> Result<(Crowd, RoomSummary)> {
        let crowd = Crowd::new(&self.subject, size)?;
        let mut leans = crowd.join(&self.progress).await?;
        let maker = leans.first_mut().context("a crowd of at least one")?;
        let summary = crowd.make_room(maker, &crowd.room, 1..size).await?;
        drop(leans);
        self.subject.restart()?;
        Ok((crowd, summary))
    }

    /// The same with whole clients, on the same server.
    async fn clients_in_a_room(&self, size: usize) -> Result<(Crowd, RoomSummary, Vec<Client>)> {
        let crowd = Crowd::new(&self.subject, size)?;
        let mut leans = crowd.join(&self.progress).await?;
        let maker = leans.first_mut().context("a crowd of at least one")?;
        let summary = crowd.make_room(maker, &crowd.room, 1..size).await?;
        drop(leans);
        let clients = crowd.clients(crowd.all(), &self.progress).await?;
        Ok((crowd, summary, clients))
    }

    fn rss_kib(&self) -> Option<u64> {
        self.subject.process().as_ref().and_then(Process::rss_kib)
    }

    fn senders(&self, room: &RoomName, clients: &[Client], size: u32) -> Vec<Sender> {
        let to = Target::from(room.clone());
        let sender = |(index, client): (u32, &Client)| Sender {
            handle: client.handle(),
            index,
            first: 0,
            to: to.clone(),
            size: size as usize,
            clock: self.clock,
        };
        (0..).zip(clients).map(sender).collect()
    }
}

/// Has all of them send at once, each at its pace; what each has sent, in their order.
async fn send_all(senders: &[Sender], pace: impl Fn(u32) -> Pace, enough: Enough) -> Result<Vec<Sent>> {
    let mut tasks = JoinSet::new();
    for sender in senders.iter().cloned() {
        let (index, pace, enough) = (sender.index, pace(sender.index), enough.clone());
        tasks.spawn(async move { sender.send(pace, enough).await.map(|sent| (index, sent)) });
    }
    let mut all = Vec::with_capacity(senders.len());
    while let Some(sent) = tasks.join_next().await {
        all.push(sent??);
    }
    all.sort_unstable_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, sent)| sent).collect())
}

fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn counts(sent: &[Sent]) -> Vec<u64> {
    sent.iter().map(Sent::count).collect()
}

/// Messages that had to be sent again later.
fn held_back(sent: &[Sent]) -> u64 {
    sent.iter().map(|sent| sent.held_back).sum()
}

/// Whether a reader got all that was sent.
fn complete(checker: &Checker, sent: &[Sent]) -> Result<(), Fault> {
    checker.complete(&counts(sent), held_back(sent))
}
