//! The shell around the app: terminal, clock and network in, effects out. Imports everything the client has.

mod background;
mod copy;
mod face;
pub(crate) mod local;
mod mentions;
mod merges;
mod network;
mod outside;
mod reader;
mod search;
mod station;
mod terminal;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crossterm::event::{Event as TerminalEvent, EventStream};
use futures_util::StreamExt;
use jiff::tz::TimeZone;
use quip_protocol::{AccountName, Event, MessageId, SafeLine, Target, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};

pub use crate::app::first_run::FirstRun;
use crate::app::first_run::FirstRunScreen;
use crate::app::plain::Narrator;
use crate::app::{App, Desk, Effect, Input, Key, Level, Preferences, Server, Setup};
use crate::config::settings::{Alerts, Levels, Settings};
use crate::view::{self, Look};
use background::{Background, Heard};
use copy::Answer;
use face::{Face, Typed};
use outside::Outside;
use reader::CodeReader;
pub use station::Joined;
use station::{After, News, Station};
use terminal::Screen;

/// The shortest time between two paintings: a sixtieth of a second.
const FRAME: Duration = Duration::from_micros(16_667);
/// How often texts that depend on the time are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long plain mode waits at the end of its input for what is not delivered yet.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The first painting waits at most so long for what lies on the disk. What is not there by then is painted when it is.
const FIRST_PAINT: Duration = Duration::from_millis(80);

/// What the client is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Lines shown once, such as the invite link when hosting.
    pub notice: Vec<String>,
    /// Lines in, lines out, instead of a screen.
    pub plain: bool,
    /// Whether to use colours.
    pub color: bool,
    /// Whether the background is light.
    pub light: bool,
    /// Whether that is not known, and the terminal is to be asked.
    pub ask_background: bool,
    /// What `quip.toml` says.
    pub settings: Settings,
}

/// Why the client ended.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// There is no terminal, or it is gone.
    #[error(
        "the terminal cannot be used: {0}; `quip --plain` needs none, and scripts use `quip send` and `quip tail`"
    )]
    Terminal(#[from] io::Error),
}

/// Runs the terminal client on these servers, at first on the one at `current`, until the user quits. Returns how many
/// deliveries are kept for the next start.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn run(servers: Vec<Joined>, current: usize, options: Options) -> Result<usize, ShellError> {
    let mut shell = Shell::new(servers, current, options)?;
    let end = shell.run().await;
    let Shell { face, stations, desk, .. } = shell;
    drop(face);
    let mut kept = 0;
    let mut closing = Vec::new();
    for (server, station) in desk.servers().zip(stations) {
        let app = desk.app(server);
        kept += if station.keeps() { app.waiting() } else { 0 };
        closing.push(station.close(app, Timestamp::now()));
    }
    futures_util::future::join_all(closing).await;
    end.map(|()| kept).map_err(ShellError::from)
}

/// Asks what to do where no server is known yet.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn first_run(login: Option<AccountName>, look: Look) -> Result<FirstRun, ShellError> {
    let mut screen = Screen::enter()?;
    let mut state = FirstRunScreen::new(login.as_ref());
    let mut keys = EventStream::new();
    loop {
        screen.draw(|frame| view::first_run::draw(frame, &state, look))?;
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
    desk: Desk,
    look: Look,
    face: Face,
    /// One for each server of the desk.
    stations: Vec<Station>,
    /// Which of them is asked first.
    turn: usize,
    drawn_at: Instant,
    /// A program that has the terminal; until it ends nothing is painted and no key is ours.
    outside: Option<Outside>,
    /// The terminal was asked for its background.
    background: Option<Background>,
    reader: CodeReader,
    alerts: Alerts,
    /// The input has ended; what is not delivered is waited for until then.
    over_at: Option<Instant>,
    quit: bool,
}

/// What the loop wakes up for.
enum Woken {
    Input(Option<Input>),
    /// From a server or its files.
    News(Server, News),
    Draw,
    /// There is no more input.
    Over,
    End,
    Failed(io::Error),
}

