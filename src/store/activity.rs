//! When something happened last, for a box that wants to know whether it is idle.

use anyhow::Context;
use jiff::Timestamp;

use super::{Store, timestamp};

impl Store {
    /// When an agent last did something, a prompt last came or moved on; none where nothing did. What Slack
    /// told is not asked: our own words come back from there, the warning of a stop among them.
    pub async fn last_activity(&self) -> anyhow::Result<Option<Timestamp>> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT max(at) FROM (SELECT max(at) AS at FROM feed UNION ALL SELECT max(since) FROM inbox) AS everything",
        )
        .fetch_one(&mut *self.read().await?)
        .await
        .context("can't read when something happened last")?;
        at.map(timestamp).transpose()
    }
}
