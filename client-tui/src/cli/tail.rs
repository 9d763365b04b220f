//! `quip tail`: the newest messages of rooms, and with `--follow` what comes, without a gap and without a double.

use std::collections::HashMap;

use clap::Args;
use quip_protocol::client::{Client, Event as Happened, Handle};
use quip_protocol::frame::{PageFrom, WatchState};
use quip_protocol::{ConsumerName, Cursor, Event, Refusal, RoomId, Seq, Target};

use super::connect::{Stay, connect};
use super::consumer;
use super::env::Env;
use super::exit::CliError;
use super::json::Line;
use super::out::{Out, say};
use super::pages::{self, PAGE};
use super::render::Render;

const EXAMPLES: &str = "Examples:
  quip tail '#ops'
  quip tail '#ops' '#ci' --follow --json | jq -r .text
  quip tail @ann -n 0 --follow
  quip tail '#ops' --since 0 > all.txt
  quip tail '#deploy' --consumer deploy-bot --follow --json | ./deploy.sh
  quip tail '#ops' --consumer nightly            # in cron: what came since the last time";

/// Prints the newest messages, and with --follow those that come.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TailArgs {
    /// #room or @user, one or more
    #[arg(required = true, value_name = "TARGET")]
    pub(super) targets: Vec<Target>,
    /// So many messages of each
    #[arg(short = 'n', value_name = "N", default_value_t = 10)]
    count: usize,
    /// Go on with what comes, until it is stopped
    #[arg(long, short = 'f')]
    pub(super) follow: bool,
    /// Everything behind this number instead of the newest; 0 is all
    #[arg(long, value_name = "SEQ", conflicts_with = "count")]
    pub(super) since: Option<u64>,
    /// Go on behind what was printed last under this name, which the server keeps; a new one starts with what
    /// comes, or behind --since
    #[arg(long, value_name = "NAME", conflicts_with = "count")]
    pub(super) consumer: Option<ConsumerName>,
}

/// The rooms that are followed.
pub(super) type Rooms = HashMap<RoomId, Render>;

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: TailArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    if let Some(name) = args.consumer.clone() {
        return consumer::run(name, args, env, out).await;
    }
    let stay = if args.follow { Stay::Reconnect } else { Stay::Once };
    let mut connection = connect(env, stay).await?;
    let mut rooms = Rooms::new();
    let mut cursors = Vec::new();
    for target in &args.targets {
        let mut render = Render::new(target.clone(), args.since.map(Seq)).with_room(args.targets.len() > 1);
        let (room, cursor) = print_past(&connection.handle, &mut render, &args, out).await?;
        if rooms.insert(room, render).is_none() {
            cursors.push((room, Some(cursor)));
        }
    }
    out.flush()?;
    if args.follow {
        watch(&connection.handle, cursors, &mut rooms).await?;
        follow(&mut connection.client, &mut rooms, out).await?;
    }
    connection.close().await;
    Ok(())
}

/// Prints what there is, and returns the place from which what comes follows.
async fn print_past(
    handle: &Handle,
    render: &mut Render,
    args: &TailArgs,
    out: &mut Out,
) -> Result<(RoomId, Cursor), CliError> {
    let target = render.target().clone();
    match args.since {
        Some(since) => print_since(handle, &target, Seq(since), render, out).await,
        None => print_newest(handle, &target, args.count, render, out).await,
    }
}

async fn print_newest(
    handle: &Handle,
    target: &Target,
    count: usize,
    render: &mut Render,
    out: &mut Out,
) -> Result<(RoomId, Cursor), CliError> {
    // One event even if no message is wanted: the room's id and the place to go on from.
    let newest = handle.page(target, PageFrom::Latest, 1).await?;
    let place = |event: &Event| Cursor { epoch: event.epoch, seq: event.seq };
    let mut cursor = newest.events.last().map_or(newest.head, place);
    let fetch = async |from, limit| handle.page(target, from, limit).await;
    for event in pages::newest(fetch, None, Seq::ZERO, count).await? {
        render.event(&event, out)?;
        cursor = place(&event);
    }
    Ok((newest.room, cursor))
}

