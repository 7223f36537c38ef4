//! Who may do what from Slack. Pure: a person and the rights of an agent in, a permit or a refusal out.
//!
//! A [`Permit`] can be made nowhere else, and whatever acts on a message, a button, a reaction, a command or a file asks for
//! one: an act that was not judged does not compile. Must never happen here: leave by default for whom we know too little
//! of; leave for a bot, whoever lists it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::{Grantee, Rights};
use crate::model::Slug;

/// What somebody wants to do with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Act {
    /// Tell it something.
    Steer,
    /// Interrupt its turn.
    Stop,
    /// Answer what it asks leave for, or judge its outcome.
    Approve,
    /// See how it is.
    See,
}

impl Act {
    /// The word in logs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Steer => "steer",
            Self::Stop => "stop",
            Self::Approve => "approve",
            Self::See => "see",
        }
    }
}

/// What somebody is in our workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// A full member.
    Member,
    /// Invited to some channels only.
    Guest,
    /// Of another workspace, met in a shared channel.
    Outsider,
    /// A program.
    Bot,
    /// Gone.
    Deleted,
}

/// Somebody, as far as rights go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Actor {
    /// Their user id.
    pub(super) id: String,
    /// What they are here.
    pub(super) standing: Standing,
    /// Those of the user groups that agents.yaml lists in which they are.
    pub(super) groups: BTreeSet<String>,
}

/// Leave for one act of one person with one agent. Only [`may`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permit {
    act: Act,
    agent: Slug,
    user: String,
}

impl Permit {
    /// What is allowed.
    pub(super) fn act(&self) -> Act {
        self.act
    }

    /// With whom.
    pub(super) fn agent(&self) -> &Slug {
        &self.agent
    }

    /// To whom, by their id.
    pub(super) fn user(&self) -> &str {
        &self.user
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What.
    pub(super) act: Act,
    /// With whom.
    pub(super) agent: Slug,
    /// Who, by their id.
    pub(super) user: String,
    /// Why not.
    pub(super) why: Why,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A program never may.
    Bot,
    /// Their account is closed.
    Deleted,
    /// A guest whom agents.yaml does not list.
    Guest,
    /// Somebody of another workspace whom agents.yaml does not list.
    Outsider,
    /// A member, and agents.yaml lists others.
    Unlisted,
}

impl Why {
    /// The word in logs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Bot => "a bot",
            Self::Deleted => "a deleted user",
            Self::Guest => "a guest who is not listed",
            Self::Outsider => "an outsider who is not listed",
            Self::Unlisted => "not listed",
        }
    }
}

/// The user groups in which somebody has to be looked for before it can be said whether they may.
pub(super) fn groups(act: Act, rights: &Rights) -> Vec<&str> {
    let lists: &[&[Grantee]] = match act {
        Act::Steer => &[&rights.steer],
        Act::Stop => &[&rights.stop],
        Act::Approve => &[&rights.approve],
        Act::See => &[&rights.steer, &rights.stop, &rights.approve],
    };
    let groups = lists.iter().flat_map(|list| list.iter()).filter_map(|grantee| match grantee {
        Grantee::Group(id) => Some(id.as_str()),
        Grantee::Members | Grantee::User(_) => None,
    });
    groups.collect()
}

/// Whether `person` may do that with `agent`, whose rights these are.
pub(super) fn may(person: &Actor, act: Act, agent: &Slug, rights: &Rights) -> Result<Permit, Refusal> {
    let refused = |why| Err(Refusal { act, agent: agent.clone(), user: person.id.clone(), why });
    let listed = match act {
        Act::Steer => is_listed(person, &rights.steer),
        Act::Stop => is_listed(person, &rights.stop),
        Act::Approve => is_listed(person, &rights.approve),
        // Whoever may do anything sees what they do it to; a member sees what every member sees in the channels.
        Act::See => {
            let lists = [&rights.steer, &rights.stop, &rights.approve];
            person.standing == Standing::Member || lists.iter().any(|list| is_listed(person, list))
        }
    };
    match person.standing {
        Standing::Bot => refused(Why::Bot),
        Standing::Deleted => refused(Why::Deleted),
        _ if listed => Ok(Permit { act, agent: agent.clone(), user: person.id.clone() }),
        Standing::Guest => refused(Why::Guest),
        Standing::Outsider => refused(Why::Outsider),
        Standing::Member => refused(Why::Unlisted),
    }
}

