//! `quip send --stream`: a long-running input, or the output of a command, as one message that grows by edits.

use std::ffi::OsString;
use std::time::Duration;

use quip_protocol::client::{Handle, Post};
use quip_protocol::frame::Request;
use quip_protocol::limits::MAX_TEXT;
use quip_protocol::{MessageId, Receipt, SafeText, Target};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::connect::{Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::json::Line;
use super::out::Out;
use super::send::{post_as_member, unanswered};
use super::signals::Signals;
use super::waiting::patiently;

mod log;
mod source;

use source::{Progress, Sink};

/// The least time between two updates: four a second.
const FASTEST: Duration = Duration::from_millis(250);
/// The most.
const SLOWEST: Duration = Duration::from_secs(5);
/// Each update is kept by the server for ever, so that updates come the slower the longer it takes: after a time t
/// about once in t/100.
const SHARE: u32 = 100;
/// How long a server that is away is waited for when all was read.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is streamed.
pub struct Streamed {
    /// The message, without its text.
    pub post: Post,
    /// What to run; standard input is read if it is empty.
    pub command: Vec<OsString>,
    /// Whether the last line says how the command ended.
    pub status: bool,
}

/// Runs it. The server must be there at the start; later it may be away.
///
/// # Errors
/// See [`CliError`]; [`CliError::Ended`] if the command did not end with 0.
pub async fn run(streamed: Streamed, env: &Env, out: &mut Out) -> Result<(), CliError> {
    check(&streamed, env)?;
    let connection = connect(env, Stay::Reconnect).await?;
    let announced = connection.handle.welcome().map(|welcome| welcome.limits.text_bytes as usize);
    let sink = Sink::new(Progress::new(announced.map_or(MAX_TEXT, |limit| limit.min(MAX_TEXT))));
    // Before anything is read: a change that came before the first look would wait for the next one to be shown.
    let progress = sink.subscribe();
    if streamed.command.is_empty() {
        source::standard_input(&sink)?;
    } else {
        source::command(&streamed.command, streamed.status, &sink)?;
    }
    let mut message = Growing::new(connection.handle.clone(), streamed.post);
    let grown = grow(&mut message, progress).await;
    // What cannot be sent is read all the same: a build is not broken by its log.
    let code = sink.subscribe().wait_for(|p| p.end().is_some()).await.ok().and_then(|p| p.end().cloned());
    grown?;
    message.report(streamed.command.is_empty(), out)?;
    connection.close().await;
    let mut fault = None;
    sink.send_modify(|progress| fault = progress.take_fault());
    match (fault, code.map_or(0, |end| end.code)) {
        (Some(fault), _) => Err(CliError::Stdin(fault)),
        (None, 0) => Ok(()),
        (None, code) => Err(CliError::Ended(code)),
    }
}

fn check(streamed: &Streamed, env: &Env) -> Result<(), CliError> {
    let problem = match (streamed.command.is_empty(), streamed.status) {
        (true, true) => "a pipe does not know how its command ended: run it as `… --status -- COMMAND`",
        (true, false) if env.stdin_terminal => {
            "there is nothing to stream; pipe it in, or run `… -- COMMAND`"
        }
        _ => return Ok(()),
    };
    Err(CliError::Usage(problem.into()))
}

/// Shows what was read, until all of it was.
async fn grow(message: &mut Growing, mut progress: watch::Receiver<Progress>) -> Result<(), CliError> {
    let began = Instant::now();
    let (handle, target) = (message.handle.clone(), message.post.target.clone());
    loop {
        if progress.changed().await.is_err() {
            return Ok(());
        }
        let (text, over) = {
            let now = progress.borrow_and_update();
            (now.text(), now.end().is_some())
        };
        tokio::select! {
            shown = message.show(text) => {
                shown.map_err(|error| unanswered(error, &format!("the end of the message to {target}")))?;
            }
            error = too_late(&handle, &target, progress.clone()) => return Err(error),
        }
        if over {
            return Ok(());
        }
        let mut ending = progress.clone();
        let _ = timeout(pause(began.elapsed()), ending.wait_for(|progress| progress.end().is_some())).await;
    }
}

/// How long to wait after an update, so long after the first.
fn pause(elapsed: Duration) -> Duration {
    (elapsed / SHARE).clamp(FASTEST, SLOWEST)
}

/// Waits until it is no use to wait longer: all was read, and the server did not come back or somebody lost patience.
async fn too_late(handle: &Handle, target: &Target, mut progress: watch::Receiver<Progress>) -> CliError {
    let _ = progress.wait_for(|progress| progress.end().is_some()).await;
    let over = async {
        match Signals::listen() {
            Ok(mut signals) => drop(timeout(PATIENCE, signals.next()).await),
            Err(_) => sleep(PATIENCE).await,
        }
    };
    patiently(handle, PATIENCE, over).await;
    CliError::TryAgain(format!(
        "the server is away: the end of the message to {target} is not there, or nothing of it"
    ))
}

/// The message.
struct Growing {
    handle: Handle,
    post: Post,
    receipt: Option<Receipt>,
    shown: SafeText,
}

impl Growing {
    fn new(handle: Handle, post: Post) -> Growing {
        Growing { handle, post, receipt: None, shown: SafeText::default() }
    }

    /// Brings the message to this text, and waits until that is durable.
    async fn show(&mut self, text: SafeText) -> Result<(), CliError> {
        if text.as_str().trim().is_empty() || text == self.shown {
            return Ok(());
        }
        match self.receipt {
            None => {
                let post = Post { text: text.clone(), ..self.post.clone() };
                self.receipt = Some(post_as_member(&self.handle, post).await?);
            }
            Some(Receipt { room, seq: target, .. }) => {
                let id = MessageId::generate();
                self.handle.submit(Request::Edit { room, target, id, text: text.clone() }).await?;
            }
        }
        self.shown = text;
        Ok(())
    }

    /// Prints the receipt. A command may say nothing; an input should not.
    fn report(&self, needed: bool, out: &mut Out) -> Result<(), CliError> {
        match &self.receipt {
            Some(receipt) if out.is_json() => out.object(&Line::receipt(&self.post.target, receipt)),
            None if needed => Err(CliError::Input("the input is empty; nothing was sent".into())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn never_more_than_four_updates_a_second_and_fewer_the_longer_it_takes() {
        let ms = Duration::from_millis;
        let table = [(0, 250), (20_000, 250), (60_000, 600), (300_000, 3_000), (3_600_000, 5_000)];
        for (elapsed, expected) in table {
            assert_eq!(pause(ms(elapsed)), ms(expected));
        }
    }

    #[test]
    fn what_makes_no_sense_is_said_before_anything_is_run() {
        let post = Post::new("#ci".parse().unwrap(), "");
        let streamed = |command: &[&str], status| Streamed {
            post: post.clone(),
            command: command.iter().map(OsString::from).collect(),
            status,
        };
        let table = [
            (streamed(&["make"], true), true, true),
            (streamed(&["make"], false), true, true),
            (streamed(&[], false), false, true),
            (streamed(&[], false), true, false),
            (streamed(&[], true), false, false),
        ];
        for (streamed, stdin_terminal, good) in table {
            let checked = check(&streamed, &Env { stdin_terminal, ..Env::default() });
            assert_eq!(checked.is_ok(), good, "{:?} {}", streamed.command, streamed.status);
            assert!(checked.err().is_none_or(|error| error.exit() == Exit::Usage));
        }
    }
}
