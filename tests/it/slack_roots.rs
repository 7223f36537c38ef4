//! What a job came to stands in its root message, what a turn does in one message below it; and nothing says "running" for ever.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleetd::model::{
    Clock, Doing, Evidence, Fact, Mode, NewPrompt, Outcome, Place, PromptId, PromptState, Source, SystemClock,
};
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::agents::Cli;
use crate::support::bridge::{House, PR, ended, said, slug, started};
use crate::support::fleet::Fleet;
use crate::support::model::FakeModel;
use crate::support::slack::{BOT_USER, FakeSlack, Posted};
use crate::support::wait::until;

const CHANNEL: &str = "C00000001";

/// A fleet of one practice agent, `ann`, whose turns hold at `gate`.
async fn practising(slack: &FakeSlack) -> Fleet {
    let mut fleet = Fleet::new("");
    let gate = fleet.path("gate");
    let entry = Fleet::practice("ann") + "    slackChannel: \"#agent-ann\"\n";
    fleet.configure(&(entry + &format!("    env: {{FLEET_PRACTICE_GATE: {}}}\n", gate.display())));
    fleet.on_slack(slack);
    fleet.start().await;
    up(&fleet).await;
    fleet.until_state("ann", "idle").await;
    fleet
}

async fn up(fleet: &Fleet) {
    until("the bridge is up", async || fleet.status().slack.is_some_and(|slack| slack.connected).then_some(())).await;
}

async fn workspace() -> FakeSlack {
    FakeSlack::start(&[("agent-ann", CHANNEL)], Duration::from_secs(3)).await
}

fn open_gate(fleet: &Fleet) {
    std::fs::write(fleet.path("gate"), "").unwrap();
}

/// Waits until a message of that place says it.
async fn says(slack: &FakeSlack, message: &Posted, words: &str) -> String {
    slack.wait_message(words, |post| post.ts == message.ts && post.text.contains(words)).await.text
}

/// The messages in a thread that tell of progress, running or folded.
fn progress_in(slack: &FakeSlack, thread: &str) -> Vec<String> {
    let marks = [":hourglass_flowing_sand: ", ":heavy_check_mark: done", ":black_square_for_stop: interrupted after"];
    let below = slack.messages_in(CHANNEL, Some(thread)).into_iter();
    let texts = below.filter(|post| post.user == BOT_USER).map(|post| post.text);
    texts.filter(|text| marks.iter().any(|mark| text.contains(mark))).collect()
}