impl Shell {
    fn new(servers: Vec<Joined>, current: usize, options: Options) -> io::Result<Shell> {
        let mut face = match options.plain {
            true => Face::Lines(Narrator::default()),
            false => Face::Screen(Screen::enter()?),
        };
        if let (true, Some(screen)) = (options.settings.mouse, face.screen()) {
            screen.mouse(true)?;
        }
        let apps = servers.iter().map(|server| app(server, &options.settings)).collect();
        let mut shell = Shell {
            desk: Desk::new(apps, Server(current)),
            look: Look { color: options.color, light: options.light },
            stations: servers.into_iter().map(Station::new).collect(),
            turn: 0,
            drawn_at: Instant::now(),
            outside: None,
            background: None,
            reader: CodeReader::new(),
            alerts: options.settings.alerts,
            over_at: None,
            quit: false,
            face,
        };
        let (columns, rows) = shell.face.size()?;
        shell.take(Input::Resize { columns, rows })?;
        if !options.notice.is_empty() {
            let lines = options.notice.iter().map(|line| SafeLine::new(line)).collect();
            shell.take(Input::Show { title: SafeLine::new("Welcome"), lines })?;
        }
        if options.ask_background && shell.face.screen().is_some() {
            shell.background = Some(Background::asked(Instant::now()));
        }
        Ok(shell)
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut typed = Typed::at(&self.face);
        // Ctrl+C in an editor or a pager is for that program; it must not end this one.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.open().await?;
        self.draw()?;
        if let (Some(_), Some(screen)) = (&self.background, self.face.screen()) {
            screen.ask(background::QUESTION)?;
        }
        let mut dirty = false;
        while !self.quit {
            dirty |= self.desk.take_changed();
            typed.take(self.outside.is_none());
            if self.over_at.is_some_and(|at| self.desk.waiting() == 0 || at <= Instant::now()) {
                return self.draw();
            }
            let next_frame = self.drawn_at + FRAME;
            self.turn = self.turn.wrapping_add(1);
            let woken = tokio::select! {
                woken = typed.next(), if self.takes_input() => woken,
                input = outside::ended(&mut self.outside) => self.back(input),
                (place, news) = station::any(&mut self.stations, self.turn) => Woken::News(Server(place), news),
                read = self.reader.next() => Woken::Input(read),
                () = sleep_until(next_frame), if dirty && self.outside.is_none() => Woken::Draw,
                _ = ticks.tick() => Woken::Input(Some(Input::Tick)),
                _ = interrupt.recv() => match self.face {
                    Face::Screen(_) => Woken::Input(None),
                    Face::Lines(_) => Woken::End,
                },
                _ = terminate.recv() => Woken::End,
                _ = hang_up.recv() => Woken::End,
            };
            match woken {
                Woken::News(server, news) => self.news(server, news)?,
                Woken::Input(Some(Input::Key(key))) if self.background.is_some() => {
                    dirty |= self.typed(key)?
                }
                Woken::Input(Some(input)) => self.take(input)?,
                Woken::Input(None) => {}
                Woken::Draw => {
                    self.draw()?;
                    dirty = false;
                }
                Woken::Over => self.over_at = Some(Instant::now() + LAST_WORDS),
                Woken::End => return Ok(()),
                Woken::Failed(error) => return Err(error),
            }
            if self.face.screen().is_none() {
                // The next line may come at once, and close what this one has opened.
                self.draw()?;
            }
        }
        Ok(())
    }

