//! What Claude's screen shows. Hooks and the state file tell more and sooner; the screen is looked at last, right before a
//! key is pressed.
//!
//! The input box is a row that begins with `❯` and a no-break space between two rules; the history and every dialog write
//! `❯` with a plain space. While a dialog is open there is no box, so no word an agent says can look like a dialog.

use crate::model::DialogKind;
use crate::runtime::dialog::{by_digits, is_rule, menu, text_of};
use crate::runtime::{Activity, InputBox, OpenDialog, ScreenReading};
use crate::tmux::{Row, Screen};

/// What a dialog's screen holds, and what it is. The first row that fits tells; the last is for dialogs that have no row of
/// their own. The news of a limit stands behind every dialog with which something is decided: it is closed unasked.
const DIALOGS: [(&str, &str, DialogKind); 13] = [
    ("Choose the text style", "first start: theme", DialogKind::Other),
    ("Press Enter to continue", "first start: notes", DialogKind::Other),
    ("Select login method", "login", DialogKind::Login),
    ("Detected a custom API key", "approval of the API key", DialogKind::Login),
    ("Is this a project you created or one you trust", "trust in the directory", DialogKind::Trust),
    ("running in Bypass Permissions mode", "warning about skipped questions", DialogKind::Other),
    ("Resume session", "choice of a conversation", DialogKind::Other),
    ("Do you want to", "permission", DialogKind::Permission),
    ("Enter to select", "question", DialogKind::Question),
    ("Type to filter · Enter", "settings", DialogKind::Other),
    ("Stop and wait for limit to reset", "news of a limit", DialogKind::Limit),
    ("Esc to cancel", "a dialog", DialogKind::Other),
    ("Showing detailed transcript", "the detailed transcript (Ctrl-O)", DialogKind::Other),
];

/// The footer of a Claude that would answer every prompt by asking for a login.
const NOT_LOGGED_IN: &str = "Not logged in";

/// What a spinner's row begins with.
const SPINNER: [char; 6] = ['·', '✢', '✳', '✶', '✻', '✽'];

/// How many rows above the box are looked at for the spinner: it, its tip, and queued prompts.
const NEAR: usize = 12;

pub(super) fn read(screen: &Screen) -> ScreenReading {
    let Some(place) = find(&screen.rows) else {
        let shows = |mark: &str, kind: DialogKind| match kind {
            DialogKind::Limit => screen.rows.iter().any(|row| offers(row, mark)),
            _ => screen.rows.iter().any(|row| row.text.contains(mark)),
        };
        let dialog = DIALOGS.iter().find(|(mark, _, kind)| shows(mark, *kind));
        let activity = dialog.map(|(_, what, kind)| Activity::Dialog { kind: *kind, what: (*what).to_owned() });
        return ScreenReading { activity, input: InputBox::Absent };
    };
    let above = &screen.rows[place.first.saturating_sub(NEAR)..place.first];
    let below = &screen.rows[place.end..];
    let shows = |mark: &str| below.iter().any(|row| row.text.contains(mark));
    let activity = if shows(NOT_LOGGED_IN) {
        Activity::Dialog { kind: DialogKind::Login, what: "not logged in: attach and run /login".into() }
    } else if shows("esc to interrupt") || above.iter().any(spins) {
        Activity::Busy
    } else {
        Activity::Idle
    };
    ScreenReading { activity: Some(activity), input: content(screen, &place) }
}

/// The option of a question that only opens a line for one's own words; below it stands this one alone, behind a rule. What
/// was written there already stands in its place (measured).
const OWN_WORDS: &str = "Type something.";
const BELOW_OWN_WORDS: &str = "Chat about this";

