//! `slack:`, who may do what from Slack: of the whole fleet, and of one agent, where each list that stands there replaces
//! the fleet's of that name. Names of people are never taken: handles change hands, ids don't.

use super::judge::{Field, Judge, Table};
use super::mistake::nearest;
use super::tree::Node;
use crate::model::Slug;

use super::Fleet;

pub(super) const SLACK: Table = Table { owner: "`slack`", keys: &["steer", "approve", "stop"], elsewhere: None };

/// The word for everybody who is a full member of the workspace.
const MEMBERS: &str = "members";

/// One item of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grantee {
    /// Every full member of the workspace: no guest, no outsider, no bot.
    Members,
    /// A person, by their id (`U…`, `W…`).
    User(String),
    /// A user group, by its id (`S…`).
    Group(String),
}

/// The lists as agents.yaml has them; none where a list is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlackLists {
    /// Who may tell an agent something.
    pub steer: Option<Vec<Grantee>>,
    /// Who may answer what an agent asks leave for, and judge its outcomes.
    pub approve: Option<Vec<Grantee>>,
    /// Who may interrupt a turn.
    pub stop: Option<Vec<Grantee>>,
}

/// Who may do what, with nothing left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Who may tell an agent something.
    pub steer: Vec<Grantee>,
    /// Who may answer what an agent asks leave for, and judge its outcomes.
    pub approve: Vec<Grantee>,
    /// Who may interrupt a turn.
    pub stop: Vec<Grantee>,
}

impl Default for Rights {
    /// Members steer and stop; nobody approves.
    fn default() -> Self {
        Self { steer: vec![Grantee::Members], approve: Vec::new(), stop: vec![Grantee::Members] }
    }
}

impl Rights {
    /// These rights where `lists` says nothing, else what it says.
    #[must_use]
    pub fn replaced_by(&self, lists: &SlackLists) -> Self {
        let pick = |list: &Option<Vec<Grantee>>, usual: &Vec<Grantee>| list.as_ref().unwrap_or(usual).clone();
        Self {
            steer: pick(&lists.steer, &self.steer),
            approve: pick(&lists.approve, &self.approve),
            stop: pick(&lists.stop, &self.stop),
        }
    }
}

impl Fleet {
    /// The rights of every agent, in file order.
    pub fn rights(&self) -> Vec<(Slug, Rights)> {
        let fleet = Rights::default().replaced_by(&self.slack);
        self.agents.iter().map(|agent| (agent.slug.clone(), fleet.replaced_by(&agent.slack))).collect()
    }
}

/// The lists of a `slack:` key.
pub(super) fn lists(judge: &mut Judge<'_>, field: &Field<'_>) -> SlackLists {
    let fields = judge.fields(field.value, &SLACK);
    let mut list = |name| fields.get(name).map(|field| grantees(judge, &field));
    SlackLists { steer: list("steer"), approve: list("approve"), stop: list("stop") }
}

fn grantees(judge: &mut Judge<'_>, field: &Field<'_>) -> Vec<Grantee> {
    let name = format!("an item of `{}`", field.name);
    let mut found = Vec::new();
    for item in judge.list(field) {
        let Some(text) = judge.scalar(&name, item) else { continue };
        match grantee(&text) {
            Some(grantee) if found.contains(&grantee) => {
                judge.tell(&item.span, format!("`{text}` stands twice"), "keep one of them");
            }
            Some(grantee) => found.push(grantee),
            None => tell(judge, item, &text),
        }
    }
    found
}

fn grantee(text: &str) -> Option<Grantee> {
    if text == MEMBERS {
        return Some(Grantee::Members);
    }
    let id = text.len() >= 9 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    match text.chars().next() {
        Some('U' | 'W') if id => Some(Grantee::User(text.to_owned())),
        Some('S') if id => Some(Grantee::Group(text.to_owned())),
        _ => None,
    }
}

fn tell(judge: &mut Judge<'_>, item: &Node, text: &str) {
    const WHERE: &str = "open the profile in Slack, then the three dots: \"Copy member ID\" (U…); of a user group \"Copy group ID\" (S…)";
    if let Some(handle) = text.strip_prefix('@') {
        let what = format!("`@{handle}` is a handle, and handles change hands: only ids are taken");
        return judge.tell(&item.span, what, WHERE);
    }
    let meant = nearest(text, [MEMBERS]).map(|word| format!("did you mean `{word}`?"));
    judge.tell(
        &item.span,
        format!("`{text}` is neither a person's id nor a user group's"),
        meant.unwrap_or_else(|| WHERE.to_owned()),
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, read};

    fn judged(text: &str) -> Result<Fleet, String> {
        let environment = Environment::from_pairs([("HOME", "/home/ann")]);
        read(text, Path::new("/etc/fleet/agents.yaml"), &environment).map_err(|error| error.to_string())
    }

    fn user(id: &str) -> Grantee {
        Grantee::User(id.into())
    }

    #[test]
    fn a_list_of_an_agent_s_replaces_the_fleet_s_and_a_missing_one_keeps_it() {
        let fleet = judged(
            "slack: {steer: [members, U00000001], approve: [S00000001]}\n\
             agents: [{slug: a}, {slug: b, slack: {steer: [W00000002], stop: []}}]",
        )
        .unwrap();
        let rights = fleet.rights();
        let expected = Rights {
            steer: vec![Grantee::Members, user("U00000001")],
            approve: vec![Grantee::Group("S00000001".into())],
            stop: vec![Grantee::Members],
        };
        assert_eq!(rights[0].1, expected);
        assert_eq!(rights[1].1, Rights { steer: vec![user("W00000002")], stop: Vec::new(), ..expected });
    }

    #[test]
    fn a_file_that_says_nothing_lets_members_steer_and_stop_and_nobody_approve() {
        let rights = judged("[{slug: a}]").unwrap().rights();
        assert_eq!(rights[0].1, Rights::default());
        assert_eq!((rights[0].1.approve.len(), &rights[0].1.stop[..]), (0, &[Grantee::Members][..]));
    }

    #[test]
    fn who_can_t_be_meant_safely_is_refused_with_how_to_find_the_id() {
        for (item, what, mend) in [
            ("\"@ann\"", "`@ann` is a handle", "Copy member ID"),
            ("ann", "`ann` is neither", "Copy member ID"),
            ("member", "`member` is neither", "did you mean `members`?"),
            ("C00000001", "`C00000001` is neither", "Copy group ID"),
            ("u00000001", "`u00000001` is neither", "Copy member ID"),
            ("U1", "`U1` is neither", "Copy member ID"),
            ("U00000001, U00000001", "`U00000001` stands twice", "keep one"),
        ] {
            for text in [
                format!("slack: {{steer: [{item}]}}\nagents: [{{slug: a}}]"),
                format!("agents: [{{slug: a, slack: {{approve: [{item}]}}}}]"),
            ] {
                let told = judged(&text).unwrap_err();
                assert!(told.contains(what) && told.contains(mend), "{told}");
            }
        }
        let told = judged("slack: {stear: []}\nagents: [{slug: a}]").unwrap_err();
        assert!(told.contains("did you mean `steer`?"), "{told}");
    }
}
