//! An agent's ceiling on memory: over it, the agent is resumed once it is idle, and no words are lost by that.

use fleetd::model::PromptState;

use crate::support::fleet::Fleet;
use crate::support::wait::until;

/// Practice agents hold a few megabytes by themselves.
fn with_ceiling(slug: &str, ceiling: &str) -> String {
    Fleet::practice(slug) + &format!("    memory: {ceiling}\n    env: {{FLEET_PRACTICE_GATE: gate}}\n")
}

fn done(state: &PromptState) -> bool {
    matches!(state, PromptState::Done { .. })
}

fn prompts(fleet: &Fleet, slug: &str) -> Vec<String> {
    let transcript = fleet.transcript(slug);
    transcript.lines().filter(|line| line.contains("\"type\":\"prompt\"")).map(str::to_owned).collect()
}

#[tokio::test]
async fn an_agent_over_its_memory_ends_its_turn_is_resumed_as_itself_and_only_then_gets_what_waited() {
    let mut fleet = Fleet::new(&(with_ceiling("ann", "256M") + &Fleet::practice("bob")));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let bob = fleet.agent_pid("bob");
    let first = fleet.agent_pid("ann");
    let turn = fleet.fleet(&["send", "ann", "--no-wait", "build it\npractice: allocate 300\npractice: hold"]);
    fleet.until_state("ann", "busy").await;
    let waits = fleet.fleet(&["send", "ann", "--no-wait", "and the docs"]);
    // Twice over its ceiling, ten seconds apart.
    until("what waits is held for the memory's sake", async || {
        fleet.trace(&waits).held?.contains("started anew first: it holds").then_some(())
    })
    .await;
    assert_eq!(fleet.agent_pid("ann"), first, "its turn was broken off");
    std::fs::write(fleet.path("work/ann/gate"), "").unwrap();
    fleet.until_prompt(&turn, "done", done).await;
    fleet.until_prompt(&waits, "done", done).await;
    assert_ne!(fleet.agent_pid("ann"), first, "it was not resumed before the next prompt");
    let transcript = fleet.transcript("ann");
    assert_eq!(prompts(&fleet, "ann").len(), 2, "{transcript}");
    assert_eq!(transcript.matches("\"type\":\"conversation\"").count(), 1, "it began anew: {transcript}");
    assert!(transcript.contains("I remember one before it"), "{transcript}");
    assert_eq!(fleet.agent_pid("bob"), bob);
}

#[tokio::test]
async fn a_turn_is_broken_off_only_for_memory_that_endangers_the_box() {
    let mut fleet = Fleet::new(&with_ceiling("ann", "128M"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let first = fleet.agent_pid("ann");
    fleet.fleet(&["send", "ann", "--no-wait", "build it\npractice: allocate 300\npractice: hold"]);
    until("it is ended and resumed", async || {
        let pid = fleet.tmux(&["display-message", "-p", "-t", "=ann:", "#{pane_dead} #{pane_pid}"]);
        pid.strip_prefix("0 ").is_some_and(|pid| pid != first.to_string()).then_some(())
    })
    .await;
    fleet.until_state("ann", "idle").await;
    assert!(fleet.log().contains("it was ended in the middle of what it did"), "nobody was told");
    let id = fleet.fleet(&["send", "ann", "--no-wait", "what now?"]);
    fleet.until_prompt(&id, "done", done).await;
    assert_eq!(fleet.transcript("ann").matches("\"type\":\"conversation\"").count(), 1);
}
