//! A look at the workspace for `fleet doctor`: what the tokens are good for, and which channels the app sees. It posts
//! nothing and opens no socket.

use std::collections::BTreeSet;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::directory::is_id;
use super::web::{CallError, Channel, Web, https, judge_code};
use super::wording;

/// The app's manifest, as it is shipped.
const MANIFEST: &str = include_str!("../../slack-manifest.yaml");

/// The header in which Slack names a token's scopes. slack-morphism gives no headers, hence a request of our own.
const SCOPES_HEADER: &str = "x-oauth-scopes";

/// What was found; each part by itself, since each can be wrong by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Whose the bot token is.
    pub bot: Result<Bot, Trouble>,
    /// Whether the app token gives an address for a socket.
    pub app: Result<(), Trouble>,
    /// The channels that the app sees.
    pub channels: Result<Vec<SeenChannel>, Trouble>,
}

/// Whose the bot token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bot {
    /// The workspace's name.
    pub team: String,
    /// The bot's name.
    pub user: String,
    /// The scopes it was given; none where Slack did not say.
    pub scopes: Option<BTreeSet<String>>,
}

/// A channel that the app sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenChannel {
    /// Its id.
    pub id: String,
    /// Its name, without `#`.
    pub name: String,
    /// Whether the app is in it; none where Slack did not say.
    pub member: Option<bool>,
}

/// Why something could not be found out. Never holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened.
    pub what: String,
    /// What to do.
    pub mend: String,
}

/// Asks Slack. Each call may take `limit`.
pub async fn inspect(bot: &SecretString, app: &SecretString, api_url: &str, limit: Duration) -> Inspection {
    let web = match Web::new(bot, app, Some(api_url), limit) {
        Ok(web) => web,
        Err(error) => {
            let trouble = || Trouble { what: format!("{error:#}"), mend: "mend that first".to_owned() };
            return Inspection { bot: Err(trouble()), app: Err(trouble()), channels: Err(trouble()) };
        }
    };
    let (bot, app, channels) = tokio::join!(identity(bot, api_url, limit), web.open_connection(), web.channels());
    Inspection {
        bot: bot.map_err(trouble),
        app: app.map(drop).map_err(trouble),
        channels: channels.map(|all| all.into_iter().map(seen).collect()).map_err(trouble),
    }
}

/// The channel that agents.yaml means by `#name` or by an id.
pub fn find_channel<'a>(written: &str, channels: &'a [SeenChannel]) -> Option<&'a SeenChannel> {
    let name = written.trim_start_matches('#');
    channels.iter().find(|channel| if is_id(written) { channel.id == written } else { channel.name == name })
}

/// The scopes that the manifest asks for.
pub fn manifest_scopes() -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Manifest {
        oauth_config: Oauth,
    }
    #[derive(Deserialize)]
    struct Oauth {
        scopes: Scopes,
    }
    #[derive(Deserialize)]
    struct Scopes {
        bot: BTreeSet<String>,
    }
    // A test reads the same file: it can't be anything else by the time that anybody runs this.
    serde_saphyr::from_str(MANIFEST).map(|manifest: Manifest| manifest.oauth_config.scopes.bot).unwrap_or_default()
}

fn seen(channel: Channel) -> SeenChannel {
    SeenChannel { id: channel.id, name: channel.name, member: channel.is_member }
}

fn trouble(error: CallError) -> Trouble {
    match error {
        CallError::Token { method, code } | CallError::Refused { method, code } => {
            Trouble { what: format!("slack refuses {method}: {code}"), mend: wording::advice(&code).to_owned() }
        }
        CallError::RateLimited { wait, .. } => Trouble {
            what: error.to_string(),
            mend: format!("nothing is wrong by that; ask again in {} s", wait.as_secs()),
        },
        CallError::Unreachable { .. } | CallError::Lost { .. } => Trouble {
            what: error.to_string(),
            mend: "look at the network, the proxy and $SLACK_API_URL; then ask again".to_owned(),
        },
    }
}

async fn identity(token: &SecretString, api_url: &str, limit: Duration) -> Result<Bot, CallError> {
    tokio::time::timeout(limit, ask(token, api_url)).await.unwrap_or_else(|_| {
        Err(CallError::Lost { method: METHOD, what: format!("none came in {} s", limit.as_secs()) })
    })
}

const METHOD: &str = "auth.test";

async fn ask(token: &SecretString, api_url: &str) -> Result<Bot, CallError> {
    #[derive(Deserialize)]
    struct Answer {
        ok: bool,
        #[serde(default)]
        error: String,
        #[serde(default)]
        team: String,
        #[serde(default)]
        user: String,
    }
    let unreachable = |what: String| CallError::Unreachable { method: METHOD, what };
    let lost = |what: &str| CallError::Lost { method: METHOD, what: what.to_owned() };
    let connector = https(Some(api_url)).map_err(|error| unreachable(format!("{error:#}")))?;
    let request = hyper::Request::post(format!("{}/{METHOD}", api_url.trim_end_matches('/')))
        .header("authorization", format!("Bearer {}", token.expose_secret()))
        .header("content-type", "application/json; charset=utf-8")
        .body(Full::new(Bytes::from_static(b"{}")));
    // Its own words could hold the header's value.
    let request = request.map_err(|_| unreachable("the address or the token is not usable".to_owned()))?;
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let response =
        client.request(request).await.map_err(|error| unreachable(super::web::root_cause(&error).to_string()))?;
    let scopes = response.headers().get(SCOPES_HEADER).and_then(|value| value.to_str().ok()).map(scope_words);
    let status = response.status();
    if !status.is_success() {
        return Err(lost(&format!("http status {}", status.as_u16())));
    }
    let body = response.into_body().collect().await.map_err(|_| lost("the connection broke"))?.to_bytes();
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| lost("it can't be read as an answer of slack's"))?;
    match answer.ok {
        true => Ok(Bot { team: answer.team, user: answer.user, scopes }),
        false => Err(judge_code(METHOD, &answer.error)),
    }
}

fn scope_words(header: &str) -> BTreeSet<String> {
    header.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_manifest_is_the_measure() {
        assert!(manifest_scopes().contains("chat:write") && manifest_scopes().len() >= 8, "{:?}", manifest_scopes());
        assert_eq!(scope_words("chat:write, users:read,"), ["chat:write", "users:read"].map(str::to_owned).into());
    }

    #[test]
    fn a_channel_is_never_mistaken_for_one_whose_name_begins_alike() {
        let channel = |id: &str, name: &str| SeenChannel { id: id.into(), name: name.into(), member: Some(true) };
        let all = [channel("C00000001", "agent-pr"), channel("C00000002", "pr")];
        let id = |written| find_channel(written, &all).map(|found| found.id.as_str());
        assert_eq!(
            (id("#pr"), id("agent-pr"), id("C00000001")),
            (Some("C00000002"), Some("C00000001"), Some("C00000001"))
        );
        assert_eq!((id("#agent"), id("C00000009")), (None, None));
    }
}
