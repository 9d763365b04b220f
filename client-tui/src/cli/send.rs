//! `quip send`: one message, acknowledged when the command ends.

use std::ffi::OsString;
use std::io::{self, Read};

use clap::Args;
use quip_protocol::client::{self, Handle, PATIENCE, Post};
use quip_protocol::frame::Request;
use quip_protocol::limits::MAX_TEXT;
use quip_protocol::{ErrorCode, MessageId, MessageKind, Receipt, Refusal, SafeText, Seq, Target};

use super::colours::Colours;
use super::connect::{Connection, Stay, connect};
use super::env::Env;
use super::exit::{CliError, Exit};
use super::json::Line;
use super::out::Out;
use super::replies;
use super::stream::{self, Streamed};
use super::waiting::patiently;

const EXAMPLES: &str = "Examples:
  quip send '#ops' deploy of 1.4 is done
  make 2>&1 | tail -5 | quip send '#ci'
  quip send @ann --reply-to 42 'yes, go ahead'
  quip send '#ops' -- --starts-with-dashes
  make 2>&1 | quip send --stream '#ci'             # one message that grows
  quip send --stream '#ci' --status -- make -j8    # with its exit code";

/// The longest line end. It does not count, nor does the one byte more that shows that there is more.
const LINE_END: usize = 2;

/// So many times what can be sent is read where all else is colours.
const COLOURFUL: usize = 16;

/// Sends one message and waits until it is durable.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SendArgs {
    /// #room or @user
    target: Target,
    /// The message, joined by spaces; standard input as one message if there is none
    text: Vec<OsString>,
    /// Answer the message that has this number in the room
    #[arg(long, value_name = "SEQ")]
    reply_to: Option<u64>,
    /// Say what you do: "* ann waves"
    #[arg(long)]
    me: bool,
    /// A long-running input, or the output of COMMAND, as one message that grows
    #[arg(long)]
    stream: bool,
    /// With --stream and COMMAND: the last line says how it ended, and after what time
    #[arg(long, requires = "stream")]
    status: bool,
    /// With --stream the command to run; else more text
    #[arg(last = true, value_name = "COMMAND")]
    rest: Vec<OsString>,
}

/// Runs it.
///
/// # Errors
/// See [`CliError`].
pub async fn run(args: SendArgs, env: &Env, out: &mut Out) -> Result<(), CliError> {
    if args.stream {
        return stream::run(streamed(args)?, env, out).await;
    }
    let words = [args.text.as_slice(), &args.rest].concat();
    let text = text(&words, env.stdin_terminal, io::stdin().lock())?;
    let sent = send(env, post(&args, text)).await;
    let (connection, receipt) = sent.map_err(|error| unacknowledged(error, &args.target))?;
    if out.is_json() {
        out.object(&Line::receipt(&args.target, &receipt))?;
    }
    connection.close().await;
    Ok(())
}

/// Sends it and waits for the receipt: of another node, where the first is gone. It answers the same id with the same receipt.
async fn send(env: &Env, post: Post) -> Result<(Connection, Receipt), CliError> {
    let what = format!("the message to {}", post.target);
    let sent = match send_once(env, post.clone()).await? {
        (connection, Err(error)) if is_lost(&error) && connection.has_others() => {
            send_once(env, post).await.map_err(|error| unanswered(error, &what))?
        }
        sent => sent,
    };
    match sent {
        (connection, Ok(receipt)) => Ok((connection, receipt)),
        (_, Err(error)) => Err(unanswered(error, &what)),
    }
}

/// On a connection of its own; without one nothing was sent.
async fn send_once(env: &Env, post: Post) -> Result<(Connection, Result<Receipt, CliError>), CliError> {
    let connection = connect(env, Stay::Once).await?;
    let posted = patiently(&connection.handle, PATIENCE, post_as_member(&connection.handle, post)).await;
    Ok((connection, posted))
}

/// Says of `what` was sent and not answered that nobody knows what became of it: the server, or the way to it, was gone
/// before, or shut this device out, which says nothing of what it had taken.
pub(super) fn unanswered(error: CliError, what: &str) -> CliError {
    let why = error.to_string();
    // Tried again it is another message, which may then be there twice.
    let why = why.trim_end_matches("; try again");
    let line = format!("{what} was not acknowledged; it may have been delivered: {why}");
    match error.exit() {
        Exit::Unreachable => CliError::Unreachable(line),
        Exit::TimedOut => CliError::TimedOut(line),
        Exit::Denied if is_shut_out(&error) => CliError::Denied(line),
        _ => error,
    }
}

