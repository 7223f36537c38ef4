//! The traps of the agents' own CLIs, each with the test that walks into it: with practice agents, which behave as the real
//! ones do where that is dangerous, and with the real ones where the trap is theirs.
//!
//! | trap | test |
//! |---|---|
//! | a fixed wait is no proof, the agent's own record is | `a_prompt_is_confirmed_by_the_agent_s_own_record_and_its_answer_comes_back` |
//! | Enter is lost | `an_enter_that_the_agent_lost_is_pressed_again_and_the_prompt_arrives_once` |
//! | without brackets each line is submitted on its own | `every_prompt_arrives_exactly_as_it_was_written` |
//! | a leading `!` runs a shell, `/` a command, `exit` quits, a trailing `\` breaks Enter | `no_prompt_is_taken_for_a_command_of_the_box` |
//! | the same, in the real CLIs | `whatever_a_caller_writes_arrives_as_text_and_exact` |
//! | the header alone defuses them | `claude_starts_without_a_hand_takes_a_prompt_to_the_byte_and_comes_back_with_its_memory` |
//! | an open dialog takes Enter for a yes | `an_open_dialog_stays_open_and_unanswered_while_a_prompt_waits` |
//! | the same, in the real CLIs | `a_real_permission_dialog_stays_open_and_unanswered_while_a_prompt_waits` |
//! | AskUserQuestion takes a digit for an answer, in bypass mode too | `an_open_question_of_claude_s_stays_unanswered_while_a_prompt_waits` |
//! | dialogs of the start: trust, login, theme, resume | `a_dialog_is_never_taken_for_a_place_to_type` |
//! | a text sent before the box is there is stranded in it | `a_prompt_sent_before_the_box_is_there_is_not_stranded_in_it` |
//! | the same, in the real CLIs | `a_prompt_that_waited_for_a_real_cli_s_cold_start_arrives_once` |
//! | a person's draft in a real box | `a_half_typed_draft_in_a_real_cli_is_never_fused_with_a_prompt` |
//! | ghost text is no draft | `an_agent_that_waits_is_given_its_prompt_and_a_suggestion_is_no_draft` |
//! | a state file that a killed Claude left says busy for ever | `a_state_file_that_a_killed_claude_left_does_not_hold_its_successor_s_prompts` |
//! | `--resume` without a transcript, or `--session-id` with one, exits | `an_agent_that_was_killed_before_its_first_words_were_on_disk_is_started_again_and_not_for_ever_refused` |
//! | `/clear` and `/new` begin another conversation | `a_conversation_that_a_person_began_in_the_pane_gets_the_next_prompt_once_and_is_the_one_resumed` |
//! | Escape fires no Stop | `claude_shows_a_running_a_failed_and_an_interrupted_turn_as_what_they_are` |
//! | a prompt typed into a running turn has no turn of its own | `what_a_person_types_while_a_real_turn_runs_leaves_the_answer_with_the_prompt_that_asked` |
//! | the same, read from a backlog | `what_a_person_types_into_a_running_turn_does_not_take_the_answer_from_its_author` |
//! | Codex steers with what comes while it is busy | `what_a_person_types_into_a_running_turn_of_codex_does_not_take_the_answer_either` |
//! | a hook that fails blocks the agent | `a_hook_never_blocks_the_agent_whatever_goes_wrong` |
//! | the last line of a record is half written | `a_killed_agent_comes_back_as_itself_even_after_a_half_written_line` |

use std::os::unix::fs::PermissionsExt;

use fleetd::model::StateName;
use rustix::process::{Pid, Signal, kill_process};

use crate::real_fleet::{BOTH, type_by_hand};
use crate::support::fleet::{FLEETD, Fleet};
use crate::support::model::FakeModel;
use crate::support::wait::until;

/// Words that would answer any dialog.
const YES: &str = "1\ny\nyes";

