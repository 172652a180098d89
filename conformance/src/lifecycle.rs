//! How long the vendor's API will be answered yet, by what its manifest says: the one part of `check` that depends on the day.

use hirewire_ingest::manifest::Manifest;
use hirewire_yaml::Problems;
use jiff::civil::Date;

use crate::folder::Folder;

/// So many days before its end people are told.
const WARN_DAYS: i64 = 90;

/// An API that ends soon is a warning, and one that ended is a mistake: from the day on that the manifest names.
pub(crate) fn hold(
    folder: &Folder,
    manifest: &Manifest,
    today: Date,
    mistakes: &mut Problems,
    warnings: &mut Problems,
) {
    let Some(lifecycle) = &manifest.lifecycle else { return };
    let Some(sunset) = lifecycle.sunset else { return };
    // It can be read: the manifest was.
    let node = folder.yaml("manifest.yaml", "", &mut Problems::new());
    let Some(at) = node.as_ref().and_then(|node| node.peek("lifecycle")?.peek("sunset")) else { return };
    let days = sunset.duration_since(today).as_hours() / 24;
    let api = lifecycle.version.as_ref().map_or("the vendor's API".to_owned(), |version| format!("the API {version}"));
    if days <= 0 {
        let what = format!("{api} is not answered any more since {sunset}");
        let hint = format!(
            "bring manifest.yaml and mapping.yaml to what follows it ({}); if the vendor moved the day, write the new one",
            lifecycle.source
        );
        mistakes.add(at, what, hint);
    } else if days <= WARN_DAYS {
        let what = format!("{api} is not answered any more from {sunset} on: {days} days are left");
        let hint = format!("bring manifest.yaml and mapping.yaml to what follows it until then: {}", lifecycle.source);
        warnings.add(at, what, hint);
    }
}
