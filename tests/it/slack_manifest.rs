//! The manifest asks for what the code uses, and for nothing else.

use std::collections::BTreeSet;

use fleetd::slack::{COMMAND, EVENTS, FILES_SCOPE, METHODS};
use serde_json::Value;

fn words(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_app_made_from_the_manifest_can_do_all_that_the_code_does_and_no_more() {
    let root = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{root}/slack-manifest.yaml")).unwrap();
    let manifest: Value = serde_saphyr::from_str(&text).unwrap();
    let methods = METHODS.iter().flat_map(|(_, scopes)| scopes.iter().copied());
    let scopes: BTreeSet<String> = methods
        .chain(EVENTS.iter().map(|(_, scope)| *scope))
        .chain(["commands", FILES_SCOPE])
        .filter(|scope| !scope.is_empty())
        .map(str::to_owned)
        .collect();
    assert_eq!(words(&manifest["oauth_config"]["scopes"]["bot"]), scopes);
    let events: BTreeSet<String> = EVENTS.iter().map(|(event, _)| (*event).to_owned()).collect();
    assert_eq!(words(&manifest["settings"]["event_subscriptions"]["bot_events"]), events);
    assert_eq!(manifest["settings"]["socket_mode_enabled"], Value::Bool(true));
    assert_eq!(manifest["settings"]["interactivity"]["is_enabled"], Value::Bool(true));
    let features = &manifest["features"];
    let commands: Vec<&str> =
        features["slash_commands"].as_array().unwrap().iter().map(|one| one["command"].as_str().unwrap()).collect();
    assert_eq!(commands, [COMMAND]);
    assert_eq!(features["app_home"]["home_tab_enabled"], Value::Bool(true));
    assert_eq!(features["app_home"]["messages_tab_enabled"], Value::Bool(false), "nobody reads what is written there");
}

#[test]
fn no_method_is_called_that_the_table_does_not_name() {
    let root = env!("CARGO_MANIFEST_DIR");
    let sources: Vec<String> = ["web.rs", "find.rs", "upload.rs", "liveness.rs", "workspace.rs"]
        .map(|file| std::fs::read_to_string(format!("{root}/src/slack/{file}")).unwrap())
        .into();
    let table_end = sources[0].find("];").unwrap();
    let named: BTreeSet<&str> = METHODS.iter().map(|(method, _)| *method).collect();
    let families = [
        "apps.",
        "assistant.",
        "auth.",
        "chat.",
        "conversations.",
        "files.",
        "reactions.",
        "usergroups.",
        "users.",
        "views.",
    ];
    let code = sources.iter().enumerate().map(|(at, source)| if at == 0 { &source[table_end..] } else { source });
    let called: BTreeSet<&str> = code
        .flat_map(|code| code.split("#[cfg(test)]").next())
        .flat_map(|code| code.split('"').skip(1).step_by(2))
        .filter(|text| families.iter().any(|family| text.starts_with(family)))
        .collect();
    assert_eq!(called, named);
}