/// How often the model was asked to answer a prompt.
fn asked(model: &FakeModel, id: &str) -> usize {
    model.requests().iter().filter(|request| request.newest_prompt().contains(id)).count()
}

async fn until_answered_once(fleet: &Fleet, model: &FakeModel, id: &str) {
    fleet.until_prompt(id, "done", |state| state.name() == StateName::Done).await;
    assert_eq!(asked(model, id), 1, "{:?}", model.requests());
}

#[tokio::test]
async fn an_enter_that_the_agent_lost_is_pressed_again_and_the_prompt_arrives_once() {
    let fleet = Fleet::running(&(Fleet::practice("ann") + "    args: [--lose-enter, \"2\"]\n")).await;
    let id = fleet.hand_in("ann", "read this");
    fleet.until_arrived_once("ann", &id, "read this").await;
    let entered = fleet.trace(&id).steps.iter().filter(|step| step.state.name() == StateName::Submitted).count();
    assert_eq!(entered, 3, "{:?}", fleet.trace(&id).steps);
    assert_eq!(fleet.taken("ann").len(), 1);
}

#[tokio::test]
async fn no_prompt_is_taken_for_a_command_of_the_box() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    let yaml = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
    std::fs::write(fleet.path("agents.yaml"), format!("rule: false\n{yaml}")).unwrap();
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    let agent = fleet.agent_pid("ann");
    let bodies = ["!touch executed", "/clear", "exit", "ends in a backslash \\", "practice", "a;"];
    for body in bodies {
        let id = fleet.hand_in("ann", body);
        fleet.until_arrived_once("ann", &id, body).await;
    }
    assert_eq!((fleet.agent_pid("ann"), fleet.taken("ann").len()), (agent, bodies.len()));
    assert!(!fleet.transcript("ann").contains("\"type\":\"tool\""), "{}", fleet.transcript("ann"));
    assert_eq!(fleet.transcript("ann").matches("\"type\":\"conversation\"").count(), 1);
}

#[tokio::test]
async fn an_open_dialog_stays_open_and_unanswered_while_a_prompt_waits() {
    let fleet = Fleet::running(&Fleet::practice("ann")).await;
    fleet.fleet(&["send", "ann", "practice: dialog"]);
    fleet.until_state("ann", "asking").await;
    let id = fleet.hand_in("ann", YES);
    fleet.until_held("ann", &id, "it waits for a person").await;
    assert!(fleet.screen("ann").contains("1. Yes"), "the dialog was answered");
    assert!(!fleet.transcript("ann").contains("\"type\":\"tool\""), "something was approved");
    fleet.tmux(&["send-keys", "-t", "=ann:", "3"]);
    fleet.until_arrived_once("ann", &id, YES).await;
    assert!(fleet.transcript("ann").contains("make test: no"), "{}", fleet.transcript("ann"));
}

