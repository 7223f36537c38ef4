//! Gathers what must never leave the box: everything in the environment, in the files it names and in what the agents are
//! started with that may be a secret. `redact` judges which of it is.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::fleet::Running;
use crate::config::Environment;
use crate::redact::{Held, Sign, says_secret};
use crate::runtime::{AgentSetup, Conversation, account_files};

/// The largest file that is read for secrets, in bytes. Claude Code's state grows with every project.
const LARGEST: u64 = 1024 * 1024;

/// What the process itself was given: its variables, the files that `<NAME>_FILE` names, systemd's credentials.
pub fn of_process(environment: &Environment) -> Vec<Held> {
    let text = |(name, value): (&std::ffi::OsString, &std::ffi::OsString)| {
        Some((name.to_str()?.to_owned(), value.to_str()?.to_owned().into()))
    };
    let mut held = of_variables(environment.iter().filter_map(text));
    let credentials = environment.get("CREDENTIALS_DIRECTORY").map(std::fs::read_dir);
    // Whoever needs a credential that can't be read says so; here there is nothing to hide then.
    for entry in credentials.into_iter().flatten().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        held.extend(text_of(&entry.path()).map(|value| Held { name, value, sign: Sign::Place }));
    }
    held
}

/// What agents are given, and what their CLIs are logged in with.
pub fn of_agents(setups: &[AgentSetup]) -> Vec<Held> {
    let mut held = Vec::new();
    for setup in setups {
        held.extend(of_variables(setup.agent.env.iter().map(|(name, value)| (name.clone(), value.clone()))));
        let conversation = Conversation::New { id: String::new() };
        for file in account_files(&setup.context(&conversation)) {
            let json = text_of(&file).and_then(|text| serde_json::from_str(text.expose_secret()).ok());
            of_json(json.as_ref().unwrap_or(&Value::Null), &mut held);
        }
    }
    held
}

fn of_variables(variables: impl IntoIterator<Item = (String, SecretString)>) -> Vec<Held> {
    let mut held = Vec::new();
    for (name, value) in variables {
        if let Some(secret) = name.strip_suffix("_FILE").filter(|secret| says_secret(secret)) {
            let text = text_of(Path::new(value.expose_secret()));
            held.extend(text.map(|value| Held { name: secret.to_owned(), value, sign: Sign::Place }));
        }
        held.push(Held { name, value, sign: Sign::NameOrShape });
    }
    held
}

fn of_json(json: &Value, held: &mut Vec<Held>) {
    match json {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Value::String(value) = field {
                    let value = value.clone().into();
                    held.push(Held { name: name.clone(), value, sign: Sign::NameOrShape });
                }
                of_json(field, held);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| of_json(value, held)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A file's text; none where it is missing, no plain file, too large or no text.
fn text_of(path: &Path) -> Option<SecretString> {
    let found = std::fs::metadata(path).ok().filter(|found| found.is_file() && found.len() <= LARGEST)?;
    if found.len() == 0 { None } else { std::fs::read_to_string(path).ok().map(SecretString::from) }
}

/// Lets no answer of the local API out with a secret in it, whatever it is an answer to.
pub async fn clean(State(running): State<Arc<Running>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = next.run(request).await.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let redactor = running.redaction.redactor();
    let clean = match serde_json::from_slice::<Value>(&bytes) {
        Ok(mut json) => {
            redactor.redact_json(&mut json);
            json.to_string()
        }
        Err(_) => redactor.redact(&String::from_utf8_lossy(&bytes)).into_owned(),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(clean))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redaction;

    #[test]
    fn a_secret_that_lies_in_a_file_is_known_as_well_as_one_in_a_variable() {
        let root = tempfile::tempdir().unwrap();
        let credentials = root.path().join("credentials");
        std::fs::create_dir(&credentials).unwrap();
        std::fs::write(root.path().join("token"), "fakeFileToken01\n").unwrap();
        std::fs::write(credentials.join("GITHUB_TOKEN"), "fakeCredential02\n").unwrap();
        let token = root.path().join("token").into_os_string();
        let environment = Environment::from_pairs([
            ("GITLAB_TOKEN_FILE", token),
            ("CREDENTIALS_DIRECTORY", credentials.into_os_string()),
            ("LINEAR_API_KEY", "fakeVariable03".into()),
            ("EDITOR_FILE", "/nowhere/fakeNothing04".into()),
        ]);
        let redaction = Redaction::new().unwrap();
        redaction.learn(of_process(&environment)).unwrap();
        assert_eq!(
            redaction.text("fakeFileToken01 fakeCredential02 fakeVariable03 fakeNothing04"),
            "[redacted: GITLAB_TOKEN] [redacted: GITHUB_TOKEN] [redacted: LINEAR_API_KEY] fakeNothing04"
        );
    }

    #[test]
    fn what_a_cli_is_logged_in_with_is_known() {
        let login = r#"{"oauth": {"accessToken": "fakeAccess05", "expiresAt": 1, "scopes": ["user:fakeScope06"]}}"#;
        let mut held = Vec::new();
        of_json(&serde_json::from_str(login).unwrap(), &mut held);
        let redaction = Redaction::new().unwrap();
        redaction.learn(held).unwrap();
        assert_eq!(redaction.text("fakeAccess05 user:fakeScope06"), "[redacted: accessToken] user:fakeScope06");
    }
}
