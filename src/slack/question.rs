//! A question in its thread: one message with a button for each option, and in the end who decided what.
//!
//! A button names the question and the option's place, never what is typed. What would be done is shown word for word, with
//! every character that could hide or turn some of it around made visible; what can't be shown in full gets no button.

use super::Bridge;
use super::authority::Act;
use super::effects::Effect;
use super::feed::READER;
use super::markdown::escape;
use crate::model::blocks::{Block, Button, Text};
use crate::model::text::first_line;
use crate::model::{Answer, NewPrompt, Question, QuestionEnd, QuestionState};
use crate::store::slack::{NewOutboxRow, OutboxAction, Said, Thread};
use crate::store::told_question;

/// What a button's action id begins with.
const ACTION: &str = "answer/";

/// The most characters of a section's text, its fence included.
const SECTION: usize = 2_900;

/// The most sections in which what would be done is shown.
const SECTIONS: usize = 4;

/// The most characters on a button.
const LABEL: usize = 75;

/// What the name of a question's message begins with in its lane.
const KEY: &str = "question/";

fn key(seq: i64) -> String {
    format!("{KEY}{seq}")
}

/// Whether a message is a question's, by its name.
pub(super) fn is_key(key: &str) -> bool {
    key.starts_with(KEY)
}

/// Has what is said of a question kept as one message.
pub(super) fn keep(rows: &mut Vec<NewOutboxRow>, seq: i64) {
    let mut kept = false;
    rows.retain_mut(|row| match &row.action {
        OutboxAction::Reply { .. } if kept => false,
        OutboxAction::Reply { said } => {
            row.action = OutboxAction::Keyed { key: key(seq), said: said.clone() };
            kept = true;
            true
        }
        _ => true,
    });
}

/// The question and the option that a button names.
pub(super) fn pressed(action: &str, value: &str) -> Option<(i64, usize)> {
    let option = action.strip_prefix(ACTION)?.parse().ok()?;
    let (seq, named) = value.split_once('/')?;
    (named.parse() == Ok(option)).then_some((seq.parse().ok()?, option))
}

/// The longest answer in one's own words that is typed into a dialog, in characters: what is longer is a prompt.
const WORDS: usize = 300;

/// What follows from a person's words in a thread: the answer to the question that stands there and takes such, else a prompt.
pub(super) async fn in_words(
    bridge: &Bridge,
    by: &str,
    prompt: NewPrompt,
    thread: Thread,
    ack: NewOutboxRow,
) -> anyhow::Result<Vec<Effect>> {
    let open = bridge.store.open_question(&prompt.agent).await?;
    let words = visible(&prompt.body).split_whitespace().collect::<Vec<_>>().join(" ");
    let fits = !words.is_empty() && words.chars().count() <= WORDS;
    let place = open.as_ref().filter(|question| fits && question.state == QuestionState::Open);
    let asked = place.and_then(|question| Some((question.seq, question.own_words()?)));
    let Some((seq, option)) = asked else { return Ok(vec![Effect::Prompt { prompt, thread, ack }]) };
    if bridge.store.keyed_place(&key(seq)).await?.is_none_or(|(lane, _)| lane != thread.lane) {
        return Ok(vec![Effect::Prompt { prompt, thread, ack }]);
    }
    let answer = Effect::Answer {
        seq,
        act: Act::Steer,
        agent: prompt.agent.clone(),
        answer: Answer { user: by.to_owned(), option, text: Some(words) },
        channel: thread.channel.clone(),
        thread: thread.ts.clone(),
        otherwise: Some(Box::new(Effect::Prompt { prompt, thread: thread.clone(), ack: ack.clone() })),
    };
    Ok(vec![answer, Effect::Say { thread, row: ack }])
}

