//! What stands in an agent's input box and is in the way: a person's draft that nobody touches any more is set aside and
//! given back, a text of ours that the CLI put back into the box is taken out.
//!
//! A draft is worth more than a prompt's haste. It is stored before the first key, and only one whose way back is known to
//! be exact is ever touched. Nothing here presses Enter.

use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};

use super::guard::{self, Sight};
use super::own::is_ours;
use super::{Delivery, Report, Target};
use crate::model::{Evidence, Prompt, PromptState, StateName, text};
use crate::runtime::{DraftKeys, InputBox};
use crate::tmux::Key;

/// For how long a draft must have stood unchanged to be set aside.
const UNTOUCHED: SignedDuration = SignedDuration::from_mins(10);

/// For how long a text of ours is left in the box while somebody is attached, who may have called it up.
const CALLED_UP: SignedDuration = SignedDuration::from_mins(1);

/// The most keys for one box.
const MOST_KEYS: usize = 500;

/// So many keys without any effect are enough.
const WITHOUT_EFFECT: usize = 3;

/// How long one key may take to show.
const KEY_SHOWS: Duration = Duration::from_millis(500);

/// How often the box is looked at meanwhile.
const KEY_LOOK: Duration = Duration::from_millis(5);

/// What to do about the input box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BoxStep {
    /// Nothing.
    Leave,
    /// Take our own text out: its prompt is settled, and nothing of it may run again.
    TakeOut,
    /// Set a person's draft aside.
    SetAside,
    /// Give it back.
    GiveBack,
    /// It is back.
    Forget,
}

/// What is known of the box.
struct Box<'a> {
    input: &'a InputBox,
    /// Whether it holds exactly the text of a prompt that is settled.
    settled: bool,
    /// What was set aside and not given back yet.
    aside: Option<&'a str>,
    /// Whether a prompt waits that may go.
    waits: bool,
    /// For how long the box has shown the same.
    untouched: SignedDuration,
    /// Whether somebody is attached.
    attached: bool,
    /// Whether what it shows can be given back exactly.
    exact: bool,
}

fn plan(known: &Box<'_>) -> BoxStep {
    match (known.input, known.aside) {
        (InputBox::Holds(held), Some(aside)) if held == aside => BoxStep::Forget,
        (InputBox::Holds(_), _) if known.settled && known.waits => {
            if !known.attached || known.untouched >= CALLED_UP {
                BoxStep::TakeOut
            } else {
                BoxStep::Leave
            }
        }
        (InputBox::Holds(_), None) if known.waits && known.exact && known.untouched >= UNTOUCHED => BoxStep::SetAside,
        (InputBox::Empty, Some(_)) if !known.waits => BoxStep::GiveBack,
        _ => BoxStep::Leave,
    }
}

impl Delivery {
    /// Sees to what stands in the box while nothing is on its way; says whether it pressed any key.
    pub(super) async fn see_to_box(
        &self,
        target: &Target<'_>,
        prompts: &[Prompt],
        aside: Option<&str>,
        sight: &Sight,
        report: &mut Report,
    ) -> anyhow::Result<bool> {
        let Some(keys) = target.runtime.draft_keys() else { return Ok(false) };
        let slug = &target.context.agent.slug;
        let input = &sight.screen.input;
        let untouched = self.untouched(target, input);
        if aside.is_none() && !matches!(input, InputBox::Holds(_)) {
            return Ok(false);
        }
        let waiting = prompts.iter().find(|prompt| prompt.state.name().is_waiting());
        let known = Box {
            settled: self.is_settled_text(target, input).await?,
            input,
            aside,
            waits: waiting.is_some() && self.store.agent_hold(slug).await?.is_none(),
            untouched,
            attached: sight.pane.attached > 0,
            exact: keys.restore.is_some() || shows_all(input, sight.pane.width),
        };
        match (plan(&known), input, waiting) {
            (BoxStep::Forget, ..) => self.forget_draft(target).await?,
            (BoxStep::TakeOut, InputBox::Holds(_), _) => {
                tracing::info!(agent = %slug, "a prompt's text that came back into the input box is taken out");
                return self.cut(target, &keys, input).await;
            }
            (BoxStep::SetAside, InputBox::Holds(held), Some(prompt)) => {
                return self.set_aside(target, &keys, input, held, prompt, report).await;
            }
            (BoxStep::GiveBack, ..) => return self.give_back(target, &keys, aside.unwrap_or_default()).await,
            _ => {}
        }
        Ok(false)
    }

