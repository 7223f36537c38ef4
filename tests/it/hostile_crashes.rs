//! The daemon is killed (SIGKILL) at every step between two of its lasting effects, over and over, under load. Whatever the
//! moment: no prompt is lost, none is typed twice, none is told wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleetd::config::{self, CrashPoint, Environment};
use fleetd::daemon::protocol::Keep;
use fleetd::git::Git;
use fleetd::model::{PromptId, StateName, SystemClock, text};
use fleetd::runtime::{self, AgentSetup};
use fleetd::store::Store;
use fleetd::supervisor::{Patience, Step, Supervisor, TAG_AGENT, TAG_FLEET};
use fleetd::tmux::{Server, ServerOptions};
use rustix::process::{Pid, Signal, kill_process};

use crate::one_message::said_in_a_thread;
use crate::support::fleet::{FLEETD, Fleet};
use crate::support::wait::until;

/// `make soak` asks for more.
const INJECTIONS: usize = 100;

const AGENTS: [&str; 6] = ["ann", "bob", "cid", "dan", "eve", "fay"];

/// Leaves a prompt where `fleet send` leaves it while no daemon runs.
fn leave(fleet: &Fleet, slug: &str, body: &str) -> PromptId {
    let keep = Keep {
        id: PromptId::random(),
        agent: slug.parse().unwrap(),
        who: "ann".into(),
        body: body.into(),
        mode: fleetd::model::Mode::Queue,
    };
    let directory = fleet.state().join("offline");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(format!("{}.json", keep.id)), serde_json::to_vec(&keep).unwrap()).unwrap();
    keep.id
}

/// How often each prompt stands in an agent's own record.
fn taken(fleet: &Fleet, slug: &str) -> BTreeMap<PromptId, usize> {
    let mut taken = BTreeMap::new();
    for line in fleet.transcript(slug).lines().filter(|line| line.contains("\"type\":\"prompt\"")) {
        *taken.entry(text::header_id(line).unwrap()).or_default() += 1;
    }
    taken
}

