//! What an older fleetd wrote must be read for ever, and what programs read from us must stay as it is. A changed format gets
//! a new frozen file beside these; a frozen file is never edited.

use std::collections::BTreeSet;
use std::path::Path;

use fleetd::cli::doctor::{Report, Verdict};
use fleetd::daemon::protocol::{AgentState, GcReport, Keep, Plan, PromptView, Reconciled, Status};
use fleetd::model::{Blocked, Fact, FeedRow, LaunchFile, Outcome, Place, PromptState, StateName};
use fleetd::store::slack::OutboxState;
use fleetd::store::slack_in::NewEnvelope;
use fleetd::store::{ConversationRow, Store};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::support::fleet::Fleet;
use crate::support::wait::until;

/// Every database that a released fleetd could leave behind.
const DATABASES: [&str; 1] = [include_str!("../fixtures/store/0002.sql")];

/// The same for the later schemas, each with every state of a prompt: without modes and steering, and with them and a message of
/// two prompts.
const LIVES: [(&str, bool); 5] = [
    (include_str!("../fixtures/store/0003.sql"), false),
    (include_str!("../fixtures/store/0004.sql"), true),
    (include_str!("../fixtures/store/0006.sql"), true),
    (include_str!("../fixtures/store/0007.sql"), true),
    (include_str!("../fixtures/store/0011.sql"), true),
];

async fn thaw(sql: &'static str, path: &Path) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_older_database_loads_with_every_prompt_fact_and_message_in_it() {
    for sql in DATABASES {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet.db");
        thaw(sql, &path).await;
        let store = Store::open(&path).await.unwrap();
        let (ann, bob) = ("ann".parse().unwrap(), "bob".parse().unwrap());

        let mut states = BTreeSet::new();
        let mut sources = BTreeSet::new();
        for number in 1..=8 {
            let id = format!("00000000000{number}").parse().unwrap();
            let prompt = store.prompt(&id).await.unwrap().unwrap();
            assert!(prompt.body.ends_with("second line 🦀"));
            let steps = store.trace(&id).await.unwrap();
            assert_eq!(steps.last().unwrap().state, prompt.state);
            assert_eq!(store.typed_text(&id).await.unwrap().is_some(), prompt.state != PromptState::Queued);
            states.insert(prompt.state.name().as_str());
            sources.insert(format!("{:?}", prompt.source));
            if prompt.source == fleetd::model::Source::Slack {
                assert_eq!(prompt.place.unwrap().channel, "C00000001");
            }
        }
        assert_eq!((states.len(), sources.len()), (7, 6), "{states:?} {sources:?}");
        let open: Vec<StateName> =
            store.open_prompts(&ann).await.unwrap().iter().map(|prompt| prompt.state.name()).collect();
        assert_eq!(open.len(), 5, "{open:?}");
        assert_eq!(store.evidence(&"000000000004".parse().unwrap()).await.unwrap().len(), 2);
        assert!(!store.evidence(&"000000000008".parse().unwrap()).await.unwrap()[0].exact);
        assert_eq!(store.latest_prompts().await.unwrap().len(), 2);
        assert_eq!(store.recent_nudges(Timestamp::UNIX_EPOCH).await.unwrap().len(), 2);

        let facts: BTreeSet<String> =
            store.feed_after(0, 100).await.unwrap().iter().map(|row| kind(&row.fact)).collect();
        assert_eq!(facts.len(), 9, "{facts:?}");
        assert!(store.turn_ended(&"000000000005".parse().unwrap()).await.unwrap());
        assert_eq!((store.feed_end().await.unwrap(), store.feed_cursor("slack").await.unwrap()), (9, Some(4)));
        assert!(store.last_news(&bob).await.unwrap().is_some());

        assert_eq!(store.offsets(&bob).await.unwrap().len(), 2);
        assert!(store.open_turn(&bob).await.unwrap().unwrap().contains("\"running\":true"));
        let conversation = ConversationRow { id: "6f1c0000-0000-4000-8000-000000000001".into(), launches: 2 };
        assert_eq!(store.conversation(&bob).await.unwrap(), Some(conversation));
        assert_eq!(store.settled_nudges("2026-11-01".parse().unwrap()).await.unwrap().len(), 3);
        assert_eq!(store.note("fleet.id").await.unwrap().as_deref(), Some("b39eb3ed41984b08b83f5d390e3558b8"));

        assert_eq!(store.open_envelopes(9).await.unwrap().len(), 1);
        assert_eq!(store.slack_thread("C00000003", "1.0").await.unwrap().unwrap().agent, None);
        assert!(store.slack_thread_of_turn(&"000000000005".parse().unwrap()).await.unwrap().unwrap().ts.is_some());
        let heads = store.outbox_heads().await.unwrap();
        assert_eq!(heads.len(), 4);
        assert!(heads.iter().any(|row| row.state == OutboxState::Ambiguous));
        assert_eq!(store.failed_outbox(9).await.unwrap(), [("C00000001".to_owned(), "not_in_channel".to_owned())]);
        assert_eq!(store.slack_channel("agent-ann").await.unwrap().as_deref(), Some("C00000001"));
    }
}

