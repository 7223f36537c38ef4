//! The real Claude Code and the real Codex, killed at every moment that matters and brought back by the daemon alone: each time
//! the same conversation with its memory, the prompt that was cut off told as such, the one that waited given once.

use std::path::Path;

use fleetd::model::{Fact, Outcome, StateName};
use fleetd::store::Store;
use fleetd::tmux::ProcessStatus;
use rustix::process::{Pid, Signal, kill_process};

use crate::real_fleet::{BOTH, type_by_hand};
use crate::support::fleet::{FLEETD, Fleet};
use crate::support::model::FakeModel;
use crate::support::wait::until;

/// What each agent is told before anything happens to it.
const FIRST: &str = "the first thing";

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

async fn gone(pid: u32) {
    until(&format!("process {pid} has ended"), async || ProcessStatus::read(pid).is_none().then_some(())).await;
}

/// How often the CLIs themselves sent a text to the model as news.
fn times_asked(model: &FakeModel, text: &str) -> usize {
    model.requests().iter().filter(|request| request.newest_prompt().contains(text)).count()
}

/// An agent as it is before it is killed.
struct Life {
    slug: &'static str,
    pid: u32,
    conversation: String,
}

async fn conversation(fleet: &Fleet, slug: &str) -> String {
    let store = Store::open(&fleet.state().join("fleet.db")).await.unwrap();
    store.conversation(&slug.parse().unwrap()).await.unwrap().unwrap().id
}

async fn lives(fleet: &Fleet) -> Vec<Life> {
    let mut lives = Vec::new();
    for (slug, _) in BOTH {
        lives.push(Life { slug, pid: fleet.agent_pid(slug), conversation: conversation(fleet, slug).await });
    }
    lives
}

async fn until_done(fleet: &Fleet, id: &str) {
    fleet.until_prompt(id, "done", |state| state.name() == StateName::Done).await;
}

/// A fleet of both CLIs, each of which knows [`FIRST`] and rests.
async fn started(model: &FakeModel, extra: &str) -> Fleet {
    let mut fleet = Fleet::real(model, &BOTH, extra);
    fleet.start().await;
    let first = BOTH.map(|(slug, _)| fleet.hand_in(slug, FIRST));
    for ((slug, _), id) in BOTH.iter().zip(&first) {
        until_done(&fleet, id).await;
        fleet.until_state(slug, "idle").await;
    }
    fleet
}

/// The processes of an agent's CLI that live, wherever they are: those that run its program in its home.
fn processes_of(fleet: &Fleet, slug: &str) -> Vec<u32> {
    let (_, cli) = BOTH.into_iter().find(|(of, _)| *of == slug).unwrap();
    let program = cli.program().canonicalize().unwrap();
    let home = format!("HOME={}", fleet.path(&format!("home-{slug}")).display());
    let is_its = |process: &Path| {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == program)
            && environment.split(|byte| *byte == 0).any(|pair| pair == home.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().zip(Some(entry.path())));
    pids.filter(|(_, process)| is_its(process)).map(|(pid, _)| pid).collect()
}

/// Waits until the daemon has brought each of them back: as the same conversation, in one process that is not the old one.
async fn are_back(fleet: &Fleet, before: &[Life]) {
    for life in before {
        let slug = life.slug;
        until(&format!("another process is {slug}"), async || {
            let pane = fleet.tmux(&["display-message", "-p", "-t", &format!("={slug}:"), "#{pane_dead} #{pane_pid}"]);
            let pid: u32 = pane.strip_prefix("0 ")?.parse().ok()?;
            (pid != life.pid && processes_of(fleet, slug) == [pid]).then_some(())
        })
        .await;
        fleet.until_state(slug, "idle").await;
        assert_eq!(conversation(fleet, slug).await, life.conversation, "{slug} is another conversation");
    }
}

/// A prompt whose turn is to be cut off, and one that waits behind it.
struct Pair {
    slug: &'static str,
    /// Told apart by its own text.
    body: String,
    cut: String,
    waits: String,
}

