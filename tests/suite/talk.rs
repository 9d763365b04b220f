//! The way of one message, through the real server and the client library.

use quip_protocol::client::Event;
use quip_tests::{Server, join, within};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_talk() {
    let server = Server::start();
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let mut bob = join(&server.invite(&[]), "bob").await;
    let general = within("bob joins", bob.join("#general")).await.unwrap();
    let receipt = within("a receipt", ann.send(&general, "hello")).await.unwrap();
    assert_eq!(receipt.room, general.id);
    loop {
        if let Event::Message(message) = within("the message", bob.next()).await.unwrap().unwrap() {
            assert_eq!(
                (message.text(), message.seq(), message.author().as_str()),
                ("hello", receipt.seq, "ann")
            );
            break;
        }
    }
}
