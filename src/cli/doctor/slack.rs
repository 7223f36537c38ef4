//! Slack: the tokens, what they are good for, and each agent's channel.

use std::collections::BTreeSet;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::house::House;
use super::report::{Check, Line};
use crate::config::{self, Hosts};
use crate::model::Slug;
use crate::slack::{Bot, Inspection, SeenChannel, Trouble, find_channel, inspect, manifest_scopes};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// The tokens as far as the surroundings have them.
#[derive(Debug)]
enum Tokens {
    None,
    Both { bot: SecretString, app: SecretString },
    Half { there: &'static str, missing: &'static str },
    Unusable(String),
}

/// Looks.
pub async fn check(house: &House) -> Vec<Line> {
    let agents = house.fleet.iter().flat_map(|fleet| &fleet.agents);
    let channels = agents.filter_map(|agent| Some((agent.slug.clone(), agent.slack_channel.clone()?)));
    let channels: Vec<(Slug, String)> = channels.collect();
    let status = house.fleet.iter().find_map(|fleet| fleet.status_channel.clone());
    let tokens = tokens(house);
    if let Some(line) = judge_tokens(&tokens, channels.len() + usize::from(status.is_some())) {
        return vec![line];
    }
    let Tokens::Both { bot, app } = tokens else { return Vec::new() };
    match Hosts::from_environment(&house.environment) {
        Ok(hosts) => judge(&inspect(&bot, &app, &hosts.slack_api, CALL).await, &channels, status.as_deref()),
        Err(error) => vec![Line::fail(Check::SlackBot, format!("{error:#}"), "mend the variable, or take it out")],
    }
}

fn tokens(house: &House) -> Tokens {
    let secret = |name| config::secret(&house.environment, name).map_err(|error| format!("{error:#}"));
    match (secret("SLACK_BOT_TOKEN"), secret("SLACK_APP_TOKEN")) {
        (Err(why), _) | (_, Err(why)) => Tokens::Unusable(why),
        (Ok(None), Ok(None)) => Tokens::None,
        (Ok(Some(bot)), Ok(Some(app))) => Tokens::Both { bot, app },
        (Ok(Some(_)), Ok(None)) => Tokens::Half { there: "SLACK_BOT_TOKEN", missing: "SLACK_APP_TOKEN" },
        (Ok(None), Ok(Some(_))) => Tokens::Half { there: "SLACK_APP_TOKEN", missing: "SLACK_BOT_TOKEN" },
    }
}

/// What is to be said without asking Slack; none where it is worth asking.
fn judge_tokens(tokens: &Tokens, channels: usize) -> Option<Line> {
    match tokens {
        Tokens::None if channels == 0 => {
            Some(Line::ok(Check::SlackBot, "no tokens and no channels: a fleet without Slack"))
        }
        Tokens::None => Some(Line::warn(
            Check::SlackBot,
            "agents have channels, and no tokens are to be seen: the fleet runs without Slack",
            "set SLACK_BOT_TOKEN and SLACK_APP_TOKEN (or *_FILE); those of the service are seen while fleetd runs",
        )),
        Tokens::Half { there, missing } => {
            let found = format!("{there} is set and {missing} is not: the bridge needs both");
            Some(Line::fail(Check::SlackBot, found, format!("set {missing}, or take {there} out")))
        }
        Tokens::Unusable(why) => Some(Line::fail(Check::SlackBot, why, "mend it, or take it out")),
        Tokens::Both { bot, app } => {
            let swapped = bot.expose_secret().starts_with("xapp-") || app.expose_secret().starts_with("xoxb-");
            swapped.then(|| {
                let mend = "SLACK_BOT_TOKEN begins with xoxb-, SLACK_APP_TOKEN with xapp-";
                Line::fail(Check::SlackBot, "the two Slack tokens are swapped", mend)
            })
        }
    }
}

fn judge(found: &Inspection, channels: &[(Slug, String)], status: Option<&str>) -> Vec<Line> {
    let fail = |check, Trouble { what, mend }: &Trouble| Line::fail(check, what, mend);
    let mut lines = Vec::new();
    match &found.bot {
        Ok(bot) => {
            lines.push(Line::ok(Check::SlackBot, format!("the bot token is {}'s in {}", bot.user, bot.team)));
            lines.push(judge_scopes(bot));
        }
        Err(trouble) => lines.push(fail(Check::SlackBot, trouble)),
    }
    lines.push(match &found.app {
        Ok(()) => Line::ok(Check::SlackApp, "the app token gets an address for a socket (none was opened)"),
        Err(trouble) => fail(Check::SlackApp, trouble),
    });
    match &found.channels {
        Err(trouble) if !channels.is_empty() || status.is_some() => lines.push(fail(Check::SlackChannel, trouble)),
        Err(_) => {}
        Ok(seen) => {
            lines.extend(status.map(|written| judge_channel(written, seen)));
            lines.extend(channels.iter().map(|(agent, written)| judge_channel(written, seen).of(agent)));
        }
    }
    lines
}

