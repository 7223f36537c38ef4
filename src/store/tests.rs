//! What must not be lost, doubled or half stored.

use super::*;
use crate::model::{Evidence, Fact, NewPrompt, PromptId, PromptState, Source};

async fn scratch() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
    (directory, store)
}

fn new_prompt(key: &str) -> NewPrompt {
    NewPrompt {
        id: PromptId::random(),
        agent: "ann".parse().unwrap(),
        source: Source::Cli,
        who: "bob".into(),
        dedup_key: key.into(),
        body: "hello".into(),
        place: None,
        expires: None,
        mode: crate::model::Mode::Queue,
    }
}

#[tokio::test]
async fn the_same_key_again_is_the_same_prompt_and_is_not_delivered_twice() {
    let (_directory, store) = scratch().await;
    let now = Timestamp::UNIX_EPOCH;
    let first = store.insert_prompt(&new_prompt("slack/1"), now).await.unwrap();
    let again = store.insert_prompt(&new_prompt("slack/1"), now).await.unwrap();
    assert_eq!(again, Inserted::Known(first.id().clone()));
    assert_eq!(store.open_prompts(&"ann".parse().unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_last_turns_of_an_agent_that_worked_for_years_are_found_without_reading_all_of_it() {
    let (_directory, store) = scratch().await;
    let plan = sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", feed::LAST_TURNS)));
    let plan: Vec<(i64, i64, i64, String)> =
        plan.bind("ann").bind(16).fetch_all(&mut *store.read().await.unwrap()).await.unwrap();
    let steps: Vec<&str> = plan.iter().map(|(.., step)| step.as_str()).collect();
    assert!(matches!(steps[..], [one] if one.contains("feed_turns")), "{steps:?}");
}

#[tokio::test]
async fn a_conversation_is_as_old_as_it_is_however_often_it_was_resumed() {
    let (_directory, store) = scratch().await;
    let (ann, at) = ("ann".parse().unwrap(), |second| Timestamp::from_second(second).unwrap());
    let since = async || store.conversation_since(&ann).await.unwrap();
    assert_eq!(since().await, None);
    store.count_launch(&ann, "one", at(1)).await.unwrap();
    store.count_launch(&ann, "one", at(2)).await.unwrap();
    store.follow_conversation(&ann, "one", at(3)).await.unwrap();
    assert_eq!((since().await, store.last_news(&ann).await.unwrap()), (Some(at(1)), Some(at(2))));
    let told =
        RecordBatch { conversation: Some(("two".into(), at(4))), open_turn: "{}".into(), ..RecordBatch::default() };
    store.append_records(&ann, &told, at(9)).await.unwrap();
    assert_eq!(since().await, Some(at(4)), "when it was begun, not when that was read");
    store.count_launch(&ann, "three", at(10)).await.unwrap();
    assert_eq!((since().await, store.launched_at(&ann).await.unwrap()), (Some(at(10)), Some(at(10))));
}

#[tokio::test]
async fn a_prompt_that_moved_on_meanwhile_is_not_moved_back() {
    let (_directory, store) = scratch().await;
    let now = Timestamp::UNIX_EPOCH;
    let id = store.insert_prompt(&new_prompt("a"), now).await.unwrap().id().clone();
    let typing = PromptState::Typing { attempt: 1, steering: false };
    let prompt = store.prompt(&id).await.unwrap().unwrap();
    assert!(store.begin_typing(&prompt, &[], &typing, "idle", "text", now).await.unwrap());
    assert!(!store.advance(&prompt, &typing, "again", now).await.unwrap());
    assert_eq!(store.typed_text(&id).await.unwrap().as_deref(), Some("text"));
    let states: Vec<_> = store.trace(&id).await.unwrap().into_iter().map(|step| step.state).collect();
    assert_eq!(states, [PromptState::Queued, typing]);
}

#[tokio::test]
async fn a_turn_that_only_the_screen_told_is_stored_once_with_its_prompt_s_end() {
    let (_directory, store) = scratch().await;
    let now = Timestamp::UNIX_EPOCH;
    let facts = [Fact::TurnStarted { summary: "s".into() }, Fact::Said { text: "t".into() }];
    for known in [&[][..], &[(now, Fact::Said { text: "by the record".into() })]] {
        let id = store.insert_prompt(&new_prompt(&known.len().to_string()), now).await.unwrap().id().clone();
        let told = known.iter().map(|(at, fact)| (*at, Some(id.clone()), fact.clone())).collect();
        let batch = RecordBatch { facts: told, open_turn: "{}".into(), ..RecordBatch::default() };
        store.append_records(&"ann".parse().unwrap(), &batch, now).await.unwrap();
        let prompt = store.prompt(&id).await.unwrap().unwrap();
        let done = PromptState::Done { by: Evidence::Screen };
        assert!(store.finish(&prompt, &done, "idle", now, &facts).await.unwrap());
        assert!(!store.finish(&prompt, &done, "idle", now, &facts).await.unwrap(), "stored twice");
        let rows = store.feed_of_turn(&id).await.unwrap().len();
        assert_eq!(rows, if known.is_empty() { facts.len() } else { known.len() });
    }
}

#[tokio::test]
async fn one_row_that_cannot_be_read_takes_nothing_along_and_is_told() {
    let (_directory, store) = scratch().await;
    let (now, ann) = (Timestamp::UNIX_EPOCH, "ann".parse().unwrap());
    let mut ids = Vec::new();
    for key in ["a", "b", "c"] {
        ids.push(store.insert_prompt(&new_prompt(key), now).await.unwrap().id().clone());
        let facts = vec![(now, None, Fact::Said { text: key.into() })];
        let batch = RecordBatch { facts, open_turn: "{}".into(), ..RecordBatch::default() };
        store.append_records(&ann, &batch, now).await.unwrap();
    }
    assert_eq!(store.unreadable(), [""; 0]);
    let mut write = store.write().await.unwrap();
    for sql in [
        "UPDATE inbox SET detail = '{\"state\":\"teleported\"}' WHERE dedup_key = 'b'",
        "UPDATE transition SET detail = 'x' WHERE prompt = (SELECT id FROM inbox WHERE dedup_key = 'a')",
        "UPDATE feed SET fact = '{\"fact\":\"sang\"}' WHERE seq <= 2",
    ] {
        sqlx::query(sql).execute(write.connection()).await.unwrap();
    }
    write.commit().await.unwrap();

    for _ in 0..2 {
        let open: Vec<PromptId> = store.open_prompts(&ann).await.unwrap().into_iter().map(|prompt| prompt.id).collect();
        assert_eq!(open, [ids[0].clone(), ids[2].clone()]);
        assert_eq!(store.latest_prompts().await.unwrap().len(), 1);
        assert_eq!(store.prompt(&ids[1]).await.unwrap(), None);
        assert_eq!(store.trace(&ids[0]).await.unwrap(), []);
        assert_eq!(store.trace(&ids[2]).await.unwrap().len(), 1);
        // A reader that asks for two gets two, and never nothing while something is left.
        assert_eq!(store.feed_after(0, 1).await.unwrap()[0].fact, Fact::Said { text: "c".into() });
        let told = store.unreadable();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told.iter().any(|line| line.contains(ids[1].as_str()) && line.contains("teleported")), "{told:?}");
    }
}

#[tokio::test]
async fn evidence_that_cannot_be_read_stops_nobody_and_is_no_proof_that_a_prompt_was_lost() {
    let (_directory, store) = scratch().await;
    let (now, ann) = (Timestamp::UNIX_EPOCH, "ann".parse().unwrap());
    let mut ids = Vec::new();
    for key in ["a", "b"] {
        let id = store.insert_prompt(&new_prompt(key), now).await.unwrap().id().clone();
        store.insert_evidence(&id, EvidenceRow { kind: Evidence::Hook, exact: true }, now).await.unwrap();
        ids.push(id);
    }
    let mut write = store.write().await.unwrap();
    let sql = "UPDATE evidence SET kind = 'telepathy' WHERE prompt = (SELECT id FROM inbox WHERE dedup_key = 'a')";
    sqlx::query(sql).execute(write.connection()).await.unwrap();
    write.commit().await.unwrap();
    let open = store.open_evidence(&ann).await.unwrap();
    assert_eq!(open[&ids[1]], [EvidenceRow { kind: Evidence::Hook, exact: true }]);
    assert_eq!(open[&ids[0]].iter().map(|row| row.exact).collect::<Vec<_>>(), [false], "it would be typed again");
    assert_eq!(store.evidence(&ids[0]).await.unwrap(), open[&ids[0]]);
    assert!(store.unreadable()[0].contains(ids[0].as_str()), "{:?}", store.unreadable());
}

#[tokio::test]
async fn what_the_agent_s_queue_gave_back_is_in_it_no_more_until_it_is_put_there_again() {
    let (_directory, store) = scratch().await;
    let now = Timestamp::UNIX_EPOCH;
    let id = store.insert_prompt(&new_prompt("a"), now).await.unwrap().id().clone();
    let queue = |exact| EvidenceRow { kind: Evidence::Queue, exact };
    let taken = |exact| EvidenceRow { kind: Evidence::Hook, exact };
    for row in [queue(true), queue(false)] {
        store.insert_evidence(&id, row, now).await.unwrap();
        assert_eq!(store.evidence(&id).await.unwrap(), [row]);
    }
    for row in [queue(true), taken(true), taken(false)] {
        store.insert_evidence(&id, row, now).await.unwrap();
    }
    assert_eq!(store.evidence(&id).await.unwrap(), [taken(true), queue(true)], "what was taken stays taken");
}

#[tokio::test]
async fn a_prompt_that_failed_is_told_in_the_feed() {
    let (_directory, store) = scratch().await;
    let now = Timestamp::UNIX_EPOCH;
    let id = store.insert_prompt(&new_prompt("a"), now).await.unwrap().id().clone();
    let prompt = store.prompt(&id).await.unwrap().unwrap();
    store.advance(&prompt, &PromptState::Failed { reason: "gone".into() }, "x", now).await.unwrap();
    let facts: Vec<_> = store.feed_of_turn(&id).await.unwrap().into_iter().map(|row| row.fact).collect();
    assert_eq!(facts, [Fact::Undelivered { uncertain: false, why: "gone".into() }]);
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let (directory, store) = scratch().await;
    let now = Timestamp::UNIX_EPOCH;
    let id = store.insert_prompt(&new_prompt("a"), now).await.unwrap().id().clone();
    let row = EvidenceRow { kind: Evidence::Hook, exact: true };
    store.insert_evidence(&id, row, now).await.unwrap();
    store.count_launch(&"ann".parse().unwrap(), "conversation-1", now).await.unwrap();
    store.close().await;
    let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
    assert_eq!(store.prompt(&id).await.unwrap().unwrap().body, "hello");
    assert_eq!(store.evidence(&id).await.unwrap(), [row]);
    let conversation = store.conversation(&"ann".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(conversation, ConversationRow { id: "conversation-1".into(), launches: 1 });
}

#[tokio::test]
async fn a_write_that_is_given_up_half_way_leaves_nothing_and_stops_nobody() {
    let (_directory, store) = scratch().await;
    let now = Timestamp::UNIX_EPOCH;
    for durable in [false, true] {
        let mut write = if durable { store.write_durably().await } else { store.write().await }.unwrap();
        insert_prompt(&mut write, &new_prompt("half"), now).await.unwrap();
        drop(write);
        assert_eq!(store.open_prompts(&"ann".parse().unwrap()).await.unwrap(), []);
        store.set_note("after", "it goes on").await.unwrap();
    }
    store.insert_prompt(&new_prompt("whole"), now).await.unwrap();
    assert_eq!(store.open_prompts(&"ann".parse().unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_a_durable_write_waits_for_the_disk_whatever_was_written_before() {
    let (_directory, store) = scratch().await;
    for (durable, level) in [(false, 1), (true, 2), (true, 2), (false, 1), (true, 2)] {
        let mut write = if durable { store.write_durably().await } else { store.write().await }.unwrap();
        let set: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(write.connection()).await.unwrap();
        assert_eq!(set, level, "durable: {durable}");
        write.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_truncated_database_is_named_as_damaged_and_what_to_do() {
    let (directory, store) = scratch().await;
    for key in 0..200 {
        store.insert_prompt(&new_prompt(&key.to_string()), Timestamp::UNIX_EPOCH).await.unwrap();
    }
    store.close().await;
    let path = directory.path().join("fleet.db");
    let half = std::fs::metadata(&path).unwrap().len() / 2;
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(half).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move it away"), "{error}");
}