/// Writes the messages of all questions that moved on.
pub(super) async fn tell(bridge: &Bridge) -> anyhow::Result<()> {
    for question in bridge.store.untold_questions().await? {
        let place = bridge.store.keyed_place(&key(question.seq)).await?;
        if place.is_none() && bridge.store.feed_cursor(READER).await?.unwrap_or_default() < question.seq {
            // Where it is told is not known yet.
            continue;
        }
        let now = bridge.clock.now();
        let mut write = bridge.store.write().await?;
        if let Some((lane, channel)) = place {
            let row = NewOutboxRow {
                dedup_key: format!("{}/{}", key(question.seq), question.state.word()),
                lane,
                channel,
                action: OutboxAction::Keyed { key: key(question.seq), said: said(&question) },
            };
            bridge.queue(&mut write, &row, now).await?;
        }
        told_question(&mut write, &question).await?;
        write.commit().await?;
        bridge.queued.notify_one();
    }
    Ok(())
}

/// What a question's message says.
fn said(question: &Question) -> Said {
    let agent = &question.agent;
    let shown = shown(question);
    let offered = question.state == QuestionState::Open && shown.is_some() && question.is_whole();
    let head = ":raised_hand: *The agent asks*";
    let line = question.dialog.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = escape(&first_line(&visible(&line), 600));
    let mut blocks = vec![Block::Section { text: Text::mrkdwn(head) }];
    blocks.extend(shown.into_iter().flatten());
    let end = match &question.state {
        QuestionState::Open if offered => {
            blocks.extend(choices(question));
            let words = question.own_words().map_or("", |_| "Or reply here in your own words, in one line. ");
            format!("{words}In its pane: `fleet attach {agent}`")
        }
        QuestionState::Open => format!("It can't be shown here in full. Answer it in its pane: `fleet attach {agent}`"),
        state => outcome(question, state),
    };
    blocks.push(Block::Context { elements: vec![Text::mrkdwn(end.clone())] });
    Said { text: format!("{head}\n{text}\n{end}"), blocks }
}

/// What it asks and what would be done, word for word; none where that is too long.
fn shown(question: &Question) -> Option<Vec<Block>> {
    let mut sections = fenced(&question.dialog.text)?;
    // The screen cuts it into rows, or shows its end alone.
    if let Some(run) = question.run.as_ref().filter(|run| !question.dialog.text.contains(run.as_str())) {
        sections.push(Block::Section { text: Text::mrkdwn("*In full:*") });
        sections.extend(fenced(run)?);
    }
    Some(sections)
}

/// A text in fences, as many sections as it takes; none where that is too many.
fn fenced(text: &str) -> Option<Vec<Block>> {
    let mut sections = vec![String::new()];
    for character in visible(text).chars() {
        let escaped = escape(&character.to_string());
        if sections.last().is_some_and(|last| last.chars().count() + escaped.len() > SECTION) {
            sections.push(String::new());
        }
        sections.last_mut()?.push_str(&escaped);
    }
    let block = |text: String| Block::Section { text: Text::mrkdwn(format!("```\n{text}\n```")) };
    (sections.len() <= SECTIONS).then(|| sections.into_iter().map(block).collect())
}

/// With every character shown that hides, turns text around, or would end the fence.
fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() && c != '\n'
            || matches!(u32::from(c), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xe0000..=0xe0fff)
    };
    let text = text.replace('\t', "    ").replace("```", "'''");
    text.chars().map(|c| if hidden(c) { format!("\\u{{{:x}}}", u32::from(c)) } else { c.to_string() }).collect()
}

/// The buttons, and what they say where that does not fit on them.
fn choices(question: &Question) -> Vec<Block> {
    let offered = || question.dialog.options.iter().enumerate().filter(|(_, option)| !option.typed);
    let button = |index: usize, label: &str| Button {
        action_id: format!("{ACTION}{index}"),
        text: Text::plain(cut(&visible(label))),
        value: format!("{}/{index}", question.seq),
        style: None,
        confirm: None,
    };
    let mut blocks = Vec::new();
    let long: Vec<String> = offered()
        .filter(|(_, option)| cut(&visible(&option.label)) != visible(&option.label))
        .map(|(_, option)| format!("• {}", escape(&first_line(&visible(&option.label), SECTION / 10))))
        .collect();
    if !long.is_empty() {
        blocks.push(Block::Section { text: Text::mrkdwn(long.join("\n")) });
    }
    let elements: Vec<Button> = offered().map(|(index, option)| button(index, &option.label)).collect();
    if !elements.is_empty() {
        blocks.push(Block::Actions { elements });
    }
    blocks
}