#[tokio::test]
async fn the_root_of_a_job_tells_time_tools_cost_and_pull_request_and_its_progress_is_one_message() {
    let slack = workspace().await;
    let fleet = practising(&slack).await;
    let prompt = "mend https://github.com/acme/web/pull/7\npractice: todo x read | > fix\npractice: tool make test\n\
                  practice: hold\npractice: cost 0.42";
    fleet.fleet(&["send", "ann", "--no-wait", prompt]);
    let progress = slack.wait_message("the progress", |post| post.text.contains("running tests: `make test`")).await;
    assert!(progress.text.starts_with(":ballot_box_with_check: read\n:arrow_forward: fix\n"), "{}", progress.text);
    let thread = progress.thread.clone().expect("it stands in the thread");
    let root = slack.messages_in(CHANNEL, None).pop().unwrap();
    assert_eq!(root.ts, thread);
    assert!(root.text.ends_with("\n_running_"), "{}", root.text);
    open_gate(&fleet);
    let ended = says(&slack, &root, ":heavy_check_mark: done in ").await;
    let facts = ended.lines().nth(1).unwrap();
    assert!(facts.contains(" s, 1 tool, $0.42 · "), "{facts}");
    assert!(facts.ends_with("<https://github.com/acme/web/pull/7|acme/web#7>"), "{facts}");
    says(&slack, &progress, ":heavy_check_mark: done in ").await;
    assert_eq!(progress_in(&slack, &thread).len(), 1, "{:?}", progress_in(&slack, &thread));
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn five_hundred_tools_are_a_few_edits_of_one_message_and_hold_up_no_answer() {
    let slack = workspace().await;
    let fleet = practising(&slack).await;
    let begun = Instant::now();
    let thread = slack.human_says(CHANNEL, None, "UANN", "work\npractice: tools 500\npractice: hold");
    slack.wait_message("the progress", |post| post.text.contains(":hourglass_flowing_sand:")).await;
    slack.wait_message("the latest of it", |post| post.text.contains("`make step-500`")).await;
    open_gate(&fleet);
    slack.wait_message("it is folded", |post| post.text.contains("done in") && post.text.contains("500 tools")).await;
    assert_eq!(progress_in(&slack, &thread).len(), 1);
    let most = 1 + usize::try_from(begun.elapsed().as_secs()).unwrap() / 3;
    assert!(slack.count("chat.update") <= most, "{} edits, at most {most} expected", slack.count("chat.update"));
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_turn_asked_in_slack_that_ends_without_a_word_still_says_that_it_is_done() {
    let slack = workspace().await;
    let _fleet = practising(&slack).await;
    let silent = slack.human_says(CHANNEL, None, "UANN", "be still\npractice: quiet");
    slack
        .wait_message("it is done", |post| {
            post.thread.as_deref() == Some(silent.as_str()) && post.text.contains("done")
        })
        .await;
    let plain = slack.human_says(CHANNEL, None, "UANN", "what is two and two?");
    let next = slack.human_says(CHANNEL, None, "UANN", "and\npractice: tool ls");
    slack
        .wait_message("the last is done", |post| {
            post.thread.as_deref() == Some(next.as_str()) && post.text.contains(":heavy_check_mark: done in")
        })
        .await;
    assert_eq!(progress_in(&slack, &plain), [""; 0], "an answer needs no line more");
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_agent_that_dies_mid_turn_leaves_neither_a_root_nor_a_progress_that_says_running() {
    let slack = workspace().await;
    let fleet = practising(&slack).await;
    fleet.fleet(&["send", "ann", "--no-wait", "work\npractice: tool make\npractice: hold"]);
    let progress = slack.wait_message("the progress", |post| post.text.contains("running `make`")).await;
    let root = slack.messages_in(CHANNEL, None).pop().unwrap();
    let agent = Pid::from_raw(i32::try_from(fleet.agent_pid("ann")).unwrap()).unwrap();
    kill_process(agent, Signal::KILL).unwrap();
    says(&slack, &root, ":black_square_for_stop: interrupted after ").await;
    says(&slack, &progress, ":black_square_for_stop: interrupted after ").await;
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_daemon_that_dies_mid_turn_goes_on_with_the_same_two_messages() {
    let slack = workspace().await;
    let mut fleet = practising(&slack).await;
    fleet.fleet(&["send", "ann", "--no-wait", "work\npractice: tool make\npractice: hold\npractice: tool ls"]);
    let progress = slack.wait_message("the progress", |post| post.text.contains("running `make`")).await;
    let root = slack.messages_in(CHANNEL, None).pop().unwrap();
    fleet.kill();
    open_gate(&fleet);
    fleet.start().await;
    says(&slack, &root, ":heavy_check_mark: done in ").await;
    let folded = says(&slack, &progress, ":heavy_check_mark: done in ").await;
    assert!(folded.contains("2 tools"), "{folded}");
    assert_eq!((progress_in(&slack, &root.ts).len(), slack.messages_in(CHANNEL, None).len()), (1, 1));
    assert_eq!(slack.violations(), Vec::<String>::new());
}

fn tool(detail: &str) -> Fact {
    Fact::UsedTool { tool: "Bash".into(), detail: detail.into(), doing: Doing::Running }
}

#[tokio::test]
async fn a_job_that_a_limit_cut_off_is_done_in_its_own_root_once_the_fleet_has_gone_on_with_it() {
    let house = House::new().await;
    let bridge = house.started().await;
    let first = house.cli_prompt("pr", "a long job").await;
    let limit = Outcome::Failed { reason: "the limit is used up".into(), blocked: None };
    house.did("pr", Some(&first), [started(), tool("make"), ended(limit)]).await;
    bridge.wake.notify_one();
    let root = house.slack.wait_message("the root", |post| post.text.contains("failed")).await;
    let id = PromptId::random();
    let new = NewPrompt {
        id: id.clone(),
        agent: slug("pr"),
        source: Source::Resume,
        who: "fleet".into(),
        dedup_key: "resume".into(),
        body: "Go on.".into(),
        place: Some(Place { channel: PR.into(), thread: root.ts.clone() }),
        expires: None,
        mode: Mode::Queue,
    };
    house.store.insert_prompt(&new, SystemClock.now()).await.unwrap();
    house.did("pr", Some(&id), [started(), said("on")]).await;
    bridge.wake.notify_one();
    says(&house.slack, &root, "_running_").await;
    house.did("pr", Some(&id), [ended(Outcome::Completed)]).await;
    bridge.wake.notify_one();
    let done = says(&house.slack, &root, ":heavy_check_mark: done").await;
    assert!(done.contains("a long job") && !done.contains("Go on."), "{done}");
    assert_eq!(house.slack.messages_in(PR, None).len(), 1);
    house.assert_clean();
}

/// A clock that only a test moves.
struct ManualClock(Mutex<Timestamp>);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn a_turn_whose_end_no_record_tells_is_not_running_for_ever_even_over_a_restart_of_the_bridge() {
    let house = House::new().await;
    let bridge = house.started().await;
    let id = house.cli_prompt("pr", "work").await;
    house.did("pr", Some(&id), [started(), tool("make")]).await;
    bridge.wake.notify_one();
    let progress = house.slack.wait_message("the progress", |post| post.text.contains("running `make`")).await;
    let root = house.slack.messages_in(PR, None).pop().unwrap();
    bridge.stop().await;
    let prompt = house.store.prompt(&id).await.unwrap().unwrap();
    let done = PromptState::Done { by: Evidence::Transcript };
    assert!(house.store.advance(&prompt, &done, "the agent rests", SystemClock.now()).await.unwrap());
    let later = SystemClock.now() + SignedDuration::from_mins(1);
    let _bridge = house.start_at(Arc::new(ManualClock(Mutex::new(later))));
    says(&house.slack, &root, ":heavy_check_mark: done: the agent rests").await;
    until("the progress is folded", async || {
        let below = house.slack.messages_in(PR, Some(&root.ts));
        below
            .iter()
            .any(|post| post.ts == progress.ts && post.text.starts_with(":heavy_check_mark: done"))
            .then_some(())
    })
    .await;
    house.assert_clean();
}

#[tokio::test]
async fn the_to_do_list_of_each_real_cli_is_the_checklist_of_its_progress() {
    let channels = [("agent-claude-one", "C0CLAUDE"), ("agent-codex-one", "C0CODEX")];
    let agents = [("claude-one", Cli::Claude), ("codex-one", Cli::Codex)];
    let (model, slack) = (FakeModel::start(), FakeSlack::start(&channels, Duration::from_secs(3)).await);
    let mut fleet = Fleet::real(&model, &agents, "");
    fleet.on_slack(&slack);
    fleet.start().await;
    for (slug, _) in agents {
        fleet.until_state(slug, "idle").await;
    }
    up(&fleet).await;
    for ((slug, _), (_, channel)) in agents.into_iter().zip(channels) {
        let thread = slack.human_says(channel, None, "U0ANN", &format!("todo {slug} read the code | mend it"));
        let list = ":arrow_forward: read the code\n:white_medium_square: mend it";
        let progress = slack
            .wait_message(&format!("the list of {slug}"), |post| {
                post.thread.as_deref() == Some(thread.as_str()) && post.text.contains(list)
            })
            .await;
        model.release(slug, 1);
        let folded = says(&slack, &progress, ":heavy_check_mark: done in ").await;
        assert!(folded.contains(" tokens read, ") && !folded.contains('$'), "nobody told a price: {folded}");
    }
    assert_eq!(model.violations(), Vec::<String>::new());
    assert_eq!(slack.violations(), Vec::<String>::new());
}
