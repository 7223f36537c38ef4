//! The corpus, the streams and what people read in the place of a secret.

use proptest::prelude::*;

use super::*;

const LEAKS: &str = include_str!("../../tests/fixtures/redaction/leaks.txt");
const INNOCENTS: &str = include_str!("../../tests/fixtures/redaction/innocents.txt");

/// The values that the corpus takes to be held.
fn redaction() -> Redaction {
    let held = [
        ("SLACK_BOT_TOKEN", "xoxb-1-fake-bot-token-0001"),
        ("DEPLOY_SECRET", "Zq7!fake/Deploy+Key&09"),
        ("DB_PASSWORD", "fake-Pw-17"),
        ("LONG_KEY", "Fake3i7l96740Ao8h4BFDlphm1D2hA7gniF8mF89CE33oEEAAg8gFFjkg154gF6g"),
    ];
    let held = held.map(|(name, value)| Held {
        name: name.to_owned(),
        value: value.to_owned().into(),
        sign: Sign::NameOrShape,
    });
    let redaction = Redaction::new().unwrap();
    redaction.learn(held).unwrap();
    redaction
}

/// The cases of a file of the corpus, their escapes undone.
fn cases(file: &str) -> Vec<String> {
    let plain = |line: &str| {
        let line = line.replace('¦', "").replace("\\\\", "\u{1}");
        line.replace("\\n", "\n").replace("\\r", "\r").replace('\u{1}', "\\")
    };
    file.lines().filter(|line| !line.starts_with("# ")).map(plain).collect()
}

fn leaks() -> Vec<String> {
    cases(LEAKS).into_iter().map(|leak| leak.replace(['«', '»'], "")).collect()
}

fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|letter| letter.is_alphanumeric()).collect()
}

