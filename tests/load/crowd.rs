//! Many accounts on one server: made, connected, put into a room.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use quip_protocol::client::{Client, Config};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::room::RoomSummary;
use quip_protocol::{AccountName, RoomName, SafeLine, ServerLink};
use quip_tests::{identity, person};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::dialer::Dialer;
use crate::lean::Lean;
use crate::progress::Progress;
use crate::subject::Subject;

/// Handshakes at once: more only wait for each other.
const AT_ONCE: usize = 32;
/// A handshake that waits behind others is no error of the server's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// Files that are open besides the sockets of whole clients.
const OTHER_FILES: u64 = 200;

/// Accounts that exist; each has an invite that made it.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// Name and the link that makes the account.
    people: Vec<(AccountName, ServerLink)>,
    /// A room of theirs.
    pub room: RoomName,
    dialer: Arc<Dialer>,
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
        let people: Vec<_> = people.collect::<Result<_>>()?;
        let (_, link) = people.first().context("a crowd of at least one")?;
        let dialer = Arc::new(Dialer::new(link)?);
        Ok(Crowd { people, room: format!("load-{run}").parse()?, dialer })
    }

    /// Everyone.
    pub fn all(&self) -> Range<usize> {
        0..self.people.len()
    }

    /// Who that is.
    pub fn name(&self, at: usize) -> &AccountName {
        &self.people[at].0
    }

    /// How they connect.
    pub fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// Makes the accounts; their connections, in the same order.
    pub async fn join(&self, progress: &Progress) -> Result<Vec<Lean>> {
        progress.phase("accounts made");
        self.each(self.all(), progress, |dialer, name, link| async move {
            let mut lean = dialer.connect(&dialer.key(&name)).await?;
            let code = link.code.context("an invite link has a code")?;
            let redeem = Request::Redeem { code, name: Some(name), device: SafeLine::new("load") };
            match lean.ask(redeem).await? {
                Reply::Account(_) => Ok(lean),
                other => bail!("redeeming an invite was answered with {other:?}"),
            }
        })
        .await
    }

    /// Makes the accounts, and leaves the connections.
    pub async fn enrol(&self, progress: &Progress) -> Result<()> {
        self.join(progress).await.map(drop)
    }

    /// Connects accounts that exist.
    pub async fn connect(&self, who: Range<usize>, progress: &Progress) -> Result<Vec<Lean>> {
        progress.phase("connected");
        self.each(who, progress, |dialer, name, _| async move { dialer.connect(&dialer.key(&name)).await })
            .await
    }

    /// Connects accounts that exist with the whole client of the protocol crate: for those who have much to ask at once.
    pub async fn clients(&self, who: Range<usize>, progress: &Progress) -> Result<Vec<Client>> {
        enough_files(who.len())?;
        progress.phase("connected");
        self.each(who, progress, |_, name, link| async move {
            let config = person::config(&link, identity(name.as_str()));
            // A connection that breaks is a failed run, not something to repair.
            let config = Config { reconnect: false, connect_timeout: CONNECT_TIMEOUT, ..config };
            Ok(Client::connect(config).await?)
        })
        .await
    }

    /// Has `maker` make a private room of these, in one command.
    pub async fn make_room(
        &self,
        maker: &mut Lean,
        name: &RoomName,
        members: Range<usize>,
    ) -> Result<RoomSummary> {
        let members = self.people[members].iter().map(|(name, _)| name.clone()).collect();
        let (name, topic) = (name.clone(), SafeLine::default());
        maker.room(Request::CreateRoom { name, private: true, topic, members }).await
    }

    /// Has all of them watch the room from its newest event on.
    pub async fn watch(&self, leans: &mut [Lean], room: &RoomSummary, progress: &Progress) -> Result<()> {
        progress.phase("watching");
        let place = [(room.id, room.head)];
        for (chunk, done) in leans.chunks_mut(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
            try_join_all(chunk.iter_mut().map(|lean| lean.watch(&place))).await?;
            progress.set(done);
        }
        Ok(())
    }

    async fn each<T, F>(
        &self,
        who: Range<usize>,
        progress: &Progress,
        work: impl Fn(Arc<Dialer>, AccountName, ServerLink) -> F,
    ) -> Result<Vec<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for (at, (name, link)) in self.people[who].iter().cloned().enumerate() {
            let turn = Arc::clone(&turns).acquire_owned().await?;
            let work = work(Arc::clone(&self.dialer), name.clone(), link);
            tasks.spawn(async move {
                let done = work.await;
                drop(turn);
                done.map(|done| (at, done)).with_context(|| format!("connecting {name}"))
            });
            progress.set(at as u64);
        }
        let mut all = Vec::with_capacity(tasks.len());
        while let Some(one) = tasks.join_next().await {
            all.push(one??);
        }
        all.sort_unstable_by_key(|(at, _)| *at);
        Ok(all.into_iter().map(|(_, one)| one).collect())
    }
}

/// Tells runs against one server apart.
fn tag() -> u64 {
    quip_protocol::Timestamp::now().0 & 0xff_ffff_ffff
}

/// Each whole client has a socket of its own, and one more while it is made.
fn enough_files(clients: usize) -> Result<()> {
    let needed = clients as u64 + 2 * AT_ONCE as u64 + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = limit.maximum.is_none_or(|maximum| maximum >= needed)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(needed), ..limit }).is_ok();
    ensure!(
        raised,
        "{clients} senders need {needed} open files: run ulimit -n {needed} first, as root if it refuses"
    );
    Ok(())
}