/// Refused as whoever this is, not for what was asked. A token that was revoked has words of its own.
fn is_shut_out(error: &CliError) -> bool {
    use ErrorCode::{Revoked, Suspended, UnknownDevice};
    let of_device = |refusal: &Refusal| matches!(refusal.code, Revoked | Suspended | UnknownDevice);
    error.refusal().map_or(matches!(error, CliError::Denied(_)), of_device)
}

/// Says of what is to be tried again what it is. A server that cannot write may have taken it, so no more is said.
fn unacknowledged(error: CliError, target: &Target) -> CliError {
    match error.exit() {
        Exit::TryAgain => {
            CliError::TryAgain(format!("the message to {target} was not acknowledged: {error}"))
        }
        _ => error,
    }
}

/// The connection broke before there was an answer.
fn is_lost(error: &CliError) -> bool {
    matches!(error, CliError::Client(client::Error::Disconnected | client::Error::TimedOut))
}

fn post(args: &SendArgs, text: SafeText) -> Post {
    Post {
        target: args.target.clone(),
        id: MessageId::generate(),
        kind: if args.me { MessageKind::Action } else { MessageKind::Plain },
        text,
        reply_to: args.reply_to.map(Seq),
    }
}

fn streamed(args: SendArgs) -> Result<Streamed, CliError> {
    if !args.text.is_empty() {
        return Err(CliError::Usage(
            "a stream has no text; a command to run stands behind --: `quip send --stream '#ci' -- make`"
                .into(),
        ));
    }
    let post = post(&args, SafeText::default());
    Ok(Streamed { post, command: args.rest, status: args.status })
}

/// A public room that one is not in is entered first. The id stays, so that nothing doubles.
pub(super) async fn post_as_member(handle: &Handle, post: Post) -> Result<Receipt, CliError> {
    match (handle.post(post.clone()).await, &post.target) {
        (Err(client::Error::Refused(refusal)), Target::Room(room))
            if refusal.code == ErrorCode::NotMember =>
        {
            replies::room(handle, Request::Join { room: room.clone() }).await?;
            Ok(handle.post(post).await?)
        }
        (sent, _) => Ok(sent?),
    }
}

fn text(args: &[OsString], stdin_terminal: bool, stdin: impl Read) -> Result<SafeText, CliError> {
    let text = if !args.is_empty() {
        of_args(args)?
    } else if stdin_terminal {
        return Err(CliError::Usage(
            "there is nothing to send; give the text behind the target, or pipe it in".into(),
        ));
    } else {
        of_stdin(stdin)?
    };
    let text = SafeText::new(&text);
    if text.as_str().trim().is_empty() {
        return Err(CliError::Input("the message is empty; nothing was sent".into()));
    }
    check_length(text.len(), MAX_TEXT)?;
    Ok(text)
}

fn of_args(args: &[OsString]) -> Result<String, CliError> {
    let words: Option<Vec<&str>> = args.iter().map(|arg| arg.to_str()).collect();
    Ok(words.ok_or_else(not_utf8)?.join(" "))
}

