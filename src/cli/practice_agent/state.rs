//! The practice agent as a state machine: events in, effects out, no I/O and no clock.
//!
//! It behaves as the real CLIs do where that is dangerous: Enter approves an open dialog, a leading `!` would run a shell
//! (here it is only written down, so that a test can prove it never happens), `exit` quits.

use std::collections::VecDeque;

use super::dialog;
use super::draft::Draft;
use super::keys::Key;
use super::script::{Step, script};
use crate::model::{Doing, Dollars, Outcome, TranscriptEntry, Usage};

/// What reaches the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key or a paste.
    Key(Key),
    /// The next step of the running turn is due.
    Tick,
    /// The gate that a turn holds at is open.
    GateOpen,
}

/// What the agent wants done, in this order, before it is drawn again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append this to the record.
    Record(TranscriptEntry),
    /// Begin a conversation with a new id.
    NewConversation,
    /// End well.
    Quit,
    /// End badly.
    Crash,
    /// Hold so many megabytes more.
    Allocate(usize),
}

/// What the agent waits for beside keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Nothing: no timer runs.
    Keys,
    /// The next step of its turn.
    Tick,
    /// The gate.
    Gate,
}

/// One thing in the history on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// A prompt that was taken.
    Prompt(String),
    /// Something the agent said.
    Said(String),
    /// A tool it used, or another event, in one line.
    Note(String),
}

/// A running turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    steps: VecDeque<Step>,
    /// Said since the last record, which the history doesn't hold yet.
    pub saying: String,
    /// At what it stands.
    pub stage: Stage,
    usage: Usage,
    cost: Option<Dollars>,
}

/// At what a turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It streams.
    Streaming,
    /// It holds until the gate opens.
    Holding,
    /// A dialog is open; this choice is marked, 0-based.
    Dialog(usize),
}

/// The agent.
#[derive(Debug, Default)]
pub struct State {
    /// What stands in the input box.
    pub draft: Draft,
    /// The running turn; none while idle.
    pub turn: Option<Turn>,
    /// Prompts that wait for the turn's end.
    pub queue: VecDeque<String>,
    /// What happened, oldest first, as much as a screen may need.
    pub history: VecDeque<Block>,
    /// The conversation's id.
    pub conversation: String,
    /// How many prompts of this conversation it remembers.
    pub prompts: usize,
}

impl State {
    /// Blocks kept for the screen, and the most text of each. The record keeps the rest.
    const BLOCKS: usize = 100;
    const BLOCK_BYTES: usize = 16 << 10;

