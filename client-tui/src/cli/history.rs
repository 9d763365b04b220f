//! `quip history`: a page of a room's messages, as they are now.

use clap::Args;
use quip_protocol::{Seq, Target};

use super::env::Env;
use super::exit::CliError;
use super::local;
use super::out::Out;
use super::pages;
use super::render::Render;

const EXAMPLES: &str = "Examples:
  quip history '#ops'
  quip history '#ops' -n 200 --before 1500
  quip history @ann --after 40 --json";

/// Prints messages as they are now, oldest first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HistoryArgs {
    /// #room or @user
    target: Target,
    /// So many messages
    #[arg(short = 'n', value_name = "N", default_value_t = 50)]
    count: usize,
    /// The newest before this number
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// The oldest behind this number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: HistoryArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let source = local::source(env).await?;
    let target = &args.target;
    let before = args.before.map(Seq);
    let fetch = async |from, limit| source.page(target, from, limit).await;
    let events = match args.after {
        Some(after) => pages::oldest(fetch, Seq(after), before, args.count).await?,
        None => pages::newest(fetch, before, Seq::ZERO, args.count).await?,
    };
    let mut render = Render::new(target.clone(), None);
    for event in &events {
        render.event(event, out)?;
    }
    source.close().await;
    Ok(())
}
