//! Finds a message of ours whose answer was lost: before it is posted again, the thread is read for it.

use serde::Deserialize;

use super::web::{CallError, METADATA_EVENT, More, Web};

/// By what a message of ours is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The row's id in its metadata.
    Id(&'a str),
    /// The file it shows.
    File(&'a str),
}

#[derive(Deserialize)]
struct Messages {
    messages: Vec<FoundMessage>,
    #[serde(default)]
    response_metadata: More,
}

#[derive(Deserialize)]
struct FoundMessage {
    ts: String,
    metadata: Option<FoundMetadata>,
    #[serde(default)]
    files: Vec<FoundFile>,
}

#[derive(Deserialize)]
struct FoundFile {
    name: Option<String>,
}

#[derive(Deserialize)]
struct FoundMetadata {
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    event_payload: FoundName,
}

#[derive(Deserialize, Default)]
struct FoundName {
    #[serde(default)]
    id: String,
}

impl Web {
    /// The name of the message that carries `id`, or shows the file of that name, looked for in a thread, or among the
    /// channel's root messages, from `oldest` on.
    pub(super) async fn find_message(
        &self,
        channel: &str,
        thread: Option<&str>,
        oldest: &str,
        wanted: Wanted<'_>,
    ) -> Result<Option<String>, CallError> {
        let method = if thread.is_some() { "conversations.replies" } else { "conversations.history" };
        let mut cursor = String::new();
        loop {
            let page: Messages = self
                .get(
                    method,
                    &[
                        ("channel", Some(channel)),
                        ("ts", thread),
                        ("oldest", Some(oldest)),
                        ("include_all_metadata", Some("true")),
                        ("limit", Some("200")),
                        ("cursor", Some(cursor.as_str()).filter(|cursor| !cursor.is_empty())),
                    ],
                )
                .await?;
            let ours = |message: &FoundMessage| match wanted {
                Wanted::Id(id) => {
                    let metadata = message.metadata.as_ref();
                    metadata.is_some_and(|found| found.event_type == METADATA_EVENT && found.event_payload.id == id)
                }
                Wanted::File(name) => message.files.iter().any(|file| file.name.as_deref() == Some(name)),
            };
            if let Some(found) = page.messages.into_iter().find(ours) {
                return Ok(Some(found.ts));
            }
            cursor = page.response_metadata.next_cursor;
            if cursor.is_empty() {
                return Ok(None);
            }
        }
    }
}
