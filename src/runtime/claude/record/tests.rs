//! What a real Claude's records say, line by line, and that no line can hurt.

use proptest::prelude::*;

use super::*;
use crate::runtime::fixture::{lines, measured, told};
use crate::runtime::{Claude, RecordKind};

const VERSION: &str = "claude-2.1.197";

#[test]
fn a_real_transcript_tells_each_prompt_and_each_word_once() {
    insta::assert_snapshot!(told(&Claude, RecordKind::Transcript, VERSION, "transcript.jsonl"), @r#"
    Prompt { text: "[fleet · cli · ann · 0123456789ab]\nhello    world  \nemoji 👩\u{200d}👩\u{200d}👧 é trailing   \n\ncrlf\nlast" }
    Usage { message: "msg_0001", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: **0123456789ab** is `finished`." }
    Prompt { text: "[fleet · cli · ann · 0123456789ac]\nslow 3 g1" }
    Usage { message: "msg_0004", usage: Usage { input: 123, output: 50 } }
    Said { text: "chunk 1 of 3 for 0123456789ac\n\nchunk 2 of 3 for 0123456789ac\n\nchunk 3 of 3 for 0123456789ac" }
    Prompt { text: "[fleet · cli · ann · 0123456789ad]\ntool sleep 6; echo hi" }
    Usage { message: "msg_0007", usage: Usage { input: 123, output: 50 } }
    UsedTool { tool: "Bash", detail: "sleep 6; echo hi", doing: Running }
    Usage { message: "msg_0010", usage: Usage { input: 123, output: 50 } }
    Said { text: "The tool has run." }
    Prompt { text: "[fleet · cli · ann · 0123456789ae]\nslow 3 g2" }
    Said { text: "chunk 1 of 3 for 0123456789ae" }
    TurnEnded { outcome: Interrupted, last_words: None }
    Prompt { text: "[fleet · cli · ann · 0123456789af]\nfail 400" }
    Said { text: "API Error: 400 the fake model was told to fail" }
    Prompt { text: "[fleet · cli · ann · 0123456789ag]\nquestion" }
    Usage { message: "msg_0016", usage: Usage { input: 123, output: 50 } }
    UsedTool { tool: "AskUserQuestion", detail: "Which colour?", doing: Other }
    Usage { message: "msg_0017", usage: Usage { input: 123, output: 50 } }
    Said { text: "The tool has run." }
    Usage { message: "msg_0020", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: **7d63966aee0d** is `finished`." }
    Prompt { text: "[fleet · cli · ann · 0123456789am]\nslow 1 g9" }
    Queued { text: "[fleet · cli · ann · 0123456789an]\nhi queued" }
    Usage { message: "msg_0035", usage: Usage { input: 123, output: 50 } }
    Said { text: "chunk 1 of 1 for 0123456789am" }
    Prompt { text: "[fleet · cli · ann · 0123456789an]\nhi queued" }
    Usage { message: "msg_0036", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: **0123456789an** is `finished`." }
    Prompt { text: "[fleet · cli · ann · 0123456789aq]\ntool sleep 4; echo hi" }
    Usage { message: "msg_0037", usage: Usage { input: 123, output: 50 } }
    UsedTool { tool: "Bash", detail: "sleep 4; echo hi", doing: Running }
    Queued { text: "[fleet · cli · ann · 0123456789ar]\nhi steer" }
    Taken { text: "[fleet · cli · ann · 0123456789ar]\nhi steer" }
    Usage { message: "msg_0038", usage: Usage { input: 123, output: 50 } }
    UsedTool { tool: "Bash", detail: "sleep 4; echo hi", doing: Running }
    Usage { message: "msg_0039", usage: Usage { input: 123, output: 50 } }
    Said { text: "The tool has run." }
    "#);
}

#[test]
fn a_prompt_that_was_typed_while_a_turn_ran_is_told_as_held_and_then_as_taken_or_given_back() {
    insta::assert_snapshot!(told(&Claude, RecordKind::Transcript, VERSION, "transcript-steered.jsonl"), @r#"
    Prompt { text: "[fleet · cli · root · 0123456789ba]\nslow 3 g1" }
    Queued { text: "[fleet · cli · ann · 0123456789c1]\nfirst steered line\n  second  line with é ä 👩\u{200d}👩\u{200d}👧\n\nlast line" }
    Queued { text: "[fleet · cli · ann · 0123456789c2]\nlong line 1 of the steered paste\nlong line 2 of the steered paste\n…" }
    Usage { message: "msg_0001", usage: Usage { input: 123, output: 50 } }
    Said { text: "chunk 1 of 3 for 0123456789ba\n\nchunk 2 of 3 for 0123456789ba\n\nchunk 3 of 3 for 0123456789ba" }
    Prompt { text: "[fleet · cli · ann · 0123456789c1]\nfirst steered line\n  second  line with é ä 👩\u{200d}👩\u{200d}👧\n\nlast line" }
    Prompt { text: "[fleet · cli · ann · 0123456789c2]\nlong line 1 of the steered paste\nlong line 2 of the steered paste\n…" }
    Usage { message: "msg_0002", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: **0123456789c2** is `finished`." }
    Prompt { text: "[fleet · cli · root · 0123456789bb]\ntool sleep 9; echo hi" }
    Usage { message: "msg_0003", usage: Usage { input: 123, output: 50 } }
    UsedTool { tool: "Bash", detail: "sleep 9; echo hi", doing: Running }
    Queued { text: "[fleet · cli · ann · 0123456789c3]\nsteered into a tool\nlast line" }
    Queued { text: "[fleet · cli · ann · 0123456789c2]\nlong line 1 of the steered paste\nlong line 2 of the steered paste\n…" }
    Taken { text: "[fleet · cli · ann · 0123456789c3]\nsteered into a tool\nlast line" }
    Taken { text: "[fleet · cli · ann · 0123456789c2]\nlong line 1 of the steered paste\nlong line 2 of the steered paste\n…" }
    Usage { message: "msg_0004", usage: Usage { input: 123, output: 50 } }
    UsedTool { tool: "Bash", detail: "sleep 9; echo hi", doing: Running }
    Usage { message: "msg_0005", usage: Usage { input: 123, output: 50 } }
    Said { text: "The tool has run." }
    Prompt { text: "[fleet · cli · root · 0123456789bc]\nslow 3 g2" }
    Queued { text: "[fleet · cli · ann · 0123456789c4]\nqueued then esc\nlast line" }
    Queued { text: "[fleet · cli · ann · 0123456789c5]\nqueued then esc, second\nlast line" }
    Said { text: "chunk 1 of 3 for 0123456789bc" }
    TurnEnded { outcome: Interrupted, last_words: None }
    Prompt { text: "[fleet · cli · ann · 0123456789c4]\nqueued then esc\nlast line" }
    Prompt { text: "[fleet · cli · ann · 0123456789c5]\nqueued then esc, second\nlast line" }
    Usage { message: "msg_0007", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: **0123456789c5** is `finished`." }
    Prompt { text: "[fleet · cli · root · 0123456789bd]\ntool sleep 30" }
    Usage { message: "msg_0008", usage: Usage { input: 123, output: 50 } }
    UsedTool { tool: "Bash", detail: "sleep 30", doing: Running }
    Queued { text: "[fleet · cli · ann · 0123456789c6]\nqueued during tool then esc\nlast line" }
    TurnEnded { outcome: Interrupted, last_words: None }
    Prompt { text: "[fleet · cli · ann · 0123456789c6]\nqueued during tool then esc\nlast line" }
    Usage { message: "msg_0009", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: **0123456789c6** is `finished`." }
    Prompt { text: "[fleet · cli · root · 0123456789be]\nslow 3 g3" }
    Queued { text: "[fleet · cli · ann · 0123456789c4]\nqueued then esc\nlast line" }
    Queued { text: "[fleet · cli · ann · 0123456789c5]\nqueued then esc, second\nlast line" }
    GivenBack { text: "[fleet · cli · ann · 0123456789c4]\nqueued then esc\nlast line" }
    GivenBack { text: "[fleet · cli · ann · 0123456789c5]\nqueued then esc, second\nlast line" }
    Queued { text: "[fleet · cli · ann · 0123456789c4]\nqueued then esc\nlast line\n[fleet · cli · ann · 0123456789c5]\nqueued then esc, second\nlast line" }
    "#);
}

#[test]
fn held_prompts_that_a_turn_begins_with_have_a_hook_each_and_one_end() {
    insta::assert_snapshot!(told(&Claude, RecordKind::Hooks, VERSION, "hooks-steered.jsonl"), @r#"
    Conversation { id: "2570d193-eaa9-4990-a672-773a522592da" }
    Prompt { text: "[fleet · cli · root · 0123456789ba]\nslow 3 g1" }
    TurnEnded { outcome: Completed, last_words: Some("chunk 1 of 3 for 0123456789ba\n\nchunk 2 of 3 for 0123456789ba\n\nchunk 3 of 3 for 0123456789ba") }
    Prompt { text: "[fleet · cli · ann · 0123456789c1]\nfirst steered line\n  second  line with é ä 👩\u{200d}👩\u{200d}👧\n\nlast line" }
    Prompt { text: "[fleet · cli · ann · 0123456789c2]\nlong line 1 of the steered paste\nlong line 2 of the steered paste\n…" }
    TurnEnded { outcome: Completed, last_words: Some("Done: **0123456789c2** is `finished`.") }
    Prompt { text: "[fleet · cli · root · 0123456789bb]\ntool sleep 9; echo hi" }
    TurnEnded { outcome: Completed, last_words: Some("The tool has run.") }
    Prompt { text: "[fleet · cli · root · 0123456789bc]\nslow 3 g2" }
    Prompt { text: "[fleet · cli · ann · 0123456789c4]\nqueued then esc\nlast line" }
    Prompt { text: "[fleet · cli · ann · 0123456789c5]\nqueued then esc, second\nlast line" }
    TurnEnded { outcome: Completed, last_words: Some("Done: **0123456789c5** is `finished`.") }
    Prompt { text: "[fleet · cli · root · 0123456789bd]\ntool sleep 30" }
    Prompt { text: "[fleet · cli · ann · 0123456789c6]\nqueued during tool then esc\nlast line" }
    TurnEnded { outcome: Completed, last_words: Some("Done: **0123456789c6** is `finished`.") }
    Prompt { text: "[fleet · cli · root · 0123456789be]\nslow 3 g3" }
    "#);
}

#[test]
fn a_command_that_a_person_typed_is_no_prompt() {
    insta::assert_snapshot!(told(&Claude, RecordKind::Transcript, VERSION, "transcript-after-clear.jsonl"), @r#"
    Prompt { text: "[fleet · cli · ann · 000000000009]\nhi" }
    Usage { message: "msg_0034", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: **000000000009** is `finished`." }
    "#);
}

#[test]
fn real_hooks_tell_every_prompt_question_and_turn_s_end_and_a_new_conversation() {
    insta::assert_snapshot!(told(&Claude, RecordKind::Hooks, VERSION, "hooks.jsonl"), @r#"
    Conversation { id: "ba39df9c-ac1e-4341-b26a-538bff7e63fe" }
    Prompt { text: "[fleet · cli · ann · 0123456789ab]\nhello    world  \nemoji 👩\u{200d}👩\u{200d}👧 é trailing   \n\ncrlf\nlast" }
    TurnEnded { outcome: Completed, last_words: Some("Done: **0123456789ab** is `finished`.") }
    Prompt { text: "[fleet · cli · ann · 0123456789ac]\nslow 3 g1" }
    TurnEnded { outcome: Completed, last_words: Some("chunk 1 of 3 for 0123456789ac\n\nchunk 2 of 3 for 0123456789ac\n\nchunk 3 of 3 for 0123456789ac") }
    Prompt { text: "[fleet · cli · ann · 0123456789ad]\ntool sleep 6; echo hi" }
    TurnEnded { outcome: Completed, last_words: Some("The tool has run.") }
    Prompt { text: "[fleet · cli · ann · 0123456789ae]\nslow 3 g2" }
    Prompt { text: "[fleet · cli · ann · 0123456789af]\nfail 400" }
    TurnEnded { outcome: Failed { reason: "API Error: 400 the fake model was told to fail", blocked: None }, last_words: Some("API Error: 400 the fake model was told to fail") }
    Prompt { text: "[fleet · cli · ann · 0123456789ag]\nquestion" }
    Asked { question: "Which colour? (Red / Blue)", run: None }
    TurnEnded { outcome: Completed, last_words: Some("The tool has run.") }
    Conversation { id: "0e65bee6-e292-4a1e-b3b3-d48ce476416b" }
    Prompt { text: "[fleet · cli · ann · 0123456789ah]\ntool touch /srv/a/file" }
    Asked { question: "may it use Bash: touch /srv/a/file", run: Some("touch /srv/a/file") }
    Conversation { id: "791b59ec-841c-4de8-88f1-6bedeeac063d" }
    Conversation { id: "9f0a9175-6095-4f2d-a544-a48772867b7f" }
    Prompt { text: "[fleet · cli · ann · 000000000009]\nhi" }
    TurnEnded { outcome: Completed, last_words: Some("Done: **000000000009** is `finished`.") }
    Compacting
    Prompt { text: "[fleet · cli · ann · 0123456789am]\nslow 1 g9" }
    TurnEnded { outcome: Completed, last_words: Some("chunk 1 of 1 for 0123456789am") }
    Prompt { text: "[fleet · cli · ann · 0123456789an]\nhi queued" }
    TurnEnded { outcome: Completed, last_words: Some("Done: **0123456789an** is `finished`.") }
    Prompt { text: "[fleet · cli · ann · 0123456789aq]\ntool sleep 4; echo hi" }
    TurnEnded { outcome: Completed, last_words: Some("The tool has run.") }
    "#);
}

#[test]
fn every_turn_s_last_words_are_said_in_the_transcript_to_the_letter() {
    let said: Vec<Record> = lines(VERSION, "transcript.jsonl").iter().flat_map(|line| transcript(line)).collect();
    let session = "ba39df9c";
    let mut ends = 0;
    for line in lines(VERSION, "hooks.jsonl").iter().filter(|line| line.contains(session)) {
        if let Some(Record::TurnEnded { last_words: Some(text), .. }) = hook(line).pop() {
            assert!(said.contains(&Record::Said { text: text.clone() }), "{text}");
            ends += 1;
        }
    }
    assert!(ends > 5, "{ends}");
}

#[test]
fn a_to_do_list_is_told_as_a_whole_or_task_by_task_and_is_no_tool_s_work() {
    let call = |name: &str, input: Value| {
        let block = serde_json::json!({"type": "tool_use", "id": "t", "name": name, "input": input});
        transcript(&serde_json::json!({"type": "assistant", "message": {"content": [block]}}).to_string())
    };
    let result = |kept: Value| {
        let message = serde_json::json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]});
        transcript(&serde_json::json!({"type": "user", "message": message, "toolUseResult": kept}).to_string())
    };
    let list = serde_json::json!({"todos": [
        {"content": "read", "status": "completed", "activeForm": "Reading"},
        {"content": "fix", "status": "in_progress", "activeForm": "Fixing"},
        {"content": "?", "status": "of next year", "activeForm": "?"},
    ]});
    let todo = |text: &str, state| Todo { text: text.into(), state };
    let whole = vec![todo("read", TodoState::Done), todo("fix", TodoState::Active)];
    assert_eq!(call("TodoWrite", list), [Record::Todos(TodoChange::All(whole))]);
    assert_eq!(call("TaskCreate", serde_json::json!({"subject": "read", "description": "d"})), []);
    let created = serde_json::json!({"task": {"id": "1", "subject": "read"}});
    let added = TodoChange::Added { id: "1".into(), text: "read".into() };
    assert_eq!(result(created), [Record::Todos(added)]);
    let id = || "1".to_owned();
    for (input, change) in [
        (
            serde_json::json!({"taskId": "1", "status": "in_progress"}),
            Some(TodoChange::Changed { id: id(), text: None, state: Some(TodoState::Active) }),
        ),
        (
            serde_json::json!({"taskId": "1", "subject": "look"}),
            Some(TodoChange::Changed { id: id(), text: Some("look".into()), state: None }),
        ),
        (serde_json::json!({"taskId": "1", "status": "deleted"}), Some(TodoChange::Removed { id: id() })),
        (serde_json::json!({"taskId": "1", "owner": "x"}), None),
        (serde_json::json!({"status": "completed"}), None),
    ] {
        assert_eq!(call("TaskUpdate", input), change.map(Record::Todos).into_iter().collect::<Vec<_>>());
    }
    let edits = Record::UsedTool { tool: "Edit".into(), detail: "/a/b.rs".into(), doing: Doing::Editing };
    assert_eq!(call("Edit", serde_json::json!({"file_path": "/a/b.rs", "old_string": "x"})), [edits]);
    let printed = serde_json::json!({"stdout": "opened https://github.com/a/b/pull/7", "stderr": ""});
    let pull_requests = PullRequest::all_in("https://github.com/a/b/pull/7");
    assert_eq!(result(printed), [Record::Printed { pull_requests }]);
    // What a file says that was read is nobody's work.
    assert_eq!(result(serde_json::json!({"file": {"content": "https://github.com/a/b/pull/8"}})), []);
}

#[test]
fn what_the_cli_or_a_sub_agent_writes_is_nobody_s_prompt_and_nobody_s_word() {
    for line in [
        r#"{"type":"user","isMeta":true,"message":{"role":"user","content":"Caveat"}}"#,
        r#"{"type":"user","isSidechain":true,"message":{"role":"user","content":"do it"}}"#,
        r#"{"type":"user","isCompactSummary":true,"message":{"role":"user","content":"This session is being continued"}}"#,
        r#"{"type":"user","origin":{"kind":"task-notification"},"message":{"role":"user","content":"a task ended"}}"#,
        r#"{"type":"user","message":{"role":"user","content":"<command-name>/model</command-name>"}}"#,
        r#"{"type":"user","message":{"role":"user","content":"<local-command-stdout>ok</local-command-stdout>"}}"#,
        r#"{"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"x"},{"type":"text","text":"y"}]}}"#,
        r#"{"type":"assistant","isSidechain":true,"message":{"content":[{"type":"text","text":"sub-agent"}]}}"#,
        r#"{"type":"assistant","message":{"model":"<synthetic>","content":[{"type":"text","text":"No response requested."}]}}"#,
        r#"{"type":"queue-operation","operation":"enqueue","content":"<task-notification>x"}"#,
        r#"{"type":"queue-operation","operation":"enqueue"}"#,
        r#"{"type":"queue-operation","operation":"shuffle","content":"x"}"#,
        r#"{"type":"a line of next year","message":{"content":"x"}}"#,
        r#"{"type":"user","message":{"role":"user","con"#,
    ] {
        assert_eq!(transcript(line), [], "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_can_bring_the_reader_down(line in ".*", cut in any::<prop::sample::Index>(), which in any::<prop::sample::Index>()) {
        let (_, _) = (hook(&line), transcript(&line));
        for name in ["transcript.jsonl", "transcript-steered.jsonl", "hooks.jsonl"] {
            let lines = lines(VERSION, name);
            let real = which.get(&lines);
            let half: String = real.chars().take(cut.index(real.len())).collect();
            let spliced = half.clone() + &line;
            let (_, _, _, _) = (hook(&half), transcript(&half), hook(&spliced), transcript(&spliced));
        }
    }
}

#[test]
fn every_real_failure_says_what_must_change_and_a_compaction_is_told() {
    insta::assert_snapshot!(told(&Claude, RecordKind::Hooks, VERSION, "hooks-states.jsonl"), @r#"
    Conversation { id: "fde63ee1-6897-45ab-a389-e0662d6a9943" }
    TurnEnded { outcome: Failed { reason: "You've hit your session limit · resets 12am (Europe/Berlin)", blocked: Some(UsageLimit { until: Some(2026-11-20T23:01:00Z) }) }, last_words: Some("You've hit your session limit · resets 12am (Europe/Berlin)") }
    Conversation { id: "fde63ee1-6897-45ab-a389-e0662d6a9943" }
    TurnEnded { outcome: Failed { reason: "Prompt is too long", blocked: Some(ContextFull) }, last_words: Some("Prompt is too long") }
    TurnEnded { outcome: Failed { reason: "Please run /login · API Error: 401 OAuth token has expired. Please obtain a new token or refresh your existing token.", blocked: Some(Login { what: "Please run /login · API Error: 401 OAuth token has expired. Please obtain a new token or refresh your existing token." }) }, last_words: Some("Please run /login · API Error: 401 OAuth token has expired. Please obtain a new token or refresh your existing token.") }
    TurnEnded { outcome: Failed { reason: "API Error: Server is temporarily limiting requests (not your usage limit) · This request would exceed the rate limit for your organization of 50 requests per minute.", blocked: Some(RateLimited { until: None }) }, last_words: Some("API Error: Server is temporarily limiting requests (not your usage limit) · This request would exceed the rate limit for your organization of 50 requests per minute.") }
    TurnEnded { outcome: Failed { reason: "Credit balance is too low", blocked: Some(UsageLimit { until: None }) }, last_words: Some("Credit balance is too low") }
    Conversation { id: "9b6cece5-5c64-4471-966a-f9b228c7252a" }
    Compacting
    Compacting
    Conversation { id: "9b6cece5-5c64-4471-966a-f9b228c7252a" }
    "#);
    insta::assert_snapshot!(measured(&Claude, RecordKind::Hooks, VERSION, "hooks-states.jsonl"), @r#"
    Measured { used: None, window: Some(1000000), limited_until: None }
    Measured { used: None, window: Some(1000000), limited_until: None }
    Measured { used: None, window: Some(1000000), limited_until: None }
    Measured { used: None, window: Some(1000000), limited_until: None }
    "#);
    insta::assert_snapshot!(told(&Claude, RecordKind::Transcript, VERSION, "transcript-states.jsonl"), @r#"
    Said { text: "You've hit your session limit · resets 12am (Europe/Berlin)" }
    Compacted { left: Some(799) }
    Said { text: "Prompt is too long" }
    Said { text: "Please run /login · API Error: 401 OAuth token has expired. Please obtain a new token or refresh your existing token." }
    Said { text: "API Error: Server is temporarily limiting requests (not your usage limit) · This request would exceed the rate limit for your organization of 50 requests per minute." }
    Said { text: "Credit balance is too low" }
    Usage { message: "msg_0033", usage: Usage { input: 170103, output: 50 } }
    Said { text: "Done: ok." }
    Usage { message: "msg_0037", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: ok." }
    Usage { message: "msg_0038", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: ok." }
    Usage { message: "msg_0039", usage: Usage { input: 123, output: 50 } }
    Said { text: "Done: ok." }
    Compacted { left: Some(725) }
    "#);
}

#[test]
fn a_model_that_holds_a_million_tokens_is_not_compacted_at_a_fifth_of_them() {
    for (model, tokens) in [
        ("claude-opus-4-8[1m]", 1_000_000),
        ("claude-sonnet-5", 1_000_000),
        ("claude-sonnet-4-6[1m]", 1_000_000),
        ("claude-sonnet-4-6", 200_000),
        ("claude-haiku-4-5-20251001", 200_000),
        ("something of tomorrow", 200_000),
    ] {
        assert_eq!(window(model), tokens, "{model}");
    }
}
