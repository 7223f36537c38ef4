//! Which values are secrets: by what they are called, by where they are kept, by what they look like.

use secrecy::{ExposeSecret, SecretString};

use super::held::{LEAST, Secret};
use super::shape::{Shapes, is_sample, password_of_url};
use super::{Held, Sign, scan};

/// Words of a name that say so.
const SECRET_WORDS: [&str; 26] = [
    "APIKEY",
    "AUTH",
    "BEARER",
    "COOKIE",
    "COOKIES",
    "CREDENTIAL",
    "CREDENTIALS",
    "DSN",
    "JWT",
    "KEY",
    "KEYS",
    "PASS",
    "PASSCODE",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PASSWORDS",
    "PAT",
    "PRIVATE",
    "PWD",
    "SECRET",
    "SECRETS",
    "TICKET",
    "TOKEN",
    "TOKENS",
    "WEBHOOK",
];

/// Ends of a word that say so: `PGPASSWORD`, `AUTHTOKEN`.
const SECRET_ENDS: [&str; 6] = ["APIKEY", "PASSWD", "PASSWORD", "SECRET", "SECRETKEY", "TOKEN"];

/// A last word that says that the value is only about a secret.
const ABOUT: [&str; 30] = [
    "AGENT",
    "ALGORITHM",
    "COUNT",
    "DIR",
    "DIRECTORY",
    "ENABLED",
    "ENDPOINT",
    "EXPIRES",
    "EXPIRY",
    "FILE",
    "FILES",
    "HELPER",
    "HOST",
    "ID",
    "LENGTH",
    "LEVEL",
    "LIMIT",
    "MODE",
    "NAME",
    "PATH",
    "PORT",
    "REGION",
    "SOCK",
    "SOCKET",
    "TIMEOUT",
    "TTL",
    "TYPE",
    "URI",
    "USER",
    "USERNAME",
];

/// First folders of a path; a token that begins with a slash does not go on like this.
const ROOTS: [&str; 22] = [
    "Users",
    "app",
    "bin",
    "data",
    "dev",
    "etc",
    "home",
    "lib",
    "media",
    "mnt",
    "nix",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
    "workspace",
];

/// The shortest line of a file of several lines that is looked for by itself: of a key, not of prose.
const LEAST_LINE: usize = 16;

/// Whether a variable of that name holds a secret: `SLACK_BOT_TOKEN`, `apiKey`, `PGPASSWORD`; not `TOKEN_FILE`, `KEYBOARD`.
pub fn says_secret(name: &str) -> bool {
    if matches!(name, "PWD" | "OLDPWD") {
        return false;
    }
    let words = words(name);
    let about = words.last().is_some_and(|last| ABOUT.contains(&last.as_str()));
    let says =
        |word: &String| SECRET_WORDS.contains(&word.as_str()) || SECRET_ENDS.iter().any(|end| word.ends_with(end));
    !about && words.iter().any(says)
}

/// The words of `SNAKE_CASE`, `kebab-case` and `camelCase`, in capitals.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let begins = !letter.is_alphanumeric() || (letter.is_uppercase() && before.is_lowercase());
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_uppercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The secrets in a value.
pub(super) fn secrets_in(held: &Held, shapes: &Shapes) -> Vec<Secret> {
    let value = held.value.expose_secret().trim();
    let lines: Vec<&str> = value.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut secrets = Vec::new();
    if lines.len() > 1 {
        for line in lines {
            match line.split_once('=').filter(|(name, _)| is_variable(name)) {
                Some((name, value)) => judge(name, unquoted(value), Sign::NameOrShape, shapes, &mut secrets),
                None if line.len() >= LEAST_LINE && !line.contains(char::is_whitespace) && !line.starts_with("---") => {
                    judge(&held.name, line, held.sign, shapes, &mut secrets);
                }
                None => {}
            }
        }
    } else {
        judge(&held.name, value, held.sign, shapes, &mut secrets);
    }
    secrets
}

fn judge(name: &str, value: &str, sign: Sign, shapes: &Shapes, secrets: &mut Vec<Secret>) {
    if let Some(password) = password_of_url(value) {
        // The host is no secret, and the URL itself stands in configurations that people speak of.
        if !is_trivial(name, password) {
            secrets.push(secret(name, password));
        }
        return;
    }
    let says = sign == Sign::Place || says_secret(name) || scan::is_shape(shapes, value);
    if says && !is_trivial(name, value) {
        secrets.push(secret(name, value));
    }
}

