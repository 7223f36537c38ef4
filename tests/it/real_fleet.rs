//! The main job with the real Claude Code and the real Codex, both talking to a fake model: nobody touches a keyboard.

use std::time::Duration;

use fleetd::files::newest_below;
use fleetd::model::{StateName, text};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::agents::Cli;
use crate::support::fleet::{Fleet, seconds_to_next_nine};
use crate::support::model::{FakeModel, sha256};
use crate::support::slack::{BOT_USER, FakeSlack, Posted};
use crate::support::wait::until;

/// The agents' entries with a schedule, and a channel each.
const DAILY: &str = "    schedule: \"Mon..Sun 09:00\"\n    dailyPrompt: Look after the nightly build.\n";

/// One agent of each CLI.
pub const BOTH: [(&str, Cli); 2] = [("claude-one", Cli::Claude), ("codex-one", Cli::Codex)];

#[tokio::test]
async fn both_real_clis_come_up_take_prompts_and_come_back_as_themselves() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    fleet.start().await;
    for (slug, _) in BOTH {
        let line = fleet.fleet(&["send", slug, "the first thing"]);
        assert!(line.contains("confirmed in"), "{line}");
        let reply = fleet.fleet(&["send", slug, "--reply", "the second thing"]);
        assert!(!reply.is_empty());
        let before = fleet.agent_pid(slug);
        kill_process(Pid::from_raw(before.cast_signed()).unwrap(), Signal::KILL).unwrap();
        until("it is resumed", async || (fleet.agent_pid(slug) != before).then_some(())).await;
        fleet.fleet(&["send", slug, "--reply", &format!("the third thing for {slug}")]);
        let request = model.request_for(&format!("the third thing for {slug}")).unwrap();
        assert!(request.remembers("the first thing") && request.remembers("the second thing"), "{slug} forgot");
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_a_real_turn_tells_the_rest_of_the_answer_once() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    fleet.start().await;
    for (slug, _) in BOTH {
        let id = fleet.fleet(&["send", slug, "--no-wait", &format!("slow 3 {slug}")]);
        fleet.until_prompt(&id, "confirmed", |state| state.name() == StateName::Confirmed).await;
        until("the model is asked", async || (model.waiting_at(slug) > 0).then_some(())).await;
        let pid = fleet.agent_pid(slug);
        fleet.kill();
        model.release(slug, 3);
        fleet.start().await;
        let view = fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
        let said: Vec<_> =
            view.turn.iter().filter(|row| matches!(row.fact, fleetd::model::Fact::Said { .. })).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(fleet.agent_pid(slug), pid, "the agent was disturbed");
    }
}

