//! What the real CLIs show and record when something keeps them from going on, and what the fleet does about it.

use std::time::Duration;

use fleetd::config::CrashPoint;
use fleetd::daemon::protocol::{AgentState, AgentStatus};
use fleetd::model::{Blocked, Fact, Outcome, Source, StateName};

use crate::support::agents::Cli;
use crate::support::fleet::Fleet;
use crate::support::model::{FakeModel, sha256};
use crate::support::slack::{BOT_USER, FakeSlack, Posted};
use crate::support::wait::until;

/// Two hours, in seconds: how long a limit of the tests lasts.
const LIMIT: i64 = 7200;

/// A fleet of one real CLI; Claude as somebody's subscription, whose limits it tells apart from a moment's refusal.
async fn fleet_of(cli: Cli, model: &FakeModel, extra: &str) -> Fleet {
    let mut fleet = Fleet::real(model, &[("ann", cli)], extra);
    if cli == Cli::Claude {
        let yaml = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
        let subscribed = yaml.lines().map(|line| match line.trim_start().starts_with("ANTHROPIC_API_KEY:") {
            true => "      CLAUDE_CODE_OAUTH_TOKEN: \"sk-ant-oat01-fake\"\n".to_owned(),
            false => format!("{line}\n"),
        });
        std::fs::write(fleet.path("agents.yaml"), subscribed.collect::<String>()).unwrap();
    }
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    fleet
}

fn ann(fleet: &Fleet) -> AgentStatus {
    fleet.status().agents.into_iter().next().unwrap()
}

async fn until_blocked(fleet: &Fleet) -> Blocked {
    until("the status says what blocks it", async || match ann(fleet).state {
        AgentState::Blocked { why } => Some(why),
        _ => None,
    })
    .await
}

/// The prompts that the fleet itself gave, by the requests that the model got.
fn resumed(model: &FakeModel) -> usize {
    model.requests().iter().filter(|request| request.newest_prompt().starts_with("[fleet · resume · fleet · ")).count()
}

