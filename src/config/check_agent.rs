//! One agent of the file, judged key by key.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use secrecy::SecretString;

use super::amount;
use super::check::Context;
use super::judge::{Field, Fields, Judge, Table};
use super::rights;
use super::tree::{Node, Value};
use super::when::{self, Unclear};
use super::{Agent, Permissions, Repo, RuntimeConfig};
use crate::model::{Schedule, Slug};

pub(super) const AGENT_KEYS: &[&str] = &[
    "slug",
    "runtime",
    "command",
    "prompt",
    "args",
    "env",
    "repos",
    "model",
    "permissions",
    "context",
    "memory",
    "disk",
    "slackChannel",
    "sharedChannel",
    "slack",
    "schedule",
    "dailyPrompt",
    "initPrompt",
];

pub(super) const AGENT: Table = Table {
    owner: "an agent",
    keys: AGENT_KEYS,
    elsewhere: Some((super::check::TOP_KEYS, "at the top of the file, beside `agents:`")),
};

pub(super) const SCHEDULE: Table = Table { owner: "a schedule", keys: &["cron"], elsewhere: None };

pub(super) const CONTEXT: Table = Table { owner: "`context`", keys: &["compactAt"], elsewhere: None };

#[derive(Clone, Copy, PartialEq, Eq)]
enum RuntimeWord {
    Claude,
    Codex,
    Command,
}

/// The agent, or none where a mistake was told.
pub(super) fn agent(judge: &mut Judge<'_>, node: &Node, context: &Context<'_>, zone: &TimeZone) -> Option<Agent> {
    if let Value::Text(text) = &node.value {
        judge.tell(&node.span, "an agent must be a mapping, not text", format!("write `- slug: {text}`"));
        return None;
    }
    let fields = judge.fields(node, &AGENT);
    let slug = slug(judge, node, &fields);
    let runtime = runtime(judge, node, &fields, context);
    let mut text = |name| fields.get(name).and_then(|field| judge.words(&field));
    let (model, daily_prompt, init_prompt) = (text("model"), text("dailyPrompt"), text("initPrompt"));
    let args = fields.get("args").map(|field| strings(judge, &field)).unwrap_or_default();
    let env = fields.get("env").map(|field| env(judge, &field)).unwrap_or_default();
    let repos = fields.get("repos").map(|field| repos(judge, &field)).unwrap_or_default();
    let permissions = fields.get("permissions").and_then(|field| permissions(judge, &field)).unwrap_or_default();
    let compact_at = fields.get("context").and_then(|field| {
        let inner = judge.fields(field.value, &CONTEXT);
        inner.get("compactAt").and_then(|field| amount::share(judge, &field))
    });
    let memory = fields.get("memory").and_then(|field| amount::bytes(judge, &field));
    let disk = fields.get("disk").and_then(|field| amount::bytes(judge, &field));
    let slack_channel = fields.get("slackChannel").and_then(|field| channel(judge, &field));
    if let Some(field) = fields.get("sharedChannel") {
        judge.flag(&field);
    }
    let slack = fields.get("slack").map(|field| rights::lists(judge, &field)).unwrap_or_default();
    let schedule = fields.get("schedule").and_then(|field| schedule(judge, &field, zone));
    if let Some(field) = fields.get("schedule")
        && fields.lacks("dailyPrompt")
    {
        let instead = "write `dailyPrompt:` with what the agent is to do then, or take the schedule out";
        judge.tell(&field.key.span, "a schedule without a `dailyPrompt` has nothing to say", instead);
    }
    Some(Agent {
        slug: slug?,
        runtime: runtime?,
        args,
        env,
        repos,
        model,
        permissions,
        compact_at,
        memory,
        disk,
        slack_channel,
        slack,
        schedule,
        daily_prompt,
        init_prompt,
    })
}

fn slug(judge: &mut Judge<'_>, node: &Node, fields: &Fields<'_>) -> Option<Slug> {
    let Some(field) = fields.get("slug") else {
        // What is no mapping has been told already.
        if let Value::Map(entries) = &node.value
            && fields.lacks("slug")
        {
            let span = entries.first().map_or(&node.span, |(key, _)| &key.span);
            judge.tell(
                span,
                "this agent has no `slug`",
                "write `slug: my-agent`: lower-case letters, digits and inner dashes",
            );
        }
        return None;
    };
    let text = judge.words(&field)?;
    text.parse().inspect_err(|error: &crate::model::SlugError| tell_slug(judge, &field, &text, error)).ok()
}

