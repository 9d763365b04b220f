//! Several servers in one client: an [`App`] for each, and which of them the user is at. It hands on what happens, goes
//! from room to room over all of them, and says for which server something is to be done. PURE. Imports the app.

mod beside;
mod seen;

use quip_protocol::{RoomId, SafeLine, Timestamp};

use super::input::Mouse;
use super::prompt::{Kind, Prompt};
use super::{App, Effect, Input, Said, words};

pub use beside::{Beside, Elsewhere};
pub use seen::Seen;

/// One of the servers, by its place on the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server(pub usize);

/// What is to be done, and for which server.
pub type Done = Vec<(Server, Effect)>;

/// All servers of the user, at one of which they are.
#[derive(Debug)]
pub struct Desk {
    apps: Vec<App>,
    current: usize,
    /// The terminal's window is looked at.
    focused: bool,
    /// Of so many deliveries to other servers the user was told that quitting would lose them.
    told: usize,
}

impl Desk {
    /// A desk with these servers, at the one that is `current`.
    ///
    /// # Panics
    /// When there are none.
    pub fn new(mut apps: Vec<App>, current: Server) -> Desk {
        assert!(current.0 < apps.len(), "the current server is one of them");
        let several = apps.len() > 1;
        for (place, app) in apps.iter_mut().enumerate() {
            app.beside = several;
            // What is not in sight is not read, and calls.
            app.focused = place == current.0;
        }
        Desk { apps, current: current.0, focused: true, told: 0 }
    }

    /// What is seen of it.
    pub fn seen(&self) -> Seen<'_> {
        Seen::of(&self.apps, self.current)
    }

    /// Where the user is.
    pub fn current(&self) -> Server {
        Server(self.current)
    }

    /// The server at this place.
    pub fn app(&self, server: Server) -> &App {
        &self.apps[server.0]
    }

    /// All servers.
    pub fn servers(&self) -> impl Iterator<Item = Server> + use<> {
        (0..self.apps.len()).map(Server)
    }

    /// Takes what the user or the clock did at `now`.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Done {
        let mut done = self.keep_awake(&input, now);
        done.extend(self.act_on(input, now));
        done
    }

    /// Who does something at one server is not away at the others.
    fn keep_awake(&mut self, input: &Input, now: Timestamp) -> Done {
        let others: Vec<Server> = self.servers().filter(|server| *server != self.current()).collect();
        let wake = |server: Server| {
            let effects = self.apps[server.0].user_is_beside(input, now);
            effects.into_iter().map(move |effect| (server, effect))
        };
        others.into_iter().flat_map(wake).collect()
    }

    /// The code of the messages in sight that was not read yet.
    pub fn unread_code(&mut self) -> Vec<String> {
        self.apps[self.current].unread_code()
    }

    fn act_on(&mut self, input: Input, now: Timestamp) -> Done {
        match input {
            Input::Tick | Input::Resize { .. } => {
                self.servers().flat_map(|server| self.give(server, input.clone(), now)).collect()
            }
            Input::Focus(focused) => {
                self.focused = focused;
                self.give(self.current(), input, now)
            }
            Input::Mouse { what: Mouse::Click, x, y } => match self.clicked(x, y) {
                Some((server, room)) => self.go(server, now, |app| {
                    app.prompt = None;
                    app.show(room);
                }),
                None => self.give(self.current(), input, now),
            },
            other => {
                let before = self.asked();
                let mut done = self.give(self.current(), other, now);
                done.extend(self.complete(before, now));
                done
            }
        }
    }

    /// Takes what came from `server`, or from its files.
    pub fn hear(&mut self, server: Server, input: Input, now: Timestamp) -> Done {
        if server == self.current() {
            return self.give(server, input, now);
        }
        match input {
            Input::Found { query, found, remaining } => {
                if self.searches_all() {
                    let from = Some(self.elsewhere(server));
                    self.apps[self.current].hits(from, &query, found, remaining);
                }
                Vec::new()
            }
            Input::Mentions(found) => {
                self.offer_mentions(server, found);
                Vec::new()
            }
            Input::Indexed => self.look_again(server),
            other => {
                let is_page = matches!(other, Input::Page { .. });
                let said = self.apps[server.0].said.clone();
                let done = self.give(server, other, now);
                self.repeat(server, said);
                if is_page && self.asked() == Some(Asked::Mentions) {
                    let found = self.apps[server.0].mentioning();
                    self.offer_mentions(server, found);
                }
                done
            }
        }
    }

    /// Whether what is seen may have changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        self.apps.iter_mut().fold(false, |changed, app| app.take_changed() | changed)
    }

    /// How many deliveries wait for their servers.
    pub fn waiting(&self) -> usize {
        self.apps.iter().map(App::waiting).sum()
    }

    fn give(&mut self, server: Server, input: Input, now: Timestamp) -> Done {
        let effects = self.apps[server.0].handle(input, now);
        effects.into_iter().flat_map(|effect| self.pass(server, effect, now)).collect()
    }

    /// Takes of an effect what concerns the other servers too.
    fn pass(&mut self, server: Server, effect: Effect, now: Timestamp) -> Done {
        match effect {
            Effect::Beside(what) => self.beside(what, now),
            Effect::Alert { title, text } if self.apps.len() > 1 => {
                let title = SafeLine::new(&self.elsewhere(server).label(&title));
                vec![(server, Effect::Alert { title, text })]
            }
            Effect::Mouse(ours) => {
                self.apps.iter_mut().for_each(|app| app.preferences.mouse = ours);
                vec![(server, Effect::Mouse(ours))]
            }
            Effect::Search { query, most } if self.searches_all() => {
                let ask = |server| (server, Effect::Search { query: query.clone(), most });
                self.servers().map(ask).collect()
            }
            Effect::Quit => self.quit(server),
            other => vec![(server, other)],
        }
    }

    /// Asks once more if something for another server would be lost.
    fn quit(&mut self, server: Server) -> Done {
        let others = self.apps.iter().enumerate().filter(|(place, _)| *place != self.current);
        let waiting = others.filter(|(_, app)| !app.local).map(|(_, app)| app.waiting()).sum();
        if waiting <= self.told {
            return vec![(server, Effect::Quit)];
        }
        self.told = waiting;
        let what = words::counted(waiting as u64, "message");
        self.apps[self.current].complain(format!(
            "{what} for other servers not delivered yet (/servers says which); quit again to leave all the same"
        ));
        Vec::new()
    }

    /// Goes to a server, and does something there.
    fn go(&mut self, to: Server, now: Timestamp, enter: impl FnOnce(&mut App)) -> Done {
        let from = self.current();
        let mut done = Vec::new();
        if from != to {
            let left = &mut self.apps[from.0];
            left.leave();
            let (history, cut) = (std::mem::take(&mut left.history), std::mem::take(&mut left.cut));
            done = self.give(from, Input::Focus(false), now);
            self.current = to.0;
            self.apps[to.0].arrive(history, cut);
        }
        let app = &mut self.apps[to.0];
        app.now = now;
        enter(app);
        done.extend(self.give(to, Input::Focus(self.focused), now));
        done
    }

    fn clicked(&self, x: u16, y: u16) -> Option<(Server, RoomId)> {
        let app = &self.apps[self.current];
        (app.beside && app.sheet.is_none()).then(|| self.seen().at(x, y)).flatten()
    }

    /// The user is told what another server said.
    fn repeat(&mut self, server: Server, before: Option<Said>) {
        let app = &mut self.apps[server.0];
        if app.said.is_none() || app.said == before {
            return;
        }
        let (Some(said), name) = (app.said.take(), self.seen().name(server)) else { return };
        let current = &mut self.apps[self.current];
        if current.said.as_ref().is_none_or(|said| !said.is_error) {
            current.said = Some(Said { text: format!("{name}: {}", said.text), ..said });
            current.changed = true;
        }
    }

    fn elsewhere(&self, server: Server) -> Elsewhere {
        Elsewhere { server, name: self.seen().name(server) }
    }
}

