//! What can be done through the door: each verb is one round trip.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::command::{Command, Sequence, unformatted};
use super::key::{Key, press_command};
use super::pane::{self, Pane, PaneId};
use super::server::{Repeat, Server};
use super::{Result, Screen, TmuxError};

/// How the files begin that hold the text of a paste on its way.
pub(super) const PASTE_PREFIX: &str = "paste-";

/// A text up to this many bytes goes to the kernel's cache in less time than a helper thread takes to wake.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// A session to be made.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its name: ASCII letters, digits, `-` and `_` (tmux rewrites or splits at others).
    pub name: String,
    /// Where its program starts. It must exist: tmux would take the home directory instead, in silence.
    pub cwd: PathBuf,
    /// The program and its arguments; never a shell's line.
    pub argv: Vec<OsString>,
    /// The tags by which its pane is known as ours, by option name (`@fleet_…`).
    pub tags: BTreeMap<String, String>,
    /// Columns. The size stays, whoever attaches.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Server {
    /// All panes of all sessions but the keeper's.
    pub async fn panes(&self) -> Result<Vec<Pane>> {
        let panes = self.list().await?;
        self.reaped(panes).await
    }

    /// As [`Server::panes`], as tmux tells it at once: how a dead pane's process ended may not be known yet.
    pub async fn panes_now(&self) -> Result<Vec<Pane>> {
        self.list().await
    }

    pub(super) async fn list(&self) -> Result<Vec<Pane>> {
        let tags = &self.inner.options.tags;
        let command = Command::new("list-panes").args(["-a", "-F"]).arg(pane::listing(tags));
        let lines = self.call("list-panes", Repeat::Safe, vec![command]).await?;
        let panes = lines.iter().filter_map(|line| pane::parse(line, tags));
        Ok(panes.filter(|pane| pane.session != super::control::KEEPER).collect())
    }

    /// One pane; none where it is gone.
    pub async fn pane(&self, id: &PaneId) -> Result<Option<Pane>> {
        let lines = self.call("display-message", Repeat::Safe, vec![self.describe(id.as_str())]).await?;
        Ok(lines.first().and_then(|line| pane::parse(line, &self.inner.options.tags)))
    }

    /// A pane and its screen at the same moment: what a guard needs right before a keystroke. None where it is gone.
    pub async fn look(&self, id: &PaneId) -> Result<Option<(Pane, Screen)>> {
        let capture = Command::new("capture-pane").args(["-p", "-e", "-t", id.as_str()]);
        let sequence = vec![self.describe(id.as_str()), capture];
        let lines = match self.call("capture-pane", Repeat::Safe, sequence).await {
            Err(TmuxError::NoSuchPane(_)) => return Ok(None),
            other => other?,
        };
        let Some((first, rows)) = lines.split_first() else { return Ok(None) };
        let Some(pane) = pane::parse(first, &self.inner.options.tags) else { return Ok(None) };
        let screen = Screen::parse(rows.iter().map(String::as_str), pane.cursor_column, pane.cursor_row);
        Ok(Some((pane, screen)))
    }

    /// A pane's screen.
    pub async fn capture(&self, id: &PaneId) -> Result<Screen> {
        let seen = self.look(id).await?;
        seen.map(|(_, screen)| screen).ok_or_else(|| TmuxError::NoSuchPane(id.to_string()))
    }

    /// The text of a pane with at most `most` lines that scrolled away, oldest first; lines that were wrapped are whole again.
    pub async fn history(&self, id: &PaneId, most: u32) -> Result<Vec<String>> {
        let start = format!("-{most}");
        let command = Command::new("capture-pane").args(["-p", "-J", "-S", &start, "-t", id.as_str()]);
        let lines = self.call("capture-pane", Repeat::Safe, vec![command]).await?;
        Ok(lines.into_iter().map(|line| line.trim_end().to_owned()).collect())
    }

    /// Makes a session whose pane carries our tags, keeps its screen when its process ends, and keeps its size. At no moment
    /// does it exist without its tags. When the program ends, tmux scrolls its screen up a line to say so. Fails with [`TmuxError::SessionExists`] where the name is taken.
    pub async fn create(&self, new: &NewSession) -> Result<Pane> {
        let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if new.name.is_empty() || new.name.starts_with('-') || !new.name.chars().all(named) {
            return Err(refused("new-session", format!("{:?} can't be a session's name", new.name)));
        }
        check_program("new-session", &new.cwd, &new.argv).await?;
        let target = format!("={}:", new.name);
        let (width, height) = (new.width.to_string(), new.height.to_string());
        let mut sequence = vec![
            Command::new("new-session")
                .args(["-d", "-s", &new.name, "-x", &width, "-y", &height, "-c"])
                .arg(unformatted(new.cwd.as_os_str()))
                .program(&new.argv),
        ];
        sequence.extend(tag_commands(&target, &new.tags)?);
        sequence.push(Command::new("set-option").args(["-p", "-t", &target, "remain-on-exit", "on"]));
        sequence.push(Command::new("resize-window").args(["-t", &target, "-x", &width, "-y", &height]));
        sequence.push(self.describe(&target));
        let lines = self.call("new-session", Repeat::Never, sequence).await?;
        let made = lines.last().and_then(|line| pane::parse(line, &self.inner.options.tags));
        made.ok_or(TmuxError::NoSuchPane(target))
    }

    /// Starts a program in a pane whose process has ended; pane and session stay the same. Fails with
    /// [`TmuxError::PaneAlive`] where it has not ended.
    pub async fn respawn(&self, id: &PaneId, cwd: &Path, argv: &[OsString]) -> Result<()> {
        self.respawn_with(&[], id, cwd, argv).await
    }

    /// Ends a pane's process, if it lives, and starts a program in its place.
    pub async fn replace(&self, id: &PaneId, cwd: &Path, argv: &[OsString]) -> Result<()> {
        self.respawn_with(&["-k"], id, cwd, argv).await
    }

    async fn respawn_with(&self, flags: &[&str], id: &PaneId, cwd: &Path, argv: &[OsString]) -> Result<()> {
        check_program("respawn-pane", cwd, argv).await?;
        let command = Command::new("respawn-pane").args(flags).args(["-t", id.as_str(), "-c"]);
        let command = command.arg(unformatted(cwd.as_os_str())).program(argv);
        self.call("respawn-pane", Repeat::Never, vec![command]).await.map(drop)
    }

    /// Sets tags on a pane, beside those it has.
    pub async fn set_tags(&self, id: &PaneId, tags: &BTreeMap<String, String>) -> Result<()> {
        let sequence = tag_commands(id.as_str(), tags)?;
        if sequence.is_empty() {
            return Ok(());
        }
        self.call("set-option", Repeat::Safe, sequence).await.map(drop)
    }

    /// Leaves copy mode, or any other mode in which keys would not reach the program. Harmless where none is on.
    pub async fn leave_mode(&self, id: &PaneId) -> Result<()> {
        let command = Command::new("copy-mode").args(["-q", "-t", id.as_str()]);
        self.call("copy-mode", Repeat::Safe, vec![command]).await.map(drop)
    }

    /// Pastes `text`, bracketed where the program asks for that, and leaves neither a file nor a buffer behind. Text with
    /// control characters other than newline and tab is refused: it could end the paste and become keystrokes.
    ///
    /// After [`TmuxError::Lost`] or [`TmuxError::Timeout`] the text may stand in the pane: look before trying again.
    pub async fn paste(&self, id: &PaneId, text: &str) -> Result<()> {
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(refused("paste-buffer", "the text holds control characters".to_owned()));
        }
        if text.is_empty() {
            return Ok(());
        }
        let name = format!("{PASTE_PREFIX}{}", Uuid::new_v4());
        let file = PasteFile::write(self.inner.options.directory.join(&name), text.to_owned()).await?;
        let sequence = vec![
            Command::new("load-buffer").args(["-b", &name]).arg(unformatted(file.path.as_os_str())),
            Command::new("paste-buffer").args(["-p", "-r", "-d", "-b", &name, "-t", id.as_str()]),
        ];
        let pasted = self.call("paste-buffer", Repeat::Never, sequence).await;
        // Gone before anything else: a load that tmux has not begun yet then fails, and nothing is typed late.
        drop(file);
        if pasted.is_err() {
            let delete = vec![Command::new("delete-buffer").args(["-b", &name])];
            // The buffer is there only if the load had succeeded; the first error is the one that counts.
            drop(self.call("delete-buffer", Repeat::Safe, delete).await);
        }
        pasted.map(drop)
    }

    /// Presses one key. After [`TmuxError::Lost`] or [`TmuxError::Timeout`] it may have been pressed.
    pub async fn press(&self, id: &PaneId, key: Key) -> Result<()> {
        self.call("send-keys", Repeat::Never, vec![press_command(id, key)?]).await.map(drop)
    }

    /// Ends a pane, and leaves the others of its session.
    pub async fn kill_pane(&self, id: &PaneId) -> Result<()> {
        let command = Command::new("kill-pane").args(["-t", id.as_str()]);
        self.call("kill-pane", Repeat::Never, vec![command]).await.map(drop)
    }

    /// Ends the whole session that a pane is in.
    pub async fn kill_session(&self, id: &PaneId) -> Result<()> {
        let command = Command::new("kill-session").args(["-t", id.as_str()]);
        self.call("kill-session", Repeat::Never, vec![command]).await.map(drop)
    }

    /// Prints one pane's fields; `display-message` prints empty ones where there is no such pane.
    fn describe(&self, target: &str) -> Command {
        Command::new("display-message").args(["-p", "-t", target]).arg(pane::format(&self.inner.options.tags))
    }
}

