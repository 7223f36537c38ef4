//! What each agent CLI needs and shows: how it is started so that it comes back as itself, what its screen means, what its
//! own records say.
//!
//! Pure: a screen or a record in, a state out; a configuration in, a launch out. No file is opened and no process started
//! here. What each runtime must do is stated by the conformance suite in `tests/it/runtime_conformance.rs`.

mod account;
mod claude;
mod codex;
mod command;
mod dialog;
#[cfg(test)]
mod fixture;
mod record;
mod seed;
mod setup;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Agent, RuntimeConfig};
use crate::model::{Dialog, DialogKind};
use crate::tmux::{Key, Screen};

pub use account::{Account, FileText, Login, Trust, account, account_files, login_file, shared_login};
pub use claude::Claude;
pub use codex::Codex;
pub use command::{Command, SILENCE};
pub use record::{Record, TodoChange};
pub use seed::{Seed, merged};
pub use setup::AgentSetup;

/// The knowledge of one CLI.
pub trait Runtime: Send + Sync {
    /// How to start the agent, as the conversation that `context` names.
    fn launch(&self, context: &LaunchContext<'_>) -> Launch;

    /// Where the agent's own records of `conversation` are looked for.
    fn records(&self, context: &LaunchContext<'_>) -> Vec<RecordSource>;

    /// What one whole line (without its newline) of such a record says. An unknown or broken line says nothing; it never
    /// panics and never hides the lines after it.
    fn read_record(&self, kind: RecordKind, line: &str) -> Vec<Record>;

    /// When the line of a record was written, where it tells. Hooks and transcript are merged by it.
    fn record_time(&self, line: &str) -> Option<Timestamp> {
        /// `timestamp` is both CLIs' word for it, `fleet_at` our hook's, `at` our own transcript's.
        #[derive(serde::Deserialize)]
        struct Dated {
            timestamp: Option<Timestamp>,
            fleet_at: Option<Timestamp>,
            at: Option<Timestamp>,
        }
        let dated: Dated = serde_json::from_str(line).ok()?;
        dated.fleet_at.or(dated.timestamp).or(dated.at)
    }

    /// What the screen shows.
    fn read_screen(&self, screen: &Screen) -> ScreenReading;

    /// The dialog that the screen shows and that a person may answer by a key; none where none is open, or where it leaves a
    /// doubt which key takes what.
    fn read_dialog(&self, screen: &Screen) -> Option<OpenDialog> {
        let _ = screen;
        None
    }

    /// Whether its record tells that it asks: then the screen alone is not believed at once.
    fn records_questions(&self) -> bool {
        false
    }

    /// The state file that a live agent process keeps, where the CLI has one.
    fn state_file(&self, context: &LaunchContext<'_>, pid: u32) -> Option<PathBuf> {
        let _ = (context, pid);
        None
    }

    /// What that file's content says; none where it says nothing understood.
    fn read_state_file(&self, content: &str) -> Option<Activity> {
        let _ = content;
        None
    }

    /// What tells which process goes on with the conversation of `context`.
    fn holding(&self, context: &LaunchContext<'_>) -> Holding {
        let _ = context;
        Holding::Untold
    }

    /// The conversation that a [`Holding::StateFiles`] file's content names.
    fn held_conversation(&self, content: &str) -> Option<String> {
        let _ = content;
        None
    }

    /// What is to be typed so that `text` arrives, and is submitted by Enter.
    fn typed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(text)
    }

    /// Whether a text that is typed while a turn runs reaches that turn, or the agent's own queue, and its record tells so.
    fn takes_text_while_busy(&self) -> bool {
        false
    }

    /// The command that has the CLI compact its conversation, typed as it stands; none where there is none.
    fn compact_command(&self) -> Option<&'static str> {
        None
    }

    /// How what stands in the input box is taken out of it and put back; none where that is not known.
    fn draft_keys(&self) -> Option<DraftKeys> {
        None
    }

    /// How long to wait before Enter, counted from when the input box shows the paste. Counted from the paste itself it is
    /// worth nothing while the CLI is slow: measured with four Claudes starting on two cores, 200 ms after the paste lost
    /// Enter for 10 of 12 first prompts, 200 ms after the box showed the paste for none of 44.
    fn settle(&self) -> Duration;

    /// Whether the agent itself keeps a record that a prompt can be looked up in. Without one, the screen is the evidence.
    fn keeps_record(&self) -> RecordKeeping;

    /// How the id of a conversation comes about.
    fn identity(&self) -> Identity;
}

/// The keys that empty an input box and bring back what stood in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DraftKeys {
    /// Cuts a part of the text; pressed again and again it empties the box.
    pub cut: Key,
    /// Puts all of it back exactly, however much that was; none where only what was cut last comes back.
    pub restore: Option<Key>,
}