impl Pair {
    /// Hands both in; the first must be with the model before the second comes.
    async fn hand_in(fleet: &Fleet, model: &FakeModel, slug: &'static str, directive: &str) -> Self {
        let body = format!("what is cut off for {slug}");
        let cut = fleet.hand_in(slug, &format!("{directive}\n{body}"));
        until("the model is asked", async || (times_asked(model, &body) > 0).then_some(())).await;
        let waits = fleet.hand_in(slug, &format!("what waits for {slug}"));
        Self { slug, body, cut, waits }
    }

    /// The first is told as cut off and is never given again; the second comes once, to an agent that remembers everything.
    async fn is_told_honestly(&self, fleet: &Fleet, model: &FakeModel) {
        let slug = self.slug;
        let view = fleet.until_prompt(&self.cut, "done", |state| state.name() == StateName::Done).await;
        let ends = view.turn.iter().filter_map(|row| match &row.fact {
            Fact::TurnEnded { outcome, .. } => Some(outcome.clone()),
            _ => None,
        });
        assert_eq!(ends.collect::<Vec<_>>(), [Outcome::Interrupted], "{slug}: {:?}", view.turn);
        until_done(fleet, &self.waits).await;
        for id in [&self.cut, &self.waits] {
            let steps = fleet.trace(id).steps;
            let typed = steps.iter().filter(|step| step.state.name() == StateName::Typing).count();
            assert_eq!(typed, 1, "{slug}: {steps:?}");
        }
        let waited = format!("what waits for {slug}");
        assert_eq!((times_asked(model, &self.body), times_asked(model, &waited)), (1, 1), "{slug}: asked how often?");
        let request = model.request_for(&waited).unwrap();
        assert!(request.remembers(FIRST), "{slug} forgot: {:?}", request.messages);
        let cut = request.prompts().filter(|prompt| prompt.contains(&self.body)).count();
        assert_eq!(cut, 1, "{slug}: what was cut off stands in its memory {cut} times: {:?}", request.messages);
    }
}