fn is_listed(person: &Actor, list: &[Grantee]) -> bool {
    list.iter().any(|grantee| match grantee {
        Grantee::Members => person.standing == Standing::Member,
        Grantee::User(id) => *id == person.id,
        // Who is in a group is another workspace's affair as soon as it is shared: an outsider counts by their id alone.
        Grantee::Group(id) => person.standing != Standing::Outsider && person.groups.contains(id),
    })
}

/// What `users.info` tells of somebody, as far as rights go. What is missing counts against them.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Account {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) team_id: String,
    #[serde(default)]
    pub(super) deleted: bool,
    #[serde(default)]
    pub(super) is_bot: bool,
    #[serde(default)]
    pub(super) is_workflow_bot: bool,
    #[serde(default)]
    pub(super) is_stranger: bool,
    #[serde(default)]
    pub(super) is_restricted: bool,
    #[serde(default)]
    pub(super) is_ultra_restricted: bool,
    /// Only in an organisation of several workspaces.
    #[serde(default)]
    pub(super) enterprise_user: Option<EnterpriseUser>,
}

/// Somebody in an organisation of several workspaces.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct EnterpriseUser {
    /// The workspaces that they are a member of.
    #[serde(default)]
    pub(super) teams: Vec<String>,
}

/// Slack's own bot, which `users.info` does not call one.
const SLACKBOT: &str = "USLACKBOT";

