//! The folder that a new vendor begins with: it passes the check, and says what to fill in.

/// The files of `template/`: path in the folder, text.
const TEMPLATE: [(&str, &str); 9] = [
    ("README.md", include_str!("../template/README.md")),
    ("manifest.yaml", include_str!("../template/manifest.yaml")),
    ("mapping.yaml", include_str!("../template/mapping.yaml")),
    ("api.yaml", include_str!("../template/api.yaml")),
    ("signature_vectors.yaml", include_str!("../template/signature_vectors.yaml")),
    ("fixtures/SOURCES.md", include_str!("../template/fixtures/SOURCES.md")),
    (
        "fixtures/webhook__application_stage_changed.json",
        include_str!("../template/fixtures/webhook__application_stage_changed.json"),
    ),
    ("fixtures/poll__applications.json", include_str!("../template/fixtures/poll__applications.json")),
    (
        "fixtures/invalid/webhook__application_without_id__REQUIRED_MISSING.json",
        include_str!("../template/fixtures/invalid/webhook__application_without_id__REQUIRED_MISSING.json"),
    ),
];

/// Longest name: it is part of topic names.
const MAX_NAME_BYTES: usize = 60;

/// A name that topics, headers and settings cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadName;

impl std::fmt::Display for BadName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a vendor's name is of lower-case letters, digits and -, begins with a letter, and has at most {MAX_NAME_BYTES}"
        )
    }
}

impl std::error::Error for BadName {}

/// The files of a new vendor's folder: path in it, text. Golden files are not among them.
///
/// # Errors
/// When no vendor can have that name.
pub fn scaffold(name: &str) -> Result<Vec<(&'static str, String)>, BadName> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins || name.len() > MAX_NAME_BYTES || !name.bytes().all(letters) {
        return Err(BadName);
    }
    Ok(TEMPLATE.iter().map(|(path, text)| (*path, text.replace("{{name}}", name))).collect())
}
