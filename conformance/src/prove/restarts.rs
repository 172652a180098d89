//! Is nothing lost when the poller is killed: at any commit of the first read, and of a read of what changed?

use hirewire_ingest::manifest::Stream;
use hirewire_ingest::{Moment, Round};

use super::scene::Scene;
use super::{Answers, Kit};

/// More commits than any list has here.
const MOST_COMMITS: usize = 30;

pub(super) async fn prove(kit: &Kit, stream: &Stream) -> Answers {
    let mut answers = Answers::default();
    for later in [false, true] {
        for moment in [Moment::BeforeCommit, Moment::AfterCommit] {
            let mut wrong = None;
            for commits in 0..MOST_COMMITS {
                match killed(kit, stream, later, commits, moment).await {
                    Ok(Round::Killed) => {}
                    // The read is over before that commit.
                    Ok(Round::Over) => break,
                    Err(why) => {
                        wrong = Some(why);
                        break;
                    }
                }
            }
            answers.ask(wrong);
        }
    }
    answers
}

/// A read that is killed after so many commits; the next ones must make up for it.
async fn killed(kit: &Kit, stream: &Stream, later: bool, commits: usize, moment: Moment) -> Result<Round, String> {
    let mut scene = Scene::new(kit, stream).await?;
    if later {
        scene.read().await;
        scene.disturb();
    }
    scene.kill_after(commits, moment);
    let ended = scene.read().await;
    scene.settle().await;
    let place = match moment {
        Moment::BeforeCommit => "before",
        Moment::AfterCommit => "after",
        Moment::CursorsAlone => "in the midst of",
    };
    let read = if later { "a read of what changed" } else { "the first read" };
    scene.judge(&format!("after a kill {place} commit {} of {read}", commits + 1)).map_or(Ok(ended), Err)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::folder::{Folder, vendors_in};
    use crate::prove::scene::Narrowed;

    /// The clause sees a journal that keeps a cursor without its rows: at every list that is not read whole each time, in
    /// the first read and in a later one. Of other lists the next round shows everything again.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_cursor_that_was_kept_without_its_rows_is_seen_at_every_list() {
        let vendors = vendors_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../vendors")).unwrap();
        let mut seen = 0;
        for path in vendors.iter().filter(|path| path.join("api.yaml").is_file()) {
            let kit = Kit::of(&Folder::new(path)).unwrap_or_else(|problems| panic!("{problems}"));
            for stream in crate::prove::lists(&kit.manifest) {
                if Scene::new(&kit, stream).await.unwrap().narrowed == Narrowed::No {
                    continue;
                }
                for later in [false, true] {
                    // The first commits may be of a login alone.
                    let (mut told, mut commits) = (Ok(Round::Killed), 0);
                    while told == Ok(Round::Killed) && commits < MOST_COMMITS {
                        told = killed(&kit, stream, later, commits, Moment::CursorsAlone).await;
                        commits += 1;
                    }
                    let at = format!("{} {}, later: {later}, kill {commits}", path.display(), stream.name);
                    let told = told.expect_err(&at);
                    assert!(
                        told.contains("after a kill in the midst of commit ") && told.contains("not seen"),
                        "{at}: {told}"
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 40, "{seen}");
    }
}
