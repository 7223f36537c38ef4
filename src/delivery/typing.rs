//! The keystrokes: a paste into an empty box, a look that it shows, Enter. Each needs a fresh look and the guard's word.

use std::time::Duration;

use anyhow::Context;

use super::guard::{self, Clear, Hold, Sight};
use super::order::Batch;
use super::plan::InBox;
use super::{Delivery, Report, Target, typed_text};
use crate::config::CrashPoint;
use crate::model::{Prompt, PromptState, StateName};
use crate::runtime::InputBox;
use crate::tmux::{Key, TmuxError};

/// How soon after a paste the box is looked at again, and how rarely at last: a fast program shows it within a millisecond or
/// two, and the looks at a slow one shall not slow it further.
const PASTE_LOOK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(16));

/// How long a paste may take to show in the box before the prompt is left to a later pass.
const PASTE_SHOWS: Duration = Duration::from_secs(3);

impl Delivery {
    /// Types a prompt, and with it those that go as one message.
    pub(super) async fn type_batch(
        &self,
        target: &Target<'_>,
        batch: &Batch<'_>,
        attempt: u32,
        steering: bool,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let prompt = batch.lead;
        let text = typed_text(target, prompt, &batch.others);
        let typing = PromptState::Typing { attempt, steering };
        let cause = match (steering, batch.others.len()) {
            (true, 0) => "it goes into the turn that runs".to_owned(),
            (true, others) => format!("it goes into the turn that runs, {} messages as one", others + 1),
            (false, 0) => "the agent is idle".to_owned(),
            (false, others) => format!("the agent is idle; {} messages of one thread go as one", others + 1),
        };
        if !self.store.begin_typing(prompt, &batch.others, &typing, &cause, &text, self.clock.now()).await? {
            return Ok(());
        }
        CrashPoint::TypingStored.pass();
        let typing = Prompt { state: typing, ..prompt.clone() };
        report.moved.push((prompt.id.clone(), StateName::Typing));
        // A hold may have come meanwhile. Nothing stands in the pane now, at any attempt: that is why it is typed.
        if let Some(row) = self.store.agent_hold(&prompt.agent).await? {
            return self.back_to_the_queue(&typing, &Hold::Held(row.who).to_string(), report).await;
        }
        let Some(sight) = self.look(target).await? else { return Ok(()) };
        let clear = match if steering { guard::check_steering(&sight) } else { guard::check(&sight) } {
            Ok(clear) => clear,
            // Nothing of the first attempt was typed yet, so the prompt is where it was.
            Err(hold) if attempt == 1 => {
                return self.back_to_the_queue(&typing, &hold.to_string(), report).await;
            }
            Err(_) => return Ok(()),
        };
        self.remember(&prompt.agent, |memory| memory.pasted = Some(prompt.id.clone()));
        if let Err(error) = self.paste(clear, &sight, &text).await {
            // Lost and Timeout leave it open whether the text came through: a later pass looks. Anything else didn't begin.
            let unknown = error.downcast_ref::<TmuxError>();
            if !matches!(unknown, Some(TmuxError::Lost { .. } | TmuxError::Timeout { .. })) {
                self.back_to_the_queue(&typing, &format!("{error:#}"), report).await?;
            }
            return Err(error);
        }
        CrashPoint::Pasted.pass();
        if !self.shows_paste(target, &typing).await? {
            // A later pass finds the text in the box, or proof that it never came there.
            return Ok(());
        }
        CrashPoint::PasteShown.pass();
        tokio::time::sleep(target.runtime.settle()).await;
        let Some(sight) = self.look_for(target, &typing).await? else { return Ok(()) };
        self.press_enter(target, &typing, &text, PromptState::Submitted { attempt, steering }, &sight, report).await
    }

    async fn back_to_the_queue(&self, typing: &Prompt, cause: &str, report: &mut Report) -> anyhow::Result<()> {
        self.advance_together(typing, &PromptState::Queued, cause, report).await
    }

    /// Waits until the box shows what was pasted into it; false where it doesn't in time.
    async fn shows_paste(&self, target: &Target<'_>, prompt: &Prompt) -> anyhow::Result<bool> {
        let shows = async {
            let mut pause = PASTE_LOOK.0;
            loop {
                match self.look_for(target, prompt).await? {
                    Some(sight) if matches!(sight.screen.input, InputBox::Holds(_)) => return Ok(true),
                    Some(sight) if !target.keeps_record && guard::check_last_line(&sight, &prompt.id).is_ok() => {
                        return Ok(true);
                    }
                    Some(sight) if sight.pane.death.is_none() => tokio::time::sleep(pause).await,
                    _ => return Ok(false),
                }
                pause = (pause * 2).min(PASTE_LOOK.1);
            }
        };
        tokio::time::timeout(PASTE_SHOWS, shows).await.unwrap_or(Ok(false))
    }

    pub(super) async fn paste(&self, _clear: Clear, sight: &Sight, text: &str) -> anyhow::Result<()> {
        self.tmux.paste(&sight.pane.id, text).await.with_context(|| format!("can't paste into {}", sight.pane.session))
    }

    /// Presses Enter where the box holds exactly what was typed; `submitted` is what the prompt becomes by it.
    pub(super) async fn press_enter(
        &self,
        target: &Target<'_>,
        prompt: &Prompt,
        typed: &str,
        submitted: PromptState,
        sight: &Sight,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let steering = matches!(submitted, PromptState::Submitted { steering: true, .. });
        let pasted =
            if self.in_box(prompt, typed, sight) == InBox::Ours { &sight.screen.input } else { &InputBox::Absent };
        let mut clear = guard::check_enter(sight, pasted, steering);
        if !target.keeps_record && sight.whole_lines {
            clear = clear.or(guard::check_last_line(sight, &prompt.id));
        }
        let Ok(_clear): Result<Clear, _> = clear else { return Ok(()) };
        self.tmux
            .press(&sight.pane.id, Key::Enter)
            .await
            .with_context(|| format!("can't press Enter in {}", sight.pane.session))?;
        CrashPoint::EnterPressed.pass();
        self.advance_together(prompt, &submitted, "Enter was pressed", report).await
    }
}
