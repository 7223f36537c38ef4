//! The walk from a tree to a checked [`Fleet`]: pure, and to the end, so that every mistake is told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use super::amount;
use super::check_agent::{self, AGENT_KEYS, agent};
use super::judge::{Field, Fields, Judge, Table};
use super::mistake::Mistake;
use super::rights::{self, SlackLists};
use super::tree::{self, Node, Span, Value};
use super::when;
use super::{Agent, Fleet, IdleStop};
use crate::model::text::NEVER_MERGE;

/// What a file means depends on: where it lies, whose home `~` is, and which zone the machine is in.
pub(super) struct Context<'a> {
    /// The file, as it was named; mistakes are told by this name.
    pub(super) file: &'a Path,
    /// The directory that relative paths start at. Absolute.
    pub(super) directory: &'a Path,
    pub(super) home: &'a Path,
    /// The zone of schedules in a file that names none.
    pub(super) zone: TimeZone,
}

impl Context<'_> {
    /// A path of the file, absolute.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        match text.strip_prefix('~') {
            Some("") => self.home.to_owned(),
            Some(rest) if rest.starts_with('/') => self.home.join(rest.trim_start_matches('/')),
            _ => self.directory.join(text),
        }
    }
}

pub(super) const TOP_KEYS: &[&str] = &[
    "timezone",
    "reposDir",
    "workspacesDir",
    "stagger",
    "launchStagger",
    "retireAfter",
    "catchUp",
    "statusChannel",
    "slack",
    "idleStop",
    "tmux",
    "rule",
    "agents",
];

pub(super) const TOP: Table = Table {
    owner: "the file's top level",
    keys: TOP_KEYS,
    elsewhere: Some((AGENT_KEYS, "to an agent, beneath `agents:`")),
};

pub(super) const TMUX: Table = Table { owner: "`tmux`", keys: &["socket"], elsewhere: None };

pub(super) const IDLE_STOP: Table = Table { owner: "`idleStop`", keys: &["after", "command"], elsewhere: None };

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// The fleet that a text describes, or all its mistakes, in the order of the file.
pub(super) fn check(text: &str, context: &Context<'_>) -> Result<Fleet, Vec<Mistake>> {
    let mut judge = Judge::new(text);
    let root = match tree::parse(text) {
        Ok((root, None)) => root,
        Ok((root, Some(fault))) => {
            let key = fault.duplicate_key.unwrap_or_default();
            judge.tell(&fault.span, format!("the key `{key}` stands twice"), "keep one of them");
            root
        }
        Err(fault) => {
            judge.tell(
                &fault.span,
                format!("this is not YAML: {}", fault.what),
                "mind indentation, quotes and brackets, here or just above",
            );
            return Err(judge.verdict(context.file));
        }
    };
    let fleet = fleet(&mut judge, &root, context);
    match fleet {
        Some(fleet) if judge.is_content() => Ok(fleet),
        _ => Err(judge.verdict(context.file)),
    }
}

fn fleet(judge: &mut Judge<'_>, root: &Node, context: &Context<'_>) -> Option<Fleet> {
    let mut fleet = Fleet {
        timezone: context.zone.clone(),
        repos_dir: context.path("~/agent-repos"),
        workspaces_dir: context.path("~/agent-workspaces"),
        stagger: MINUTE * 2,
        launch_stagger: SECOND * 3,
        retire_after: DAY * 7,
        catch_up: MINUTE * 60 * 12,
        status_channel: None,
        slack: SlackLists::default(),
        idle_stop: None,
        rule: Some(NEVER_MERGE.to_owned()),
        tmux_socket: "fleet".to_owned(),
        agents: Vec::new(),
    };
    let items = match &root.value {
        Value::Null => {
            judge.tell(&root.span, "the file is empty", "write `agents:` and beneath it `- slug: my-agent`");
            return None;
        }
        Value::List(items) => {
            tell_if_empty(judge, root, items);
            items.as_slice()
        }
        Value::Map(_) => settings(judge, root, context, &mut fleet),
        other => {
            let what = format!("the file holds {}, not a fleet", other.kind());
            judge.tell(&root.span, what, "write `agents:` and beneath it `- slug: my-agent`");
            return None;
        }
    };
    let agents: Vec<Option<Agent>> = items.iter().map(|item| agent(judge, item, context, &fleet.timezone)).collect();
    tell_twins(judge, items);
    // One agent that could not be read is no fleet at all.
    fleet.agents = agents.into_iter().collect::<Option<Vec<_>>>()?;
    Some(fleet)
}

fn tell_if_empty(judge: &mut Judge<'_>, list: &Node, items: &[Node]) {
    if items.is_empty() {
        judge.tell(&list.span, "the list of agents is empty", "write at least one agent: `- slug: my-agent`");
    }
}

