//! What Codex's screen shows. Its rollout tells more; the screen is looked at last, right before a key is pressed.
//!
//! The composer is the last row that begins with a bright `›`: the history's sign is dim. A dialog puts its own bright `›`
//! before the chosen answer and a row beneath that says which key takes it; the composer has no such row.

use crate::model::{AnswerKey, Choice, Dialog, DialogKind};
use crate::runtime::dialog::{menu, text_of};
use crate::runtime::{Activity, InputBox, OpenDialog, ScreenReading};
use crate::tmux::{Row, Screen};

/// Which key a dialog takes, as its last row says it.
const HINTS: [&str; 5] =
    ["Press enter to confirm", "Press enter to continue", "enter continue", "enter resume", "enter select · esc back"];

/// What a dialog's screen holds, and what it is. The first row that fits tells. The news of a limit is closed unasked: its
/// row must be the dialog's own title.
const DIALOGS: [(&str, &str, DialogKind); 7] = [
    ("Would you like to run the following command?", "permission", DialogKind::Permission),
    ("Trust this folder?", "trust in the directory", DialogKind::Trust),
    ("Sign in with ChatGPT", "login", DialogKind::Login),
    ("Approaching rate limits", "news of a limit", DialogKind::Limit),
    ("Resume a previous session", "choice of a conversation", DialogKind::Other),
    ("Select Model and Effort", "choice of a model", DialogKind::Other),
    ("Update Model Permissions", "choice of permissions", DialogKind::Other),
];

/// How many rows a title stands above the chosen answer at most: the last of three answers, a blank row, a subtitle.
const TITLE: usize = 6;

/// How many rows above the composer are looked at for the line of a running turn.
const NEAR: usize = 10;

pub(super) fn read(screen: &Screen) -> ScreenReading {
    let rows = &screen.rows;
    let composer = rows.iter().rposition(is_bright_sign);
    let hinted = rows[composer.unwrap_or(0)..].iter().any(|row| HINTS.iter().any(|hint| row.text.contains(hint)));
    if hinted {
        let chosen = composer.unwrap_or(0);
        let shows = |mark: &str, kind: DialogKind| match kind {
            DialogKind::Limit => rows[chosen.saturating_sub(TITLE)..chosen].iter().any(|row| row.text.trim() == mark),
            _ => rows.iter().any(|row| row.text.contains(mark)),
        };
        let dialog = DIALOGS.iter().find(|(mark, _, kind)| shows(mark, *kind));
        let (what, kind) = dialog.map_or(("a dialog", DialogKind::Other), |(_, what, kind)| (what, *kind));
        let activity = Some(Activity::Dialog { kind, what: what.to_owned() });
        return ScreenReading { activity, input: InputBox::Absent };
    }
    let Some(composer) = composer.filter(|&index| rows[index].text.starts_with('›')) else {
        return ScreenReading { activity: None, input: InputBox::Absent };
    };
    let above = &rows[composer.saturating_sub(NEAR)..composer];
    let busy = above.iter().any(|row| row.text.starts_with(['•', '◦']) && row.text.contains("esc to interrupt)"));
    let activity = Some(if busy { Activity::Busy } else { Activity::Idle });
    ScreenReading { activity, input: content(screen, composer) }
}

/// The open dialog, where it is one that is put to people. It begins with its own question; what stands above that belongs to
/// it at most, never the other way round.
pub(super) fn dialog(screen: &Screen) -> Option<OpenDialog> {
    let Some(Activity::Dialog { kind: kind @ DialogKind::Permission, .. }) = read(screen).activity else {
        return None;
    };
    let menu = menu(&screen.rows)?;
    let above = &screen.rows[..menu.first];
    let mark = |row: &Row| DIALOGS.iter().any(|(mark, _, of)| *of == kind && row.text.trim() == *mark);
    let start = above.iter().position(mark);
    let text = text_of(&above[start.unwrap_or(0)..]);
    let options = menu.labels.iter().map(|label| choice(label)).collect::<Option<Vec<_>>>()?;
    let dialog = Dialog { kind, text, whole: start.is_some(), options };
    Some(OpenDialog { dialog, marked: menu.marked })
}

