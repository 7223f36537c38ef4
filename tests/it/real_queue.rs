//! What the real CLIs hold in queues of their own, when a person reaches into them: Up in Claude, `fleet stop` in both.

use fleetd::model::{Evidence, Fact, PromptState, StateName};

use crate::support::agents::Cli;
use crate::support::fleet::Fleet;
use crate::support::model::FakeModel;
use crate::support::wait::until;

fn is_done(state: &PromptState) -> bool {
    state.name() == StateName::Done
}

fn waits_in_the_agent(state: &PromptState) -> bool {
    *state == PromptState::Confirmed { by: Evidence::Queue }
}

fn times_asked(model: &FakeModel, text: &str) -> usize {
    model.requests().iter().filter(|request| request.newest_prompt().contains(text)).count()
}

#[tokio::test]
async fn what_a_person_pulls_out_of_claude_s_queue_is_theirs_and_is_submitted_by_nobody_else() {
    let model = FakeModel::start();
    let slug = "claude-one";
    let mut fleet = Fleet::real(&model, &[(slug, Cli::Claude)], "");
    fleet.start().await;
    let first = fleet.hand_in(slug, "slow 1 gate");
    until("the model is asked", async || (model.waiting_at("gate") > 0).then_some(())).await;
    let steer = fleet.fleet(&["send", slug, "--no-wait", "--mode", "steer", "let me reconsider"]);
    fleet.until_prompt(&steer, "in the agent's queue", waits_in_the_agent).await;
    fleet.tmux(&["send-keys", "-t", &format!("={slug}:"), "Up"]);
    let view = fleet.until_prompt(&steer, "uncertain", |state| state.name() == StateName::Uncertain).await;
    assert!(
        matches!(&view.steps.last().unwrap().state, PromptState::Uncertain { seen } if seen.contains("took it back"))
    );
    let next = fleet.hand_in(slug, "the next one");
    model.release("gate", 9);
    fleet.until_prompt(&first, "done", is_done).await;
    fleet.until_prompt(&next, "deferred", |state| state.name() == StateName::Deferred).await;
    assert_eq!(times_asked(&model, "let me reconsider"), 0, "{}", fleet.screen(slug));
    fleet.tmux(&["send-keys", "-t", &format!("={slug}:"), "Enter"]);
    let view = fleet.until_prompt(&steer, "done", is_done).await;
    let typed = view.steps.iter().filter(|step| step.state.name() == StateName::Submitted).count();
    assert_eq!(typed, 1, "{:?}", view.steps);
    fleet.until_prompt(&next, "done", is_done).await;
    assert_eq!((times_asked(&model, "let me reconsider"), times_asked(&model, "the next one")), (1, 1));
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn stopping_an_agent_stops_what_it_held_in_its_own_queue_too() {
    let model = FakeModel::start();
    let both = [("claude-one", Cli::Claude), ("codex-one", Cli::Codex)];
    let mut fleet = Fleet::real(&model, &both, "");
    fleet.start().await;
    for (slug, _) in both {
        let wait = format!("tool while [ ! -e {} ]; do sleep 0.1; done", fleet.path(slug).display());
        let first = fleet.hand_in(slug, &wait);
        until("the tool runs", async || {
            let runs = |row: &fleetd::model::FeedRow| matches!(&row.fact, Fact::UsedTool { .. });
            fleet.trace(&first).turn.iter().any(runs).then_some(())
        })
        .await;
        let steers = [1, 2].map(|number| {
            let text = format!("slow 2 {slug}-{number}");
            fleet.fleet(&["send", slug, "--no-wait", "--mode", "steer", &text])
        });
        for steer in &steers {
            // Claude holds it for as long as the tool runs; Codex lets go of a tool after ten seconds.
            fleet.until_prompt(steer, "with the agent", |state| state.name() == StateName::Confirmed).await;
        }
        let told = fleet.fleet(&["stop", slug]);
        assert_eq!(told, format!("{slug}: held; its turn was interrupted"), "{}", fleet.screen(slug));
        fleet.until_state(slug, "paused").await;
        for id in [&first, &steers[0], &steers[1]] {
            fleet.until_prompt(id, "done", is_done).await;
        }
        assert_eq!(
            fleet.status().agents.iter().find(|agent| agent.agent.as_str() == slug).unwrap().state.word(),
            "paused"
        );
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}