/// The keys above the agents, into `fleet`; and the agents.
fn settings<'n>(judge: &mut Judge<'_>, root: &'n Node, context: &Context<'_>, fleet: &mut Fleet) -> &'n [Node] {
    let fields = judge.fields(root, &TOP);
    if let Some(field) = fields.get("timezone")
        && let Some(name) = judge.words(&field)
    {
        match when::zone(&name) {
            Ok(zone) => fleet.timezone = zone,
            Err((what, instead)) => judge.tell(&field.value.span, what, instead),
        }
    }
    if let Some(path) = fields.get("reposDir").and_then(|field| directory(judge, &field, context)) {
        fleet.repos_dir = path;
    }
    if let Some(path) = fields.get("workspacesDir").and_then(|field| directory(judge, &field, context)) {
        fleet.workspaces_dir = path;
    }
    times(judge, &fields, fleet);
    fleet.status_channel = fields.get("statusChannel").and_then(|field| check_agent::channel(judge, &field));
    fleet.slack = fields.get("slack").map(|field| rights::lists(judge, &field)).unwrap_or_default();
    fleet.idle_stop = fields.get("idleStop").and_then(|field| idle_stop(judge, &field, context));
    if let Some(field) = fields.get("rule") {
        fleet.rule = match field.value.value {
            Value::Bool(true) => Some(NEVER_MERGE.to_owned()),
            Value::Bool(false) => None,
            _ => judge.words(&field),
        };
    }
    if let Some(field) = fields.get("tmux")
        && let Some(socket) = judge.fields(field.value, &TMUX).get("socket").and_then(|field| socket(judge, &field))
    {
        fleet.tmux_socket = socket;
    }
    let Some(agents) = fields.get("agents") else {
        if fields.lacks("agents") {
            judge.tell(
                &(root.span.start..root.span.start),
                "the file names no agents",
                "write `agents:` and beneath it `- slug: my-agent`",
            );
        }
        return &[];
    };
    let items = judge.list(&agents);
    if matches!(agents.value.value, Value::List(_)) {
        tell_if_empty(judge, agents.value, items);
    }
    items
}

fn directory(judge: &mut Judge<'_>, field: &Field<'_>, context: &Context<'_>) -> Option<PathBuf> {
    let text = judge.words(field)?;
    if text.starts_with('~') && text != "~" && !text.starts_with("~/") {
        judge.tell(&field.value.span, format!("`{text}` names another user's home"), "write the whole path");
        return None;
    }
    if text.contains('$') {
        judge.tell(
            &field.value.span,
            format!("`{text}` holds a `$`, and no shell reads it"),
            "write the path itself; `~` is the home",
        );
        return None;
    }
    Some(context.path(&text))
}

fn times(judge: &mut Judge<'_>, fields: &Fields<'_>, fleet: &mut Fleet) {
    let mut time =
        |name, range, bounds| fields.get(name).and_then(|field| amount::duration(judge, &field, range, bounds));
    if let Some(stagger) = time("stagger", (Duration::ZERO, MINUTE * 60), "at most an hour") {
        fleet.stagger = stagger;
    }
    if let Some(stagger) = time("launchStagger", (Duration::ZERO, MINUTE * 10), "at most ten minutes") {
        fleet.launch_stagger = stagger;
    }
    if let Some(after) = time("retireAfter", (Duration::ZERO, DAY * 366), "at most a year") {
        fleet.retire_after = after;
    }
    if let Some(most) = time("catchUp", (Duration::ZERO, DAY * 7), "at most a week") {
        fleet.catch_up = most;
    }
}

fn idle_stop(judge: &mut Judge<'_>, field: &Field<'_>, context: &Context<'_>) -> Option<IdleStop> {
    let fields = judge.fields(field.value, &IDLE_STOP);
    let after = match fields.get("after") {
        Some(after) => amount::duration(judge, &after, (MINUTE, DAY * 7), "from a minute to a week")?,
        None => MINUTE * 30,
    };
    let Some(command) = fields.get("command") else {
        if fields.lacks("command") {
            let instead = "write for example `command: [systemctl, poweroff]`";
            judge.tell(&field.key.span, "`idleStop` names no `command`", instead);
        }
        return None;
    };
    Some(IdleStop { after, command: check_agent::command(judge, &command, context) })
}

fn socket(judge: &mut Judge<'_>, field: &Field<'_>) -> Option<String> {
    let name = judge.words(field)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(allowed) && !name.starts_with(['-', '.']) && name.len() <= 60 {
        return Some(name);
    }
    let what = format!("`{name}` is not a socket's name");
    judge.tell(
        &field.value.span,
        what,
        "write a word, not a path, for example `fleet`; `default` is your own tmux server",
    );
    None
}

/// Slugs and channels that stand twice. Told for every agent, whatever else is wrong with it.
fn tell_twins(judge: &mut Judge<'_>, items: &[Node]) {
    let mut slugs: BTreeMap<&str, &Span> = BTreeMap::new();
    let mut channels: BTreeMap<&str, (&Span, bool)> = BTreeMap::new();
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for item in items {
        if let Some((slug, span)) = text_of(item, "slug") {
            match slugs.get(slug) {
                Some(first) => {
                    let line = judge.line(first);
                    judge.tell(
                        span,
                        format!("the slug `{slug}` is taken by line {line}"),
                        "give each agent its own slug",
                    );
                }
                None => drop(slugs.insert(slug, span)),
            }
        }
        let shared = matches!(value_of(item, "sharedChannel"), Some(Value::Bool(true)));
        if let Some((channel, span)) = text_of(item, "slackChannel") {
            match channels.get(channel.trim_start_matches('#')) {
                Some((first, first_shared)) if !(shared && *first_shared) && told.insert(span.start) => {
                    let line = judge.line(first);
                    let instead =
                        "give each agent its own channel, or write `sharedChannel: true` in every agent that uses it";
                    judge.tell(span, format!("the channel `{channel}` is taken by line {line}"), instead);
                }
                Some(_) => {}
                None => drop(channels.insert(channel.trim_start_matches('#'), (span, shared))),
            }
        }
    }
}

fn entry<'n>(item: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &item.value else { return None };
    entries.iter().find(|(key, _)| matches!(&key.value, Value::Text(text) if text == name)).map(|(_, value)| value)
}

fn value_of<'n>(item: &'n Node, name: &str) -> Option<&'n Value> {
    entry(item, name).map(|node| &node.value)
}

fn text_of<'n>(item: &'n Node, name: &str) -> Option<(&'n str, &'n Span)> {
    let node = entry(item, name)?;
    if let Value::Text(text) = &node.value { Some((text, &node.span)) } else { None }
}
