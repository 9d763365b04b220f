//! What somebody new stumbles over: mistakes that are told as what they are, and commands that say what they did.

use quip_tests::{Quip, Server, Terminal, eventually};
use serde_json::{Value, json};

fn lines(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_client_says_that_its_account_is_suspended_and_recovers() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    let terminal = Terminal::client(&bob, 80, 24);
    terminal.connected();
    server.admin(&["user", "suspend", "bob"]);
    terminal.shows("this account was suspended");
    terminal.until("it says where", |screen| screen.contains("offline from"));
    terminal.say("written meanwhile");
    terminal.shows("1 to deliver");
    server.admin(&["user", "resume", "bob"]);
    terminal.connected();
    ann.run(&["wait", "#general", "--match", "written meanwhile", "--since", "0", "--timeout", "20s"]).ok();
}

#[test]
fn a_client_whose_device_is_revoked_says_so_and_stops_asking() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let terminal = Terminal::client(&ann, 80, 24);
    terminal.connected();
    let devices = lines(&ann.run(&["device", "list", "--json"]).ok());
    server.admin(&["user", "revoke-device", devices[0]["key"].as_str().unwrap()]);
    let screen = terminal.shows("join again with a new QUIP_HOME");
    assert!(!screen.contains("retrying"), "{screen}");
}

#[test]
fn revoking_the_own_device_is_done() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let key = lines(&ann.run(&["device", "list", "--json"]).ok())[0]["key"].clone();
    let refused = ann.run(&["device", "revoke", key.as_str().unwrap()]).fails(2);
    assert!(refused.contains("the only device") && refused.contains("--yes"), "{refused}");
    ann.run(&["whoami"]).ok();
    let ran = ann.run(&["device", "revoke", key.as_str().unwrap(), "--yes", "--json"]);
    assert!(ran.stderr.contains("the device you are at"), "{ran:?}");
    assert_eq!(lines(&ran.ok()), [json!({"type": "revoke", "key": key})]);
    assert!(ann.run(&["whoami"]).fails(77).contains("revoked"));
}

#[test]
fn wrong_keys_and_tokens_are_told_as_such() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let wrong = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let link = format!("{}/?fp={wrong}#AAECAwQFBgcICQoLDA0ODw", server.link.address());
    for quip in [&Quip::new(), &ann] {
        let line = quip.run(&["join", &link, "--name", "eve"]).fails(77);
        assert!(line.contains("the link is wrong") || line.contains("the link says"), "{line}");
    }
    let token = ann.run(&["token", "new", "ci"]).ok();
    let with_token = |args: &[&str]| {
        let mut command = ann.command(args);
        command.env("QUIP_TOKEN", token.trim()).env("QUIP_SERVER", server.link.reveal());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(with_token(&["whoami"]).0, Some(0));
    let revoked = ann.run(&["token", "revoke", "ci", "--json"]).ok();
    assert_eq!(lines(&revoked), [json!({"type": "revoke", "name": "ci"})]);
    let (code, line) = with_token(&["whoami"]);
    assert_eq!((code, line.lines().count()), (Some(77), 1), "{line}");
    assert!(line.contains("this token was revoked at quip://") && line.contains("quip token new"), "{line}");
}

#[test]
fn what_was_done_to_a_room_is_printed() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    Quip::joined(&server.invite(&[]), "bob");
    ann.run(&["room", "create", "#ops"]).ok();
    let table: &[(&[&str], Value)] = &[
        (&["topic", "#ops", "what", "runs"], json!({"type": "topic", "room": "#ops", "topic": "what runs"})),
        (&["invite", "#ops", "bob"], json!({"type": "invite", "room": "#ops", "who": ["bob"]})),
        (
            &["role", "#ops", "bob", "moderator"],
            json!({"type": "role", "room": "#ops", "who": "bob", "role": "moderator"}),
        ),
        (&["kick", "#ops", "bob"], json!({"type": "kick", "room": "#ops", "who": "bob", "reason": ""})),
        (&["archive", "#ops"], json!({"type": "archive", "room": "#ops"})),
        (&["leave", "#ops"], json!({"type": "leave", "room": "#ops"})),
    ];
    for (args, expected) in table {
        let printed = ann.run(&[&["room"], *args, &["--json"]].concat()).ok();
        assert_eq!(lines(&printed), std::slice::from_ref(expected), "{args:?}");
    }
    let line = ann.run(&["room", "create", "#x", "--members", "nofile.txt"]).fails(65);
    assert!(line.contains("there is no file nofile.txt"), "{line}");
}

