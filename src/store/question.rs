//! What agents asked people in dialogs, and how far the answers have come.
//!
//! Every move names the state it begins in, so that of two answers one counts, and a key that may have been pressed is
//! never pressed again.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::feed::append;
use super::{Store, Write, from_json, micros, timestamp, to_json};
use crate::model::{Answer, Dialog, Fact, PromptId, Question, QuestionState, Slug};

const COLUMNS: &str = "seq, agent, asked, dialog, run, detail, overdue";

/// A question of an agent's that its record tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its row in the feed.
    pub seq: i64,
    /// What would be done, in full, where it asked for leave.
    pub run: Option<String>,
}

impl Store {
    /// The question of an agent's that is not over.
    pub async fn open_question(&self, agent: &Slug) -> anyhow::Result<Option<Question>> {
        let sql = format!("SELECT {COLUMNS} FROM question WHERE agent = $1 AND state <> 'settled'");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(agent.as_str());
        let row = row.fetch_optional(&mut *self.read().await?).await;
        row.with_context(|| format!("can't read what {agent} asks"))?.as_ref().map(question).transpose()
    }

    /// One question.
    pub async fn question(&self, seq: i64) -> anyhow::Result<Option<Question>> {
        let sql = format!("SELECT {COLUMNS} FROM question WHERE seq = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seq).fetch_optional(&mut *self.read().await?).await;
        row.context("can't read a question")?.as_ref().map(question).transpose()
    }

    /// What an agent's record asked since a question of its was last put to people, in order.
    pub async fn recorded_questions(&self, agent: &Slug) -> anyhow::Result<Vec<Recorded>> {
        let rows = sqlx::query(
            "SELECT seq, fact FROM feed WHERE agent = $1 AND fact LIKE '{\"fact\":\"asked\"%' \
             AND seq > (SELECT COALESCE(MAX(seq), 0) FROM question WHERE agent = $1) ORDER BY seq DESC LIMIT 16",
        )
        .bind(agent.as_str())
        .fetch_all(&mut *self.read().await?)
        .await
        .with_context(|| format!("can't read what {agent} asked"))?;
        let recorded = |row: &SqliteRow| {
            let run = match from_json(row.try_get("fact")?)? {
                Fact::Asked { run, .. } => run,
                _ => None,
            };
            Ok(Recorded { seq: row.try_get("seq")?, run })
        };
        rows.iter().rev().map(recorded).collect()
    }

    /// Puts a dialog to people: as the question that its record told of, else as one that the feed is told of by this.
    pub async fn ask(
        &self,
        agent: &Slug,
        dialog: &Dialog,
        recorded: Option<&Recorded>,
        turn: Option<&PromptId>,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let context = || format!("can't store what {agent} asks");
        let mut write = self.write().await?;
        let seq = match recorded {
            Some(recorded) => recorded.seq,
            None => {
                let fact = Fact::Asked { question: dialog.text.clone(), run: None };
                append(&mut write, now, agent, turn, &fact).await?;
                let last = sqlx::query_scalar("SELECT MAX(seq) FROM feed").fetch_one(write.connection()).await;
                last.with_context(context)?
            }
        };
        let state = QuestionState::Open;
        sqlx::query(
            "INSERT INTO question (seq, agent, asked, dialog, run, state, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(seq)
        .bind(agent.as_str())
        .bind(micros(now))
        .bind(to_json(dialog)?)
        .bind(recorded.and_then(|recorded| recorded.run.as_deref()))
        .bind(state.word())
        .bind(to_json(&state)?)
        .execute(write.connection())
        .await
        .with_context(context)?;
        write.commit().await
    }

    /// Moves a question on from where it was read; false where it is elsewhere meanwhile. A key may follow, so it is durable.
    pub async fn move_question(&self, from: &Question, to: &QuestionState) -> anyhow::Result<bool> {
        let mut write = self.write_durably().await?;
        let moved = sqlx::query("UPDATE question SET state = $1, detail = $2 WHERE seq = $3 AND state = $4")
            .bind(to.word())
            .bind(to_json(to)?)
            .bind(from.seq)
            .bind(from.state.word())
            .execute(write.connection())
            .await
            .context("can't store what became of a question")?
            .rows_affected();
        write.commit().await?;
        Ok(moved == 1)
    }

    /// Notes that people were told that nobody answers.
    pub async fn question_overdue(&self, seq: i64) -> anyhow::Result<()> {
        let mut write = self.write().await?;
        let noted = sqlx::query("UPDATE question SET overdue = 1 WHERE seq = $1").bind(seq);
        noted.execute(write.connection()).await.context("can't store that a question waits")?;
        write.commit().await
    }

    /// The questions of which the message in Slack does not say yet how far they are.
    pub async fn untold_questions(&self) -> anyhow::Result<Vec<Question>> {
        let sql = format!("SELECT {COLUMNS} FROM question WHERE told <> state ORDER BY seq LIMIT 100");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *self.read().await?).await;
        rows.context("can't read the questions")?.iter().map(question).collect()
    }
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It counts.
    Taken,
    /// Another one was first, or the question is over.
    TooLate(QuestionState),
    /// There is no such question of that agent's.
    Unknown,
}

/// Takes an answer, where nobody answered before and the agent is this one.
pub async fn answer_question(write: &mut Write, seq: i64, agent: &Slug, answer: &Answer) -> anyhow::Result<Answered> {
    let state = QuestionState::Answered { answer: answer.clone() };
    let taken =
        sqlx::query("UPDATE question SET state = $1, detail = $2 WHERE seq = $3 AND agent = $4 AND state = 'open'")
            .bind(state.word())
            .bind(to_json(&state)?)
            .bind(seq)
            .bind(agent.as_str())
            .execute(write.connection())
            .await
            .context("can't store an answer")?
            .rows_affected();
    if taken == 1 {
        return Ok(Answered::Taken);
    }
    let known: Option<String> = sqlx::query_scalar("SELECT detail FROM question WHERE seq = $1 AND agent = $2")
        .bind(seq)
        .bind(agent.as_str())
        .fetch_optional(write.connection())
        .await
        .context("can't read a question")?;
    known.map_or(Ok(Answered::Unknown), |detail| Ok(Answered::TooLate(from_json(&detail)?)))
}

/// Notes how far a question was when its message was written.
pub async fn told_question(write: &mut Write, question: &Question) -> anyhow::Result<()> {
    sqlx::query("UPDATE question SET told = $1 WHERE seq = $2")
        .bind(question.state.word())
        .bind(question.seq)
        .execute(write.connection())
        .await
        .context("can't store what was told of a question")?;
    Ok(())
}

fn question(row: &SqliteRow) -> anyhow::Result<Question> {
    let agent: &str = row.try_get("agent")?;
    Ok(Question {
        seq: row.try_get("seq")?,
        agent: agent.parse().context("fleet.db holds an agent that can't be one")?,
        dialog: from_json(row.try_get("dialog")?)?,
        run: row.try_get("run")?,
        asked: timestamp(row.try_get("asked")?)?,
        state: from_json(row.try_get("detail")?)?,
        overdue: row.try_get::<i64, _>("overdue")? != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AnswerKey, Choice, DialogKind, QuestionEnd};
    use crate::store::RecordBatch;

    fn dialog() -> Dialog {
        let option = |key, label: &str| Choice { key: AnswerKey::Char(key), label: label.into(), typed: false };
        let options = vec![option('1', "Yes"), option('2', "No")];
        Dialog { kind: DialogKind::Permission, text: "Run it?".into(), whole: true, options }
    }

    async fn asked(store: &Store, agent: &Slug, recorded: Option<&Recorded>) -> Question {
        store.ask(agent, &dialog(), recorded, None, Timestamp::UNIX_EPOCH).await.unwrap();
        store.open_question(agent).await.unwrap().unwrap()
    }

    async fn answered(store: &Store, seq: i64, agent: &Slug, user: &str) -> bool {
        let mut write = store.write().await.unwrap();
        let taken = answer_question(&mut write, seq, agent, &Answer { user: user.into(), option: 0, text: None })
            .await
            .unwrap();
        write.commit().await.unwrap();
        taken == Answered::Taken
    }

    #[tokio::test]
    async fn of_two_answers_one_counts_and_a_dialog_that_looks_alike_is_another_question() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
        let (ann, bob): (Slug, Slug) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        let first = asked(&store, &ann, None).await;
        assert!(!answered(&store, first.seq, &bob, "U1").await, "another agent's leave");
        assert!(answered(&store, first.seq, &ann, "U1").await);
        assert!(!answered(&store, first.seq, &ann, "U2").await);
        let before = store.open_question(&ann).await.unwrap().unwrap();
        assert_eq!(
            before.state,
            QuestionState::Answered { answer: Answer { user: "U1".into(), option: 0, text: None } }
        );
        assert!(!store.move_question(&first, &QuestionState::Open).await.unwrap(), "it is no longer open");
        let settled = QuestionState::Settled { end: QuestionEnd::Elsewhere };
        assert!(store.move_question(&before, &settled).await.unwrap());
        assert_eq!(store.open_question(&ann).await.unwrap(), None);
        let second = asked(&store, &ann, None).await;
        assert!(second.seq > first.seq);
        assert!(!answered(&store, first.seq, &ann, "U3").await, "the first one's button");
    }

    #[tokio::test]
    async fn what_the_record_told_of_is_put_to_people_once_and_in_full() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
        let ann: Slug = "ann".parse().unwrap();
        assert_eq!(store.recorded_questions(&ann).await.unwrap(), []);
        let facts =
            vec![(Timestamp::UNIX_EPOCH, None, Fact::Asked { question: "may it".into(), run: Some("make".into()) })];
        let batch = RecordBatch { facts, open_turn: "{}".into(), ..RecordBatch::default() };
        store.append_records(&ann, &batch, Timestamp::UNIX_EPOCH).await.unwrap();
        let recorded = store.recorded_questions(&ann).await.unwrap().remove(0);
        assert_eq!(recorded.run.as_deref(), Some("make"));
        let question = asked(&store, &ann, Some(&recorded)).await;
        assert_eq!((question.seq, question.run.as_deref()), (recorded.seq, Some("make")));
        assert_eq!(store.recorded_questions(&ann).await.unwrap(), []);
        assert_eq!(store.untold_questions().await.unwrap().len(), 1);
        let mut write = store.write().await.unwrap();
        told_question(&mut write, &question).await.unwrap();
        write.commit().await.unwrap();
        assert!(store.untold_questions().await.unwrap().is_empty());
    }
}