#[tokio::test]
async fn what_an_older_fleetd_had_asked_people_and_heard_of_them_is_read_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    Store::open(&path).await.unwrap().close().await;
    thaw(include_str!("../fixtures/store/0010-questions.sql"), &path).await;
    let store = Store::open(&path).await.unwrap();
    for (agent, state) in [("ann", "open"), ("bob", "answered"), ("cid", "pressing")] {
        let question = store.open_question(&agent.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((question.state.word(), question.overdue), (state, agent == "ann"));
        assert_eq!((question.is_whole(), question.asks_leave()), (agent != "cid", agent != "bob"));
    }
    let untold = store.untold_questions().await.unwrap();
    let states: BTreeSet<String> = untold.iter().map(|question| format!("{:?}", question.state)).collect();
    assert_eq!(states.len(), 7, "{states:?}");
    let turn = "000000000005".parse().unwrap();
    let verdicts = store.verdicts_of(&turn).await.unwrap();
    let seen: Vec<_> = verdicts.iter().map(|verdict| (verdict.good, verdict.withdrawn.is_some())).collect();
    assert_eq!(seen, [(true, false), (false, true)]);
    assert_eq!(verdicts[0].pull_requests, ["https://github.com/a/b/pull/7"]);
    assert_eq!(store.latest_verdicts(&"ann".parse().unwrap(), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_prompt_in_any_state_of_an_older_database_is_what_it_was_and_goes_on_from_there() {
    for (sql, modes) in LIVES {
        let mut fleet = Fleet::new(&Fleet::practice("dan"));
        std::fs::create_dir_all(fleet.state()).unwrap();
        let path = fleet.state().join("fleet.db");
        thaw(sql, &path).await;
        let store = Store::open(&path).await.unwrap();
        let dan = "dan".parse().unwrap();
        let mut states = BTreeSet::new();
        for digit in "123456789ab".chars() {
            let id = format!("00000000000{digit}").parse().unwrap();
            let prompt = store.prompt(&id).await.unwrap().unwrap();
            assert_eq!(store.trace(&id).await.unwrap().last().unwrap().state, prompt.state);
            assert!(prompt.expires.is_some());
            let steers = matches!(
                prompt.state,
                PromptState::Typing { steering: true, .. } | PromptState::Submitted { steering: true, .. }
            );
            assert_eq!(steers, modes && "345".contains(digit), "{digit}");
            assert_eq!(prompt.lead.is_some(), modes && digit == '5');
            states.insert(prompt.state.name().as_str());
        }
        assert_eq!(states.len(), 10, "{states:?}");
        assert_eq!(store.open_prompts(&dan).await.unwrap().len(), 7);
        assert_eq!(store.open_evidence(&dan).await.unwrap().len(), 2);
        assert_eq!(store.agent_hold(&dan).await.unwrap().unwrap().who, "ann");
        assert_eq!(store.launched_at(&dan).await.unwrap().is_some(), modes);
        assert_eq!(store.unreadable(), [""; 0]);
        store.close().await;

        fleet.move_clock(Timestamp::from_second(1_795_161_660).unwrap().duration_since(Timestamp::now()).as_secs());
        fleet.start().await;
        // It never was in this agent's box nor record, and it is typed only once nobody holds the agent.
        fleet.until_state("dan", "paused").await;
        fleet.fleet(&["resume", "dan"]);
        for id in ["000000000001", "000000000002"] {
            fleet.until_prompt(id, "done", |state| state.name() == StateName::Done).await;
        }
        // Whether they were taken before the agent died nobody can tell: it has no record.
        for id in ["000000000003", "000000000004", "000000000005"] {
            fleet.until_prompt(id, "uncertain", |state| state.name() == StateName::Uncertain).await;
        }
        for id in "3457ab".chars().map(|digit| format!("00000000000{digit}")) {
            let id = &id;
            assert!(!fleet.transcript("dan").contains(id.as_str()), "{id} was typed again");
        }
        assert_eq!(fleet.trace("000000000009").steps.last().unwrap().state.name(), StateName::Uncertain);
    }
}

#[tokio::test]
async fn the_box_s_older_news_and_its_retired_agents_are_read_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    thaw(include_str!("../fixtures/store/0006.sql"), &path).await;
    let store = Store::open(&path).await.unwrap();
    let notices = store.notices_after(0, 99).await.unwrap();
    assert_eq!(notices.len(), 14, "each kind once");
    let gone = "gone".parse().unwrap();
    let retired = store.retired_agents().await.unwrap();
    assert_eq!(retired.iter().map(|(agent, _)| agent).collect::<Vec<_>>(), [&gone]);
    assert_eq!(store.draft(&gone).await.unwrap().as_deref(), Some("half a thought"));
    let feed = store.feed_after(0, 99).await.unwrap();
    let Fact::TurnEnded { outcome: Outcome::Failed { blocked, .. }, .. } = &feed.last().unwrap().fact else {
        panic!("{feed:?}")
    };
    assert!(matches!(blocked, Some(Blocked::UsageLimit { until: Some(_) })), "{blocked:?}");
    store.close().await;
}

#[tokio::test]
async fn what_slack_told_an_older_fleetd_and_how_far_it_had_read_is_read_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    thaw(include_str!("../fixtures/store/0007.sql"), &path).await;
    let store = Store::open(&path).await.unwrap();
    let open = store.open_envelopes(9).await.unwrap();
    assert!(open.len() == 2 && open[0].payload.contains("read_back"), "{open:?}");
    let at = Timestamp::UNIX_EPOCH;
    for about in ["C00000001/1.0", "C00000001/2.0"] {
        let again = NewEnvelope { key: "again".into(), about: Some(about.into()), payload: "{}".into() };
        assert!(!store.store_envelope(&again, at).await.unwrap(), "{about}");
    }
    let place = |thread: &str| Place { channel: "C00000001".into(), thread: thread.into() };
    assert!(store.is_muted(&place("1.0")).await.unwrap() && !store.is_muted(&place("2.0")).await.unwrap());
    assert_eq!(store.watermark("C00000001", None).await.unwrap().as_deref(), Some("2.0"));
    assert_eq!(store.watermark("C00000001", Some("1.0")).await.unwrap().as_deref(), Some("1.5"));
    assert_eq!(store.slack_away().await.unwrap(), [("C00000002".to_owned(), "it was archived".to_owned())]);
    store.close().await;
}

#[tokio::test]
async fn whatever_an_older_fleetd_still_had_to_say_in_slack_is_said_by_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    thaw(include_str!("../fixtures/store/0008.sql"), &path).await;
    let store = Store::open(&path).await.unwrap();
    let heads = store.outbox_heads().await.unwrap();
    let kept = |key| heads.iter().find(|row| row.action.key() == Some(key)).unwrap();
    assert_eq!((heads.len(), kept("progress").posted.as_deref()), (6, Some("2.000001")));
    assert_eq!(kept("question").action.said().unwrap().blocks.len(), 1);
    assert_eq!(heads.iter().filter(|row| row.thread.is_some()).count(), 4);
    store.close().await;
}