/// The knowledge of an agent's CLI.
pub fn for_agent(agent: &Agent) -> Arc<dyn Runtime> {
    match &agent.runtime {
        RuntimeConfig::Claude { .. } => Arc::new(Claude::new()),
        RuntimeConfig::Codex { .. } => Arc::new(Codex::new()),
        RuntimeConfig::Command { prompt, .. } => Arc::new(Command::new(prompt.clone())),
    }
}

/// Whether an agent's own record can prove that a prompt arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKeeping {
    /// It can: a prompt that the record doesn't show was not taken.
    Always,
    /// It can once a file of [`Runtime::records`] exists; until then only the screen can.
    IfFileExists,
}

/// How a CLI's conversation gets its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// We choose it at launch.
    Preset,
    /// The CLI chooses it and holds a lock file of that name open; `file_name` of the open file gives the id.
    LockFile {
        /// The directory's name that such a lock lies in.
        directory: &'static str,
    },
    /// There is none: the agent keeps its conversation by its own means.
    None,
}

/// The CLI's own evidence of the process that goes on with a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holding {
    /// There is none.
    Untold,
    /// `<pid>.json` files in this directory name the conversation; one that was killed leaves its own behind.
    StateFiles {
        /// Where they lie.
        directory: PathBuf,
    },
    /// The process holds this file open.
    OpenFile {
        /// Which.
        path: PathBuf,
    },
}

/// What a launch may depend on.
#[derive(Debug, Clone, Copy)]
pub struct LaunchContext<'a> {
    /// The agent.
    pub agent: &'a Agent,
    /// Its working directory, by its real path.
    pub cwd: &'a Path,
    /// The agent's own directory in the state directory.
    pub state: &'a Path,
    /// Our own executable, for hooks.
    pub fleetd: &'a Path,
    /// The environment the agent will see, `env:` merged in.
    pub environment: &'a BTreeMap<OsString, OsString>,
    /// Which conversation.
    pub conversation: &'a Conversation,
    /// Whether the agent will run as root: Claude refuses to skip its questions there unless told that it's in a sandbox.
    pub root: bool,
}

impl LaunchContext<'_> {
    /// A variable of the agent's environment, as text.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(std::ffi::OsStr::new(name))?.to_str().filter(|value| !value.is_empty())
    }

    /// A directory of the agent's own surroundings: `variable` where it is set, else `below_home` in its home; none for an
    /// agent without a home.
    fn directory(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let named = self.variable(variable).map(PathBuf::from);
        named.or_else(|| Some(Path::new(self.variable("HOME")?).join(below_home)))
    }
}

/// The conversation that a launch is to start or to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conversation {
    /// A new one; `id` is used where the CLI lets us choose.
    New {
        /// A fresh UUID.
        id: String,
    },
    /// One that has a record already.
    Resume {
        /// Its id.
        id: String,
    },
}

impl Conversation {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::New { id } | Self::Resume { id } => id,
        }
    }
}

/// How a process is started, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments. Never holds a secret or a caller's text.
    pub argv: Vec<OsString>,
    /// Variables set on top of the agent's environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Files to have in place before the start, in this order.
    pub seeds: Vec<Seed>,
}

/// A place where an agent's record grows, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordSource {
    /// A file at a known path.
    File {
        /// Where.
        path: PathBuf,
        /// In which format.
        kind: RecordKind,
    },
    /// A file somewhere below `root`, at most `depth` directories down, whose name ends in `suffix`.
    Below {
        /// The directory to search.
        root: PathBuf,
        /// How many directories down the file may be.
        depth: usize,
        /// How its name ends.
        suffix: String,
        /// In which format.
        kind: RecordKind,
    },
}

/// The format of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Lines that our own hook command appended.
    Hooks,
    /// The CLI's own transcript or rollout.
    Transcript,
}

/// What an agent does right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// It waits for a prompt.
    Idle,
    /// A turn runs.
    Busy,
    /// A dialog is open: a typed text would answer it.
    Dialog {
        /// What kind.
        kind: DialogKind,
        /// Which, for people.
        what: String,
    },
}

/// A dialog that is open on a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDialog {
    /// The dialog.
    pub dialog: Dialog,
    /// The place of the option that is marked.
    pub marked: Option<usize>,
}

/// What a screen shows, apart from the agent's other records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenReading {
    /// The activity that the screen alone suggests; none where it doesn't tell.
    pub activity: Option<Activity>,
    /// The input box.
    pub input: InputBox,
}

/// The place where a prompt is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputBox {
    /// There is none on the screen: the program isn't ready, or shows something else.
    Absent,
    /// It is empty, or holds only a dim suggestion.
    Empty,
    /// Something stands in it.
    Holds(String),
}