/// `Yes, proceed (y)`: an option names its key.
fn choice(label: &str) -> Option<Choice> {
    let (label, key) = label.strip_suffix(')')?.rsplit_once(" (")?;
    let mut letters = key.chars();
    let key = match (letters.next()?, letters.next()) {
        (letter, None) if letter.is_ascii_alphanumeric() => AnswerKey::Char(letter),
        _ if key == "esc" => AnswerKey::Escape,
        _ => return None,
    };
    Some(Choice { key, label: label.to_owned(), typed: false })
}

/// `›`, or `>` in the login's menu and with two blanks before it in the choice of a conversation, and not dim.
fn is_bright_sign(row: &Row) -> bool {
    let text = row.text.trim_start();
    let sign = row.text.len() - text.len();
    let is_sign = text.starts_with('›') && (sign == 0 || sign == 2) || row.text.starts_with("> ");
    is_sign && !row.dim.iter().any(|range| range.contains(&sign))
}

/// The composer's text: from its sign to the blank row above the footer. A long text pushes the footer off the screen: then
/// no blank row stands below the cursor, and those above it are the text's own. The placeholder is dim.
fn content(screen: &Screen, composer: usize) -> InputBox {
    let rows = &screen.rows;
    let last = rows.iter().rposition(|row| !row.text.is_empty()).unwrap_or(composer);
    let below = composer.max(screen.cursor_row + 1);
    let footer = (below..=last).rev().find(|&index| rows[index].text.is_empty()).unwrap_or(last + 1);
    let written = rows[composer..footer.max(composer + 1)].iter().enumerate();
    let texts: Vec<String> =
        written.map(|(index, row)| bright(row, if index == 0 { '›'.len_utf8() } else { 0 })).collect();
    let draft = texts.join("\n").trim().to_owned();
    if draft.is_empty() { InputBox::Empty } else { InputBox::Holds(draft) }
}

