//! The supervisor's pass over a thousand sessions that are all well.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use criterion::Criterion;
use fleetd::supervisor::{Patience, Step, TAG_AGENT, TAG_FLEET};
use fleetd::tmux::{NewSession, ProcessMark, ProcessStatus};

use crate::house::{FLEET, House};
use crate::table::{Row, Samples};

const SESSIONS: usize = 1000;

async fn furnished() -> House {
    let agents: Vec<_> = (0..SESSIONS).map(|n| (format!("agent-{n}"), "[sleep, infinity]".to_owned())).collect();
    let house = House::new(&agents).await;
    for setup in &house.setups {
        let slug = setup.agent.slug.as_str();
        let new = NewSession {
            name: slug.to_owned(),
            cwd: setup.cwd.clone(),
            argv: ["sleep", "infinity"].map(Into::into).into(),
            tags: BTreeMap::from([(TAG_AGENT.to_owned(), slug.to_owned()), (TAG_FLEET.to_owned(), FLEET.to_owned())]),
            width: 200,
            height: 50,
        };
        let pane = house.server.create(&new).await.unwrap();
        let mark = ProcessStatus::read(pane.pid).unwrap().mark(pane.pid);
        std::fs::write(ProcessMark::path(&setup.state), mark.to_string()).unwrap();
    }
    house
}

/// One pass, as the daemon makes it.
async fn pass(house: &House) -> Duration {
    let slugs = house.slugs();
    let before = children();
    let started = Instant::now();
    let survey = house.supervisor.survey(&slugs, Patience::None).await.unwrap();
    assert_eq!(survey.seats().len(), SESSIONS);
    for (step, setup) in survey.steps.iter().zip(&house.setups) {
        assert!(matches!(step, Step::Keep { .. }), "{step}");
        house.supervisor.apply(step, setup).await.unwrap();
    }
    let took = started.elapsed();
    assert_eq!(children(), before, "a process was started");
    took
}

/// Page faults of children that were waited for: the same before and after means that there was none.
fn children() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(8).unwrap().parse().unwrap()
}

fn listing(house: &House) -> Duration {
    let started = Instant::now();
    house.raw(&["list-panes", "-a"]);
    started.elapsed()
}

/// Measures, both in turn for every sample.
pub fn measure(criterion: &mut Criterion, tokio: &tokio::runtime::Runtime) -> Vec<Row> {
    let house = tokio.block_on(furnished());
    let (mut floor, mut passes) = (Samples::default(), Samples::default());
    let mut pair = |iterations: u64, pick: fn(Duration, Duration) -> Duration| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            let (raw, ours) = (listing(&house), tokio.block_on(pass(&house)));
            floor.add(raw);
            passes.add(ours);
            total += pick(raw, ours);
        }
        total
    };
    let mut group = criterion.benchmark_group("pass");
    group.bench_function("raw", |bencher| bencher.iter_custom(|iterations| pair(iterations, |raw, _| raw)));
    group.bench_function("fleetd", |bencher| bencher.iter_custom(|iterations| pair(iterations, |_, ours| ours)));
    group.finish();
    if passes.is_empty() {
        return Vec::new();
    }
    let reached = passes.median() < Duration::from_millis(50);
    let name = format!("no-op pass over {SESSIONS} sessions (no process started)");
    vec![Row::beside(&name, &passes, "exec of tmux list-panes -a", &floor).reaching("50 ms", reached)]
}
