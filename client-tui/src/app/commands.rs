//! Slash commands: one table, from which parser, completion and help come. Imports types of the protocol alone.

use quip_protocol::{AccountName, Role, RoomName, SafeLine, SafeText, Target};

use super::alerts::Level;

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Enter a room.
    Join(RoomName),
    /// Leave the room.
    Part,
    /// Open the direct room, and say something if there is something to say.
    Msg(AccountName, SafeText),
    /// Do something.
    Me(SafeText),
    /// Show the topic, or set it.
    Topic(Option<SafeLine>),
    /// Make others members; nobody named makes a link for someone who has no account yet.
    Invite(Vec<AccountName>),
    /// Remove a member.
    Kick(AccountName, SafeLine),
    /// Give a member a role.
    Role(AccountName, Role),
    /// Change the selected or the last own message; without a text, take it into the composer.
    Edit(SafeText),
    /// Delete the selected or the last own message.
    Delete,
    /// React to the selected or the last message, or take the reaction back.
    React(SafeLine),
    /// Answer the selected or the last message of someone else; without a text, from the composer.
    Reply(SafeText),
    /// Say what of this room calls the user, or show it.
    Notify(Option<Level>),
    /// Show the thread of the selected or the last answered message.
    Thread,
    /// Show what the selected or the last edited message said before.
    Edits,
    /// Make a room.
    Create(RoomName, bool, SafeLine),
    /// Show which messages name the user.
    Mentions,
    /// Go to the next room that needs the user.
    Next,
    /// Show the rooms the user is in, and what is unread there.
    List,
    /// Go to another server.
    Server(String),
    /// Show the servers and how they are.
    Servers,
    /// Look at a room without reading it.
    Peek(Target),
    /// The selected or the last message of someone else is unread again.
    Unread,
    /// Show the members.
    Members,
    /// Show what is known of an account.
    WhoIs(AccountName),
    /// Be away, or back.
    Away(SafeLine),
    /// Show public rooms.
    Rooms,
    /// Look for messages in all rooms.
    Search(String),
    /// Send a refused message again.
    Resend,
    /// Forget a refused message.
    Drop,
    /// Archive the room.
    Archive,
    /// Show keys and commands, or one command.
    Help(Option<&'static Entry>),
    /// End the program.
    Quit,
}

/// What the words behind a command are, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Nothing to complete.
    Nothing,
    /// Accounts.
    Accounts,
    /// Rooms.
    Rooms,
    /// An account, then a role.
    AccountAndRole,
    /// Emoji.
    Emoji,
    /// What calls the user.
    Levels,
}

/// One command of the table.
#[derive(Debug)]
pub struct Entry {
    /// Its name, without the slash.
    pub name: &'static str,
    /// Another name for it, or nothing.
    pub alias: &'static str,
    /// What follows it, for people.
    pub words: &'static str,
    /// What it does, for people.
    pub help: &'static str,
    /// What completion offers behind it.
    pub complete: Words,
    parse: fn(&str) -> Result<Command, String>,
}

impl Entry {
    /// How it is written, and what it does.
    pub fn usage(&self) -> String {
        let alias = if self.alias.is_empty() { String::new() } else { format!(" (/{} too)", self.alias) };
        let written = format!("/{} {}", self.name, self.words);
        format!("{}: {}{alias}", written.trim_end(), self.help)
    }
}

/// There is one of each name.
impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.name == other.name
    }
}

impl Eq for Entry {}

const fn entry(
    name: &'static str,
    words: &'static str,
    help: &'static str,
    complete: Words,
    parse: fn(&str) -> Result<Command, String>,
) -> Entry {
    Entry { name, alias: "", words, help, complete, parse }
}

const fn with_alias(alias: &'static str, entry: Entry) -> Entry {
    Entry { alias, ..entry }
}

