//! `fleet send` as a person types it: from the start of its process to Enter pressed, through the daemon's API.

use std::time::{Duration, Instant};

use fleetd::model::{StateName, Transition};
use jiff::Timestamp;

use crate::daemon::Daemon;
use crate::house::raw;
use crate::support::fleet::Fleet;
use crate::table::{Row, Samples};

const PROMPTS: usize = 40;

/// How long the runtime `command` lets a paste settle: the wait that the raw script lacks.
const SETTLE: Duration = Duration::from_millis(50);

fn at(steps: &[Transition], state: StateName, begun: Timestamp) -> Duration {
    let step = steps.iter().find(|step| step.state.name() == state).unwrap_or_else(|| panic!("{steps:?}"));
    Duration::try_from(step.at.duration_since(begun)).unwrap()
}

/// Three execs on the fleet's own server, into the same pane.
fn script(socket: &str, pane: &str, body: &str) -> Duration {
    let started = Instant::now();
    raw(socket, None, &["load-buffer", "-b", "raw", body]);
    raw(socket, None, &["paste-buffer", "-p", "-r", "-d", "-b", "raw", "-t", pane]);
    raw(socket, None, &["send-keys", "-t", pane, "Enter"]);
    started.elapsed()
}

/// Measures, both in turn for every sample.
pub async fn measure() -> Vec<Row> {
    let fleet = Fleet::new(&Fleet::practice("ann"));
    let _daemon = Daemon::start(&fleet, &["ann".to_owned()]).await;
    let socket_path = fleet.tmux(&["display-message", "-p", "#{socket_path}"]);
    let socket = socket_path.rsplit('/').next().unwrap();
    let pane = fleet.tmux(&["display-message", "-p", "-t", "=ann:", "#{pane_id}"]);
    let body = fleet.path("body");
    std::fs::write(&body, "[fleet · cli · ann · 0000000000000000]\nwhat is up").unwrap();
    let (mut floor, mut typing, mut submitted) = (Samples::default(), Samples::default(), Samples::default());
    let (mut confirmed, mut whole) = (Samples::default(), Samples::default());
    for number in 0..PROMPTS + 2 {
        let raw = script(socket, &pane, body.to_str().unwrap());
        fleet.tmux(&["send-keys", "-t", &pane, "Enter"]);
        fleet.until_state("ann", "idle").await;
        let mut command = fleet.command(&["send", "ann", "what is up", "--json"]);
        command.env_remove("FLEET_CLOCK_FILE");
        let (begun, started) = (Timestamp::now(), Instant::now());
        let output = command.output().unwrap();
        let took = started.elapsed();
        let view: fleetd::daemon::protocol::PromptView = serde_json::from_slice(&output.stdout).unwrap();
        fleet.until_prompt(view.id.as_str(), "done", |state| state.name() == StateName::Done).await;
        if number < 2 {
            continue;
        }
        floor.add(raw);
        typing.add(at(&view.steps, StateName::Typing, begun));
        let entered = at(&view.steps, StateName::Submitted, begun);
        submitted.add(entered.saturating_sub(SETTLE));
        confirmed.add(at(&view.steps, StateName::Confirmed, begun).saturating_sub(entered));
        whole.add(took);
    }
    let third = submitted.median() * 3 <= floor.median();
    let soon = submitted.median() <= Duration::from_millis(15);
    let seen = confirmed.median() <= Duration::from_millis(300);
    vec![
        Row::beside("`fleet send`, its process's start → typing begins", &typing, "three tmux execs", &floor),
        Row::beside(
            "`fleet send`, its process's start → Enter, less 50 ms of settling",
            &submitted,
            "three tmux execs",
            &floor,
        )
        .reaching("ratio 0.33", third),
        Row::alone("the same by itself", submitted.told()).reaching("15 ms", soon),
        Row::alone("Enter → confirmed by the agent's own record", confirmed.told()).reaching("300 ms", seen),
        Row::alone("`fleet send` whole, until confirmed and printed", whole.told()),
    ]
}
