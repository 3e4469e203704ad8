//! `customerd listen`: how a partner develops a receiver.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use customerd::domain::Timestamp;
use customerd::outbound::standard::{Message, Secret};

use crate::process::{Place, in_processes};
use crate::support::{Received, Receiver};

in_processes![events_are_forwarded_and_none_is_missed];

/// The command at work. Killed when dropped.
struct Listening {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listening {
    fn start(place: &Place, receiver: &Receiver) -> Self {
        let mut command = place.customerd();
        command.args(["listen", "--forward-to", &receiver.url()]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signed_with(received: &Received, secret: &str) -> bool {
    let at = Timestamp::from_unix_seconds(received.header("webhook-timestamp").parse().unwrap());
    let message = Message { id: received.header("webhook-id"), at, body: &received.body };
    message.signature([&Secret::parse(&secret.into()).unwrap()]) == received.header("webhook-signature")
}

async fn events_are_forwarded_and_none_is_missed(place: Place) {
    let server = place.serve(&[]);
    let partner = place.partner().await;
    partner.customer("before").await;
    let mut receiver = Receiver::start().await;
    let mut listening = Listening::start(&place, &receiver);
    assert_eq!(listening.line(), format!("Forwarding events to {}", receiver.url()));
    let secret = listening.line().strip_prefix("Signing secret: ").unwrap().to_owned();
    let customer = partner.customer("u-1").await;
    let received = receiver.next().await;
    assert!(signed_with(&received, &secret));
    let event = received.json();
    assert_eq!((&event["externalId"], &event["webhookType"]), (&"u-1".into(), &"customer.updated".into()));
    assert_eq!((&event["eventId"], event.get("cursor")), (&received.header("webhook-id").into(), None));
    let line = listening.line();
    let wanted = ["customer.updated", customer["id"].as_str().unwrap(), "initiating", "version 1", "204 No Content"];
    assert!(wanted.iter().all(|word| line.contains(word)), "{line}");

    // The service goes, and comes back: the stream is taken up where it was.
    receiver.will([(500, None)]);
    server.kill();
    let server = place.serve(&[]);
    partner.customer("u-2").await;
    assert_eq!(receiver.next().await.json()["externalId"], "u-2");
    assert!(listening.line().contains("500 Internal Server Error"));
    drop(listening);
    assert_eq!(server.stop(), Some(0));
}