fn kind(fact: &Fact) -> String {
    match fact {
        Fact::TurnEnded { outcome, .. } => format!("ended {outcome:?}"),
        Fact::Undelivered { uncertain, .. } => format!("undelivered {uncertain}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_daemon_goes_on_with_an_older_database_and_an_older_kept_prompt() {
    for sql in DATABASES {
        let mut fleet = Fleet::new(&Fleet::practice("carol"));
        std::fs::create_dir_all(fleet.state().join("offline")).unwrap();
        thaw(sql, &fleet.state().join("fleet.db")).await;
        let kept = include_str!("../fixtures/cli/offline.json")
            .replace("ann", "carol")
            .replace("000000000001", "00000000000c");
        std::fs::write(fleet.state().join("offline/00000000000c.json"), kept).unwrap();
        fleet.start().await;
        assert_eq!(fleet.trace("000000000008").steps.len(), 2);
        until("the kept prompt arrives", async || fleet.transcript("carol").contains("for later").then_some(())).await;
        assert_eq!(fleet.feed()[..9].len(), 9);
    }
}

/// Every key and value of `frozen` must stand in `now`; more may.
fn contains(now: &Value, frozen: &Value) -> bool {
    match (now, frozen) {
        (Value::Object(now), Value::Object(frozen)) => {
            frozen.iter().all(|(key, frozen)| now.get(key).is_some_and(|now| contains(now, frozen)))
        }
        (Value::Array(now), Value::Array(frozen)) => {
            now.len() == frozen.len() && now.iter().zip(frozen).all(|(now, frozen)| contains(now, frozen))
        }
        (now, frozen) => now == frozen,
    }
}

/// Reads what was printed once, and answers it after it was found to be printed the same today.
fn unchanged<T: DeserializeOwned + Serialize>(name: &str, frozen: &str) -> T {
    let read: T = serde_json::from_str(frozen).unwrap_or_else(|error| panic!("{name} is not read any more: {error}"));
    let (now, frozen) = (serde_json::to_value(&read).unwrap(), serde_json::from_str(frozen).unwrap());
    assert!(contains(&now, &frozen), "{name} is printed differently now:\n{now:#}\n{frozen:#}");
    read
}

#[test]
fn what_scripts_read_from_fleet_stays_as_it_is() {
    let status: Status = unchanged("status --json", include_str!("../fixtures/cli/status.json"));
    let words: Vec<&str> = status.agents.iter().map(|agent| agent.state.word()).collect();
    assert_eq!(
        words,
        [
            "starting",
            "idle",
            "busy",
            "asking",
            "ended",
            "elsewhere",
            "failed",
            "blocked",
            "blocked",
            "blocked",
            "asking",
            "paused",
            "held",
            "retiring",
            "ended"
        ]
    );
    assert_eq!(status.agents[5].state, AgentState::Elsewhere { program: "bash".into() });
    let trace: PromptView = unchanged("trace --json", include_str!("../fixtures/cli/trace.json"));
    assert_eq!((trace.steps.len(), trace.turn.len()), (8, 5));
    let send: PromptView = unchanged("send --json", include_str!("../fixtures/cli/send.json"));
    assert_eq!(send.steps.last().unwrap().state.name(), StateName::Confirmed);
    let reconciled: Reconciled = unchanged("reconcile --json", include_str!("../fixtures/cli/reconcile.json"));
    assert_eq!(reconciled.steps.len(), 2);
    let plan: Plan = unchanged("plan --json", include_str!("../fixtures/cli/plan.json"));
    assert_eq!(plan.changes.len(), 6);
    let gc: GcReport = unchanged("gc --json", include_str!("../fixtures/cli/gc.json"));
    assert_eq!(gc.items.len(), 4);
    let doctor: Report = unchanged("doctor --json", include_str!("../fixtures/cli/doctor.json"));
    let fails = doctor.lines.iter().filter(|line| matches!(line.verdict, Verdict::Fail { .. })).count();
    assert_eq!((doctor.lines.len(), fails, doctor.fixed.len()), (25, 1, 2));
    for line in include_str!("../fixtures/cli/tail.jsonl").lines() {
        unchanged::<FeedRow>("tail --json", line);
    }
    unchanged::<Keep>("a kept prompt", include_str!("../fixtures/cli/offline.json"));
}

#[test]
fn a_launch_file_of_the_running_daemon_is_read_by_the_panes_of_the_next_release() {
    let frozen = include_str!("../fixtures/cli/launch.json");
    let file = LaunchFile::from_json(frozen).unwrap();
    assert_eq!((file.argv.len(), file.env.len(), file.nofile), (3, 2, Some(1024)));
    let (now, frozen) =
        (serde_json::from_str(&file.to_json().unwrap()).unwrap(), serde_json::from_str(frozen).unwrap());
    assert!(contains(&now, &frozen), "{now:#}");
}
