//! `quip tail`: the newest messages of rooms, merged by time, and with `--follow` what comes, without a gap and without a double.

use std::collections::HashMap;

use clap::Args;
use quip_protocol::client::{Client, Event as Happened, Handle};
use quip_protocol::frame::WatchState;
use quip_protocol::{ConsumerName, Cursor, Event, Refusal, RoomId, SafeLine, Seq, Target};

use super::backlog::{self, Backlog};
use super::connect::{Stay, connect};
use super::consumer;
use super::env::Env;
use super::exit::CliError;
use super::json::Line;
use super::out::{Out, say};
use super::render::Render;

const EXAMPLES: &str = "Examples:
  quip tail '#ops'
  quip tail '#ops' '#ci' --follow --json | jq -r .text
  quip tail @ann -n 0 --follow
  quip tail '#ops' --since 0 > all.txt
  quip tail '#deploy' --consumer deploy-bot --follow --json | ./deploy.sh
  quip tail '#ops' --consumer nightly    # in cron: what is new";

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
    let handle = connection.handle.clone();
    let fetch = async |target: &Target, from, limit| handle.page(target, from, limit).await;
    let mut pasts = Vec::new();
    for target in distinct(&args.targets) {
        let render = Render::new(target.clone(), args.since.map(Seq)).with_room(args.targets.len() > 1);
        pasts.push(match args.since {
            Some(since) => Backlog::since(render, Seq(since), &fetch).await?,
            None => Backlog::newest(render, args.count, &fetch).await?,
        });
    }
    backlog::print(&mut pasts, fetch, out).await?;
    if args.follow {
        let cursors = pasts.iter().map(|past| (past.room, Some(past.place))).collect();
        let mut rooms: Rooms = pasts.into_iter().map(|past| (past.room, past.render)).collect();
        watch(&handle, cursors, &mut rooms).await?;
        follow(&mut connection.client, &mut rooms, out).await?;
    }
    connection.close().await;
    Ok(())
}

/// A room that is named twice is followed once.
fn distinct(targets: &[Target]) -> impl Iterator<Item = &Target> {
    targets.iter().enumerate().filter(|(at, target)| !targets[..*at].contains(target)).map(|(_, it)| it)
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
    /// Why there is no connection, each reason once until there is one again. The first connection is no news.
    lost: Vec<SafeLine>,
}

impl News {
    /// Says that the connection broke, or is back.
    pub(super) fn say(&mut self, happened: &Happened) {
        if let Some(line) = self.line(happened) {
            say(&line);
        }
    }

    fn line(&mut self, happened: &Happened) -> Option<String> {
        match happened {
            Happened::Down { why, .. } if !self.lost.contains(why) => {
                self.lost.push(why.clone());
                Some(format!("{why}; connecting again"))
            }
            Happened::Up(_) if !self.lost.is_empty() => {
                self.lost.clear();
                Some("connected again; going on where it stopped".to_owned())
            }
            _ => None,
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

#[cfg(test)]
mod tests {
    use quip_protocol::Timestamp;
    use quip_protocol::frame::Welcome;
    use quip_protocol::limits::Limits;

    use super::*;

    fn up() -> Happened {
        Happened::Up(Welcome {
            version: quip_protocol::frame::VERSION,
            server: SafeLine::new("home"),
            account: None,
            open_registration: false,
            limits: Limits {
                text_bytes: 200,
                burst_messages: 10,
                messages_per_second: 5,
                requests_in_flight: 32,
                idle_timeout_ms: 30_000,
            },
            now: Timestamp::default(),
            nodes: Vec::new(),
        })
    }

    #[test]
    fn each_reason_is_told_once_until_there_is_a_connection() {
        let down = |why| Happened::Down { why: SafeLine::new(why), retry_in: None };
        let suspended = "this account was suspended; connecting again";
        let table = [
            (up(), None),
            (down("it is away"), Some("it is away; connecting again")),
            (down("this account was suspended"), Some(suspended)),
            (down("this account was suspended"), None),
            (down("it is away"), None),
            (down("this account was suspended"), None),
            (up(), Some("connected again; going on where it stopped")),
            (up(), None),
            (down("this account was suspended"), Some(suspended)),
        ];
        let mut news = News::default();
        for (at, (happened, expected)) in table.into_iter().enumerate() {
            assert_eq!(news.line(&happened).as_deref(), expected, "{at}");
        }
    }
}
