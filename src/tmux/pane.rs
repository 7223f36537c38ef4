//! Panes as tmux tells them: one line of tab-separated fields each.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A pane's name for as long as its server lives: `%0`. It survives a respawn, and unlike a session's name it can't hit
/// another by its prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaneId(String);

impl PaneId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PaneId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('%') {
            Some(number) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(format!("{text:?} is not a tmux pane id, for example %0")),
        }
    }
}

impl fmt::Display for PaneId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A pane at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pane {
    /// Its id.
    pub id: PaneId,
    /// The name of the session it is in.
    pub session: String,
    /// The tags of ours that it carries, by option name; a person's pane has none, nor has one that a person split off ours.
    pub tags: BTreeMap<String, String>,
    /// The process that was started in it, or was before it died.
    pub pid: u32,
    /// How its process ended; none while it lives.
    pub death: Option<Death>,
    /// Copy mode or another mode is on: keys would go to it, not to the program.
    pub in_mode: bool,
    /// Input is switched off: keys and pastes would be dropped in silence.
    pub input_off: bool,
    /// How many clients are attached to the session.
    pub attached: u32,
    /// When a person last typed in the session or attached to it, in Unix seconds.
    pub typed_at: i64,
    /// When the pane's window last showed something new, in Unix seconds.
    pub output_at: i64,
    /// The cursor's column, 0-based.
    pub cursor_column: usize,
    /// The cursor's row, 0-based.
    pub cursor_row: usize,
    /// Width in columns.
    pub width: u32,
    /// Height in rows.
    pub height: u32,
    /// The name of the program in the pane's foreground; characters outside printable ASCII show as `?`. None in a listing,
    /// where it would be half of the work: tmux asks the system for each.
    pub command: Option<String>,
    /// The title that the program set.
    pub title: String,
}

impl Pane {
    /// What runs in its foreground, for people.
    pub fn program(&self) -> String {
        self.command.clone().unwrap_or_else(|| "another program".to_owned())
    }
}

/// How a pane's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It exited with this status.
    Exited(i32),
    /// A signal killed it. tmux before 3.3 does not tell signals.
    Killed(i32),
    /// tmux has seen its output close but not its status; the status of one that ends right after its start may never come.
    Unknown,
}

/// In front of every line, so that no other line is taken for a pane.
const MARK: &str = "pane";

/// The fields, in the order that [`parse`] reads them. Titles and names can't hold a control character (tmux sees to that),
/// a command's name can. No other separator than a tab is safe: newer tmux prints other control characters as `\037`.
const FIELDS: [&str; 16] = [
    "#{pane_id}",
    "#{session_name}",
    "#{pane_pid}",
    "#{pane_dead}",
    "#{pane_dead_status}",
    "#{pane_dead_signal}",
    "#{pane_in_mode}",
    "#{pane_input_off}",
    "#{session_attached}",
    "#{session_activity}",
    "#{window_activity}",
    "#{cursor_x}",
    "#{cursor_y}",
    "#{pane_width}",
    "#{pane_height}",
    "#{pane_title}",
];

/// The field behind them, for one pane; a listing leaves it empty.
const COMMAND: &str = "#{s/[^ -~]/?/:pane_current_command}";

/// The format that makes tmux print one pane as [`parse`] reads it.
pub(super) fn format(tags: &[String]) -> String {
    with_command(COMMAND, tags)
}

/// The same for many panes.
pub(super) fn listing(tags: &[String]) -> String {
    with_command("", tags)
}

fn with_command(command: &str, tags: &[String]) -> String {
    let mut format = MARK.to_owned();
    for field in FIELDS.into_iter().chain([command]) {
        format.push('\t');
        format.push_str(field);
    }
    for tag in tags {
        format.push_str(&format!("\t#{{{tag}}}"));
    }
    format
}

/// Reads a line of [`format`]; none where the pane does not exist or the line is no such line.
pub(super) fn parse(line: &str, tags: &[String]) -> Option<Pane> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [
        MARK,
        id,
        session,
        pid,
        dead,
        status,
        signal,
        mode,
        off,
        attached,
        typed,
        output,
        x,
        y,
        width,
        height,
        title,
        command,
        values @ ..,
    ] = fields.as_slice()
    else {
        return None;
    };
    if values.len() != tags.len() {
        return None;
    }
    let death = (*dead == "1").then(|| match (signal.parse(), status.parse()) {
        (Ok(signal), _) if signal > 0 => Death::Killed(signal),
        (_, Ok(status)) => Death::Exited(status),
        _ => Death::Unknown,
    });
    let present = tags.iter().zip(values).filter(|(_, value)| !value.is_empty());
    Some(Pane {
        id: id.parse().ok()?,
        session: (*session).to_owned(),
        tags: present.map(|(tag, value)| (tag.clone(), (*value).to_owned())).collect(),
        pid: pid.parse().ok()?,
        death,
        in_mode: *mode != "0",
        input_off: *off != "0",
        attached: attached.parse().ok()?,
        typed_at: typed.parse().ok()?,
        output_at: output.parse().ok()?,
        cursor_column: x.parse().ok()?,
        cursor_row: y.parse().ok()?,
        width: width.parse().ok()?,
        height: height.parse().ok()?,
        command: Some(*command).filter(|command| !command.is_empty()).map(str::to_owned),
        title: (*title).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "pane\t%3\ta\t42\tDEAD\t0\t1\t2\t1700000000\t1700000001\t3\t4\t200\t50\t✳ title\tclaude\tx\t";

    fn read(dead: &str) -> Option<Pane> {
        parse(&LINE.replace("DEAD", dead), &["@x".into(), "@y".into()])
    }

    #[test]
    fn a_dead_pane_is_never_read_as_a_live_one() {
        for (dead, death) in [
            ("0\t\t", None),
            ("1\t7\t", Some(Death::Exited(7))),
            ("1\t0\t", Some(Death::Exited(0))),
            ("1\t\t9", Some(Death::Killed(9))),
            ("1\t\t", Some(Death::Unknown)),
        ] {
            assert_eq!(read(dead).map(|pane| pane.death), Some(death), "{dead:?}");
        }
    }

    #[test]
    fn a_mode_and_blocked_input_are_seen_and_an_empty_tag_is_no_tag() {
        let pane = read("0\t\t").unwrap();
        assert!(!pane.in_mode && pane.input_off);
        assert_eq!(pane.tags, BTreeMap::from([("@x".to_owned(), "x".to_owned())]));
        assert_eq!((pane.title.as_str(), pane.command.as_deref()), ("✳ title", Some("claude")));
    }

    #[test]
    fn a_line_that_is_no_pane_is_no_pane() {
        for line in ["", "x", "pane", &format!("pane{}", "\t".repeat(19)), &LINE.replace("%3", "$3")] {
            assert_eq!(parse(line, &["@x".into(), "@y".into()]), None, "{line:?}");
        }
    }

    #[test]
    fn only_a_pane_s_own_id_is_a_target() {
        for bad in ["", "%", "0", "%1;kill-server", "=a:", "%-1", "% 1"] {
            assert!(bad.parse::<PaneId>().is_err(), "{bad}");
        }
        assert_eq!("%12".parse::<PaneId>().unwrap().to_string(), "%12");
    }
}
