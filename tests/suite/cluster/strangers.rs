//! Where the nodes are is told to who has an account, and to nobody else.

use quip_protocol::SafeLine;
use quip_protocol::client::{Client, Event};
use quip_protocol::frame::{Reply, Request};
use quip_tests::person::config;
use quip_tests::{Quip, identity, join, within};

use super::several::Several;

async fn knows_both(client: &mut Client) {
    let telling = async {
        while client.nodes().len() < 2 {
            client.next().await.expect("it lives").expect("no error");
        }
    };
    within("both nodes are told", telling).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_hears_of_the_nodes_once_it_has_an_account_and_then_goes_to_them() {
    let mut several = Several::new(2);
    let [a, b] = &mut several.nodes[..] else { unreachable!("there are two") };
    // From then on `a` tells of both.
    let mut owner = join(&several.owner, "owner").await;
    knows_both(&mut owner).await;
    owner.join("#general").await.unwrap();

    let link = b.invite(1);
    let at_a = quip_protocol::ServerLink { code: None, ..several.links[0].clone() };
    let mut client = Client::connect(config(&at_a, identity("bob"))).await.unwrap();
    let nobody = |reply: &Reply| matches!(reply, Reply::Refused(_));
    // What it asks goes and comes after anything that it could have been told at the beginning.
    let refused = within("it is refused", client.request(Request::WhoAmI)).await;
    assert!(refused.as_ref().map_or(true, nobody), "{refused:?}");
    assert_eq!(client.nodes(), []);

    let redeem = Request::Redeem {
        code: link.code.clone().unwrap(),
        name: Some("bob".parse().unwrap()),
        device: SafeLine::new("test"),
    };
    let reply = within("it gets an account", client.request(redeem)).await.unwrap();
    assert!(matches!(reply, Reply::Account(_)), "{reply:?}");
    knows_both(&mut client).await;
    a.kill();
    let general: quip_protocol::Target = "#general".parse().unwrap();
    let (handle, to) = (client.handle(), general.clone());
    let sending = tokio::spawn(async move { handle.send(&to, "here").await });
    let up = async {
        loop {
            if let Some(Ok(Event::Up(welcome))) = client.next().await
                && welcome.nodes.first().is_some_and(|node| node.node.name.as_str() == "b")
            {
                return;
            }
        }
    };
    within("it is at the other node", up).await;
    within("it is taken there", sending).await.unwrap().unwrap();
}

/// `quip join`, and the node that was joined is gone when the next command runs.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_just_joined_finds_the_other_node() {
    let mut several = Several::new(2);
    let a = &mut several.nodes[0];
    let mut owner = join(&several.owner, "owner").await;
    knows_both(&mut owner).await;
    let ann = Quip::joined(&a.invite(1), "ann");
    a.kill();
    assert!(ann.run(&["whoami"]).ok().contains(", node b of "));
}