    /// What was set aside for an agent and not given back yet.
    pub(super) async fn aside(&self, target: &Target<'_>) -> anyhow::Result<Option<String>> {
        let slug = &target.context.agent.slug;
        if let Some(known) = self.remember(slug, |memory| memory.aside.clone()) {
            return Ok(known);
        }
        let aside = self.store.draft(slug).await?;
        self.remember(slug, |memory| memory.aside = Some(aside.clone()));
        Ok(aside)
    }

    /// For how long the box has shown what it shows, as far as it was looked at.
    fn untouched(&self, target: &Target<'_>, input: &InputBox) -> SignedDuration {
        let now: Timestamp = self.clock.now();
        self.remember(&target.context.agent.slug, |memory| match &memory.in_box {
            Some((known, since)) if known == input && *since <= now => now.duration_since(*since),
            _ => {
                memory.in_box = Some((input.clone(), now));
                SignedDuration::ZERO
            }
        })
    }

    /// Whether the box holds exactly what was typed for a prompt of this agent that the agent has taken, or that nobody wants
    /// any more: Claude puts a prompt back into the box that is interrupted before the first word of its answer.
    async fn is_settled_text(&self, target: &Target<'_>, input: &InputBox) -> anyhow::Result<bool> {
        let InputBox::Holds(held) = input else { return Ok(false) };
        let Some(id) = text::header_id(held) else { return Ok(false) };
        let Some(prompt) = self.store.prompt(&id).await? else { return Ok(false) };
        let settled = match &prompt.state {
            PromptState::Confirmed { by } => *by != Evidence::Queue,
            state => {
                matches!(state.name(), StateName::Done | StateName::Failed | StateName::Cancelled | StateName::Expired)
            }
        };
        let typed = self.store.typed_text(&id).await?.unwrap_or_default();
        Ok(settled && prompt.agent == target.context.agent.slug && is_ours(held, &typed, false))
    }

    async fn set_aside(
        &self,
        target: &Target<'_>,
        keys: &DraftKeys,
        input: &InputBox,
        held: &str,
        waiting: &Prompt,
        report: &mut Report,
    ) -> anyhow::Result<bool> {
        let slug = &target.context.agent.slug;
        self.store.keep_draft(slug, held, self.clock.now()).await?;
        self.remember(slug, |memory| memory.aside = Some(Some(held.to_owned())));
        let cause = "a draft that nobody had touched for ten minutes is set aside, and given back afterwards";
        if self.cut(target, keys, input).await? {
            tracing::info!(agent = %slug, "{cause}");
            self.advance(waiting, &PromptState::Queued, cause, report).await?;
            return Ok(true);
        }
        tracing::warn!(agent = %slug, "a draft could not be taken out of the input box whole; what is missing is put back");
        if let (Some(sight), Some(key)) = (self.look(target).await?, keys.restore)
            && guard::check_cut(&sight, &sight.screen.input).is_ok()
        {
            self.press(&sight, key).await?;
        }
        self.forget_draft(target).await?;
        // Whatever it shows now is a draft that was touched a moment ago.
        self.remember(slug, |memory| memory.in_box = None);
        Ok(true)
    }

    /// Puts the draft back into the empty box. An agent that was started anew has forgotten what was cut: it is pasted then.
    async fn give_back(&self, target: &Target<'_>, keys: &DraftKeys, aside: &str) -> anyhow::Result<bool> {
        let slug = &target.context.agent.slug;
        let Some(sight) = self.look(target).await? else { return Ok(false) };
        let Ok(clear) = guard::check_steering(&sight) else { return Ok(false) };
        let mut shown = None;
        if let Some(key) = keys.restore {
            self.press(&sight, key).await?;
            shown = self.box_after(target, &InputBox::Empty).await?;
        }
        if shown.is_none() {
            self.paste(clear, &sight, aside).await?;
            shown = self.box_after(target, &InputBox::Empty).await?;
        }
        if shown.as_ref() != Some(&InputBox::Holds(aside.to_owned())) {
            tracing::warn!(agent = %slug, "the draft that was set aside looks another way now that it is back: {aside:?}");
        }
        self.remember(slug, |memory| memory.pasted = None);
        self.forget_draft(target).await?;
        Ok(true)
    }

    async fn forget_draft(&self, target: &Target<'_>) -> anyhow::Result<()> {
        let slug = &target.context.agent.slug;
        self.store.forget_draft(slug).await?;
        self.remember(slug, |memory| memory.aside = Some(None));
        Ok(())
    }

