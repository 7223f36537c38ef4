//! The room as its users meet it: text in, a fleet or every mistake out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::ExposeSecret;

use super::check::{Context, check};
use super::*;
use crate::model::text::NEVER_MERGE;

fn judged(text: &str) -> Result<Fleet, Vec<Mistake>> {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let context = Context {
        file: Path::new("agents.yaml"),
        directory: Path::new("/etc/fleet"),
        home: Path::new("/home/ann"),
        zone,
    };
    check(text, &context)
}

/// Every mistake as it is shown.
fn told(text: &str) -> String {
    let mistakes = judged(text).expect_err(text);
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn at_home() -> Environment {
    Environment::from_pairs([("HOME", "/home/ann")])
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_its_mend() {
    let text = r##"timezone: Europe/Berln
stager: 2m
agents:
  - slug: pr
    slackChanel: "#pr"
    schedule: "Mon..Fir 09:00"
    dailyPrompt: Go.
  - slug: pr
    runtime: claud
    repos: langwatch/langwatch
  - slug: Bad_Slug
    schedule: 9:00
    permissions: everything
"##;
    insta::assert_snapshot!(told(text), @r##"
    agents.yaml:1:11: unknown time zone `Europe/Berln`
    1 | timezone: Europe/Berln
      |           ^^^^^^^^^^^^
      help: did you mean `Europe/Berlin`?

    agents.yaml:2:1: unknown key `stager`
    2 | stager: 2m
      | ^^^^^^
      help: did you mean `stagger`?

    agents.yaml:5:5: unknown key `slackChanel`
    5 |     slackChanel: "#pr"
      |     ^^^^^^^^^^^
      help: did you mean `slackChannel`?

    agents.yaml:6:21: `Fir` is not a weekday
    6 |     schedule: "Mon..Fir 09:00"
      |                     ^^^
      help: did you mean `Fri`?

    agents.yaml:8:11: the slug `pr` is taken by line 4
    8 |   - slug: pr
      |           ^^
      help: give each agent its own slug

    agents.yaml:9:14: unknown runtime `claud`
    9 |     runtime: claud
      |              ^^^^^
      help: did you mean `claude`?

    agents.yaml:10:12: `repos` must be a list, not text
    10 |     repos: langwatch/langwatch
       |            ^^^^^^^^^^^^^^^^^^^
       help: write `repos: [langwatch/langwatch]`

    agents.yaml:11:11: `Bad_Slug` is not a slug: only lower-case letters, digits and inner dashes are
    11 |   - slug: Bad_Slug
       |           ^^^^^^^^
       help: write `slug: bad-slug`

    agents.yaml:12:5: a schedule without a `dailyPrompt` has nothing to say
    12 |     schedule: 9:00
       |     ^^^^^^^^
       help: write `dailyPrompt:` with what the agent is to do then, or take the schedule out

    agents.yaml:12:15: `9:00` is not a time of day
    12 |     schedule: 9:00
       |               ^^^^
       help: write "09:00"

    agents.yaml:13:18: unknown permissions `everything`
    13 |     permissions: everything
       |                  ^^^^^^^^^^
       help: write one of `bypass`, `ask`, `acceptEdits`
    "##);
}

#[test]
fn one_agent_s_mistakes_don_t_hide_another_s() {
    let text = r##"agents:
  - runtime: command
    args: {a: b}
    slackChannel: #agent-x
  - slug: two
    model: 4
    sharedChannel: yes
    slackChannel: "#shared"
    repos: [https://github.com/langwatch/langwatch.git, "a b"]
  - slug: three
    slackChannel: "#shared"
    schedule: {cron: "0 9 1 * 1"}
    timezone: UTC
"##;
    insta::assert_snapshot!(told(text), @r##"
    agents.yaml:2:5: this agent has no `slug`
    2 |   - runtime: command
      |     ^^^^^^^
      help: write `slug: my-agent`: lower-case letters, digits and inner dashes

    agents.yaml:2:14: `runtime: command` needs a `command`
    2 |   - runtime: command
      |              ^^^^^^^
      help: write `command: [program, first-argument]`

    agents.yaml:3:11: `args` must be a list, not a mapping
    3 |     args: {a: b}
      |           ^
      help: write each item of `args` on its own line, after a dash

    agents.yaml:4:5: `slackChannel` has no value
    4 |     slackChannel: #agent-x
      |     ^^^^^^^^^^^^
      help: an unquoted # begins a comment: write `slackChannel: "#agent-x"`

    agents.yaml:6:12: `model` must be text, not a number
    6 |     model: 4
      |            ^
      help: write `model: "4"`

    agents.yaml:7:20: `sharedChannel` must be true or false, not text
    7 |     sharedChannel: yes
      |                    ^^^
      help: write `sharedChannel: true` or `sharedChannel: false`

    agents.yaml:9:13: `https://github.com/langwatch/langwatch.git` is not a repository
    9 |     repos: [https://github.com/langwatch/langwatch.git, "a b"]
      |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      help: write `langwatch/langwatch`

    agents.yaml:9:57: `a b` is not a repository
    9 |     repos: [https://github.com/langwatch/langwatch.git, "a b"]
      |                                                         ^^^^^
      help: write `owner/name`, for example `langwatch/langwatch`

    agents.yaml:11:19: the channel `#shared` is taken by line 8
    11 |     slackChannel: "#shared"
       |                   ^^^^^^^^^
       help: give each agent its own channel, or write `sharedChannel: true` in every agent that uses it

    agents.yaml:12:5: a schedule without a `dailyPrompt` has nothing to say
    12 |     schedule: {cron: "0 9 1 * 1"}
       |     ^^^^^^^^
       help: write `dailyPrompt:` with what the agent is to do then, or take the schedule out

    agents.yaml:12:27: day of the month and day of the week are both restricted: cron would take either, people mean both
    12 |     schedule: {cron: "0 9 1 * 1"}
       |                           ^
       help: leave one of them `*`: "0 9 * * 1"

    agents.yaml:13:5: unknown key `timezone`
    13 |     timezone: UTC
       |     ^^^^^^^^
       help: `timezone` belongs at the top of the file, beside `agents:`
    "##);
}

#[test]
fn a_file_that_is_no_yaml_is_one_mistake_at_its_place() {
    insta::assert_snapshot!(told("agents:\n  - slug: a\n    model: b: c\n"), @r##"
    agents.yaml:3:13: this is not YAML: mapping values are not allowed in this context
    3 |     model: b: c
      |             ^
      help: mind indentation, quotes and brackets, here or just above
    "##);
}

/// File, then for each mistake `line:column what`.
const BAD: &[(&str, &[&str])] = &[
    ("", &["1:1 the file is empty"]),
    ("# nothing\n", &["1:1 the file is empty"]),
    ("agents\n", &["1:1 the file holds text, not a fleet"]),
    ("agents:\n", &["1:1 `agents` has no value"]),
    ("agents: null\n", &["1:1 the file names no agents"]),
    ("agents: []\n", &["1:9 the list of agents is empty"]),
    ("[]\n", &["1:1 the list of agents is empty"]),
    ("agnets:\n- slug: a\n", &["1:1 unknown key `agnets`"]),
    ("agents: {slug: a}\n", &["1:9 `agents` must be a list, not a mapping"]),
    ("agents: a\n", &["1:9 `agents` must be a list, not text"]),
    ("slug: a\n", &["1:1 unknown key `slug`", "1:1 the file names no agents"]),
    ("agents: [a]\n", &["1:10 an agent must be a mapping, not text"]),
    ("agents:\n-\n- slug: a\n", &["2:2 an agent must be a mapping, not nothing"]),
    ("- slug: a\n- runtime: codex\n", &["2:3 this agent has no `slug`"]),
    ("- slgu: a\n", &["1:3 unknown key `slgu`"]),
    ("- slug:\n", &["1:3 `slug` has no value"]),
    ("- slug: ''\n", &["1:9 `slug` is empty"]),
    ("- slug: 7\n", &["1:9 `slug` must be text, not a number"]),
    ("- slug: a.b\n", &["1:9 `a.b` is not a slug: only lower-case letters, digits and inner dashes are"]),
    ("- slug: a\n- slug: b\n- slug: a\n", &["3:9 the slug `a` is taken by line 1"]),
    ("- {slug: a, slug: b}\n", &["1:13 the key `slug` stands twice"]),
    ("- {slug: a, runtime: gemini}\n", &["1:22 unknown runtime `gemini`"]),
    ("- {slug: a, runtime: command}\n", &["1:22 `runtime: command` needs a `command`"]),
    ("- {slug: a, runtime: command, command: []}\n", &["1:40 `command` is an empty list"]),
    (
        "- {slug: a, command: npx claude}\n",
        &["1:22 `command` is one program's path, and this one has a space: no shell splits it"],
    ),
    ("- {slug: a, prompt: '> '}\n", &["1:13 `prompt` means something only to `runtime: command`"]),
    ("- {slug: a, args: -v}\n", &["1:19 `args` must be a list, not text"]),
    ("- {slug: a, args: [[b]]}\n", &["1:20 an item of `args` must be text, not a list"]),
    ("- {slug: a, env: [A]}\n", &["1:18 `env` must be a mapping, not a list"]),
    ("- {slug: a, env: {A-B: c}}\n", &["1:19 this is not a variable's name"]),
    ("- {slug: a, env: {A: {}}}\n", &["1:22 the variable `A` must be text, not a mapping"]),
    ("- slug: a\n  env:\n    A:\n", &["3:5 the variable `A` has no value"]),
    ("- {slug: a, repos: foo}\n", &["1:20 `repos` must be a list, not text"]),
    ("- {slug: a, repos: [foo]}\n", &["1:21 `foo` is not a repository"]),
    (
        "- {slug: a, repos: [a/../b, ../a, a/.., -a/b, a/b/c]}\n",
        &[
            "1:21 `a/../b` is not a repository",
            "1:29 `../a` is not a repository",
            "1:35 `a/..` is not a repository",
            "1:41 `-a/b` is not a repository",
            "1:47 `a/b/c` is not a repository",
        ],
    ),
    ("- {slug: a, repos: [b/c, B/C]}\n", &["1:26 `B/C` stands twice"]),
    ("- {slug: a, permissions: bypas}\n", &["1:26 unknown permissions `bypas`"]),
    ("- {slug: a, slackChannel: '#Agent X'}\n", &["1:27 `#Agent X` is not a channel"]),
    ("- slug: a\n  slackChannel: #a\n", &["2:3 `slackChannel` has no value"]),
    (
        "- {slug: a, slackChannel: '#c'}\n- {slug: b, slackChannel: c, sharedChannel: true}\n",
        &["2:27 the channel `c` is taken by line 1"],
    ),
    ("- {slug: a, sharedChannel: 'true'}\n", &["1:28 `sharedChannel` must be true or false, not text"]),
    ("- {slug: a, schedule: '09:00'}\n", &["1:13 a schedule without a `dailyPrompt` has nothing to say"]),
    ("- {slug: a, dailyPrompt: x, schedule: '25:00'}\n", &["1:40 `25:00` is not a time of day"]),
    ("- {slug: a, dailyPrompt: x, schedule: Mon 09:00 Mars/X}\n", &["1:49 unknown time zone `Mars/X`"]),
    ("- {slug: a, dailyPrompt: x, schedule: [9]}\n", &["1:39 `schedule` must be text, not a list"]),
    ("- {slug: a, dailyPrompt: x, schedule: {corn: x}}\n", &["1:40 unknown key `corn`"]),
    ("- {slug: a, dailyPrompt: x, schedule: {cron: '0 9 * * *', zone: UTC}}\n", &["1:59 unknown key `zone`"]),
    ("- {slug: a, dailyPrompt: x, schedule: {cron: '0 9 * * Mno'}}\n", &["1:55 `Mno` is not a day of the week"]),
    ("- {slug: a, dailyPrompt: ' '}\n", &["1:26 `dailyPrompt` is empty"]),
    ("timezone: CEST+1\nagents: [{slug: a}]\n", &["1:11 unknown time zone `CEST+1`"]),
    ("reposDir: ~bob/x\nagents: [{slug: a}]\n", &["1:11 `~bob/x` names another user's home"]),
    ("workspacesDir: $HOME/x\nagents: [{slug: a}]\n", &["1:16 `$HOME/x` holds a `$`, and no shell reads it"]),
    ("stagger: 2\nagents: [{slug: a}]\n", &["1:10 `stagger` has no unit"]),
    ("stagger: 2d\nagents: [{slug: a}]\n", &["1:10 `2d` is no time for `stagger`"]),
    ("launchStagger: 11m\nagents: [{slug: a}]\n", &["1:16 `11m` is no time for `launchStagger`"]),
    ("idleStop: {after: 30m}\nagents: [{slug: a}]\n", &["1:1 `idleStop` names no `command`"]),
    ("agents: [{slug: a, memory: 4}]\n", &["1:28 `memory` has no unit"]),
    ("agents: [{slug: a, disk: 4GB}]\n", &["1:26 `4GB` is not a size"]),
    ("agents: [{slug: a, context: {compactAt: 80}}]\n", &["1:41 `80` is no share for `compactAt`"]),
    ("stagger: 2h\nagents: [{slug: a}]\n", &["1:10 `2h` is no time for `stagger`"]),
    ("tmux: fleet\nagents: [{slug: a}]\n", &["1:7 `tmux` must be a mapping, not text"]),
    ("tmux: {socket: ../x}\nagents: [{slug: a}]\n", &["1:16 `../x` is not a socket's name"]),
    ("rule: [a]\nagents: [{slug: a}]\n", &["1:7 `rule` must be text, not a list"]),
    ("1: x\nagents: [{slug: a}]\n", &["1:1 a key of the file's top level must be text, not a number"]),
    (
        "agents: [{slug: a}]\n---\nagents: [{slug: b}]\n",
        &["3:1 this is not YAML: a second document begins: one file is one fleet"],
    ),
    ("a: &a [*a]\n", &["1:8 this is not YAML: recursive references require weak recursion types"]),
    (
        "x: &x {slug: A}\nagents: [*x, *x]\n",
        &[
            "1:1 unknown key `x`",
            "1:14 `A` is not a slug: only lower-case letters, digits and inner dashes are",
            "1:14 the slug `A` is taken by line 1",
        ],
    ),
];

#[test]
fn a_typo_never_yields_an_empty_fleet() {
    assert!(BAD.len() >= 25);
    let wrong: Vec<String> = BAD
        .iter()
        .filter_map(|(text, mistakes)| {
            let found: Vec<String> = match judged(text) {
                Ok(fleet) => vec![format!("a fleet of {}", fleet.agents.len())],
                Err(mistakes) => mistakes.iter().map(|m| format!("{}:{} {}", m.line, m.column, m.what)).collect(),
            };
            (found != *mistakes).then(|| format!("{text:?}\n  want {mistakes:?}\n  have {found:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_message_says_what_to_write_instead() {
    for (text, _) in BAD {
        for mistake in judged(text).unwrap_err() {
            assert!(!mistake.instead.is_empty() && !mistake.what.contains('\n'), "{mistake}");
        }
    }
}

#[test]
fn a_secret_beneath_env_never_reaches_a_message() {
    for text in [
        "- slug: a\n  env:\n    1KEY: s3cret\n    OK: [s3cret]\n",
        "- slug: a\n  evn: {KEY: s3cret}\n",
        "- slug: a\n  env: [s3cret]\n",
        "- slug: a\n  env: s3cret\n",
        "- slug: a\n  env: {A: s3cret, B: [s3cret], C-D: s3cret}\n",
        "- slug: a\n  env: {A: s3cret, A: s3cret}\n",
        "- slug: a\n  env:\n    KEY: \"s3cret\n",
        "- slug: a\n  env:\n    KEY: s3cret: x\n",
        "- slug: a\n  env:\n    KEY: *s3cret\n",
        "- slug: a\n  env:\n    KEY: !!int s3cret\n",
    ] {
        let told = told(text);
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[test]
fn old_files_load_for_ever() {
    let mapping = load(&in_tree("tests/fixtures/config/mapping.yaml"), &at_home()).unwrap();
    assert_eq!(mapping.timezone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(mapping.repos_dir, Path::new("/home/ann/agent-repos"));
    assert_eq!(mapping.workspaces_dir, in_tree("tests/fixtures/config/workspaces"));
    assert_eq!((mapping.stagger, mapping.tmux_socket.as_str()), (Duration::from_secs(90), "default"));
    assert_eq!(mapping.rule.as_deref(), Some("Never merge."));
    let [first, second, third] = &mapping.agents[..] else { panic!("three agents") };
    assert_eq!(first.slug.as_str(), "clickhouse-optimizer");
    assert_eq!(first.runtime, RuntimeConfig::Claude { command: vec!["claude".into()] });
    assert_eq!(first.repos.iter().map(ToString::to_string).collect::<Vec<_>>(), ["langwatch/langwatch"]);
    assert_eq!(first.model.as_deref(), Some("opus"));
    assert_eq!(first.slack_channel.as_deref(), Some("#agent-clickhouse-optimizer"));
    assert_eq!(first.daily_prompt.as_deref(), Some("Good morning.\nBe brief.\n"));
    assert_eq!(first.init_prompt.as_deref(), Some("Hello."));
    assert_eq!(first.permissions, Permissions::Bypass);
    assert_eq!(first.schedule, second.schedule, "09:00 and 0 9 * * 1-5 mean the same");
    assert_eq!(second.runtime, RuntimeConfig::Codex { command: vec!["codex".into()] });
    assert_eq!(
        (second.args.as_slice(), second.permissions),
        (["-v".to_owned(), "1".to_owned()].as_slice(), Permissions::Ask)
    );
    let env: Vec<_> = second.env.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    assert_eq!(env, [("DEBUG", "true"), ("PORT", "8080")]);
    let program = in_tree("tests/fixtures/config/./bin/agent").display().to_string();
    assert_eq!(third.runtime, RuntimeConfig::Command { command: vec![program], prompt: Some("> ".into()) });

    let bare = load(&in_tree("tests/fixtures/config/bare-list.yaml"), &at_home()).unwrap();
    assert_eq!(bare.agents.iter().map(|agent| agent.slug.as_str()).collect::<Vec<_>>(), ["pr", "pr-reviewer"]);
    assert_eq!(
        (bare.stagger, bare.tmux_socket.as_str(), bare.rule.as_deref()),
        (Duration::from_secs(120), "fleet", Some(NEVER_MERGE))
    );
    assert_eq!(bare.workspaces_dir, Path::new("/home/ann/agent-workspaces"));

    let terraform = load(&in_tree("tests/fixtures/config/terraform.yaml"), &at_home()).unwrap();
    assert_eq!(terraform.repos_dir, Path::new("/srv/repos"));
    let [x, y] = &terraform.agents[..] else { panic!("two agents") };
    assert_eq!(x.daily_prompt.as_deref(), Some("Good morning.\nBe brief.\n"));
    assert_eq!(x.schedule.as_ref().and_then(|schedule| schedule.zone.iana_name()), Some("America/New_York"));
    assert_eq!(x.env.keys().collect::<Vec<_>>(), ["DEBUG", "PORT"]);
    assert_eq!((y.runtime.word(), y.repos.len(), y.args.len()), ("codex", 0, 0));

    let list = load(&in_tree("tests/fixtures/config/terraform-list.yaml"), &at_home()).unwrap();
    assert_eq!(list.agents[1].daily_prompt.as_deref(), Some("One line."));
}

#[test]
fn the_example_is_valid_and_shows_every_key() {
    let path = in_tree("agents.yaml.example");
    let fleet = load(&path, &at_home()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(fleet.agents.len(), 4);
    let text = std::fs::read_to_string(path).unwrap();
    let tables = [
        check::TOP_KEYS,
        check::TMUX.keys,
        check::IDLE_STOP.keys,
        check_agent::AGENT_KEYS,
        check_agent::CONTEXT.keys,
        check_agent::SCHEDULE.keys,
    ];
    for key in tables.concat() {
        assert!(text.contains(&format!("{key}:")), "the example lacks `{key}`");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_slip_of_the_hand_crashes_the_check_or_passes_in_silence(
        slips in proptest::collection::vec((0.0..1.0_f64, 0..6_usize, "[ -~é🦀\t\n\u{1b}\u{0}]{0,3}"), 1..5),
    ) {
        let mut text = std::fs::read_to_string(in_tree("agents.yaml.example")).unwrap();
        for (place, length, put) in slips {
            let chars: Vec<(usize, char)> = text.char_indices().collect();
            let start = (place * chars.len() as f64) as usize;
            let at = |n: usize| chars.get(n).map_or(text.len(), |(at, _)| *at);
            let (from, to) = (at(start), at(start + length));
            text.replace_range(from..to, &put);
        }
        match judged(&text) {
            Ok(fleet) => assert!(!fleet.agents.is_empty()),
            Err(mistakes) => {
                assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    assert!(mistake.to_string().lines().all(|line| !line.contains(|c: char| c.is_control())), "{mistake:?}");
                }
            }
        }
    }
}
