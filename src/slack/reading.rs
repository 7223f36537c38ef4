//! What the history says: the messages of a channel or of a thread, page by page.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::arrival::Post;
use super::web::{CallError, Web};

/// One page, in the order in which Slack gives it.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) posts: Vec<Post>,
    /// Where the next page begins; none behind the last.
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    response_metadata: More,
}

/// A message that can't be read must not hide those around it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Post(Box<Post>),
    Unreadable(IgnoredAny),
}

#[derive(Deserialize, Default)]
struct More {
    #[serde(default)]
    next_cursor: String,
}

impl Web {
    /// A page of what was said after `oldest`: among a channel's own messages, or in a thread, whose root is told too.
    pub(super) async fn said(
        &self,
        channel: &str,
        thread: Option<&str>,
        oldest: &str,
        from: Option<&str>,
    ) -> Result<Page, CallError> {
        self.page(channel, thread, &[("oldest", Some(oldest)), ("limit", Some("200")), ("cursor", from)]).await
    }

    /// The last message among a channel's own; none where it has none.
    pub(super) async fn last_said(&self, channel: &str) -> Result<Option<String>, CallError> {
        let page = self.page(channel, None, &[("limit", Some("1"))]).await?;
        Ok(page.posts.into_iter().map(|post| post.ts).next())
    }

    async fn page(
        &self,
        channel: &str,
        thread: Option<&str>,
        rest: &[(&str, Option<&str>)],
    ) -> Result<Page, CallError> {
        let method = if thread.is_some() { "conversations.replies" } else { "conversations.history" };
        let query: Vec<_> =
            [("channel", Some(channel)), ("ts", thread)].into_iter().chain(rest.iter().copied()).collect();
        let answer: Answer = self.get(method, &query).await?;
        let posts = answer.messages.into_iter().filter_map(|message| match message {
            Message::Post(post) => Some(Post { channel: channel.to_owned(), ..*post }),
            Message::Unreadable(_) => None,
        });
        let next = Some(answer.response_metadata.next_cursor).filter(|cursor| !cursor.is_empty());
        Ok(Page { posts: posts.collect(), next })
    }
}
