//! How long until a client that was away has what it missed. It must be the server's log, seq by seq.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use quip_protocol::Target;
use quip_tests::{Quip, Server, join, post_all};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::cli::MissedArgs;
use crate::{micros, millis};
use quip_tests::pty::Screen;

/// The last message.
const LAST: &str = "the-very-last-one";

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    messages: u32,
    /// Until the rooms are on the screen.
    first_paint_ms: f64,
    /// Until the newest message is on the screen, and the client usable with it.
    newest_ms: f64,
    /// Until a key that was pressed then is on the screen.
    key_ms: f64,
    /// Until everything is there.
    caught_up_ms: f64,
    progress_shown: bool,
    peak_rss_kib: Option<u64>,
    events_compared: usize,
}

/// Measures it.
pub fn measure(args: &MissedArgs) -> Result<Report> {
    let limits = "[limits]\nmessages_per_second = 1000000\nburst_messages = 1000000";
    let mut server = Server::with_config(limits);
    let link = server.owner.clone().context("a new server has an owner")?;
    let runtime = Runtime::new()?;
    let owner = runtime.block_on(join(&link, "owner"));
    let ann = Quip::joined(&server.invite(&[]), "ann");
    let mut screen = Screen::start(&ann)?;
    screen.shows("connected to")?;
    screen.shows("ann joined")?;
    drop(screen);
    let general: Target = "#general".parse().context("a valid name")?;
    let texts = (0..args.messages).map(|n| format!("message number {n}, as people write them"));
    runtime.block_on(async {
        post_all(&owner, &general, texts).await;
        owner.send(&general, LAST).await
    })?;

    let began = Instant::now();
    let since = || millis(micros(began.elapsed()));
    let mut screen = Screen::start(&ann)?;
    screen.shows("#general")?;
    let first_paint_ms = since();
    screen.shows(LAST)?;
    let newest_ms = since();
    let progress_shown = screen.contains("catching up");
    screen.press("λ".as_bytes())?;
    screen.shows("λ")?;
    let key_ms = since() - newest_ms;
    screen.until("it has caught up", |screen| screen.contains("connected to"))?;
    let caught_up_ms = since();
    let peak_rss_kib = screen.process().peak_rss_kib();
    // It writes down what it has got before it ends.
    screen.press(b"\x15/quit\r")?;
    screen.ends()?;
    let events_compared = compare(&ann, &mut server)?;
    Ok(Report {
        messages: args.messages,
        first_paint_ms,
        newest_ms,
        key_ms,
        caught_up_ms,
        progress_shown,
        peak_rss_kib,
        events_compared,
    })
}

/// The copy is the end of the server's log, line by line. How many lines it has.
fn compare(ann: &Quip, server: &mut Server) -> Result<usize> {
    let log = ann.run(&["export", "#general"]).ok();
    ensure!(server.stop(), "the server stops");
    let copy = ann.run(&["export", "#general"]).ok();
    ensure!(log.ends_with(&copy) && copy.contains(LAST), "the copy is not the server's log");
    Ok(copy.lines().count())
}
