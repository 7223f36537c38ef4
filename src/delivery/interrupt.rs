//! Interrupts a turn on a person's word: Escape, where a turn runs and nowhere else.

use anyhow::Context;

use super::guard::{self, Hold, Sight};
use super::{Delivery, ESCAPE_AGAIN, Target};
use crate::tmux::Key;

/// What became of an attempt to interrupt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interrupt {
    /// Escape was pressed in a running turn.
    Pressed,
    /// No turn runs.
    Idle,
    /// Neither its screen nor a record tells whether one runs.
    Unknown,
    /// Its pane could not be reached.
    NotReached(Hold),
}

impl Delivery {
    /// Presses Escape where a turn runs.
    pub async fn interrupt(&self, target: &Target<'_>) -> anyhow::Result<Interrupt> {
        let Some(mut sight) = self.look(target).await? else { return Ok(Interrupt::NotReached(Hold::NoSession)) };
        let slug = &target.context.agent.slug;
        if sight.pane.in_mode {
            self.tmux.leave_mode(&sight.pane.id).await.with_context(|| format!("can't leave the mode of {slug}"))?;
            let Some(again) = self.look(target).await? else { return Ok(Interrupt::NotReached(Hold::NoSession)) };
            sight = again;
        }
        let _clear = match guard::check_interrupt(&sight) {
            Ok(Some(clear)) => clear,
            Ok(None) if sight.told.is_none() && sight.screen.activity.is_none() => return Ok(Interrupt::Unknown),
            Ok(None) => return Ok(Interrupt::Idle),
            Err(hold) => return Ok(Interrupt::NotReached(hold)),
        };
        self.tmux.press(&sight.pane.id, Key::Escape).await.with_context(|| format!("can't press Escape in {slug}"))?;
        Ok(Interrupt::Pressed)
    }

    /// Closes a dialog that only tells of a limit, and would keep every prompt from the box; says whether it did, or did so a moment ago.
    pub(super) async fn close_news(&self, target: &Target<'_>, sight: &Sight) -> anyhow::Result<bool> {
        let Ok(_clear) = guard::check_close(sight) else { return Ok(false) };
        let (slug, now) = (&target.context.agent.slug, self.clock.now());
        // A second Escape in quick succession opens a menu in both CLIs.
        let closed = self.remember(slug, |memory| memory.closed);
        if closed.is_some_and(|at| now.duration_since(at).abs() < ESCAPE_AGAIN) {
            return Ok(true);
        }
        self.remember(slug, |memory| memory.closed = Some(now));
        self.tmux.press(&sight.pane.id, Key::Escape).await.with_context(|| format!("can't press Escape in {slug}"))?;
        tracing::info!(agent = %slug, "closed the news of a limit that is over");
        Ok(true)
    }

    /// Whether the agent shows a turn.
    pub async fn shows_turn(&self, target: &Target<'_>) -> anyhow::Result<bool> {
        let sight = self.look(target).await?;
        Ok(sight.is_some_and(|sight| matches!(guard::check_interrupt(&sight), Ok(Some(_)))))
    }
}