#[tokio::test]
async fn a_real_agent_killed_while_it_rests_and_while_it_talks_comes_back_by_itself_and_remembers() {
    let model = FakeModel::start();
    let fleet = started(&model, "").await;
    let before = lives(&fleet).await;
    before.iter().for_each(|life| kill(life.pid));
    are_back(&fleet, &before).await;
    for (slug, _) in BOTH {
        let second = format!("the second thing for {slug}");
        fleet.fleet(&["send", slug, "--reply", &second]);
        assert!(model.request_for(&second).unwrap().remembers(FIRST), "{slug} forgot");
    }

    let before = lives(&fleet).await;
    let mut pairs = Vec::new();
    for (slug, _) in BOTH {
        let pair = Pair::hand_in(&fleet, &model, slug, &format!("slow 3 {slug}")).await;
        model.release(slug, 1);
        let said = format!("chunk 1 of 3 for {}", pair.cut);
        until("the first words are on the screen", async || fleet.screen(slug).contains(&said).then_some(())).await;
        fleet.assert_untouched(slug, &pair.waits);
        pairs.push(pair);
    }
    before.iter().for_each(|life| kill(life.pid));
    are_back(&fleet, &before).await;
    for pair in &pairs {
        pair.is_told_honestly(&fleet, &model).await;
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_real_agent_killed_while_a_tool_runs_comes_back_and_the_tool_s_child_does_not_stay_behind() {
    let model = FakeModel::start();
    let fleet = started(&model, "").await;
    let before = lives(&fleet).await;
    let (mut pairs, mut children) = (Vec::new(), Vec::new());
    for (slug, _) in BOTH {
        let note = fleet.path(&format!("child-{slug}"));
        let tool = format!("tool echo $$ > {}; exec sleep 300", note.display());
        pairs.push(Pair::hand_in(&fleet, &model, slug, &tool).await);
        let read = async || std::fs::read_to_string(&note).ok()?.trim().parse().ok();
        children.push(until("the tool runs", read).await);
    }
    assert!(children.iter().all(|child| ProcessStatus::read(*child).is_some()), "{children:?}");
    before.iter().for_each(|life| kill(life.pid));
    are_back(&fleet, &before).await;
    for child in children {
        gone(child).await;
    }
    for pair in &pairs {
        pair.is_told_honestly(&fleet, &model).await;
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_real_agent_killed_at_a_permission_dialog_comes_back_without_having_done_what_it_asked_for() {
    let model = FakeModel::start();
    let fleet = started(&model, "    permissions: ask\n").await;
    let before = lives(&fleet).await;
    let made = |slug: &str| fleet.path(&format!("work/{slug}/made"));
    let mut pairs = Vec::new();
    for (slug, _) in BOTH {
        pairs.push(Pair::hand_in(&fleet, &model, slug, &format!("ask touch {}", made(slug).display())).await);
    }
    for (slug, _) in BOTH {
        fleet.until_state(slug, "asking").await;
    }
    before.iter().for_each(|life| kill(life.pid));
    are_back(&fleet, &before).await;
    for pair in &pairs {
        pair.is_told_honestly(&fleet, &model).await;
        assert!(!made(pair.slug).exists(), "{}: nobody allowed it", pair.slug);
    }
    // It still asks, and does it once it may.
    for (slug, _) in BOTH {
        let id = fleet.hand_in(slug, &format!("ask touch {}", made(slug).display()));
        fleet.until_state(slug, "asking").await;
        fleet.tmux(&["send-keys", "-t", &format!("={slug}:"), "Enter"]);
        until_done(&fleet, &id).await;
        assert!(made(slug).exists(), "{slug}");
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

/// Both commands begin a conversation that knows nothing of the one before.
const BEGIN_ANEW: [(&str, &str); 2] = [("claude-one", "/clear"), ("codex-one", "/new")];

/// Waits until the daemon knows the agent as another conversation, and answers which.
async fn followed(fleet: &Fleet, slug: &str, from: &str) -> String {
    until(&format!("the new conversation of {slug} is known"), async || {
        let now = conversation(fleet, slug).await;
        (now != from).then_some(now)
    })
    .await
}

#[tokio::test]
async fn a_conversation_that_a_person_began_anew_is_the_one_that_comes_back_and_the_old_words_stay_forgotten() {
    let model = FakeModel::start();
    let fleet = started(&model, "").await;
    for (slug, command) in BEGIN_ANEW {
        let old = conversation(&fleet, slug).await;
        type_by_hand(&fleet, slug, command).await;
        until("the screen forgot", async || (!fleet.screen(slug).contains(FIRST)).then_some(())).await;
        let by_hand = format!("by hand for {slug}");
        type_by_hand(&fleet, slug, &by_hand).await;
        until("the model is asked", async || model.saw_prompt(&by_hand).then_some(())).await;
        followed(&fleet, slug, &old).await;
        fleet.until_state(slug, "idle").await;
    }
    let before = lives(&fleet).await;
    before.iter().for_each(|life| kill(life.pid));
    are_back(&fleet, &before).await;
    for (slug, _) in BOTH {
        let next = format!("the next thing for {slug}");
        fleet.fleet(&["send", slug, "--reply", &next]);
        let request = model.request_for(&next).unwrap();
        assert!(request.remembers(&format!("by hand for {slug}")), "{slug} forgot: {:?}", request.messages);
        assert!(!request.remembers(FIRST), "{slug} is the old conversation");
        assert_eq!(times_asked(&model, &next), 1);
    }

    // Once more, and nothing was said in the new one yet when its process dies.
    for (slug, command) in BEGIN_ANEW {
        let old = conversation(&fleet, slug).await;
        type_by_hand(&fleet, slug, command).await;
        followed(&fleet, slug, &old).await;
    }
    for (slug, _) in BOTH {
        let pid = fleet.agent_pid(slug);
        kill(pid);
        gone(pid).await;
        let last = format!("the last thing for {slug}");
        fleet.fleet(&["send", slug, "--reply", "--timeout", "50s", &last]);
        let request = model.request_for(&last).unwrap();
        assert!(!request.remembers(FIRST) && !request.remembers("by hand"), "{slug}: {:?}", request.messages);
        assert_eq!((times_asked(&model, &last), processes_of(&fleet, slug)), (1, vec![fleet.agent_pid(slug)]));
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn real_agents_whose_tmux_server_is_killed_in_the_middle_of_a_turn_come_back_each_in_one_process() {
    let model = FakeModel::start();
    let fleet = started(&model, "").await;
    let before = lives(&fleet).await;
    let mut pairs = Vec::new();
    for (slug, _) in BOTH {
        pairs.push(Pair::hand_in(&fleet, &model, slug, &format!("slow 3 {slug}")).await);
        model.release(slug, 1);
        let said = format!("chunk 1 of 3 for {}", pairs.last().unwrap().cut);
        until("the first words are on the screen", async || fleet.screen(slug).contains(&said).then_some(())).await;
    }
    kill(fleet.tmux(&["display-message", "-p", "#{pid}"]).parse().unwrap());
    are_back(&fleet, &before).await;
    for pair in &pairs {
        pair.is_told_honestly(&fleet, &model).await;
        assert_eq!(processes_of(&fleet, pair.slug), [fleet.agent_pid(pair.slug)]);
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn another_fleetd_from_another_place_takes_over_running_real_agents_in_the_middle_of_a_turn() {
    let model = FakeModel::start();
    let mut fleet = Fleet::real(&model, &BOTH, "");
    let old = fleet.path("old-fleetd");
    std::fs::copy(FLEETD, &old).unwrap();
    fleet.use_program(&old);
    fleet.start().await;
    let first = BOTH.map(|(slug, _)| fleet.hand_in(slug, FIRST));
    for id in &first {
        until_done(&fleet, id).await;
    }
    let mut turns = Vec::new();
    for (slug, _) in BOTH {
        turns.push(fleet.hand_in(slug, &format!("slow 2 {slug}")));
        until("the model is asked", async || (model.waiting_at(slug) > 0).then_some(())).await;
    }
    let before = lives(&fleet).await;
    assert_eq!(fleet.stop(), Some(0));
    std::fs::remove_file(&old).unwrap();
    fleet.use_program(Path::new(FLEETD));
    fleet.start().await;
    for ((slug, _), id) in BOTH.iter().zip(&turns) {
        model.release(slug, 2);
        let view = fleet.until_prompt(id, "done", |state| state.name() == StateName::Done).await;
        let cut = |row: &fleetd::model::FeedRow| matches!(&row.fact, Fact::TurnEnded { outcome, .. } if *outcome != Outcome::Completed);
        assert!(!view.turn.iter().any(cut), "{slug}: {:?}", view.turn);
        // Its hooks still tell: without them the end would be guessed from half a minute of quiet.
        assert_eq!(view.steps.last().unwrap().cause, "the turn ended", "{slug}: {:?}", view.steps);
        let next = format!("the next thing for {slug}");
        fleet.fleet(&["send", slug, "--reply", &next]);
        assert!(model.request_for(&next).unwrap().remembers(FIRST), "{slug} forgot");
    }
    for life in &before {
        assert_eq!(fleet.agent_pid(life.slug), life.pid, "{} was started anew", life.slug);
        kill(life.pid);
    }
    are_back(&fleet, &before).await;
    for (slug, _) in BOTH {
        let last = format!("the last thing for {slug}");
        fleet.fleet(&["send", slug, "--reply", &last]);
        let request = model.request_for(&last).unwrap();
        assert!(request.remembers(FIRST) && request.remembers(&format!("slow 2 {slug}")), "{slug} forgot");
    }
    assert_eq!(model.violations(), Vec::<String>::new());
}
