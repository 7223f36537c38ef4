//! What a person can do about a prompt that waits, and when its time is over.

use fleetd::daemon::protocol::Queue;
use fleetd::model::{PromptState, StateName};
use fleetd::store::Store;
use jiff::Timestamp;

use crate::support::fleet::Fleet;
use crate::support::wait::until;

fn queue(fleet: &Fleet) -> Queue {
    serde_json::from_str(&fleet.fleet(&["queue", "--json"])).unwrap()
}

#[tokio::test]
async fn a_held_agent_gets_nothing_until_it_is_let_go_and_the_hold_outlives_the_daemon() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["pause", "ann"]);
    let id = fleet.fleet(&["send", "ann", "--no-wait", "wait for me"]);
    until("the hold is told", async || {
        queue(&fleet).prompts[0].held.as_deref().is_some_and(|held| held.contains("ann holds it")).then_some(())
    })
    .await;
    fleet.kill();
    fleet.start().await;
    fleet.until_state("ann", "paused").await;
    assert!(fleet.fleet(&["status"]).contains("held by ann"), "{}", fleet.fleet(&["status"]));
    let output = fleet.run(&["send", "ann", "--timeout", "2s", "and for me"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert_eq!(fleet.trace(&id).steps.len(), 1);
    assert_eq!(fleet.fleet(&["resume", "ann"]), "ann: goes on");
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    assert_eq!(fleet.fleet(&["resume", "ann"]), "ann: nobody held it");
}

#[tokio::test]
async fn a_prompt_that_was_taken_back_is_never_typed_and_can_be_given_again() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["pause", "ann"]);
    let id = fleet.fleet(&["send", "ann", "--no-wait", "a mistake"]);
    assert_eq!(fleet.fleet(&["cancel", &id]), format!("{id}: cancelled"));
    let again = fleet.run(&["cancel", &id]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    fleet.fleet(&["resume", "ann"]);
    fleet.fleet(&["send", "ann", "--reply", "no mistake"]);
    assert!(!fleet.transcript("ann").contains("a mistake"));
    assert!(fleet.feed().iter().any(|row| format!("{:?}", row.fact).contains("ann cancelled it")), "nobody was told");
    fleet.fleet(&["retry", &id]);
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    let done = fleet.run(&["cancel", &id]);
    assert!(String::from_utf8_lossy(&done.stderr).contains("done already"), "{done:?}");
}

#[tokio::test]
async fn a_prompt_whose_time_is_over_is_not_typed_a_day_later_and_its_author_is_told() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["pause", "ann"]);
    let id = fleet.fleet(&["send", "ann", "--no-wait", "old news"]);
    fleet.move_clock(24 * 3600 + 60);
    fleet.fleet(&["resume", "ann"]);
    let view = fleet.until_prompt(&id, "expired", |state| *state == PromptState::Expired).await;
    assert!(view.turn.iter().any(|row| format!("{:?}", row.fact).contains("its time was over")), "{view:?}");
    assert!(!fleet.transcript("ann").contains("old news"));
}

#[tokio::test]
async fn stopping_the_fleet_interrupts_every_turn_and_begins_no_new_one() {
    let gate = tempfile::tempdir().unwrap();
    let held = format!("    args: [--gate, {}]\n", gate.path().join("open").display());
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + &held + &Fleet::practice("bob")));
    fleet.start().await;
    fleet.fleet(&["send", "ann", "practice: hold"]);
    let second = fleet.fleet(&["send", "ann", "--no-wait", "the second"]);
    let told = fleet.fleet(&["stop", "--all"]);
    assert_eq!(told, "ann: held; its turn was interrupted\nbob: held; no turn ran");
    until("the interruption is recorded", async || fleet.transcript("ann").contains("interrupted").then_some(())).await;
    assert_eq!(fleet.trace(&second).steps.len(), 1, "a held prompt was touched");
    fleet.fleet(&["resume", "ann"]);
    fleet.until_prompt(&second, "done", |state| state.name() == StateName::Done).await;
}

#[tokio::test]
async fn a_prompt_that_was_taken_is_not_given_again() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    let id = fleet.fleet(&["send", "ann", "--no-wait", "only once"]);
    fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
    let refused = fleet.run(&["retry", &id]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    fleet.fleet(&["send", "ann", "--reply", "a turn later"]);
    assert_eq!(fleet.transcript("ann").matches("\"type\":\"prompt\"").count(), 2);
}

