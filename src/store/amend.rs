//! What an author does to a prompt of which nothing was typed yet: another text, or none. Whoever types claims a prompt by its
//! state and its text in one transaction, so that either the edit or the typing comes first, and never half of both.

use anyhow::Context;
use jiff::Timestamp;
use sqlx::Row;

use super::inbox::record;
use super::{Write, from_json, micros, to_json};
use crate::model::{PromptState, StateName};

/// What became of an amendment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amended {
    /// It was made.
    Done,
    /// The prompt says that already.
    Same,
    /// Something of it was typed: it is as it was.
    TooLate,
    /// It was given up before; nothing of it will run.
    GivenUp,
    /// There is no such prompt.
    Unknown,
}

struct Found {
    id: String,
    body: String,
    state: PromptState,
}

async fn find(write: &mut Write, key: &str) -> anyhow::Result<Option<Found>> {
    let row = sqlx::query("SELECT id, body, detail FROM inbox WHERE dedup_key = $1")
        .bind(key)
        .fetch_optional(write.connection())
        .await
        .context("can't read the inbox")?;
    row.map(|row| {
        Ok(Found { id: row.try_get("id")?, body: row.try_get("body")?, state: from_json(row.try_get("detail")?)? })
    })
    .transpose()
}

/// Whether it can be amended; what to answer where it can't.
fn verdict(state: StateName) -> Result<(), Amended> {
    match state {
        StateName::Queued | StateName::Deferred => Ok(()),
        StateName::Failed | StateName::Cancelled | StateName::Expired => Err(Amended::GivenUp),
        StateName::Typing | StateName::Submitted | StateName::Confirmed | StateName::Done | StateName::Uncertain => {
            Err(Amended::TooLate)
        }
    }
}

/// Gives the prompt of that dedup key another text, made of the one it has, within a caller's transaction.
pub async fn edit_prompt(
    write: &mut Write,
    key: &str,
    body: impl FnOnce(&str) -> String,
    who: &str,
    now: Timestamp,
) -> anyhow::Result<Amended> {
    let Some(found) = find(write, key).await? else { return Ok(Amended::Unknown) };
    let body = body(&found.body);
    if body == found.body {
        return Ok(Amended::Same);
    }
    if let Err(verdict) = verdict(found.state.name()) {
        return Ok(verdict);
    }
    sqlx::query("UPDATE inbox SET body = $1 WHERE id = $2")
        .bind(body)
        .bind(&found.id)
        .execute(write.connection())
        .await
        .with_context(|| format!("can't store the new text of prompt {}", found.id))?;
    let id = found.id.parse().map_err(anyhow::Error::msg)?;
    record(write, &id, &found.state, &format!("edited by {who}"), now).await?;
    Ok(Amended::Done)
}

/// Takes the prompt of that dedup key back, within a caller's transaction. Nobody is told: its author knows.
pub async fn take_back(write: &mut Write, key: &str, who: &str, now: Timestamp) -> anyhow::Result<Amended> {
    let Some(found) = find(write, key).await? else { return Ok(Amended::Unknown) };
    if let Err(verdict) = verdict(found.state.name()) {
        return Ok(verdict);
    }
    let state = PromptState::Cancelled { by: who.to_owned() };
    sqlx::query("UPDATE inbox SET state = $1, detail = $2, since = $3 WHERE id = $4")
        .bind(state.name().as_str())
        .bind(to_json(&state)?)
        .bind(micros(now))
        .bind(&found.id)
        .execute(write.connection())
        .await
        .with_context(|| format!("can't take prompt {} back", found.id))?;
    let id = found.id.parse().map_err(anyhow::Error::msg)?;
    record(write, &id, &state, &format!("taken back by {who}"), now).await?;
    Ok(Amended::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Mode, NewPrompt, PromptId, Source};
    use crate::store::Store;

    #[tokio::test]
    async fn an_edit_never_changes_what_is_typed_and_typing_never_uses_a_text_that_was_edited() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("fleet.db")).await.unwrap();
        let now = Timestamp::from_second(1).unwrap();
        let new = NewPrompt {
            id: PromptId::random(),
            agent: "ann".parse().unwrap(),
            source: Source::Slack,
            who: "bob".into(),
            dedup_key: "k".into(),
            body: "first".into(),
            place: None,
            expires: None,
            mode: Mode::Thread,
        };
        store.insert_prompt(&new, now).await.unwrap();
        let seen = store.prompt(&new.id).await.unwrap().unwrap();
        let edit = async |key: &str, body: &str| {
            let mut write = store.write().await.unwrap();
            let done = edit_prompt(&mut write, key, |_| body.to_owned(), "bob", now).await.unwrap();
            write.commit().await.unwrap();
            done
        };
        assert_eq!(edit("k", "second").await, Amended::Done);
        assert_eq!((edit("k", "second").await, edit("other", "x").await), (Amended::Same, Amended::Unknown));
        let typing = PromptState::Typing { attempt: 1, steering: false };
        assert!(!store.begin_typing(&seen, &[], &typing, "idle", "first", now).await.unwrap(), "the old text");
        let seen = store.prompt(&new.id).await.unwrap().unwrap();
        assert_eq!((seen.body.as_str(), seen.state.name()), ("second", StateName::Queued));
        assert!(store.begin_typing(&seen, &[], &typing, "idle", "second", now).await.unwrap());
        assert_eq!(edit("k", "third").await, Amended::TooLate);
        let mut write = store.write().await.unwrap();
        assert_eq!(take_back(&mut write, "k", "bob", now).await.unwrap(), Amended::TooLate);
        write.commit().await.unwrap();
        assert_eq!(store.prompt(&new.id).await.unwrap().unwrap().body, "second");
    }
}
