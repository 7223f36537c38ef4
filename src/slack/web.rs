//! Slack's Web API: the few methods that are used, each with a time limit and an error that says what may have happened.
//!
//! Requests and answers are our own small types over slack-morphism's session: an answer is read only as far as it is
//! needed, so that a field that is new to the crate can't turn a message that was posted into one that was not. A token
//! or a socket's ticket must never reach a log: the crate's errors hold whole answers, so they are never printed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slack_morphism::errors::SlackClientError;
use slack_morphism::prelude::SlackClientHyperConnector;
use slack_morphism::{SlackApiToken, SlackApiTokenValue, SlackClient};

use super::wording;
use crate::store::slack::Said;

/// Every method that is called, with the scopes it needs; `slack-manifest.yaml` names exactly these.
pub const METHODS: &[(&str, &[&str])] = &[
    ("apps.connections.open", &[]),
    ("assistant.threads.setStatus", &["chat:write"]),
    ("auth.test", &[]),
    ("chat.postEphemeral", &["chat:write"]),
    ("chat.postMessage", &["chat:write"]),
    ("chat.update", &["chat:write"]),
    ("conversations.history", &["channels:history", "groups:history"]),
    ("conversations.list", &["channels:read", "groups:read"]),
    ("conversations.replies", &["channels:history", "groups:history"]),
    ("files.completeUploadExternal", &["files:write"]),
    ("files.getUploadURLExternal", &["files:write"]),
    ("reactions.add", &["reactions:write"]),
    ("reactions.remove", &["reactions:write"]),
    ("usergroups.users.list", &["usergroups:read"]),
    ("users.info", &["users:read"]),
    ("views.publish", &[]),
];

/// The kind of metadata by which a message of ours is found again.
pub(super) const METADATA_EVENT: &str = "fleet_outbox";

/// Why a call failed, by what the caller must do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// Slack asks to wait; nothing was done.
    #[error("slack asks to wait {} s before the next {method}", .wait.as_secs())]
    RateLimited { method: &'static str, wait: Duration },
    /// The request never reached Slack.
    #[error("can't reach slack for {method}: {what}")]
    Unreachable { method: &'static str, what: String },
    /// Whether Slack did it can't be told.
    #[error("slack's answer to {method} was lost: {what}")]
    Lost { method: &'static str, what: String },
    /// The token is not good for anything.
    #[error("slack refuses the token for {method}: {code}; {}", wording::advice(.code))]
    Token { method: &'static str, code: String },
    /// Slack said no, and will say no again.
    #[error("slack refuses {method}: {code}; {}{}", wording::advice(.code), lacking(.method, .code))]
    Refused { method: &'static str, code: String },
}

/// The Web API with our tokens.
pub(super) struct Web {
    client: SlackClient<SlackClientHyperConnector<HttpsConnector<HttpConnector>>>,
    pub(super) bot: SlackApiToken,
    app: SlackApiToken,
    pub(super) limit: Duration,
}

#[derive(Serialize)]
struct Metadata<'a> {
    event_type: &'static str,
    event_payload: OutboxName<'a>,
}

#[derive(Serialize)]
struct OutboxName<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct PostMessage<'a> {
    channel: &'a str,
    #[serde(flatten)]
    said: &'a Said,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_ts: Option<&'a str>,
    metadata: Metadata<'a>,
    unfurl_links: bool,
    unfurl_media: bool,
}

#[derive(Serialize)]
struct UpdateMessage<'a> {
    channel: &'a str,
    ts: &'a str,
    #[serde(flatten)]
    said: &'a Said,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct PostEphemeral<'a> {
    channel: &'a str,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_ts: Option<&'a str>,
    #[serde(flatten)]
    said: &'a Said,
}

#[derive(Deserialize)]
struct Whispered {
    message_ts: String,
}

#[derive(Serialize)]
struct Reaction<'a> {
    channel: &'a str,
    timestamp: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Deserialize)]
pub(super) struct Done {}

#[derive(Deserialize)]
struct Posted {
    ts: String,
}

#[derive(Deserialize)]
struct Ticket {
    url: String,
}

/// Who we are.
#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    pub(super) user_id: String,
    /// Our workspace.
    #[serde(default)]
    pub(super) team_id: String,
}

#[derive(Deserialize, Default)]
pub(super) struct More {
    #[serde(default)]
    pub(super) next_cursor: String,
}

#[derive(Deserialize)]
struct Channels {
    channels: Vec<Channel>,
    #[serde(default)]
    response_metadata: More,
}

/// A channel of the workspace.
#[derive(Debug, Deserialize)]
pub(super) struct Channel {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) is_member: Option<bool>,
}

#[derive(Deserialize)]
struct UserInfo {
    user: User,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    name: String,
    #[serde(default)]
    real_name: String,
    #[serde(default)]
    profile: Profile,
}

