//! The file that tells `fleetd launch` what to become. It carries a whole environment, secrets among it: whoever writes it
//! writes it 0600, and nothing of it may stand on a command line or in an error.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The variable that names the agent in the environment of its process, and of all that descends from it.
pub const AGENT_VARIABLE: &str = "FLEET_AGENT";
/// The variable that names the fleet.
pub const FLEET_VARIABLE: &str = "FLEET_ID";
/// The variable that tells one life of the agent from another: the number of its launch.
pub const LAUNCH_VARIABLE: &str = "FLEET_LAUNCH";

/// How a pane's process is started: program, environment, directory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchFile {
    /// The format's version, [`LaunchFile::VERSION`].
    version: u32,
    /// Program and arguments, at least the program.
    #[serde(serialize_with = "write_list", deserialize_with = "read_list")]
    pub argv: Vec<OsString>,
    /// The complete environment, in order. The pane's own TMUX, TMUX_PANE and TERM are kept beside it.
    #[serde(serialize_with = "write_pairs", deserialize_with = "read_pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    #[serde(serialize_with = "write_path", deserialize_with = "read_path")]
    pub cwd: PathBuf,
    /// The soft limit of open files, where it is to differ from the tmux server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nofile: Option<u64>,
    /// What tells launches apart that make another agent of it, as one line; noted by the process itself once it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// Why a text is no launch file. Never quotes the text: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchFileError {
    /// It can't be read at all.
    #[error("it is not a launch file of fleetd (line {line}, column {column})")]
    Unreadable {
        /// Where reading stopped, 1-based.
        line: usize,
        /// Where reading stopped, 1-based.
        column: usize,
    },
    /// Another fleetd wrote it.
    #[error("it has version {0}, this fleetd reads version {expected}: start the daemon of the same version", expected = LaunchFile::VERSION)]
    Version(u32),
    /// There is nothing to start.
    #[error("it names no program to start")]
    NoProgram,
}

impl LaunchFile {
    /// The format's version that this fleetd writes and reads.
    pub const VERSION: u32 = 1;

    /// A launch of `argv` in `cwd` with exactly `env`.
    pub fn new(argv: Vec<OsString>, env: Vec<(OsString, OsString)>, cwd: PathBuf) -> Self {
        Self { version: Self::VERSION, argv, env, cwd, nofile: None, fingerprint: None }
    }

    /// The file's place in an agent's directory.
    pub fn path(directory: &Path) -> PathBuf {
        directory.join("launch.json")
    }

    /// The file in an agent's directory in which its process notes the `fingerprint` that it was launched with.
    pub fn noted(directory: &Path) -> PathBuf {
        directory.join("launched")
    }

    /// The file's content.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads a file's content.
    pub fn from_json(text: &str) -> Result<Self, LaunchFileError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // serde_json's own message could quote a value, which could be a secret: only the place is passed on.
        let unreadable =
            |error: serde_json::Error| LaunchFileError::Unreadable { line: error.line(), column: error.column() };
        let Version { version } = serde_json::from_str(text).map_err(unreadable)?;
        if version != Self::VERSION {
            return Err(LaunchFileError::Version(version));
        }
        let file: Self = serde_json::from_str(text).map_err(unreadable)?;
        if file.argv.is_empty() { Err(LaunchFileError::NoProgram) } else { Ok(file) }
    }
}

/// Shows neither arguments nor values.
impl std::fmt::Debug for LaunchFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LaunchFile")
            .field("program", &self.argv.first())
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

/// Bytes of the system in JSON: a text where they are UTF-8, `{"bytes": [..]}` where they are not.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Raw { bytes: Vec<u8> },
}

impl From<OsString> for Word {
    fn from(word: OsString) -> Self {
        word.into_string().map_or_else(|raw| Self::Raw { bytes: raw.into_vec() }, Self::Text)
    }
}

impl From<Word> for OsString {
    fn from(word: Word) -> Self {
        match word {
            Word::Text(text) => text.into(),
            Word::Raw { bytes } => Self::from_vec(bytes),
        }
    }
}

fn write_list<S: Serializer>(list: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().cloned().map(Word::from))
}

fn read_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OsString>, D::Error> {
    Ok(Vec::<Word>::deserialize(deserializer)?.into_iter().map(OsString::from).collect())
}

fn write_pairs<S: Serializer>(pairs: &[(OsString, OsString)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(pairs.iter().cloned().map(|(key, value)| (Word::from(key), Word::from(value))))
}

fn read_pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(OsString, OsString)>, D::Error> {
    let pairs = Vec::<(Word, Word)>::deserialize(deserializer)?;
    Ok(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
}

fn write_path<S: Serializer>(path: &std::path::Path, serializer: S) -> Result<S::Ok, S::Error> {
    Word::from(OsString::from_vec(path.as_os_str().as_bytes().to_vec())).serialize(serializer)
}

fn read_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(PathBuf::from(OsString::from(Word::deserialize(deserializer)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_that_is_not_text_reaches_the_agent_byte_for_byte() {
        let odd = OsString::from_vec(vec![0xff, b'a', 0x80]);
        let file = LaunchFile {
            nofile: Some(1024),
            ..LaunchFile::new(
                vec!["claude".into(), odd.clone()],
                vec![(odd.clone(), odd.clone()), ("A".into(), "ü=1\n".into())],
                odd.into(),
            )
        };
        assert!(LaunchFile::from_json(&file.to_json().unwrap()).is_ok_and(|read| read == file));
    }

    #[test]
    fn a_broken_launch_file_is_refused_without_showing_a_secret() {
        let secret = r#"{"version":1,"argv":["a"],"env":"xoxb-secret","cwd":"/"}"#;
        let error = LaunchFile::from_json(secret).unwrap_err();
        assert!(matches!(error, LaunchFileError::Unreadable { .. }) && !error.to_string().contains("secret"));
        let other = r#"{"version":2,"program":"a"}"#;
        assert_eq!(LaunchFile::from_json(other).unwrap_err(), LaunchFileError::Version(2));
        let none = r#"{"version":1,"argv":[],"env":[],"cwd":"/"}"#;
        assert_eq!(LaunchFile::from_json(none).unwrap_err(), LaunchFileError::NoProgram);
        let file = LaunchFile::new(vec!["a".into()], vec![("T".into(), "xoxb-secret".into())], "/".into());
        assert!(!format!("{file:?}").contains("secret"));
    }
}
