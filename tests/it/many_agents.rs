//! A whole fleet at once: two hundred agents are given a prompt within the same second.

use std::path::Path;
use std::time::{Duration, Instant};

use fleetd::daemon::protocol::{Keep, PromptView, Status};
use fleetd::model::{PromptId, StateName};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::support::fleet::Fleet;
use crate::support::wait::until;

const AGENTS: usize = 200;

/// One call of the daemon's API without a process of its own: two hundred of those would take longer than a second.
async fn call<T: DeserializeOwned>(socket: &Path, method: &str, path: &str, body: &[u8]) -> T {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: fleet\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{method} {path}: {error}: {answer}"))
}

/// CPU time that a process has used. A tick is a hundredth of a second on Linux.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_agents_are_given_a_prompt_within_a_second_and_each_takes_its_own_once() {
    let slugs: Vec<String> = (0..AGENTS).map(|number| format!("agent-{number:03}")).collect();
    let mut fleet = Fleet::new(&slugs.iter().map(|slug| Fleet::practice(slug)).collect::<String>());
    let begun = Instant::now();
    fleet.start().await;
    until("every agent has begun its record", async || {
        slugs.iter().all(|slug| fleet.state().join("agents").join(slug).join("transcript.jsonl").exists()).then_some(())
    })
    .await;
    let socket = fleet.state().join("fleetd.sock");
    until("every agent is idle", async || {
        let status: Status = call(&socket, "GET", "/v1/status", b"").await;
        status.agents.iter().all(|agent| agent.state.word() == "idle").then_some(())
    })
    .await;
    let up = begun.elapsed();

    let (given, used) = (Instant::now(), cpu(fleet.pid()));
    let mut calls = JoinSet::new();
    for slug in slugs.clone() {
        let socket = socket.clone();
        calls.spawn(async move {
            let body = format!("for {slug} alone");
            let keep = Keep {
                id: PromptId::random(),
                agent: slug.parse().unwrap(),
                who: "ann".into(),
                body,
                mode: fleetd::model::Mode::Queue,
            };
            let _: serde_json::Value = call(&socket, "POST", "/v1/prompts", &serde_json::to_vec(&keep).unwrap()).await;
            (slug, keep.id)
        });
    }
    let prompts = calls.join_all().await;
    let handed_in = given.elapsed();
    let mut lives = Vec::new();
    for (slug, id) in prompts {
        let path = format!("/v1/prompts/{id}?until=confirmed&seconds=60");
        let view: PromptView = call(&socket, "GET", &path, b"").await;
        let at = |wanted: StateName| {
            let step = view.steps.iter().rfind(|step| step.state.name() == wanted);
            step.unwrap_or_else(|| panic!("{slug} is not {wanted:?}: {:?}", view.steps)).at
        };
        let stages = [StateName::Queued, StateName::Typing, StateName::Submitted, StateName::Confirmed].map(at);
        lives.push((stages, slug, id));
    }
    let used = cpu(fleet.pid()) - used;
    let took = |from: usize, to: usize| {
        let mut took: Vec<_> = lives.iter().map(|life| life.0[to].duration_since(life.0[from]).as_secs_f64()).collect();
        took.sort_by(f64::total_cmp);
        (took[AGENTS / 2], took[AGENTS - 1])
    };
    println!(
        "{AGENTS} agents: up after {up:.1?}; {AGENTS} prompts handed in within {handed_in:.2?}; confirmed after {:.2} s, the \
         slowest after {:.2} s (queued {:.2} s, pasted and entered {:.2} s, confirmed {:.2} s: medians); {:.1} ms of fleetd's \
         CPU a prompt",
        took(0, 3).0,
        took(0, 3).1,
        took(0, 1).0,
        took(1, 2).0,
        took(2, 3).0,
        used.as_secs_f64() * 1000.0 / AGENTS as f64
    );
    let first = lives.iter().map(|life| life.0[0]).min().unwrap();
    let last = lives.iter().map(|life| life.0[0]).max().unwrap();
    assert!(last.duration_since(first).as_secs_f64() < 1.0, "they were not given within a second");
    for (_, slug, id) in &lives {
        let taken = fleet.taken(slug);
        assert!(taken.len() == 1 && taken[0].contains(id.as_str()), "{slug}: {taken:?}");
        assert!(taken[0].contains(&format!("for {slug} alone")), "{taken:?}");
    }
}