fn secret(name: &str, value: &str) -> Secret {
    let shown: String =
        name.chars().filter(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(*letter)).collect();
    let shown = if shown.is_empty() { "a secret".to_owned() } else { shown.chars().take(60).collect() };
    Secret { name: shown, value: SecretString::from(value.to_owned()) }
}

fn is_variable(name: &str) -> bool {
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let within = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

/// Whether a value is too common to be a secret, whatever it is called: taken out everywhere, it would leave no text whole.
fn is_trivial(name: &str, value: &str) -> bool {
    let letters = || value.chars();
    let short = letters().count() < LEAST;
    let number = value.len() < 16 && letters().all(|letter| !letter.is_alphabetic());
    let same = letters().all(|letter| value.starts_with(letter));
    let first = value.trim_start_matches(['~', '.']).strip_prefix('/').and_then(|rest| rest.split('/').next());
    let path = value.starts_with("~/") || value.starts_with("./") || first.is_some_and(|first| ROOTS.contains(&first));
    let password =
        words(name).iter().any(|word| word.contains("PASS") || word.contains("SECRET") || word.contains("PWD"));
    let word = value.len() < 24
        && (letters().all(|letter| letter.is_ascii_lowercase() || "._-".contains(letter))
            || letters().all(|letter| letter.is_ascii_uppercase() || letter == '_'));
    // What stands in the place of a secret must not be taken for one itself.
    let ours = "[redacted: ".contains(value) || value == name;
    short || number || same || path || ours || is_sample(value) || (word && !password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whether_its_value_is_a_secret() {
        for secret in [
            "SLACK_BOT_TOKEN",
            "GITHUB_TOKEN",
            "apiKey",
            "ANTHROPIC_API_KEY",
            "PGPASSWORD",
            "DB_PASS",
            "MYSQL_PWD",
            "client-secret",
            "SENTRY_DSN",
            "ACCESSTOKEN",
            "refresh_token",
        ] {
            assert!(says_secret(secret), "{secret}");
        }
        for plain in [
            "PATH",
            "PWD",
            "OLDPWD",
            "SLACK_BOT_TOKEN_FILE",
            "KEYBOARD",
            "SSH_AUTH_SOCK",
            "MONKEY",
            "COMPASS",
            "KEY_PATH",
            "HOME",
            "tokenizer",
            "AUTHOR",
            "AWS_ACCESS_KEY_ID",
        ] {
            assert!(!says_secret(plain), "{plain}");
        }
    }

    #[test]
    fn what_is_short_or_common_is_never_taken_out_of_every_text() {
        let secrets = |name: &str, value: &str, sign| {
            let held = Held { name: name.into(), value: value.to_owned().into(), sign };
            let found = secrets_in(&held, &Shapes::new().unwrap());
            found.iter().map(|secret| secret.value.expose_secret().to_owned()).collect::<Vec<_>>()
        };
        for value in [
            "",
            "1",
            "true",
            "short",
            "/etc/fleet/key.pem",
            "~/.ssh/id_ed25519",
            "123456789012",
            "xxxxxxxxxxxx",
            "changeme",
            "completed",
            "safe.directory",
            "YOUR_API_KEY",
            "redacted",
        ] {
            assert_eq!(secrets("API_KEY", value, Sign::NameOrShape), Vec::<String>::new(), "{value}");
        }
        assert_eq!(secrets("PASSWORD", "correcthorse", Sign::NameOrShape), ["correcthorse"]);
        assert_eq!(secrets("EDITOR", "fake-Value-17", Sign::NameOrShape), Vec::<String>::new());
        assert_eq!(secrets("notes", "fake-Value-17\n", Sign::Place), ["fake-Value-17"]);
        assert_eq!(secrets("DATABASE_URL", "postgres://app:fake-Pw-17@db/x", Sign::NameOrShape), ["fake-Pw-17"]);
        let file = "A_TOKEN=\"fake-Value-17\"\nLEVEL=info-and-more-9\nexport B_KEY=fake-Value-18\n";
        assert_eq!(secrets("env", file, Sign::Place), ["fake-Value-17", "fake-Value-18"]);
        let shape = format!("ghp_{}", "fake0".repeat(8));
        assert_eq!(secrets("ANYTHING", &shape, Sign::NameOrShape), [shape]);
    }
}
