//! Acts on the events that were stored: what a person said becomes a prompt, once.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Bridge;
use super::from_slack::{Decision, Directory, EventFrame, decide, users_in};
use crate::store::slack::{Envelope, close_envelope, insert_thread};
use crate::store::{Inserted, insert_prompt};

/// What was settled is kept this long, so that a late second delivery is recognised.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Acts on stored events, for ever; first on those of an earlier life.
pub(super) async fn act(bridge: Arc<Bridge>) {
    bridge.directory().await;
    let mut pruned = Timestamp::MIN;
    loop {
        let now = bridge.clock.now();
        if now.duration_since(pruned) > SignedDuration::from_hours(24) {
            pruned = now;
            let before = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
            if let Err(error) = bridge.store.prune_slack(before).await {
                tracing::warn!("{error:#}");
            }
        }
        let directory = bridge.directory().await;
        match pass(&bridge, &directory).await {
            Ok(0) => {
                bridge.board.store(None);
                // The timeout is for the pruning alone: a stored event always wakes.
                let _ = tokio::time::timeout(Duration::from_secs(3600), bridge.arrived.notified()).await;
            }
            Ok(_) => {}
            Err(error) => {
                bridge.board.store(Some(format!("{error:#}")));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Acts on what is there; says how many events that were.
async fn pass(bridge: &Bridge, directory: &Directory) -> anyhow::Result<usize> {
    let envelopes = bridge.store.open_envelopes(100).await?;
    for envelope in &envelopes {
        act_on(bridge, directory, envelope).await?;
    }
    Ok(envelopes.len())
}

async fn act_on(bridge: &Bridge, directory: &Directory, envelope: &Envelope) -> anyhow::Result<()> {
    let decision = judge(bridge, directory, envelope).await?;
    let now = bridge.clock.now();
    let mut write = bridge.store.write_durably().await?;
    let mut wake = None;
    match decision {
        Decision::Prompt { prompt, thread, ack } => {
            if let Inserted::New(_) = insert_prompt(&mut write, &prompt, now).await? {
                insert_thread(&mut write, &thread).await?;
                bridge.queue(&mut write, &ack, now).await?;
                wake = Some(prompt.agent);
            }
        }
        Decision::AnswerOnce { thread, answer } => {
            insert_thread(&mut write, &thread).await?;
            bridge.queue(&mut write, &answer, now).await?;
        }
        Decision::Ignore(reason) => tracing::debug!("slack event {} is ignored: {reason}", envelope.seq),
    }
    close_envelope(&mut write, envelope.seq, now).await?;
    write.commit().await?;
    if let Some(agent) = wake {
        // Nobody listens only while the daemon goes down; its next start reads the inbox itself.
        let _ = bridge.wakes.inbox.send(agent);
    }
    bridge.queued.notify_one();
    Ok(())
}

async fn judge(bridge: &Bridge, directory: &Directory, envelope: &Envelope) -> anyhow::Result<Decision> {
    let Ok(EventFrame { payload }) = serde_json::from_str(&envelope.payload) else {
        return Ok(Decision::Ignore("an event that can't be read"));
    };
    let thread = match payload.event.reply_to() {
        Some((channel, ts)) => bridge.store.slack_thread(channel, ts).await?,
        None => None,
    };
    // Most events are decided without a name: it is asked for only where it will be used.
    let first = decide(&payload, directory, thread.as_ref(), &Default::default());
    let Decision::Prompt { .. } = first else { return Ok(first) };
    let names = bridge.names.of(bridge, &users_in(&payload.event)).await;
    Ok(decide(&payload, directory, thread.as_ref(), &names))
}
