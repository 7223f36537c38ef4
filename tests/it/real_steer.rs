//! Steering and interrupting the real Claude Code and the real Codex: what a person says while a turn runs reaches that turn.

use std::time::Duration;

use fleetd::model::{Evidence, Fact, PromptState, StateName};

use crate::support::agents::Cli;
use crate::support::fleet::Fleet;
use crate::support::model::FakeModel;
use crate::support::slack::FakeSlack;
use crate::support::wait::until;

const BOTH: [(&str, Cli); 2] = [("claude-one", Cli::Claude), ("codex-one", Cli::Codex)];

/// The channels of [`BOTH`]: `#agent-<slug>` and its id.
const CHANNELS: [(&str, &str); 2] = [("agent-claude-one", "C0CLAUDE"), ("agent-codex-one", "C0CODEX")];

async fn started(model: &FakeModel) -> Fleet {
    let mut fleet = Fleet::real(model, &BOTH, "");
    fleet.start().await;
    fleet
}

async fn asked(model: &FakeModel, gate: &str) {
    until("the model is asked", async || (model.waiting_at(gate) > 0).then_some(())).await;
}

fn is_done(state: &PromptState) -> bool {
    state.name() == StateName::Done
}

/// How often the CLI itself sent a text to the model as news.
fn times_asked(model: &FakeModel, text: &str) -> usize {
    model.requests().iter().filter(|request| request.newest_prompt().contains(text)).count()
}

