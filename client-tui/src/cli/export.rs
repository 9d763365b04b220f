//! `quip export`: everything of a room as JSON lines, streamed.

use clap::Args;
use quip_protocol::client::Handle;
use quip_protocol::frame::PageFrom;
use quip_protocol::limits::MAX_PAGE;
use quip_protocol::{Seq, Target};

use super::connect::{Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::out::Out;
use super::render::Render;

const EXAMPLES: &str = "Examples:
  quip export '#ops' > ops.jsonl
  quip export '#ops' | jq -r 'select(.type == \"message\") | .text'";

/// Prints everything of a room as JSON lines, oldest first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    /// #room or @user
    target: Target,
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: ExportArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let connection = connect(env, Stay::Once).await?;
    let mut render = Render::new(args.target.clone(), Some(Seq::ZERO));
    let mut last = Seq::ZERO;
    while let Some(newest) = print_stream(&connection.handle, &args.target, last, &mut render, out).await? {
        last = newest;
    }
    connection.close().await;
    Ok(())
}

/// Prints one stream of events behind `last`; the newest of them if there is more behind it.
async fn print_stream(
    handle: &Handle,
    target: &Target,
    mut last: Seq,
    render: &mut Render,
    out: &mut Out,
) -> Result<Option<Seq>, CliError> {
    let from = last;
    let mut stream = handle.stream_page(target, PageFrom::After(from), MAX_PAGE).await?;
    while let Some(event) = stream.next().await? {
        render.event(&event, out)?;
        last = event.seq;
    }
    out.flush()?;
    let head = stream.head().map_or(last, |head| head.seq);
    if last > from && last < head {
        return Ok(Some(last));
    }
    // The server said that there is more and did not send it.
    render.gap_before(head.next(), out)?;
    Ok(None)
}
