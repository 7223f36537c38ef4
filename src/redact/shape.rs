//! Tokens that show by their shape what they are: a table of how they begin, and how far each goes on.
//!
//! Every shape begins with a fixed text, the anchor; all anchors are found in one pass. Behind an anchor that came to nothing
//! no byte is looked at again for the same shape, so that no text can make this slow.

use aho_corasick::{AhoCorasick, BuildError};

/// The longest anchor, in bytes, and room to spare.
pub(super) const LONGEST_ANCHOR: usize = 32;

/// Where a shape may begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    /// Its first byte.
    pub(super) start: usize,
    end: usize,
    /// Which row of the table.
    pub(super) shape: usize,
}

/// What follows an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// No secret; nor is any other anchor of this shape before `until`.
    None {
        /// The byte after the last that was looked at.
        until: usize,
    },
    /// The text ends before it can be told.
    Open,
    /// This is to be replaced.
    Found {
        /// Its first byte.
        start: usize,
        /// The byte after its last.
        end: usize,
    },
}

const NOTHING: Extent = Extent::None { until: 0 };

struct Shape {
    anchors: &'static [&'static str],
    /// What stands in its place.
    what: &'static str,
    reach: Reach,
}

/// How far a shape goes on.
enum Reach {
    /// The anchor belongs to the token.
    Token(Token),
    /// A value that is named by the anchor, in any case of letters: `aws_secret_access_key = …`.
    Named { class: Class, least: usize, random: bool },
    /// `scheme://user:password@`: the password alone.
    Url,
    /// A private key in PEM, to its last line; also one that was cut off.
    Key,
    /// Three to five parts, of which the first is JSON.
    Jwt,
}

type Class = fn(u8) -> bool;

struct Token {
    /// What it is made of after the anchor.
    class: Class,
    /// How long it is after the anchor at least.
    least: usize,
    /// No more than this belongs to it.
    most: usize,
    /// Whether it begins a word: `sk-` also ends `task-`.
    word: bool,
    /// Whether it holds a digit, as all that is random does.
    digit: bool,
}

const fn token(class: Class, least: usize) -> Reach {
    Reach::Token(Token { class, least, most: usize::MAX, word: false, digit: true })
}

const fn word(class: Class, least: usize) -> Reach {
    Reach::Token(Token { class, least, most: usize::MAX, word: true, digit: true })
}

const fn named(class: Class, least: usize, random: bool) -> Reach {
    Reach::Named { class, least, random }
}

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn capital(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn dashed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn slack(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'%'
}

fn dotted(byte: u8) -> bool {
    dashed(byte) || byte == b'.'
}

fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

fn header(byte: u8) -> bool {
    dotted(byte) || b"+/=~".contains(&byte)
}

fn address(byte: u8) -> bool {
    dotted(byte) || b"/%&=".contains(&byte)
}

/// By the issuers' own descriptions of their tokens.
const SHAPES: &[Shape] = &[
    Shape {
        anchors: &[
            "xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-", "xwfp-",
        ],
        what: "a Slack token",
        reach: token(slack, 10),
    },
    Shape { anchors: &["hooks.slack.com/"], what: "a Slack webhook", reach: token(address, 20) },
    Shape { anchors: &["/link/?ticket="], what: "a socket's ticket", reach: token(address, 8) },
    Shape { anchors: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], what: "a GitHub token", reach: token(alnum, 20) },
    Shape { anchors: &["github_pat_"], what: "a GitHub token", reach: token(dashed, 20) },
    Shape { anchors: &["glpat-"], what: "a GitLab token", reach: token(dashed, 16) },
    Shape { anchors: &["sk-ant-"], what: "an Anthropic key", reach: word(dashed, 24) },
    Shape {
        anchors: &["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-v1-"],
        what: "an API key",
        reach: word(dashed, 20),
    },
    Shape { anchors: &["sk-"], what: "an API key", reach: word(alnum, 20) },
    Shape { anchors: &["sk_live_", "rk_live_", "sk_test_", "whsec_"], what: "an API key", reach: word(alnum, 16) },
    Shape { anchors: &["lin_api_", "lin_oauth_"], what: "a Linear key", reach: word(alnum, 20) },
    Shape { anchors: &["npm_", "hf_"], what: "an API key", reach: word(alnum, 30) },
    Shape { anchors: &["AIza", "pypi-AgE"], what: "an API key", reach: word(dashed, 30) },
    Shape { anchors: &["SG."], what: "an API key", reach: word(dotted, 40) },
    Shape {
        anchors: &["AKIA", "ASIA"],
        what: "an AWS key id",
        reach: Reach::Token(Token { class: capital, least: 16, most: 16, word: true, digit: false }),
    },
    Shape {
        anchors: &["aws_secret_access_key", "aws_secret_key", "secret_access_key", "secretaccesskey"],
        what: "an AWS secret key",
        reach: named(base64, 40, true),
    },
    Shape {
        anchors: &["aws_session_token", "sessiontoken", "x-amz-security-token"],
        what: "an AWS session token",
        reach: named(base64, 80, true),
    },
    Shape { anchors: &["authorization"], what: "a credential", reach: named(header, 8, false) },
    Shape { anchors: &["bearer "], what: "a bearer token", reach: named(header, 16, true) },
    Shape { anchors: &["x-api-key", "private-token"], what: "an API key", reach: named(header, 12, true) },
    Shape { anchors: &["://"], what: "a password", reach: Reach::Url },
    Shape { anchors: &["-----BEGIN "], what: "a private key", reach: Reach::Key },
    Shape { anchors: &["eyJ"], what: "a JSON web token", reach: Reach::Jwt },
];