#[tokio::test]
async fn a_prompt_sent_before_the_box_is_there_is_not_stranded_in_it() {
    let mut fleet = Fleet::new("");
    let (script, ready) = (fleet.path("agent"), fleet.path("ready"));
    let text = format!(
        "#!/bin/sh\necho loading\nuntil [ -e {} ]; do sleep 0.05; done\nexec {FLEETD} practice-agent --speed 0\n",
        ready.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let entry = "  - slug: ann\n    runtime: command\n    prompt: \"❯\"\n";
    fleet.configure(&format!("{entry}    command: [{}]\n", script.display()));
    fleet.start().await;
    until("the agent loads", async || fleet.screen("ann").contains("loading").then_some(())).await;
    let id = fleet.hand_in("ann", "too early");
    fleet.until_held("ann", &id, "it is busy").await;
    std::fs::write(ready, "").unwrap();
    fleet.until_arrived_once("ann", &id, "too early").await;
}

#[tokio::test]
async fn a_real_permission_dialog_stays_open_and_unanswered_while_a_prompt_waits() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "    permissions: ask\n");
    fleet.start().await;
    for (slug, _) in BOTH {
        let made = fleet.path(&format!("made-by-{slug}"));
        let first = fleet.hand_in(slug, &format!("ask touch {}", made.display()));
        fleet.until_state(slug, "asking").await;
        let id = fleet.hand_in(slug, YES);
        fleet.until_held(slug, &id, "it waits for a person").await;
        fleet.until_state(slug, "asking").await;
        assert!(!made.exists(), "{slug}: a prompt approved a command");
        assert_eq!(asked(&model, &id), 0);
        fleet.tmux(&["send-keys", "-t", &format!("={slug}:"), "Enter"]);
        fleet.until_prompt(&first, "done", |state| state.name() == StateName::Done).await;
        assert!(made.exists(), "{slug}: it was not the person who answered");
        until_answered_once(&fleet, &model, &id).await;
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_open_question_of_claude_s_stays_unanswered_while_a_prompt_waits() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH[..1], "");
    fleet.start().await;
    let first = fleet.hand_in("claude-one", "question");
    fleet.until_state("claude-one", "asking").await;
    until("the question shows", async || fleet.screen("claude-one").contains("Which colour?").then_some(())).await;
    let id = fleet.hand_in("claude-one", YES);
    fleet.until_held("claude-one", &id, "it waits for a person").await;
    let requests = model.requests().len();
    assert!(fleet.screen("claude-one").contains("Which colour?"), "{}", fleet.screen("claude-one"));
    fleet.tmux(&["send-keys", "-t", "=claude-one:", "1"]);
    fleet.until_prompt(&first, "done", |state| state.name() == StateName::Done).await;
    assert!(model.requests().len() > requests, "the answer never came to the model");
    until_answered_once(&fleet, &model, &id).await;
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_prompt_that_waited_for_a_real_cli_s_cold_start_arrives_once() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    let ids: Vec<String> = BOTH.iter().flat_map(|(slug, _)| [0, 1].map(|_| fleet.leave(slug, YES))).collect();
    fleet.start().await;
    for id in &ids {
        until_answered_once(&fleet, &model, id).await;
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_half_typed_draft_in_a_real_cli_is_never_fused_with_a_prompt() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    fleet.start().await;
    for (slug, _) in BOTH {
        fleet.until_state(slug, "idle").await;
        let pane = format!("={slug}:");
        fleet.tmux(&["send-keys", "-l", "-t", &pane, "half a thou"]);
        until("the draft shows", async || fleet.screen(slug).contains("half a thou").then_some(())).await;
        let id = fleet.hand_in(slug, YES);
        fleet.until_held(slug, &id, "somebody's text stands in its input box").await;
        assert!(fleet.screen(slug).contains("half a thou"), "{slug}: the draft is gone");
        fleet.tmux(&["send-keys", "-t", &pane, "C-u"]);
        until_answered_once(&fleet, &model, &id).await;
    }
    let drafts = model.requests().iter().filter(|request| request.newest_prompt().contains("half a thou")).count();
    assert_eq!(drafts, 0, "a draft was submitted");
}

#[tokio::test]
async fn a_state_file_that_a_killed_claude_left_does_not_hold_its_successor_s_prompts() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH[..1], "");
    fleet.start().await;
    fleet.until_state("claude-one", "idle").await;
    type_by_hand(&fleet, "claude-one", "slow 2 never").await;
    until("the model is asked", async || (model.waiting_at("never") > 0).then_some(())).await;
    fleet.until_state("claude-one", "busy").await;
    let before = fleet.agent_pid("claude-one");
    kill_process(Pid::from_raw(before.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let left = fleet.path("home-claude-one/.claude/sessions");
    assert!(left.read_dir().is_ok_and(|mut files| files.next().is_some()), "it left no state file");
    let id = fleet.hand_in("claude-one", "are you there");
    until("it is resumed", async || (fleet.agent_pid("claude-one") != before).then_some(())).await;
    until_answered_once(&fleet, &model, &id).await;
}
