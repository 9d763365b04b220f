//! Several servers in one client.

use quip::app::plain::Narrator;
use quip::app::{Desk, Effect, Input, Loaded, Server};
use quip::view::{self, Look};
use quip_protocol::frame::Request;
use quip_protocol::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::gallery::links;
use crate::gallery::rooms::busy;
use crate::harness::*;

pub const HOME: Server = Server(0);
pub const WORK: Server = Server(1);

/// A desk with servers.
pub struct Servers {
    pub desk: Desk,
    worlds: Vec<World>,
    now: Timestamp,
    /// Everything that was wanted, in order.
    wanted: Vec<(Server, Effect)>,
}

impl Servers {
    pub fn of(mut worlds: Vec<World>) -> Servers {
        let now = worlds[0].now;
        let apps =
            worlds.iter_mut().map(|world| std::mem::replace(&mut world.app, World::new().app)).collect();
        Servers { desk: Desk::new(apps, HOME), worlds, now, wanted: Vec::new() }
    }

    pub fn connect(&mut self, server: Server) {
        self.server(server, World::connect);
    }

    /// Something happens at a server.
    pub fn server<T>(&mut self, server: Server, happens: impl FnOnce(&mut World) -> T) -> T {
        let world = &mut self.worlds[server.0];
        world.now = self.now;
        world.heard.clear();
        let happened = happens(world);
        for input in std::mem::take(&mut world.heard) {
            self.hear(server, input);
        }
        happened
    }

    fn hear(&mut self, server: Server, input: Input) {
        let done = self.desk.hear(server, input, self.now);
        self.perform(done);
    }

    pub fn input(&mut self, input: Input) {
        let done = self.desk.handle(input, self.now);
        self.perform(done);
    }

    fn perform(&mut self, done: Vec<(Server, Effect)>) {
        for (server, effect) in done {
            self.wanted.push((server, effect.clone()));
            let brings = self.server(server, |world| world.perform(effect));
            for input in brings {
                self.hear(server, input);
            }
        }
    }