async fn goes_on_after_a_usage_limit(cli: Cli) {
    let model = FakeModel::start();
    let mut fleet = fleet_of(cli, &model, "").await;
    fleet.fleet(&["send", "ann", "--reply", "the first thing"]);
    let cut = fleet.hand_in("ann", &format!("a long task\nlimit {LIMIT}"));
    let started = jiff::Timestamp::now();
    let view = fleet.until_prompt(&cut, "done", |state| state.name() == StateName::Done).await;
    let blocked = view.turn.iter().find_map(|row| match &row.fact {
        Fact::TurnEnded { outcome: Outcome::Failed { blocked, .. }, .. } => blocked.clone(),
        _ => None,
    });
    let Some(Blocked::UsageLimit { until: Some(told) }) = blocked else { panic!("{:?}", view.turn) };
    let lasts = told.duration_since(started).as_secs();
    assert!((LIMIT - 5..LIMIT + 120).contains(&lasts), "the limit ends in {lasts} s");
    assert_eq!(until_blocked(&fleet).await, Blocked::UsageLimit { until: Some(told) });

    let waits = fleet.hand_in("ann", "what waits meanwhile");
    fleet.until_held("ann", &waits, &format!("its usage limit is reached until {told}")).await;
    let asked = model.requests().len();
    // A daemon of the next release, or after a crash, knows it too.
    fleet.kill();
    fleet.start().await;
    fleet.until_held("ann", &waits, "its usage limit is reached until").await;
    assert_eq!((model.requests().len(), resumed(&model)), (asked, 0), "it was typed into a limit");

    fleet.move_clock(LIMIT + 180);
    fleet.until_prompt(&waits, "done", |state| state.name() == StateName::Done).await;
    fleet.until_state("ann", "idle").await;
    assert_eq!(resumed(&model), 1, "it goes on by itself, once");
    let requests = model.requests();
    let order: Vec<bool> =
        requests[asked..].iter().map(|request| request.newest_prompt().contains("[fleet · resume")).collect();
    assert_eq!(order.first(), Some(&true), "what was cut off goes first");
    assert!(requests[asked].remembers("the first thing") && requests[asked].remembers("a long task"));
    let waited = model.request_for("what waits meanwhile").unwrap();
    let expected = format!("[fleet · cli · ann · {waits}]\nwhat waits meanwhile");
    assert!(sha256(waited.newest_prompt()) == sha256(&format!("{expected}\n\n{}", fleetd::model::text::NEVER_MERGE)));
    // Neither another tick nor another start gives it again.
    fleet.kill();
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    fleet.fleet(&["send", "ann", "--reply", "the last thing"]);
    assert_eq!(resumed(&model), 1);
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_claude_that_reached_its_usage_limit_is_left_alone_until_then_and_goes_on_by_itself_once() {
    goes_on_after_a_usage_limit(Cli::Claude).await;
}

#[tokio::test]
async fn a_codex_that_reached_its_usage_limit_is_left_alone_until_then_and_goes_on_by_itself_once() {
    goes_on_after_a_usage_limit(Cli::Codex).await;
}

async fn calls_for_a_login(cli: Cli) {
    let model = FakeModel::start();
    let mut fleet = fleet_of(cli, &model, "").await;
    fleet.fleet(&["send", "ann", "--reply", "expired"]);
    let blocked = until_blocked(&fleet).await;
    assert!(matches!(blocked, Blocked::Login { .. }), "{blocked:?}");
    let waits = fleet.hand_in("ann", "what waits meanwhile");
    fleet.until_held("ann", &waits, "its login is over").await;
    let paged = |fleet: &Fleet| fleet.log().matches("*ann* is blocked: its login is over").count();
    until("people are called", async || (paged(&fleet) > 0).then_some(())).await;
    fleet.kill();
    fleet.start().await;
    fleet.until_held("ann", &waits, "its login is over").await;
    assert_eq!(paged(&fleet), 1, "they are called once");

    // Somebody logs in.
    let login = match cli {
        Cli::Claude => fleet.path("home-ann/.claude/.credentials.json"),
        Cli::Codex => fleet.path("home-ann/codex/auth.json"),
    };
    std::fs::write(login, "{}").unwrap();
    fleet.until_prompt(&waits, "done", |state| state.name() == StateName::Done).await;
    fleet.until_state("ann", "idle").await;
    let called_off = |fleet: &Fleet| fleet.log().matches("*ann* goes on").count();
    until("people are told that it goes on", async || (called_off(&fleet) > 0).then_some(())).await;
    fleet.fleet(&["send", "ann", "--reply", "one more thing"]);
    fleet.until_state("ann", "idle").await;
    assert_eq!((paged(&fleet), called_off(&fleet), resumed(&model)), (1, 1, 0));
}

#[tokio::test]
async fn a_claude_whose_login_is_over_calls_for_people_once_and_its_queue_waits_for_the_login() {
    calls_for_a_login(Cli::Claude).await;
}

#[tokio::test]
async fn a_codex_whose_login_is_over_calls_for_people_once_and_its_queue_waits_for_the_login() {
    calls_for_a_login(Cli::Codex).await;
}

async fn compacts_once(cli: Cli, tokens: u64) {
    let model = FakeModel::start();
    let mut fleet = fleet_of(cli, &model, "    context: {compactAt: 0.8}\n").await;
    let first = fleet.hand_in("ann", "the first thing");
    fleet.until_prompt(&first, "done", |state| state.name() == StateName::Done).await;
    for number in 0..3 {
        fleet.fleet(&["send", "ann", "--reply", &format!("thing {number}")]);
    }
    assert!(!fleet.feed().iter().any(|row| matches!(&row.fact, Fact::Said { text } if text.contains("was compacted"))));
    fleet.fleet(&["send", "ann", "--reply", &format!("a large thing\ntokens {tokens}")]);
    let compacted = |fleet: &Fleet| {
        let told =
            |row: &&fleetd::model::FeedRow| matches!(&row.fact, Fact::Said { text } if text.contains("was compacted"));
        fleet.feed().iter().filter(told).filter_map(|row| row.turn.clone()).collect::<Vec<_>>()
    };
    let prompts = until("the conversation is compacted", async || {
        let compacted = compacted(&fleet);
        (!compacted.is_empty()).then_some(compacted)
    })
    .await;
    let id = prompts[0].to_string();
    let view = fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    assert_eq!((view.source, view.body.as_str()), (Source::Compact, "/compact"));
    let typed = view.steps.iter().filter(|step| step.state.name() == StateName::Typing).count();
    assert_eq!(typed, 1, "{:?}", view.steps);

    fleet.kill();
    fleet.start().await;
    fleet.fleet(&["send", "ann", "--reply", "the next thing"]);
    let request = model.request_for("the next thing").unwrap();
    assert!(request.remembers(&first), "it forgot: {:?}", request.messages);
    assert!(request.remembers("What was asked:"), "another conversation answered: {:?}", request.messages);
    assert_eq!(compacted(&fleet).len(), 1, "once for each time it is full");
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_claude_whose_context_fills_up_is_compacted_once_and_remembers() {
    compacts_once(Cli::Claude, 900_000).await;
}

#[tokio::test]
async fn a_codex_whose_context_fills_up_is_compacted_once_and_remembers() {
    compacts_once(Cli::Codex, 220_000).await;
}

/// How often the model was asked for a summary of the conversation.
fn summaries(model: &FakeModel) -> usize {
    model.requests().iter().filter(|request| request.asks_for_a_summary()).count()
}

async fn compacts_once_though_the_daemon_dies(cli: Cli, tokens: u64) {
    let model = FakeModel::start();
    let mut fleet = fleet_of(cli, &model, "").await;
    for number in 0..3 {
        fleet.fleet(&["send", "ann", "--reply", &format!("thing {number}")]);
    }
    let without = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
    let points = [CrashPoint::TypingStored, CrashPoint::Pasted, CrashPoint::EnterPressed];
    for (round, point) in (1..).zip(points) {
        fleet.fleet(&["send", "ann", "--reply", &format!("a large thing\ntokens {tokens}")]);
        fleet.until_state("ann", "idle").await;
        fleet.kill();
        std::fs::write(fleet.path("agents.yaml"), without.clone() + "    context: {compactAt: 0.8}\n").unwrap();
        fleet.set("FLEET_CRASH_AT", point.name());
        fleet.launch();
        until("the daemon dies", || std::future::ready(fleet.died().then_some(()))).await;
        fleet.unset("FLEET_CRASH_AT");
        fleet.start().await;
        until("the conversation is compacted", async || {
            let told = |row: &&fleetd::model::FeedRow| matches!(&row.fact, Fact::Said { text } if text.contains("was compacted"));
            (fleet.feed().iter().filter(told).count() == round).then_some(())
        })
        .await;
        fleet.fleet(&["send", "ann", "--reply", &format!("on it goes after {point:?}")]);
        assert_eq!(summaries(&model), round, "after {point:?}");
        fleet.kill();
        std::fs::write(fleet.path("agents.yaml"), &without).unwrap();
        fleet.start().await;
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_claude_is_compacted_once_though_the_daemon_dies_at_any_moment_of_typing_it() {
    compacts_once_though_the_daemon_dies(Cli::Claude, 900_000).await;
}

#[tokio::test]
async fn a_codex_is_compacted_once_though_the_daemon_dies_at_any_moment_of_typing_it() {
    compacts_once_though_the_daemon_dies(Cli::Codex, 220_000).await;
}

#[tokio::test]
async fn a_conversation_that_no_longer_fits_is_compacted_and_what_waited_for_it_is_given() {
    let model = FakeModel::start();
    let fleet = fleet_of(Cli::Codex, &model, "").await;
    for number in 0..3 {
        fleet.fleet(&["send", "ann", "--reply", &format!("thing {number}")]);
    }
    let cut = fleet.hand_in("ann", "full");
    let waits = fleet.hand_in("ann", "what waits meanwhile");
    let view = fleet.until_prompt(&cut, "done", |state| state.name() == StateName::Done).await;
    let full = |fact: &Fact| {
        matches!(fact, Fact::TurnEnded { outcome: Outcome::Failed { blocked: Some(Blocked::ContextFull), .. }, .. })
    };
    assert!(view.turn.iter().any(|row| full(&row.fact)), "{:?}", view.turn);
    fleet.until_prompt(&waits, "done", |state| state.name() == StateName::Done).await;
    assert_eq!(summaries(&model), 1);
    let order: Vec<bool> = model.requests().iter().rev().take(2).map(|request| request.asks_for_a_summary()).collect();
    assert_eq!(order, [false, true], "it was compacted before what waited was given");
}

#[tokio::test]
async fn a_model_that_takes_no_requests_for_a_moment_is_asked_again_after_a_minute() {
    let model = FakeModel::start();
    let fleet = fleet_of(Cli::Codex, &model, "").await;
    fleet.fleet(&["send", "ann", "--reply", "fail 429"]);
    let Blocked::RateLimited { until: Some(_) } = until_blocked(&fleet).await else { panic!("{:?}", ann(&fleet)) };
    assert_eq!(resumed(&model), 0);
    fleet.move_clock(70);
    until("it is asked to go on", async || (resumed(&model) == 1).then_some(())).await;
    fleet.until_state("ann", "idle").await;
}

#[tokio::test]
async fn what_a_limit_cut_off_is_answered_in_the_thread_where_it_was_asked() {
    const CHANNEL: &str = "C0ANN";
    let (model, slack) =
        (FakeModel::start(), FakeSlack::start(&[("agent-ann", CHANNEL)], Duration::from_secs(3)).await);
    let mut fleet = Fleet::real(&model, &[("ann", Cli::Codex)], "");
    fleet.on_slack(&slack);
    fleet.start().await;
    until("the bridge is up", async || fleet.status().slack.is_some_and(|slack| slack.connected).then_some(())).await;
    let asked = slack.human_says(CHANNEL, None, "U0ANN", &format!("a long task\nlimit {LIMIT}"));
    until_blocked(&fleet).await;
    fleet.move_clock(LIMIT + 60);
    let answered = |post: &Posted| {
        post.user == BOT_USER && post.thread.as_deref() == Some(asked.as_str()) && post.text.contains("finished")
    };
    slack.wait_message("the answer stands in the thread of the question", answered).await;
    assert_eq!(resumed(&model), 1);
    assert_eq!(slack.violations(), Vec::<String>::new());
}
