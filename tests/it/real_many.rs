//! Two hundred prompts, back to back, through the real daemon into the real Claude Code and the real Codex: each arrives to
//! the byte, each is confirmed, none comes twice. `make soak` runs the same on a machine that is busy with other things.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fleetd::model::{PromptId, StateName, text};
use fleetd::runtime::{Claude, Codex, Runtime};

use crate::support::agents::Cli;
use crate::support::fleet::Fleet;
use crate::support::model::{FakeModel, sha256};
use crate::support::wait::until;

/// How many prompts each CLI gets.
const PROMPTS: usize = 200;

/// What a prompt asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A short answer.
    Plain,
    /// A text that streams until the next prompt was handed in.
    Talks,
    /// A tool that runs while the next prompt is handed in.
    RunsTool,
}

/// The `index`-th prompt: 20 talk and 10 run a tool while the next one comes in.
fn kind(index: usize) -> Kind {
    match (index % 10, index % 20) {
        (3, _) => Kind::Talks,
        (_, 7) => Kind::RunsTool,
        _ => Kind::Plain,
    }
}

/// Sizes from 1 byte to 1 MB: most are small, twenty have 10 to 100 KB and three a megabyte. The long ones come last, because
/// every request brings the whole conversation.
fn size(index: usize) -> usize {
    match PROMPTS - index {
        1..=3 => 1_000_000,
        left @ 4..=23 => 10_000 + (23 - left) * 4_700,
        _ => 1 + index * index % 2001,
    }
}

/// A body of about `size` bytes, the same in every run, with whatever is apt to be damaged in it.
fn body(index: usize) -> String {
    const PIECES: [&str; 12] =
        ["word", " ", "two  blanks", "\n", "ä", "日本", "👩‍👩‍👧", "\\", ";", "!x", "\n\n", "$HOME `x` \"q\""];
    let directive = match kind(index) {
        Kind::Plain => String::new(),
        Kind::Talks => format!("slow 2 gate{index}\n"),
        Kind::RunsTool => format!("tool touch tool{index}; while [ ! -e go{index} ]; do sleep 0.05; done\n"),
    };
    // A body of white space alone would be refused as empty.
    let mut body = if directive.is_empty() { "x".to_owned() } else { directive };
    let mut state = index as u64 + 1;
    while body.len() < size(index) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let piece = PIECES[(state >> 40) as usize % PIECES.len()];
        body += if size(index) - body.len() < piece.len() { "." } else { piece };
    }
    body
}

/// Keeps processors busy until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
}

impl Load {
    /// As many threads as `FLEET_LOAD` says; none without it.
    fn start() -> Self {
        let threads = std::env::var("FLEET_LOAD").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..threads {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        }
        Self { stop }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Hands one prompt in, and answers its id.
fn send(fleet: &Fleet, slug: &str, index: usize) -> PromptId {
    let file = fleet.path(&format!("prompt-{index}"));
    std::fs::write(&file, body(index)).unwrap();
    fleet.fleet(&["send", slug, "--no-wait", "--file", file.to_str().unwrap()]).parse().unwrap()
}

/// Waits until the agent does what the prompt asked for, so that the next one meets it busy.
async fn until_busy(fleet: &Fleet, model: &FakeModel, slug: &str, index: usize) {
    match kind(index) {
        Kind::Plain => {}
        Kind::Talks => {
            let gate = format!("gate{index}");
            let event = format!("prompt {index} is talked about");
            until_patiently(&event, || model.waiting_at(&gate) > 0).await;
            model.release(&gate, 1);
        }
        Kind::RunsTool => {
            let begun = fleet.path(&format!("work/{slug}/tool{index}"));
            until_patiently(&format!("the tool of prompt {index} runs"), || begun.exists()).await;
        }
    }
}

/// Lets the turn of a prompt end.
fn let_go(fleet: &Fleet, model: &FakeModel, slug: &str, index: usize) {
    match kind(index) {
        Kind::Plain => {}
        Kind::Talks => model.release(&format!("gate{index}"), 1),
        Kind::RunsTool => std::fs::write(fleet.path(&format!("work/{slug}/go{index}")), "").unwrap(),
    }
}

/// A queue of some ten prompts may be in front: each minute of it may only bring nothing new at all.
async fn until_patiently(event: &str, is: impl Fn() -> bool) {
    until(event, async || is().then_some(())).await;
}

async fn takes_two_hundred(cli: Cli) {
    let _load = Load::start();
    let model = FakeModel::start_light();
    let (slug, runtime): (_, Arc<dyn Runtime>) = match cli {
        Cli::Claude => ("claude-one", Arc::new(Claude::new())),
        Cli::Codex => ("codex-one", Arc::new(Codex::new())),
    };
    let mut fleet = Fleet::real(&model, &[(slug, cli)], "");
    let yaml = std::fs::read_to_string(fleet.path("agents.yaml")).unwrap();
    std::fs::write(fleet.path("agents.yaml"), "rule: false\n".to_owned() + &yaml).unwrap();
    fleet.start().await;
    fleet.until_state(slug, "idle").await;
    let start = Instant::now();
    let mut ids = Vec::new();
    for index in 0..PROMPTS {
        ids.push(send(&fleet, slug, index));
        if index > 0 {
            let_go(&fleet, &model, slug, index - 1);
        }
        until_busy(&fleet, &model, slug, index).await;
    }
    let_go(&fleet, &model, slug, PROMPTS - 1);
    let (mut slowest, mut enters) = (Duration::ZERO, 0);
    for (index, id) in ids.iter().enumerate() {
        let view = fleet.until_prompt(id.as_str(), "done", |state| state.name() == StateName::Done).await;
        let names: Vec<StateName> = view.steps.iter().map(|step| step.state.name()).collect();
        let steps = || view.steps.iter().map(|step| (step.state.name(), &step.cause)).collect::<Vec<_>>();
        assert_eq!(names.iter().filter(|name| **name == StateName::Confirmed).count(), 1, "{index}: {:?}", steps());
        assert_eq!(names.iter().filter(|name| **name == StateName::Typing).count(), 1, "{index}: {:?}", steps());
        // A megabyte that a slow CLI still chews on stands in its box: Enter is pressed on it again.
        enters += names.iter().filter(|name| **name == StateName::Submitted).count();
        let at = |name| view.steps.iter().rev().find(|step| step.state.name() == name).unwrap().at;
        let took = at(StateName::Confirmed).duration_since(at(StateName::Submitted));
        slowest = slowest.max(took.try_into().unwrap_or_default());
        let written = format!("[fleet · cli · ann · {id}]\n{}", text::printable(&body(index)).trim_end());
        let expected = sha256(runtime.typed(&written).trim_end());
        let taken: Vec<String> = model.taken(id).into_iter().collect();
        assert_eq!(taken, [expected], "{index} ({} bytes) did not arrive exact", written.len());
    }
    println!(
        "{PROMPTS} prompts to {cli:?} in {:.0?}; {enters} times Enter, the slowest confirmation {slowest:.1?} after it; load {:?}",
        start.elapsed(),
        std::env::var("FLEET_LOAD").ok()
    );
    assert_eq!(model.newest_ids(), ids, "some prompt is lost, doubled or out of order");
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn two_hundred_prompts_reach_claude_exact_and_none_twice() {
    takes_two_hundred(Cli::Claude).await;
}

#[tokio::test]
async fn two_hundred_prompts_reach_codex_exact_and_none_twice() {
    takes_two_hundred(Cli::Codex).await;
}
