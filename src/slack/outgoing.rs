//! The one door from what is to be said to the outbox: no secret passes it.
//!
//! An agent's words are cleaned before they are rendered and split too, since a secret may not be known by its half.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Bridge;
use crate::store::Write;
use crate::store::slack::{NewOutboxRow, insert_outbox};

impl Bridge {
    /// The same value, without the secrets in its texts.
    pub(super) fn clean<T: Serialize + DeserializeOwned>(&self, value: &T) -> anyhow::Result<T> {
        self.redaction.all(value)
    }

    /// The same row, without the secrets in its texts.
    pub(super) fn clean_row(&self, row: &NewOutboxRow) -> anyhow::Result<NewOutboxRow> {
        Ok(NewOutboxRow { action: self.clean(&row.action)?, ..row.clone() })
    }

    /// Queues a row; the same dedup key again is the same row.
    pub(super) async fn queue(&self, write: &mut Write, row: &NewOutboxRow, now: Timestamp) -> anyhow::Result<()> {
        insert_outbox(write, &Uuid::new_v4().simple().to_string(), &self.clean_row(row)?, now).await
    }
}
