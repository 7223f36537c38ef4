//! A prompt from the inbox to Enter, by the rooms themselves: what the daemon does, without its API and its event loop.
//!
//! The waits for the agent's own program (until its box shows the paste, and the CLI's settling time) are taken out; the raw
//! script has none. Everything else is in: the durable insert, the reading of the agent's record, every look of the guard.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::Criterion;
use fleetd::delivery::guard;
use fleetd::delivery::{Delivery, Target};
use fleetd::mirror::Mirror;
use fleetd::model::{Clock, Evidence, NewPrompt, PromptId, PromptState, Source, StateName, SystemClock};
use fleetd::runtime::{
    Activity, Conversation, Identity, InputBox, Launch, LaunchContext, Record, RecordKeeping, RecordKind, RecordSource,
    Runtime, ScreenReading,
};
use fleetd::supervisor::Step;
use fleetd::tmux::{PaneId, Screen};
use jiff::Timestamp;

use crate::house::{House, practice};
use crate::support::wait::until;
use crate::table::{Row, Samples, short};

/// What is typed, by both.
const BODY: &str = "Good morning. Look at the slowest query of the night and say in a line what it was.";

/// A runtime that never waits, and notes when it was asked what.
struct Hurried {
    inner: Arc<dyn Runtime>,
    notes: Arc<Notes>,
}

/// When things happened within one pass.
#[derive(Default)]
struct Notes(Mutex<Vec<(Instant, Note)>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    /// A look begins, or a row is stamped.
    Clock,
    /// A look ended; whether something stood in the box.
    Seen(bool),
    /// The box showed the paste.
    Shown,
}

impl Notes {
    fn add(&self, note: Note) {
        self.0.lock().unwrap().push((Instant::now(), note));
    }

    /// How long the pass waited for the agent's program: from its first look after the paste to the one that showed it, and
    /// from there to the next thing it did.
    fn waited(&self) -> Duration {
        let notes = std::mem::take(&mut *self.0.lock().unwrap());
        let shown = notes.iter().position(|(_, note)| *note == Note::Shown).expect("the box showed the paste");
        let seen = |(_, note): &&(Instant, Note)| matches!(note, Note::Seen(_));
        // The first two looks are those before the paste.
        let first = notes.iter().filter(seen).nth(2).expect("a look after the paste").0;
        let next = notes[shown..].iter().find(|(_, note)| *note == Note::Clock).expect("a look before Enter").0;
        next - first
    }
}

impl Runtime for Hurried {
    fn launch(&self, context: &LaunchContext<'_>) -> Launch {
        self.inner.launch(context)
    }

    fn records(&self, context: &LaunchContext<'_>) -> Vec<RecordSource> {
        self.inner.records(context)
    }

    fn read_record(&self, kind: RecordKind, line: &str) -> Vec<Record> {
        self.inner.read_record(kind, line)
    }

    fn read_screen(&self, screen: &Screen) -> ScreenReading {
        let reading = self.inner.read_screen(screen);
        self.notes.add(Note::Seen(matches!(reading.input, InputBox::Holds(_))));
        reading
    }

    fn state_file(&self, context: &LaunchContext<'_>, pid: u32) -> Option<PathBuf> {
        self.inner.state_file(context, pid)
    }

    fn read_state_file(&self, content: &str) -> Option<Activity> {
        self.inner.read_state_file(content)
    }

    fn typed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.inner.typed(text)
    }

    fn settle(&self) -> Duration {
        self.notes.add(Note::Shown);
        Duration::ZERO
    }

    fn keeps_record(&self) -> RecordKeeping {
        self.inner.keeps_record()
    }

    fn identity(&self) -> Identity {
        self.inner.identity()
    }
}

struct NotingClock(Arc<Notes>);

impl Clock for NotingClock {
    fn now(&self) -> Timestamp {
        self.0.add(Note::Clock);
        Timestamp::now()
    }
}

/// One agent, and everything that brings a prompt to it.
struct Bench {
    house: House,
    notes: Arc<Notes>,
    runtime: Arc<dyn Runtime>,
    delivery: Delivery,
    mirror: Mirror,
    pane: PaneId,
    conversation: Conversation,
    body: PathBuf,
}

/// The times of one prompt.
struct Sent {
    stored: Duration,
    submitted: Duration,
}

impl Bench {
    async fn new() -> Self {
        let house = House::new(&[("ann".to_owned(), practice())]).await;
        let setup = &house.setups[0];
        house.supervisor.apply(&Step::Create { agent: setup.agent.slug.clone() }, setup).await.unwrap();
        let pane = house.server.panes().await.unwrap().remove(0).id;
        let notes = Arc::new(Notes::default());
        let clock: Arc<dyn Clock> = Arc::new(NotingClock(Arc::clone(&notes)));
        let delivery = Delivery::new(house.store.clone(), house.server.clone(), Arc::clone(&clock));
        let mirror = Mirror::new(house.store.clone(), Arc::new(SystemClock));
        let inner = Arc::clone(&setup.runtime);
        let runtime = Arc::new(Hurried { inner, notes: Arc::clone(&notes) });
        let body = house.path().join("body");
        std::fs::write(&body, format!("[fleet · cli · ann · 0000000000000000]\n{BODY}")).unwrap();
        let conversation = Conversation::Resume { id: String::new() };
        let bench = Self { house, notes, runtime, delivery, mirror, pane, conversation, body };
        bench.idle().await;
        bench
    }