/// At most as many characters as a button holds.
fn cut(label: &str) -> String {
    match label.char_indices().nth(LABEL) {
        Some(_) => label.chars().take(LABEL - 1).chain(['…']).collect(),
        None => label.to_owned(),
    }
}

/// Who decided what, and what came of it.
fn outcome(question: &Question, state: &QuestionState) -> String {
    let agent = &question.agent;
    let chose = |answer: &Answer| {
        if let Some(text) = &answer.text {
            return format!("{} answered *{}*", by(&answer.user), escape(&first_line(&visible(text), WORDS)));
        }
        let label = question.dialog.options.get(answer.option).map_or("?", |option| option.label.as_str());
        let label = escape(&first_line(&visible(label), 300));
        format!("{} chose *{label}*", by(&answer.user))
    };
    match state {
        QuestionState::Open => String::new(),
        QuestionState::Answered { answer } | QuestionState::Pressing { answer } => {
            format!(":hourglass_flowing_sand: {}", chose(answer))
        }
        QuestionState::Settled { end } => match end {
            QuestionEnd::Given { answer } => format!(":ballot_box_with_check: {}", chose(answer)),
            QuestionEnd::Elsewhere => ":ballot_box_with_check: Answered in its pane, or no longer asked".to_owned(),
            QuestionEnd::TooLate { answer } => {
                format!(":no_entry_sign: {}, but it was no longer asked: nothing was typed", chose(answer))
            }
            QuestionEnd::Restarted => ":no_entry_sign: The agent was started anew and no longer asks".to_owned(),
            QuestionEnd::Unsure { answer, open: true } => format!(
                ":grey_question: {}, and it can't be told whether the key was taken. It is not typed again: look into its pane, `fleet attach {agent}`",
                chose(answer)
            ),
            QuestionEnd::Unsure { answer, open: false } => format!(
                ":grey_question: {}. It is no longer asked, and it can't be told whether by that or by somebody in its pane",
                chose(answer)
            ),
        },
    }
}

/// A person by their id, which an edit does not notify.
fn by(user: &str) -> String {
    if user.chars().all(|c| c.is_ascii_alphanumeric()) { format!("<@{user}>") } else { "somebody".to_owned() }
}

/// Whether that answer is the one that counts: pressed twice it is given once, and nobody is told anything.
pub(super) fn is_by(state: &QuestionState, answer: &Answer) -> bool {
    decided(state) == Some(answer)
}

/// The answer that counted.
fn decided(state: &QuestionState) -> Option<&Answer> {
    match state {
        QuestionState::Answered { answer } | QuestionState::Pressing { answer } => Some(answer),
        QuestionState::Settled {
            end: QuestionEnd::Given { answer } | QuestionEnd::TooLate { answer } | QuestionEnd::Unsure { answer, .. },
        } => Some(answer),
        QuestionState::Open | QuestionState::Settled { .. } => None,
    }
}

/// What tells one person that their answer came too late, once for each question.
pub(super) fn late_row(
    seq: i64,
    state: &QuestionState,
    user: &str,
    channel: String,
    thread: Option<String>,
) -> NewOutboxRow {
    NewOutboxRow {
        dedup_key: format!("late/{seq}/{user}"),
        lane: format!("whisper/{user}"),
        channel,
        action: OutboxAction::Whisper { user: user.to_owned(), thread, said: Said::text(too_late(state)) },
    }
}

