//! What a turn did, as far as its records tell: what it is at, its to-do list, its cost, the pull requests found in it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of thing that an agent does with a tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Reads a file.
    Reading,
    /// Looks for files or for text in them.
    Searching,
    /// Writes a file.
    Editing,
    /// Runs a command.
    Running,
    /// Runs tests.
    Testing,
    /// Looks something up on the web.
    Browsing,
    /// Has a sub-agent work.
    Delegating,
    /// Something else; only the tool's name tells.
    #[default]
    Other,
}

impl Doing {
    /// What a shell command is about.
    pub fn of_command(command: &str) -> Self {
        const RUNNERS: [&str; 8] = ["pytest", "vitest", "jest", "rspec", "tox", "phpunit", "ctest", "nextest"];
        const BEHIND: [&str; 14] = [
            "cargo",
            "go",
            "make",
            "npm",
            "pnpm",
            "yarn",
            "bun",
            "mvn",
            "gradle",
            "./gradlew",
            "dotnet",
            "deno",
            "mix",
            "just",
        ];
        let tests = |part: &str| {
            let words: Vec<&str> = part.split_whitespace().skip_while(|word| word.contains('=')).take(4).collect();
            let Some((program, rest)) = words.split_first() else { return false };
            RUNNERS.contains(program)
                || BEHIND.contains(program)
                    && rest.iter().any(|word| word.starts_with("test") || RUNNERS.contains(word))
                || rest.iter().any(|word| RUNNERS.contains(word))
                    && ["npx", "uv", "poetry", "python", "python3", "bundle"].contains(program)
        };
        if command.split(['\n', ';', '|', '&']).any(tests) { Self::Testing } else { Self::Running }
    }

    /// Whether only the tool's name tells.
    pub fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

/// One thing on an agent's own to-do list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Todo {
    /// What, in one line.
    pub text: String,
    /// How far it is.
    pub state: TodoState,
}

/// How far a thing on the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TodoState {
    /// Not begun.
    Pending,
    /// The agent is at it.
    Active,
    /// Done.
    Done,
}

/// A pull request on GitHub. Only ever made from a whole and sound address, so that it can be shown as a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PullRequest {
    /// The repository's owner.
    pub owner: String,
    /// The repository.
    pub repo: String,
    /// The pull request's number there.
    pub number: u32,
}

/// How the address of everything on GitHub begins.
const GITHUB: &str = "https://github.com/";

impl PullRequest {
    /// The pull requests whose addresses stand in a text, in their order, each once.
    pub fn all_in(text: &str) -> Vec<Self> {
        let mut found = Vec::new();
        for rest in text.split(GITHUB).skip(1) {
            found.extend(Self::at_start(rest).filter(|one| !found.contains(one)));
        }
        found
    }

    /// `<owner>/<repo>/pull/<number>`, whatever follows.
    fn at_start(rest: &str) -> Option<Self> {
        let (owner, rest) = rest.split_once('/')?;
        let (repo, rest) = rest.split_once('/')?;
        let rest = rest.strip_prefix("pull/")?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..digits].parse().ok().filter(|number| *number > 0)?;
        let sound = |name: &str, also: &str| {
            (1..=100).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
        };
        (sound(owner, "-") && sound(repo, "-._")).then(|| Self {
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            number,
        })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("{GITHUB}{}/{}/pull/{}", self.owner, self.repo, self.number)
    }
}

impl fmt::Display for PullRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}#{}", self.owner, self.repo, self.number)
    }
}

/// An amount of US dollars, exact to a millionth; a number of dollars in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Dollars {
    millionths: u64,
}

impl Dollars {
    /// So many cents.
    pub fn cents(cents: u32) -> Self {
        Self { millionths: u64::from(cents) * 10_000 }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { millionths: self.millionths.saturating_add(other.millionths) }
    }
}

impl TryFrom<f64> for Dollars {
    type Error = String;

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within")]
    fn try_from(dollars: f64) -> Result<Self, String> {
        match (dollars * 1e6).round() {
            millionths if (0.0..1e15).contains(&millionths) => Ok(Self { millionths: millionths as u64 }),
            _ => Err(format!("{dollars} is no amount of dollars")),
        }
    }
}