/// The table, and the search for its anchors.
pub(super) struct Shapes {
    search: AhoCorasick,
    /// For each anchor, its row and its text.
    rows: Vec<(usize, &'static str)>,
}

impl Shapes {
    pub(super) fn new() -> Result<Self, BuildError> {
        let rows: Vec<_> = (0..)
            .zip(SHAPES)
            .flat_map(|(number, shape)| shape.anchors.iter().map(move |anchor| (number, *anchor)))
            .collect();
        let search =
            AhoCorasick::builder().ascii_case_insensitive(true).build(rows.iter().map(|(_, anchor)| anchor))?;
        Ok(Self { search, rows })
    }

    /// Every place where a shape may begin, in order.
    pub(super) fn anchors(&self, text: &str) -> Vec<Anchor> {
        let mut anchors = Vec::new();
        for place in self.search.find_overlapping_iter(text) {
            let Some((shape, anchor)) = self.rows.get(place.pattern().as_usize()) else { continue };
            let any_case = SHAPES.get(*shape).is_some_and(|shape| matches!(shape.reach, Reach::Named { .. }));
            if any_case || text.get(place.start()..place.end()) == Some(*anchor) {
                anchors.push(Anchor { start: place.start(), end: place.end(), shape: *shape });
            }
        }
        anchors.sort_by_key(|anchor| (anchor.start, anchor.shape));
        anchors
    }

    /// What stands in the place of what begins there.
    pub(super) fn what(&self, anchor: &Anchor) -> &'static str {
        SHAPES.get(anchor.shape).map_or("a secret", |shape| shape.what)
    }

    /// How far it goes on. `begins` says whether a word may begin there; `ends`, that nothing follows the text.
    pub(super) fn extent(&self, text: &str, anchor: &Anchor, begins: bool, ends: bool) -> Extent {
        let text = Text { bytes: text.as_bytes(), ends };
        match SHAPES.get(anchor.shape).map(|shape| &shape.reach) {
            Some(Reach::Token(token)) if begins || !token.word => text.token(anchor, token),
            Some(Reach::Named { class, least, random }) => text.named(anchor, *class, *least, *random),
            Some(Reach::Url) => text.url(anchor),
            Some(Reach::Key) => text.key(anchor),
            Some(Reach::Jwt) => text.jwt(anchor),
            Some(Reach::Token(_)) | None => NOTHING,
        }
    }
}