/// What the user is asked that is about all servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Room,
    Mentions,
    Search,
}

impl Desk {
    fn asked(&self) -> Option<Asked> {
        match &self.apps[self.current].prompt.as_ref()?.kind {
            Kind::Switch(..) => Some(Asked::Room),
            Kind::Mentions(..) => Some(Asked::Mentions),
            Kind::Search(_) => Some(Asked::Search),
            _ => None,
        }
    }

    fn others(&self) -> impl Iterator<Item = Server> + use<> {
        let current = self.current();
        self.servers().filter(move |server| *server != current)
    }

    /// Adds what the other servers have to a question that was just asked.
    fn complete(&mut self, before: Option<Asked>, now: Timestamp) -> Done {
        match self.asked().filter(|asked| before != Some(*asked)) {
            Some(Asked::Room) => {
                let choices = self.others().flat_map(|server| self.seen().choices(server)).collect();
                if let Some(prompt) = &mut self.apps[self.current].prompt {
                    prompt.add_rooms(choices);
                }
                Vec::new()
            }
            Some(Asked::Mentions) => {
                self.others().flat_map(|server| self.find_mentions(server, now)).collect()
            }
            Some(Asked::Search) | None => Vec::new(),
        }
    }

    fn find_mentions(&mut self, server: Server, now: Timestamp) -> Done {
        let app = &mut self.apps[server.0];
        app.now = now;
        app.find_mentions();
        let (found, effects) = (app.mentioning(), std::mem::take(&mut app.effects));
        self.offer_mentions(server, found);
        effects.into_iter().map(|effect| (server, effect)).collect()
    }

    fn offer_mentions(&mut self, server: Server, mut found: Vec<super::mentions::Mention>) {
        let from = self.elsewhere(server);
        found.retain(|mention| self.apps[server.0].rooms.get(mention.room).is_some());
        found.iter_mut().for_each(|mention| mention.elsewhere = Some(from.clone()));
        self.apps[self.current].mentions_came(found);
    }

    /// What is looked for now, if it is not in one room.
    fn searched(&self) -> Option<&super::search::Search> {
        match &self.apps[self.current].prompt {
            Some(Prompt { kind: Kind::Search(search), .. }) if search.scope.is_none() => Some(search),
            _ => None,
        }
    }

    fn searches_all(&self) -> bool {
        self.searched().is_some()
    }

    /// The index of another server has more now.
    fn look_again(&self, server: Server) -> Done {
        let search = self.searched().filter(|search| !search.query.is_empty());
        search.map(|search| (server, search.effect())).into_iter().collect()
    }
}

impl App {
    /// The user goes to another server.
    fn leave(&mut self) {
        (self.completion, self.prompt, self.sheet, self.jump) = (None, None, None, None);
        (self.prefixed, self.peeking, self.quit_asked) = (false, false, false);
        self.picked = None;
        if let Some(room) = self.rooms.current_mut() {
            (room.unread_line, room.selected) = (None, None);
        }
    }

    /// The user comes, with the lines written before and what was cut.
    fn arrive(&mut self, mut history: super::composer::History, cut: String) {
        // What came back from the server meanwhile.
        self.history.lines().for_each(|line| history.push(line));
        (self.history, self.cut, self.sheet) = (history, cut, None);
        if let Some(room) = self.rooms.current_mut() {
            room.unread_line = (room.summary.unread > 0).then_some(room.summary.read);
        }
    }
}