async fn print_since(
    handle: &Handle,
    target: &Target,
    since: Seq,
    render: &mut Render,
    out: &mut Out,
) -> Result<(RoomId, Cursor), CliError> {
    let mut cursor = None;
    let mut last = since;
    loop {
        let page = handle.page(target, PageFrom::After(last), PAGE).await?;
        for event in &page.events {
            render.event(event, out)?;
            last = event.seq;
            cursor = Some(Cursor { epoch: event.epoch, seq: event.seq });
        }
        out.flush()?;
        if page.events.is_empty() || last >= page.head.seq {
            if since > page.head.seq {
                say(&format!("{target} is at {}: nothing is behind {since} yet", page.head.seq));
            }
            return Ok((page.room, cursor.unwrap_or(page.head)));
        }
    }
}

async fn watch(
    handle: &Handle,
    cursors: Vec<(RoomId, Option<Cursor>)>,
    rooms: &mut Rooms,
) -> Result<(), CliError> {
    for render in rooms.values_mut() {
        render.amendments = true;
    }
    refused(&handle.watch(cursors).await?, rooms)
}

/// Drops the rooms that may not be watched. A cursor that is not of this log comes as an event, in its place.
pub(super) fn refused(states: &[WatchState], rooms: &mut Rooms) -> Result<(), CliError> {
    for state in states {
        if let WatchState::Refused { room, refusal } = state {
            unwatched(*room, refusal.clone(), rooms)?;
        }
    }
    Ok(())
}

async fn follow(client: &mut Client, rooms: &mut Rooms, out: &mut Out) -> Result<(), CliError> {
    let mut news = News::default();
    while let Some(happened) = client.next().await {
        print(happened?, rooms, &mut news, out)?;
    }
    Ok(())
}

/// Prints what happened; the place of an event that was printed and flushed.
pub(super) fn print(
    happened: Happened,
    rooms: &mut Rooms,
    news: &mut News,
    out: &mut Out,
) -> Result<Option<(RoomId, Cursor)>, CliError> {
    news.say(&happened);
    match happened {
        Happened::Message(received) => return print_live(received.event(), rooms, out),
        Happened::Other(event) => return print_live(&event, rooms, out),
        Happened::Reset { room, keep, .. } => reset(room, keep, rooms, out)?,
        Happened::Unwatched { room, refusal } => unwatched(room, refusal, rooms)?,
        _ => {}
    }
    Ok(None)
}

/// What people are told of the connection, beside the data.
#[derive(Debug, Default)]
pub(super) struct News {
    /// The first connection is no news.
    lost: bool,
}

impl News {
    /// Says that the connection broke, or is back.
    pub(super) fn say(&mut self, happened: &Happened) {
        match happened {
            Happened::Down { why, .. } => {
                say(&format!("{why}; connecting again"));
                self.lost = true;
            }
            Happened::Up(_) if self.lost => {
                say("connected again; going on where it stopped");
                self.lost = false;
            }
            _ => {}
        }
    }
}

/// Each line is handed over as it comes: whoever reads sees it at once.
fn print_live(event: &Event, rooms: &mut Rooms, out: &mut Out) -> Result<Option<(RoomId, Cursor)>, CliError> {
    let Some(render) = rooms.get_mut(&event.room) else { return Ok(None) };
    render.event(event, out)?;
    out.flush()?;
    Ok(Some((event.room, Cursor { epoch: event.epoch, seq: event.seq })))
}

/// The server's log was repaired: a program is told in its stream, people beside it.
fn reset(room: RoomId, keep: Cursor, rooms: &mut Rooms, out: &mut Out) -> Result<(), CliError> {
    let Some(render) = rooms.get_mut(&room) else { return Ok(()) };
    render.reset(keep.seq);
    let target = render.target();
    say(&format!("the server repaired its log: what {target} had behind {} comes again", keep.seq));
    if out.is_json() {
        out.object(&Line::reset(target, keep))?;
        out.flush()?;
    }
    Ok(())
}

/// One room less; with none left there is nothing to follow.
fn unwatched(room: RoomId, refusal: Refusal, rooms: &mut Rooms) -> Result<(), CliError> {
    let Some(render) = rooms.remove(&room) else { return Ok(()) };
    if rooms.is_empty() {
        return Err(refusal.into());
    }
    say(&format!("{} is followed no more: {}", render.target(), refusal.text));
    Ok(())
}
