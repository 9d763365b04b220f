//! What was deleted is gone, with everything that it ever said; what was edited shows what it said before.

use quip_tests::{Quip, Server, Terminal, eventually};

/// The words of a message that is said, edited twice, and deleted.
const SECRETS: [&str; 3] = ["first secret", "second secret", "third secret"];

fn exported(quip: &Quip) -> String {
    quip.run(&["export", "#general"]).ok()
}

fn assert_gone(what: &str, text: &str) {
    assert!(!text.contains("secret"), "{what} still has it: {text}");
    assert!(text.contains(r#""deleted":true"#) && text.contains(r#""text":null"#), "{what}: {text}");
}

/// Ann's client says it and edits it; bob's sees it and goes away before it is deleted.
fn said_edited_and_deleted(ann: &Quip, bob: &Quip) {
    let [first, second, third] = SECRETS;
    let (writer, reader) = (Terminal::client(ann, 80, 24), Terminal::client(bob, 80, 24));
    for terminal in [&writer, &reader] {
        terminal.connected();
        terminal.shows("bob joined");
    }
    writer.say(first);
    reader.shows(first);
    reader.say("what was that?");
    writer.shows("what was that?");
    for text in [second, third] {
        writer.say(&format!("/edit {text}"));
        reader.shows(text);
    }
    writer.shows("third secret (edited)");
    writer.say("/edits");
    let sheet = writer.shows("2 edits");
    assert!(SECRETS.iter().all(|text| sheet.contains(text)), "{sheet}");
    writer.escape_from("2 edits");
    reader.say("/quit");
    reader.ends();
    let edited = exported(ann);
    for (text, field) in SECRETS.iter().zip(["original", "text", "text"]) {
        assert!(edited.contains(&format!(r#""{field}":"{text}""#)), "its history is there: {edited}");
    }
    writer.say("/delete");
    writer.shows("(y/n)");
    writer.press(&["y"]);
    writer.shows("(deleted)");
    eventually("the server has it", || exported(ann).contains(r#""type":"delete""#).then_some(()));
    writer.say("/quit");
    writer.ends();
}

#[test]
fn a_deleted_message_is_gone_with_all_its_edits() {
    let mut server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let bob = Quip::joined(&server.invite(&[]), "bob");
    said_edited_and_deleted(&ann, &bob);
    let carl = Quip::joined(&server.invite(&[]), "carl");
    for quip in [&ann, &bob, &carl] {
        assert_gone("export", &exported(quip));
        assert_gone("history", &quip.run(&["history", "#general", "-n", "1000", "--json"]).ok());
        assert_gone("tail", &quip.run(&["tail", "#general", "--since", "0", "--json"]).ok());
    }
    // Bob's copy had every word when he went, and catches up.
    let terminal = Terminal::client(&bob, 80, 24);
    terminal.shows("(deleted)");
    terminal.say("/quit");
    terminal.ends();
    assert!(server.stop());
    for quip in [&ann, &bob] {
        let offline = quip.run(&["export", "#general"]);
        assert!(offline.stderr.contains("local copy"), "{offline:?}");
        assert_gone("the local copy", &offline.ok());
    }
    server.restart();
    assert_gone("the server's store", &exported(&carl));
    server.kill();
    std::fs::remove_dir_all(server.data_dir().join("store")).unwrap();
    server.restart();
    assert_gone("a store made anew from the journal", &exported(&carl));
}