/// Reads no more than can be sent, and a little: a pipe of any length costs nothing.
fn of_stdin(stdin: impl Read) -> Result<String, CliError> {
    let most = MAX_TEXT + LINE_END;
    let (mut stdin, mut colours) = (stdin.take((COLOURFUL * most) as u64), Colours::default());
    let (mut bytes, mut chunk) = (Vec::new(), Vec::new());
    while bytes.len() <= most {
        chunk.clear();
        let missing = (most + 1 - bytes.len()) as u64;
        stdin.by_ref().take(missing).read_to_end(&mut chunk).map_err(CliError::Stdin)?;
        chunk.iter().for_each(|byte| colours.take(*byte, |byte| bytes.push(byte)));
        if chunk.is_empty() {
            break;
        }
    }
    bytes.extend(colours.begun());
    if bytes.len() > most || stdin.limit() == 0 {
        return Err(too_long(MAX_TEXT, &format!("more than {most}")));
    }
    let text = String::from_utf8(bytes).map_err(|_| not_utf8())?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn not_utf8() -> CliError {
    CliError::Input("the message is not UTF-8; nothing was sent, convert it first (iconv -t utf-8)".into())
}

fn check_length(bytes: usize, limit: usize) -> Result<(), CliError> {
    if bytes > limit { Err(too_long(limit, &bytes.to_string())) } else { Ok(()) }
}

fn too_long(limit: usize, size: &str) -> CliError {
    CliError::Input(format!(
        "the message has {size} bytes and the limit is {limit}; nothing was sent, split it or send a link"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn arguments_or_standard_input() {
        let table: &[(&[&str], &[u8], Option<&str>)] = &[
            (&["a", "b"], b"unread", Some("a b")),
            (&["two\nlines"], b"", Some("two\nlines")),
            (&[""], b"unread", None),
            (&[" \n"], b"unread", None),
            (&[], b"text\n", Some("text")),
            (&[], b"a\n\nb\r\n\n", Some("a\n\nb")),
            (&[], b"\x1b[31mred\x1b[m\n", Some("red")),
            (&[], b"\x1b[2Jgone\x1b[3\n", Some("\u{241b}[2Jgone\u{241b}[3")),
            (&["\x1b[31mred"], b"", Some("\u{241b}[31mred")),
            (&[], b"\n\n", None),
            (&[], b"", None),
            (&[], b"\xff\xfe", None),
        ];
        for (args, stdin, expected) in table {
            let found = text(&words(args), false, *stdin);
            assert_eq!(found.as_ref().ok().map(SafeText::as_str), *expected, "{args:?} {stdin:?}");
            assert!(found.err().is_none_or(|error| error.exit() == Exit::Refused));
        }
        assert_eq!(text(&[], true, io::empty()).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn who_is_to_try_again_is_told_what_was_not_acknowledged() {
        let room: Target = "#ops".parse().unwrap();
        let away = || Refusal::retry(ErrorCode::Degraded, "the servers' log is away; try again later", 500);
        let busy = Refusal::retry(ErrorCode::RateLimited, "too fast", 40_000);
        let table = [
            (away(), "the message to #ops was not acknowledged: the servers' log is away; try again later"),
            (busy, "the message to #ops was not acknowledged: too fast; try again in 40 s"),
        ];
        for (refusal, expected) in table {
            let error = unacknowledged(refusal.into(), &room);
            assert_eq!((error.exit(), error.to_string().as_str()), (Exit::TryAgain, expected));
        }
        let denied = Refusal::new(ErrorCode::Forbidden, "no");
        assert_eq!(unacknowledged(denied.into(), &room).to_string(), "no");
    }

    #[test]
    fn who_is_shut_out_is_told_that_nobody_knows_what_became_of_the_message() {
        let refused = |code| CliError::from(Refusal::new(code, "why"));
        let table = [
            (refused(ErrorCode::Revoked), 77, true),
            (refused(ErrorCode::Suspended), 77, true),
            (CliError::Denied("this token was revoked".into()), 77, true),
            (client::Error::Disconnected.into(), 69, true),
            (client::Error::TimedOut.into(), 124, true),
            // These answer what was asked.
            (refused(ErrorCode::Forbidden), 77, false),
            (refused(ErrorCode::NoSuchAccount), 65, false),
            (Refusal::retry(ErrorCode::Degraded, "why", 500).into(), 75, false),
        ];
        for (error, code, unknown) in table {
            let why = error.to_string();
            let told = unanswered(error, "the message to #ops");
            let unknown = unknown.then(|| {
                let why = why.trim_end_matches("; try again");
                format!("the message to #ops was not acknowledged; it may have been delivered: {why}")
            });
            assert_eq!((told.code(), told.to_string()), (code, unknown.unwrap_or(why)));
        }
    }

    /// Input without an end, of which every byte that is read is counted.
    struct Endless(usize);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            self.0 += buffer.len();
            Ok(buffer.len())
        }
    }

    #[test]
    fn no_more_is_read_than_can_be_sent() {
        let mut endless = Endless(0);
        let error = text(&[], false, &mut endless).unwrap_err();
        assert_eq!(error.exit(), Exit::Refused);
        assert!(error.to_string().contains(&format!("the limit is {MAX_TEXT}")), "{error}");
        assert!(endless.0 <= MAX_TEXT + LINE_END + 1, "{} bytes were read", endless.0);
    }

    #[test]
    fn the_limit_is_that_of_the_text_as_it_is_sent() {
        let full = "x".repeat(MAX_TEXT);
        let table = [
            (full.clone(), true),
            (full.clone() + "\r\n", true),
            (full.clone() + "\n\n\n", false),
            (full.clone() + "y", false),
            (full.clone() + "y\n", false),
            ("\u{1b}[1m".to_owned() + &full + "\u{1b}[0m\n", true),
            ("\u{1b}[1mx\u{1b}[0m".repeat(MAX_TEXT), true),
            ("\u{1b}[1mx\u{1b}[0m".repeat(MAX_TEXT + 1), false),
            // Nothing but colours, without an end.
            ("\u{1b}[1m".repeat(COLOURFUL * MAX_TEXT), false),
            // Three bytes once it is visible.
            ("\u{1b}".repeat(MAX_TEXT / 3), true),
            ("\u{1b}".repeat(MAX_TEXT / 3 + 1), false),
        ];
        for (input, fits) in table {
            let found = text(&[], false, input.as_bytes());
            assert_eq!(found.is_ok(), fits, "{} bytes", input.len());
        }
        assert!(check_length(100, 99).unwrap_err().to_string().contains("100 bytes and the limit is 99"));
    }
}