    /// Takes in what happens.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Key(key) => self.key(key, &mut effects),
            Event::Tick if self.waits() == Waits::Tick => self.proceed(&mut effects),
            Event::GateOpen if self.waits() == Waits::Gate => self.go_on(),
            Event::Tick | Event::GateOpen => {}
        }
        effects
    }

    /// Remembers an entry of an earlier run's record.
    pub fn recall(&mut self, entry: TranscriptEntry) {
        match entry {
            TranscriptEntry::Conversation { id } => self.conversation_began(id),
            TranscriptEntry::Prompt { text } => {
                self.prompts += 1;
                self.show(Block::Prompt(text));
            }
            TranscriptEntry::Said { text } => self.show(Block::Said(text)),
            TranscriptEntry::Tool { tool, detail, .. } => self.show(Block::Note(format!("{tool}: {detail}"))),
            TranscriptEntry::Asked { question } => self.show(Block::Note(format!("asked: {question}"))),
            TranscriptEntry::Todos { .. } | TranscriptEntry::TurnEnded { .. } => {}
        }
    }

    /// A new conversation runs: nothing of the last one is remembered.
    pub fn conversation_began(&mut self, id: String) {
        self.conversation = id;
        self.prompts = 0;
        self.history.clear();
    }

    /// What it waits for.
    pub fn waits(&self) -> Waits {
        match self.turn.as_ref().map(|turn| turn.stage) {
            Some(Stage::Streaming) => Waits::Tick,
            Some(Stage::Holding) => Waits::Gate,
            Some(Stage::Dialog(_)) | None => Waits::Keys,
        }
    }

    fn key(&mut self, key: Key, effects: &mut Vec<Effect>) {
        if let Some(Turn { stage: Stage::Dialog(marked), .. }) = &mut self.turn {
            if let Some(choice) = dialog::choice(key, marked) {
                self.answer(choice, effects);
            }
            return;
        }
        match key {
            Key::Char(character) => self.draft.push(character),
            Key::Paste(text) => self.draft.paste(text),
            Key::Backspace => self.draft.backspace(),
            Key::Control('u') => drop(self.draft.take()),
            Key::Control('c') if self.draft.is_empty() => effects.push(Effect::Quit),
            Key::Control('c') => drop(self.draft.take()),
            Key::Escape => self.interrupt(effects),
            Key::Enter if self.draft.continues() => self.draft.backslash_to_newline(),
            Key::Enter => {
                let text = self.draft.take();
                self.submit(text, effects);
            }
            Key::Up | Key::Down | Key::Control(_) => {}
        }
    }

    fn submit(&mut self, text: String, effects: &mut Vec<Effect>) {
        if let Some(command) = text.strip_prefix('!') {
            let command = command.trim().to_owned();
            self.show(Block::Note(format!("would run a shell: {command}")));
            effects.push(tool("shell", command));
            return;
        }
        match text.trim() {
            "" => {}
            "exit" => effects.push(Effect::Quit),
            "/clear" if self.turn.is_none() => effects.push(Effect::NewConversation),
            _ if self.turn.is_some() => self.queue.push_back(text),
            _ => self.begin(text, effects),
        }
    }

    fn begin(&mut self, text: String, effects: &mut Vec<Effect>) {
        self.prompts += 1;
        self.turn = Some(Turn {
            steps: script(&text, self.prompts),
            saying: String::new(),
            stage: Stage::Streaming,
            usage: Usage { input: tokens(&text), output: 0 },
            cost: None,
        });
        self.show(Block::Prompt(text.clone()));
        effects.push(Effect::Record(TranscriptEntry::Prompt { text }));
    }

    fn proceed(&mut self, effects: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else { return };
        match turn.steps.pop_front() {
            Some(Step::Say(text)) => turn.saying.push_str(&text),
            Some(Step::Hold) => {
                turn.stage = Stage::Holding;
                self.said(effects);
            }
            Some(Step::Dialog) => {
                turn.stage = Stage::Dialog(0);
                self.said(effects);
                effects.push(Effect::Record(TranscriptEntry::Asked { question: dialog::question() }));
            }
            Some(Step::Crash) => effects.push(Effect::Crash),
            Some(Step::Allocate(megabytes)) => effects.push(Effect::Allocate(megabytes)),
            Some(Step::Cost(dollars)) => turn.cost = Some(turn.cost.unwrap_or_default().plus(dollars)),
            Some(Step::Tool(command)) => {
                self.said(effects);
                self.show(Block::Note(format!("shell: {command}")));
                effects.push(tool("shell", command));
            }
            Some(Step::Todos(items)) => {
                self.said(effects);
                effects.push(Effect::Record(TranscriptEntry::Todos { items }));
            }
            Some(Step::Fail(reason)) => self.end(Outcome::Failed { reason, blocked: None }, effects),
            None => self.end(Outcome::Completed, effects),
        }
    }

    fn go_on(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.stage = Stage::Streaming;
        }
    }

    fn answer(&mut self, choice: usize, effects: &mut Vec<Effect>) {
        let detail = dialog::decision(choice);
        self.show(Block::Note(format!("permission: {detail}")));
        effects.push(tool("permission", detail));
        self.go_on();
    }

    fn interrupt(&mut self, effects: &mut Vec<Effect>) {
        if self.turn.is_some() {
            self.end(Outcome::Interrupted, effects);
        }
    }

    /// Closes the turn, and begins the next one where a prompt waits.
    fn end(&mut self, outcome: Outcome, effects: &mut Vec<Effect>) {
        self.said(effects);
        let (usage, cost) = self.turn.take().map(|turn| (turn.usage, turn.cost)).unzip();
        match &outcome {
            Outcome::Completed => {}
            Outcome::Interrupted => self.show(Block::Note("interrupted".to_owned())),
            Outcome::Failed { reason, .. } => self.show(Block::Note(format!("failed: {reason}"))),
        }
        effects.push(Effect::Record(TranscriptEntry::TurnEnded { outcome, usage, cost: cost.flatten() }));
        if let Some(next) = self.queue.pop_front() {
            self.begin(next, effects);
        }
    }

    /// Records what was streamed since the last time, as one block.
    fn said(&mut self, effects: &mut Vec<Effect>) {
        let Some(turn) = &mut self.turn else { return };
        let text = std::mem::take(&mut turn.saying).trim().to_owned();
        if text.is_empty() {
            return;
        }
        turn.usage.output += tokens(&text);
        self.show(Block::Said(text.clone()));
        effects.push(Effect::Record(TranscriptEntry::Said { text }));
    }

    fn show(&mut self, block: Block) {
        self.history.push_back(match block {
            Block::Prompt(text) => Block::Prompt(head(text, Self::BLOCK_BYTES)),
            Block::Said(text) => Block::Said(tail(text, Self::BLOCK_BYTES)),
            Block::Note(text) => Block::Note(head(text, 500)),
        });
        if self.history.len() > Self::BLOCKS {
            self.history.pop_front();
        }
    }
}