/// The open dialog, where it is one that is put to people. It begins below a rule; what a tool would do is indented, so no
/// rule in it begins at the left edge. A digit takes an option.
pub(super) fn dialog(screen: &Screen) -> Option<OpenDialog> {
    let Some(Activity::Dialog { kind: kind @ (DialogKind::Permission | DialogKind::Question), .. }) =
        read(screen).activity
    else {
        return None;
    };
    let menu = menu(&screen.rows)?;
    let above = &screen.rows[..menu.first];
    let rule = above.iter().rposition(|row| is_rule(&row.text));
    let text = text_of(&above[rule.map_or(0, |rule| rule + 1)..]);
    let labels = &menu.labels;
    let before_last = labels.len().checked_sub(2).filter(|_| labels.last().is_some_and(|last| last == BELOW_OWN_WORDS));
    let typed = labels.iter().position(|label| label == OWN_WORDS).or(before_last);
    let typed = typed.filter(|_| kind == DialogKind::Question);
    Some(by_digits(kind, text, rule.is_some(), menu, typed))
}

/// Whether a row is the answer `answer` of a dialog, `❯ 1. Stop and wait`: an agent's words above a dialog may name it too.
fn offers(row: &Row, answer: &str) -> bool {
    let numbered = row.text.trim_start_matches([' ', '❯']).split_once(". ");
    numbered.is_some_and(|(number, text)| number.parse::<u8>().is_ok() && text.starts_with(answer))
}

/// The rows of the input box, without its rules.
struct Place {
    first: usize,
    end: usize,
}

fn find(rows: &[Row]) -> Option<Place> {
    let first = (1..rows.len()).rev().find(|&index| is_rule(&rows[index - 1].text) && boxed(&rows[index]).is_some())?;
    let end = (first + 1..rows.len()).find(|&index| is_rule(&rows[index].text)).unwrap_or(rows.len());
    Some(Place { first, end })
}

/// What stands behind the box's sign; none where the row isn't the first of a box. `!` is the sign of its shell mode.
fn boxed(row: &Row) -> Option<&str> {
    let text = row.text.strip_prefix(['❯', '!'])?;
    if text.is_empty() { Some(text) } else { text.strip_prefix('\u{a0}') }
}

fn content(screen: &Screen, place: &Place) -> InputBox {
    let first = &screen.rows[place.first];
    let text = boxed(first).unwrap_or_default();
    let shell = first.text.starts_with('!');
    let more = screen.rows[place.first + 1..place.end].iter().map(|row| row.text.trim());
    let draft = std::iter::once(text.trim()).chain(more).collect::<Vec<_>>().join("\n");
    let draft = draft.trim_end();
    if shell {
        return InputBox::Holds(format!("!{draft}"));
    }
    if draft.is_empty() || is_ghost(screen, place, text) { InputBox::Empty } else { InputBox::Holds(draft.to_owned()) }
}

/// Whether the box holds only a suggestion: dim, but for the first character where the cursor stands on it.
fn is_ghost(screen: &Screen, place: &Place, text: &str) -> bool {
    let row = &screen.rows[place.first];
    let start = row.text.len() - text.len();
    let under_cursor =
        (screen.cursor_row == place.first && screen.cursor_column <= 2).then(|| text.chars().next()).flatten();
    let dim_from = start + under_cursor.map_or(0, char::len_utf8);
    let shown: &str = &row.text[dim_from..];
    let is_dim = |(offset, _): (usize, char)| row.dim.iter().any(|range| range.contains(&(dim_from + offset)));
    !shown.trim().is_empty() && shown.char_indices().filter(|(_, c)| !c.is_whitespace()).all(is_dim)
}

