//! The main job with the real Claude Code and the real Codex, both talking to a fake model: nobody touches a keyboard.

use fleetd::model::{StateName, text};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::agents::Cli;
use crate::support::fleet::Fleet;
use crate::support::model::{FakeModel, sha256};
use crate::support::wait::until;

/// A fleet of one real CLI for each of `agents`, in homes that hold nothing.
fn fleet(model: &FakeModel, agents: &[(&str, Cli)], extra: &str) -> Fleet {
    let fleet = Fleet::new("");
    let mut yaml = String::new();
    for (slug, cli) in agents {
        let runtime = format!("{cli:?}").to_lowercase();
        let program = cli.program();
        yaml += &format!("  - slug: {slug}\n    runtime: {runtime}\n    command: {}\n    env:\n", program.display());
        for (name, value) in cli.environment(&fleet.path(&format!("home-{slug}")), model) {
            yaml += &format!("      {name}: {value:?}\n");
        }
        yaml += extra;
    }
    fleet.configure(&yaml);
    fleet
}

const BOTH: [(&str, Cli); 2] = [("claude-one", Cli::Claude), ("codex-one", Cli::Codex)];

#[tokio::test]
async fn both_real_clis_come_up_take_prompts_and_come_back_as_themselves() {
    let model = FakeModel::start();
    let mut fleet = fleet(&model, &BOTH, "");
    fleet.start().await;
    for (slug, _) in BOTH {
        let line = fleet.fleet(&["send", slug, "the first thing"]);
        assert!(line.contains("confirmed in"), "{line}");
        let reply = fleet.fleet(&["send", slug, "--reply", "the second thing"]);
        assert!(!reply.is_empty());
        kill_process(Pid::from_raw(fleet.agent_pid(slug).cast_signed()).unwrap(), Signal::KILL).unwrap();
        until("the death shows", async || fleet.fleet(&["reconcile", "--dry-run"]).contains("resume it").then_some(()))
            .await;
        fleet.fleet(&["reconcile"]);
        fleet.fleet(&["send", slug, "--reply", &format!("the third thing for {slug}")]);
        let request = model.request_for(&format!("the third thing for {slug}")).unwrap();
        assert!(request.remembers("the first thing") && request.remembers("the second thing"), "{slug} forgot");
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_a_real_turn_tells_the_rest_of_the_answer_once() {
    let model = FakeModel::start();
    let mut fleet = fleet(&model, &BOTH, "");
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
    let mut fleet = fleet(&model, &BOTH, "");
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
