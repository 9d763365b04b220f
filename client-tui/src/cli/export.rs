//! `quip export`: everything of a room as JSON lines, streamed.

use clap::Args;
use quip_protocol::client::Handle;
use quip_protocol::frame::PageFrom;
use quip_protocol::limits::MAX_PAGE;
use quip_protocol::{Seq, Target};

use super::env::Env;
use super::exit::CliError;
use super::local::{self, Copy, Source};
use super::out::Out;
use super::pages::PAGE;
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
    let source = local::source(env).await?;
    let mut render = Render::new(args.target.clone(), Some(Seq::ZERO));
    match &source {
        Source::Copy(copy) => print_copy(copy, &args.target, &mut render, out)?,
        Source::Server(connection) => {
            let mut last = Seq::ZERO;
            let handle = &connection.handle;
            while let Some(newest) = print_stream(handle, &args.target, last, &mut render, out).await? {
                last = newest;
            }
        }
    }
    source.close().await;
    Ok(())
}

/// Prints what the copy has; what it does not have comes as gaps.
fn print_copy(copy: &Copy, target: &Target, render: &mut Render, out: &mut Out) -> Result<(), CliError> {
    let mut last = Seq::ZERO;
    loop {
        let page = copy.page(target, PageFrom::After(last), PAGE)?;
        let Some(newest) = page.events.last() else { return Ok(()) };
        last = newest.seq;
        for event in &page.events {
            render.event(event, out)?;
        }
    }
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
