//! `quip tail --consumer`: a durable cursor kept by the server. A line counts as read once it was written and flushed,
//! and only then: whatever ends this command, the next one prints what did not count, so nothing is skipped.

use std::collections::HashMap;
use std::process;
use std::time::Duration;

use quip_protocol::client::{self, Client, Handle};
use quip_protocol::frame::{Reply, Request, WatchState};
use quip_protocol::{ConsumerName, Cursor, RoomId, Seq, Target};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connect::{Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::out::Out;
use super::render::Render;
use super::replies;
use super::signals::Signals;
use super::tail::{self, News, Rooms, TailArgs};

/// The server is told at most this often what was read of one room, and of several the slower the more there are: what
/// else this device sends shares its budget.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a server that is away is waited for at the end.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How long an output that takes nothing may hold up a command that was told to end.
const STUCK: Duration = Duration::from_secs(3);

/// Prints what the consumer has not read; with --follow also what comes.
///
/// # Errors
/// See [`CliError`].
pub async fn run(name: ConsumerName, args: TailArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let signals = Signals::listen()?;
    let stay = if args.follow { Stay::Reconnect } else { Stay::Once };
    let mut connection = connect(env, stay).await?;
    let (mut rooms, mut cursors) = (Rooms::new(), Vec::new());
    for target in &args.targets {
        let (room, cursor) = open(&connection.handle, &name, target, args.since.map(Seq)).await?;
        let several = args.targets.len() > 1;
        let mut render = Render::new(target.clone(), Some(cursor.seq)).with_room(several);
        render.amendments = true;
        if rooms.insert(room, render).is_none() {
            cursors.push((room, Some(cursor)));
        }
    }
    let states = watch_from(&connection.handle, &cursors, stay).await?;
    tail::refused(&states, &mut rooms)?;
    let until = (!args.follow).then(|| heads(&states));
    let marks = Marks::start(connection.handle.clone(), name);
    let stop = stopped(signals);
    let read = tokio::select! {
        read = print_and_mark(&mut connection.client, &mut rooms, until, &marks, out) => read,
        () = stop => Ok(()),
    };
    let marked = marks.finish().await;
    connection.close().await;
    read.and(marked)
}

async fn open(
    handle: &Handle,
    name: &ConsumerName,
    target: &Target,
    since: Option<Seq>,
) -> Result<(RoomId, Cursor), CliError> {
    let request = Request::OpenConsumer { name: name.clone(), target: target.clone(), since };
    match handle.insist(request).await? {
        Reply::Consumer { room, cursor, .. } => Ok((room, cursor)),
        _ => Err(replies::unexpected()),
    }
}

/// Watches rooms from these cursors on. Where it is to stay, it waits for a connection that broke in between.
pub(super) async fn watch_from(
    handle: &Handle,
    cursors: &[(RoomId, Option<Cursor>)],
    stay: Stay,
) -> Result<Vec<WatchState>, CliError> {
    loop {
        match handle.watch(cursors.to_vec()).await {
            Err(client::Error::Disconnected | client::Error::TimedOut) if stay == Stay::Reconnect => {
                // Answered on the next connection.
                handle.insist(Request::WhoAmI).await?;
            }
            watched => return Ok(watched?),
        }
    }
}

/// The rooms that have something to print, and the last event of each as it is now.
fn heads(states: &[WatchState]) -> HashMap<RoomId, Seq> {
    let behind = states.iter().filter_map(|state| match state {
        WatchState::Live { room, from, head } => (from.seq < head.seq).then_some((*room, head.seq)),
        WatchState::Reset { room, keep, head } => (keep.seq < head.seq).then_some((*room, head.seq)),
        // Only who asks for a digest has one.
        WatchState::Refused { .. } | WatchState::Digest(_) => None,
    });
    behind.collect()
}

/// Prints until every room was printed up to where `until` has it; without it until the connection ends.
async fn print_and_mark(
    client: &mut Client,
    rooms: &mut Rooms,
    mut until: Option<HashMap<RoomId, Seq>>,
    marks: &Marks,
    out: &mut Out,
) -> Result<(), CliError> {
    let mut news = News::default();
    while until.as_ref().is_none_or(|until| !until.is_empty()) {
        let Some(happened) = client.next().await else { break };
        let Some((room, cursor)) = tail::print(happened?, rooms, &mut news, out)? else { continue };
        marks.read(room, cursor);
        if let Some(until) = &mut until {
            until.retain(|other, head| *other != room || cursor.seq < *head);
        }
    }
    Ok(())
}

/// Ends when a signal asks for it. If the output takes nothing then, the process ends without it: what was flushed
/// before was told to the server meanwhile.
async fn stopped(mut signals: Signals) {
    let (stop, mut stopped) = watch::channel(false);
    tokio::spawn(async move {
        signals.next().await;
        stop.send_replace(true);
        sleep(LAST_WORD + STUCK).await;
        process::exit(0);
    });
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// What was read, and whether that was all.
#[derive(Debug, Clone, Default)]
struct Read {
    places: HashMap<RoomId, Cursor>,
    over: bool,
}

/// Tells the server what was read, beside the printing.
struct Marks {
    read: watch::Sender<Read>,
    telling: JoinHandle<Result<(), client::Error>>,
}

impl Marks {
    fn start(handle: Handle, name: ConsumerName) -> Marks {
        let (read, reads) = watch::channel(Read::default());
        Marks { read, telling: tokio::spawn(tell(handle, name, reads)) }
    }

    /// This was written and flushed.
    fn read(&self, room: RoomId, cursor: Cursor) {
        self.read.send_modify(|read| {
            read.places.insert(room, cursor);
        });
    }

    /// Waits until the server knows all of it.
    async fn finish(self) -> Result<(), CliError> {
        self.read.send_modify(|read| read.over = true);
        match timeout(LAST_WORD, self.telling).await {
            Ok(Ok(told)) => Ok(told?),
            _ => Err(CliError::TryAgain(
                "the server is away and does not know what was printed last; it comes again next time".into(),
            )),
        }
    }
}

async fn tell(
    handle: Handle,
    name: ConsumerName,
    mut reads: watch::Receiver<Read>,
) -> Result<(), client::Error> {
    let mut told = HashMap::new();
    loop {
        let news = reads.wait_for(|read| read.over || read.places != told).await.map(|read| read.clone());
        let Ok(read) = news else { return Ok(()) };
        let mut pause = Duration::ZERO;
        for (room, cursor) in read.places.iter().filter(|(room, cursor)| told.get(*room) != Some(*cursor)) {
            pause += PAUSE;
            let (name, room, cursor) = (name.clone(), *room, *cursor);
            match handle.insist(Request::MoveConsumer { name, room, cursor }).await {
                // Of a room that may be read no more the reader is told by an event, in its place.
                Err(client::Error::Refused(refusal)) if refusal.retry_after_ms.is_none() => {}
                told => drop(told?),
            }
        }
        told = read.places;
        if read.over {
            return Ok(());
        }
        let _ = timeout(pause, reads.wait_for(|read| read.over)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quip_protocol::Epoch;

    #[test]
    fn only_what_is_behind_is_waited_for() {
        let at = |seq| Cursor { epoch: Epoch::FIRST, seq: Seq(seq) };
        let live = |room, from, head| WatchState::Live { room: RoomId(room), from: at(from), head: at(head) };
        let states = [
            live(1, 5, 5),
            live(2, 5, 9),
            WatchState::Reset { room: RoomId(3), keep: at(2), head: at(4) },
            WatchState::Reset { room: RoomId(4), keep: at(4), head: at(4) },
        ];
        let expected = HashMap::from([(RoomId(2), Seq(9)), (RoomId(3), Seq(4))]);
        assert_eq!(heads(&states), expected);
    }
}
