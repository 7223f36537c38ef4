//! The Web API's methods about people: who somebody is, who is in a user group, what somebody's home shows.

use serde::{Deserialize, Serialize};

use super::authority::Account;
use super::web::{CallError, Done, Web};

#[derive(Deserialize)]
struct UserAccount {
    user: Account,
}

#[derive(Deserialize)]
struct GroupUsers {
    #[serde(default)]
    users: Vec<String>,
}

#[derive(Serialize)]
struct PublishView<'a> {
    user_id: &'a str,
    view: Home<'a>,
}

#[derive(Serialize)]
struct Home<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    blocks: Vec<Section<'a>>,
}

#[derive(Serialize)]
struct Section<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: Mrkdwn<'a>,
}

#[derive(Serialize)]
struct Mrkdwn<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

impl Web {
    /// What somebody is.
    pub(super) async fn account(&self, user: &str) -> Result<Account, CallError> {
        let info: UserAccount = self.get("users.info", &[("user", Some(user))]).await?;
        Ok(info.user)
    }

    /// The ids of the people in a user group.
    pub(super) async fn group_users(&self, group: &str) -> Result<Vec<String>, CallError> {
        let found: GroupUsers = self.get("usergroups.users.list", &[("usergroup", Some(group))]).await?;
        Ok(found.users)
    }

    /// Shows `sections`, each of Slack's mrkdwn, in somebody's home of the app.
    pub(super) async fn publish_home(&self, user: &str, sections: &[String]) -> Result<(), CallError> {
        let text = |text| Mrkdwn { kind: "mrkdwn", text };
        let blocks = sections.iter().map(|section| Section { kind: "section", text: text(section) }).collect();
        let request = PublishView { user_id: user, view: Home { kind: "home", blocks } };
        self.post::<_, Done>(&self.bot, "views.publish", &request).await.map(drop)
    }
}
