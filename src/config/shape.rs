//! The shape of agents.yaml as a JSON Schema, for editors and for whoever writes the file by program. Only documentation is
//! drawn from these types: what a file means is judged by the walk, which can tell every mistake at once. A test holds the
//! two together.

#![expect(dead_code, reason = "only the shape of these types is used, no value is ever made")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// The JSON Schema of agents.yaml, pretty-printed, with a newline at its end.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(AgentsYaml);
    schema.insert("title".to_owned(), "agents.yaml".into());
    format!("{:#}\n", schema.to_value())
}

/// The fleet of fleetd: a mapping with `agents:`, or a bare list of agents.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum AgentsYaml {
    Mapping(Box<File>),
    Bare(#[schemars(length(min = 1))] Vec<AgentEntry>),
}

/// The whole fleet.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    /// The IANA zone of schedules that name none, for example `Europe/Berlin`. Default: the machine's.
    timezone: Option<String>,
    /// Where the canonical clones live, `<reposDir>/<owner>/<name>`. Default: `~/agent-repos`. Relative paths start at the
    /// file's directory.
    repos_dir: Option<String>,
    /// Where the agents work, `<workspacesDir>/<slug>`. Default: `~/agent-workspaces`.
    workspaces_dir: Option<String>,
    /// How far apart agents start that are due at the same minute, in file order, at most an hour. Default: `2m`.
    #[schemars(regex(pattern = r"^[0-9]+[smh]$"))]
    stagger: Option<String>,
    /// How far apart sessions start that are launched at once, at most ten minutes; agents that share an OAuth login start
    /// 20 s after the first of them. Default: `3s`.
    #[schemars(regex(pattern = r"^[0-9]+[smh]$"))]
    launch_stagger: Option<String>,
    /// How long an agent that was taken out of this file keeps its session. Default: `7d`.
    #[schemars(regex(pattern = r"^[0-9]+[smhd]$"))]
    retire_after: Option<String>,
    /// How old words in Slack may be that were said while fleetd was away, to be passed on when it comes back, at most a week;
    /// older ones get an answer that they were not. Default: `12h`.
    #[schemars(regex(pattern = r"^[0-9]+[smhd]$"))]
    catch_up: Option<String>,
    /// The Slack channel of the box's own news, `#name` in quotes or the channel's id.
    status_channel: Option<String>,
    /// Who may do what from Slack.
    slack: Option<SlackEntry>,
    /// Stop the box once nothing is to be done.
    idle_stop: Option<IdleStopEntry>,
    /// The tmux server of the agents.
    tmux: Option<Tmux>,
    /// The rule below every prompt: `true` for the built-in never-merge rule, `false` for none, or a text of your own.
    /// Default: `true`.
    rule: Option<Rule>,
    /// The agents, at least one.
    #[schemars(length(min = 1))]
    agents: Vec<AgentEntry>,
}

/// When and how the box stops itself.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct IdleStopEntry {
    /// How long no turn may have run and nobody may have typed. Default: `30m`.
    #[schemars(regex(pattern = r"^[0-9]+[smhd]$"))]
    after: Option<String>,
    /// The program that stops the box and its arguments, for example `[systemctl, poweroff]`; never read by a shell.
    command: Command,
}

/// Who may do what from Slack: ids of people (`U…`, `W…`) and of user groups (`S…`), and `members` for every full member of
/// the workspace. Bots never may.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct SlackEntry {
    /// Who may tell an agent something. Default: `[members]`.
    steer: Option<Vec<GranteeEntry>>,
    /// Who may answer what an agent asks leave for, and judge its outcomes. Default: `[]`, nobody.
    approve: Option<Vec<GranteeEntry>>,
    /// Who may interrupt a turn. Default: `[members]`.
    stop: Option<Vec<GranteeEntry>>,
}

#[derive(JsonSchema)]
#[schemars(transparent)]
struct GranteeEntry(#[schemars(regex(pattern = r"^(members|[UWS][A-Z0-9]{8,})$"))] String);

/// The tmux server of the agents.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Tmux {
    /// The name of its socket, as in `tmux -L`. `default` is your own server. Default: `fleet`.
    socket: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Rule {
    Usual(bool),
    Own(String),
}

/// One agent: a tmux session and a Slack channel of its own.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct AgentEntry {
    /// Its name, and its tmux session's: lower-case letters, digits and inner dashes; unique.
    #[schemars(length(max = 60), regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    slug: String,
    /// Which CLI runs in its session. Default: `claude`.
    runtime: Option<Runtime>,
    /// The program, or a list of the program and its first arguments; never read by a shell. Needed for
    /// `runtime: command`; for the others it replaces the CLI's path.
    command: Option<Command>,
    /// Only for `runtime: command`: the start of the line at which the program waits for input. Without it, silence means
    /// that it waits.
    prompt: Option<String>,
    /// Further arguments, passed as they are.
    args: Option<Vec<Scalar>>,
    /// Variables added to the environment it inherits.
    env: Option<BTreeMap<String, Option<Scalar>>>,
    /// The repositories it works in, each `owner/name`.
    repos: Option<Vec<RepoName>>,
    /// The model, by the CLI's own name for it.
    model: Option<String>,
    /// What it may do without asking: everything (`bypass`), only edits (`acceptEdits`), or only what the CLI lets it
    /// (`ask`). Default: `bypass`, since nobody sits at an unattended agent.
    permissions: Option<Permission>,
    /// What is done about its model's context.
    context: Option<ContextEntry>,
    /// The most memory that all its processes may hold together, for example `4G`; over it the agent is restarted once its
    /// turn is over, as the same conversation.
    #[schemars(regex(pattern = r"^[0-9]+[MGT]$"))]
    memory: Option<String>,
    /// The most disk that its workspace may take, for example `20G`; over it people are told.
    #[schemars(regex(pattern = r"^[0-9]+[MGT]$"))]
    disk: Option<String>,
    /// Its Slack channel, `#name` in quotes or the channel's id.
    slack_channel: Option<String>,
    /// Whether other agents may use the same channel; every one of them has to say so. Default: `false`.
    shared_channel: Option<bool>,
    /// Who may do what with it from Slack; each list replaces the fleet's of that name.
    slack: Option<SlackEntry>,
    /// When its daily prompt is due: `"09:00"` (Monday to Friday), `"Mon,Wed 09:00"`,
    /// `"Mon..Fri *-*-* 09:00:00 Europe/Berlin"`, or a cron expression that comes once a day.
    schedule: Option<When>,
    /// What it is told when the schedule is due.
    daily_prompt: Option<String>,
    /// What a new conversation is told once: after the very first launch, and where another has to begin.
    init_prompt: Option<String>,
}