impl From<Dollars> for f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn from(dollars: Dollars) -> Self {
        dollars.millionths as Self / 1e6
    }
}

impl fmt::Display for Dollars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.millionths {
            0 => formatter.write_str("$0"),
            1..10_000 => formatter.write_str("< $0.01"),
            _ => write!(formatter, "${:.2}", f64::from(*self)),
        }
    }
}

/// What a whole turn came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// How long it took; none where no record told its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// How many times a tool was used.
    pub tools: u32,
    /// What it cost, where the agent's own record tells; a price is never guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Dollars>,
    /// The pull requests found in it: those that the agent named, then those that its commands printed, at most
    /// [`Work::MOST_PULL_REQUESTS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull_requests: Vec<PullRequest>,
}

impl Work {
    /// The most pull requests of one turn.
    pub const MOST_PULL_REQUESTS: usize = 5;

    /// Whether nothing is known of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Together with what was done for the same job before.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.seconds = match (self.seconds, before.seconds) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        self.tools = self.tools.saturating_add(before.tools);
        self.cost = match (self.cost, before.cost) {
            (Some(one), Some(other)) => Some(one.plus(other)),
            (one, other) => one.or(other),
        };
        let mut pull_requests = before.pull_requests.clone();
        pull_requests.extend(self.pull_requests.into_iter().filter(|one| !before.pull_requests.contains(one)));
        pull_requests.truncate(Self::MOST_PULL_REQUESTS);
        self.pull_requests = pull_requests;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_address_of_a_pull_request_becomes_a_link_and_nothing_can_hide_in_it() {
        for (text, expected) in [
            ("opened https://github.com/acme/web/pull/12.", &["acme/web#12"][..]),
            (
                "https://github.com/a/b.c-d_e/pull/1/files#r9 and <https://github.com/a/b/pull/2|x> https://github.com/a/b/pull/2",
                &["a/b.c-d_e#1", "a/b#2"],
            ),
            ("http://github.com/a/b/pull/1 https://github.com.evil.org/a/b/pull/1", &[]),
            ("https://github.com/a/b/issues/1 https://github.com/a/b/pull/ https://github.com/a/b/pull/0", &[]),
            ("https://github.com/a>b/c/pull/1 https://github.com/a/b|<!channel>/pull/1", &[]),
            ("https://github.com/a/b/pull/99999999999999999999", &[]),
            ("https://github.com//b/pull/1 https://github.com/a", &[]),
            ("https://github.com/é/b/pull/1", &[]),
        ] {
            let found: Vec<String> = PullRequest::all_in(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(PullRequest::all_in("https://github.com/a/b/pull/7")[0].url(), "https://github.com/a/b/pull/7");
    }

    #[test]
    fn a_command_that_tests_is_told_from_one_that_does_not() {
        for (command, tests) in [
            ("cargo test --lib", true),
            ("cd app && RUST_LOG=debug cargo nextest run", true),
            ("make test 2>&1 | tail -3", true),
            ("npm run test:unit", true),
            ("npx vitest run", true),
            ("python -m pytest -q", true),
            ("go test ./...", true),
            ("cargo build", false),
            ("ls tests", false),
            ("git commit -m test", false),
            ("", false),
        ] {
            let expected = if tests { Doing::Testing } else { Doing::Running };
            assert_eq!(Doing::of_command(command), expected, "{command}");
        }
    }

    #[test]
    fn a_cost_is_shown_in_cents_and_stored_as_it_was_told() {
        for (json, shown) in
            [("0.42", "$0.42"), ("12.345678", "$12.35"), ("0.004", "< $0.01"), ("0", "$0"), ("0.01", "$0.01")]
        {
            let dollars: Dollars = serde_json::from_str(json).unwrap();
            assert_eq!(dollars.to_string(), shown);
            let stored = serde_json::to_string(&dollars).unwrap();
            assert_eq!(serde_json::from_str::<Dollars>(&stored).unwrap(), dollars);
        }
        for wrong in ["-1", "1e300"] {
            assert!(serde_json::from_str::<Dollars>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Dollars::cents(42).plus(Dollars::cents(1)).to_string(), "$0.43");
    }
}
