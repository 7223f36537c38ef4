//! The connection: tokens, addresses, and sockets that come and go.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::bridge::{House, PR};
use crate::support::slack::{APP_TOKEN, Script};
use crate::support::wait::until;

#[tokio::test]
async fn the_address_works_with_and_without_a_slash_at_its_end() {
    for end in ["", "/"] {
        let mut house = House::new().await;
        house.options.api_url = Some(house.slack.api_url() + end);
        let mut bridge = house.started().await;
        house.slack.human_says(PR, None, "UANN", "hello");
        bridge.prompted().await;
        house.assert_clean();
    }
}

#[tokio::test]
async fn a_wrong_or_swapped_token_is_told_with_what_to_do_and_nothing_leaks() {
    for (wrong, word) in [("xapp-1-very-secret-and-wrong", "invalid_auth"), ("swap", "not_allowed_token_type")] {
        let mut house = House::new().await;
        let wrong = if wrong == "swap" { house.options.bot_token.clone() } else { wrong.to_owned().into() };
        house.options.app_token = wrong;
        let mut bridge = house.start();
        let status = bridge.wait_status("the problem is told", |status| status.problem.is_some()).await;
        let problem = status.problem.unwrap();
        assert!(problem.contains(word) && problem.contains("SLACK_APP_TOKEN"), "{problem}");
        assert!(!problem.contains("secret") && !status.connected, "{problem}");
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_is_told_and_its_return_ends_the_problem() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    house.slack.wait_sockets(2).await;
    house.slack.revoke_tokens(true);
    house.slack.drop_sockets();
    let revoked = |problem: &Option<String>| problem.as_ref().is_some_and(|text| text.contains("token_revoked"));
    bridge.wait_status("the problem is told", |status| revoked(&status.problem) && !status.connected).await;
    house.slack.revoke_tokens(false);
    bridge.wait_status("all is well again", |status| status.connected && status.problem.is_none()).await;
}

#[tokio::test]
async fn a_wrong_bot_token_is_told_while_what_people_say_is_kept() {
    let mut house = House::new().await;
    let good = std::mem::replace(&mut house.options.bot_token, "xoxb-very-secret-and-wrong".to_owned().into());
    let mut bridge = house.start();
    let told = bridge.wait_status("the problem is told", |status| status.connected && status.problem.is_some()).await;
    let problem = told.problem.unwrap();
    assert!(problem.contains("SLACK_BOT_TOKEN") && !problem.contains("secret"), "{problem}");
    house.slack.human_says(PR, None, "UANN", "kept");
    house.slack.wait_acked().await;
    bridge.kill().await;
    house.options.bot_token = good;
    let mut bridge = house.started().await;
    bridge.prompted().await;
    assert_eq!(house.open("pr").await[0].body, "kept");
    house.assert_clean();
}

#[tokio::test]
async fn no_network_is_a_problem_that_passes() {
    let mut house = House::new().await;
    let good = house.options.api_url.take();
    house.options.api_url = Some("http://127.0.0.1:1/api".into());
    let mut bridge = house.start();
    let status = bridge.wait_status("the problem is told", |status| status.problem.is_some()).await;
    assert!(status.problem.unwrap().contains("can't reach slack"));
    bridge.kill().await;
    house.options.api_url = good;
    house.slack.script("apps.connections.open", &[Script::Status(503), Script::RateLimit(1)]);
    let mut bridge = house.started().await;
    let status = bridge.wait_status("the problem is over", |status| status.problem.is_none()).await;
    assert!(status.connected);
}

#[tokio::test]
async fn a_warning_brings_a_new_socket_while_the_old_one_is_still_read() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    house.slack.wait_sockets(2).await;
    house.slack.refresh();
    house.slack.wait_sockets(4).await;
    house.slack.human_says(PR, None, "UANN", "on either");
    bridge.prompted().await;
    house.slack.wait_acked().await;
    house.assert_clean();
}

#[tokio::test]
async fn what_was_said_while_sockets_were_cut_off_is_there_once_and_dials_do_not_storm() {
    let house = House::new().await;
    let mut bridge = house.started().await;
    for round in 0..3 {
        house.slack.drop_sockets();
        house.slack.human_says(PR, None, "UANN", &format!("round {round}"));
        bridge.prompted().await;
    }
    house.slack.wait_acked().await;
    let bodies: Vec<_> = house.open("pr").await.into_iter().map(|prompt| prompt.body).collect();
    assert_eq!(bodies, ["round 0", "round 1", "round 2"]);
    assert!(house.slack.count("apps.connections.open") <= 8, "{}", house.slack.count("apps.connections.open"));
    house.assert_clean();
}

#[tokio::test]
async fn a_socket_that_went_half_open_is_given_up_for_a_new_one() {
    let mut house = House::new().await;
    (house.options.timing.ping, house.options.timing.silence) =
        (Duration::from_millis(100), Duration::from_millis(600));
    let mut bridge = house.started().await;
    house.slack.silence(true);
    // It must be cut off by us: the fake keeps it open and says nothing.
    let opens = house.slack.count("apps.connections.open");
    house.slack.human_says(PR, None, "UANN", "into the void");
    until("a new socket is asked for", || async { (house.slack.count("apps.connections.open") > opens).then_some(()) })
        .await;
    house.slack.silence(false);
    bridge.prompted().await;
    assert_eq!(house.open("pr").await.len(), 1);
    house.assert_clean();
}

/// Where the log of one test goes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_or_ticket_stands_in_the_most_talkative_log_or_in_the_status() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    // For this thread alone, which is the one that all of this test's tasks run on.
    let _guard = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let house = House::new().await;
    assert!(!format!("{:?}", house.options).contains("secret"), "{:?}", house.options);
    assert!(APP_TOKEN.contains("secret"), "the test would notice");
    let mut bridge = house.started().await;
    house.slack.human_says(PR, None, "UANN", "hello");
    bridge.prompted().await;
    house.slack.drop_sockets();
    house.slack.revoke_tokens(true);
    let status = bridge.wait_status("the problem is told", |status| status.problem.is_some()).await;
    assert!(!format!("{status:?}").contains("secret"), "{status:?}");
    bridge.kill().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the bridge to slack has a problem"), "{log}");
    assert_eq!(log.lines().find(|line| line.contains("secret")), None);
}
