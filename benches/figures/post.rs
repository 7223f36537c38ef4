//! From a line in an agent's transcript to the call that posts it, at a Slack that is as strict as the real one and as fast
//! as loopback.

use std::io::Write;
use std::time::{Duration, Instant};

use fleetd::model::{StateName, TranscriptEntry, TranscriptLine};
use jiff::Timestamp;

use crate::daemon::Daemon;
use crate::support::fleet::{FLEETD, Fleet};
use crate::support::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack};
use crate::support::wait::until;
use crate::table::{Row, Samples};

const AGENTS: usize = 8;
const ROUNDS: usize = 6;

/// A channel gets one message in 1.25 s, so that Slack's own limit is never met.
const PACE: Duration = Duration::from_millis(1300);

/// An agent that holds its turn open, and its channel.
fn entry(slug: &str, channel: &str, gate: &str) -> String {
    format!(
        "  - slug: {slug}\n    runtime: command\n    command: [{FLEETD}, practice-agent, --speed, \"0\", --gate, {gate}]\n    \
         prompt: \"❯\"\n    slackChannel: {channel}\n"
    )
}

/// Measures.
pub async fn measure() -> Vec<Row> {
    let names: Vec<(String, String)> = (0..AGENTS).map(|n| (format!("agent-{n}"), format!("C0000000{n}"))).collect();
    let channels: Vec<(&str, &str)> = names.iter().map(|(slug, id)| (slug.as_str(), id.as_str())).collect();
    let slack = FakeSlack::start(&channels, Duration::from_secs(3)).await;
    let mut fleet = Fleet::new("");
    let gate = fleet.path("gate");
    fleet.configure(&names.iter().map(|(slug, id)| entry(slug, id, gate.to_str().unwrap())).collect::<String>());
    fleet.set("SLACK_BOT_TOKEN", BOT_TOKEN);
    fleet.set("SLACK_APP_TOKEN", APP_TOKEN);
    fleet.set("SLACK_API_URL", slack.api_url());
    let slugs: Vec<String> = names.iter().map(|(slug, _)| slug.clone()).collect();
    let _daemon = Daemon::start(&fleet, &slugs).await;
    slack.wait_sockets(1).await;
    for slug in &slugs {
        let id = fleet.fleet(&["send", slug, "--no-wait", "practice: hold"]);
        fleet.until_prompt(&id, "confirmed", |state| state.name() == StateName::Confirmed).await;
    }
    for (_, channel) in &names {
        until("the turn is told", async || (!slack.messages_in(channel, None).is_empty()).then_some(())).await;
    }
    let mut samples = Samples::default();
    for round in 0..ROUNDS {
        let next = tokio::time::Instant::now() + PACE;
        for slug in &slugs {
            samples.add(one(&fleet, &slack, slug, &format!("line {round} of {slug}")).await);
        }
        tokio::time::sleep_until(next).await;
    }
    assert_eq!(slack.violations(), Vec::<String>::new());
    let reached = samples.median() < Duration::from_millis(100);
    vec![Row::alone("transcript line → Slack post", samples.told()).reaching("100 ms", reached)]
}

async fn one(fleet: &Fleet, slack: &FakeSlack, slug: &str, text: &str) -> Duration {
    let line = TranscriptLine { at: Timestamp::now(), entry: TranscriptEntry::Said { text: text.to_owned() } };
    let line = format!("{}\n", serde_json::to_string(&line).unwrap());
    let path = fleet.state().join("agents").join(slug).join("transcript.jsonl");
    let mut file = std::fs::File::options().append(true).open(path).unwrap();
    let before = slack.called_at("chat.postMessage").len();
    let written = Instant::now();
    file.write_all(line.as_bytes()).unwrap();
    slack.wait_message(&format!("{text} is posted"), |message| message.text.contains(text)).await;
    let called = slack.called_at("chat.postMessage");
    assert_eq!(called.len(), before + 1, "something else was posted meanwhile");
    called[before] - written
}