#[derive(Deserialize, Default)]
struct Profile {
    #[serde(default)]
    display_name: String,
}

impl Web {
    /// A client for `api_url`, Slack's own where there is none; `limit` is the time that any one call may take.
    pub(super) fn new(
        bot: &SecretString,
        app: &SecretString,
        api_url: Option<&str>,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        let connector = SlackClientHyperConnector::from(https(api_url)?);
        let connector = match api_url {
            Some(url) => connector.with_slack_api_url(url.trim_end_matches('/')),
            None => connector,
        };
        let token = |secret: &SecretString| SlackApiToken::new(SlackApiTokenValue(secret.expose_secret().to_owned()));
        Ok(Self { client: SlackClient::new(connector), bot: token(bot), app: token(app), limit })
    }

    /// The URL of a new socket, which is a secret: whoever has it gets the events.
    pub(super) async fn open_connection(&self) -> Result<SecretString, CallError> {
        let ticket: Ticket = self.post(&self.app, "apps.connections.open", &Nothing {}).await?;
        Ok(ticket.url.into())
    }

    /// Our own user and workspace.
    pub(super) async fn identity(&self) -> Result<Identity, CallError> {
        self.post(&self.bot, "auth.test", &Nothing {}).await
    }

    /// Every channel that the app can see.
    pub(super) async fn channels(&self) -> Result<Vec<Channel>, CallError> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: Channels = self
                .get(
                    "conversations.list",
                    &[
                        ("types", Some("public_channel,private_channel")),
                        ("exclude_archived", Some("true")),
                        ("limit", Some("200")),
                        ("cursor", Some(cursor.as_str()).filter(|cursor| !cursor.is_empty())),
                    ],
                )
                .await?;
            all.extend(page.channels);
            cursor = page.response_metadata.next_cursor;
            if cursor.is_empty() {
                return Ok(all);
            }
        }
    }

    /// The name by which people know a user.
    pub(super) async fn display_name(&self, user: &str) -> Result<String, CallError> {
        let info: UserInfo = self.get("users.info", &[("user", Some(user))]).await?;
        let names = [info.user.profile.display_name, info.user.real_name, info.user.name];
        Ok(names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| user.to_owned()))
    }

    /// Posts a message that carries `id`; its name in the channel.
    pub(super) async fn post_message(
        &self,
        channel: &str,
        thread: Option<&str>,
        said: &Said,
        id: &str,
    ) -> Result<String, CallError> {
        let request = PostMessage {
            channel,
            said,
            thread_ts: thread,
            metadata: Metadata { event_type: METADATA_EVENT, event_payload: OutboxName { id } },
            unfurl_links: false,
            unfurl_media: false,
        };
        let posted: Posted = self.post(&self.bot, "chat.postMessage", &request).await?;
        Ok(posted.ts)
    }

    /// Replaces what a message says.
    pub(super) async fn update_message(&self, channel: &str, ts: &str, said: &Said, id: &str) -> Result<(), CallError> {
        let metadata = Metadata { event_type: METADATA_EVENT, event_payload: OutboxName { id } };
        let _: Done = self.post(&self.bot, "chat.update", &UpdateMessage { channel, ts, said, metadata }).await?;
        Ok(())
    }

    /// Tells one person something; the name of what they see, by which nobody can find it again.
    pub(super) async fn whisper(
        &self,
        channel: &str,
        user: &str,
        thread: Option<&str>,
        said: &Said,
    ) -> Result<String, CallError> {
        let request = PostEphemeral { channel, user, thread_ts: thread, said };
        let whispered: Whispered = self.post(&self.bot, "chat.postEphemeral", &request).await?;
        Ok(whispered.message_ts)
    }

    /// Sets a reaction; one that is set already is fine.
    pub(super) async fn add_reaction(&self, channel: &str, ts: &str, name: &str) -> Result<(), CallError> {
        let request = Reaction { channel, timestamp: ts, name };
        match self.post::<_, Done>(&self.bot, "reactions.add", &request).await {
            Err(CallError::Refused { code, .. }) if code == "already_reacted" => Ok(()),
            done => done.map(|_| ()),
        }
    }

    /// Takes a reaction of ours off; one that is not there is fine.
    pub(super) async fn remove_reaction(&self, channel: &str, ts: &str, name: &str) -> Result<(), CallError> {
        let request = Reaction { channel, timestamp: ts, name };
        match self.post::<_, Done>(&self.bot, "reactions.remove", &request).await {
            Err(CallError::Refused { code, .. }) if code == "no_reaction" => Ok(()),
            done => done.map(|_| ()),
        }
    }

    pub(super) async fn post<Q, A>(
        &self,
        token: &SlackApiToken,
        method: &'static str,
        request: &Q,
    ) -> Result<A, CallError>
    where
        Q: Serialize + Send + Sync,
        A: DeserializeOwned + Send,
    {
        let session = self.client.open_session(token);
        let call = session.http_session_api.http_post(method, request, None);
        match tokio::time::timeout(self.limit, call).await {
            Ok(answer) => answer.map_err(|error| judge(method, &error)),
            Err(_) => Err(CallError::Lost { method, what: format!("none came in {} s", self.limit.as_secs()) }),
        }
    }

    /// The methods that read take no JSON, only a query.
    pub(super) async fn get<A>(&self, method: &'static str, query: &[(&str, Option<&str>)]) -> Result<A, CallError>
    where
        A: DeserializeOwned + Send,
    {
        let query: Vec<(&str, Option<&str>)> = query.to_vec();
        let session = self.client.open_session(&self.bot);
        let call = session.http_session_api.http_get(method, &query, None);
        match tokio::time::timeout(self.limit, call).await {
            Ok(answer) => answer.map_err(|error| judge(method, &error)),
            Err(_) => Err(CallError::Lost { method, what: format!("none came in {} s", self.limit.as_secs()) }),
        }
    }
}

