//! Screens of any size, and what the first screen makes of what is typed.

use crate::gallery::rooms::opened;
use crate::harness::*;

#[test]
fn tiny_terminals() {
    let mut world = opened(World::new());
    for columns in 0..30 {
        for rows in 0..12 {
            world.screen(columns, rows);
            world.keys("/<F1><Esc><Esc><C-u>");
        }
    }
}

#[test]
fn first_run() {
    use quip::app::first_run::{FirstRun, FirstRunScreen};

    let type_in = |screen: &mut FirstRunScreen, keys: &str| {
        parse_keys(keys).into_iter().find_map(|key| screen.key(key))
    };
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    assert_eq!(type_in(&mut screen, "<Down><Enter>"), None);
    screen.paste("quip://127.0.0.1:7847/?fp=SHA256:short\n");
    assert_eq!(type_in(&mut screen, "<Enter>"), None);
    assert!(screen.error.is_some());
    type_in(&mut screen, "<C-u>");
    screen.paste("'quip://chat.example:7847/#AAECAwQFBgcICQoLDA0ODw'\n");
    assert_eq!(type_in(&mut screen, "<Enter>"), None);
    match type_in(&mut screen, "<C-u>Ann-2<Enter>") {
        Some(FirstRun::Join { link, name }) => {
            assert_eq!((link.port, name), (7847, Some("ann-2".parse().unwrap())));
        }
        other => panic!("{other:?}"),
    }
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    assert_eq!(type_in(&mut screen, "h<Enter>"), Some(FirstRun::Host { name: name("ann") }));
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    assert_eq!(type_in(&mut screen, "j<Esc>q"), Some(FirstRun::Quit));
}