/// A row's text from `start` on, without what is dim.
fn bright(row: &Row, start: usize) -> String {
    let is_dim = |index: usize| row.dim.iter().any(|range| range.contains(&index));
    let kept: String =
        row.text.char_indices().filter(|(index, _)| *index >= start && !is_dim(*index)).map(|(_, c)| c).collect();
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fixture::screen;

    fn reading(name: &str) -> (Option<Activity>, InputBox) {
        let reading = read(&screen("codex-0.169.0", name));
        (reading.activity, reading.input)
    }

    #[test]
    fn a_prompt_is_typed_only_where_the_real_screen_waits_for_one() {
        let holds = |text: &str| InputBox::Holds(text.into());
        for (name, activity, input) in [
            ("idle", Activity::Idle, InputBox::Empty),
            ("idle-after-turn", Activity::Idle, InputBox::Empty),
            ("interrupted", Activity::Idle, InputBox::Empty),
            ("api-error", Activity::Idle, InputBox::Empty),
            ("usage-limit-waits", Activity::Idle, InputBox::Empty),
            ("context-full", Activity::Idle, InputBox::Empty),
            ("login-expired", Activity::Idle, InputBox::Empty),
            ("rate-limited", Activity::Idle, InputBox::Empty),
            ("busy", Activity::Busy, InputBox::Empty),
            ("busy-tool", Activity::Busy, InputBox::Empty),
            ("shortcuts", Activity::Idle, InputBox::Empty),
            ("menu", Activity::Idle, holds("/model")),
            ("draft", Activity::Idle, holds("a half typed draft")),
            ("pasted-placeholder", Activity::Idle, holds("[Pasted Content 1465 chars]")),
        ] {
            assert_eq!(reading(name), (Some(activity), input), "{name}");
        }
    }

    #[test]
    fn the_end_of_a_prompt_that_fills_the_screen_is_not_lost() {
        let (activity, input) = reading("draft-fills-the-screen");
        let InputBox::Holds(held) = input else { panic!("{input:?}") };
        assert_eq!(activity, Some(Activity::Idle));
        assert!(held.starts_with("line 38\n") && held.ends_with("line 59\n\nthe last paragraph;"), "{held}");
    }

    #[test]
    fn no_open_dialog_is_ever_taken_for_a_place_to_type() {
        for (name, dialog, kind) in [
            ("dialog-approval", "permission", DialogKind::Permission),
            ("dialog-trust", "trust in the directory", DialogKind::Trust),
            ("dialog-login", "login", DialogKind::Login),
            ("usage-limit", "news of a limit", DialogKind::Limit),
            ("dialog-resume", "choice of a conversation", DialogKind::Other),
            ("dialog-model", "choice of a model", DialogKind::Other),
            ("dialog-permissions", "choice of permissions", DialogKind::Other),
        ] {
            let activity = Some(Activity::Dialog { kind, what: dialog.into() });
            assert_eq!(reading(name), (activity, InputBox::Absent), "{name}");
        }
    }

    #[test]
    fn a_person_in_slack_sees_what_the_real_dialog_asks_and_each_key_takes_what_its_button_says() {
        let dialog = dialog(&screen("codex-0.169.0", "dialog-approval")).unwrap().dialog;
        assert!(dialog.whole && dialog.kind == DialogKind::Permission);
        assert_eq!(
            dialog.text,
            "Would you like to run the following command?\n\nEnvironment: local\n\nReason: the test wants to be asked\n\n$ touch /srv/a/file2\n"
                .trim_end()
        );
        let options: Vec<_> = dialog.options.iter().map(|option| (option.key, option.label.as_str())).collect();
        assert_eq!(
            options,
            [
                (AnswerKey::Char('y'), "Yes, proceed"),
                (AnswerKey::Char('p'), "Yes, and don't ask again for commands that start with `touch /srv/a/file2`"),
                (AnswerKey::Escape, "No, and tell Codex what to do differently"),
            ]
        );
        for none in ["dialog-trust", "dialog-login", "dialog-model", "usage-limit", "idle", "busy-tool"] {
            assert_eq!(super::dialog(&screen("codex-0.169.0", none)), None, "{none}");
        }
    }

    #[test]
    fn words_of_an_agent_that_look_like_a_dialog_hold_nothing_back() {
        let mut idle = screen("codex-0.169.0", "idle-after-turn");
        idle.rows[8] = Row {
            text: "› Would you like to run the following command? Press enter to confirm".into(),
            dim: Vec::new(),
        };
        assert_eq!(read(&idle).activity, Some(Activity::Idle));
    }

    #[test]
    fn no_dialog_is_closed_unasked_because_an_agent_s_words_above_it_look_like_news_of_a_limit() {
        let limit = "Approaching rate limits";
        let mut edits = screen("codex-0.169.0", "dialog-approval");
        let title = edits.rows.iter().position(|row| row.text.contains("Would you like to run")).unwrap();
        edits.rows[title].text = "  Would you like to make the following edits?".into();
        let chosen = edits.rows.iter().rposition(is_bright_sign).unwrap();
        for (place, words) in [(0, limit.to_owned()), (chosen - 2, format!("  + {limit}"))] {
            let mut below = edits.clone();
            below.rows[place] = Row { text: words, dim: Vec::new() };
            let activity = Some(Activity::Dialog { kind: DialogKind::Other, what: "a dialog".into() });
            assert_eq!(read(&below).activity, activity, "row {place}");
        }
        let mut moved = screen("codex-0.169.0", "usage-limit");
        let chosen = moved.rows.iter().rposition(is_bright_sign).unwrap();
        moved.rows[chosen].text = moved.rows[chosen].text.replacen('›', " ", 1);
        moved.rows[chosen + 2].text = moved.rows[chosen + 2].text.replacen(' ', "›", 1);
        let Some(Activity::Dialog { kind, .. }) = read(&moved).activity else { panic!("{moved:?}") };
        assert_eq!(kind, DialogKind::Limit, "a person chose another answer");
    }

    #[test]
    fn an_old_prompt_is_no_place_to_type() {
        let mut redrawn = screen("codex-0.169.0", "idle-after-turn");
        let composer = redrawn.rows.iter().rposition(|row| row.text.starts_with('›')).unwrap();
        redrawn.rows[composer] = Row::default();
        assert!(redrawn.rows.iter().any(|row| row.text.starts_with('›')), "the history is still there");
        assert_eq!(read(&redrawn), ScreenReading { activity: None, input: InputBox::Absent });
    }

    #[test]
    fn an_empty_screen_says_nothing() {
        assert_eq!(read(&Screen::default()), ScreenReading { activity: None, input: InputBox::Absent });
    }
}