/// What somebody is in the workspace `team`; `own` is our own user id.
pub(super) fn standing(account: &Account, team: &str, own: &str) -> Standing {
    let ours = account.team_id == team
        || account.enterprise_user.as_ref().is_some_and(|user| user.teams.iter().any(|known| known == team));
    if account.is_bot || account.is_workflow_bot || account.id == SLACKBOT || account.id == own {
        Standing::Bot
    } else if account.deleted {
        Standing::Deleted
    } else if account.is_stranger || team.is_empty() || !ours {
        Standing::Outsider
    } else if account.is_restricted || account.is_ultra_restricted {
        Standing::Guest
    } else {
        Standing::Member
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDINGS: [Standing; 5] =
        [Standing::Member, Standing::Guest, Standing::Outsider, Standing::Bot, Standing::Deleted];

    fn person(standing: Standing, groups: &[&str]) -> Actor {
        Actor { id: "U1".into(), standing, groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }

    fn only(act: Act, list: &[Grantee]) -> Rights {
        let mut rights = Rights { steer: Vec::new(), approve: Vec::new(), stop: Vec::new() };
        match act {
            Act::Steer => rights.steer = list.to_vec(),
            Act::Stop => rights.stop = list.to_vec(),
            Act::Approve | Act::See => rights.approve = list.to_vec(),
        }
        rights
    }

    fn judged(standing: Standing, groups: &[&str], act: Act, rights: &Rights) -> Result<(), Why> {
        let agent: Slug = "ann".parse().unwrap();
        match may(&person(standing, groups), act, &agent, rights) {
            Ok(permit) => {
                assert_eq!((permit.act(), permit.agent(), permit.user()), (act, &agent, "U1"));
                Ok(())
            }
            Err(refusal) => {
                assert_eq!((refusal.act, &refusal.agent, refusal.user.as_str()), (act, &agent, "U1"));
                Err(refusal.why)
            }
        }
    }

    fn unlisted(standing: Standing) -> Result<(), Why> {
        match standing {
            Standing::Member => Err(Why::Unlisted),
            Standing::Guest => Err(Why::Guest),
            Standing::Outsider => Err(Why::Outsider),
            Standing::Bot => Err(Why::Bot),
            Standing::Deleted => Err(Why::Deleted),
        }
    }

    #[test]
    fn by_default_a_member_steers_and_stops_and_nobody_else_does_anything() {
        for standing in STANDINGS {
            for act in [Act::Steer, Act::Stop, Act::See] {
                let expected = if standing == Standing::Member { Ok(()) } else { unlisted(standing) };
                assert_eq!(judged(standing, &[], act, &Rights::default()), expected, "{standing:?} {act:?}");
            }
            let approve = judged(standing, &["S1"], Act::Approve, &Rights::default());
            assert_eq!(approve, unlisted(standing), "{standing:?}");
        }
    }

    #[test]
    fn each_list_gives_its_own_act_to_whom_it_names_and_to_nobody_else() {
        let user = |id: &str| Grantee::User(id.into());
        let group = |id: &str| Grantee::Group(id.into());
        // The list, the groups of the person, and who may by it.
        let rows: [(&[Grantee], &[&str], &[Standing]); 8] = [
            (&[], &[], &[]),
            (&[Grantee::Members], &[], &[Standing::Member]),
            (&[user("U1")], &[], &[Standing::Member, Standing::Guest, Standing::Outsider]),
            (&[user("U2")], &[], &[]),
            (&[group("S1")], &["S1"], &[Standing::Member, Standing::Guest]),
            (&[group("S1")], &["S2"], &[]),
            (&[group("S1")], &[], &[]),
            (&[user("U2"), group("S1"), Grantee::Members], &["S1"], &[Standing::Member, Standing::Guest]),
        ];
        for (list, groups, allowed) in rows {
            for standing in STANDINGS {
                for act in [Act::Steer, Act::Stop, Act::Approve] {
                    let expected = if allowed.contains(&standing) { Ok(()) } else { unlisted(standing) };
                    assert_eq!(
                        judged(standing, groups, act, &only(act, list)),
                        expected,
                        "{standing:?} {act:?} {list:?}"
                    );
                    for other in [Act::Steer, Act::Stop, Act::Approve].into_iter().filter(|other| *other != act) {
                        assert_eq!(
                            judged(standing, groups, other, &only(act, list)),
                            unlisted(standing),
                            "{list:?} of {act:?} gave {other:?}"
                        );
                    }
                }
                let sees = standing == Standing::Member || allowed.contains(&standing);
                assert_eq!(
                    judged(standing, groups, Act::See, &only(Act::See, list)).is_ok(),
                    sees,
                    "{standing:?} {list:?}"
                );
            }
        }
    }

    #[test]
    fn what_was_stored_of_people_is_read_for_ever() {
        let words = ["member", "guest", "outsider", "bot", "deleted"].map(|word| format!("\"{word}\""));
        assert_eq!(STANDINGS.map(|standing| serde_json::to_string(&standing).unwrap()), words);
        assert_eq!(words.map(|word| serde_json::from_str::<Standing>(&word).unwrap()), STANDINGS);
    }

    #[test]
    fn whoever_is_not_plainly_a_member_of_our_workspace_is_not_taken_for_one() {
        let of = |json: &str| standing(&serde_json::from_str(json).unwrap(), "T1", "UFLEET");
        for (account, expected) in [
            (r#"{"id":"U1","team_id":"T1"}"#, Standing::Member),
            (r#"{"id":"U1","team_id":"T1","is_restricted":true}"#, Standing::Guest),
            (r#"{"id":"U1","team_id":"T1","is_restricted":true,"is_ultra_restricted":true}"#, Standing::Guest),
            (r#"{"id":"U1","team_id":"T1","is_ultra_restricted":true}"#, Standing::Guest),
            (r#"{"id":"U1","team_id":"T2"}"#, Standing::Outsider),
            (r#"{"id":"U1","team_id":"T1","is_stranger":true}"#, Standing::Outsider),
            (r#"{"id":"U1","team_id":"T2","is_restricted":true}"#, Standing::Outsider),
            (r#"{"id":"W1","team_id":"T2","enterprise_user":{"teams":["T3","T1"]}}"#, Standing::Member),
            (r#"{"id":"W1","team_id":"T2","enterprise_user":{"teams":["T3"]}}"#, Standing::Outsider),
            (r#"{"id":"W1","team_id":"T2","is_restricted":true,"enterprise_user":{"teams":["T1"]}}"#, Standing::Guest),
            (r#"{"id":"U1","team_id":"T1","deleted":true}"#, Standing::Deleted),
            (r#"{"id":"U1","team_id":"T1","is_bot":true}"#, Standing::Bot),
            (r#"{"id":"U1","team_id":"T1","is_bot":true,"deleted":true}"#, Standing::Bot),
            (r#"{"id":"U1","team_id":"T1","is_workflow_bot":true}"#, Standing::Bot),
            (r#"{"id":"USLACKBOT","team_id":"T1","is_bot":false}"#, Standing::Bot),
            (r#"{"id":"UFLEET","team_id":"T1"}"#, Standing::Bot),
            ("{}", Standing::Outsider),
        ] {
            assert_eq!(of(account), expected, "{account}");
        }
        let unknown = Account { id: "U1".into(), ..Account::default() };
        assert_eq!(standing(&unknown, "", "UFLEET"), Standing::Outsider, "where we don't know our own workspace");
    }
}
