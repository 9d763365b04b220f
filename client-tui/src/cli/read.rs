//! `quip read`: moves the account's read markers to the newest event.

use clap::Args;
use quip_protocol::Target;
use quip_protocol::client::Handle;
use quip_protocol::frame::Request;
use quip_protocol::room::RoomSummary;

use super::connect::{Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::json::Line;
use super::out::Out;
use super::replies;

/// Marks rooms as read, on all your devices.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quip read '#ops' @ann\n  quip read --all\n  quip read --all --json")]
pub struct ReadArgs {
    /// #room or @user, one or more
    #[arg(value_name = "TARGET", required_unless_present = "all", conflicts_with = "all")]
    targets: Vec<Target>,
    /// Every room that has something unread
    #[arg(long)]
    all: bool,
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: ReadArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let connection = connect(env, Stay::Once).await?;
    let mut rooms = connection.handle.rooms().await?;
    rooms.sort_by(|a, b| a.target.cmp(&b.target));
    for room in meant(&args, &rooms)? {
        mark(&connection.handle, room, out).await?;
    }
    connection.close().await;
    Ok(())
}

/// The rooms to mark; nothing is marked if one of them is none of the account's.
fn meant<'a>(args: &ReadArgs, rooms: &'a [RoomSummary]) -> Result<Vec<&'a RoomSummary>, CliError> {
    if args.all {
        return Ok(rooms.iter().filter(|room| room.unread > 0 || room.mentions > 0).collect());
    }
    let find = |target: &Target| {
        let room = rooms.iter().find(|room| room.target == *target);
        room.ok_or_else(|| {
            CliError::Denied(format!("you are not in {target}; `quip rooms` lists the rooms you are in"))
        })
    };
    args.targets.iter().map(find).collect()
}

async fn mark(handle: &Handle, room: &RoomSummary, out: &mut Out) -> Result<(), CliError> {
    let seq = room.head.seq;
    if room.read < seq {
        replies::done(handle, Request::Mark { room: room.id, seq }).await?;
    }
    let line = Line::Read { room: &room.target, seq, was_unread: room.unread };
    out.show(&line, || format!("{} is read up to {seq} ({} unread before)", room.target, room.unread))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quip_protocol::{Cursor, Epoch, RoomId, RoomKind, SafeLine, Seq, Timestamp};

    fn room(id: u64, target: &str, unread: u64) -> RoomSummary {
        RoomSummary {
            id: RoomId(id),
            target: target.parse().unwrap(),
            kind: RoomKind::Public,
            topic: SafeLine::default(),
            archived: false,
            role: None,
            members: 2,
            head: Cursor { epoch: Epoch::FIRST, seq: Seq(9) },
            active_at: Timestamp(0),
            read: Seq(9 - unread),
            unread,
            mentions: 0,
        }
    }

    #[test]
    fn which_rooms_are_meant() {
        let rooms = [room(1, "#ops", 0), room(2, "#ci", 3), room(3, "@ann", 1)];
        let of = |targets: &[&str], all| {
            let targets = targets.iter().map(|target| target.parse().unwrap()).collect();
            let meant = meant(&ReadArgs { targets, all }, &rooms);
            meant.map(|rooms| rooms.iter().map(|room| room.id.0).collect::<Vec<_>>()).map_err(|e| e.code())
        };
        assert_eq!(of(&[], true), Ok(vec![2, 3]));
        assert_eq!(of(&["@ann", "#ops"], false), Ok(vec![3, 1]));
        assert_eq!(of(&["#ci", "#else"], false), Err(77));
    }
}