/// What a documentation writes in the place of a secret.
pub(super) fn is_sample(value: &str) -> bool {
    const SAMPLES: [&str; 20] = [
        "admin",
        "changeme",
        "development",
        "example",
        "guest",
        "hunter2",
        "localhost",
        "minioadmin",
        "pass",
        "passwd",
        "password",
        "postgres",
        "production",
        "pwd",
        "redacted",
        "root",
        "secret",
        "test",
        "token",
        "undefined",
    ];
    let lower = value.to_ascii_lowercase();
    let open = ["your", "<", "$", "{", "*", "%s", "...", "xxx"].iter().any(|start| lower.starts_with(start));
    open || SAMPLES.contains(&lower.as_str())
}

/// The password in a URL that is the whole of `value`.
pub(super) fn password_of_url(value: &str) -> Option<&str> {
    let text = Text { bytes: value.as_bytes(), ends: true };
    let end = value.find("://")? + 3;
    match text.url(&Anchor { start: end - 3, end, shape: 0 }) {
        Extent::Found { start, end } => value.get(start..end),
        Extent::None { .. } | Extent::Open => None,
    }
}

/// A text that is looked at from an anchor on. Every byte that counts is ASCII, so every place is between characters.
struct Text<'t> {
    bytes: &'t [u8],
    ends: bool,
}

