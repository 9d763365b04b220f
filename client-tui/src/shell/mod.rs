//! The shell around the app: terminal, clock and network in, effects out. Imports everything the client has.

mod network;
mod terminal;

use std::future::pending;
use std::io;
use std::time::Duration;

use crossterm::event::{Event as TerminalEvent, EventStream};
use futures_util::StreamExt;
use jiff::tz::TimeZone;
use quip_protocol::client::Client;
use quip_protocol::{AccountName, MessageId, SafeLine, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub use crate::app::first_run::FirstRun;
use crate::app::first_run::FirstRunScreen;
use crate::app::{App, Effect, Input, Setup};
use crate::view::{self, Look};
use network::Network;
use terminal::Screen;

/// The shortest time between two paintings.
const FRAME: Duration = Duration::from_millis(16);
/// How often texts that depend on the time are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long saying goodbye to the server may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the client is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The server's address; best a link with its fingerprint, which invite links are then made of.
    pub server: String,
    /// Lines shown once, such as the invite link when hosting.
    pub notice: Vec<String>,
    /// Whether to use colours.
    pub color: bool,
}

/// Why the client ended.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// There is no terminal, or it is gone.
    #[error("the terminal cannot be used: {0}; in scripts use `quip send` and `quip tail`")]
    Terminal(#[from] io::Error),
}

/// Runs the terminal client until the user quits.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn run(client: Client, options: Options) -> Result<(), ShellError> {
    let mut shell = Shell::new(client, options)?;
    let end = shell.run().await;
    let Shell { screen, client, .. } = shell;
    drop(screen);
    // The server notices by itself if this takes too long.
    let _ = tokio::time::timeout(GOODBYE, client.close()).await;
    end.map_err(ShellError::from)
}

/// Asks what to do where no server is known yet.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn first_run(default_name: AccountName, color: bool) -> Result<FirstRun, ShellError> {
    let mut screen = Screen::enter()?;
    let mut state = FirstRunScreen::new(&default_name);
    let mut keys = EventStream::new();
    loop {
        screen.draw(|frame| view::first_run::draw(frame, &state, Look { color }))?;
        let Some(event) = keys.next().await else { return Ok(FirstRun::Quit) };
        match event? {
            TerminalEvent::Key(event) => {
                if let Some(chosen) = terminal::key(event).and_then(|key| state.key(key)) {
                    return Ok(chosen);
                }
            }
            TerminalEvent::Paste(text) => state.paste(&text),
            _ => {}
        }
    }
}

struct Shell {
    app: App,
    look: Look,
    screen: Screen,
    client: Client,
    network: Network,
    /// The client library has said its last word.
    over: bool,
    drawn_at: Instant,
    quit: bool,
}

/// What the loop wakes up for.
enum Woken {
    Input(Option<Input>),
    Draw,
    End,
    Failed(io::Error),
}

impl Shell {
    fn new(client: Client, options: Options) -> io::Result<Shell> {
        let screen = Screen::enter()?;
        let setup =
            Setup { server: options.server, zone: TimeZone::system(), new_id: Box::new(MessageId::generate) };
        let mut app = App::new(setup, Timestamp::now());
        let (columns, rows) = screen.size()?;
        app.handle(Input::Resize { columns, rows }, Timestamp::now());
        if !options.notice.is_empty() {
            let lines = options.notice.iter().map(|line| SafeLine::new(line)).collect();
            app.handle(Input::Show { title: SafeLine::new("Welcome"), lines }, Timestamp::now());
        }
        let network = Network::new(&client);
        let drawn_at = Instant::now();
        let look = Look { color: options.color };
        Ok(Shell { app, look, screen, client, network, over: false, drawn_at, quit: false })
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut keys = EventStream::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.draw()?;
        let mut dirty = false;
        while !self.quit {
            dirty |= self.app.take_changed();
            let next_frame = self.drawn_at + FRAME;
            let woken = tokio::select! {
                event = keys.next() => terminal_input(event),
                event = next(&mut self.client, self.over) => {
                    self.over = event.is_none();
                    Woken::Input(event.and_then(network::input))
                }
                answer = self.network.next() => Woken::Input(Some(answer)),
                () = sleep_until(next_frame), if dirty => Woken::Draw,
                _ = ticks.tick() => Woken::Input(Some(Input::Tick)),
                _ = terminate.recv() => Woken::End,
                _ = hang_up.recv() => Woken::End,
            };
            match woken {
                Woken::Input(Some(input)) => self.take(input)?,
                Woken::Input(None) => {}
                Woken::Draw => {
                    self.draw()?;
                    dirty = false;
                }
                Woken::End => return Ok(()),
                Woken::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, input: Input) -> io::Result<()> {
        let effects = self.app.handle(input, Timestamp::now());
        for effect in effects {
            let Some(effect) = self.network.perform(effect) else { continue };
            match effect {
                Effect::Bell => self.screen.ring()?,
                Effect::Suspend => {
                    self.screen.suspend()?;
                    // The window may have another size now, and nobody said so.
                    let (columns, rows) = self.screen.size()?;
                    self.app.handle(Input::Resize { columns, rows }, Timestamp::now());
                }
                Effect::Redraw => self.screen.forget()?,
                Effect::Quit => self.quit = true,
                // Performed by the network.
                Effect::Deliver(_) | Effect::Ask(_) | Effect::FetchPage { .. } | Effect::Mark { .. } => {}
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        let (app, look) = (&self.app, self.look);
        self.screen.draw(|frame| view::draw(frame, app, look))?;
        self.drawn_at = Instant::now();
        Ok(())
    }
}

/// What the client library says next; nothing once it is over.
async fn next(
    client: &mut Client,
    over: bool,
) -> Option<Result<quip_protocol::client::Event, quip_protocol::client::Error>> {
    if over { pending().await } else { client.next().await }
}

fn terminal_input(event: Option<io::Result<TerminalEvent>>) -> Woken {
    match event {
        None => Woken::End,
        Some(Err(error)) => Woken::Failed(error),
        Some(Ok(TerminalEvent::Key(event))) => Woken::Input(terminal::key(event).map(Input::Key)),
        Some(Ok(TerminalEvent::Paste(text))) => Woken::Input(Some(Input::Paste(text))),
        Some(Ok(TerminalEvent::Resize(columns, rows))) => Woken::Input(Some(Input::Resize { columns, rows })),
        Some(Ok(_)) => Woken::Input(None),
    }
}
