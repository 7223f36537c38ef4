//! Whether an agent's CLI is logged in and trusts the agent's directory, read from the CLI's own files (Claude Code 2.1.197,
//! Codex 0.169.0). Pure: whoever asks reads the files. No value of a key or token ever leaves this file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use super::LaunchContext;
use super::claude::APPROVED_KEY_LENGTH;
use crate::config::RuntimeConfig;

/// What a file held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileText {
    /// There is none.
    Missing,
    /// Its text.
    Text(String),
    /// It is there and can't be read, in the system's words.
    Unreadable(String),
}

/// How an agent's CLI stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whether it can talk to its model.
    pub login: Login,
    /// Whether it works in the agent's directory without asking.
    pub trust: Trust,
}

/// Whether a CLI can talk to its model, as far as its files tell; whether the model accepts it is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// It can, by this.
    By(String),
    /// Its login is over and can't renew itself.
    Expired(String),
    /// Nothing was found that it could log in with.
    Missing,
    /// It can't be told.
    Unclear(String),
}

/// Whether a CLI works in a directory without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// A person, or an earlier start, has said so.
    Given,
    /// Every start of the agent says so.
    AtStart,
    /// A start would stop at a dialog.
    Dialog(String),
}

type Files = BTreeMap<PathBuf, FileText>;

/// The files that [`account`] reads; none for a program whose logins nobody knows.
pub fn account_files(context: &LaunchContext<'_>) -> Vec<PathBuf> {
    match context.agent.runtime {
        RuntimeConfig::Claude { .. } => {
            [claude_state(context), claude(context, CREDENTIALS), claude(context, SETTINGS)]
                .into_iter()
                .flatten()
                .collect()
        }
        RuntimeConfig::Codex { .. } => [codex(context, AUTH), codex(context, CONFIG)].into_iter().flatten().collect(),
        RuntimeConfig::Command { .. } => Vec::new(),
    }
}

/// How an agent's CLI stands, by the files of [`account_files`]; none for a program whose logins nobody knows.
pub fn account(context: &LaunchContext<'_>, files: &Files, now: Timestamp) -> Option<Account> {
    match context.agent.runtime {
        RuntimeConfig::Claude { .. } => {
            Some(Account { login: claude_login(context, files, now), trust: claude_trust(context, files) })
        }
        // Its trust stands on the command line of every start.
        RuntimeConfig::Codex { .. } => Some(Account { login: codex_login(context, files), trust: Trust::AtStart }),
        RuntimeConfig::Command { .. } => None,
    }
}

/// The file of the OAuth login that an agent's CLI shares with every other agent of the same configuration: its token is
/// renewed by whichever needs it first, and a renewal takes the old one from the others. None where it has a key of its own.
pub fn shared_login(context: &LaunchContext<'_>, files: &Files, now: Timestamp) -> Option<PathBuf> {
    let login = account(context, files, now)?.login;
    if login != Login::By(STORED.to_owned()) {
        return None;
    }
    login_file(context)
}

/// The file in which an agent's CLI keeps a login; none for a program whose logins nobody knows.
pub fn login_file(context: &LaunchContext<'_>) -> Option<PathBuf> {
    match context.agent.runtime {
        RuntimeConfig::Claude { .. } => claude(context, CREDENTIALS),
        RuntimeConfig::Codex { .. } => codex(context, AUTH),
        RuntimeConfig::Command { .. } => None,
    }
}

/// How a login by OAuth is told.
const STORED: &str = "the stored login";

const CREDENTIALS: &str = ".credentials.json";
const SETTINGS: &str = "settings.json";
const AUTH: &str = "auth.json";
const CONFIG: &str = "config.toml";

/// Variables by which Claude Code is logged in, or needs no login of its own.
const CLAUDE_VARIABLES: [&str; 6] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
];

fn claude_state(context: &LaunchContext<'_>) -> Option<PathBuf> {
    context.directory("CLAUDE_CONFIG_DIR", "").map(|directory| directory.join(".claude.json"))
}

fn claude(context: &LaunchContext<'_>, name: &str) -> Option<PathBuf> {
    context.directory("CLAUDE_CONFIG_DIR", ".claude").map(|directory| directory.join(name))
}

fn codex(context: &LaunchContext<'_>, name: &str) -> Option<PathBuf> {
    context.directory("CODEX_HOME", ".codex").map(|directory| directory.join(name))
}

/// A file's JSON; why not, where it is there and is none.
fn json(files: &Files, path: Option<PathBuf>) -> Result<Option<Value>, String> {
    let Some(path) = path else { return Ok(None) };
    let shown = path.display().to_string();
    match files.get(&path) {
        None | Some(FileText::Missing) => Ok(None),
        Some(FileText::Unreadable(why)) => Err(format!("{shown} can't be read: {why}")),
        Some(FileText::Text(text)) if text.trim().is_empty() => Ok(None),
        // The parser's own words could quote a key.
        Some(FileText::Text(text)) => serde_json::from_str(text).map(Some).map_err(|_| format!("{shown} is no JSON")),
    }
}

