//! The command as a shell sees it: output, one line of error, exit code. Runs the built program.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy sees only #[test] itself as one"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use tempfile::TempDir;

/// A fingerprint that no server has.
const NOBODY: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// A token that no server knows.
const TOKEN: &str = "quip_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn home() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn quip(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quip"));
    command.args(args).env("QUIP_HOME", home).env_remove("QUIP_SERVER").env_remove("QUIP_TOKEN");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Standard output, after checking that the command succeeded.
fn done(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The exit code and the one line of error, after checking that it is one and that nothing else was printed.
fn failed(output: &Output) -> (i32, String) {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(error.starts_with("quip: ") && error.ends_with('\n'), "{error:?}");
    assert_eq!(error.lines().count(), 1, "{error:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), error)
}

fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // The command may have seen enough before all is written.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn mistakes_are_one_line_and_an_exit_code() {
    let link = format!("quip://127.0.0.1:9/?fp={NOBODY}");
    let table: &[(&[&str], i32, &str)] = &[
        (&["frobnicate"], 2, "`quip --help`"),
        (&["send"], 2, "'#room'"),
        (&["send", "ops", "hi"], 2, "'#room'"),
        (&["send", "#ops", "hi"], 2, "quip join"),
        (&["send", "#ops", ""], 65, "empty"),
        (&["send", "#ops"], 65, "empty"),
        (&["tail", "#ops"], 2, "quip host"),
        (&["join", &link[..40], "--name", "ann"], 2, "in quotes"),
        (&["join", "quip://127.0.0.1:9", "--name", "a b"], 2, "a name has only"),
        (&["room", "create", "#x", "--members", "./nowhere"], 65, "there is no file ./nowhere"),
        (&[], 2, "needs a terminal"),
    ];
    let home = home();
    for (args, code, part) in table {
        let (found, error) = failed(&quip(home.path(), args).output().unwrap());
        assert!(found == *code && error.contains(part), "{args:?}: {found} {error}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "a mistake leaves no files");
}

#[test]
fn what_cannot_be_sent_is_refused_before_a_server_is_asked() {
    let home = home();
    let table: &[(&[u8], &str)] = &[
        (&[b'x'; 4_000_000], "the limit is 16384"),
        (&[b'x'; 16_385], "16385 bytes and the limit is 16384"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\n\n", "empty"),
    ];
    for (input, part) in table {
        let (code, error) = failed(&with_input(quip(home.path(), &["send", "#ops"]), input));
        assert!(code == 65 && error.contains(part), "{} bytes: {code} {error}", input.len());
    }
}

#[test]
fn a_server_that_is_away_is_69() {
    let home = home();
    // It takes packets and answers none; the port is known to be no server's as long as it is held.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = format!("quip://{}/?fp={NOBODY}", silent.local_addr().unwrap());
    let mut command = quip(home.path(), &["send", "#ops", "hi"]);
    command.env("QUIP_SERVER", &server).env("QUIP_TOKEN", TOKEN);
    let (code, error) = failed(&command.output().unwrap());
    assert!(code == 69 && error.contains("cannot reach"), "{code} {error}");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let home = home();
    for args in [&["completions", "bash"][..], &["man"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = quip(home.path(), args).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = quip(home().path(), &["man"]).stdout(full).output().unwrap();
    let (code, error) = failed(&output);
    assert!(code == 74 && error.contains("cannot write the output"), "{code} {error}");
}

#[test]
fn a_pipe_gets_no_colour() {
    let home = home();
    for args in [&["--help"][..], &["send", "--help"], &["--version"]] {
        let text = done(quip(home.path(), args));
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}

/// `quip host` without a terminal, stopped when it is dropped.
struct Host {
    child: Child,
    output: BufReader<ChildStdout>,
    ready: String,
    invite: String,
}

impl Host {
    fn start(home: &Path, listen: &str) -> Host {
        let mut command = quip(home, &["host", "--name", "ann", "--listen", listen]);
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let (ready, invite) = (line(), line());
        let word = |line: &str, word: &str| line.strip_prefix(word).expect(word).to_owned();
        let (ready, invite) = (word(&ready, "ready "), word(&invite, "invite "));
        Host { child, output, ready, invite }
    }

    fn address(&self) -> String {
        self.ready.split("/?").next().unwrap().trim_start_matches("quip://").to_owned()
    }

    /// Ends it as a shell does, and returns what else it printed.
    fn stop(mut self) -> (Option<i32>, String) {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.output, &mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A test that failed leaves no server behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn hosting_ends_well_and_goes_on_where_it_was() {
    let (ann, bob) = (home(), home());
    let host = Host::start(ann.path(), "127.0.0.1:0");
    let (address, ready) = (host.address(), host.ready.clone());
    done(quip(bob.path(), &["join", &host.invite, "--name", "bob"]));
    assert_eq!(done(quip(bob.path(), &["send", "#general", "kept"])), "");
    assert!(done(quip(ann.path(), &["whoami"])).starts_with("ann  administrator"));
    assert_eq!(host.stop(), (Some(0), String::new()));
    let (code, _) = failed(&quip(bob.path(), &["send", "#general", "lost"]).output().unwrap());
    assert_eq!(code, 69);
    let host = Host::start(ann.path(), &address);
    assert_eq!(host.ready, ready, "the same key at the same address");
    let said = done(quip(bob.path(), &["history", "#general", "-n", "1"]));
    assert!(said.ends_with(" <bob> kept\n"), "{said}");
    assert_eq!(host.stop(), (Some(0), String::new()));
}

#[test]
fn a_server_is_trusted_by_its_key_alone() {
    let (ann, bob) = (home(), home());
    let host = Host::start(ann.path(), "127.0.0.1:0");
    let address = host.address();
    let (code, error) = failed(&quip(bob.path(), &["join", &address, "--name", "bob"]).output().unwrap());
    assert!(code == 77 && error.contains(&host.ready), "it says how to give the fingerprint: {error}");
    let (_, code_part) = host.invite.split_once('#').unwrap();
    let forged = format!("quip://{address}/?fp={NOBODY}#{code_part}");
    let (code, error) = failed(&quip(bob.path(), &["join", &forged, "--name", "bob"]).output().unwrap());
    let (_, real) = host.ready.split_once("fp=").unwrap();
    assert!(code == 77 && error.contains(NOBODY) && error.contains(real), "{error}");
    // Neither attempt used the code up or left a server behind.
    assert!(!bob.path().join("config").exists());
    done(quip(bob.path(), &["join", &host.invite, "--name", "bob"]));
    let (code, _) = failed(&quip(bob.path(), &["join", &forged, "--name", "bob"]).output().unwrap());
    assert_eq!(code, 77, "a key that is known does not change by a link");
}

#[test]
fn a_token_needs_no_files() {
    let ann = home();
    let host = Host::start(ann.path(), "127.0.0.1:0");
    let token = done(quip(ann.path(), &["token", "new", "bot"]));
    let nowhere = Path::new("/nonexistent/home");
    let bot = |args: &[&str]| {
        let mut command = quip(nowhere, args);
        command.env("QUIP_SERVER", &host.ready).env("QUIP_TOKEN", token.trim());
        command
    };
    let receipt = done(bot(&["send", "#general", "--json", "built"]));
    assert!(receipt.starts_with(r##"{"type":"receipt","room":"#general","epoch":1,"seq":"##), "{receipt}");
    assert!(done(bot(&["whoami"])).starts_with("bot  bot of ann"));
    done(quip(ann.path(), &["token", "revoke", "bot"]));
    let (code, _) = failed(&bot(&["send", "#general", "no more"]).output().unwrap());
    assert_eq!(code, 77);
}

/// The `seq` of each of the next lines.
fn seqs(lines: &mut impl Iterator<Item = std::io::Result<String>>, count: usize) -> Vec<u64> {
    let seq = |line: String| {
        let (_, rest) = line.split_once(r#""seq":"#).expect("every event has its place");
        rest.split(',').next().unwrap().parse().unwrap()
    };
    lines.take(count).map(|line| seq(line.unwrap())).collect()
}

#[test]
fn following_has_no_gap_and_no_double() {
    let ann = home();
    let _host = Host::start(ann.path(), "127.0.0.1:0");
    done(quip(ann.path(), &["room", "create", "#ops"]));
    for n in 0..5 {
        done(quip(ann.path(), &["send", "#ops", &format!("before {n}")]));
    }
    let tail = ["tail", "#ops", "--follow", "--json"];
    let mut newest = quip(ann.path(), &[&tail[..], &["-n", "3"]].concat()).spawn().unwrap();
    let mut all = quip(ann.path(), &[&tail[..], &["--since", "0"]].concat()).spawn().unwrap();
    let mut newest_lines = BufReader::new(newest.stdout.take().unwrap()).lines();
    let mut all_lines = BufReader::new(all.stdout.take().unwrap()).lines();
    // The first event made the room.
    assert_eq!(seqs(&mut newest_lines, 3), [4, 5, 6]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..5).for_each(|n| drop(done(quip(ann.path(), &["send", "#ops", &n.to_string()]))))
            });
        }
    });
    assert_eq!(seqs(&mut newest_lines, 20), (7..=26).collect::<Vec<_>>());
    assert_eq!(seqs(&mut all_lines, 26), (1..=26).collect::<Vec<_>>());
    for mut child in [newest, all] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(done(quip(ann.path(), &["export", "#ops"])).lines().count(), 26);
}

#[test]
fn a_room_is_entered_by_sending_if_it_is_public() {
    let (ann, bob) = (home(), home());
    let host = Host::start(ann.path(), "127.0.0.1:0");
    done(quip(bob.path(), &["join", &host.invite, "--name", "bob"]));
    done(quip(ann.path(), &["room", "create", "#open"]));
    done(quip(ann.path(), &["room", "create", "#closed", "--private"]));
    assert_eq!(done(quip(bob.path(), &["send", "#open", "hi @ann"])), "");
    assert!(done(quip(bob.path(), &["rooms"])).contains("#open"));
    assert_eq!(done(quip(ann.path(), &["unread"])).lines().last(), Some("#open 1 (1 mention)"));
    let refusals = ["#closed", "#nothing"].map(|room| {
        let (code, error) = failed(&quip(bob.path(), &["send", room, "hi"]).output().unwrap());
        assert_eq!(code, 77);
        error.replace(room, "#room")
    });
    assert_eq!(refusals[0], refusals[1], "a guessed name tells nothing");
    done(quip(ann.path(), &["room", "kick", "#open", "bob"]));
    let (code, _) = failed(&quip(bob.path(), &["send", "#open", "again"]).output().unwrap());
    assert_eq!(code, 77, "who was removed does not come back by sending");
}

#[test]
fn the_default_settings_are_printed_and_can_be_used() {
    let home = home();
    let printed = done(quip(home.path(), &["default-config"]));
    assert!(printed.contains("theme = \"auto\"") && printed.contains("[keys]"), "{printed}");
    assert_eq!(quip::config::settings::Settings::parse(&printed), Ok(Default::default()));
}

#[test]
fn plain_mode_needs_no_terminal_but_a_server() {
    let (code, error) = failed(&with_input(quip(home().path(), &["--plain"]), b"hello\n"));
    assert!(code == 2 && error.contains("quip join"), "{code} {error}");
}
