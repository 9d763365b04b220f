//! Who is refused learns why and what to do, in one line, and nothing else.

use quip_protocol::{InviteCode, ServerLink};
use quip_tests::{Quip, Server};

#[test]
fn links_that_are_not_good() {
    let server = Server::start();
    let owner = server.owner.clone().unwrap();
    let ann = Quip::joined(&owner, "ann");
    let invite = server.invite(&[]);

    let other = Server::start();
    let wrong = ServerLink { fingerprint: other.link.fingerprint, ..invite.clone() };
    let line = Quip::new().run(&["join", &wrong.reveal(), "--name", "eve"]).fails(77);
    let (expected, found) =
        (other.link.fingerprint.unwrap().to_string(), server.link.fingerprint.unwrap().to_string());
    assert!(line.contains(&expected) && line.contains(&found), "both fingerprints are shown: {line}");

    let used = Quip::new().run(&["join", &owner.reveal(), "--name", "eve"]).fails(77);
    assert!(used.contains("already used"), "{used}");

    let unknown = ServerLink { code: Some(InviteCode::generate().unwrap()), ..invite.clone() };
    let line = Quip::new().run(&["join", &unknown.reveal(), "--name", "eve"]).fails(77);
    assert!(line.contains("not valid"), "{line}");

    let taken = Quip::new().run(&["join", &invite.reveal(), "--name", "ann"]).fails(65);
    assert!(taken.contains("taken"), "{taken}");
    Quip::joined(&invite, "bob");

    let cut = invite.reveal();
    let line = Quip::new().run(&["join", &cut[..cut.len() - 3], "--name", "eve"]);
    assert!([2, 65].contains(&line.code) && line.stderr.contains("quotes"), "{line:?}");

    let nobody = Quip::new().run(&["join", &server.link.reveal(), "--name", "eve"]).fails(77);
    assert!(nobody.contains("invit"), "{nobody}");
    let names: Vec<String> =
        ann.run(&["who", "#general"]).ok().lines().map(|line| line[..4].trim().to_owned()).collect();
    assert_eq!(names, ["ann", "bob"], "nobody came in that should not");
}

#[test]
fn a_code_that_has_expired() {
    let server = Server::start();
    let invite = server.invite(&["--ttl", "1s"]);
    let until = std::time::Instant::now() + std::time::Duration::from_millis(1_100);
    quip_tests::eventually("the code expires", || (std::time::Instant::now() > until).then_some(()));
    let line = Quip::new().run(&["join", &invite.reveal(), "--name", "eve"]).fails(77);
    assert!(line.contains("expired"), "{line}");
}

#[test]
fn an_unknown_key() {
    let server = Server::start();
    let stranger = Quip::new();
    let output = stranger
        .command(&["send", "#general", "hi"])
        .env("QUIP_SERVER", server.link.reveal())
        .env("QUIP_TOKEN", quip_tests::identity("stranger").to_token())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.lines().count() == 1 && line.contains("does not know this token"), "{line}");
}

#[test]
fn a_changed_server_key_is_refused_with_both_fingerprints() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let before = server.link.fingerprint.unwrap();
    assert!(server.stop());
    for file in ["cert.pem", "key.pem"] {
        std::fs::remove_file(server.data_dir().join(file)).unwrap();
    }
    let after = server.restart_with_new_key().fingerprint.unwrap();
    let line = ann.run(&["send", "#general", "hi"]).fails(77);
    assert!(line.contains(&before.to_string()) && line.contains(&after.to_string()), "{line}");
}

#[test]
fn a_kicked_member_and_a_private_room_that_is_guessed() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    ann.run(&["room", "create", "#secret", "--private", "--topic", "the merger"]).ok();
    ann.run(&["send", "#secret", "we sign on friday"]).ok();
    for verb in [
        &["send", "ROOM", "x"][..],
        &["history", "ROOM"],
        &["tail", "ROOM"],
        &["who", "ROOM"],
        &["export", "ROOM"],
        &["room", "join", "ROOM"],
    ] {
        let ask = |room: &str| {
            let args: Vec<&str> = verb.iter().map(|arg| if *arg == "ROOM" { room } else { arg }).collect();
            bob.run(&args).fails(77).replace(room, "ROOM")
        };
        assert_eq!(
            ask("#secret"),
            ask("#nosuch"),
            "{verb:?}: a room one may not know of is a room that is not there"
        );
    }
    ann.run(&["room", "invite", "#secret", "bob"]).ok();
    assert!(bob.run(&["history", "#secret"]).ok().contains("friday"));
    ann.run(&["room", "kick", "#secret", "bob"]).ok();
    ann.run(&["send", "#secret", "bob is out"]).ok();
    for args in [
        &["send", "#secret", "x"][..],
        &["history", "#secret"],
        &["tail", "#secret"],
        &["room", "join", "#secret"],
    ] {
        let line = bob.run(args).fails(77);
        assert!(line.contains("removed from #secret by ann"), "{line}");
    }
    assert!(!bob.run(&["rooms"]).ok().contains("secret"));
}

#[test]
fn usage_is_exit_2_and_one_line() {
    let quip = Quip::new();
    for args in [&["send"][..], &["send", "nosigil", "x"], &["tail", "#a", "-n", "many"], &["frobnicate"]] {
        let ran = quip.run(args);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
    assert_eq!(quip.run(&["send", "#general", "x"]).code, 2, "no server is known");
}
