//! What a node says, wherever it stands in its file: to see whether two configurations mean the same.

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
                let file = if key.scalar() == Some("ca") { value.path(&mut Problems::new()) } else { None };
                let file = file.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
                format!("{}:{}{file:?}", said(key), said(value))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
        }
    }
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