fn too_late(state: &QuestionState) -> String {
    match decided(state) {
        Some(answer) => format!("{} answered before you: nothing was typed for you.", by(&answer.user)),
        None => "That is no longer asked: nothing was typed.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{AnswerKey, Choice, Dialog, DialogKind};

    fn question(text: &str, run: Option<&str>, state: QuestionState) -> Question {
        let option = |key, label: &str, typed| Choice { key: AnswerKey::Char(key), label: label.into(), typed };
        let long = "Yes, and always ".repeat(6);
        let options = vec![option('1', "Yes", false), option('2', &long, false), option('3', "Type", true)];
        Question {
            seq: 7,
            agent: "ann".parse().unwrap(),
            dialog: Dialog { kind: DialogKind::Permission, text: text.into(), whole: true, options },
            run: run.map(str::to_owned),
            asked: Timestamp::UNIX_EPOCH,
            state,
            overdue: false,
        }
    }

    fn json(question: &Question) -> String {
        serde_json::to_string(&said(question).blocks).unwrap()
    }

    #[test]
    fn a_button_names_the_question_and_the_option_and_nothing_that_is_typed() {
        let open = question("Run <rm>?", None, QuestionState::Open);
        let told = json(&open);
        assert!(told.contains(r#""action_id":"answer/0""#) && told.contains(r#""value":"7/0""#), "{told}");
        assert!(told.contains("Run &lt;rm&gt;?") && told.contains("fleet attach ann"), "{told}");
        assert_eq!(told.matches(r#""type":"button""#).count(), 2, "an answer in own words is no button: {told}");
        assert!(told.contains('…') && told.contains("• Yes, and always"), "{told}");
        for (action, value, expected) in [
            ("answer/0", "7/0", Some((7, 0))),
            ("answer/2", "7/2", Some((7, 2))),
            ("answer/0", "7/1", None),
            ("allow", "7/0", None),
            ("answer/x", "7/x", None),
            ("answer/0", "7", None),
        ] {
            assert_eq!(pressed(action, value), expected, "{action} {value}");
        }
    }

    #[test]
    fn what_would_be_done_is_shown_in_full_or_no_button_is_offered() {
        let long = "Q".repeat(5_000);
        let shown = json(&question("Run it?", Some(&long), QuestionState::Open));
        assert_eq!(shown.matches('Q').count(), 5_000);
        assert!(shown.contains("button"));
        let longer = "Q".repeat(12_000);
        let refused = json(&question("Run it?", Some(&longer), QuestionState::Open));
        assert!(!refused.contains("button") && refused.contains("in its pane"), "{refused}");
        let mut cut = question("the end of it", None, QuestionState::Open);
        cut.dialog.whole = false;
        assert!(!json(&cut).contains("button"));
        cut.run = Some("all of it".into());
        assert!(json(&cut).contains("button"));
    }

    #[test]
    fn nothing_in_a_command_hides_or_ends_its_fence() {
        let told = json(&question("a\u{202e}b```c\u{200b}\x1b[8m", None, QuestionState::Open));
        assert!(told.contains(r"a\\u{202e}b'''c\\u{200b}\\u{1b}[8m"), "{told}");
        for block in said(&question(&"<".repeat(4_000), None, QuestionState::Open)).blocks {
            if let Block::Section { text: Text::Mrkdwn { text } } = block {
                assert!(text.chars().count() <= 3_000);
            }
        }
    }

    #[test]
    fn the_message_tells_in_the_end_who_decided_what_and_offers_nothing_more() {
        let answer = || Answer { user: "U1".into(), option: 0, text: None };
        let settled = |end| QuestionState::Settled { end };
        for (state, part) in [
            (QuestionState::Answered { answer: answer() }, "<@U1> chose *Yes*"),
            (settled(QuestionEnd::Given { answer: answer() }), ":ballot_box_with_check: <@U1> chose *Yes*"),
            (settled(QuestionEnd::Elsewhere), "Answered in its pane"),
            (settled(QuestionEnd::TooLate { answer: answer() }), "nothing was typed"),
            (settled(QuestionEnd::Restarted), "started anew"),
            (settled(QuestionEnd::Unsure { answer: answer(), open: true }), "not typed again"),
            (settled(QuestionEnd::Unsure { answer: answer(), open: false }), "no longer asked"),
        ] {
            let told = said(&question("Run it?", None, state));
            let blocks = serde_json::to_string(&told.blocks).unwrap();
            assert!(blocks.contains(part) && told.text.contains(part) && !blocks.contains("button"), "{told:?}");
        }
        let forged = QuestionState::Answered { answer: Answer { user: "U1> <!here".into(), option: 0, text: None } };
        assert!(!said(&question("", None, forged)).text.contains("<!here"));
    }
}
