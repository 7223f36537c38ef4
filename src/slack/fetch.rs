//! The files that people share: images and text are put where the agent can read them, the rest is named and left.
//!
//! The bot's token goes to Slack's own hosts alone: an address comes from outside. A file that can't be had never holds its
//! message back for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};
use url::Url;

use super::Bridge;
use super::arrival::SharedFile;
use super::pace::{backoff, random};
use super::web::https;
use crate::files::{create_beside, create_private_dir};
use crate::model::{Slug, size};

/// The largest file that is fetched.
const LARGEST: u64 = 50 << 20;

/// How often one file is tried.
const TRIES: u32 = 4;

/// A fetched file is kept this long.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The most characters of a file's name.
const LONGEST_NAME: usize = 100;

/// Fetches from Slack's hosts.
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    token: SecretString,
    /// Where the Web API is somewhere else, so are its files.
    other: Option<Url>,
    limit: Duration,
}

/// Why a file was not fetched.
enum Failure {
    /// Another try may do better.
    Again(String),
    /// It can't be had.
    Never(String),
}

impl Fetcher {
    pub(super) fn new(token: &SecretString, api_url: Option<&str>, limit: Duration) -> anyhow::Result<Self> {
        let client = Client::builder(TokioExecutor::new()).build(https(api_url)?);
        Ok(Self { client, token: token.clone(), other: api_url.and_then(|url| Url::parse(url).ok()), limit })
    }

    async fn fetch(&self, url: &str, directory: &Path, name: &str) -> Result<PathBuf, Failure> {
        let url = Url::parse(url).ok().filter(|url| is_slacks(url, self.other.as_ref()));
        let url = url.ok_or_else(|| Failure::Never("it does not lie with slack".to_owned()))?;
        let request = hyper::Request::get(url.as_str())
            .header("authorization", format!("Bearer {}", self.token.expose_secret()))
            .body(Empty::new());
        // Its own words could hold the header's value.
        let request = request.map_err(|_| Failure::Never("its address is not usable".to_owned()))?;
        let response = self.client.request(request).await;
        let response = response.map_err(|_| Failure::Again("slack could not be reached for it".to_owned()))?;
        let status = response.status();
        if status.is_redirection() {
            // Slack sends whoever may not read it to a page where people log in.
            return Err(Failure::Never("the app may not read it (it needs the scope files:read)".to_owned()));
        }
        if !status.is_success() {
            let what = format!("slack answered with http status {}", status.as_u16());
            let again = status.is_server_error() || status.as_u16() == 429;
            return Err(if again { Failure::Again(what) } else { Failure::Never(what) });
        }
        self.write(response.into_body(), directory, name).await
    }

    async fn write(&self, mut body: hyper::body::Incoming, directory: &Path, name: &str) -> Result<PathBuf, Failure> {
        let on_disk = |error: std::io::Error| Failure::Again(format!("it could not be written: {error}"));
        create_private_dir(directory).map_err(on_disk)?;
        let (file, path) = create_beside(directory, name).map_err(on_disk)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut read = 0;
        let written = loop {
            let frame = match body.frame().await {
                None => break file.flush().await.map_err(on_disk),
                Some(Ok(frame)) => frame,
                Some(Err(_)) => break Err(Failure::Again("the connection broke".to_owned())),
            };
            let Ok(bytes) = frame.into_data() else { continue };
            read += bytes.len() as u64;
            if read > LARGEST {
                break Err(Failure::Never(too_large()));
            }
            if let Err(error) = file.write_all(&bytes).await {
                break Err(on_disk(error));
            }
        };
        if written.is_err() {
            // Half a file is none; what can't be removed now is swept later.
            fs::remove_file(&path).ok();
        }
        written.map(|()| path)
    }
}

/// Whether an address is one of Slack's own, or of the host that stands for it.
fn is_slacks(url: &Url, other: Option<&Url>) -> bool {
    let host = url.host_str().unwrap_or_default();
    let slacks =
        url.scheme() == "https" && url.port().is_none() && (host == "slack.com" || host.ends_with(".slack.com"));
    slacks || other.is_some_and(|other| url.origin() == other.origin())
}

fn too_large() -> String {
    format!("it is larger than {}", size(LARGEST))
}

/// Why a file is not even asked for; nothing where it is.
fn left_out(file: &SharedFile) -> Option<String> {
    let kind = file.mimetype.as_deref().unwrap_or_default();
    let readable = kind.starts_with("image/")
        || kind.starts_with("text/")
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
        || matches!(
            kind.strip_prefix("application/"),
            Some(
                "json"
                    | "xml"
                    | "yaml"
                    | "x-yaml"
                    | "toml"
                    | "javascript"
                    | "x-javascript"
                    | "typescript"
                    | "sql"
                    | "x-sh"
                    | "x-ndjson"
                    | "x-httpd-php"
            )
        );
    match file.mode.as_deref() {
        Some("tombstone") => return Some("it was deleted".to_owned()),
        Some("hidden_by_limit") => return Some("slack hides it, it is too old".to_owned()),
        Some("external") => return Some("it does not lie with slack".to_owned()),
        _ => {}
    }
    if !readable {
        return Some("only images and text are".to_owned());
    }
    file.size.filter(|bytes| *bytes > LARGEST).map(|_| too_large())
}