#[test]
fn rooms_are_marked_as_read() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    for text in ["one", "two @bob", "three"] {
        ann.run(&["send", "#general", text]).ok();
    }
    ann.run(&["send", "@bob", "psst"]).ok();
    assert!(bob.run(&["unread"]).ok().contains("#general 3 (1 mention)"));
    let read = lines(&bob.run(&["read", "#general", "--json"]).ok());
    assert_eq!((read[0]["room"].as_str(), read[0]["was_unread"].as_u64()), (Some("#general"), Some(3)));
    let left = bob.run(&["unread"]).ok();
    assert!(left.starts_with("@ann 1") && left.lines().count() == 1, "{left}");
    assert!(bob.run(&["read", "--all"]).ok().starts_with("@ann is read up to"));
    assert_eq!(bob.run(&["unread"]).ok() + &bob.run(&["read", "--all"]).ok(), "");
    assert!(bob.run(&["read", "#nowhere"]).fails(77).contains("you are not in #nowhere"));
}

#[test]
fn two_rooms_are_merged_by_time() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    ann.run(&["room", "create", "#ops"]).ok();
    let said: Vec<String> = (0..6).map(|n| format!("message {n}")).collect();
    for (n, text) in said.iter().enumerate() {
        ann.run(&["send", if n % 3 == 1 { "#ops" } else { "#general" }, text]).ok();
    }
    for args in [&["-n", "10"][..], &["--since", "0"]] {
        let tail = ann.run(&[&["tail", "#ops", "#general", "#ops", "--json"], args].concat()).ok();
        let texts: Vec<String> =
            lines(&tail).iter().filter_map(|line| line["text"].as_str().map(str::to_owned)).collect();
        assert_eq!(texts, said, "{args:?}");
    }
}

#[test]
fn help_and_manuals_are_where_one_looks() {
    let quip = Quip::new();
    assert!(quip.run(&["help", "room", "create"]).ok().contains("--members"));
    let help = quip.run(&["help"]).ok();
    for command in ["man ", "completions ", "read "] {
        assert!(help.contains(&format!("\n  {command}")), "{command}: {help}");
    }
    let dir = quip.home().join("share/man/man1");
    quip.run(&["man", dir.to_str().unwrap()]).ok();
    assert!(dir.join("quip-read.1").is_file());
    assert_eq!(quip.run(&["invite", "--uses", "0"]).code, 2);
}

#[test]
fn a_message_made_unread_is_unread_on_all_devices_and_stays_so() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    for text in ["one", "two", "three"] {
        ann.run(&["send", "#general", text]).ok();
    }
    let terminal = Terminal::client(&bob, 80, 24);
    terminal.shows("three");
    eventually("it is read", || bob.run(&["unread"]).ok().is_empty().then_some(()));
    terminal.press(&["M-k", "M-k"]);
    terminal.say("/unread");
    terminal.shows("#general stays unread");
    eventually("two are unread", || bob.run(&["unread"]).ok().starts_with("#general 2").then_some(()));
    terminal.press(&["Escape"]);
    eventually("it is read again", || bob.run(&["unread"]).ok().is_empty().then_some(()));
}

#[test]
fn who_thinks_long_about_a_name_gets_it() {
    let server = Server::with_config("[limits]\nstranger_deadline_ms = 300");
    let ann = Quip::new();
    let program = quip_tests::binary("quip").display().to_string();
    let link = server.owner.as_ref().unwrap().reveal();
    let terminal = Terminal::run(&ann, 120, 10, &format!("{program} join '{link}'; exec cat"));
    terminal.shows("Your name at");
    // Longer than the server waits: it has closed the connection, and it is made again.
    let connections = || {
        let stats: Value = serde_json::from_str(&server.admin(&["stats"])).unwrap();
        stats["connections"].as_u64()
    };
    eventually("another connection is made", || (connections() >= Some(2)).then_some(()));
    terminal.say("ann");
    terminal.shows("as ann");
}