fn tool(name: &str, detail: String) -> Effect {
    let doing = if name == "shell" { Doing::of_command(&detail) } else { Doing::Other };
    Effect::Record(TranscriptEntry::Tool { tool: name.to_owned(), detail, doing })
}

/// A token is about four bytes of English.
fn tokens(text: &str) -> u64 {
    text.len().div_ceil(4) as u64
}

fn head(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text.shrink_to_fit();
    text
}

fn tail(text: String, most: usize) -> String {
    match text.len().checked_sub(most) {
        None | Some(0) => text,
        Some(cut) => text[text.ceil_char_boundary(cut)..].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> State {
        let mut state = State::default();
        state.conversation_began("c1".into());
        state
    }

    fn press(state: &mut State, keys: &[Key]) -> Vec<Effect> {
        keys.iter().flat_map(|key| state.step(Event::Key(key.clone()))).collect()
    }

    fn send(state: &mut State, text: &str) -> Vec<Effect> {
        press(state, &[Key::Paste(text.into()), Key::Enter])
    }

    /// Lets the turns run until none wants a tick, in short words.
    fn run(state: &mut State) -> Vec<String> {
        let mut words = Vec::new();
        while state.waits() == Waits::Tick {
            words.extend(state.step(Event::Tick).iter().map(word));
        }
        words
    }

    fn word(effect: &Effect) -> String {
        match effect {
            Effect::Record(TranscriptEntry::Prompt { text }) => format!("prompt {text}"),
            Effect::Record(TranscriptEntry::Said { .. }) => "said".into(),
            Effect::Record(TranscriptEntry::Tool { tool, detail, .. }) => format!("{tool} {detail}"),
            Effect::Record(TranscriptEntry::Asked { .. }) => "asked".into(),
            Effect::Record(TranscriptEntry::TurnEnded { outcome: Outcome::Completed, .. }) => "completed".into(),
            Effect::Record(TranscriptEntry::TurnEnded { outcome: Outcome::Interrupted, .. }) => "interrupted".into(),
            other => format!("{other:?}"),
        }
    }

    fn words(effects: &[Effect]) -> Vec<String> {
        effects.iter().map(word).collect()
    }

    #[test]
    fn a_prompt_sent_while_busy_waits_and_runs_by_itself() {
        let mut state = agent();
        assert_eq!(words(&send(&mut state, "one")), ["prompt one"]);
        assert_eq!(send(&mut state, "two"), []);
        assert_eq!(run(&mut state), ["said", "completed", "prompt two", "said", "completed"]);
        assert_eq!((state.prompts, state.turn.is_none(), state.queue.is_empty()), (2, true, true));
    }

    #[test]
    fn escape_ends_the_turn_and_the_waiting_prompt_is_still_delivered() {
        let mut state = agent();
        send(&mut state, "one");
        send(&mut state, "two");
        state.step(Event::Tick);
        assert_eq!(words(&press(&mut state, &[Key::Escape])), ["said", "interrupted", "prompt two"]);
        run(&mut state);
        assert_eq!(press(&mut state, &[Key::Escape]), []);
    }

    #[test]
    fn a_dialog_takes_enter_as_approval_and_everything_else_not_as_text() {
        let opened = || {
            let mut state = agent();
            send(&mut state, "practice: dialog");
            assert_eq!(run(&mut state), ["said", "asked"]);
            state
        };
        let table: [(&[Key], &[&str]); 6] = [
            (&[Key::Enter], &["permission make test: yes"]),
            (&[Key::Char('2')], &["permission make test: always"]),
            (&[Key::Escape], &["permission make test: no"]),
            (&[Key::Down, Key::Down, Key::Down, Key::Up, Key::Enter], &["permission make test: always"]),
            (&[Key::Paste("a prompt".into()), Key::Enter], &["permission make test: yes"]),
            (&[Key::Char('y'), Key::Control('c'), Key::Char('4')], &[]),
        ];
        for (keys, expected) in table {
            let mut state = opened();
            assert_eq!(words(&press(&mut state, keys)), expected, "{keys:?}");
            assert!(state.draft.is_empty());
        }
    }

    #[test]
    fn a_leading_exclamation_mark_is_written_down_as_the_shell_command_it_would_be() {
        let mut state = agent();
        assert_eq!(words(&send(&mut state, "!rm -rf /")), ["shell rm -rf /"]);
        assert_eq!(words(&send(&mut state, "[fleet · cli]\n!ls")), ["prompt [fleet · cli]\n!ls"]);
    }

    #[test]
    fn the_box_s_own_commands_work_only_alone() {
        let mut state = agent();
        assert_eq!(send(&mut state, "exit"), [Effect::Quit]);
        assert_eq!(send(&mut state, "/clear"), [Effect::NewConversation]);
        assert_eq!(send(&mut state, "  \n"), []);
        assert_eq!(press(&mut state, &[Key::Control('c')]), [Effect::Quit]);
        assert_eq!(press(&mut state, &[Key::Char('x'), Key::Control('c')]), []);
        assert_eq!(words(&send(&mut state, "exit now")), ["prompt exit now"]);
    }

    #[test]
    fn a_trailing_backslash_makes_enter_a_new_line() {
        let mut state = agent();
        assert_eq!(send(&mut state, "one\\"), []);
        assert_eq!(words(&press(&mut state, &[Key::Char('2'), Key::Enter])), ["prompt one\n2"]);
    }

    #[test]
    fn a_turn_holds_until_its_gate_opens_and_what_it_said_before_is_recorded() {
        let mut state = agent();
        send(&mut state, "practice: hold");
        assert_eq!(run(&mut state), ["said"]);
        assert_eq!(state.waits(), Waits::Gate);
        assert_eq!(state.step(Event::Tick), []);
        state.step(Event::GateOpen);
        assert_eq!(run(&mut state), ["said", "completed"]);
    }

    #[test]
    fn an_agent_that_reads_its_record_back_remembers_this_conversation_only() {
        let mut state = State::default();
        let prompt = |text: &str| TranscriptEntry::Prompt { text: text.into() };
        for entry in [
            TranscriptEntry::Conversation { id: "old".into() },
            prompt("a"),
            TranscriptEntry::Conversation { id: "new".into() },
            prompt("b"),
            prompt("c"),
        ] {
            state.recall(entry);
        }
        assert_eq!((state.conversation.as_str(), state.prompts), ("new", 2));
        send(&mut state, "d");
        let turn = state.turn.as_ref().unwrap();
        assert!(turn.steps.iter().any(|step| matches!(step, Step::Say(text) if text.contains("prompt 3"))));
    }

    #[test]
    fn a_megabyte_in_the_history_is_not_kept_for_the_screen() {
        let mut state = agent();
        send(&mut state, &"é".repeat(500_000));
        assert!(matches!(state.history.back(), Some(Block::Prompt(text)) if text.len() <= State::BLOCK_BYTES));
        assert_eq!(tail("aéb".into(), 2), "b");
    }
}
