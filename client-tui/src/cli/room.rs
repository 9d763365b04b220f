//! `quip room …`: making a room, and what its members do to it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use clap::{Args, Subcommand};
use quip_protocol::client::Handle;
use quip_protocol::frame::Request;
use quip_protocol::limits::{MAX_LINE, MAX_NAMES};
use quip_protocol::name::MAX_ACCOUNT_NAME;
use quip_protocol::{AccountName, ErrorCode, Role, RoomName, SafeLine};

use super::connect::{Stay, connect};
use super::env::Env;
use super::exit::CliError;
use super::human;
use super::json::Line;
use super::out::Out;
use super::replies;

/// The longest list of members: so many names with a sigil and a line end each.
const MAX_FILE: u64 = (MAX_NAMES * (MAX_ACCOUNT_NAME + 3)) as u64;

const EXAMPLES: &str = "Examples:
  quip room create '#ops' --topic 'what runs' --members ann,bob
  quip room create '#all' --private --members names.txt
  quip room invite '#ops' cat dan
  quip room role '#ops' ann moderator";

/// Makes rooms, and changes them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RoomArgs {
    #[command(subcommand)]
    command: RoomCommand,
}

#[derive(Debug, Subcommand)]
enum RoomCommand {
    /// Makes a room with all its members at once
    #[command(after_help = "Examples:\n  quip room create '#ops' --members ann,bob\n  \
                            quip room create '#all' --private --members names.txt")]
    Create(CreateArgs),
    /// Sets what the room is about
    #[command(after_help = "Example:\n  quip room topic '#ops' what runs and what does not")]
    Topic {
        /// The room
        room: RoomName,
        /// What it is about; nothing takes the topic away
        text: Vec<String>,
    },
    /// Makes others members
    #[command(after_help = "Example:\n  quip room invite '#ops' ann bob")]
    Invite {
        /// The room
        room: RoomName,
        /// Whom
        #[arg(required = true, value_name = "NAME")]
        who: Vec<AccountName>,
    },
    /// Removes a member, who can only come back by an invitation
    #[command(after_help = "Example:\n  quip room kick '#ops' bob --reason 'left the company'")]
    Kick {
        /// The room
        room: RoomName,
        /// Whom
        #[arg(value_name = "NAME")]
        who: AccountName,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Gives a member a role
    #[command(after_help = "Example:\n  quip room role '#ops' ann moderator")]
    Role {
        /// The room
        room: RoomName,
        /// Who
        #[arg(value_name = "NAME")]
        who: AccountName,
        /// reader, member, moderator or owner
        role: Role,
    },
    /// Ends writing in the room; it can still be read
    #[command(after_help = "Example:\n  quip room archive '#old-project'")]
    Archive {
        /// The room
        room: RoomName,
    },
    /// Enters a public room
    #[command(after_help = "Example:\n  quip room join '#ops'")]
    Join {
        /// The room
        room: RoomName,
    },
    /// Leaves a room
    #[command(after_help = "Example:\n  quip room leave '#ops'")]
    Leave {
        /// The room
        room: RoomName,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Its name
    room: RoomName,
    /// Only members know that it exists, and they are invited
    #[arg(long)]
    private: bool,
    /// What it is about
    #[arg(long, default_value = "")]
    topic: String,
    /// Names with commas between them, or a file with a name a line
    #[arg(long, value_name = "FILE|a,b,c")]
    members: Option<String>,
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: RoomArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    let unfound = args.command.unfound();
    let request = args.command.request()?;
    let connection = connect(env, Stay::Once).await?;
    let asked = ask(&connection.handle, request, out).await;
    asked.map_err(|error| unfound.filter(|_| is_unknown(&error)).unwrap_or(error))?;
    connection.close().await;
    Ok(())
}

async fn ask(handle: &Handle, request: Request, out: &mut Out) -> Result<(), CliError> {
    if matches!(request, Request::CreateRoom { .. } | Request::Join { .. }) {
        let room = replies::room(handle, request).await?;
        return out.show(&Line::room(&room), || human::room(&room));
    }
    replies::did(handle, request, out).await
}

fn is_unknown(error: &CliError) -> bool {
    error.refusal().is_some_and(|refusal| refusal.code == ErrorCode::NoSuchAccount)
}

impl RoomCommand {
    /// What is to be said if the one member is unknown that may have been meant as a file.
    fn unfound(&self) -> Option<CliError> {
        let RoomCommand::Create(CreateArgs { members: Some(given), .. }) = self else { return None };
        (!given.contains([',', '@']) && !Path::new(given).is_file()).then(|| {
            CliError::Input(format!(
                "there is neither an account nor a file named {given}; --members takes a file with a name a line, or \
                 names with commas between them"
            ))
        })
    }

    fn request(self) -> Result<Request, CliError> {
        Ok(match self {
            RoomCommand::Create(args) => args.request()?,
            RoomCommand::Topic { room, text } => {
                Request::SetTopic { room, topic: line("topic", &text.join(" "))? }
            }
            RoomCommand::Invite { room, who } => Request::Invite { room, who },
            RoomCommand::Kick { room, who, reason } => {
                Request::Kick { room, who, reason: line("reason", &reason)? }
            }
            RoomCommand::Role { room, who, role } => Request::SetRole { room, who, role },
            RoomCommand::Archive { room } => Request::Archive { room },
            RoomCommand::Join { room } => Request::Join { room },
            RoomCommand::Leave { room } => Request::Leave { room },
        })
    }
}

impl CreateArgs {
    fn request(self) -> Result<Request, CliError> {
        let members = self.members.as_deref().map_or(Ok(Vec::new()), members)?;
        let topic = line("topic", &self.topic)?;
        Ok(Request::CreateRoom { name: self.room, private: self.private, topic, members })
    }
}

fn line(what: &str, text: &str) -> Result<SafeLine, CliError> {
    let line = SafeLine::new(text.trim());
    if line.len() > MAX_LINE {
        let bytes = line.len();
        return Err(CliError::Input(format!(
            "the {what} has {bytes} bytes and the limit is {MAX_LINE}; shorten it"
        )));
    }
    Ok(line)
}

/// A file of that name goes before a list: no account has a name with a `/`, and few a file's.
fn members(given: &str) -> Result<Vec<AccountName>, CliError> {
    let path = Path::new(given);
    let is_file = path.is_file() || given.contains('/') || is_called_like_a_file(given);
    let names = if is_file { of_file(path)? } else { names(given, ',')? };
    if names.len() > MAX_NAMES {
        let count = names.len();
        return Err(CliError::Input(format!(
            "these are {count} members and the limit is {MAX_NAMES}; invite the others afterwards"
        )));
    }
    Ok(names)
}

/// Lists are kept in such files; an account with such a name can be written with its @.
fn is_called_like_a_file(given: &str) -> bool {
    const ENDS: [&str; 6] = [".txt", ".csv", ".list", ".lst", ".md", ".tmp"];
    let name = given.to_ascii_lowercase();
    !given.contains([',', '@']) && ENDS.iter().any(|end| name.ends_with(end))
}

fn of_file(path: &Path) -> Result<Vec<AccountName>, CliError> {
    let failed =
        |why: String| CliError::Input(format!("cannot read the members from {}: {why}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => CliError::Input(format!(
            "there is no file {}; --members takes a file with a name a line, or names with commas between them",
            path.display()
        )),
        _ => failed(error.to_string()),
    })?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(format!("it is longer than {MAX_NAMES} names")));
    }
    names(&text, '\n')
}

