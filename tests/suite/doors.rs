//! What an operator meets: the first start, links, the configuration, the socket in the data directory.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use quip_protocol::{Fingerprint, ServerLink};
use quip_tests::{Quip, Server, binary, eventually};

fn quipd(args: &[&str], data_dir: &Path) -> Output {
    Command::new(binary("quipd")).args(args).arg("--data-dir").arg(data_dir).output().unwrap()
}

/// Asserts that it failed with this code and one line on stderr, the last; returns the line.
fn failed(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
    stderr.lines().last().unwrap_or_default().to_owned()
}

fn link(output: &Output) -> ServerLink {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap().trim().parse().unwrap()
}

#[test]
fn a_first_start_that_fails_makes_nobody_the_owner_and_the_next_one_does() {
    let dir = tempfile::tempdir().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let http = busy.local_addr().unwrap().to_string();
    let output = quipd(&["--listen", "127.0.0.1:0", "--http", &http], dir.path());
    assert!(failed(&output, 1).contains(&http), "{output:?}");
    let mut server = Server::in_directory(dir);
    let first = server.owner.clone().unwrap();
    server.kill();
    server.restart();
    let second = server.next_owner();
    assert_ne!(first.code, second.code);
    let void = Quip::new().run(&["join", &first.reveal(), "--name", "eve"]).fails(77);
    assert!(void.contains("already used"), "{void}");
    let ann = Quip::joined(&second, "ann");
    assert!(ann.run(&["who", "#general"]).ok().contains("owner"));
    // Somebody owns it now: a start prints `ready` and nothing else.
    server.kill();
    server.restart();
    assert_eq!(server.rest_of_stdout(), "");
}

#[test]
fn an_owners_link_of_the_operator_is_good_after_a_restart() {
    let mut server = Server::start();
    let link = server.invite(&["--owner"]);
    server.kill();
    server.restart();
    let ann = Quip::joined(&link, "ann");
    assert!(ann.run(&["who", "#general"]).ok().contains("owner"));
}

/// A certificate and its key, as another server made them for itself.
fn pair() -> (tempfile::TempDir, Fingerprint) {
    let other = Server::start();
    let dir = tempfile::tempdir().unwrap();
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(other.data_dir().join(file), dir.path().join(file)).unwrap();
    }
    (dir, other.link.fingerprint.unwrap())
}

fn with_pair(dir: &Path) -> String {
    format!("cert = {:?}\nkey = {:?}\n", dir.join("cert.pem"), dir.join("key.pem"))
}

#[test]
fn a_link_that_is_made_while_no_server_runs_is_that_of_the_server() {
    let (pem, fingerprint) = pair();
    let mut server = Server::with_config(&with_pair(pem.path()));
    assert_eq!(server.link.fingerprint, Some(fingerprint));
    Quip::joined(server.owner.as_ref().unwrap(), "ann");
    assert!(server.stop());
    let offline = link(&quipd(&["invite"], &server.data_dir()));
    assert_eq!((offline.fingerprint, offline.port), (Some(fingerprint), server.link.port));
    for made in ["cert.pem", "key.pem"] {
        assert!(!server.data_dir().join(made).exists(), "{made}: the server has a pair of its own");
    }
    server.restart();
    Quip::joined(&offline, "bob");
    // What the configuration says now is what the next start takes.
    assert!(server.stop());
    let (pem, newer) = pair();
    let config = pem.path().join("quipd.toml");
    std::fs::write(&config, with_pair(pem.path()) + "public_host = 'chat.example.org'\n").unwrap();
    let offline = link(&quipd(&["invite", "--config", config.to_str().unwrap()], &server.data_dir()));
    assert_eq!((offline.fingerprint, offline.host.as_str()), (Some(newer), "chat.example.org"));
}

#[test]
fn no_link_is_made_where_no_server_has_run() {
    let mut server = Server::start();
    assert!(server.stop());
    std::fs::remove_file(server.data_dir().join("link")).unwrap();
    let line = failed(&quipd(&["invite"], &server.data_dir()), 1);
    assert!(line.contains("start quipd once"), "{line}");
    assert!(quipd(&["user", "list"], &server.data_dir()).status.success(), "everything else works");
}

#[test]
fn links_follow_a_key_that_was_changed_while_the_server_runs() {
    let (pem, before) = pair();
    let mut server = Server::with_config(&with_pair(pem.path()));
    let (newer, after) = pair();
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(newer.path().join(file), pem.path().join(file)).unwrap();
    }
    assert_eq!(server.invite(&[]).fingerprint, Some(before));
    server.signal("HUP");
    let invite = eventually("the link follows", || {
        Some(server.invite(&[])).filter(|link| link.fingerprint == Some(after))
    });
    Quip::joined(&invite, "ann");
    assert!(server.stop());
    assert_eq!(link(&quipd(&["invite"], &server.data_dir())).fingerprint, Some(after), "the kept one too");
}

