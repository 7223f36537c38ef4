//! The client's side of the local API.

use std::path::{Path, PathBuf};

use anyhow::Context;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::daemon::protocol::{Problem, VERSION, VERSION_HEADER};

/// A daemon to ask.
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("fleetd is not running on {0}: start it, or name its state directory with --state")]
    NotRunning(PathBuf),
    /// It ended before it answered: whether it did what was asked is not known.
    #[error("fleetd ended before it answered ({0}): see its log, and start it again")]
    Ended(hyper::Error),
    /// The question is wrong: no such agent or prompt, an empty prompt.
    #[error("{0}")]
    Refused(String),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Client {
    /// The daemon of that socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Asks with a body.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).context("can't write the question as JSON")?;
        self.ask(Method::POST, path, body.into()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(self.socket.clone())
            }
            _ => ClientError::Other(
                anyhow::Error::new(error).context(format!("can't reach fleetd on {}", self.socket.display())),
            ),
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::Ended)?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "fleetd")
            .header("content-type", "application/json")
            .header(VERSION_HEADER, VERSION)
            .body(Full::new(body))
            .context("can't form the question")?;
        let response = sender.send_request(request).await.map_err(ClientError::Ended)?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(ClientError::Ended)?.to_bytes();
        driver.abort();
        if status.is_success() {
            return Ok(serde_json::from_slice(&bytes).context("can't read fleetd's answer: is it another release?")?);
        }
        let problem = match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => problem.error,
            Err(_) => format!("fleetd answered {status}: {}", String::from_utf8_lossy(&bytes)),
        };
        match status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Err(ClientError::Refused(problem)),
            _ => Err(ClientError::Other(anyhow::anyhow!(problem))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_with_a_cause_is_told_once_and_not_twice() {
        let error = anyhow::Error::new(ClientError::from(anyhow::anyhow!("the disk is full").context("can't store")));
        assert_eq!(format!("{error:#}"), "can't store: the disk is full");
    }
}
