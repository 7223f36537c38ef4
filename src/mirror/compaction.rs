//! Proof that the command to compact a conversation was taken. It is typed as it stands, so no header in a record names its
//! prompt: it is the one prompt of its kind that is on its way when the record tells of a compaction.

use super::Stream;
use crate::model::{Evidence, Fact, Outcome, Slug, Source, Work};
use crate::runtime::{Record, RecordKind};
use crate::store::{EvidenceRow, RecordBatch, Store};

/// Adds what the records that were used up tell of a compaction that we asked for.
pub(super) async fn tell(
    store: &Store,
    agent: &Slug,
    streams: &[Stream],
    used: &[usize],
    batch: &mut RecordBatch,
) -> anyhow::Result<()> {
    let of_it = |record: &Record| matches!(record, Record::Compacting | Record::Compacted { .. });
    let read = streams.iter().zip(used).flat_map(|(stream, used)| &stream.seen[..*used]);
    let told: Vec<_> = read.filter(|seen| of_it(&seen.record)).collect();
    if told.is_empty() {
        return Ok(());
    }
    let open = store.open_prompts(agent).await?;
    let ours = open.iter().find(|prompt| prompt.source == Source::Compact && prompt.state.name().is_under_way());
    let Some(prompt) = ours else { return Ok(()) };
    for seen in told {
        let kind = match seen.kind {
            RecordKind::Hooks => Evidence::Hook,
            RecordKind::Transcript => Evidence::Transcript,
        };
        batch.evidence.push((prompt.id.clone(), EvidenceRow { kind, exact: true }));
        if let Record::Compacted { left } = &seen.record {
            let left = left.map_or_else(String::new, |left| format!(": {left} tokens of it are left"));
            let facts = [
                Fact::TurnStarted { summary: prompt.body.clone() },
                Fact::Said { text: format!("The conversation was compacted{left}.") },
                Fact::TurnEnded { outcome: Outcome::Completed, usage: None, work: Work::default() },
            ];
            batch.facts.extend(facts.map(|fact| (seen.at, Some(prompt.id.clone()), fact)));
        }
    }
    Ok(())
}