/// What is left of a redacted text, without what we put there.
fn left(clean: &str) -> String {
    let mut parts = clean.split("[redacted: ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |left, part| left + "\n" + part.split_once(']').expect("a marker that is whole").1)
}

#[test]
fn of_every_leak_not_even_eight_characters_in_a_row_get_out() {
    let (redaction, cases) = (redaction(), cases(LEAKS));
    assert!(cases.len() >= 100, "{}", cases.len());
    for case in cases {
        let text = case.replace(['«', '»'], "");
        let clean = redaction.text(&text);
        assert!(clean.contains("[redacted: "), "nothing was taken out of {text:?}");
        let (left, own) = (letters(&left(&clean)), letters(&case.split(['«', '»']).step_by(2).collect::<String>()));
        for secret in case.split(['«', '»']).skip(1).step_by(2) {
            for trace in letters(secret).windows(8) {
                let within = |text: &[char]| text.windows(8).any(|window| window == trace);
                assert!(!within(&left) || within(&own), "{trace:?} is left of {text:?}: {clean:?}");
            }
        }
        for around in case.split(['«', '»']).step_by(2).filter(|around| around.chars().any(char::is_alphanumeric)) {
            assert!(clean.contains(around.trim_matches('=')), "{around:?} was taken out of {text:?}: {clean:?}");
        }
    }
}

#[test]
fn no_innocent_text_is_changed() {
    let (redactor, cases) = (redaction().redactor(), cases(INNOCENTS));
    assert!(cases.len() >= 100, "{}", cases.len());
    for text in cases {
        assert_eq!(redactor.redact(&text), text);
    }
}

#[test]
fn people_read_what_was_taken_out() {
    let redaction = redaction();
    let rows = [
        ("it is xoxb-1-fake-bot-token-0001.", "it is [redacted: SLACK_BOT_TOKEN]."),
        ("x xoxb-2-other-fake-token-9 y", "x [redacted: a Slack token] y"),
        ("db://u:fakeFake99@h/d", "db://u:[redacted: a password]@h/d"),
        ("Authorization: Bearer fake0fake0fake0", "Authorization: Bearer [redacted: a credential]"),
    ];
    for (text, clean) in rows {
        assert_eq!(redaction.text(text), clean);
    }
}

#[test]
fn a_secret_that_is_learned_later_is_taken_out_from_then_on_and_an_old_one_still() {
    let redaction = redaction();
    let held = |value: &str| Held { name: "NEW_TOKEN".into(), value: value.to_owned().into(), sign: Sign::NameOrShape };
    let (shared, text) = (redaction.clone(), "fakeNewValue01 fake-Pw-17");
    assert_eq!(shared.text(text), "fakeNewValue01 [redacted: DB_PASSWORD]");
    redaction.learn([held("fakeNewValue01")]).unwrap();
    redaction.learn([held("fakeNewValue02")]).unwrap();
    assert_eq!(shared.text(text), "[redacted: NEW_TOKEN] [redacted: DB_PASSWORD]");
}

#[test]
fn every_text_within_a_value_is_cleaned_whatever_it_is_of() {
    let fact = Thing { kind: Kind::Said { text: "fake-Pw-17".into() }, list: vec!["a fake-Pw-17".into()] };
    let clean = redaction().all(&fact).unwrap();
    assert_eq!(clean.list, ["a [redacted: DB_PASSWORD]"]);
    assert_eq!(clean.kind, Kind::Said { text: "[redacted: DB_PASSWORD]".into() });
}

#[test]
fn a_secret_that_is_also_a_word_of_ours_makes_no_answer_unreadable() {
    let redaction = redaction();
    let held = Held { name: "APP_PASSWORD".into(), value: "completed".to_owned().into(), sign: Sign::NameOrShape };
    redaction.learn([held]).unwrap();
    let mut json = serde_json::json!({"outcome": "completed", "text": "completed"});
    redaction.redactor().redact_json(&mut json);
    assert_eq!(json, serde_json::json!({"outcome": "completed", "text": "[redacted: APP_PASSWORD]"}));
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Thing {
    kind: Kind,
    list: Vec<String>,
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Kind {
    Said { text: String },
}

#[test]
fn nothing_that_holds_secrets_shows_them_when_it_is_printed_for_debugging() {
    let redaction = redaction();
    let shown = format!("{redaction:?} {:?} {:?}", redaction.redactor(), redaction.stream());
    assert!(!shown.contains("fake"), "{shown}");
}

#[test]
fn a_hostile_text_of_half_a_megabyte_does_not_stop_the_house() {
    let redactor = redaction().redactor();
    for piece in [
        "ghp_",
        "sk-",
        "xoxb-",
        "-----BEGIN PRIVATE KEY-----\n",
        "eyJ.",
        "eyJ",
        "://",
        "://:@",
        "bearer ",
        "authorization:",
        "%2",
        "\\",
        "fake",
    ] {
        let text = piece.repeat(500_000 / piece.len());
        let clean = redactor.redact(&text);
        assert!(!clean.is_empty());
    }
}

fn texts() -> impl Strategy<Value = String> {
    let corpus: Vec<String> = leaks().into_iter().chain(cases(INNOCENTS)).collect();
    let tears = prop::sample::select(corpus.clone()).prop_flat_map(|text| {
        let letters: Vec<char> = text.chars().collect();
        (0..=letters.len()).prop_map(move |cut| letters[cut..].iter().collect::<String>())
    });
    let piece = prop_oneof![
        3 => prop::sample::select(corpus),
        2 => tears,
        1 => "[ -~\\n]{0,40}",
        1 => "[a-z_ §│=]{0,9}",
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_a_text_is_cut_nothing_else_comes_out_than_of_the_whole(
        text in texts(),
        cuts in prop::collection::vec(0.0..1.0f64, 0..12),
    ) {
        let redaction = redaction();
        let mut places: Vec<usize> = cuts
            .into_iter()
            .map(|cut| text.floor_char_boundary((cut * text.len() as f64) as usize))
            .collect();
        places.sort_unstable();
        places.push(text.len());
        let (mut stream, mut out, mut from) = (redaction.stream(), String::new(), 0);
        for place in places {
            out += &stream.push(&text[from..place]);
            from = place;
        }
        out += &stream.finish();
        prop_assert_eq!(out, redaction.text(&text));
    }

    #[test]
    fn what_was_cleaned_is_not_changed_by_another_cleaning(text in texts()) {
        let redaction = redaction();
        let once = redaction.text(&text);
        prop_assert_eq!(redaction.text(&once), once);
    }
}
