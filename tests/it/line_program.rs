//! Agents that keep no record at all, and read a line at a time: delivery says so, and what they print comes back.

use fleetd::model::{Evidence, Fact, Outcome, PromptState, StateName};

use crate::support::fleet::Fleet;

/// A program that waits at `> `.
fn with_prompt(slug: &str) -> String {
    let script = r#"printf "> "; while read -r line; do echo "heard: $line"; printf "> "; done"#;
    format!("  - slug: {slug}\n    runtime: command\n    command: [sh, -c, '{script}']\n    prompt: \"> \"\n")
}

/// A program that never says that it waits.
fn without_prompt(slug: &str) -> String {
    let script = r#"while read -r line; do echo "heard: $line"; done"#;
    format!("  - slug: {slug}\n    runtime: command\n    command: [sh, -c, '{script}']\n")
}

fn told(fleet: &Fleet, id: &str) -> Vec<Fact> {
    fleet
        .feed()
        .into_iter()
        .filter(|row| row.turn.as_ref().is_some_and(|turn| turn.as_str() == id))
        .map(|row| row.fact)
        .collect()
}

#[tokio::test]
async fn a_program_without_a_record_is_confirmed_by_screen_and_its_answer_comes_back_once() {
    for entry in [with_prompt("ann"), without_prompt("ann")] {
        let mut fleet = Fleet::new(&entry);
        fleet.start().await;
        let line = fleet.fleet(&["send", "ann", "what is\nup"]);
        assert!(line.starts_with("ann: confirmed by screen in "), "{line}");
        let id = fleet.status().agents[0].last.as_ref().unwrap().id.to_string();
        let view = fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
        assert_eq!(view.steps.last().unwrap().state, PromptState::Done { by: Evidence::Screen });
        let reply = fleet.fleet(&["send", "ann", "--reply", "and now"]);
        assert!(reply.contains("heard: and now") && reply.contains("heard: Rule of this fleet"), "{reply}");
        assert!(!reply.contains("what is") && !reply.ends_with('>'), "{reply}");
        let facts = told(&fleet, &id);
        let [Fact::TurnStarted { summary }, Fact::Said { text }, Fact::TurnEnded { .. }] = &facts[..] else {
            panic!("{facts:?}");
        };
        assert_eq!(summary, "what is");
        assert!(text.contains("heard: what is\nheard: up") && !text.contains("\nwhat is\n"), "{text}");
        fleet.kill();
        fleet.start().await;
        fleet.until_state("ann", "idle").await;
        assert_eq!(told(&fleet, &id), facts, "told again after a restart");
    }
}

#[tokio::test]
async fn an_answer_longer_than_the_screen_is_still_confirmed_and_told_and_typed_once() {
    let script = r#"printf "> "; while read -r line; do case $line in count*) seq 1 300;; esac; printf "> "; done"#;
    let entry = format!("  - slug: ann\n    runtime: command\n    command: [sh, -c, '{script}']\n    prompt: \"> \"\n");
    let mut fleet = Fleet::new(&entry);
    fleet.start().await;
    let reply = fleet.fleet(&["send", "ann", "--reply", "count"]);
    let numbers: Vec<&str> = reply.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert_eq!((numbers.len(), numbers.first(), numbers.last()), (300, Some(&"1"), Some(&"300")), "{reply}");
}

#[tokio::test]
async fn a_program_that_dies_over_a_prompt_is_never_told_to_have_answered_it() {
    let script = r#"printf "> "; while read -r line; do case $line in die*) exit 3;; esac; printf "> "; done"#;
    let entry = format!("  - slug: ann\n    runtime: command\n    command: [sh, -c, '{script}']\n    prompt: \"> \"\n");
    let mut fleet = Fleet::new(&entry);
    fleet.start().await;
    let id = fleet.fleet(&["send", "ann", "--no-wait", "die"]);
    let settled =
        |state: &PromptState| matches!(state.name(), StateName::Done | StateName::Uncertain | StateName::Failed);
    let view = fleet.until_prompt(&id, "settled", settled).await;
    let answered = view.turn.iter().any(|row| matches!(&row.fact, Fact::TurnEnded { outcome: Outcome::Completed, .. }));
    assert!(!answered, "{:?}", view.turn);
}

#[tokio::test]
async fn a_line_that_the_terminal_would_cut_is_refused_and_none_of_it_is_typed() {
    let mut fleet = Fleet::new(&with_prompt("ann"));
    fleet.start().await;
    let output = fleet.run(&["send", "ann", &"x".repeat(5000)]);
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{line}");
    assert!(line.contains("5000 bytes") && line.contains("4095") && line.contains("nothing was typed"), "{line}");
    assert!(!fleet.screen("ann").contains("fleet"), "{}", fleet.screen("ann"));
    assert!(fleet.fleet(&["send", "ann", "--reply", &"y".repeat(4000)]).contains("heard: yyyy"));
}