#[tokio::test]
async fn a_daemon_killed_at_any_step_loses_no_prompt_and_types_none_twice() {
    let injections = std::env::var("FLEET_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(INJECTIONS);
    let entries: String = AGENTS.iter().map(|slug| Fleet::practice(slug) + "    initPrompt: welcome\n").collect();
    let mut fleet = Fleet::new(&entries);
    let mut prompts: Vec<(&str, PromptId)> = Vec::new();
    let mut done = BTreeMap::<String, usize>::new();
    let start = Instant::now();
    for injection in 0..injections {
        let point = CrashPoint::ALL[injection % CrashPoint::ALL.len()];
        // The first launches happen once; from then on only an agent that died is started.
        let point = if point == CrashPoint::InitStored && injection > 1 { CrashPoint::Launched } else { point };
        let slug = AGENTS[injection % AGENTS.len()];
        if matches!(point, CrashPoint::LaunchCounted | CrashPoint::Launched) && injection > CrashPoint::ALL.len() {
            kill_process(Pid::from_raw(fleet.agent_pid(slug).cast_signed()).unwrap(), Signal::KILL).unwrap();
        }
        for slug in [slug, AGENTS[(injection + 3) % AGENTS.len()]] {
            prompts.push((slug, leave(&fleet, slug, &format!("prompt {}\nand a second line", prompts.len()))));
        }
        fleet.set("FLEET_CRASH_AT", point.name());
        fleet.launch();
        until(&format!("the daemon dies at {}", point.name()), || std::future::ready(fleet.died().then_some(()))).await;
        *done.entry(point.name()).or_default() += 1;
    }
    fleet.unset("FLEET_CRASH_AT");
    fleet.start().await;
    // Thousands of injections leave a long queue behind: it may take its time, as long as it gets shorter.
    let mut queued = usize::MAX;
    while queued > 0 {
        let before = queued;
        queued = until("the queue gets shorter", async || {
            let left = fleet.status().agents.iter().map(|agent| agent.queued).sum::<usize>();
            (left < before).then_some(left)
        })
        .await;
    }
    until("nothing is under way any more", async || {
        let agents = fleet.status().agents;
        let rests = |agent: &fleetd::daemon::protocol::AgentStatus| {
            let last = agent.last.as_ref().is_some_and(|last| ["done", "uncertain", "failed"].contains(&&*last.state));
            agent.queued == 0 && last && agent.state.word() == "idle"
        };
        agents.iter().all(rests).then_some(())
    })
    .await;
    let mut states = BTreeMap::<String, usize>::new();
    for slug in AGENTS {
        let counts = taken(&fleet, slug);
        assert!(counts.values().all(|count| *count == 1), "{slug}: typed twice: {counts:?}");
        let own = prompts.iter().filter(|(whose, _)| *whose == slug);
        for (_, id) in own {
            let view = fleet.trace(id.as_str());
            let state = view.steps.last().unwrap().state.name();
            let steps: Vec<_> = view.steps.iter().map(|step| (step.state.name(), &step.cause)).collect();
            assert!(counts.contains_key(id) == (state == StateName::Done), "{id} told wrong: {steps:?}");
            if state != StateName::Done {
                println!("{id} for {slug}: {steps:?}");
            }
            // Five tries, each cut off by a death, are the most there are: it is told as failed, and did not arrive.
            let tries = steps.iter().filter(|(state, _)| *state == StateName::Typing).count();
            let given_up = state == StateName::Failed && tries == 5;
            *states.entry(if given_up { "given up" } else { state.as_str() }.to_owned()).or_default() += 1;
        }
        // The first prompt of all, too.
        assert_eq!(fleet.transcript(slug).matches("init · agents.yaml").count(), 1, "{slug}");
    }
    println!("{injections} crashes ({done:?}), {} prompts: {states:?}, in {:.0?}", prompts.len(), start.elapsed());
    // In a hundred injections no prompt meets five of them; in thousands one in a thousand does.
    let given_up = states.remove("given up").unwrap_or_default();
    assert!(given_up <= injections / 200, "{given_up} prompts were given up");
    assert_eq!(states, BTreeMap::from([("done".to_owned(), prompts.len() - given_up)]));
}

#[tokio::test]
async fn a_daemon_killed_at_any_step_loses_no_part_of_what_goes_as_one_message() {
    const POINTS: [CrashPoint; 10] = [
        CrashPoint::TypingStored,
        CrashPoint::Pasted,
        CrashPoint::PasteShown,
        CrashPoint::EnterPressed,
        CrashPoint::Submitted,
        CrashPoint::RecordsRead,
        CrashPoint::RecordsHalfStored,
        CrashPoint::RecordsStored,
        CrashPoint::Confirmed,
        CrashPoint::Done,
    ];
    let injections =
        std::env::var("FLEET_SOAK").ok().and_then(|text| text.parse().ok()).map_or(30, |most: usize| most / 10);
    let agents = &AGENTS[..3];
    let mut fleet = Fleet::new(&agents.iter().map(|slug| Fleet::practice(slug)).collect::<String>());
    fleet.start().await;
    for slug in agents {
        fleet.until_state(slug, "idle").await;
    }
    fleet.kill();
    let mut threads = Vec::new();
    for injection in 0..injections {
        let slug = agents[injection % agents.len()];
        let bodies = ["one", "two\nlines", "three"];
        threads.push((slug, said_in_a_thread(&fleet, slug, &format!("{injection}.0"), &bodies).await));
        let point = POINTS[injection % POINTS.len()];
        fleet.set("FLEET_CRASH_AT", point.name());
        fleet.launch();
        until(&format!("the daemon dies at {}", point.name()), || std::future::ready(fleet.died().then_some(()))).await;
    }
    fleet.unset("FLEET_CRASH_AT");
    fleet.start().await;
    for (slug, ids) in &threads {
        for id in ids {
            let view = fleet
                .until_prompt(id.as_str(), "settled", |state| {
                    state.name() == StateName::Done || state.name().is_given_up()
                })
                .await;
            let steps: Vec<_> = view.steps.iter().map(|step| (step.state.name(), &step.cause)).collect();
            assert_eq!(view.steps.last().unwrap().state.name(), StateName::Done, "{id}: {steps:?}");
            let times = fleet.taken(slug).iter().filter(|prompt| prompt.contains(&format!("· {id}\n"))).count();
            assert_eq!(times, 1, "{id} was given {times} times: {steps:?}\n{:#?}", fleet.taken(slug));
        }
        let carried = fleet.taken(slug).iter().filter(|prompt| prompt.contains(ids[0].as_str())).count();
        assert_eq!(carried, 1, "{ids:?} did not go as one");
    }
}

#[tokio::test]
async fn a_long_backlog_of_records_does_not_make_a_prompt_look_lost_and_be_typed_again() {
    let mut fleet = Fleet::new(&Fleet::practice("ann"));
    fleet.start().await;
    fleet.until_state("ann", "idle").await;
    fleet.kill();
    // A long answer, so that the screen no longer shows the prompt.
    let id = leave(&fleet, "ann", "practice: long 16");
    fleet.set("FLEET_CRASH_AT", CrashPoint::EnterPressed.name());
    fleet.launch();
    until("the daemon dies", || std::future::ready(fleet.died().then_some(()))).await;
    until("the agent answered", async || fleet.transcript("ann").contains("turn_ended").then_some(())).await;
    until("the answer is drawn", async || (!fleet.screen("ann").contains("[fleet")).then_some(())).await;
    // What the agent wrote before it took the prompt, more than one reading takes in.
    let record = fleet.transcript("ann");
    let place = record.find("\n").unwrap() + 1;
    let filler = format!("{}\n", "x".repeat(99)).repeat(200_000);
    let path = fleet.state().join("agents/ann/transcript.jsonl");
    std::fs::write(path, [&record[..place], &filler, &record[place..]].concat()).unwrap();
    fleet.move_clock(60);
    fleet.unset("FLEET_CRASH_AT");
    fleet.start().await;
    fleet.until_prompt(id.as_str(), "done", |state| state.name() == StateName::Done).await;
    assert_eq!(taken(&fleet, "ann"), BTreeMap::from([(id, 1)]));
}

/// A supervisor with a tmux server of its own and one practice agent.
async fn supervised(directory: &Path) -> (Supervisor, Server, Store, AgentSetup) {
    let yaml = format!("workspacesDir: {}/work\nagents:\n{}", directory.display(), Fleet::practice("ann"));
    let path = directory.join("agents.yaml");
    std::fs::write(&path, yaml).unwrap();
    let fleet = config::load(&path, &Environment::default()).unwrap();
    let agent = fleet.agents[0].clone();
    let cwd = directory.join("work/ann");
    std::fs::create_dir_all(&cwd).unwrap();
    let mut environment: BTreeMap<_, _> = std::env::vars_os().collect();
    environment.insert("TMUX_TMPDIR".into(), directory.into());
    let tmux = Server::new(ServerOptions {
        socket: "fleet-test".into(),
        directory: directory.join("tmux"),
        timeout: Duration::from_secs(10),
        environment: environment.clone(),
        tags: vec![TAG_AGENT.into(), TAG_FLEET.into()],
        scope: None,
    });
    let store = Store::open(&directory.join("fleet.db")).await.unwrap();
    let git = Git::new("/nowhere", Duration::from_secs(5), BTreeMap::new());
    let clock = Arc::new(SystemClock);
    let supervisor = Supervisor::new(store.clone(), tmux.clone(), git, clock, "f1".into(), directory.join("repos"));
    let setup = AgentSetup {
        runtime: runtime::for_agent(&agent),
        agent,
        cwd,
        state: directory.join("agents/ann"),
        fleetd: FLEETD.into(),
        environment,
        rule: None,
        root: false,
    };
    (supervisor, tmux, store, setup)
}

#[tokio::test]
async fn a_step_that_another_pass_was_quicker_with_does_not_start_an_agent_a_second_time() {
    let directory = tempfile::Builder::new().prefix("ft").tempdir_in("/tmp").unwrap();
    let (supervisor, tmux, store, setup) = supervised(directory.path()).await;
    let agents = [setup.agent.slug.clone()];
    let step = async || supervisor.survey(&agents, Patience::None).await.unwrap().steps.remove(0);
    let launches = async || store.conversation(&agents[0]).await.unwrap().unwrap().launches;

    let create = step().await;
    assert!(matches!(create, Step::Create { .. }), "{create:?}");
    supervisor.apply(&create, &setup).await.unwrap();
    // Whatever goes wrong shows in the count and as the agent's problem.
    supervisor.apply(&create, &setup).await.ok();

    let pid = tmux.panes().await.unwrap()[0].pid;
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let respawn =
        until("the death shows", async || Some(step().await).filter(|step| matches!(step, Step::Respawn { .. }))).await;
    supervisor.apply(&respawn, &setup).await.ok();
    supervisor.apply(&respawn, &setup).await.ok();
    let seen = (launches().await, supervisor.problem(&agents[0]));
    tmux.kill_server().await.unwrap();
    assert_eq!(seen, (2, None));
}