/// A file's name that means nothing but a name.
fn sanitised(file: &SharedFile) -> String {
    let name = file.name.as_deref().unwrap_or_default();
    let kept = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = name.chars().map(kept).collect();
    let name = name.trim_start_matches(['.', '-']);
    let from = name.chars().count().saturating_sub(LONGEST_NAME);
    let name: String = name.chars().skip(from).collect();
    match name.trim_start_matches(['.', '-', '_']) {
        "" => format!("file-{}", file.id.chars().filter(char::is_ascii_alphanumeric).collect::<String>()),
        _ => name,
    }
}

/// What stands between a message's words and its files.
pub(super) const HEAD: &str = "\n\nFiles of this message:\n";

/// Fetches a message's files; the lines that name them in its prompt.
pub(super) async fn fetch_all(bridge: &Bridge, agent: &Slug, files: &[SharedFile]) -> String {
    let mut lines = HEAD.to_owned();
    for file in files {
        let name = sanitised(file);
        let had = match (left_out(file), bridge.inboxes.get(agent)) {
            (Some(why), _) => Err(why),
            (None, None) => Err("the agent has no folder for files".to_owned()),
            (None, Some(directory)) => fetch_one(bridge, file, directory, &name).await,
        };
        match had {
            Ok(path) => lines.push_str(&format!("- {}\n", path.display())),
            Err(why) => {
                tracing::warn!(%agent, file = name, "a file that was shared in slack is not fetched: {why}");
                lines.push_str(&format!("- {name}: not fetched, {why}\n"));
            }
        }
    }
    lines.trim_end().to_owned()
}

async fn fetch_one(bridge: &Bridge, file: &SharedFile, directory: &Path, name: &str) -> Result<PathBuf, String> {
    let url = file.url_private_download.as_deref().or(file.url_private.as_deref());
    let url = url.ok_or_else(|| "slack does not say where it lies".to_owned())?;
    let fetcher = &bridge.fetcher;
    let mut tries = 0;
    loop {
        tries += 1;
        let late = || Err(Failure::Again(format!("it did not come in {} s", fetcher.limit.as_secs())));
        match timeout(fetcher.limit, fetcher.fetch(url, directory, name)).await.unwrap_or_else(|_| late()) {
            Ok(path) => return Ok(path),
            Err(Failure::Never(why)) => return Err(why),
            Err(Failure::Again(why)) if tries >= TRIES => return Err(format!("tried {tries} times: {why}")),
            Err(Failure::Again(_)) => sleep(backoff(tries, random())).await,
        }
    }
}

/// Removes what was fetched long ago, for ever.
pub(super) async fn sweep(bridge: Arc<Bridge>) {
    loop {
        let now = bridge.clock.now();
        for directory in bridge.inboxes.values() {
            if let Err(error) = sweep_one(directory, now)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!("can't clear old files out of {}: {error}", directory.display());
            }
        }
        sleep(Duration::from_secs(3600)).await;
    }
}

fn sweep_one(directory: &Path, now: Timestamp) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let written = Timestamp::try_from(metadata.modified()?).unwrap_or(now);
        if metadata.is_file() && now.duration_since(written) > KEPT {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_sent_to_slack_s_own_hosts_and_to_no_other() {
        let other = Url::parse("http://127.0.0.1:4000/api").unwrap();
        for (url, expected) in [
            ("https://files.slack.com/files-pri/T1-F1/a.png", true),
            ("https://team.slack.com/a", true),
            ("http://files.slack.com/a.png", false),
            ("https://files.slack.com.evil.org/a.png", false),
            ("https://evilslack.com/a.png", false),
            ("https://files.slack.com:8443/a.png", false),
            ("https://files.slack.com@evil.org/a.png", false),
            ("http://127.0.0.1:4000/files/a.png", true),
            ("http://127.0.0.1:4001/files/a.png", false),
        ] {
            assert_eq!(is_slacks(&Url::parse(url).unwrap(), Some(&other)), expected, "{url}");
        }
        assert!(!is_slacks(&other, None));
    }

    #[test]
    fn a_file_s_name_never_leads_anywhere() {
        let named =
            |name: &str| sanitised(&SharedFile { id: "F1".into(), name: Some(name.into()), ..SharedFile::default() });
        for (name, expected) in [
            ("a b.png", "a_b.png"),
            ("../../etc/passwd", "_.._etc_passwd"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("", "file-F1"),
            ("...", "file-F1"),
            ("\u{1b}[31m;rm", "__31m_rm"),
            ("größe.md", "größe.md"),
        ] {
            assert_eq!(named(name), expected, "{name}");
        }
        assert_eq!(named(&format!("{}.png", "x".repeat(300))).len(), LONGEST_NAME);
    }

    #[test]
    fn only_what_an_agent_can_read_is_asked_for() {
        let file = |mimetype: &str, size, mode: Option<&str>| SharedFile {
            mimetype: Some(mimetype.into()),
            size: Some(size),
            mode: mode.map(str::to_owned),
            ..SharedFile::default()
        };
        for (file, expected) in [
            (file("image/png", 1, Some("hosted")), None),
            (file("text/x-python", 1, Some("snippet")), None),
            (file("application/json", LARGEST, None), None),
            (file("image/png", LARGEST + 1, None), Some("it is larger than 50.0 MiB")),
            (file("video/mp4", 1, None), Some("only images and text are")),
            (file("image/png", 1, Some("tombstone")), Some("it was deleted")),
        ] {
            assert_eq!(left_out(&file).as_deref(), expected, "{file:?}");
        }
    }
}