impl Text<'_> {
    /// The first place from `from` on whose byte is not of the class.
    fn run(&self, from: usize, class: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        from + rest.iter().position(|byte| !class(*byte)).unwrap_or(rest.len())
    }

    /// Whether what was read up to `at` may still go on.
    fn is_open(&self, at: usize) -> bool {
        !self.ends && at >= self.bytes.len()
    }

    fn slice(&self, start: usize, end: usize) -> &str {
        std::str::from_utf8(self.bytes.get(start..end).unwrap_or_default()).unwrap_or_default()
    }

    fn starts(&self, at: usize, with: &str) -> bool {
        let there = self.bytes.get(at..at + with.len());
        there.is_some_and(|there| there.eq_ignore_ascii_case(with.as_bytes()))
    }

    fn token(&self, anchor: &Anchor, token: &Token) -> Extent {
        let until = self.run(anchor.end, token.class);
        if self.is_open(until) {
            return Extent::Open;
        }
        let value = self.slice(anchor.end, until).trim_end_matches(['.', '-', '&', '%']);
        let digit = !token.digit || value.bytes().any(|byte| byte.is_ascii_digit());
        // What follows must not decide: once that is replaced, another text stands there.
        if digit && value.len() >= token.least {
            return Extent::Found { start: anchor.start, end: anchor.end + value.len().min(token.most) };
        }
        Extent::None { until }
    }

    fn named(&self, anchor: &Anchor, class: Class, least: usize, random: bool) -> Extent {
        let between = |byte: u8| b" \t\"'`:=>\\".contains(&byte);
        let mut at = self.run(anchor.end, between);
        // A name that goes on is another name.
        let apart = at > anchor.end || self.bytes.get(anchor.end - 1) == Some(&b' ');
        let scheme = ["bearer ", "basic ", "token ", "bot ", "digest "].iter().find(|scheme| self.starts(at, scheme));
        at = self.run(at + scheme.map_or(0, |scheme| scheme.len()), |byte| byte == b' ');
        let end = self.run(at, class);
        if self.is_open(end) && (apart || self.is_open(at)) {
            return Extent::Open;
        }
        let value = self.slice(at, end).trim_end_matches('.');
        let digit = value.bytes().any(|byte| byte.is_ascii_digit());
        let mixed = value
            .as_bytes()
            .windows(2)
            .filter(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()));
        let looks_random = digit || (!random && mixed.count() >= 2);
        if apart && looks_random && value.len() >= least && !is_sample(value) {
            return Extent::Found { start: at, end: at + value.len() };
        }
        NOTHING
    }

    fn url(&self, anchor: &Anchor) -> Extent {
        let end = self.run(anchor.end, |byte| !byte.is_ascii_whitespace() && !b"/?#\"'<>`()[]{}|,;".contains(&byte));
        if self.is_open(end) {
            return Extent::Open;
        }
        let authority = self.slice(anchor.end, end);
        let Some((user, password)) = authority.rsplit_once('@').and_then(|(both, _)| both.split_once(':')) else {
            return NOTHING;
        };
        if password.len() < 3 || password == user || is_sample(password) {
            return NOTHING;
        }
        let start = anchor.end + user.len() + 1;
        Extent::Found { start, end: start + password.len() }
    }

    fn jwt(&self, anchor: &Anchor) -> Extent {
        let mut until = self.run(anchor.end, dashed);
        let head = until;
        let mut parts = 1;
        while parts < 5 && self.bytes.get(until) == Some(&b'.') {
            until = self.run(until + 1, dashed);
            parts += 1;
        }
        if self.is_open(until) {
            return Extent::Open;
        }
        let end = anchor.start + self.slice(anchor.start, until).trim_end_matches('.').len();
        if parts >= 3 && head - anchor.end >= 8 && end - anchor.start >= 40 {
            return Extent::Found { start: anchor.start, end };
        }
        Extent::None { until: head }
    }

    /// Between the head and the key there may be the two header lines of an encrypted one; lines are parted by whatever a
    /// pane, a quotation or JSON puts there.
    fn key(&self, anchor: &Anchor) -> Extent {
        const KINDS: [&str; 2] = ["PRIVATE KEY", "PRIVATE KEY BLOCK"];
        let head = self.run(anchor.end, |byte| capital(byte) || byte == b' ');
        if self.is_open(head + 5) {
            return Extent::Open;
        }
        if !KINDS.iter().any(|kind| self.slice(anchor.end, head).ends_with(kind)) || !self.starts(head, "-----") {
            return NOTHING;
        }
        let (mut at, mut end, first) = (head + 5, None, head + 5 + HEADERS);
        loop {
            let start = self.between(at);
            let stop = self.run(start, base64);
            if self.is_open(stop) || self.is_open(start + 9) {
                return Extent::Open;
            }
            if end.is_some() && self.starts(start, "-----END ") {
                let close = self.run(start + 9, |byte| capital(byte) || byte == b' ');
                return if self.is_open(close + 5) {
                    Extent::Open
                } else {
                    Extent::Found { start: anchor.start, end: self.run(close, |byte| byte == b'-') }
                };
            }
            let word = self.slice(start, stop);
            let long = match end {
                Some(_) => word.len() >= 16,
                None => word.len() >= 40 && word.bytes().any(|byte| byte.is_ascii_uppercase()),
            };
            let last = !long && end.is_some() && start < stop;
            let last = match last.then(|| self.is_last(stop)) {
                Some(None) => return Extent::Open,
                Some(Some(last)) => last,
                None => false,
            };
            if long || last {
                (at, end) = (stop, Some(stop));
            } else if end.is_none() && stop < first && start < self.bytes.len() && !self.starts(start, "-----END ") {
                at = stop.max(start + 1);
            } else {
                return end.map_or(NOTHING, |end| Extent::Found { start: anchor.start, end });
            }
        }
    }

    /// Whether what ends at `stop` is the last line of a key; none where that can't be told yet.
    fn is_last(&self, stop: usize) -> Option<bool> {
        let next = self.between(stop);
        if self.is_open(next + 9) { None } else { Some(next >= self.bytes.len() || self.starts(next, "-----END ")) }
    }

    /// The first place from `from` on that does not part two lines.
    fn between(&self, from: usize) -> usize {
        let mut at = from;
        loop {
            let escape =
                self.bytes.get(at) == Some(&b'\\') && matches!(self.bytes.get(at + 1), Some(b'n' | b'r' | b't'));
            let parts = |byte: &u8| byte.is_ascii_whitespace() || *byte >= 0x80 || b"\"'`\\>|#*,;:+()".contains(byte);
            match self.bytes.get(at) {
                _ if escape => at += 2,
                Some(byte) if parts(byte) => at += 1,
                _ => return at,
            }
        }
    }
}

/// How far behind its head a key begins at most.
const HEADERS: usize = 200;