fn names(text: &str, between: char) -> Result<Vec<AccountName>, CliError> {
    let words = text.split(between).map(str::trim).filter(|word| !word.is_empty());
    let mut names = Vec::new();
    for word in words {
        let name = word.parse::<AccountName>();
        names.push(name.map_err(|error| CliError::Input(format!("{word:?} is no member: {error}")))?);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(given: &str) -> Result<String, String> {
        let names = members(given).map_err(|error| error.to_string())?;
        Ok(names.iter().map(AccountName::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn members_by_name() {
        let table = [
            ("ann", Ok("ann")),
            ("bob,ann", Ok("ann bob")),
            ("@ann, Bob ,,ann", Ok("ann bob")),
            ("", Ok("")),
            ("ann;bob", Err("is no member")),
            ("./missing.txt", Err("there is no file ./missing.txt")),
            ("nofile.txt", Err("there is no file nofile.txt")),
            ("Team.CSV", Err("there is no file Team.CSV")),
            ("@ann.txt", Ok("ann.txt")),
            ("ann.lee", Ok("ann.lee")),
            ("no file", Err("is no member")),
        ];
        for (given, expected) in table {
            match (listed(given), expected) {
                (Ok(names), Ok(expected)) => assert_eq!(names, expected, "{given}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{given}: {error}"),
                (found, _) => panic!("{given}: {found:?}"),
            }
        }
    }

    #[test]
    fn thousands_of_members_from_a_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("names");
        let write = |count: usize| {
            let names: Vec<String> = (0..count).map(|n| format!("user{n:05}")).collect();
            std::fs::write(&path, names.join("\r\n") + "\n").unwrap();
            members(path.to_str().unwrap())
        };
        assert_eq!(write(MAX_NAMES).unwrap().len(), MAX_NAMES);
        for too_many in [MAX_NAMES + 1, MAX_NAMES * 10] {
            let error = write(too_many).unwrap_err().to_string();
            assert!(error.contains(&MAX_NAMES.to_string()), "{error}");
        }
    }

    #[test]
    fn a_long_line_is_refused_with_the_limit() {
        assert!(line("topic", &"x".repeat(MAX_LINE)).is_ok());
        let error = line("topic", &"x".repeat(MAX_LINE + 1)).unwrap_err().to_string();
        assert!(error.contains("513 bytes and the limit is 512"), "{error}");
    }
}