fn refused(command: &'static str, message: String) -> TmuxError {
    TmuxError::Refused { command, message }
}

fn tag_commands(target: &str, tags: &BTreeMap<String, String>) -> Result<Sequence> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let command = |(name, value): (&String, &String)| {
        let named = name.strip_prefix('@').is_some_and(|rest| !rest.is_empty() && rest.chars().all(word));
        if !named || value.chars().any(char::is_control) {
            return Err(refused("set-option", format!("{name:?} = {value:?} can't be a tag")));
        }
        Ok(Command::new("set-option").args(["-p", "-t", target, "--", name, value]))
    };
    tags.iter().map(command).collect()
}

async fn check_program(command: &'static str, cwd: &Path, argv: &[OsString]) -> Result<()> {
    if argv.is_empty() {
        return Err(refused(command, "there is no program to start".to_owned()));
    }
    let found = tokio::fs::metadata(cwd).await;
    let found = found.map_err(TmuxError::io(format!("looking at the directory {}", cwd.display())))?;
    if found.is_dir() { Ok(()) } else { Err(refused(command, format!("{} is no directory", cwd.display()))) }
}

/// The private file that a paste's text lies in until tmux has read it. Dropping it removes it.
struct PasteFile {
    path: PathBuf,
}

impl PasteFile {
    async fn write(path: PathBuf, text: String) -> Result<Self> {
        let what = format!("writing {}", path.display());
        let text_length = text.len();
        let write = move || {
            let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let kept = Self { path };
            file.write_all(text.as_bytes())?;
            Ok(kept)
        };
        let written = if text_length <= WRITTEN_AT_ONCE {
            write()
        } else {
            let written = tokio::task::spawn_blocking(write).await;
            written.unwrap_or_else(|error| Err(std::io::Error::other(error)))
        };
        written.map_err(TmuxError::io(what))
    }
}

impl Drop for PasteFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, file = %self.path.display(), "a paste's file could not be removed");
        }
    }
}
