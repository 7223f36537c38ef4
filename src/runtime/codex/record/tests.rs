//! What a real Codex's rollouts say, line by line, and that no line can hurt.

use proptest::prelude::*;

use super::*;
use crate::runtime::fixture::{lines, measured, told};
use crate::runtime::{Codex, RecordKind};

const VERSION: &str = "codex-0.169.0";

#[test]
fn a_real_rollout_tells_each_prompt_and_each_word_once() {
    insta::assert_snapshot!(told(&Codex, RecordKind::Transcript, VERSION, "rollout.jsonl"), @r#"
    Conversation { id: "01a1f966-dc46-7e00-92eb-9f4e7adac24c" }
    Taken { text: "[fleet · cli · ann · 0123456789ab]\nhello\tworld  \nemoji 👩\u{200d}👩\u{200d}👧 é trailing   \n\ncrlf\nlast" }
    Said { text: "Done: **0123456789ab** is `finished`." }
    Usage { message: "resp_0002", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ac]\nslow 3 g1" }
    Said { text: "chunk 1 of 3 for 0123456789ac\n\nchunk 2 of 3 for 0123456789ac\n\nchunk 3 of 3 for 0123456789ac" }
    Usage { message: "resp_0005", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ad]\ntool sleep 6; echo hi" }
    UsedTool { tool: "exec_command", detail: "sleep 6; echo hi", doing: Running }
    Usage { message: "resp_0008", usage: Usage { input: 123, output: 50 } }
    Said { text: "The tool has run." }
    Usage { message: "resp_0011", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ae]\nslow 3 g2" }
    TurnEnded { outcome: Interrupted, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789af]\nfail 400" }
    TurnEnded { outcome: Failed { reason: "the fake model was told to fail", blocked: None }, last_words: None }
    Taken { text: "line 0 of a long prompt\twith tab  \nline …" }
    Said { text: "Done: **48bc13d15706** is `finished`." }
    Usage { message: "resp_0018", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    "#);
}

#[test]
fn a_prompt_that_was_typed_while_it_talked_or_ran_a_tool_or_was_interrupted_is_told_when_it_is_taken() {
    insta::assert_snapshot!(told(&Codex, RecordKind::Transcript, VERSION, "rollout-steered-while-talking.jsonl"), @r#"
    Taken { text: "[fleet · cli · root · 0123456789ba]\nslow 3 h1" }
    Taken { text: "[fleet · cli · ann · 0123456789c1]\nfirst steered line\n  second  line with é ä 👩\u{200d}👩\u{200d}👧\n\nlast line" }
    Said { text: "Done: **0123456789c1** is `finished`." }
    Usage { message: "resp_0012", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789c2]\nlong line 1 of the steered paste\nlong line 2 of the steered paste\n…" }
    Said { text: "Done: **0123456789c2** is `finished`." }
    Usage { message: "resp_0014", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · root · 0123456789bb]\ntool sleep 7; echo hi" }
    UsedTool { tool: "exec_command", detail: "sleep 7; echo hi", doing: Running }
    Usage { message: "resp_0016", usage: Usage { input: 123, output: 50 } }
    Taken { text: "[fleet · cli · ann · 0123456789c3]\nsteered into a tool\nlast line" }
    Taken { text: "[fleet · cli · ann · 0123456789c2]\nlong line 1 of the steered paste\nlong line 2 of the steered paste\n…" }
    Said { text: "Done: **0123456789c2** is `finished`." }
    Usage { message: "resp_0018", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · root · 0123456789bd]\ntool sleep 30" }
    UsedTool { tool: "exec_command", detail: "sleep 30", doing: Running }
    Usage { message: "resp_0020", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Interrupted, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789c6]\nqueued during tool then esc\nlast line" }
    Said { text: "Done: **0123456789c6** is `finished`." }
    Usage { message: "resp_0022", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · root · 0123456789be]\nslow 3 h4" }
    TurnEnded { outcome: Interrupted, last_words: None }
    "#);
}

#[test]
fn a_prompt_that_steered_a_running_turn_is_told_too() {
    insta::assert_snapshot!(told(&Codex, RecordKind::Transcript, VERSION, "rollout-steered.jsonl"), @r#"
    Conversation { id: "01a1f96a-0428-7740-a99e-5c22209df73b" }
    Taken { text: "[fleet · cli · ann · 0123456789aj]\nask touch /srv/a/file2" }
    UsedTool { tool: "exec_command", detail: "touch /srv/a/file2", doing: Running }
    Usage { message: "resp_0001", usage: Usage { input: 123, output: 50 } }
    Said { text: "The tool has run." }
    Usage { message: "resp_0003", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ak]\n00000…" }
    Said { text: "Done: **0123456789ak** is `finished`." }
    Usage { message: "resp_0004", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ap]\nfail 500" }
    TurnEnded { outcome: Failed { reason: "We’re currently experiencing high demand, which may cause temporary errors.", blocked: None }, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789aq]\ntool sleep 4; echo hi" }
    UsedTool { tool: "exec_command", detail: "sleep 4; echo hi", doing: Running }
    Usage { message: "resp_0007", usage: Usage { input: 123, output: 50 } }
    Taken { text: "[fleet · cli · ann · 0123456789ar]\nhi steer" }
    Said { text: "Done: **0123456789ar** is `finished`." }
    Usage { message: "resp_0009", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    "#);
}

#[test]
fn a_plan_is_the_whole_to_do_list_a_patch_names_its_file_and_what_a_command_printed_is_searched_for_pull_requests() {
    let call = |name: &str, arguments: &str| {
        let payload = serde_json::json!({"type": "function_call", "name": name, "arguments": arguments});
        rollout(&serde_json::json!({"type": "response_item", "payload": payload}).to_string())
    };
    let todo = |text: &str, state| Todo { text: text.into(), state };
    let list = vec![todo("read", TodoState::Done), todo("fix", TodoState::Active), todo("test", TodoState::Pending)];
    let plan = r#"{"explanation":"x","plan":[{"step":"read","status":"completed"},{"step":"fix\nit","status":"in_progress"},{"step":"test","status":"pending"},{"step":"?","status":"of next year"}]}"#;
    assert_eq!(call("update_plan", plan), [Record::Todos(TodoChange::All(list))]);
    assert_eq!(call("update_plan", "{"), []);
    let tests = Record::UsedTool { tool: "exec_command".into(), detail: "make test".into(), doing: Doing::Testing };
    assert_eq!(call("exec_command", r#"{"cmd":"make test"}"#), [tests]);
    let patch = r#"{"type":"response_item","payload":{"type":"custom_tool_call","name":"apply_patch","input":"*** Begin Patch\n*** Update File: src/a.rs\n@@"}}"#;
    let edits = Record::UsedTool { tool: "apply_patch".into(), detail: "src/a.rs".into(), doing: Doing::Editing };
    assert_eq!(rollout(patch), [edits]);
    let printed = r#"{"type":"event_msg","payload":{"type":"item_completed","item":{"type":"CommandExecution","aggregated_output":"https://github.com/a/b/pull/7\n"}}}"#;
    let pull_requests = PullRequest::all_in("https://github.com/a/b/pull/7");
    assert_eq!(rollout(printed), [Record::Printed { pull_requests }]);
}

#[test]
fn a_line_of_next_year_or_half_a_line_says_nothing() {
    for line in [
        r#"{"type":"event_msg","payload":{"type":"dreamed"}}"#,
        r#"{"type":"event_msg","payload":{"type":"item_completed","item":{"type":"Dream"}}}"#,
        r#"{"type":"event_msg","payload":{"type":"item_completed","item":{"type":"AgentMessage","content":[{"type":"Text","text":" "}]}}}"#,
        r#"{"type":"dream","payload":{}}"#,
        r#"{"type":"event_msg","payload":{"type":"task_comp"#,
        "",
    ] {
        assert_eq!(rollout(line), [], "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_can_bring_the_reader_down(line in ".*", cut in any::<prop::sample::Index>(), which in any::<prop::sample::Index>()) {
        rollout(&line);
        let lines = lines(VERSION, "rollout.jsonl");
        let real = which.get(&lines);
        let half: String = real.chars().take(cut.index(real.len())).collect();
        let (_, _) = (rollout(&half), rollout(&(half.clone() + &line)));
    }
}

#[test]
fn every_real_failure_says_what_must_change_and_a_compaction_is_told() {
    insta::assert_snapshot!(told(&Codex, RecordKind::Transcript, VERSION, "rollout-states.jsonl"), @r#"
    Taken { text: "[fleet · cli · ann · 0123456789ab]\nhello" }
    Said { text: "Done: ok." }
    Usage { message: "resp_0002", usage: Usage { input: 123, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ac]\nlimit 7200" }
    TurnEnded { outcome: Failed { reason: "You’ve hit your usage limit. Upgrade to Pro (https://chatgpt.com/explore/pro), visit https://chatgpt.com/settings/usage to purchase more credits or try again at Nov 21st, 2026 12:00 AM.", blocked: Some(UsageLimit { until: None }) }, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ad]\nfull" }
    TurnEnded { outcome: Failed { reason: "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying.", blocked: Some(ContextFull) }, last_words: None }
    Usage { message: "resp_0013", usage: Usage { input: 123, output: 50 } }
    Compacted { left: None }
    Taken { text: "[fleet · cli · ann · 0123456789ae]\nexpired" }
    TurnEnded { outcome: Failed { reason: "unexpected status 401 Unauthorized: Your authentication token has expired. Please try signing in again., url: http://127.0.0.1:18431/v1/responses", blocked: Some(Login { what: "unexpected status 401 Unauthorized: Your authentication token has expired. Please try signing in again., url: http://127.0.0.1:18431/v1/responses" }) }, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789af]\noverloaded" }
    TurnEnded { outcome: Failed { reason: "Selected model is at capacity. Please try a different model.", blocked: Some(RateLimited { until: None }) }, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ag]\nrate" }
    TurnEnded { outcome: Failed { reason: "exceeded retry limit, last status: 429 Too Many Requests", blocked: Some(RateLimited { until: None }) }, last_words: None }
    Taken { text: "[fleet · cli · ann · 0123456789ab]\nremember\ntokens 220000" }
    Said { text: "Done: ok." }
    Usage { message: "resp_0034", usage: Usage { input: 220000, output: 50 } }
    TurnEnded { outcome: Completed, last_words: None }
    Usage { message: "resp_0036", usage: Usage { input: 123, output: 50 } }
    Compacted { left: None }
    TurnEnded { outcome: Completed, last_words: None }
    "#);
    insta::assert_snapshot!(measured(&Codex, RecordKind::Transcript, VERSION, "rollout-states.jsonl"), @r#"
    Measured { used: Some(173), window: Some(258400), limited_until: None }
    Measured { used: Some(173), window: Some(258400), limited_until: Some(2026-11-20T23:00:55Z) }
    Measured { used: Some(173), window: Some(258400), limited_until: None }
    Measured { used: Some(258227), window: Some(258400), limited_until: None }
    Measured { used: Some(258227), window: Some(258400), limited_until: None }
    Measured { used: Some(173), window: Some(258400), limited_until: None }
    Measured { used: Some(6407), window: Some(258400), limited_until: None }
    Measured { used: Some(6407), window: Some(258400), limited_until: None }
    Measured { used: Some(220050), window: Some(258400), limited_until: None }
    Measured { used: Some(220050), window: Some(258400), limited_until: None }
    Measured { used: Some(173), window: Some(258400), limited_until: None }
    Measured { used: Some(6389), window: Some(258400), limited_until: None }
    "#);
}