    /// Presses the key that cuts until the box is empty; says whether it is. Each key needs a look of its own: a person may
    /// begin to type at any moment.
    async fn cut(&self, target: &Target<'_>, keys: &DraftKeys, held: &InputBox) -> anyhow::Result<bool> {
        let mut shown = held.clone();
        let mut without_effect = 0;
        for _ in 0..MOST_KEYS {
            let Some(sight) = self.look(target).await? else { return Ok(false) };
            let Ok(_clear) = guard::check_cut(&sight, &shown) else { return Ok(false) };
            self.press(&sight, keys.cut).await?;
            match self.box_after(target, &shown).await? {
                Some(InputBox::Empty) => return Ok(true),
                Some(now) => (shown, without_effect) = (now, 0),
                None if without_effect == WITHOUT_EFFECT => return Ok(false),
                None => without_effect += 1,
            }
        }
        Ok(false)
    }

    /// What the box shows once it shows something else than `before`; none where it doesn't in time.
    async fn box_after(&self, target: &Target<'_>, before: &InputBox) -> anyhow::Result<Option<InputBox>> {
        let changes = async {
            loop {
                match self.look(target).await? {
                    None => return Ok(None),
                    Some(sight) if sight.screen.input != *before && sight.screen.input != InputBox::Absent => {
                        return Ok(Some(sight.screen.input));
                    }
                    Some(_) => tokio::time::sleep(KEY_LOOK).await,
                }
            }
        };
        tokio::time::timeout(KEY_SHOWS, changes).await.unwrap_or(Ok(None))
    }

    async fn press(&self, sight: &Sight, key: Key) -> anyhow::Result<()> {
        self.tmux
            .press(&sight.pane.id, key)
            .await
            .with_context(|| format!("can't press a key in {}", sight.pane.session))
    }
}

/// Whether a box shows the whole draft as it was typed: no line so long that the box may have broken it, no placeholder.
fn shows_all(input: &InputBox, width: u32) -> bool {
    let InputBox::Holds(held) = input else { return false };
    let widest = held.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    // Wide characters take two columns each.
    2 * widest + 8 < width as usize && !held.contains("[Pasted")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> InputBox {
        InputBox::Holds(text.into())
    }

    #[test]
    fn a_draft_is_touched_only_after_ten_minutes_for_a_prompt_that_waits_and_comes_back_when_none_does() {
        let (draft, other, empty) = (holds("draft"), holds("other"), InputBox::Empty);
        let long = UNTOUCHED;
        let base = |input| Box {
            input,
            settled: false,
            aside: None,
            waits: true,
            untouched: long,
            attached: true,
            exact: true,
        };
        let rows = [
            ("untouched", base(&draft), BoxStep::SetAside),
            ("touched lately", Box { untouched: SignedDuration::from_mins(9), ..base(&draft) }, BoxStep::Leave),
            ("nobody waits", Box { waits: false, ..base(&draft) }, BoxStep::Leave),
            ("its way back is not exact", Box { exact: false, ..base(&draft) }, BoxStep::Leave),
            ("another one is aside already", Box { aside: Some("draft"), ..base(&other) }, BoxStep::Leave),
            ("it is back", Box { aside: Some("draft"), ..base(&draft) }, BoxStep::Forget),
            ("prompts still wait", Box { aside: Some("draft"), ..base(&empty) }, BoxStep::Leave),
            ("none waits", Box { aside: Some("draft"), waits: false, ..base(&empty) }, BoxStep::GiveBack),
            ("no box", Box { aside: Some("draft"), waits: false, ..base(&InputBox::Absent) }, BoxStep::Leave),
            ("our own settled text", Box { settled: true, untouched: CALLED_UP, ..base(&draft) }, BoxStep::TakeOut),
            (
                "called up by somebody",
                Box { settled: true, untouched: SignedDuration::ZERO, ..base(&draft) },
                BoxStep::Leave,
            ),
            (
                "nobody is there",
                Box { settled: true, untouched: SignedDuration::ZERO, attached: false, ..base(&draft) },
                BoxStep::TakeOut,
            ),
        ];
        for (name, known, step) in rows {
            assert_eq!(plan(&known), step, "{name}");
        }
    }

    #[test]
    fn a_draft_that_the_box_may_have_broken_or_hidden_is_not_called_exact() {
        assert!(shows_all(&holds("one line\nand two"), 200));
        assert!(!shows_all(&holds(&"x".repeat(150)), 200));
        assert!(!shows_all(&holds("[Pasted Content 3000 chars]"), 200));
        assert!(!shows_all(&InputBox::Empty, 200));
    }
}