fn tell_slug(judge: &mut Judge<'_>, field: &Field<'_>, text: &str, error: &crate::model::SlugError) {
    use crate::model::SlugError;
    let (what, instead) = match error {
        SlugError::Shape(_, better) => {
            let what = format!("`{text}` is not a slug: only lower-case letters, digits and inner dashes are");
            (what, format!("write `slug: {better}`"))
        }
        SlugError::TooLong(length) => {
            (format!("a slug has at most 60 characters, this one has {length}"), "shorten it".to_owned())
        }
        SlugError::Empty => ("a slug can't be empty".to_owned(), "write `slug: my-agent`".to_owned()),
    };
    judge.tell(&field.value.span, what, instead);
}

fn runtime(judge: &mut Judge<'_>, node: &Node, fields: &Fields<'_>, context: &Context<'_>) -> Option<RuntimeConfig> {
    let words = [("claude", RuntimeWord::Claude), ("codex", RuntimeWord::Codex), ("command", RuntimeWord::Command)];
    let word = match fields.get("runtime") {
        Some(field) => judge.choice(&field, &words),
        None => Some(RuntimeWord::Claude),
    };
    let command = fields.get("command").map(|field| command(judge, &field, context));
    let prompt = fields.get("prompt").and_then(|field| judge.words(&field).map(|prompt| (field, prompt)));
    let word = word?;
    if let Some((field, _)) = &prompt
        && word != RuntimeWord::Command
    {
        let what = "`prompt` means something only to `runtime: command`";
        judge.tell(&field.key.span, what, "did you mean `dailyPrompt` or `initPrompt`?");
    }
    match (word, command) {
        (RuntimeWord::Command, None) => {
            if !fields.lacks("command") {
                return None;
            }
            let span = fields.get("runtime").map_or(&node.span, |field| &field.value.span);
            judge.tell(span, "`runtime: command` needs a `command`", "write `command: [program, first-argument]`");
            None
        }
        (RuntimeWord::Command, Some(command)) => {
            Some(RuntimeConfig::Command { command, prompt: prompt.map(|(_, prompt)| prompt) })
        }
        (RuntimeWord::Claude, command) => {
            Some(RuntimeConfig::Claude { command: command.unwrap_or_else(|| vec!["claude".to_owned()]) })
        }
        (RuntimeWord::Codex, command) => {
            Some(RuntimeConfig::Codex { command: command.unwrap_or_else(|| vec!["codex".to_owned()]) })
        }
    }
}

/// A program and its first arguments. A path to the program is made absolute, since the agent runs elsewhere.
pub(super) fn command(judge: &mut Judge<'_>, field: &Field<'_>, context: &Context<'_>) -> Vec<String> {
    let value = field.value;
    let mut command = match &value.value {
        Value::Text(text) if text.contains(char::is_whitespace) => {
            let words = text.split_whitespace().collect::<Vec<_>>().join(", ");
            let what = "`command` is one program's path, and this one has a space: no shell splits it";
            judge.tell(&value.span, what, format!("write `command: [{words}]`"));
            return Vec::new();
        }
        Value::Text(_) => judge.words(field).into_iter().collect(),
        _ => strings(judge, field),
    };
    match command.first_mut() {
        Some(program) if program.trim().is_empty() => {
            judge.tell(&value.span, "`command` names no program", "write its path first")
        }
        Some(program) if program.contains('/') => {
            if let Some(absolute) = context.path(program).to_str() {
                absolute.clone_into(program);
            }
        }
        None if matches!(&value.value, Value::List(items) if items.is_empty()) => {
            judge.tell(&value.span, "`command` is an empty list", "write `command: [program, first-argument]`");
        }
        _ => {}
    }
    command
}

fn strings(judge: &mut Judge<'_>, field: &Field<'_>) -> Vec<String> {
    let name = format!("an item of `{}`", field.name);
    judge.list(field).iter().filter_map(|item| judge.scalar(&name, item)).collect()
}

