//! `quip search`: messages of the local copy, the newest first, without the server.

use clap::Args;
use jiff::tz::TimeZone;
use quip_protocol::{AccountName, Target, Timestamp};

use super::env::Env;
use super::exit::CliError;
use super::human;
use super::json::Line;
use super::local;
use super::out::Out;
use crate::app::query;

const EXAMPLES: &str = "Examples:
  quip search deploy failed
  quip search '\"connection refused\"' --in '#ops' --after 2d
  quip search 'like.rs:42' --from @ann --json
  quip search 'depl*' --before 2026-11-01 -n 5

Words are looked for whole, in any case and with or without accents, all of them in one message; \"quotes\" keep words
together, a star ends the beginning of one. A date is 2026-11-20, 2026-11-20T14:00:00Z, or so long ago: 2d, 3h.
What is searched is what `quip` keeps on this disk; the server is not asked. Without a match it ends with 1, as grep does.";

/// Finds messages in what is kept on this disk, the newest first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SearchArgs {
    /// Words; also from:@user in:#room before:DATE after:DATE
    #[arg(required = true, value_name = "WORDS")]
    words: Vec<String>,
    /// Only in this room
    #[arg(long = "in", value_name = "#ROOM")]
    room: Option<Target>,
    /// Only by this user
    #[arg(long, value_name = "@USER", value_parser = author)]
    from: Option<AccountName>,
    /// Only before this
    #[arg(long, value_name = "DATE", value_parser = date)]
    before: Option<Timestamp>,
    /// Only from then on
    #[arg(long, value_name = "DATE", value_parser = date)]
    after: Option<Timestamp>,
    /// So many messages
    #[arg(short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    count: u32,
}

fn author(text: &str) -> Result<AccountName, String> {
    text.strip_prefix('@').unwrap_or(text).parse().map_err(|error| format!("{error}"))
}

fn date(text: &str) -> Result<Timestamp, String> {
    query::date(text, Timestamp::now(), &TimeZone::system())
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: SearchArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let zone = TimeZone::system();
    let mut query =
        query::parse(&args.words.join(" "), false, Timestamp::now(), &zone).map_err(CliError::Usage)?;
    query.room = args.room.or(query.room);
    query.from = args.from.or(query.from);
    query.before = args.before.or(query.before);
    query.after = args.after.or(query.after);
    if query.is_empty() {
        return Err(CliError::Usage("there is no word to look for".into()));
    }
    let found = local::search(env, query, args.count)?;
    if found.is_empty() {
        return Err(CliError::NoMatch);
    }
    for found in &found {
        let (room, event) = (&found.room, &found.event);
        out.show(&Line::event(room, event), || human::event(event, Some(room), &zone))?;
    }
    Ok(())
}