fn claude_login(context: &LaunchContext<'_>, files: &Files, now: Timestamp) -> Login {
    if let Some(name) = CLAUDE_VARIABLES.iter().find(|name| context.variable(name).is_some()) {
        return Login::By(format!("${name}"));
    }
    let settings = json(files, claude(context, SETTINGS)).ok().flatten().unwrap_or_default();
    if settings["apiKeyHelper"].is_string() {
        return Login::By("the apiKeyHelper of its settings".to_owned());
    }
    if let Some(name) = CLAUDE_VARIABLES.iter().find(|name| !settings["env"][**name].is_null()) {
        return Login::By(format!("{name} in its settings"));
    }
    let (credentials, state) = (json(files, claude(context, CREDENTIALS)), json(files, claude_state(context)));
    if let Ok(Some(credentials)) = &credentials {
        let oauth = &credentials["claudeAiOauth"];
        let has = |name: &str| oauth[name].as_str().is_some_and(|token| !token.is_empty());
        let over = oauth["expiresAt"].as_i64().is_some_and(|at| at < now.as_millisecond());
        if has("accessToken") && over && !has("refreshToken") {
            return Login::Expired(STORED.to_owned());
        }
        if has("accessToken") || has("refreshToken") {
            return Login::By(STORED.to_owned());
        }
    }
    if let Ok(Some(state)) = &state
        && state["primaryApiKey"].is_string()
    {
        return Login::By("the stored key".to_owned());
    }
    match credentials.and(state) {
        Ok(_) => Login::Missing,
        Err(why) => Login::Unclear(why),
    }
}

fn claude_trust(context: &LaunchContext<'_>, files: &Files) -> Trust {
    let state = match json(files, claude_state(context)) {
        Ok(state) => state.unwrap_or_default(),
        Err(why) => return Trust::Dialog(why),
    };
    if !state.is_object() && !state.is_null() {
        return Trust::Dialog("its .claude.json is no JSON object".to_owned());
    }
    if let Some(key) = context.variable("ANTHROPIC_API_KEY") {
        let start = key.char_indices().rev().nth(APPROVED_KEY_LENGTH - 1).map_or(0, |(index, _)| index);
        let rejected = state["customApiKeyResponses"]["rejected"].as_array();
        if rejected.is_some_and(|rejected| rejected.iter().any(|one| one.as_str() == Some(&key[start..]))) {
            return Trust::Dialog("a person once refused this $ANTHROPIC_API_KEY in Claude's dialog".to_owned());
        }
    }
    let cwd = context.cwd.to_string_lossy();
    match state["projects"][cwd.as_ref()]["hasTrustDialogAccepted"].as_bool() {
        Some(true) => Trust::Given,
        _ => Trust::AtStart,
    }
}

fn codex_login(context: &LaunchContext<'_>, files: &Files) -> Login {
    let config = codex(context, CONFIG).and_then(|path| files.get(&path).cloned());
    if let Some(FileText::Text(config)) = &config
        && let Some(name) = provider_key(config)
    {
        return match context.variable(&name) {
            Some(_) => Login::By(format!("${name}, the key of its provider")),
            None => Login::Unclear(format!("its provider wants ${name}, which the agent does not see")),
        };
    }
    match json(files, codex(context, AUTH)) {
        Err(why) => Login::Unclear(why),
        Ok(None) => Login::Missing,
        Ok(Some(auth)) if auth["tokens"].is_object() => Login::By(STORED.to_owned()),
        Ok(Some(auth)) if auth["OPENAI_API_KEY"].is_string() => Login::By("the stored key".to_owned()),
        Ok(Some(_)) => Login::Missing,
    }
}

