//! `/fleet …` → what is meant. Pure.

use crate::model::Slug;
use crate::model::text::unknown_agent;

/// The command, as the manifest names it.
pub const COMMAND: &str = "/fleet";

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// How an agent is, or all are.
    Status { agent: Option<Slug> },
    /// Give an agent a prompt.
    Send { agent: Slug, text: String },
    /// Hold an agent and interrupt its turn.
    Stop { agent: Slug },
    /// Give an agent its daily prompt.
    Nudge { agent: Slug },
    /// What waits for some agents; for all where none is named.
    Queue { agents: Vec<Slug> },
    /// What the command can do.
    Help,
}

/// What is meant by the text behind the command. `here` are the agents of the channel in which it was typed, `known` all of
/// them. An error is for whoever typed it.
pub(super) fn read(text: &str, here: &[&Slug], known: &[&Slug]) -> Result<Order, String> {
    let (verb, rest) = word(text);
    let named = |name: &str| known.iter().find(|slug| slug.as_str() == name).map(|slug| (*slug).clone());
    let unknown = |name: &str| unknown_agent(name, known.iter().map(|slug| slug.as_str()));
    let (name, after) = word(rest);
    let only = |what: &str| match (name, here) {
        ("", [only]) => Ok((*only).clone()),
        ("", []) => Err(format!("{what} which agent? This channel is no agent's: write its name")),
        ("", _) => Err(format!("{what} which agent? Several work in this channel: write its name")),
        (name, _) if after.is_empty() => named(name).ok_or_else(|| unknown(name)),
        _ => Err(format!("{COMMAND} {verb} takes an agent's name and nothing else")),
    };
    match verb.to_lowercase().as_str() {
        "" | "help" => Ok(Order::Help),
        "status" if name.is_empty() => Ok(Order::Status { agent: None }),
        "status" => only("show").map(|agent| Order::Status { agent: Some(agent) }),
        "queue" if name.is_empty() => Ok(Order::Queue { agents: here.iter().map(|slug| (*slug).clone()).collect() }),
        "queue" => only("show").map(|agent| Order::Queue { agents: vec![agent] }),
        "stop" => only("stop").map(|agent| Order::Stop { agent }),
        "nudge" => only("nudge").map(|agent| Order::Nudge { agent }),
        "send" => match (named(name), here) {
            _ if name.is_empty() => Err("send what? Write the agent's name and then the text".to_owned()),
            (Some(_), _) if after.is_empty() => Err(format!("send {name} what? Write the text behind the name")),
            (Some(agent), _) => Ok(Order::Send { agent, text: after.to_owned() }),
            (None, [only]) => Ok(Order::Send { agent: (*only).clone(), text: rest.to_owned() }),
            (None, []) => Err(unknown(name)),
            (None, _) => Err(format!("{}, and several work in this channel", unknown(name))),
        },
        _ => Err(format!("there is no {COMMAND} {verb}")),
    }
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(text: &str) -> Slug {
        text.parse().unwrap()
    }

    #[test]
    fn a_command_means_the_agent_it_names_or_the_channel_s_only_one_and_never_a_guess() {
        let (pr, reviewer) = (slug("pr"), slug("pr-reviewer"));
        let known = [&pr, &reviewer];
        let (own, other, none): (&[&Slug], &[&Slug], &[&Slug]) = (&[&pr], &[&reviewer], &[]);
        let agent = || pr.clone();
        let send = |agent: &Slug, text: &str| Ok(Order::Send { agent: agent.clone(), text: text.into() });
        let rows: Vec<(&str, &[&Slug], Result<Order, &str>)> = vec![
            ("", none, Ok(Order::Help)),
            (" HELP ", none, Ok(Order::Help)),
            ("status", own, Ok(Order::Status { agent: None })),
            ("status pr", none, Ok(Order::Status { agent: Some(agent()) })),
            ("status prr", none, Err("did you mean \"pr\"")),
            ("queue", none, Ok(Order::Queue { agents: vec![] })),
            ("queue", own, Ok(Order::Queue { agents: vec![agent()] })),
            ("queue pr-reviewer", own, Ok(Order::Queue { agents: vec![reviewer.clone()] })),
            ("stop", own, Ok(Order::Stop { agent: agent() })),
            ("stop", none, Err("no agent's")),
            ("stop", &known, Err("Several work")),
            ("stop pr now", own, Err("nothing else")),
            ("stop pr-review", own, Err("did you mean \"pr-reviewer\"")),
            ("Nudge pr", other, Ok(Order::Nudge { agent: agent() })),
            ("send pr  do it\n now ", none, send(&pr, "do it\n now")),
            ("send pr do it", other, send(&pr, "do it")),
            ("send do it", other, send(&reviewer, "do it")),
            ("send do it", &known, Err("several work")),
            ("send do it", none, Err("there is no agent \"do\"")),
            ("send pr", own, Err("Write the text")),
            ("send", own, Err("send what")),
            ("sned pr x", own, Err("there is no /fleet sned")),
        ];
        for (text, here, expected) in rows {
            match (read(text, here, &known), expected) {
                (Ok(order), Ok(expected)) => assert_eq!(order, expected, "{text}"),
                (Err(told), Err(part)) => assert!(told.contains(part), "{text}: {told}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
    }
}