#[tokio::test]
async fn an_uncertain_prompt_is_given_again_under_a_new_id_so_that_the_first_try_cannot_speak_for_it() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.fleet(&["pause", "ann"]);
    let first = fleet.fleet(&["send", "ann", "--no-wait", "once more"]);
    fleet.kill();
    let store = Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let now = Timestamp::now();
    for state in
        [PromptState::Typing { attempt: 1, steering: false }, PromptState::Uncertain { seen: "nothing".into() }]
    {
        let prompt = store.prompt(&first.parse().unwrap()).await.unwrap().unwrap();
        assert!(store.begin_typing(&prompt, &[], &state, "a test", "once more", now).await.unwrap());
    }
    store.close().await;
    fleet.start().await;
    let told = fleet.fleet(&["retry", &first]);
    let second = told.split("fleet trace ").nth(1).unwrap().trim_end_matches("`)").to_owned();
    assert_ne!(second, first);
    fleet.fleet(&["resume", "ann"]);
    fleet.until_prompt(&second, "done", |state| state.name() == StateName::Done).await;
    assert_eq!(fleet.trace(&first).steps.last().unwrap().state.name(), StateName::Uncertain);
    assert_eq!(fleet.transcript("ann").matches("\"type\":\"prompt\"").count(), 1);
}

#[tokio::test]
async fn what_waits_behind_an_uncertain_prompt_that_stands_in_the_box_is_told_which_one_that_is() {
    let mut fleet = Fleet::running(&Fleet::practice("ann")).await;
    fleet.fleet(&["pause", "ann"]);
    let first = fleet.hand_in("ann", "was it taken?");
    fleet.kill();
    let store = Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    let typed = format!("[fleet · cli · ann · {first}]\nwas it taken?");
    for state in
        [PromptState::Typing { attempt: 5, steering: false }, PromptState::Uncertain { seen: "it stands there".into() }]
    {
        let prompt = store.prompt(&first.parse().unwrap()).await.unwrap().unwrap();
        assert!(store.begin_typing(&prompt, &[], &state, "a test", &typed, Timestamp::now()).await.unwrap());
    }
    store.close().await;
    fleet.tmux(&["set-buffer", "-b", "mine", &typed]);
    fleet.tmux(&["paste-buffer", "-p", "-r", "-b", "mine", "-t", "=ann:"]);
    until("it stands in the box", async || fleet.screen("ann").contains(&first).then_some(())).await;
    fleet.start().await;
    fleet.fleet(&["resume", "ann"]);
    let second = fleet.hand_in("ann", "the next one");
    until("the second is told what it waits for", async || {
        let trace = fleet.fleet(&["trace", &second]);
        trace.contains(&format!("held back: the text of {first}, which is uncertain")).then_some(())
    })
    .await;
    assert!(fleet.taken("ann").is_empty(), "somebody pressed Enter on it");
    fleet.tmux(&["send-keys", "-t", "=ann:", "Enter"]);
    for id in [&first, &second] {
        fleet.until_prompt(id, "done", |state| state.name() == StateName::Done).await;
    }
    assert_eq!(fleet.taken("ann").len(), 2);
}

#[tokio::test]
async fn a_prompt_whose_agent_was_taken_out_of_the_file_is_shown_and_expires_all_the_same() {
    let mut fleet = Fleet::new(&(Fleet::practice("ann") + &Fleet::practice("gone")));
    fleet.start().await;
    fleet.fleet(&["pause", "gone"]);
    let id = fleet.fleet(&["send", "gone", "--no-wait", "wait for me"]);
    fleet.kill();
    fleet.configure(&Fleet::practice("ann"));
    fleet.start().await;
    let waiting = queue(&fleet).prompts;
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].held.as_deref().is_some_and(|held| held.contains("agents.yaml")), "{waiting:?}");
    fleet.move_clock(25 * 3600);
    fleet.until_prompt(&id, "expired", |state| *state == PromptState::Expired).await;
    assert!(queue(&fleet).prompts.is_empty());
    assert!(fleet.feed().iter().any(|row| format!("{:?}", row.fact).contains("time was over")), "nobody was told");
}
