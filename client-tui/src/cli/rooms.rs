//! `quip rooms` and `quip unread`: where one is, and what is new there.

use clap::Args;
use quip_protocol::client::Handle;
use quip_protocol::frame::Request;
use quip_protocol::room::RoomSummary;
use quip_protocol::{RoomName, Target};

use super::connect::{Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::human;
use super::json::Line;
use super::local;
use super::out::Out;
use super::replies;

const EXAMPLES: &str = "Examples:
  quip rooms
  quip rooms --public
  quip rooms --json | jq -r 'select(.unread > 0) | .room'";

/// Lists the rooms you are in.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RoomsArgs {
    /// All public rooms instead, whether you are in them or not
    #[arg(long)]
    public: bool,
}

/// Lists the rooms with something you have not read.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quip unread\n  quip unread --json\n\n`quip read` marks rooms as read.")]
pub struct UnreadArgs {}

/// Runs `quip rooms`.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: RoomsArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    if args.public {
        let connection = connect(env, Stay::Once).await?;
        show(&public(&connection.handle).await?, out)?;
        connection.close().await;
        return Ok(());
    }
    let source = local::source(env).await?;
    show(&source.rooms().await?, out)?;
    source.close().await;
    Ok(())
}

/// Runs `quip unread`.
///
/// # Errors
/// See [`CliError`].
pub async fn unread(_: UnreadArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let source = local::source(env).await?;
    for room in source.rooms().await?.iter().filter(|room| room.unread > 0 || room.mentions > 0) {
        out.show(&Line::unread(room), || human::unread(room))?;
    }
    source.close().await;
    Ok(())
}

fn show(rooms: &[RoomSummary], out: &mut Out) -> Result<(), CliError> {
    for room in rooms {
        out.show(&Line::room(room), || human::room(room))?;
    }
    Ok(())
}

async fn public(handle: &Handle) -> Result<Vec<RoomSummary>, CliError> {
    let mut all = Vec::new();
    let mut after: Option<RoomName> = None;
    loop {
        let (mut rooms, more) = replies::rooms(handle, Request::PublicRooms { after: after.take() }).await?;
        after = rooms.last().and_then(|room| match &room.target {
            Target::Room(name) => Some(name.clone()),
            Target::Direct(_) => None,
        });
        all.append(&mut rooms);
        if !more || after.is_none() {
            return Ok(all);
        }
    }
}
