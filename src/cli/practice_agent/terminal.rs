//! The terminal: raw mode, the alternate screen and bracketed paste while this value lives, all as it was afterwards.

use std::io::Write;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use super::view::{Frame, Look, Row};

/// Alternate screen, no automatic line wrap, bracketed paste.
const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[?2004h\x1b[2J";
const LEAVE: &str = "\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal that is drawn on.
pub struct Terminal {
    before: Termios,
    rows: Vec<String>,
    size: (usize, usize),
    title: &'static str,
    cursor: Option<(usize, usize)>,
}

impl Terminal {
    /// Takes the terminal over.
    pub fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        anyhow::ensure!(
            isatty(&stdin) && isatty(std::io::stdout()),
            "the practice agent is a full-screen program: run it in a terminal"
        );
        let before = tcgetattr(&stdin).context("could not read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).context("could not set the terminal to raw mode")?;
        // From here on it is given back by Drop.
        let terminal = Self { before, rows: Vec::new(), size: (0, 0), title: "", cursor: None };
        write_all(ENTER.as_bytes())?;
        Ok(terminal)
    }

    /// Columns and rows, now.
    pub fn size() -> (usize, usize) {
        let size = tcgetwinsize(std::io::stdout().as_fd()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
    }

    /// Draws what differs from the last frame, by one write.
    pub fn draw(&mut self, frame: &Frame, size: (usize, usize)) -> Result<()> {
        const HIDE: &str = "\x1b[?25l";
        let mut out = String::from(HIDE);
        if size != self.size {
            out.push_str("\x1b[2J");
            self.rows.clear();
            self.size = size;
        }
        let rows: Vec<String> = frame.rows.iter().map(encoded).collect();
        for (index, row) in rows.iter().enumerate() {
            if self.rows.get(index) != Some(row) {
                out.push_str(&format!("\x1b[{};1H\x1b[2K{row}", index + 1));
            }
        }
        if frame.title != self.title {
            out.push_str(&format!("\x1b]0;{}\x07", frame.title));
            self.title = frame.title;
        }
        self.rows = rows;
        let cursor = self.cursor.replace(frame.cursor);
        if out == HIDE && cursor == Some(frame.cursor) {
            return Ok(());
        }
        out.push_str(&format!("\x1b[{};{}H\x1b[?25h", frame.cursor.0 + 1, frame.cursor.1 + 1));
        write_all(out.as_bytes())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The program ends here; if the terminal is gone there is nothing left to restore.
        let _ = write_all(LEAVE.as_bytes());
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

fn encoded(row: &Row) -> String {
    let mut out = String::new();
    for (look, text) in row {
        match look {
            Look::Plain => out.push_str(text),
            Look::Dim => out.push_str(&format!("\x1b[2m{text}\x1b[0m")),
            Look::Bold => out.push_str(&format!("\x1b[1m{text}\x1b[0m")),
        }
    }
    out
}

fn write_all(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).context("could not draw on the terminal")
}