/// The connector, with the system's certificates; a plain address needs none, so it works where there are none.
pub(super) fn https(api_url: Option<&str>) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let provider = rustls::crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new();
    let builder = if api_url.is_some_and(|url| url.starts_with("http://")) {
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
        let config = config.context("the tls library has no usable protocol version")?;
        builder.with_tls_config(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
    } else {
        let roots = builder.with_provider_and_native_roots(provider);
        roots.context("can't read the system's certificates; install ca-certificates")?
    };
    Ok(builder.https_or_http().enable_http1().build())
}

/// How long to wait where Slack says "wait" but not how long.
const UNTOLD_WAIT: Duration = Duration::from_secs(30);

fn judge(method: &'static str, error: &SlackClientError) -> CallError {
    match error {
        SlackClientError::RateLimitError(limit) => {
            CallError::RateLimited { method, wait: limit.retry_after.unwrap_or(UNTOLD_WAIT) }
        }
        SlackClientError::ApiError(refusal) => judge_code(method, &refusal.code),
        SlackClientError::HttpError(http) => {
            CallError::Lost { method, what: format!("http status {}", http.status_code.as_u16()) }
        }
        SlackClientError::HttpProtocolError(protocol) => {
            let cause = protocol.cause.as_ref();
            let connect = cause.and_then(|cause| cause.downcast_ref::<hyper_util::client::legacy::Error>());
            match connect {
                Some(error) if error.is_connect() => {
                    CallError::Unreachable { method, what: root_cause(error).to_string() }
                }
                Some(error) => CallError::Lost { method, what: root_cause(error).to_string() },
                None => CallError::Unreachable { method, what: "the address is not usable".to_owned() },
            }
        }
        // The crate prints whole answers in these, and one of them holds the ticket.
        SlackClientError::ProtocolError(_) => {
            CallError::Lost { method, what: "it can't be read as an answer of slack's".to_owned() }
        }
        _ => CallError::Lost { method, what: "the connection broke".to_owned() },
    }
}

/// The scopes of a method that was refused for want of one.
fn lacking(method: &str, code: &str) -> String {
    let scopes = METHODS.iter().find(|(name, _)| *name == method && code == "missing_scope").map(|(_, scopes)| *scopes);
    scopes.map(|scopes| format!(" ({method} needs {})", scopes.join(" or "))).unwrap_or_default()
}

pub(super) fn judge_code(method: &'static str, code: &str) -> CallError {
    let code = code.to_owned();
    match code.as_str() {
        "ratelimited" | "rate_limited" => CallError::RateLimited { method, wait: UNTOLD_WAIT },
        "invalid_auth"
        | "not_authed"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "not_allowed_token_type" => CallError::Token { method, code },
        // Slack's own words for these: some of it may have been done.
        "fatal_error" | "internal_error" | "service_unavailable" | "request_timeout" => {
            CallError::Lost { method, what: code }
        }
        _ => CallError::Refused { method, code },
    }
}

pub(super) fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_may_have_been_posted_is_never_called_refused() {
        for code in ["fatal_error", "internal_error", "service_unavailable", "request_timeout"] {
            assert!(matches!(judge_code("chat.postMessage", code), CallError::Lost { .. }), "{code}");
        }
        for code in ["channel_not_found", "not_in_channel", "missing_scope", "msg_too_long", "is_archived"] {
            assert!(matches!(judge_code("chat.postMessage", code), CallError::Refused { .. }), "{code}");
        }
        for code in ["invalid_auth", "token_revoked", "not_authed"] {
            let error = judge_code("auth.test", code);
            assert!(matches!(error, CallError::Token { .. }), "{code}");
            assert!(error.to_string().contains("SLACK_BOT_TOKEN"), "{error}");
        }
        assert!(matches!(judge_code("chat.update", "ratelimited"), CallError::RateLimited { .. }));
    }
}