#[tokio::test]
async fn what_steers_a_turn_that_talks_reaches_the_agent_while_it_runs_and_both_prompts_are_done() {
    let model = FakeModel::start();
    let fleet = started(&model).await;
    for (slug, _) in BOTH {
        let first = fleet.fleet(&["send", slug, "--no-wait", &format!("slow 2 {slug}")]);
        asked(&model, slug).await;
        model.release(slug, 1);
        let text = format!("mind the tests of {slug}");
        let steer = fleet.fleet(&["send", slug, "--no-wait", "--mode", "steer", &text]);
        let confirmed = |state: &PromptState| matches!(state.name(), StateName::Confirmed | StateName::Done);
        let view = fleet.until_prompt(&steer, "confirmed while the turn runs", confirmed).await;
        let typed = view.steps.iter().any(|step| matches!(step.state, PromptState::Typing { steering: true, .. }));
        assert!(typed, "{slug}: it was not typed into the running turn: {:?}", view.steps);
        model.release(slug, 9);
        fleet.until_prompt(&steer, "done", is_done).await;
        let view = fleet.until_prompt(&first, "done", is_done).await;
        let cut = |row: &fleetd::model::FeedRow| matches!(&row.fact, Fact::TurnEnded { outcome, .. } if *outcome != fleetd::model::Outcome::Completed);
        assert!(!view.turn.iter().any(cut), "{slug}: told as cut short: {:?}", view.turn);
        assert_eq!(times_asked(&model, &text), 1, "{slug}: it was given twice, or never");
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_steers_a_turn_that_runs_a_tool_waits_in_the_agent_s_queue_is_said_to_and_is_taken_once() {
    let model = FakeModel::start();
    let fleet = started(&model).await;
    for (slug, _) in BOTH {
        let gate = fleet.path(&format!("gate-{slug}"));
        let wait = format!("tool while [ ! -e {} ]; do sleep 0.1; done", gate.display());
        let first = fleet.fleet(&["send", slug, "--no-wait", &wait]);
        fleet.until_prompt(&first, "confirmed", |state| state.name() == StateName::Confirmed).await;
        until("the tool runs", async || {
            let runs = |row: &fleetd::model::FeedRow| matches!(&row.fact, Fact::UsedTool { .. });
            fleet.trace(&first).turn.iter().any(runs).then_some(())
        })
        .await;
        let text = format!("and tell me of {slug}");
        let steer = fleet.fleet(&["send", slug, "--no-wait", "--mode", "steer", &text]);
        let queued = |state: &PromptState| *state == PromptState::Confirmed { by: Evidence::Queue };
        fleet.until_prompt(&steer, "in the agent's queue", queued).await;
        std::fs::write(&gate, "").unwrap();
        let view = fleet.until_prompt(&steer, "done", is_done).await;
        let taken = |step: &fleetd::model::Transition| {
            matches!(step.state, PromptState::Confirmed { by: Evidence::Transcript | Evidence::Hook })
        };
        assert!(view.steps.iter().any(taken), "{slug}: {:?}", view.steps);
        fleet.until_prompt(&first, "done", is_done).await;
        let entered = view.steps.iter().filter(|step| step.state.name() == StateName::Submitted).count();
        assert_eq!(entered, 1, "{slug}: typed more than once: {:?}", view.steps);
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_interrupting_prompt_breaks_the_turn_off_and_is_the_next_thing_the_agent_does() {
    let model = FakeModel::start();
    let fleet = started(&model).await;
    for (slug, _) in BOTH {
        let first = fleet.fleet(&["send", slug, "--no-wait", &format!("slow 2 {slug}")]);
        asked(&model, slug).await;
        fleet.fleet(&["send", slug, "--no-wait", &format!("later, {slug}")]);
        let text = format!("stop that, {slug}");
        let told = fleet.run(&["send", slug, "--mode", "interrupt", "--reply", "--timeout", "40s", &text]);
        assert!(told.status.success(), "{told:?}");
        let view = fleet.until_prompt(&first, "done", is_done).await;
        let cut = |row: &fleetd::model::FeedRow| matches!(&row.fact, Fact::TurnEnded { outcome, .. } if *outcome == fleetd::model::Outcome::Interrupted);
        assert!(view.turn.iter().any(cut), "{slug}: not told as interrupted: {:?}", view.turn);
        until("the other prompt comes after it", async || {
            (times_asked(&model, &format!("later, {slug}")) > 0).then_some(())
        })
        .await;
        let place = |text: &str| model.requests().iter().position(|request| request.newest_prompt().contains(text));
        let (stop, later) = (place(&text).unwrap(), place(&format!("later, {slug}")).unwrap());
        assert!(stop < later, "{slug}: {stop} {later}");
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_reply_in_the_thread_of_the_running_turn_steers_it_and_what_is_said_elsewhere_waits_its_turn() {
    let (model, slack) = (FakeModel::start(), FakeSlack::start(&CHANNELS, Duration::from_secs(3)).await);
    let mut fleet = Fleet::real(&model, &BOTH, "");
    fleet.on_slack(&slack);
    fleet.start().await;
    for (slug, _) in BOTH {
        fleet.until_state(slug, "idle").await;
    }
    until("the bridge is up", async || fleet.status().slack.is_some_and(|slack| slack.connected).then_some(())).await;
    for ((slug, _), (_, channel)) in BOTH.into_iter().zip(CHANNELS) {
        let root = slack.human_says(channel, None, "U0ANN", &format!("slow 2 {slug}"));
        asked(&model, slug).await;
        model.release(slug, 1);
        slack.human_says(channel, None, "U0ANN", &format!("elsewhere {slug}"));
        slack.human_says(channel, Some(&root), "U0ANN", &format!("also this, {slug}"));
        let steered = |prompt: &fleetd::daemon::protocol::QueuedPrompt| {
            prompt.text.starts_with("also this") && !["queued", "deferred", "typing"].contains(&prompt.state.as_str())
        };
        until("the reply is with the agent while the turn runs", async || {
            let queue: fleetd::daemon::protocol::Queue =
                serde_json::from_str(&fleet.fleet(&["queue", slug, "--json"])).unwrap();
            assert!(
                queue.prompts.iter().all(|prompt| !prompt.text.starts_with("elsewhere") || prompt.state != "confirmed")
            );
            queue.prompts.iter().any(steered).then_some(())
        })
        .await;
        model.release(slug, 9);
        let answered = |post: &crate::support::slack::Posted| {
            post.thread.as_deref() == Some(root.as_str()) && post.text.contains("finished")
        };
        slack.wait_message("the answer to the reply stands in its thread", answered).await;
        until("what was said elsewhere is asked too", async || {
            (times_asked(&model, &format!("elsewhere {slug}")) == 1).then_some(())
        })
        .await;
        assert_eq!(times_asked(&model, &format!("also this, {slug}")), 1);
    }
    assert_eq!(slack.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_prompt_that_died_in_the_agent_s_queue_is_given_to_it_again_once() {
    let model = FakeModel::start();
    let fleet = started(&model).await;
    let slug = "claude-one";
    let first = fleet.fleet(&["send", slug, "--no-wait", &format!("slow 2 {slug}")]);
    asked(&model, slug).await;
    model.release(slug, 1);
    let steer = fleet.fleet(&["send", slug, "--no-wait", "--mode", "steer", "do not forget me"]);
    let queued = |state: &PromptState| *state == PromptState::Confirmed { by: Evidence::Queue };
    fleet.until_prompt(&steer, "in the agent's queue", queued).await;
    let pid = rustix::process::Pid::from_raw(fleet.agent_pid(slug).cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let view = fleet.until_prompt(&steer, "done", is_done).await;
    let attempts = view.steps.iter().filter(|step| step.state.name() == StateName::Typing).count();
    assert_eq!(attempts, 2, "{:?}", view.steps);
    assert_eq!(times_asked(&model, "do not forget me"), 1);
    fleet.until_prompt(&first, "done", is_done).await;
}

/// Types into an agent's pane as a person does who goes away before Enter.
async fn leave_a_draft(fleet: &Fleet, slug: &str, line: &str) {
    fleet.tmux(&["send-keys", "-l", "-t", &format!("={slug}:"), line]);
    until(&format!("the box shows {line}"), async || fleet.screen(slug).contains(line).then_some(())).await;
}

#[tokio::test]
async fn a_draft_that_nobody_touched_for_ten_minutes_makes_room_for_a_prompt_and_is_back_afterwards() {
    let model = FakeModel::start();
    let fleet = started(&model).await;
    for (slug, _) in BOTH {
        fleet.until_state(slug, "idle").await;
        let draft = format!("half a thought about {slug}");
        leave_a_draft(&fleet, slug, &draft).await;
        let id = fleet.fleet(&["send", slug, "--no-wait", &format!("meanwhile, {slug}")]);
        let deferred =
            |state: &PromptState| matches!(state, PromptState::Deferred { reason } if reason.contains("input box"));
        fleet.until_prompt(&id, "held back by the draft", deferred).await;
        fleet.move_clock(if slug == "claude-one" { 660 } else { 1400 });
        let view = fleet.until_prompt(&id, "done", is_done).await;
        assert!(view.steps.iter().any(|step| step.cause.contains("set aside")), "{:?}", view.steps);
        until("the draft is back", async || {
            let screen = fleet.screen(slug);
            let tail = screen.lines().rev().take(8).collect::<Vec<_>>().join("\n");
            tail.contains(&draft).then_some(())
        })
        .await;
        assert_eq!(times_asked(&model, &draft), 0, "{slug}: the draft was submitted");
        assert_eq!(times_asked(&model, &format!("meanwhile, {slug}")), 1);
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}