/// All commands, in the order of the help.
pub const TABLE: &[Entry] = &[
    with_alias(
        "j",
        entry("join", "#room", "enter a public room", Words::Rooms, |w| one(w, "#room").map(Command::Join)),
    ),
    with_alias("leave", entry("part", "", "leave this room", Words::Nothing, |w| none(w, Command::Part))),
    with_alias("m", entry("msg", "@user [text]", "talk to someone directly", Words::Accounts, msg)),
    entry("create", "#room [--private] [topic]", "make a room", Words::Nothing, create),
    entry("rooms", "", "list public rooms", Words::Nothing, |w| none(w, Command::Rooms)),
    entry(
        "search",
        "words from:@user in:#room after:2d",
        "find messages of all rooms",
        Words::Nothing,
        |w| Ok(Command::Search(w.to_owned())),
    ),
    entry("topic", "[text]", "show or set the topic", Words::Nothing, |w| {
        Ok(Command::Topic((!w.is_empty()).then(|| SafeLine::new(w))))
    }),
    entry(
        "invite",
        "[@user …]",
        "bring members in; alone, make a link for a newcomer",
        Words::Accounts,
        |w| w.split_whitespace().map(parsed).collect::<Result<_, _>>().map(Command::Invite),
    ),
    entry("kick", "@user [why]", "remove a member", Words::Accounts, |w| {
        let (who, why) = split(w);
        Ok(Command::Kick(one(who, "@user")?, SafeLine::new(why)))
    }),
    entry("role", "@user reader|member|moderator|owner", "give a role", Words::AccountAndRole, role),
    with_alias(
        "who",
        entry("members", "", "list the members", Words::Nothing, |w| none(w, Command::Members)),
    ),
    entry("whois", "@user", "show an account", Words::Accounts, |w| one(w, "@user").map(Command::WhoIs)),
    entry("away", "[why]", "say that you are away, or back", Words::Nothing, |w| {
        Ok(Command::Away(SafeLine::new(w)))
    }),
    entry("list", "", "list your rooms and what is unread", Words::Nothing, |w| none(w, Command::List)),
    entry("next", "", "go to the next room that needs you", Words::Nothing, |w| none(w, Command::Next)),
    entry("peek", "#room", "look at a room of yours, which stays unread", Words::Rooms, |w| {
        one(w, "#room or @user").map(Command::Peek)
    }),
    entry("server", "name", "go to another server of yours", Words::Nothing, |w| match w {
        "" => Err("its name is missing".to_owned()),
        word => Ok(Command::Server(word.to_owned())),
    }),
    entry("servers", "", "list your servers and how they are", Words::Nothing, |w| none(w, Command::Servers)),
    entry("unread", "", "make the selected message and those below unread", Words::Nothing, |w| {
        none(w, Command::Unread)
    }),
    entry("mentions", "", "messages that name you, in all rooms", Words::Nothing, |w| {
        none(w, Command::Mentions)
    }),
    entry("me", "text", "say what you do", Words::Nothing, |w| said(w).map(Command::Me)),
    with_alias(
        "r",
        entry("reply", "[text]", "answer the selected or last message", Words::Nothing, |w| {
            Ok(Command::Reply(SafeText::new(w)))
        }),
    ),
    entry("notify", "[all|mentions|none]", "what of this room calls you", Words::Levels, |w| match w {
        "" => Ok(Command::Notify(None)),
        word => one::<Level>(word, "a level").map(|level| Command::Notify(Some(level))),
    }),
    entry("thread", "", "show the selected message and its answers", Words::Nothing, |w| {
        none(w, Command::Thread)
    }),
    entry("react", "emoji", "react to it, or take the reaction back", Words::Emoji, react),
    entry("edit", "[text]", "change the selected or your last message", Words::Nothing, |w| {
        Ok(Command::Edit(SafeText::new(w)))
    }),
    entry("edits", "", "show what the selected message said before", Words::Nothing, |w| {
        none(w, Command::Edits)
    }),
    entry("delete", "", "delete the selected or your last message", Words::Nothing, |w| {
        none(w, Command::Delete)
    }),
    entry("resend", "", "send the selected or last refused message again", Words::Nothing, |w| {
        none(w, Command::Resend)
    }),
    entry("drop", "", "drop the selected or last refused message", Words::Nothing, |w| {
        none(w, Command::Drop)
    }),
    entry("archive", "", "end writing in this room", Words::Nothing, |w| none(w, Command::Archive)),
    with_alias("?", entry("help", "[command]", "show this, or one command", Words::Nothing, help)),
    with_alias("q", entry("quit", "", "end quip", Words::Nothing, |w| none(w, Command::Quit))),
];

