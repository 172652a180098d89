//! Is each change of a list seen: of an old row, late, many at one instant, between two pages, by another clock?

use hirewire_ingest::manifest::Stream;
use hirewire_sim::vendor::Change;

use super::scene::{Narrowed, ROWS, Scene};
use super::{Answers, Kit};

/// Reads between a change and the moment at which it shows.
const READS_MEANWHILE: u64 = 5;
const HOUR_SECS: u64 = 3600;
const DAY_SECS: u64 = 24 * HOUR_SECS;

pub(super) async fn prove(kit: &Kit, stream: &Stream) -> Answers {
    let mut answers = Answers::default();
    let (mut scene, rules) = match (Scene::new(kit, stream).await, kit.rules_of(stream)) {
        (Ok(scene), Some(rules)) => (scene, rules),
        (Err(why), _) => {
            answers.ask(Some(why));
            return answers;
        }
        (Ok(_), None) => return answers,
    };
    scene.read().await;
    scene.settle().await;
    let first = scene.judge("after the first read");
    let readable = first.is_none();
    answers.ask(first);
    if !readable {
        // Whatever else is asked has the same answer.
        return answers;
    }
    scene.pass(HOUR_SECS);
    scene.change(0, Change::default());
    scene.settle().await;
    answers.ask(scene.judge("after a change of the oldest row"));
    if !rules.grows {
        let what = "two states of a row have one identity: `field` is no time of change";
        answers.ask(scene.confuses().then(|| what.to_owned()));
    }
    if rules.quiet {
        scene.change(1, Change { quiet: true, ..Change::default() });
        scene.settle().await;
        answers.ask(scene.judge("after a change that leaves the row's own time of change as it was"));
    }
    answers.ask(late(&mut scene, kit.rules.visible_within_secs).await);
    answers.ask(at_one_instant(&mut scene).await);
    answers.ask(between_pages(&mut scene, rules).await);
    if !rules.grows {
        answers.ask(taken_back(&mut scene, rules).await);
        let rows = scene.again().await;
        let what = format!("{rows} rows were kept again though nothing changed");
        answers.ask((rows > 0).then_some(what));
    }
    answers.ask(after_a_restart(&mut scene).await);
    if let Some(sync) = kit.rules.sync.as_ref().filter(|_| scene.narrowed == Narrowed::Sync) {
        scene.pass(sync.lasts_secs + DAY_SECS);
        scene.change(0, Change::default());
        scene.settle().await;
        answers.ask(scene.judge("after a change since which the sync token ended"));
    }
    if scene.narrowed != Narrowed::No {
        let rows = scene.idle().await;
        let what = format!("{rows} rows came in a read after which nothing was new: the list is not narrowed");
        answers.ask((rows > 0).then_some(what));
    }
    answers
}

/// It shows as late as the vendor may show it, and the poller reads meanwhile.
async fn late(scene: &mut Scene, visible_within_secs: u64) -> Option<String> {
    let shown_after_ms = i64::try_from(visible_within_secs).unwrap_or(0) * 1000;
    scene.change(0, Change { shown_after_ms, ..Change::default() });
    for _ in 0..READS_MEANWHILE {
        scene.pass(visible_within_secs / READS_MEANWHILE);
        scene.read().await;
    }
    scene.settle().await;
    scene.judge("after a change that shows late")
}

async fn at_one_instant(scene: &mut Scene) -> Option<String> {
    let at = Some(scene.vendor.with(|account| account.now()));
    scene.change_all(Change { at, ..Change::default() });
    scene.settle().await;
    scene.judge("after changes of several pages at one instant")
}

/// A row changes when its page was given, or when its page is the next.
async fn between_pages(scene: &mut Scene, rules: &hirewire_sim::Stream) -> Option<String> {
    for index in [0, ROWS - 1] {
        scene.disturb();
        scene.vendor.with(|account| account.change_between_pages(&rules.name, index));
        scene.read().await;
        scene.settle().await;
    }
    scene.judge("after changes between two pages")
}

/// A row changes and is again what it was: after it was read, or between a page that names it and what is read of it.
async fn taken_back(scene: &mut Scene, rules: &hirewire_sim::Stream) -> Option<String> {
    scene.change(0, Change::default());
    scene.settle().await;
    scene.take_back(0);
    scene.settle().await;
    let wrong = scene.judge_last("after a change that was taken back");
    for index in [0, ROWS - 1].into_iter().filter(|_| rules.single) {
        scene.disturb();
        scene.vendor.with(|account| account.change_between_pages(&rules.name, index));
        scene.read().await;
        scene.take_back(index);
        scene.settle().await;
    }
    wrong.or_else(|| scene.judge_last("after changes, each between a row and its details, that were taken back"))
}

/// A new process knows the vendor's clock by its first answer only.
async fn after_a_restart(scene: &mut Scene) -> Option<String> {
    scene.pass(HOUR_SECS);
    scene.restart();
    scene.read().await;
    scene.pass(60);
    scene.change(0, Change::default());
    scene.settle().await;
    scene.judge("after a restart, with the vendor's clock far behind ours")
}