    fn target(&self) -> Target<'_> {
        Target {
            context: self.house.setups[0].context(&self.conversation),
            runtime: &self.runtime,
            pane: Some(self.pane.clone()),
            keeps_record: true,
            record_since: None,
            recorded: None,
            blocked: None,
            rule: None,
            draining: None,
        }
    }

    /// Waits until the agent stands idle at an empty box.
    async fn idle(&self) {
        until("the agent is idle", async || {
            let sight = self.delivery.look(&self.target()).await.unwrap()?;
            guard::check(&sight).is_ok().then_some(())
        })
        .await;
        self.read().await;
    }

    async fn read(&self) {
        let setup = &self.house.setups[0];
        let sources = self.runtime.records(&setup.context(&self.conversation));
        self.mirror.pass(&setup.agent.slug, &self.runtime, sources).await.unwrap();
    }

    /// The floor: what a script does, three execs.
    async fn raw(&self) -> Duration {
        let pane = self.pane.as_str();
        let body = self.body.to_str().unwrap();
        let started = Instant::now();
        self.house.raw(&["load-buffer", "-b", "raw", body]);
        self.house.raw(&["paste-buffer", "-p", "-r", "-d", "-b", "raw", "-t", pane]);
        self.house.raw(&["send-keys", "-t", pane, "Enter"]);
        let took = started.elapsed();
        // Enter behind a paste that the program had not read yet may be taken for a part of it.
        until("the raw prompt was taken", async || {
            let sight = self.delivery.look(&self.target()).await.unwrap()?;
            if matches!(sight.screen.input, InputBox::Holds(_)) {
                self.house.raw(&["send-keys", "-t", pane, "Enter"]);
            }
            guard::check(&sight).is_ok().then_some(())
        })
        .await;
        self.idle().await;
        took
    }

    /// The same by fleetd.
    async fn fleetd(&self) -> Sent {
        let store = &self.house.store;
        let id = PromptId::random();
        let new = NewPrompt {
            id: id.clone(),
            agent: self.house.setups[0].agent.slug.clone(),
            source: Source::Cli,
            who: "ann".to_owned(),
            dedup_key: format!("cli/{id}"),
            body: BODY.to_owned(),
            place: None,
            expires: None,
            mode: fleetd::model::Mode::Queue,
        };
        drop(std::mem::take(&mut *self.notes.0.lock().unwrap()));
        let (begun, started) = (Timestamp::now(), Instant::now());
        store.insert_prompt(&new, begun).await.unwrap();
        let stored = started.elapsed();
        self.read().await;
        let report = self.delivery.pass(&self.target()).await.unwrap();
        let waited = self.notes.waited();
        assert!(report.moved.iter().any(|(_, state)| *state == StateName::Submitted), "{report:?}");
        let steps = store.trace(&id).await.unwrap();
        let at = steps.iter().find(|step| step.state.name() == StateName::Submitted).unwrap().at;
        let whole = Duration::try_from(at.duration_since(begun)).unwrap();
        let prompt = store.prompt(&id).await.unwrap().unwrap();
        let done = PromptState::Done { by: Evidence::Transcript };
        assert!(store.advance(&prompt, &done, "measured", at).await.unwrap());
        self.idle().await;
        Sent { stored, submitted: whole.saturating_sub(waited) }
    }
}

/// Measures, both in turn for every sample.
pub fn measure(criterion: &mut Criterion, tokio: &tokio::runtime::Runtime) -> Vec<Row> {
    let bench = tokio.block_on(Bench::new());
    let (mut raw, mut stored, mut submitted) = (Samples::default(), Samples::default(), Samples::default());
    let mut pair = |iterations: u64, pick: fn(Duration, Duration) -> Duration| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            let floor = tokio.block_on(bench.raw());
            let sent = tokio.block_on(bench.fleetd());
            raw.add(floor);
            stored.add(sent.stored);
            submitted.add(sent.submitted);
            total += pick(floor, sent.submitted);
        }
        total
    };
    let mut group = criterion.benchmark_group("delivery");
    group.bench_function("raw", |bencher| bencher.iter_custom(|iterations| pair(iterations, |raw, _| raw)));
    group.bench_function("fleetd", |bencher| bencher.iter_custom(|iterations| pair(iterations, |_, sent| sent)));
    group.finish();
    if submitted.is_empty() {
        return Vec::new();
    }
    let reached = submitted.median() * 3 <= raw.median();
    let name = format!("prompt in the inbox → Enter pressed (of it {} the durable insert)", short(stored.median()));
    vec![Row::beside(&name, &submitted, "three tmux execs", &raw).reaching("ratio 0.33", reached)]
}