    pub fn keys(&mut self, keys: &str) {
        for key in parse_keys(keys) {
            self.input(Input::Key(key));
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.input(Input::Tick);
    }

    fn screen(&mut self, columns: u16, rows: u16) -> String {
        self.input(Input::Resize { columns, rows });
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        let look = Look { color: true, light: false };
        terminal.draw(|frame| view::draw(frame, self.desk.seen(), look)).unwrap();
        text_of(&terminal)
    }

    /// Where the user is, as `home #general`.
    fn here(&self) -> String {
        let seen = self.desk.seen();
        let room = seen.app().rooms().current().map(|room| room.summary.target.to_string());
        format!("{} {}", seen.name(seen.current()), room.unwrap_or_default())
    }

    /// What was posted, where.
    fn posted(&self, server: Server) -> Vec<String> {
        let events = self.worlds[server.0].rooms.values().flat_map(|room| &room.events);
        let own = events.filter(|event| event.author == name("ann"));
        own.filter_map(Event::message).map(|message| message.text().to_owned()).collect()
    }
}

fn connected() -> Servers {
    links::two(World::new())
}

#[test]
fn one_server_alone_looks_as_ever() {
    let mut world = busy(World::new());
    world.connect();
    let alone = world.screen(80, 24);
    let mut servers = Servers::of(vec![busy(World::new())]);
    servers.connect(HOME);
    assert_eq!(servers.screen(80, 24), alone);
}

#[test]
fn keys_go_around_all_servers() {
    let mut servers = connected();
    let table = [
        ("<A-1>", "home #general"),
        ("<A-Down>", "home #house"),
        ("<A-Down><A-Down>", "work #general"),
        ("<A-Down><A-Down>", "home #general"),
        ("<A-Up>", "work #ops"),
        ("<A-4>", "work #general"),
        ("<A-3>", "home @bob"),
        ("<A-9>", "home @bob"),
        ("/server work<Enter>", "work #general"),
        ("/server 1<Enter>", "home @bob"),
        ("/server build.ex<Enter>", "work #general"),
        ("/server nowhere<Enter>", "work #general"),
    ];
    for (keys, here) in table {
        servers.keys(keys);
        assert_eq!(servers.here(), here, "{keys}");
    }
    let said = servers.desk.seen().app().said().map(|said| said.text.clone());
    assert_eq!(said.as_deref(), Some("nowhere is none of your servers; /servers lists them"));
}

#[test]
fn a_click_goes_to_a_room_of_any_server() {
    let mut servers = connected();
    servers.keys("<A-m>");
    let screen = servers.screen(80, 24);
    let y = screen.lines().position(|line| line.contains("#ops")).unwrap();
    servers.input(Input::Mouse { what: quip::app::input::Mouse::Click, x: 4, y: u16::try_from(y).unwrap() });
    assert_eq!(servers.here(), "work #ops");
    servers.keys("<A-m>");
    assert_eq!(servers.wanted.iter().filter(|(_, it)| *it == Effect::Mouse(false)).count(), 1, "all agree");
}

#[test]
fn what_needs_the_user_is_found_on_every_server() {
    let mut servers = connected();
    servers.server(HOME, |home| home.says(2, "bob", "@ann the roses bloom"));
    assert!(servers.screen(80, 24).contains("2 rooms need you"));
    servers.keys("<A-a>");
    assert_eq!(servers.here(), "home #house");
    servers.keys("<A-a>");
    assert_eq!(servers.here(), "work #ops");
    servers.keys("<A-a>");
    assert_eq!(servers.here(), "work #general", "unread is less than a mention");
    servers.keys("<A-a>");
    let said = servers.desk.seen().app().said().map(|said| said.text.clone());
    assert_eq!(said.as_deref(), Some("nothing is waiting for you"));
}

#[test]
fn what_is_written_goes_to_the_server_of_the_room() {
    let mut servers = connected();
    servers.keys("<A-4>half a");
    servers.keys("<A-1>for home<Enter>");
    servers.keys("<A-4> thought<Enter>/topic new<Enter>/create #lab<Enter>");
    assert_eq!(servers.posted(HOME), ["for home"]);
    assert_eq!(servers.posted(WORK), ["half a thought"]);
    let asked = |servers: &Servers, server| {
        let of =
            |it: &(Server, Effect)| it.0 == server && matches!(it.1, Effect::Ask(Request::SetTopic { .. }));
        servers.wanted.iter().filter(|it| of(it)).count()
    };
    assert_eq!((asked(&servers, HOME), asked(&servers, WORK)), (0, 1));
    // What was written and cut goes along.
    servers.keys("<A-1><C-p><C-p><C-p>");
    assert_eq!(servers.desk.app(HOME).composer().text(), "half a thought");
    servers.keys("<C-u><A-5><C-y>");
    assert_eq!(servers.desk.app(WORK).composer().text(), "half a thought");
}

#[test]
fn a_room_of_another_server_is_not_read_before_it_is_seen() {
    let mut servers = connected();
    servers.keys("<A-4><A-1>");
    servers.server(WORK, |work| work.says(1, "carl", "still there?"));
    servers.pass(60_000);
    let unread = |servers: &Servers| servers.desk.app(WORK).rooms().get(RoomId(1)).unwrap().summary.unread;
    assert_eq!(unread(&servers), 1);
    servers.keys("<A-$>");
    assert_eq!((servers.here().as_str(), unread(&servers)), ("work #general", 1), "it is looked at only");
    assert!(servers.screen(80, 24).contains("#general stays unread"));
    servers.keys("<A-1><A-4>");
    assert_eq!(unread(&servers), 0);
    assert!(servers.screen(80, 24).contains("── new ──"), "and it is seen what was new");
    servers.input(Input::Focus(false));
    servers.keys("<A-1>");
    servers.server(HOME, |home| home.says(1, "bob", "are you awake?"));
    let home = servers.desk.app(HOME).rooms().get(RoomId(1)).unwrap();
    assert_eq!(home.summary.unread, 1, "nobody looks at the window");
}

#[test]
fn members_are_asked_for_where_they_are_seen() {
    let mut servers = connected();
    servers.screen(120, 40);
    servers.wanted.clear();
    servers.pass(301_000);
    let asked = |it: &&(Server, Effect)| matches!(it.1, Effect::Ask(Request::Members { .. }));
    let of = |servers: &Servers| servers.wanted.iter().filter(asked).map(|it| it.0).collect::<Vec<_>>();
    assert_eq!(of(&servers), [HOME]);
    servers.keys("<A-4>");
    assert_eq!(of(&servers), [HOME, WORK]);
}

#[test]
fn alerts_name_the_server() {
    let mut servers = connected();
    servers.keys("<A-4><A-1>");
    servers.pass(10_000);
    servers.wanted.clear();
    servers.server(WORK, |work| work.says(1, "carl", "@ann look at this"));
    let alert = servers.wanted.iter().find_map(|(server, effect)| match effect {
        Effect::Alert { title, .. } => Some((*server, title.as_str().to_owned())),
        _ => None,
    });
    assert_eq!(alert, Some((WORK, "#general (work)".to_owned())));
    servers.hear(WORK, Input::Local(Err(SafeLine::new("its copy is in use"))));
    let said = servers.desk.seen().app().said().map(|said| said.text.clone());
    assert_eq!(said.as_deref(), Some("work: its copy is in use"));
}

#[test]
fn the_switcher_offers_all_rooms() {
    let mut servers = connected();
    servers.keys("<C-k>ops<Enter>");
    assert_eq!(servers.here(), "work #ops");
    servers.keys("<C-k>home<Enter>");
    assert!(servers.here().starts_with("home "), "a server's name fits to its rooms: {}", servers.here());
}

#[test]
fn mentions_of_all_servers_are_listed_and_gone_to() {
    let mut servers = connected();
    servers.keys("<A-n>");
    servers.keys("<Enter>");
    assert_eq!(servers.here(), "work #ops", "the newest is there");
    servers.keys("/mentions<Enter><Down><Enter>");
    assert_eq!(servers.here(), "home #house");
}

#[test]
fn a_search_finds_on_all_servers_and_comes_back() {
    let mut servers = connected();
    servers.keys("<A-2><C-f><C-f>good mor");
    servers.keys("<Down><Enter>");
    assert_eq!(servers.here(), "work #general");
    servers.keys("<Esc>");
    assert_eq!(servers.here(), "home #house");
    servers.keys("<C-f><C-f>morning");
    assert!(servers.screen(80, 24).contains("from work"));
    servers.keys("<C-f>");
    let screen = servers.screen(80, 24);
    assert!(screen.contains("no match") && !screen.contains("from work"), "this room alone: {screen}");
    servers.keys("<Esc>");
    servers.wanted.clear();
    servers.keys("<C-f>roses");
    let asked = |it: &&(Server, Effect)| matches!(it.1, Effect::Search { .. });
    assert!(servers.wanted.iter().filter(asked).all(|(server, _)| *server == HOME), "this room alone");
}

#[test]
fn one_that_cannot_be_searched_hides_nothing() {
    let mut servers = connected();
    servers.worlds.iter_mut().for_each(|world| world.slow = true);
    servers.keys("<C-f><C-f>morning");
    let queries: Vec<_> = servers
        .wanted
        .iter()
        .filter_map(|(server, effect)| match effect {
            Effect::Search { query, .. } => Some((*server, query.clone())),
            _ => None,
        })
        .collect();
    let (_, query) = queries.last().unwrap().clone();
    let found = servers.worlds[WORK.0].found(query.clone(), 10);
    servers.hear(WORK, found);
    servers.hear(HOME, Input::Found { query, found: Err(SafeLine::new("it is damaged")), remaining: 0 });
    let screen = servers.screen(80, 24);
    assert!(screen.contains("good morning from work") && !screen.contains("damaged"), "{screen}");
}

#[test]
fn rooms_of_all_servers_are_peeked_at() {
    let mut servers = connected();
    servers.keys("/peek #ops<Enter>");
    assert_eq!(servers.here(), "work #ops");
    servers.keys("/peek #nowhere<Enter>");
    let said = servers.desk.seen().app().said().map(|said| said.text.clone());
    assert_eq!(said.as_deref(), Some("you are not in #nowhere"));
}

#[test]
fn one_that_is_down_keeps_what_is_written_and_disturbs_nobody() {
    let mut servers = connected();
    servers.server(WORK, |work| work.lose(3_000));
    servers.keys("<A-5>later<Enter><A-1>now<Enter>");
    assert_eq!((servers.posted(HOME), servers.posted(WORK)), (vec!["now".to_owned()], vec![]));
    assert_eq!(servers.desk.waiting(), 1);
    assert!(servers.screen(80, 24).contains("connected to home"));
    servers.connect(WORK);
    assert_eq!((servers.posted(WORK), servers.desk.waiting()), (vec!["later".to_owned()], 0));
}

#[test]
fn leaving_asks_where_another_server_would_lose_something() {
    for keeps in [true, false] {
        let mut servers = connected();
        if keeps {
            servers.hear(WORK, Input::Local(Ok(Loaded { me: Some(name("ann")), ..Loaded::default() })));
        }
        servers.server(WORK, |work| work.lose(3_000));
        servers.keys("<A-5>later<Enter><A-1><C-q>");
        let quits = |servers: &Servers| servers.wanted.iter().any(|(_, it)| *it == Effect::Quit);
        assert_eq!(quits(&servers), keeps);
        servers.keys("<C-q>");
        assert!(quits(&servers));
    }
}

#[test]
fn servers_of_one_name_are_told_apart_by_address() {
    let mut one = World::named("a.example", "quip");
    one.host(1, "#general", "");
    let mut other = World::named("b.example:7000", "quip");
    other.host(1, "#general", "");
    let mut servers = Servers::of(vec![one, other]);
    servers.connect(HOME);
    servers.connect(WORK);
    servers.keys("<A-2>");
    assert_eq!(servers.here(), "b.example:7000 #general");
    let screen = servers.screen(80, 24);
    assert!(
        screen.contains("a.example:7847") && screen.contains("Message #general (b.example:7000)"),
        "{screen}"
    );
    servers.keys("/server a.e<Enter>");
    assert_eq!(servers.here(), "a.example:7847 #general");
}

/// As a node of a cluster.
fn node(name: &str) -> NodeSummary {
    let (address, fingerprint) = (Address::new(name, 1).unwrap(), Fingerprint([1; 32]));
    let node = NodeAddress { name: name.parse().unwrap(), address, fingerprint };
    NodeSummary { node, connections: 1, draining: false }
}

#[test]
fn the_list_of_servers_says_on_which_node_one_is_and_which_server_is_read_only() {
    let mut servers = links::unconnected();
    servers.server(HOME, |world| world.nodes = vec![node("a"), node("b")]);
    servers.connect(HOME);
    servers.connect(WORK);
    servers.hear(WORK, Input::ReadOnly(SafeLine::new("the disk is full")));
    servers.keys("/servers<Enter>");
    let words = |servers: &mut Servers| {
        let screen = servers.screen(120, 40);
        screen.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let said = words(&mut servers);
    assert!(said.contains("connected to home · node a of 2"), "{said}");
    assert!(said.contains("read-only since 14:30: the disk is full; what you send waits"), "{said}");
    servers.keys("<Esc>");
    servers.hear(HOME, Input::Nodes(vec![node("c"), node("a"), node("b")]));
    servers.hear(WORK, Input::Writable);
    servers.keys("/servers<Enter>");
    let said = words(&mut servers);
    assert!(said.contains("node c of 3") && !said.contains("read-only"), "{said}");
}

#[test]
fn plain_mode_tells_of_all_servers() {
    let mut servers = links::unconnected();
    let mut narrator = Narrator::default();
    servers.connect(HOME);
    let begin = narrator.news(servers.desk.seen());
    assert_eq!(begin[..2], ["-- connected to home", "-- connecting to build.example:7847"]);
    servers.connect(WORK);
    assert_eq!(narrator.news(servers.desk.seen()), ["-- connected to work"]);
    servers.input(Input::Line("/server work".to_owned()));
    let came = narrator.news(servers.desk.seen());
    assert_eq!(came[0], "-- #ops", "{came:?}");
    servers.input(Input::Line("on it".to_owned()));
    assert_eq!(narrator.news(servers.desk.seen()), ["14:30 ann: on it"]);
    assert_eq!(servers.posted(WORK), ["on it"]);
    servers.input(Input::Line("/next".to_owned()));
    let came = narrator.news(servers.desk.seen());
    assert_eq!(came[0], "-- #general (work): where we work", "{came:?}");
    servers.server(HOME, |home| home.lose(1_000));
    assert_eq!(
        narrator.news(servers.desk.seen()),
        ["-- offline from home: timed out; what you write waits, and is lost if this client ends"]
    );
}

#[test]
fn a_refused_message_is_not_selected_any_more_when_one_comes_back() {
    let mut servers = connected();
    servers.worlds[0].refuse = Some(Refusal::new(ErrorCode::Forbidden, "you may not write here"));
    servers.keys("a thought<Enter><A-k>");
    assert!(servers.desk.app(HOME).is_refused_selected());
    servers.keys("/server work<Enter>/server home<Enter>done");
    assert_eq!(servers.desk.app(HOME).composer().text(), "done", "d does not drop it");
    assert!(!servers.wanted.iter().any(|(_, effect)| matches!(effect, Effect::Forget(_))));
}

#[test]
fn tiny_terminals() {
    let mut servers = connected();
    for columns in 0..90 {
        for rows in 0..12 {
            servers.screen(columns, rows);
            servers.keys("<A-Down>");
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, ..Default::default() })]

    /// Whatever one does between: each line arrives once, in order, on the server where it was written.
    #[test]
    fn every_line_arrives_where_it_was_written(steps in proptest::collection::vec(0..16_u8, 1..60)) {
        const KEYS: [&str; 9] = [
            "<A-Up>", "<A-Down>", "<A-a>", "<C-k><Down><Enter>", "<A-n><Enter>", "<A-n><Esc>",
            "<C-f><C-f>morning<Down><Enter>", "<Esc>", "/server work<Enter>",
        ];
        let mut servers = connected();
        let mut written = [Vec::new(), Vec::new()];
        for (number, step) in steps.into_iter().enumerate() {
            let server = Server(number % 2);
            match step {
                0..9 => servers.keys(KEYS[usize::from(step)]),
                9 => servers.server(server, |world| world.lose(1_000)),
                10 => servers.connect(server),
                11 => drop(servers.server(server, |world| world.says(1, "bob", "@ann hello"))),
                12 => servers.input(Input::Focus(number % 3 > 0)),
                _ => {
                    let line = format!("line {number}");
                    servers.keys(&format!("<Esc><Esc><C-u>{line}<Enter>"));
                    written[servers.desk.current().0].push(line);
                }
            }
            servers.screen(80, 24);
        }
        servers.connect(HOME);
        servers.connect(WORK);
        let sorted = |mut lines: Vec<String>| { lines.sort(); lines };
        for (server, written) in [HOME, WORK].into_iter().zip(written) {
            proptest::prop_assert_eq!(sorted(servers.posted(server)), sorted(written));
        }
        proptest::prop_assert_eq!(servers.desk.waiting(), 0);
    }
}
