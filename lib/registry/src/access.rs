//! How to reach a registry: the settings file's `registry:` section, checked, and the HTTP client that it makes.

use std::path::PathBuf;
use std::time::Duration;

use hirewire_service::Secret;
use hirewire_service::settings::{authority, certificates};
use hirewire_yaml::{Node, Problems};
use reqwest::{ClientBuilder, Url};

use crate::codec::CodecError;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A checked `registry:` section.
#[derive(Debug, Clone)]
pub struct Access {
    /// Without a slash at its end.
    url: String,
    basic_auth: Option<BasicAuth>,
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct BasicAuth {
    username: String,
    password: Secret,
}

impl Access {
    /// Reads `{url, basic_auth?: {username, password: {file|env}}, tls?: {ca_file}}`.
    pub fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let url = map.require("url", problems).and_then(|node| read_url(node, problems));
        let basic_auth = map.get("basic_auth").and_then(|node| BasicAuth::read(node, problems));
        let ca_file = map.get("tls").and_then(|node| authority(node, "registry", problems));
        map.finish(problems);
        Some(Self { url: url?, basic_auth, ca_file })
    }

    /// Nobody is asked for a password, and the system's authorities are trusted.
    #[must_use]
    pub fn plain(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), basic_auth: None, ca_file: None }
    }

    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// User name and password, if the registry wants them.
    pub(crate) fn credentials(&self) -> Result<Option<(&str, String)>, CodecError> {
        let Some(auth) = &self.basic_auth else { return Ok(None) };
        let password = auth.password.bytes().map_err(|error| self.unusable(error.to_string()))?;
        let password = String::from_utf8(password).map_err(|_| self.unusable("the password is no text".to_owned()))?;
        Ok(Some((&auth.username, password)))
    }

    /// What every client of this registry is built from.
    pub(crate) fn http(&self) -> Result<ClientBuilder, CodecError> {
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT);
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).map_err(|error| self.unusable(format!("{}: {error}", path.display())))?;
            let found = certificates(&pem).map_err(|error| self.unusable(format!("{}: {error}", path.display())))?;
            builder = builder.tls_certs_merge(found);
        }
        Ok(builder)
    }

    pub(crate) fn unusable(&self, what: String) -> CodecError {
        CodecError::Url { url: self.url.clone(), what }
    }
}

impl BasicAuth {
    fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let username = map.require("username", problems).and_then(|node| {
            let name = node.name(problems)?;
            if name.contains(':') {
                problems.add(node, "a user name with a colon", "HTTP Basic ends the name there; choose another");
                return None;
            }
            Some(name.to_owned())
        });
        let password = map.require("password", problems).and_then(|node| Secret::read(node, problems));
        map.finish(problems);
        Some(Self { username: username?, password: password? })
    }
}

fn read_url(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text(problems)?;
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.port() != Some(0));
    let Some(url) = url else {
        problems.add(node, format!("\"{text}\" is not a URL"), "for example http://127.0.0.1:8081");
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        problems.add(
            node,
            "a user name or password in the URL",
            "write registry.basic_auth: {username, password: {file: PATH}}",
        );
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Access, String> {
        let node = hirewire_yaml::parse("r.yaml", yaml).unwrap();
        let mut problems = Problems::new();
        let access = Access::read(&node, &mut problems);
        problems.into_result(access).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_password_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "canary-7f3a").unwrap();
        let access = read(&format!(
            "url: https://r.example.com/\nbasic_auth: {{username: key, password: {{file: {}}}}}\n",
            file.display()
        ))
        .unwrap();
        assert_eq!(access.url(), "https://r.example.com");
        assert_eq!(access.credentials().unwrap(), Some(("key", "canary-7f3a".to_owned())));
        assert!(!format!("{access:?}").contains("canary"), "{access:?}");
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let told = read(
            "url: https://key:secret@r.example.com\nbasic_auth: {username: \"a:b\", password: secret}\ntls: {ca_file: missing.pem}\nuser: x\n",
        )
        .unwrap_err();
        for expected in [
            "r.yaml:1: a user name or password in the URL",
            "r.yaml:2: a user name with a colon",
            "r.yaml:2: a secret written into the settings",
            "r.yaml:3: missing.pem holds no certificates",
            "r.yaml:4: unknown key \"user\"",
        ] {
            assert!(told.contains(expected), "{expected} is not in\n{told}");
        }
        assert!(!told.contains("secret@"), "{told}");
    }
}