    /// A key while the terminal may answer; whether it did, and everything is to be painted anew.
    fn typed(&mut self, key: Key) -> io::Result<bool> {
        let Some(background) = &mut self.background else {
            return self.take(Input::Key(key)).map(|()| false);
        };
        let heard = background.take(key);
        if background.is_over(Instant::now()) {
            self.background = None;
        }
        match heard {
            Heard::Part => {}
            Heard::Typed(keys) => keys.into_iter().try_for_each(|key| self.take(Input::Key(key)))?,
            Heard::Answer(light) => {
                self.background = None;
                self.look.light = light.unwrap_or(self.look.light);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lines may come from a file, all at once: each is taken when it is known where the one before has led.
    fn takes_input(&self) -> bool {
        let current = self.desk.current();
        match self.face {
            Face::Screen(_) => true,
            Face::Lines(_) => {
                // All servers: one that is not there yet has no name to be called by.
                let settled = self.desk.servers().all(|server| self.desk.app(server).is_settled());
                self.over_at.is_none() && settled && self.stations[current.0].is_idle()
            }
        }
    }

    /// Takes what lies on the disk, of all servers, as far as that is quick: it is shown before anyone is asked anything.
    async fn open(&mut self) -> io::Result<()> {
        let until = Instant::now() + FIRST_PAINT;
        while self.stations.iter().any(Station::is_opening) {
            let news = timeout_at(until, station::any(&mut self.stations, self.turn)).await;
            let Ok((place, news)) = news else { return Ok(()) };
            self.turn = place + 1;
            self.news(Server(place), news)?;
        }
        Ok(())
    }

    /// Takes what came from a server or its files.
    fn news(&mut self, server: Server, news: News) -> io::Result<()> {
        let station = &mut self.stations[server.0];
        match news {
            News::Opened(opened) => {
                let (input, waited) = station.open(opened);
                self.hear(server, input)?;
                waited.into_iter().try_for_each(|effect| self.perform(server, effect))
            }
            // It is for the files; what is on the screen may be amended by it.
            News::Heard(Input::Older { room, floor, events, head }) => {
                let amends = |event: &&Event| event.body.amends().is_some();
                let amending: Vec<Event> = events.iter().filter(amends).cloned().collect();
                station.keep_rooms(self.desk.app(server));
                match station.older(room, floor, events, head.seq) {
                    Some(input) => self.hear(server, input),
                    None if amending.is_empty() => Ok(()),
                    None => self.hear(server, Input::Older { room, floor, events: amending, head }),
                }
            }
            News::Heard(input) => {
                station.note(&input);
                self.hear(server, input)
            }
            News::Found(Answer::Found(input)) => self.hear(server, input),
            News::Found(Answer::Missing(asked, behind)) => {
                match station.ask_instead(asked, behind, self.desk.app(server)) {
                    Some(input) => self.hear(server, input),
                    None => Ok(()),
                }
            }
            News::Nothing => Ok(()),
        }
    }

    /// Tells the app of a server.
    fn hear(&mut self, server: Server, input: Input) -> io::Result<()> {
        if let Input::Answer { .. } = input {
            self.stations[server.0].keep_rooms(self.desk.app(server));
        }
        let done = self.desk.hear(server, input, Timestamp::now());
        done.into_iter().try_for_each(|(server, effect)| self.perform(server, effect))
    }

    /// Takes what the user or the clock did.
    fn take(&mut self, input: Input) -> io::Result<()> {
        if input == Input::Tick {
            for (server, station) in self.desk.servers().zip(&mut self.stations) {
                station.keep_rooms(self.desk.app(server));
            }
        }
        let done = self.desk.handle(input, Timestamp::now());
        done.into_iter().try_for_each(|(server, effect)| self.perform(server, effect))
    }

    fn perform(&mut self, server: Server, effect: Effect) -> io::Result<()> {
        let now = Timestamp::now();
        let effect = match self.stations[server.0].perform(effect, self.desk.app(server), now) {
            After::Nothing => return Ok(()),
            After::Tell(input) => return self.hear(server, *input),
            After::Perform(effect) => *effect,
        };
        match effect {
            Effect::KeepLevels(levels) => self.keep_levels(server, &levels),
            Effect::Alert { title, text } if self.outside.is_none() => {
                return self.face.alert(self.alerts, &title, &text);
            }
            Effect::Quit => self.quit = true,
            effect => return self.on_screen(effect),
        }
        Ok(())
    }

    /// Performs what only a screen can do.
    fn on_screen(&mut self, effect: Effect) -> io::Result<()> {
        let Some(screen) = self.face.screen() else { return Ok(()) };
        match effect {
            Effect::Bell => screen.ring(),
            Effect::Suspend => {
                screen.suspend()?;
                // The window may have another size now, and nobody said so.
                let (columns, rows) = screen.size()?;
                self.take(Input::Resize { columns, rows })
            }
            Effect::Mouse(ours) => screen.mouse(ours),
            Effect::Copy(text) => screen.copy(&text),
            Effect::Redraw => {
                terminal::fault();
                screen.forget()
            }
            Effect::Show(text) => self.lend(outside::show(text)),
            Effect::Compose(text) => self.lend(outside::compose(text)),
            Effect::Alert { .. } | Effect::KeepLevels(_) | Effect::Quit => Ok(()),
            // There is no local copy to forget it from, or to look into.
            Effect::Forget(_) | Effect::FindMentions(_) => Ok(()),
            // Performed by the network.
            Effect::Deliver(_) | Effect::Ask(_) | Effect::FetchPage { .. } | Effect::Mark { .. } => Ok(()),
            Effect::Typing(_) | Effect::Bring { .. } => Ok(()),
            // Answered before, and done by the desk.
            Effect::Search { .. } | Effect::Beside(_) => Ok(()),
        }
    }

    fn keep_levels(&mut self, server: Server, levels: &BTreeMap<Target, Level>) {
        if let Some(Err(error)) = self.stations[server.0].levels.as_ref().map(|kept| kept.save(levels)) {
            let why = SafeLine::new(&error.to_string());
            self.desk.hear(server, Input::Composed(Err(why)), Timestamp::now());
        }
    }

    /// Lets a program have the terminal.
    fn lend(&mut self, outside: Outside) -> io::Result<()> {
        if let Some(screen) = self.face.screen() {
            screen.lend();
            self.outside = Some(outside);
        }
        Ok(())
    }

    /// It has ended.
    fn back(&mut self, input: Input) -> Woken {
        let reclaimed = self.face.screen().map_or(Ok(()), Screen::reclaim);
        let size = reclaimed.and_then(|()| self.face.size());
        match size {
            Ok((columns, rows)) => match self.take(Input::Resize { columns, rows }) {
                Ok(()) => Woken::Input(Some(input)),
                Err(error) => Woken::Failed(error),
            },
            Err(error) => Woken::Failed(error),
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        self.face.draw(self.desk.seen(), self.look)?;
        let unread = self.desk.unread_code();
        if self.look.color {
            self.reader.ask(unread);
        }
        self.drawn_at = Instant::now();
        Ok(())
    }
}

/// A client of one server that knows nothing yet.
fn app(server: &Joined, settings: &Settings) -> App {
    let setup = Setup {
        server: server.server.clone(),
        zone: TimeZone::system(),
        new_id: Box::new(MessageId::generate),
    };
    let mut app = App::new(setup, Timestamp::now());
    if let Some(name) = server.local.as_deref().and_then(station::kept_name) {
        app.call_server(name);
    }
    app.prefer(Preferences {
        keys: settings.keys.clone(),
        keep: settings.keep,
        notify: settings.notify,
        levels: server.levels.as_ref().map(Levels::load).unwrap_or_default(),
        mouse: settings.mouse,
        typing: settings.typing,
        away_after_ms: u64::from(settings.away_after) * 60_000,
    });
    app
}

fn terminal_input(event: Option<io::Result<TerminalEvent>>) -> Woken {
    match event {
        None => Woken::End,
        Some(Err(error)) => Woken::Failed(error),
        Some(Ok(TerminalEvent::Key(event))) => Woken::Input(terminal::key(event).map(Input::Key)),
        Some(Ok(TerminalEvent::Paste(text))) => Woken::Input(Some(Input::Paste(text))),
        Some(Ok(TerminalEvent::Resize(columns, rows))) => Woken::Input(Some(Input::Resize { columns, rows })),
        Some(Ok(TerminalEvent::Mouse(event))) => Woken::Input(terminal::mouse(event)),
        Some(Ok(TerminalEvent::FocusGained)) => Woken::Input(Some(Input::Focus(true))),
        Some(Ok(TerminalEvent::FocusLost)) => Woken::Input(Some(Input::Focus(false))),
    }
}