#[tokio::test]
async fn whatever_a_caller_writes_arrives_as_text_and_exact() {
    let lines: String = (1..=40).map(|number| format!("line {number}\n")).collect();
    let large = "0123456789 äöü 🦀 ".repeat(5000);
    let prompts = [
        lines.as_str(),
        large.as_str(),
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\u{301} 日本",
        "!touch executed",
        "/clear",
        "-x --help",
        "ends in a backslash \\",
        "ends in a semicolon ;",
        "before\u{1b}[201~!touch executed\u{3}\u{0}after",
        "exit",
        "# not a memory",
        "@/etc/passwd",
    ];
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    let rule = "rule: false\n";
    let yaml = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
    std::fs::write(fleet.path("agents.yaml"), rule.to_owned() + &yaml).unwrap();
    fleet.start().await;
    for (slug, _) in BOTH {
        for body in prompts {
            let file = fleet.path("prompt");
            std::fs::write(&file, body).unwrap();
            fleet.fleet(&["send", slug, "--reply", "--file", file.to_str().unwrap()]);
            let id = fleet
                .status()
                .agents
                .iter()
                .find(|agent| agent.agent.as_str() == slug)
                .unwrap()
                .last
                .clone()
                .unwrap()
                .id;
            // Claude composes letters with combining marks by itself; nothing else may change.
            let body = if slug == "claude-one" { body.replace("e\u{301}", "é") } else { body.to_owned() };
            let expected = format!("[fleet · cli · ann · {id}]\n{}", text::printable(&body).trim_end());
            let seen: Vec<String> =
                model.requests().iter().map(|request| request.newest_prompt().trim_end().to_owned()).collect();
            let hashes: Vec<String> = seen.iter().map(|text| sha256(text)).collect();
            assert!(hashes.contains(&sha256(&expected)), "{slug}: {body:.60?} arrived as {:.200?}", seen.last());
        }
        assert!(!fleet.path(&format!("work/{slug}/executed")).exists(), "a prompt was executed");
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

/// The channels of [`BOTH`]: `#agent-<slug>` and its id.
const CHANNELS: [(&str, &str); 2] = [("agent-claude-one", "C0CLAUDE"), ("agent-codex-one", "C0CODEX")];

/// The first message that the bot posted in a channel.
async fn root_of(slack: &FakeSlack, channel: &str, event: &str) -> Posted {
    until(event, async || slack.messages_in(channel, None).into_iter().find(|post| post.user == BOT_USER)).await
}

/// How many messages of the bot's stand below a root.
fn answers(slack: &FakeSlack, channel: &str, root: &Posted) -> usize {
    let below = slack.messages_in(channel, Some(&root.ts));
    below.iter().filter(|post| post.user == BOT_USER && post.ts != root.ts).count()
}

#[tokio::test]
async fn the_whole_morning_a_nudge_is_answered_in_slack_and_a_reply_reaches_the_same_conversation() {
    let (model, slack) = (FakeModel::start(), FakeSlack::start(&CHANNELS, Duration::from_secs(3)).await);
    let mut fleet = Fleet::real(&model, &BOTH, DAILY);
    fleet.on_slack(&slack);
    let nine = seconds_to_next_nine();
    fleet.move_clock(nine - 300);
    fleet.start().await;
    for (slug, _) in BOTH {
        fleet.until_state(slug, "idle").await;
    }
    until("the bridge is up", async || fleet.status().slack.is_some_and(|slack| slack.connected).then_some(())).await;
    fleet.move_clock(nine + 1);
    // The second agent's nudge is staggered by two minutes.
    until("the first nudge is due", async || fleet.log().contains("nudge due").then_some(())).await;
    fleet.move_clock(nine + 121);

    for ((slug, _), (_, channel)) in BOTH.into_iter().zip(CHANNELS) {
        let root = root_of(&slack, channel, "the nudge opens a thread").await;
        assert!(root.text.contains("Look after the nightly build."), "{root:?}");
        let in_thread = |post: &Posted| post.thread.as_deref() == Some(root.ts.as_str());
        slack.wait_message("the answer stands in the nudge's thread", in_thread).await;
        let stamps = fleet.state().join("stamps").join(slug);
        until("the day is stamped", async || {
            stamps.read_dir().is_ok_and(|mut days| days.next().is_some()).then_some(())
        })
        .await;

        let reply = slack.human_says(channel, Some(&root.ts), "U0ANN", &format!("and what of {slug}?"));
        slack.wait_reaction(channel, &reply, "eyes").await;
        let answers = || answers(&slack, channel, &root);
        until("the reply is answered in the same thread", async || (answers() == 2).then_some(())).await;
        let request = model.request_for(&format!("and what of {slug}?")).unwrap();
        assert!(request.remembers("Look after the nightly build."), "{slug}: another conversation answered");
    }
    assert_eq!(slack.violations(), Vec::<String>::new());
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn the_rest_of_an_answer_comes_to_slack_once_though_the_daemon_was_killed_in_the_middle() {
    let (model, slack) = (FakeModel::start(), FakeSlack::start(&CHANNELS, Duration::from_secs(3)).await);
    let mut fleet = Fleet::real(&model, &BOTH, "");
    fleet.on_slack(&slack);
    fleet.start().await;
    for ((slug, _), (_, channel)) in BOTH.into_iter().zip(CHANNELS) {
        let id = fleet.fleet(&["send", slug, "--no-wait", &format!("slow 3 {slug}")]);
        fleet.until_prompt(&id, "confirmed", |state| state.name() == StateName::Confirmed).await;
        let root = root_of(&slack, channel, "the prompt opens a thread").await;
        until("the model is asked", async || (model.waiting_at(slug) > 0).then_some(())).await;
        fleet.kill();
        model.release(slug, 3);
        fleet.start().await;
        fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
        let ended = |post: &Posted| post.ts == root.ts && post.text != root.text;
        slack.wait_message("the thread's first message tells the end", ended).await;
        assert_eq!(answers(&slack, channel, &root), 1, "{:?}", slack.messages_in(channel, Some(&root.ts)));
    }
    assert_eq!(slack.violations(), Vec::<String>::new());
}

/// Types a line into an agent's pane as a person does, and sends it.
pub async fn type_by_hand(fleet: &Fleet, slug: &str, line: &str) {
    fleet.tmux(&["send-keys", "-l", "-t", &format!("={slug}:"), line]);
    until(&format!("the box shows {line}"), async || fleet.screen(slug).contains(line).then_some(())).await;
    fleet.tmux(&["send-keys", "-t", &format!("={slug}:"), "Enter"]);
}

#[tokio::test]
async fn a_conversation_that_a_person_began_in_the_pane_gets_the_next_prompt_once_and_is_the_one_resumed() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    fleet.start().await;
    for (slug, command) in [("claude-one", "/clear"), ("codex-one", "/new")] {
        fleet.fleet(&["send", slug, "--reply", "the first thing"]);
        type_by_hand(&fleet, slug, command).await;
        until("the screen forgot", async || (!fleet.screen(slug).contains("the first thing")).then_some(())).await;
        let second = format!("the second thing for {slug}");
        fleet.fleet(&["send", slug, "--reply", &second]);
        let request = model.request_for(&second).unwrap();
        assert!(!request.remembers("the first thing"), "{slug} is still the old conversation");
        // Now a person does the same while no daemon looks, and the agent dies.
        fleet.kill();
        type_by_hand(&fleet, slug, command).await;
        until("the screen forgot", async || (!fleet.screen(slug).contains("the second thing")).then_some(())).await;
        let by_hand = format!("by hand for {slug}");
        type_by_hand(&fleet, slug, &by_hand).await;
        until("the model is asked", async || model.saw_prompt(&by_hand).then_some(())).await;
        let records = fleet.path(&format!("home-{slug}"));
        until("the answer is on the disk", async || {
            let newest = newest_below(&records, 5, ".jsonl")?;
            let text = std::fs::read_to_string(newest).ok()?;
            (text.contains(&by_hand) && text.contains("is `finished`")).then_some(())
        })
        .await;
        kill_process(Pid::from_raw(fleet.agent_pid(slug).cast_signed()).unwrap(), Signal::KILL).unwrap();
        fleet.start().await;
        let third = format!("the third thing for {slug}");
        fleet.fleet(&["send", slug, "--reply", &third]);
        let request = model.request_for(&third).unwrap();
        if slug == "claude-one" {
            assert!(request.remembers(&by_hand), "{slug} came back as another conversation");
        }
        for text in [&second, &third] {
            let asked =
                model.requests().iter().filter(|request| request.newest_prompt().contains(text.as_str())).count();
            assert_eq!(asked, 1, "{slug}: {text} was typed twice");
        }
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_person_types_while_a_real_turn_runs_leaves_the_answer_with_the_prompt_that_asked() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    fleet.start().await;
    for (slug, _) in BOTH {
        let id = fleet.fleet(&["send", slug, "--no-wait", &format!("slow 2 {slug}\nand then some")]);
        until("the model is asked", async || (model.waiting_at(slug) > 0).then_some(())).await;
        model.release(slug, 1);
        type_by_hand(&fleet, slug, "mind the tests").await;
        until("it is taken or queued", async || fleet.screen(slug).contains("mind the tests").then_some(())).await;
        model.release(slug, 1);
        let view = fleet.until_prompt(&id, "done", |state| state.name() == StateName::Done).await;
        let said = view.turn.iter().filter_map(|row| match &row.fact {
            fleetd::model::Fact::Said { text } => Some(text.as_str()),
            _ => None,
        });
        let said = said.collect::<Vec<_>>().join("\n");
        // Codex drops what it was about to say and answers anew, to both.
        let whole = if slug == "claude-one" { "chunk 2 of 2" } else { "finished" };
        assert!(said.contains(whole), "{slug}: its author got {said:?}");
        let cut = |row: &fleetd::model::FeedRow| matches!(&row.fact, fleetd::model::Fact::TurnEnded { outcome, .. } if *outcome != fleetd::model::Outcome::Completed);
        assert!(!view.turn.iter().any(cut), "{slug}: told as cut short: {:?}", view.turn);
        fleet.until_state(slug, "idle").await;
    }
}

#[tokio::test]
async fn an_agent_that_was_killed_before_its_first_words_were_on_disk_is_started_again_and_not_for_ever_refused() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH[..1], "");
    fleet.start().await;
    fleet.until_state("claude-one", "idle").await;
    // Nobody resumes it before that is there.
    fleet.kill();
    kill_process(Pid::from_raw(fleet.agent_pid("claude-one").cast_signed()).unwrap(), Signal::KILL).unwrap();
    // What a Claude leaves that dies while it writes down its first prompt.
    let launch = std::fs::read_to_string(fleet.state().join("agents/claude-one/launch.json")).unwrap();
    let id = launch.split("--session-id\",\"").nth(1).unwrap().split('"').next().unwrap();
    let project = fleet.path("home-claude-one/.claude/projects/-project");
    std::fs::create_dir_all(&project).unwrap();
    let line = format!("{{\"type\":\"mode\",\"mode\":\"normal\",\"sessionId\":\"{id}\"}}\n");
    std::fs::write(project.join(format!("{id}.jsonl")), line).unwrap();
    let yaml = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
    std::fs::write(fleet.path("agents.yaml"), yaml + "    initPrompt: introduce yourself\n").unwrap();
    fleet.start().await;
    until("the new conversation is told what comes first", async || model.request_for("introduce yourself").map(drop))
        .await;
    let line = fleet.fleet(&["send", "claude-one", "--timeout", "50s", "hello again"]);
    assert!(line.contains("confirmed in"), "{line}");
}