#[test]
fn a_link_for_this_machine_alone_says_so() {
    let mut server = Server::start();
    let output = quipd(&["invite"], &server.data_dir());
    let hint = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(hint.contains("this machine only") && hint.contains("--public-host"), "{hint}");
    assert!(server.stop());
    let mut server = Server::with_config("public_host = 'chat.example.org'");
    let output = quipd(&["invite"], &server.data_dir());
    assert_eq!(link(&output).host, "chat.example.org");
    assert!(!String::from_utf8(output.stderr).unwrap().contains("this machine only"));
    assert!(server.stop());
}

#[test]
fn values_that_no_server_can_run_with_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("quipd.toml");
    let table = [
        ("[limits]\nconnections = 0", "limits.connections = 0"),
        ("[limits]\nburst_messages = 0", "limits.burst_messages = 0"),
        ("[limits]\nframe_deadline_ms = 0", "limits.frame_deadline_ms = 0"),
        ("[limits]\nrequests_in_flight = 4000000000", "limits.requests_in_flight = 4000000000"),
        ("[limits]\nmessages_per_second = -1", "\"messages_per_second\": invalid value: integer `-1`"),
        ("cache_mib = 0", "cache_mib = 0"),
    ];
    for (toml, told) in table {
        std::fs::write(&config, toml).unwrap();
        let args = ["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
        let output = quipd(&args, &dir.path().join("data"));
        let line = failed(&output, 2);
        assert!(line.contains(told) && output.stderr.split(|b| *b == b'\n').count() == 2, "{output:?}");
    }
}

#[test]
fn a_reload_that_cannot_be_leaves_everything_as_it_was_and_says_so() {
    let server = Server::with_config("[limits]\ncode_attempts = 7\n");
    let config = server.config().unwrap();
    let reload = |toml: &str, said: &str| {
        std::fs::write(config, toml).unwrap();
        server.signal("HUP");
        eventually(said, || server.log().contains(said).then_some(()));
    };
    reload("[limits]\nconnections = 0\n", "limits.connections = 0 cannot be");
    reload("[limits]\nbogus = 1\n", "bogus");
    assert_eq!(server.log().matches("nothing was reloaded, all is as it was").count(), 2);
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    reload("[limits]\nconnections = 1\n", "reloaded certificate and limits");
    ann.run(&["send", "#general", "one at a time"]).ok();
}

#[test]
fn who_says_nothing_at_the_socket_keeps_nobody_out() {
    let server = Server::start();
    let socket = server.data_dir().join("admin.sock");
    let silent: Vec<UnixStream> = (0..7).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    server.invite(&[]);
    let mut wrong = UnixStream::connect(&socket).unwrap();
    wrong.write_all(b"{\"reboot\":1}\n").unwrap();
    let mut reply = String::new();
    BufReader::new(wrong).read_line(&mut reply).unwrap();
    assert!(reply.contains("refused") && reply.contains("reboot"), "{reply}");
    // The eighth: from here on the next ones wait, until the deadline has thinned them out.
    let more: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    server.invite(&[]);
    drop((silent, more));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&server.data_dir())), (0o600, 0o700));
}

#[test]
fn a_directory_that_is_open_to_others_is_made_private() {
    let mut server = Server::start();
    assert!(server.stop());
    std::fs::set_permissions(server.data_dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    server.restart();
    assert_eq!(std::fs::metadata(server.data_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(server.log().contains("was open to others"), "{}", server.log());
}

#[test]
fn what_an_operator_lists_is_typed_and_what_is_archived_comes_back() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["room", "create", "#ops"]).ok();
    server.admin(&["room", "archive", "#ops"]);
    assert!(ann.run(&["send", "#ops", "x"]).fails(77).contains("archived"));
    server.admin(&["room", "restore", "#ops"]);
    ann.run(&["send", "#ops", "we go on"]).ok();
    for (args, word) in [
        (&["user", "list"][..], "account"),
        (&["user", "devices", "ann"], "device"),
        (&["room", "list"], "room"),
        (&["stats"], "stats"),
    ] {
        for line in server.admin(args).lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(row["type"], word, "{args:?}");
        }
    }
}

#[test]
fn what_an_operator_names_wrongly_is_refused_as_input_with_and_without_a_server() {
    let mut server = Server::start();
    for running in [true, false] {
        for (args, part) in [
            (&["user", "suspend", "nobody"][..], "no account named nobody"),
            (&["user", "devices", "nobody"], "no account named nobody"),
            (&["user", "revoke-device", "zzz"], "key"),
            (&["room", "archive", "#nosuch"], "no room #nosuch"),
            (&["invite", "--room", "#nosuch"], "no room #nosuch"),
        ] {
            let line = failed(&quipd(args, &server.data_dir()), 65);
            assert!(line.contains(part), "{args:?} {running}: {line}");
        }
        server.kill();
    }
}

#[test]
fn where_the_path_is_too_long_for_a_socket_the_directory_is_opened_when_the_server_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("d".repeat(120));
    let mut command = Command::new(binary("quipd"));
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&data_dir);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let while_it_runs = failed(&quipd(&["user", "list"], &data_dir), 1);
    assert!(while_it_runs.contains(&format!("in use by process {}", server.id())), "{while_it_runs}");
    server.kill().unwrap();
    let output = server.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("no admin socket"), "{ready}");
    assert!(quipd(&["user", "list"], &data_dir).status.success());
}