fn env(judge: &mut Judge<'_>, field: &Field<'_>) -> BTreeMap<String, SecretString> {
    let mut variables = BTreeMap::new();
    for Field { name, key, value } in judge.entries(field.value, "`env`") {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(letter) || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let what = "this is not a variable's name";
            judge.tell(&key.span, what, "use letters, digits and underscores, and no digit first");
        } else if value.value == Value::Null && judge.says_null(value) {
            // As Terraform writes a variable that is not set.
        } else if value.value == Value::Null {
            judge.tell(
                &key.span,
                format!("the variable `{name}` has no value"),
                format!("write `{name}: \"\"` for an empty one"),
            );
        } else if let Some(value) = judge.scalar(&format!("the variable `{name}`"), value) {
            variables.insert(name.to_owned(), SecretString::from(value));
        }
    }
    variables
}

fn repos(judge: &mut Judge<'_>, field: &Field<'_>) -> Vec<Repo> {
    let mut repos = Vec::new();
    let mut seen = BTreeSet::new();
    for item in judge.list(field) {
        let Some(text) = judge.scalar("a repository", item) else { continue };
        let Some(repo) = repo(&text) else {
            let instead = match bare_repo(&text) {
                Some(meant) => format!("write `{meant}`"),
                None => "write `owner/name`, for example `langwatch/langwatch`".to_owned(),
            };
            judge.tell(&item.span, format!("`{text}` is not a repository"), instead);
            continue;
        };
        if seen.insert((repo.owner.to_lowercase(), repo.name.to_lowercase())) {
            repos.push(repo);
        } else {
            judge.tell(&item.span, format!("`{text}` stands twice"), "keep one of them");
        }
    }
    repos
}

fn repo(text: &str) -> Option<Repo> {
    let (owner, name) = text.split_once('/')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let safe = |part: &str| !part.is_empty() && part.len() <= 100 && !part.starts_with('-') && part.chars().all(plain);
    let directory = !matches!(name, "." | "..") && !name.to_lowercase().ends_with(".git");
    (safe(owner) && safe(name) && directory && !owner.starts_with('.'))
        .then(|| Repo { owner: owner.to_owned(), name: name.to_owned() })
}

/// The `owner/name` that an address means.
fn bare_repo(text: &str) -> Option<Repo> {
    let path = text.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut parts = path.rsplit(['/', ':']);
    let (name, owner) = (parts.next()?, parts.next()?);
    repo(&format!("{owner}/{name}"))
}

fn permissions(judge: &mut Judge<'_>, field: &Field<'_>) -> Option<Permissions> {
    let words = [("bypass", Permissions::Bypass), ("ask", Permissions::Ask), ("acceptEdits", Permissions::AcceptEdits)];
    judge.choice(field, &words)
}

/// `#name` or an id. Slack's names are lower-case, at most 80 characters, letters of any script.
pub(super) fn channel(judge: &mut Judge<'_>, field: &Field<'_>) -> Option<String> {
    let text = judge.words(field)?;
    let name = text.strip_prefix('#').unwrap_or(&text);
    let is_id = name == text
        && name.starts_with(['C', 'G'])
        && name.len() >= 9
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let plain = |c: char| (c.is_alphanumeric() && !c.is_uppercase()) || matches!(c, '-' | '_');
    if is_id || (!name.is_empty() && name.chars().count() <= 80 && name.chars().all(plain)) {
        return Some(text);
    }
    let better: String = name.to_lowercase().chars().map(|c| if plain(c) { c } else { '-' }).take(80).collect();
    let instead = format!("write `\"#{}\"`, or the channel's id", if better.is_empty() { "agent-x" } else { &better });
    judge.tell(&field.value.span, format!("`{text}` is not a channel"), instead);
    None
}

fn schedule(judge: &mut Judge<'_>, field: &Field<'_>, zone: &TimeZone) -> Option<Schedule> {
    let (node, text, judged) = if matches!(field.value.value, Value::Map(_)) {
        let fields = judge.fields(field.value, &SCHEDULE);
        let outer = field;
        let Some(field) = fields.get("cron") else {
            if fields.lacks("cron") {
                judge.tell(
                    &outer.key.span,
                    "this schedule names no `cron`",
                    "write `schedule: {cron: \"0 9 * * 1-5\"}`",
                );
            }
            return None;
        };
        let text = judge.words(&field)?;
        let judged = when::cron(&text, zone);
        (field.value, text, judged)
    } else {
        let text = judge.words(field)?;
        let judged = when::calendar(&text, zone);
        (field.value, text, judged)
    };
    judged
        .inspect_err(|Unclear { part, what, instead }| {
            let span = judge.within(node, &text, part);
            judge.tell(&span, what, instead);
        })
        .ok()
}