/// `✢ Sublimating…`, `· Orbiting… (3s · ↓ 28 tokens)`; a turn's end, `✻ Brewed for 3s`, has no ellipsis.
fn spins(row: &Row) -> bool {
    let mut chars = row.text.chars();
    chars.next().is_some_and(|sign| SPINNER.contains(&sign))
        && chars.as_str().starts_with(' ')
        && row.text.contains('…')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Choice;
    use crate::runtime::fixture::screen;

    fn reading(name: &str) -> (Option<Activity>, InputBox) {
        let reading = read(&screen("claude-2.1.197", name));
        (reading.activity, reading.input)
    }

    #[test]
    fn a_prompt_is_typed_only_where_the_real_screen_waits_for_one() {
        let holds = |text: &str| InputBox::Holds(text.into());
        for (name, activity, input) in [
            ("idle", Activity::Idle, InputBox::Empty),
            ("idle-accept-edits", Activity::Idle, InputBox::Empty),
            ("idle-after-turn", Activity::Idle, InputBox::Empty),
            ("interrupted", Activity::Idle, InputBox::Empty),
            ("api-error", Activity::Idle, InputBox::Empty),
            ("usage-limit-waits", Activity::Idle, InputBox::Empty),
            ("context-full", Activity::Idle, InputBox::Empty),
            ("login-expired", Activity::Idle, InputBox::Empty),
            ("out-of-credits", Activity::Idle, InputBox::Empty),
            ("busy", Activity::Busy, InputBox::Empty),
            ("busy-tool", Activity::Busy, InputBox::Empty),
            ("busy-queued", Activity::Busy, InputBox::Empty),
            ("shortcuts", Activity::Idle, InputBox::Empty),
            ("draft", Activity::Idle, holds("a half typed draft")),
            ("draft-shell", Activity::Idle, holds("!ls")),
            ("command-menu", Activity::Idle, holds("/clear")),
            ("pasted-placeholder", Activity::Idle, holds("[Pasted text #1 +40 lines]")),
        ] {
            assert_eq!(reading(name), (Some(activity), input), "{name}");
        }
    }

    #[test]
    fn no_open_dialog_is_ever_taken_for_a_place_to_type() {
        for (name, dialog, kind) in [
            ("dialog-theme", "first start: theme", DialogKind::Other),
            ("dialog-security", "first start: notes", DialogKind::Other),
            ("dialog-login", "login", DialogKind::Login),
            ("dialog-api-key", "approval of the API key", DialogKind::Login),
            ("dialog-trust", "trust in the directory", DialogKind::Trust),
            ("dialog-bypass", "warning about skipped questions", DialogKind::Other),
            ("dialog-resume", "choice of a conversation", DialogKind::Other),
            ("dialog-permission", "permission", DialogKind::Permission),
            ("dialog-question", "question", DialogKind::Question),
            ("dialog-model", "a dialog", DialogKind::Other),
            ("dialog-config", "settings", DialogKind::Other),
            ("usage-limit", "news of a limit", DialogKind::Limit),
            ("transcript", "the detailed transcript (Ctrl-O)", DialogKind::Other),
        ] {
            let activity = Some(Activity::Dialog { kind, what: dialog.into() });
            assert_eq!(reading(name), (activity, InputBox::Absent), "{name}");
        }
        let (activity, _) = reading("dialog-not-logged-in");
        assert!(
            matches!(activity, Some(Activity::Dialog { kind: DialogKind::Login, what }) if what.starts_with("not logged in"))
        );
    }

    #[test]
    fn a_person_in_slack_sees_what_the_real_dialog_asks_and_each_key_takes_what_its_button_says() {
        let shown = |name: &str| {
            let OpenDialog { dialog, marked } = dialog(&screen("claude-2.1.197", name))?;
            assert_eq!(marked, Some(0), "{name}");
            let option =
                |option: &Choice| format!("{:?} {}{}", option.key, option.label, if option.typed { " …" } else { "" });
            let options: Vec<String> = dialog.options.iter().map(option).collect();
            Some((dialog.kind, dialog.text, dialog.whole, options.join(" | ")))
        };
        let permission = (
            DialogKind::Permission,
            "Bash command\n\n  touch /srv/a/file\n  run it\n\nDo you want to proceed?".to_owned(),
            true,
            "Char('1') Yes | Char('2') Yes, and always allow access to w/ from this project | Char('3') No".to_owned(),
        );
        assert_eq!(shown("dialog-permission"), Some(permission));
        let question = (
            DialogKind::Question,
            " ☐ Colour\n\nWhich colour?".to_owned(),
            true,
            "Char('1') Red like fire | Char('2') Blue like the sea | Char('3') Type something. … | Char('4') Chat about this".to_owned(),
        );
        assert_eq!(shown("dialog-question"), Some(question));
        for none in
            ["dialog-trust", "dialog-login", "dialog-bypass", "dialog-model", "usage-limit", "idle", "busy-tool"]
        {
            assert_eq!(shown(none), None, "{none}");
        }
    }

    #[test]
    fn the_line_for_one_s_own_words_is_known_also_once_something_stands_in_it() {
        let read = |name: &str| dialog(&screen("claude-2.1.197", name)).unwrap();
        let asked = read("dialog-question").dialog;
        for (name, label) in [
            ("dialog-question-own-words", "Type something."),
            ("dialog-question-written", "green, 1 of a kind with       two lines"),
        ] {
            let open = read(name);
            assert!(open.dialog.asks_the_same(&asked) && open.dialog.options[2].typed, "{name}");
            assert_eq!((open.marked, open.dialog.options[2].label.as_str()), (Some(2), label), "{name}");
        }
    }

    #[test]
    fn a_dialog_whose_beginning_scrolled_away_says_that_it_is_not_whole() {
        let mut cut = screen("claude-2.1.197", "dialog-permission");
        cut.rows.retain(|row| !is_rule(&row.text) && !row.text.contains("Bash command"));
        assert_eq!(dialog(&cut).map(|open| open.dialog.whole), Some(false));
    }

    #[test]
    fn words_of_an_agent_that_look_like_a_dialog_hold_nothing_back() {
        let mut idle = screen("claude-2.1.197", "idle-after-turn");
        idle.rows[2] = Row { text: "  Do you want to proceed? Esc to cancel".into(), dim: Vec::new() };
        assert_eq!(read(&idle).activity, Some(Activity::Idle));
    }

    #[test]
    fn no_question_is_declined_unasked_because_an_agent_s_words_above_it_look_like_news_of_a_limit() {
        for (name, kind) in [
            ("dialog-permission", DialogKind::Permission),
            ("dialog-question", DialogKind::Question),
            ("dialog-config", DialogKind::Other),
        ] {
            for words in ["❯ 1. Stop and wait for limit to reset", "  42: Stop and wait for limit to reset"] {
                let mut dialog = screen("claude-2.1.197", name);
                dialog.rows[0] = Row { text: words.into(), dim: Vec::new() };
                let Some(Activity::Dialog { kind: seen, .. }) = read(&dialog).activity else { panic!("{name}") };
                assert_eq!(seen, kind, "{name} below {words}");
            }
        }
        let mut other = screen("claude-2.1.197", "dialog-model");
        other.rows[0] = Row { text: "  src/screen.rs: Stop and wait for limit to reset".into(), dim: Vec::new() };
        let other = read(&other).activity;
        assert_eq!(other, Some(Activity::Dialog { kind: DialogKind::Other, what: "a dialog".into() }));
    }

    #[test]
    fn a_turn_is_seen_by_its_spinner_or_by_its_footer_alone() {
        for gone in ["esc to interrupt", "Sublimating…"] {
            let mut busy = screen("claude-2.1.197", "busy");
            let row = busy.rows.iter_mut().find(|row| row.text.contains(gone)).unwrap();
            *row = Row::default();
            assert_eq!(read(&busy).activity, Some(Activity::Busy), "without {gone}");
        }
    }

    #[test]
    fn a_draft_of_one_letter_is_a_draft() {
        let mut idle = screen("claude-2.1.197", "draft");
        idle.rows.iter_mut().filter(|row| row.text.starts_with("❯\u{a0}")).for_each(|row| row.text = "❯\u{a0}x".into());
        assert_eq!(read(&idle).input, InputBox::Holds("x".into()));
    }

    #[test]
    fn an_empty_screen_says_nothing() {
        assert_eq!(read(&Screen::default()), ScreenReading { activity: None, input: InputBox::Absent });
    }
}
