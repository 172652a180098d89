//! The `lifecycle:` part of a manifest: which version of the vendor's API the folder is for, and until when it is answered.

use hirewire_yaml::{Node, Problems};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::values::optional;

/// What the vendor says of the API that the folder is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// As the vendor names it; `None`: it names none.
    pub version: Option<String>,
    /// From this day on (UTC) it is not answered any more; `None`: no day was announced.
    pub sunset: Option<Date>,
    /// Where the vendor says so, or would: an address, or the title of a document.
    pub source: String,
}

impl Lifecycle {
    pub(super) fn read(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = node.map(problems)?;
        let version = optional(map.get("version").map(|node| node.name(problems).map(str::to_owned)));
        let sunset = optional(map.get("sunset").map(|node| day(node, problems)));
        let source = map.require("source", problems).and_then(|node| node.name(problems)).map(str::to_owned);
        map.finish(problems);
        Some(Self { version: version?, sunset: sunset?, source: source? })
    }

    /// The first instant of the day from which it is not answered.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        TimeZone::UTC.to_timestamp(self.sunset?.at(0, 0, 0, 0)).ok()
    }
}

fn day(node: &Node, problems: &mut Problems) -> Option<Date> {
    let text = node.text(problems)?;
    let day = text.parse::<Date>().ok().filter(|day| day.to_string() == text);
    if day.is_none() {
        problems.add(node, format!("{text} is no day"), "write it as 2027-01-31");
    }
    day
}

#[cfg(test)]
mod tests {
    use crate::manifest::Manifest;

    #[test]
    fn the_end_of_an_api_is_a_day_with_a_source() {
        let of = |lifecycle: &str| Manifest::parse("manifest.yaml", &format!("vendor: x\nlifecycle: {lifecycle}\n"));
        let told = of("{version: v3, sunset: 2027-03-31, source: https://example.com/changes}").unwrap();
        let lifecycle = told.lifecycle.as_ref().unwrap();
        assert_eq!((lifecycle.version.as_deref(), &*lifecycle.source), (Some("v3"), "https://example.com/changes"));
        assert_eq!(told.ends().unwrap().to_string(), "2027-03-31T00:00:00Z", "from that day on");
        assert_eq!(of("{source: The change log}").unwrap().ends(), None);
        assert_eq!(Manifest::parse("manifest.yaml", "vendor: x\n").unwrap().ends(), None);
        for (lifecycle, part) in [
            ("{version: v3, sunset: 2027-03-31}", "manifest.yaml:2: `source` is missing"),
            ("{source: \"\"}", "found an empty one"),
            ("{source: a, version: \"\"}", "found an empty one"),
            ("{source: a, sunset: 2027-02-30}", "2027-02-30 is no day (write it as 2027-01-31)"),
            ("{source: a, sunset: 20270331}", "is no day"),
            ("{source: a, sunset: March 2027}", "is no day"),
            ("{source: a, sunst: 2027-03-31}", "unknown key \"sunst\" (did you mean \"sunset\"?)"),
        ] {
            let shown = of(lifecycle).unwrap_err().to_string();
            assert!(shown.contains(part), "{lifecycle}: {shown}");
        }
    }
}
