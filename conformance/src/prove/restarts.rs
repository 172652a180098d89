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
    };
    let read = if later { "a read of what changed" } else { "the first read" };
    scene.judge(&format!("after a kill {place} commit {} of {read}", commits + 1)).map_or(Ok(ended), Err)
}
