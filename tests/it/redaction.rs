//! No secret of the box is read outside of it, whatever an agent prints and wherever people look.

use std::io::Write;
use std::time::Duration;

use fleetd::model::{Doing, Outcome, TranscriptEntry, TranscriptLine};
use jiff::Timestamp;

use crate::support::fleet::Fleet;
use crate::support::slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, Posted};
use crate::support::wait::until;

const CHANNEL: &str = "C00000001";

/// A secret of the agent's own.
const DEPLOY_KEY: &str = "fakeDeploy0007/Key+x";

/// A secret that agents.yaml gets while the fleet runs.
const LATER: &str = "fake-later-0008-value";

/// Base64 of the bot's token by itself and within a longer text, its padding left out.
const ENCODED: [&str; 2] = ["eG94Yi0xLXNlY3JldC1ib3Q=", "dXNlcjp4b3hiLTEtc2VjcmV0LWJvdA=="];

/// Writes into an agent's own record, as the agent would.
fn record(fleet: &Fleet, entry: TranscriptEntry) {
    let path = fleet.state().join("agents/ann/transcript.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    let line = TranscriptLine { at: Timestamp::now(), entry }.to_json().unwrap();
    file.write_all(format!("{}\n", line.trim_end()).as_bytes()).unwrap();
}

fn said(fleet: &Fleet, text: &str) {
    record(fleet, TranscriptEntry::Said { text: text.to_owned() });
}

/// Everything that people can read: Slack, the log, and what the client prints.
fn read_by_people(fleet: &Fleet, slack: &FakeSlack, prompt: &str) -> Vec<(&'static str, String)> {
    let shown = |post: Posted| format!("{}\n{}", post.text, slack.blocks_of(CHANNEL, &post.ts));
    let posts: Vec<String> = slack.everything_in(CHANNEL).into_iter().map(shown).collect();
    vec![
        ("slack", posts.join("\n")),
        ("the log", fleet.log()),
        ("trace", fleet.fleet(&["trace", prompt])),
        ("trace --json", fleet.fleet(&["trace", prompt, "--json"])),
        ("tail", fleet.fleet(&["tail", "--all", "--no-follow"])),
        ("tail --json", fleet.fleet(&["tail", "--all", "--no-follow", "--json"])),
        ("status", fleet.fleet(&["status"])),
        ("status --json", fleet.fleet(&["status", "--json"])),
        ("queue", fleet.fleet(&["queue"])),
        ("a refusal", {
            let output = fleet.run(&["send", BOT_TOKEN, "hello"]);
            String::from_utf8_lossy(&output.stderr).into_owned()
        }),
    ]
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

fn assert_nothing_of(secret: &str, read: &[(&'static str, String)]) {
    let secret = letters(secret);
    for (place, text) in read {
        let text = letters(text);
        for start in 0..=secret.len() - 8 {
            let trace = &secret[start..start + 8];
            assert!(!text.contains(trace), "{trace} of {secret} is in {place}");
        }
    }
}

#[tokio::test]
async fn a_token_that_an_agent_prints_is_read_nowhere_however_it_is_torn_or_encoded() {
    let slack = FakeSlack::start(&[("agent-ann", CHANNEL)], Duration::from_secs(3)).await;
    let mut fleet = Fleet::new("");
    let gate = fleet.path("gate");
    let ann = Fleet::gated("ann", &gate)
        + &format!("    slackChannel: \"#agent-ann\"\n    env: {{DEPLOY_KEY: \"{DEPLOY_KEY}\"}}\n");
    fleet.configure(&ann);
    fleet.on_slack(&slack);
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let asked = format!("use {BOT_TOKEN} and {DEPLOY_KEY}\npractice: hold");
    let id = fleet.fleet(&["send", "ann", "--no-wait", &asked]).split_whitespace().last().unwrap().to_owned();
    fleet.until_state("ann", "busy").await;
    fleet.until_prompt(&id, "confirmed", |state| state.name().as_str() == "confirmed").await;
    let taken = fleet.taken("ann").concat();
    assert!(taken.contains(BOT_TOKEN) && taken.contains(DEPLOY_KEY), "the agent gets what people wrote: {taken}");

    said(&fleet, &format!("the token is {BOT_TOKEN}, the key {DEPLOY_KEY}"));
    said(&fleet, &format!("torn: {}\n{}", &BOT_TOKEN[..9], &BOT_TOKEN[9..]));
    let filler = "All work and no play. ".repeat(175);
    said(&fleet, &format!("{filler}```\n{filler}{BOT_TOKEN} {filler}\n```\n| a | b |\n|---|---|\n| {APP_TOKEN} | x |"));
    said(&fleet, &format!("{} and {}", ENCODED[0], ENCODED[1]));
    record(
        &fleet,
        TranscriptEntry::Tool {
            tool: "Bash".into(),
            detail: format!("curl -H 'Authorization: {APP_TOKEN}'"),
            doing: Doing::Running,
        },
    );
    record(&fleet, TranscriptEntry::Asked { question: format!("May I use {DEPLOY_KEY}?") });

    let bob = Fleet::practice("bob") + &format!("    env: {{LATER_TOKEN: {LATER}}}\n");
    fleet.configure(&(ann.clone() + &bob));
    until("the new agents.yaml is taken", async || fleet.log().contains("was taken").then_some(())).await;
    said(&fleet, &format!("learned later: {LATER}"));
    fleet.configure(&(ann + &bob + &format!("    {BOT_TOKEN}: typo\n")));
    until("the mistake is told", async || fleet.fleet(&["status"]).contains("was not taken").then_some(())).await;

    record(
        &fleet,
        TranscriptEntry::TurnEnded {
            outcome: Outcome::Failed { reason: format!("{BOT_TOKEN} was refused"), blocked: None },
            usage: None,
            cost: None,
        },
    );
    slack.wait_message("the end is told", |post| post.text.contains("failed")).await;
    slack.wait_message("all was said", |post| post.text.contains("learned later")).await;
    let read = read_by_people(&fleet, &slack, &id);
    for secret in [BOT_TOKEN, APP_TOKEN, DEPLOY_KEY, LATER, ENCODED[0], ENCODED[1]] {
        assert_nothing_of(secret, &read);
    }
    let shown = |place: &str| read.iter().find(|(name, _)| *name == place).unwrap().1.clone();
    for place in ["slack", "the log", "trace", "tail --json", "status"] {
        assert!(shown(place).contains("[redacted: SLACK_BOT_TOKEN]"), "{place}: {}", shown(place));
    }
    assert!(shown("slack").contains("[redacted: DEPLOY_KEY]") && shown("slack").contains("[redacted: LATER_TOKEN]"));
    assert_eq!(slack.violations(), Vec::<String>::new());
}
