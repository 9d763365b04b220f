//! Many accounts on one server: made, connected, put into a room.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use quip_protocol::client::{Client, Config};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{AccountName, RoomName, SafeLine, Seq, ServerLink};
use quip_tests::{identity, person};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::progress::Progress;
use crate::subject::Subject;

/// Handshakes at once: more only wait for each other.
const AT_ONCE: usize = 32;
/// A handshake that waits behind others is no error of the server's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Files that are open besides the connections' sockets.
const OTHER_FILES: u64 = 200;

/// Accounts that exist; each has an invite that made it.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// Name and the link that makes the account.
    people: Vec<(AccountName, ServerLink)>,
    /// A room of theirs.
    pub room: RoomName,
}

impl Crowd {
    /// So many, with names that no other run on the same server has.
    pub fn new(subject: &Subject, size: usize) -> Result<Crowd> {
        let run = match subject {
            Subject::Own(_) => "own".to_owned(),
            Subject::Given(_) => format!("{:x}", tag()),
        };
        let names = (0..size).map(|n| format!("load-{run}-{n}").parse().context("a name for a load account"));
        let people = names.zip(subject.invites(size)).map(|(name, link)| Ok((name?, link)));
        Ok(Crowd { people: people.collect::<Result<_>>()?, room: format!("load-{run}").parse()? })
    }

    /// Makes the accounts; their connections, in the same order.
    pub async fn join(&self, progress: &Progress) -> Result<Vec<Client>> {
        progress.phase("accounts made");
        self.each(progress, |name, link| async move {
            let client = connect(&name, &link).await?;
            let code = link.code.clone().context("an invite link has a code")?;
            let redeem = Request::Redeem { code, name: Some(name), device: SafeLine::new("load") };
            match client.request(redeem).await? {
                Reply::Account(_) => Ok(client),
                other => bail!("redeeming an invite was answered with {other:?}"),
            }
        })
        .await
    }

    /// Connects accounts that exist.
    pub async fn connect(&self, progress: &Progress) -> Result<Vec<Client>> {
        progress.phase("connected");
        self.each(progress, |name, link| async move { connect(&name, &link).await }).await
    }

    /// Connects one account that exists.
    pub async fn connect_one(&self, at: usize) -> Result<Client> {
        let (name, link) = self.people.get(at).context("an account of this crowd")?;
        connect(name, link).await
    }

    /// Has the first make a room of all, in one command; the room's newest event.
    pub async fn make_room(&self, clients: &[Client]) -> Result<Seq> {
        let maker = clients.first().context("a crowd of at least one")?;
        let members = self.people.iter().skip(1).map(|(name, _)| name.clone()).collect();
        let name = self.room.clone();
        let request = Request::CreateRoom { name, private: true, topic: SafeLine::default(), members };
        match maker.request(request).await? {
            Reply::Room(room) => Ok(room.head.seq),
            other => bail!("making a room was answered with {other:?}"),
        }
    }

    /// Has all of them watch the room from its newest event on.
    pub async fn watch(&self, clients: &[Client], progress: &Progress) -> Result<()> {
        progress.phase("watching");
        let name = format!("#{}", self.room);
        for (chunk, done) in clients.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
            try_join_all(chunk.iter().map(|client| client.join(&name))).await?;
            progress.set(done);
        }
        Ok(())
    }

    async fn each<F>(
        &self,
        progress: &Progress,
        work: impl Fn(AccountName, ServerLink) -> F,
    ) -> Result<Vec<Client>>
    where
        F: Future<Output = Result<Client>> + Send + 'static,
    {
        enough_files(self.people.len())?;
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for (at, (name, link)) in self.people.iter().cloned().enumerate() {
            let turn = Arc::clone(&turns).acquire_owned().await?;
            let work = work(name, link);
            tasks.spawn(async move {
                let client = work.await;
                drop(turn);
                client.map(|client| (at, client))
            });
            progress.set(at as u64);
        }
        let mut clients: Vec<(usize, Client)> = Vec::with_capacity(self.people.len());
        while let Some(client) = tasks.join_next().await {
            clients.push(client??);
        }
        clients.sort_unstable_by_key(|(at, _)| *at);
        Ok(clients.into_iter().map(|(_, client)| client).collect())
    }
}

async fn connect(name: &AccountName, link: &ServerLink) -> Result<Client> {
    let config = person::config(link, identity(name.as_str()));
    // A connection that breaks is a failed run, not something to repair.
    let config = Config { reconnect: false, connect_timeout: CONNECT_TIMEOUT, ..config };
    Client::connect(config).await.with_context(|| format!("connecting {name}"))
}

/// Tells runs against one server apart.
fn tag() -> u64 {
    quip_protocol::Timestamp::now().0 & 0xff_ffff_ffff
}

/// Each connection has a socket of its own, and one more while it is made.
fn enough_files(connections: usize) -> Result<()> {
    let needed = connections as u64 + 2 * AT_ONCE as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = limit.maximum.is_none_or(|maximum| maximum >= needed)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit }).is_ok();
    ensure!(
        raised,
        "{connections} connections need {needed} open files: run ulimit -n {needed} first, as root if it refuses"
    );
    Ok(())
}