/// What is done about a model's context.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct ContextEntry {
    /// At which share of the context, from 0.1 to 0.95, an idle agent is told to compact it. Default: only where the CLI does
    /// so itself.
    compact_at: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum Runtime {
    /// Claude Code.
    Claude,
    /// Codex.
    Codex,
    /// Any TUI or line program.
    Command,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum Permission {
    /// Everything its user may.
    Bypass,
    /// What the CLI allows by itself.
    Ask,
    /// Edits of files; the rest is asked for.
    AcceptEdits,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Command {
    Program(String),
    WithArguments(#[schemars(length(min = 1))] Vec<Scalar>),
}

/// A text; numbers and booleans are taken as they are written.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Scalar {
    Text(String),
    Number(f64),
    Flag(bool),
}

#[derive(JsonSchema)]
#[schemars(transparent)]
struct RepoName(#[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9._][A-Za-z0-9._-]*$"))] String);

#[derive(JsonSchema)]
#[schemars(untagged)]
enum When {
    Calendar(String),
    Cron(CronEntry),
}

/// A cron expression that comes once a day.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct CronEntry {
    /// Minute, hour, day of the month, month, day of the week; minute and hour one number each.
    cron: String,
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::*;
    use crate::config::{check, check_agent, rights};

    fn in_tree(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    /// A JSON Schema's judgement, as far as ours needs it.
    fn fits(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str() {
            return fits(root, root.pointer(&name[1..]).unwrap(), value);
        }
        if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let refusals: Vec<String> = choices.iter().filter_map(|choice| fits(root, choice, value).err()).collect();
            return if refusals.len() < choices.len() { Ok(()) } else { Err(refusals.join("; ")) };
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let allowed = match &schema["type"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            _ => vec![kind],
        };
        let words = schema["enum"].as_array().cloned().or(schema.get("const").map(|word| vec![word.clone()]));
        if !allowed.contains(&kind) || words.is_some_and(|words| !words.contains(value)) {
            return Err(format!("{value} is no {allowed:?}"));
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| fits(root, &schema["items"], item)),
            Value::Object(entries) => {
                for key in schema["required"].as_array().into_iter().flatten() {
                    entries.get(key.as_str().unwrap()).ok_or(format!("lacks {key}"))?;
                }
                entries.iter().try_for_each(|(key, value)| {
                    match (schema["properties"].get(key), &schema["additionalProperties"]) {
                        (Some(schema), _) => fits(root, schema, value),
                        (None, Value::Bool(false)) => Err(format!("unknown {key}")),
                        (None, Value::Null) => Ok(()),
                        (None, schema) => fits(root, schema, value),
                    }
                })
            }
            _ => Ok(()),
        }
    }

    #[test]
    fn an_editor_with_the_schema_agrees_with_fleet_check() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let keys = |name: &str| -> Vec<String> {
            let object = &schema["$defs"][name];
            assert_eq!(object["additionalProperties"], Value::Bool(false), "{name}");
            let mut keys: Vec<String> = object["properties"].as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        for (name, table) in [
            ("File", check::TOP_KEYS),
            ("Tmux", check::TMUX.keys),
            ("SlackEntry", rights::SLACK.keys),
            ("IdleStopEntry", check::IDLE_STOP.keys),
            ("ContextEntry", check_agent::CONTEXT.keys),
            ("AgentEntry", check_agent::AGENT_KEYS),
            ("CronEntry", check_agent::SCHEDULE.keys),
        ] {
            let mut table: Vec<&str> = table.to_vec();
            table.sort_unstable();
            assert_eq!(keys(name), table, "{name}");
        }
        for file in [
            "agents.yaml.example",
            "tests/fixtures/config/mapping.yaml",
            "tests/fixtures/config/bare-list.yaml",
            "tests/fixtures/config/terraform.yaml",
            "tests/fixtures/config/terraform-list.yaml",
        ] {
            let text = std::fs::read_to_string(in_tree(file)).unwrap();
            let value: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(fits(&schema, &schema, &value), Ok(()), "{file}");
        }
        for bad in [
            r#"{"agnets": []}"#,
            r#"[{"slug": 7}]"#,
            r#"[{"slug": "a", "runtime": "claud"}]"#,
            r#"[{"slug": "a", "repos": "b"}]"#,
            r#"[{"slug": "a", "slackChanel": "b"}]"#,
            "{}",
            "[{}]",
        ] {
            assert!(fits(&schema, &schema, &serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_shipped_schema_is_the_current_one() {
        let path = in_tree("tests/fixtures/agents.schema.json");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::write(&path, schema()).unwrap();
        }
        let shipped = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(shipped == schema(), "{} is old: run this test with UPDATE_FIXTURES=1", path.display());
    }
}
