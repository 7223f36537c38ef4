//! The manifest asks for what the code uses, and for nothing else.

use std::collections::BTreeSet;

use fleetd::slack::{EVENTS, FILES_SCOPE, METHODS};
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
    let scopes = methods.chain(EVENTS.iter().map(|(_, scope)| *scope)).chain([FILES_SCOPE]);
    let scopes: BTreeSet<String> = scopes.map(str::to_owned).collect();
    assert_eq!(words(&manifest["oauth_config"]["scopes"]["bot"]), scopes);
    let events: BTreeSet<String> = EVENTS.iter().map(|(event, _)| (*event).to_owned()).collect();
    assert_eq!(words(&manifest["settings"]["event_subscriptions"]["bot_events"]), events);
    assert_eq!(manifest["settings"]["socket_mode_enabled"], Value::Bool(true));
}

#[test]
fn no_method_is_called_that_the_table_does_not_name() {
    let root = env!("CARGO_MANIFEST_DIR");
    let source = std::fs::read_to_string(format!("{root}/src/slack/web.rs")).unwrap();
    let table_end = source.find("];").unwrap();
    let named: BTreeSet<&str> = METHODS.iter().map(|(method, _)| *method).collect();
    let families = ["apps.", "auth.", "chat.", "conversations.", "reactions.", "users."];
    let code = source[table_end..].split("#[cfg(test)]").next().unwrap();
    let called: BTreeSet<&str> = code
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| families.iter().any(|family| text.starts_with(family)))
        .collect();
    assert_eq!(called, named);
}
