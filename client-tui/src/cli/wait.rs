//! `quip wait`: until a message says what is waited for.

use std::time::Duration;

use clap::Args;
use quip_protocol::client::{Client, Event as Happened, Handle};
use quip_protocol::frame::{PageFrom, WatchState};
use quip_protocol::{Cursor, Event, EventBody, RoomId, Seq, Target};
use regex::Regex;
use tokio::time::timeout;

use super::connect::{Stay, connect};
use super::consumer::watch_from;
use super::duration::Seconds;
use super::env::Env;
use super::exit::CliError;
use super::out::Out;
use super::render::Render;
use super::tail::News;

const EXAMPLES: &str = "Examples:
  quip wait '#deploy' --match '^approved'
  quip wait '#ci' --match '1.4 (passed|failed)' --timeout 10m --json
  quip wait @ann --match '(?i)yes' --timeout 1h || echo nobody answered
  quip wait '#ci' --match 'exit 0 after' --since 120";

/// Waits for a message that matches, and prints it.
///
/// From now on, without a gap over a connection that breaks. An edit that makes a message match counts. Exit code
/// 124 if nothing came in time.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WaitArgs {
    /// #room or @user
    target: Target,
    /// What a message has to have in it: a regular expression, as in ripgrep
    #[arg(long = "match", value_name = "REGEX")]
    pattern: Regex,
    /// Give up after this long: 90s, 10m, 24h; for ever if it is left out
    #[arg(long, value_name = "TIME")]
    timeout: Option<Seconds>,
    /// Look also at everything behind this number; 0 is all
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: WaitArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let Some(Seconds(seconds)) = args.timeout else { return wait(&args, env, out).await };
    match timeout(Duration::from_secs(seconds.into()), wait(&args, env, out)).await {
        Ok(waited) => waited,
        Err(_) => Err(CliError::TimedOut(format!(
            "no message in {} matched '{}' within {seconds} s",
            args.target, args.pattern
        ))),
    }
}

async fn wait(args: &WaitArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let mut connection = connect(env, Stay::Reconnect).await?;
    let (room, cursor) = place(&connection.handle, args).await?;
    let states = watch_from(&connection.handle, &[(room, Some(cursor))], Stay::Reconnect).await?;
    if let Some(WatchState::Refused { refusal, .. }) = states.into_iter().next() {
        return Err(refusal.into());
    }
    let after = args.since.map_or(cursor.seq, Seq);
    let event = matching(&mut connection.client, after, &args.pattern).await?;
    let mut render = Render::new(args.target.clone(), None);
    render.amendments = true;
    render.event(&event, out)?;
    out.flush()?;
    connection.close().await;
    Ok(())
}

/// The room, and the last event that is not looked at.
async fn place(handle: &Handle, args: &WaitArgs) -> Result<(RoomId, Cursor), CliError> {
    let from = match args.since {
        None => PageFrom::Latest,
        Some(0) => PageFrom::After(Seq::ZERO),
        Some(seq) => PageFrom::After(Seq(seq - 1)),
    };
    let page = handle.page(&args.target, from, 1).await?;
    let cursor = match (args.since, page.events.first()) {
        (Some(0), _) => Cursor::default(),
        (_, Some(event)) => Cursor { epoch: event.epoch, seq: event.seq },
        // Behind what there is: nothing is looked at before it comes.
        (_, None) => page.head,
    };
    Ok((page.room, cursor))
}

async fn matching(client: &mut Client, mut after: Seq, pattern: &Regex) -> Result<Event, CliError> {
    let mut news = News::default();
    while let Some(happened) = client.next().await {
        let happened = happened?;
        news.say(&happened);
        let event = match happened {
            Happened::Message(received) => received.into_event(),
            Happened::Other(event) => event,
            Happened::Unwatched { refusal, .. } => return Err(refusal.into()),
            Happened::Reset { keep, .. } => {
                after = after.min(keep.seq);
                continue;
            }
            _ => continue,
        };
        if event.seq > after && says(&event).is_some_and(|text| pattern.is_match(text)) {
            return Ok(event);
        }
    }
    Err(quip_protocol::client::Error::Disconnected.into())
}

/// What a message says, or now says.
fn says(event: &Event) -> Option<&str> {
    match &event.body {
        EventBody::Message(message) if !message.deleted => Some(message.text()),
        EventBody::Edited { text, .. } if !text.is_empty() => Some(text.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::cli::pages::tests::{event, message};
    use clap::Parser as _;
    use quip_protocol::MessageId;

    #[test]
    fn what_is_looked_at() {
        let id = MessageId::from_bytes([1; 16]);
        let edit = event(2, EventBody::Edited { target: Seq(1), id, text: "exit 0".into(), drops: None });
        let mut deleted = message(3, "gone");
        let deletion = event(4, EventBody::Deleted { target: Seq(3), id, edits: vec![] });
        deleted.amend(&deletion);
        let table = [
            (message(1, "building"), Some("building")),
            (edit, Some("exit 0")),
            (deleted, None),
            (deletion, None),
            (event(5, EventBody::Joined), None),
        ];
        for (event, expected) in table {
            assert_eq!(says(&event), expected, "{event:?}");
        }
    }

    #[test]
    fn the_pattern_is_checked_before_anything_is_asked() {
        let table = [("a|b", true), ("(?i)yes$", true), ("(", false), ("a{1000}{1000}{1000}", false)];
        for (pattern, good) in table {
            let parsed = Cli::try_parse_from(["quip", "wait", "#ops", "--match", pattern]);
            assert_eq!(parsed.is_ok(), good, "{pattern}");
        }
        assert!(Cli::try_parse_from(["quip", "wait", "#ops"]).is_err(), "it waits for something");
    }
}