/// The entry of this name, without the slash.
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name || (!name.is_empty() && entry.alias == name))
}

/// Whether the line is a command; `//` begins a message that begins with a slash.
pub fn is_command(line: &str) -> bool {
    line.starts_with('/') && !line.starts_with("//")
}

/// Reads a line that begins with `/`.
///
/// # Errors
/// One line for the user: what is wrong, and how it is written.
pub fn parse(line: &str) -> Result<Command, String> {
    let (name, words) = split(line.strip_prefix('/').unwrap_or(line));
    let entry = find(&name.to_ascii_lowercase()).ok_or_else(|| {
        format!("/{name} is no command; /help lists them, // begins a message with a slash")
    })?;
    (entry.parse)(words.trim()).map_err(|why| format!("{why}: /{} {}", entry.name, entry.words))
}

fn split(words: &str) -> (&str, &str) {
    let words = words.trim_start();
    words.split_once(char::is_whitespace).map_or((words, ""), |(first, rest)| (first, rest.trim_start()))
}

fn none(words: &str, command: Command) -> Result<Command, String> {
    if words.is_empty() { Ok(command) } else { Err("nothing follows it".to_owned()) }
}

fn said(words: &str) -> Result<SafeText, String> {
    if words.is_empty() { Err("a text is missing".to_owned()) } else { Ok(SafeText::new(words)) }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|why: T::Err| why.to_string())
}

fn one<T: std::str::FromStr<Err: std::fmt::Display>>(words: &str, what: &str) -> Result<T, String> {
    match split(words) {
        ("", _) => Err(format!("{what} is missing")),
        (word, "") => parsed(word),
        _ => Err("one word follows it".to_owned()),
    }
}

fn help(words: &str) -> Result<Command, String> {
    let name = words.strip_prefix('/').unwrap_or(words).to_ascii_lowercase();
    if name.is_empty() {
        return Ok(Command::Help(None));
    }
    find(&name).map(|entry| Command::Help(Some(entry))).ok_or_else(|| format!("/{name} is no command"))
}

fn msg(words: &str) -> Result<Command, String> {
    let (who, text) = split(words);
    Ok(Command::Msg(one(who, "@user")?, SafeText::new(text)))
}

fn role(words: &str) -> Result<Command, String> {
    let (who, role) = split(words);
    Ok(Command::Role(one(who, "@user")?, one(role, "a role")?))
}

fn create(words: &str) -> Result<Command, String> {
    let (word, rest) = split(words);
    let name = one(word, "#room")?;
    // Of two words nobody knows whether both were to be the name.
    if !word.starts_with('#') && !rest.is_empty() {
        return Err(format!("a name has no spaces, and # before it where a topic follows (#{name})"));
    }
    match split(rest) {
        ("--private", topic) => Ok(Command::Create(name, true, SafeLine::new(topic))),
        (option, _) if option.starts_with("--") => Err(format!("{option} is not known")),
        _ => Ok(Command::Create(name, false, SafeLine::new(rest))),
    }
}