/// A channel of the fleet's or, without an agent, the status channel.
fn judge_channel(written: &str, seen: &[SeenChannel]) -> Line {
    let invite = format!("create the channel if it is missing, and write `/invite @fleet` in {written}");
    match find_channel(written, seen) {
        None => {
            let found =
                format!("there is no channel {written} that the app sees: missing, archived, or private without it");
            Line::fail(Check::SlackChannel, found, invite)
        }
        Some(channel) if channel.member == Some(false) => {
            Line::fail(Check::SlackChannel, format!("the app is not in #{}", channel.name), invite)
        }
        Some(channel) => Line::ok(Check::SlackChannel, format!("#{}, and the app is in it", channel.name)),
    }
}

fn judge_scopes(bot: &Bot) -> Line {
    let Some(granted) = &bot.scopes else {
        let mend = "look at them at https://api.slack.com/apps under OAuth & Permissions";
        return Line::warn(Check::SlackScopes, "Slack did not say which scopes the bot token has", mend);
    };
    let wanted = manifest_scopes();
    let words = |scopes: BTreeSet<&String>| scopes.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let missing = words(wanted.difference(granted).collect());
    let more = words(granted.difference(&wanted).collect());
    if !missing.is_empty() {
        let mend = "paste slack-manifest.yaml under App Manifest at https://api.slack.com/apps, install the app again, and set the new token";
        Line::fail(Check::SlackScopes, format!("the bot token lacks {missing}"), mend)
    } else if !more.is_empty() {
        let mend = "take them out of the app, and install it again";
        Line::warn(Check::SlackScopes, format!("the bot token may more than fleetd needs: {more}"), mend)
    } else {
        Line::ok(Check::SlackScopes, format!("the bot token has the {} scopes of the manifest", wanted.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(without: &str, with: &[&str]) -> Bot {
        let mut scopes = manifest_scopes();
        scopes.remove(without);
        scopes.extend(with.iter().map(|scope| (*scope).to_owned()));
        Bot { team: "T".into(), user: "fleet".into(), scopes: Some(scopes) }
    }

    #[test]
    fn a_scope_that_is_missing_is_named_and_one_too_many_is_no_fault() {
        assert_eq!(judge_scopes(&bot("", &[])).verdict.word(), "ok");
        assert_eq!(judge_scopes(&bot("", &["admin"])).verdict.word(), "warn");
        let lacks = judge_scopes(&bot("chat:write", &["admin"]));
        assert!(lacks.verdict.word() == "fail" && lacks.found.contains("lacks chat:write"), "{lacks:?}");
        assert_eq!(judge_scopes(&Bot { scopes: None, ..bot("", &[]) }).verdict.word(), "warn");
    }

    #[test]
    fn tokens_that_cannot_work_are_told_without_asking_slack_and_without_showing_them() {
        let both = |bot: &str, app: &str| Tokens::Both { bot: bot.to_owned().into(), app: app.to_owned().into() };
        let judged = |tokens: &Tokens, channels| judge_tokens(tokens, channels).map(|line| line.verdict.word());
        assert_eq!(judged(&Tokens::None, 0), Some("ok"));
        assert_eq!(judged(&Tokens::None, 2), Some("warn"));
        assert_eq!(judged(&Tokens::Half { there: "A", missing: "B" }, 0), Some("fail"));
        assert_eq!(judged(&both("xoxb-1", "xapp-1"), 1), None);
        let swapped = judge_tokens(&both("xapp-s3cret", "xoxb-s3cret"), 1).unwrap();
        assert!(swapped.verdict.word() == "fail" && !format!("{swapped:?}").contains("s3cret"), "{swapped:?}");
    }

    #[test]
    fn an_agent_whose_channel_cannot_be_used_is_named() {
        let slug = |text: &str| text.parse::<Slug>().unwrap();
        let channel = |name: &str, member| SeenChannel { id: format!("C-{name}"), name: name.into(), member };
        let found = Inspection {
            bot: Ok(bot("", &[])),
            app: Err(Trouble { what: "no".into(), mend: "do".into() }),
            channels: Ok(vec![channel("a", Some(true)), channel("b", Some(false)), channel("c", None)]),
        };
        let agents =
            [(slug("a"), "#a".into()), (slug("b"), "b".into()), (slug("c"), "#c".into()), (slug("d"), "#d".into())];
        let lines = judge(&found, &agents, Some("#b"));
        assert_eq!(
            lines.iter().map(|line| line.verdict.word()).collect::<Vec<_>>(),
            ["ok", "ok", "fail", "fail", "ok", "fail", "ok", "fail"]
        );
        assert!(lines[3].agents.is_empty() && lines[3].found.contains("#b"), "the status channel: {:?}", lines[3]);
        assert_eq!(lines[5].agents, [slug("b")]);
    }
}
