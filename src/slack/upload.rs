//! Files in a thread: asked for, filled, shown. Only the last of the three calls is seen by people, so only that one may not be
//! made twice.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

use super::web::{CallError, Done, Web, https};

/// The method that is blamed where a file's content does not reach Slack.
const SHOWN_BY: &str = "files.completeUploadExternal";

/// A file to be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewFile<'a> {
    /// Its name, by which it is found again.
    pub(super) name: &'a str,
    /// What people see above it.
    pub(super) title: &'a str,
    /// What is in it.
    pub(super) content: &'a str,
    /// What the message says that shows it.
    pub(super) comment: &'a str,
}

/// A file's name with the row's id before its end.
pub(super) fn unmistakable(name: &str, id: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => format!("{stem}-{id}.{end}"),
        _ => format!("{name}-{id}"),
    }
}

#[derive(Deserialize)]
struct Place {
    upload_url: String,
    file_id: String,
}

#[derive(Serialize)]
struct Show<'a> {
    files: [Shown<'a>; 1],
    channel_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_ts: Option<&'a str>,
    initial_comment: &'a str,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    title: &'a str,
}

impl Web {
    /// Posts a file; its id. The message that shows it comes a moment later, and Slack does not tell its name.
    pub(super) async fn upload(
        &self,
        channel: &str,
        thread: Option<&str>,
        file: NewFile<'_>,
    ) -> Result<String, CallError> {
        let length = file.content.len().to_string();
        let query = [("filename", Some(file.name)), ("length", Some(length.as_str()))];
        let place: Result<Place, CallError> = self.get("files.getUploadURLExternal", &query).await;
        let place = place.map_err(undone)?;
        self.fill(&place.upload_url, file.content).await.map_err(undone)?;
        let request = Show {
            files: [Shown { id: &place.file_id, title: file.title }],
            channel_id: channel,
            thread_ts: thread,
            initial_comment: file.comment,
        };
        let _: Done = self.post(&self.bot, "files.completeUploadExternal", &request).await?;
        Ok(place.file_id)
    }

    async fn fill(&self, url: &str, content: &str) -> Result<(), CallError> {
        let lost = |what: &str| CallError::Lost { method: SHOWN_BY, what: what.to_owned() };
        let connector = https(Some(url)).map_err(|error| lost(&format!("{error:#}")))?;
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
        let body = Full::new(Bytes::copy_from_slice(content.as_bytes()));
        // The address is a secret: whoever has it can fill the file.
        let request = hyper::Request::post(url).header("content-type", "application/octet-stream").body(body);
        let request = request.map_err(|_| lost("the address for the file is not usable"))?;
        match tokio::time::timeout(self.limit, client.request(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(lost(&format!("http status {} for the file's content", answer.status().as_u16()))),
            Ok(Err(_)) => Err(lost("the connection broke while the file was sent")),
            Err(_) => Err(lost("the file was not taken in time")),
        }
    }
}

/// Nobody has seen anything of the file yet: whatever was lost, nothing was done.
fn undone(error: CallError) -> CallError {
    match error {
        CallError::Lost { method, what } => CallError::Unreachable { method, what },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_files_of_ours_have_the_same_name() {
        assert_eq!(unmistakable("answer.md", "7f"), "answer-7f.md");
        assert_eq!(unmistakable("a.tar.gz", "7f"), "a.tar-7f.gz");
        assert_eq!(unmistakable("plain", "7f"), "plain-7f");
        assert_eq!(unmistakable(".env", "7f"), ".env-7f");
    }
}