fn react(words: &str) -> Result<Command, String> {
    let (emoji, rest) = split(words);
    if emoji.is_empty() || !rest.is_empty() {
        return Err("one emoji follows it".to_owned());
    }
    let emoji = super::emoji::by_name(emoji).unwrap_or(emoji);
    Ok(Command::React(SafeLine::new(emoji)))
}

/// `s/old/new/` reads as a change of the last own message: what is changed, and into what.
pub fn substitution(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("s/")?;
    let (old, new) = rest.split_once('/')?;
    let new = new.strip_suffix('/').unwrap_or(new);
    (!old.is_empty() && !new.contains('/')).then_some((old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let ann: AccountName = "ann".parse().unwrap();
        let ops: RoomName = "ops".parse().unwrap();
        let table = [
            ("/join #Ops", Ok(Command::Join(ops.clone()))),
            ("/j ops", Ok(Command::Join(ops.clone()))),
            ("/PART", Ok(Command::Part)),
            ("/msg @ann hello  there", Ok(Command::Msg(ann.clone(), SafeText::new("hello  there")))),
            ("/msg ann", Ok(Command::Msg(ann.clone(), SafeText::default()))),
            ("/create #ops --private all of it", Ok(Command::Create(ops, true, SafeLine::new("all of it")))),
            ("/kick ann too loud", Ok(Command::Kick(ann.clone(), SafeLine::new("too loud")))),
            ("/role ann owner", Ok(Command::Role(ann.clone(), Role::Owner))),
            ("/invite ann", Ok(Command::Invite(vec![ann]))),
            ("/react :+1:", Ok(Command::React(SafeLine::new("👍")))),
            ("/topic", Ok(Command::Topic(None))),
            ("/search  it failed", Ok(Command::Search("it failed".to_owned()))),
            ("/search", Ok(Command::Search(String::new()))),
            ("/who", Ok(Command::Members)),
            ("/away", Ok(Command::Away(SafeLine::default()))),
            ("/away at lunch", Ok(Command::Away(SafeLine::new("at lunch")))),
            ("/peek #ops", Ok(Command::Peek("#ops".parse().unwrap()))),
            ("/peek", Err("#room or @user is missing: /peek #room")),
            ("/server chat", Ok(Command::Server("chat".to_owned()))),
            ("/server", Err("its name is missing: /server name")),
            ("/servers", Ok(Command::Servers)),
            ("/?", Ok(Command::Help(None))),
            ("/help /J", Ok(Command::Help(find("join")))),
            ("/help nope", Err("/nope is no command: /help [command]")),
            ("/create ops", Ok(Command::Create("ops".parse().unwrap(), false, SafeLine::default()))),
            (
                "/create Bad Name",
                Err("a name has no spaces, and # before it where a topic follows (#bad): \
                     /create #room [--private] [topic]"),
            ),
            ("/create #ops --privat x", Err("--privat is not known: /create #room [--private] [topic]")),
            ("/me", Err("a text is missing: /me text")),
            ("/join", Err("#room is missing: /join #room")),
            ("/join a b", Err("one word follows it: /join #room")),
            ("/quit now", Err("nothing follows it: /quit ")),
            ("/nope x", Err("/nope is no command; /help lists them, // begins a message with a slash")),
            ("/", Err("/ is no command; /help lists them, // begins a message with a slash")),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line), expected.map_err(str::to_owned), "{line}");
        }
    }

    #[test]
    fn names_and_aliases_are_each_there_once() {
        let mut names: Vec<&str> =
            TABLE.iter().flat_map(|entry| [entry.name, entry.alias]).filter(|n| !n.is_empty()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn substitutions() {
        let table = [
            ("s/teh/the/", Some(("teh", "the"))),
            ("s/teh/the", Some(("teh", "the"))),
            ("s/teh//", Some(("teh", ""))),
            ("s//x/", None),
            ("s/usr/local/bin", None),
            ("say/what/", None),
        ];
        for (line, expected) in table {
            assert_eq!(substitution(line), expected, "{line}");
        }
    }
}
