//! Everything that the client can show, in one table: what is looked at here is looked at by all that checks screens.
//! Each has a snapshot that holds it at each size, with the styles of each theme.

pub mod asked;
mod contrast;
pub mod links;
mod print;
pub mod rooms;

use quip::app::Input;
use quip::app::first_run::FirstRunScreen;
use quip::app::plain::Narrator;
use quip::view::{self, Look};
use ratatui::{Frame, Terminal, backend::TestBackend};

use crate::harness::World;
use crate::servers::Servers;

/// Columns and rows of a terminal that one can hardly use, and of three that people have.
pub const SIZES: [(u16, u16); 4] = [(10, 3), (40, 10), (80, 24), (120, 40)];

pub const DARK: Look = Look { color: true, light: false };
pub const LIGHT: Look = Look { color: true, light: true };
pub const PLAIN: Look = Look { color: false, light: false };
pub const PLAIN_LIGHT: Look = Look { color: false, light: true };

/// What is on the screen.
pub enum Shown {
    One(Box<World>),
    Several(Box<Servers>),
    First(Box<FirstRunScreen>),
}

impl From<World> for Shown {
    fn from(world: World) -> Shown {
        Shown::One(Box::new(world))
    }
}

impl From<Servers> for Shown {
    fn from(servers: Servers) -> Shown {
        Shown::Several(Box::new(servers))
    }
}

impl From<FirstRunScreen> for Shown {
    fn from(screen: FirstRunScreen) -> Shown {
        Shown::First(Box::new(screen))
    }
}

impl Shown {
    /// A scene on a screen of this size, its code read, begun with `world`.
    pub fn at((columns, rows): (u16, u16), mut world: World, scene: Scene) -> Shown {
        world.input(Input::Resize { columns, rows });
        let mut shown = scene(world);
        if let Shown::One(world) = &mut shown {
            // What is laid out is read.
            let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
            terminal.draw(|frame| view::draw(frame, &world.app, DARK)).unwrap();
            crate::colours::read(world);
        }
        shown.resize((columns, rows));
        shown
    }

    pub fn resize(&mut self, (columns, rows): (u16, u16)) {
        match self {
            Shown::One(world) => world.input(Input::Resize { columns, rows }),
            Shown::Several(servers) => servers.input(Input::Resize { columns, rows }),
            Shown::First(_) => {}
        }
    }

    pub fn draw(&self, frame: &mut Frame<'_>, look: Look) {
        match self {
            Shown::One(world) => view::draw(frame, &world.app, look),
            Shown::Several(servers) => view::draw(frame, servers.desk.seen(), look),
            Shown::First(screen) => view::first_run::draw(frame, screen, look),
        }
    }

    /// What `--plain` says of it.
    pub fn told(&self) -> Vec<String> {
        match self {
            Shown::One(world) => Narrator::default().news(&world.app),
            Shown::Several(servers) => Narrator::default().news(servers.desk.seen()),
            Shown::First(_) => Vec::new(),
        }
    }
}

/// Leads a world to something that is seen.
pub type Scene = fn(World) -> Shown;

macro_rules! scenes {
    ($($name:ident: $scene:expr,)*) => {
        /// All there is to see.
        pub const TABLE: &[(&str, Scene)] = &[$((stringify!($name), |world| $scene(world).into())),*];

        mod looks_as_before {
            $(#[test] fn $name() {
                super::check(stringify!($name));
            })*
        }

        mod is_not_steered_from_outside {
            $(#[test] fn $name() {
                crate::hostile::check(stringify!($name), super::scene(stringify!($name)));
            })*
        }
    };
}

scenes! {
    // Messages, lists and the composer.
    busy: rooms::opened,
    empty: rooms::empty,
    many: rooms::many,
    wide: rooms::wide,
    scrolled: rooms::scrolled,
    hole: rooms::hole,
    lost: rooms::lost,
    noise: rooms::noise,
    happenings: rooms::happenings,
    code: rooms::code,
    odd: crate::hostile::odd,
    folded: rooms::folded,
    unfolded: rooms::unfolded,
    selected: rooms::selected,
    replying: rooms::replying,
    editing: rooms::editing,
    composer: rooms::composer,
    too_long: rooms::too_long,
    refused: rooms::refused,
    refused_selected: rooms::refused_selected,
    peeking: rooms::peeking,
    typing: rooms::typing,
    away_direct: rooms::away_direct,
    archived: rooms::archived,
    // What is asked, offered and laid over.
    switcher: asked::switcher,
    switcher_typed: asked::switcher_typed,
    recall: asked::recall,
    mentions: asked::mentions,
    sure: asked::sure,
    search: asked::search,
    search_room: asked::search_room,
    search_all: asked::search_all,
    search_none: asked::search_none,
    search_wrong: asked::search_wrong,
    search_jumped: asked::search_jumped,
    completion_commands: asked::completion_commands,
    completion_usage: asked::completion_usage,
    completion_nicks: asked::completion_nicks,
    completion_emoji: asked::completion_emoji,
    completion_levels: asked::completion_levels,
    help: asked::help,
    help_end: asked::help_end,
    thread: asked::thread,
    edits: asked::edits,
    members: asked::members,
    whois: asked::whois,
    public_rooms: asked::public_rooms,
    list: asked::list,
    invite: asked::invite,
    welcome: asked::welcome,
    // The link, several servers, and the first screen.
    connecting: links::connecting,
    connecting_long: links::connecting_long,
    no_rooms: links::no_rooms,
    offline: links::offline,
    suspended: links::suspended,
    catching_up: links::catching_up,
    held_up: links::held_up,
    read_only: links::read_only,
    away: links::away,
    said: links::said,
    two: links::two,
    one_down: links::one_down,
    one_connecting: links::one_connecting,
    servers: links::servers,
    list_two: links::list_two,
    switcher_two: links::switcher_two,
    mentions_two: links::mentions_two,
    search_two: links::search_two,
    first_run: links::first_run,
    first_run_link: links::first_run_link,
    first_run_name: links::first_run_name,
}

fn scene(name: &str) -> Scene {
    TABLE.iter().find(|(known, _)| *known == name).unwrap().1
}

/// Compares with the snapshot of this name.
fn check(name: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, print::sheet(scene(name))));
}

#[test]
fn every_snapshot_is_of_something_in_the_table() {
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tui/gallery/snapshots")).unwrap();
    let mut kept: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    // What is new and not accepted yet lies beside it.
    kept.retain(|name| name.ends_with(".snap"));
    kept.sort();
    let mut known: Vec<String> = TABLE.iter().map(|(name, _)| format!("{name}.snap")).collect();
    known.sort();
    assert_eq!(kept, known);
}
