//! Files as sinks, fed by the embedded broker or by the Kafka that `HIREWIRE_TEST_BROKERS` names.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::ground::{Ground, application_id, now};
use super::process::Process;
use super::support::until;
use crate::files::parquet::tests::ids;

const APPLICATIONS: usize = 24;

async fn round(ground: &Ground, sequence_nos: std::ops::Range<i64>) {
    for sequence_no in sequence_nos {
        for number in 0..APPLICATIONS {
            ground.put_change(&application_id(number), sequence_no, "STAGE", now(), "WEBHOOK").await;
        }
    }
}

/// All lines of all files, the finished ones first.
fn lines(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else { return String::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().contains(".jsonl"));
    files.sort();
    // One may get its name meanwhile.
    files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// Killed with lines on the disk whose offset nobody has committed: its successor in the same folder doubles none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_have_each_record_once_and_in_order_though_the_process_is_killed() {
    let ground = Ground::lay().await;
    let folder = ground.folder.path().join("out");
    let config = format!(
        "sinks: {{moves: {{system: stream, file: {{path: '{}', rotate_bytes: 200_000}}}}}}\n\
         routes: {{moves: {{sink: moves, entity: stage-change}}}}\n",
        folder.display()
    );
    let count = || lines(&folder).lines().count();
    round(&ground, 1..100).await;
    let mut killed = Process::start(&ground, &config).await;
    until("some lines", || count() > 10 * APPLICATIONS).await;
    killed.kill();
    let service = ground.start(&config, &ground.folder.path().join("data")).await;
    round(&ground, 100..110).await;
    until("everything", || count() >= 109 * APPLICATIONS).await;
    service.stop().await;

    let text = lines(&folder);
    let mut found: HashMap<String, Vec<i64>> = HashMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let application = record["application_id"].as_str().unwrap().to_owned();
        found.entry(application).or_default().push(record["sequence_no"].as_i64().unwrap());
    }
    assert_eq!(found.len(), APPLICATIONS);
    assert!(found.values().all(|numbers| *numbers == (1..110).collect::<Vec<_>>()), "{found:?}");
}

/// The same with tables, whose files gather several heads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_have_each_row_once_though_the_process_is_killed() {
    let ground = Ground::lay().await;
    let folder = ground.folder.path().join("out");
    let config = format!(
        "sinks: {{analytics: {{parquet: {{path: '{}', flush_after: 300ms}}, window: 200}}}}\n\
         routes: {{moves: {{sink: analytics, entity: stage-change}}}}\n",
        folder.display()
    );
    let named = || -> u64 {
        let Ok(text) = std::fs::read(folder.join("manifest.json")) else { return 0 };
        let manifest: Value = serde_json::from_slice(&text).unwrap();
        manifest["files"].as_array().unwrap().iter().map(|file| file["rows"].as_u64().unwrap()).sum()
    };
    let all = 109 * APPLICATIONS;
    round(&ground, 1..100).await;
    let mut killed = Process::start(&ground, &config).await;
    until("some rows", || named() > 0).await;
    killed.kill();
    assert!(named() < all as u64, "killed with work in hand");
    let service = ground.start(&config, &ground.folder.path().join("data")).await;
    round(&ground, 100..110).await;
    until("everything", || named() >= all as u64).await;
    service.stop().await;

    let (found, _) = ids(&folder, "stage_change");
    let once: std::collections::HashSet<&String> = found.iter().collect();
    assert_eq!((found.len(), once.len()), (all, all));
}

/// A topic that was deleted and made anew begins at 0 again: nothing of it may be taken for written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_knows_another_topic_is_not_written_to() {
    let ground = Ground::lay().await;
    let folder = ground.folder.path().join("out");
    std::fs::create_dir(&folder).unwrap();
    let topic = ground.names.entity(hirewire_schemas::Entity::StageChange);
    std::fs::write(folder.join("manifest.json"), format!("{{\"positions\": {{\"{topic}\": {{\"2\": 7}}}}}}")).unwrap();
    let stop = crate::files::look(&folder, &ground.kafka).await.unwrap_err();
    assert_eq!(stop.code, "offset-out-of-range");
    assert!(stop.what.contains(&format!("offset 7 of {topic} partition 2, which ends at 0")), "{}", stop.what);
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    crate::files::look(&folder, &ground.kafka).await.unwrap();
}