/// The variable that holds the key of the provider that `config.toml` chooses. Of TOML only what Codex itself writes there
/// is read: tables and `name = "text"` lines.
fn provider_key(config: &str) -> Option<String> {
    let mut table = String::new();
    let mut texts = BTreeMap::new();
    for line in config.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = format!("{}.", name.trim().replace('"', ""));
        } else if let Some((name, value)) = line.split_once('=')
            && let Some(text) = value.trim().strip_prefix('"').and_then(|rest| rest.split('"').next())
        {
            texts.insert(format!("{table}{}", name.trim()), text);
        }
    }
    let provider = texts.get("model_provider")?;
    texts.get(&format!("model_providers.{provider}.env_key")).map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Conversation;
    use crate::runtime::fixture::Setting;

    const KEY: &str = "sk-ant-SECRETSECRETSECRET-01234567890123456789";

    fn look(program: &str, variables: &[(&str, &str)], held: &[(&str, &str)]) -> Account {
        let mut setting = Setting::new(program, variables);
        setting.environment.insert("HOME".into(), "/h".into());
        let conversation = Conversation::New { id: "u".into() };
        let context = setting.context(&conversation);
        let files = account_files(&context).into_iter().map(|path| {
            let text = held.iter().find(|(name, _)| path.ends_with(name));
            let text = text.map_or(FileText::Missing, |(_, text)| FileText::Text((*text).to_owned()));
            (path, text)
        });
        let account = account(&context, &files.collect(), Timestamp::from_second(1000).unwrap()).unwrap();
        assert!(!format!("{account:?}").contains("SECRET"), "{account:?}");
        account
    }

    #[test]
    fn whether_claude_is_logged_in_is_told_by_what_it_would_use_and_never_with_the_secret() {
        let oauth = |rest: &str| format!(r#"{{"claudeAiOauth":{{"accessToken":"SECRET"{rest}}}}}"#);
        let by = |what: &str| Login::By(what.to_owned());
        let held = |text: &str| look("claude", &[], &[(".credentials.json", text)]).login;
        assert_eq!(look("claude", &[("ANTHROPIC_API_KEY", KEY)], &[]).login, by("$ANTHROPIC_API_KEY"));
        assert_eq!(look("claude", &[("CLAUDE_CODE_USE_BEDROCK", "1")], &[]).login, by("$CLAUDE_CODE_USE_BEDROCK"));
        assert_eq!(held(&oauth("")), by("the stored login"));
        assert_eq!(held(&oauth(r#","expiresAt":999999,"refreshToken":"SECRET""#)), by("the stored login"));
        assert_eq!(held(&oauth(r#","expiresAt":999999"#)), Login::Expired("the stored login".into()));
        assert_eq!(held("{}"), Login::Missing);
        assert!(matches!(held(r#"{"SECRET"#), Login::Unclear(why) if why.contains("/h/.claude/.credentials.json")));
        let state = |text: &str| look("claude", &[], &[(".claude.json", text)]).login;
        assert_eq!(state(r#"{"primaryApiKey":"SECRET"}"#), by("the stored key"));
        assert_eq!(state(r#"{"oauthAccount":{}}"#), Login::Missing);
        let settings = |text: &str| look("claude", &[], &[("settings.json", text)]).login;
        assert_eq!(settings(r#"{"apiKeyHelper":"SECRET"}"#), by("the apiKeyHelper of its settings"));
        assert_eq!(
            settings(r#"{"env":{"ANTHROPIC_AUTH_TOKEN":"SECRET"}}"#),
            by("ANTHROPIC_AUTH_TOKEN in its settings")
        );
    }

    #[test]
    fn a_change_of_settings_is_not_taken_for_a_new_login() {
        let conversation = Conversation::New { id: "u".into() };
        for (program, file) in [("claude", "/h/.claude/.credentials.json"), ("codex", "/h/.codex/auth.json")] {
            let mut setting = Setting::new(program, &[]);
            setting.environment.insert("HOME".into(), "/h".into());
            assert_eq!(login_file(&setting.context(&conversation)), Some(file.into()), "{program}");
        }
    }

    #[test]
    fn a_file_that_would_make_claude_ask_is_found_before_it_asks() {
        let trust = |text: &str| look("claude", &[("ANTHROPIC_API_KEY", KEY)], &[(".claude.json", text)]).trust;
        assert_eq!(trust("{}"), Trust::AtStart);
        assert_eq!(trust(r#"{"projects":{"/srv/agent":{"hasTrustDialogAccepted":true}}}"#), Trust::Given);
        assert_eq!(trust(r#"{"projects":{"/srv/agent":{"hasTrustDialogAccepted":false}}}"#), Trust::AtStart);
        assert!(matches!(trust(r#"{"half"#), Trust::Dialog(_)));
        assert!(matches!(trust("[]"), Trust::Dialog(_)));
        let rejected = r#"{"customApiKeyResponses":{"rejected":["01234567890123456789"]}}"#;
        assert!(matches!(trust(rejected), Trust::Dialog(why) if why.contains("$ANTHROPIC_API_KEY")));
    }

    #[test]
    fn whether_codex_is_logged_in_is_told_by_its_own_provider() {
        let config = "model_provider = \"fake\" # ours\n[model_providers.fake]\nname=\"x\"\nenv_key = \"FAKE_KEY\"\n";
        let by = |what: &str| Login::By(what.to_owned());
        assert_eq!(look("codex", &[], &[]).login, Login::Missing);
        assert_eq!(look("codex", &[], &[("auth.json", r#"{"OPENAI_API_KEY":"SECRET"}"#)]).login, by("the stored key"));
        assert_eq!(
            look("codex", &[], &[("auth.json", r#"{"OPENAI_API_KEY":null,"tokens":{}}"#)]).login,
            by("the stored login")
        );
        assert_eq!(look("codex", &[], &[("auth.json", r#"{"OPENAI_API_KEY":null}"#)]).login, Login::Missing);
        let held = [("config.toml", config)];
        assert_eq!(look("codex", &[("FAKE_KEY", "SECRET")], &held).login, by("$FAKE_KEY, the key of its provider"));
        assert!(matches!(look("codex", &[], &held).login, Login::Unclear(why) if why.contains("$FAKE_KEY")));
        assert_eq!(look("codex", &[], &held).trust, Trust::AtStart);
    }
}
