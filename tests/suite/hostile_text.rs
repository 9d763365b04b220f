//! Text from outside is hostile: whatever is sent, no control byte reaches a terminal, a file or a pipe.

use quip_protocol::limits::MAX_TEXT;
use quip_tests::{Quip, Server};

/// Bytes that only the program itself may write: line ends between lines.
fn assert_harmless(what: &str, printed: &str) {
    for c in printed.chars() {
        assert!(
            c == '\n' || quip_protocol::safe_text::is_safe(c),
            "{what}: U+{:04X} in {printed:?}",
            u32::from(c)
        );
    }
}

#[test]
fn no_control_character_comes_out_of_what_went_in() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let attacks = [
        "\u{1b}[31mred\u{1b}[0m",
        "\u{1b}]52;c;Y3VybCBldmlsIHwgc2g=\u{7}",
        "\u{1b}]0;title\u{1b}\\",
        "\u{9b}2J\u{9d}0;x\u{9c}",
        "back\u{8}space\rreturn\u{b}\u{c}",
        "abc\u{202e}fdp.exe\u{2066}isolate",
        "nul\u{0}del\u{7f}",
        "zero\u{200b}width\u{feff} line\u{2028}sep",
    ];
    for attack in attacks {
        ann.pipe(&["send", "#general"], attack.as_bytes()).ok();
    }
    let every: String = (1..=0x2100).filter_map(char::from_u32).chain('\u{fff0}'..='\u{ffff}').collect();
    for part in every.chars().collect::<Vec<_>>().chunks(2_000) {
        ann.pipe(&["send", "#general"], part.iter().collect::<String>().as_bytes()).ok();
    }
    ann.run(&["room", "create", "#\u{1b}x"]).fails(2);
    ann.run(&["room", "create", "#ops", "--topic", "\u{1b}]2;owned\u{7}"]).ok();
    ann.run(&["room", "kick", "#ops", "nobody\u{1b}[2J"]).fails(2);
    for args in [
        &["history", "#general", "-n", "1000"][..],
        &["history", "#general", "-n", "1000", "--json"],
        &["tail", "#general", "-n", "1000"],
        &["export", "#general"],
        &["rooms"],
        &["rooms", "--json"],
    ] {
        let ran = ann.run(args);
        assert_harmless(&format!("{args:?}"), &ran.stderr);
        assert_harmless(&format!("{args:?}"), &ran.ok());
    }
    assert_harmless("the server's log", &server.log());
}

#[test]
fn too_long_and_not_utf8_are_refused_and_lose_nothing() {
    let server = Server::start();
    let ann = Quip::joined(server.owner.as_ref().unwrap(), "ann");
    let before = ann.run(&["export", "#general"]).ok();
    let long = ann.pipe(&["send", "#general"], &vec![b'a'; 4_000_000]).fails(65);
    assert!(long.contains(&MAX_TEXT.to_string()), "the limit is named: {long}");
    let one_more = ann.pipe(&["send", "#general"], &vec![b'a'; MAX_TEXT + 1]).fails(65);
    assert!(one_more.contains(&MAX_TEXT.to_string()), "{one_more}");
    let argument = ann.run(&["send", "#general", &"a".repeat(MAX_TEXT + 1)]).fails(65);
    assert!(argument.contains(&MAX_TEXT.to_string()), "{argument}");
    let grown = ann.pipe(&["send", "#general"], &vec![0x1b; MAX_TEXT / 2]).fails(65);
    assert!(grown.contains(&MAX_TEXT.to_string()), "made visible it is too long: {grown}");
    assert!(ann.pipe(&["send", "#general"], b"caf\xe9").fails(65).contains("UTF-8"));
    assert_eq!(ann.run(&["export", "#general"]).ok(), before, "nothing was sent");
    ann.pipe(&["send", "#general"], &vec![b'a'; MAX_TEXT]).ok();
}
