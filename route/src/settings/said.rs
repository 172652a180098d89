//! What a node says, wherever it stands in its file: to see whether two configurations mean the same.

use std::path::PathBuf;

use hirewire_yaml::{Node, Problems, Value};

/// As one text, with what stands in the certificate files (`ca`) that it names: those are read once.
pub(super) fn said(node: &Node) -> String {
    match &node.value {
        Value::Null => "~".to_owned(),
        Value::Plain(text) => format!("{text:?}"),
        Value::Quoted(text) => format!("'{text:?}"),
        Value::List(items) => format!("[{}]", items.iter().map(said).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let entry = |(key, value): &(Node, Node)| {
                let file =
                    certificate(key, value).and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
                format!("{}:{}{file:?}", said(key), said(value))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
        }
    }
}

/// The certificate files (`ca`) that a node names, wherever.
pub(super) fn certificates(node: &Node) -> Vec<PathBuf> {
    match &node.value {
        Value::Null | Value::Plain(_) | Value::Quoted(_) => Vec::new(),
        Value::List(items) => items.iter().flat_map(certificates).collect(),
        Value::Map(entries) => {
            let own = |(key, value): &(Node, Node)| certificate(key, value).into_iter().chain(certificates(value));
            entries.iter().flat_map(|entry| own(entry).collect::<Vec<_>>()).collect()
        }
    }
}

fn certificate(key: &Node, value: &Node) -> Option<PathBuf> {
    if key.scalar() == Some("ca") { value.path(&mut Problems::new()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_counts_and_not_where() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        let of =
            |text: &str| said(&hirewire_yaml::parse("a.yaml", &text.replace("CA", &ca.display().to_string())).unwrap());
        let text = "{a: [1, {b: ~}], ca: CA}";
        std::fs::write(&ca, "one").unwrap();
        let before = of(text);
        assert_eq!(of("# moved\n\na: [1, {b: null}] # yes\nca: CA\n"), before);
        for other in
            ["{a: [1, {b: 2}], ca: CA}", "{a: [{b: ~}, 1], ca: CA}", "{a: ['1', {b: ~}], ca: CA}", "{a: [1], ca: CA}"]
        {
            assert_ne!(of(other), before, "{other}");
        }
        std::fs::write(&ca, "two").unwrap();
        assert_ne!(of(text), before, "another certificate");
    }
}
