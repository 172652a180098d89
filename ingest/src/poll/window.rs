//! Which part of a list is read next. Pure: a cursor and a clock in, a window out.
//!
//! A window is `(from, to]` on the vendor's time of change. It ends `lag` behind the vendor's clock, since lists show a
//! change only after a while, and reaches `overlap` back into the window before it, for what showed up later still. The
//! cursor never passes the end of a window that was not read to its last page.

use std::time::Duration;

use hirewire_schemas::records::Cursor;
use jiff::{SignedDuration, Timestamp};

use crate::envelope::Origin;

const BACKFILL: &str = "BACKFILL";
const INTERVAL: &str = "INTERVAL";

/// What is read in one go, over as many pages as it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) origin: Origin,
    /// `None`: from the beginning.
    pub(super) from: Option<Timestamp>,
    pub(super) to: Timestamp,
    /// The vendor's cursor of the page to go on with; `None`: the first.
    pub(super) page: Option<String>,
    /// Read of this window so far.
    pub(super) rows: i64,
    /// The vendor's token that this run was begun with, of a list that has such.
    pub(super) sync: Option<String>,
}

/// The window to read now; `None` when the last one reaches as far as may be read yet.
pub(super) fn next(last: Option<&Cursor>, vendor_now: Timestamp, lag: Duration, overlap: Duration) -> Option<Window> {
    let end = before(vendor_now, lag);
    let Some(last) = last else {
        return Some(Window { origin: Origin::Backfill, from: None, to: end, page: None, rows: 0, sync: None });
    };
    let to = instant(last.window_to);
    if !last.complete {
        return Some(Window {
            origin: if last.phase == BACKFILL { Origin::Backfill } else { Origin::Poll },
            from: last.window_from.map(instant),
            to,
            page: last.next_page.clone(),
            rows: last.rows,
            sync: None,
        });
    }
    // A clock that was set back must not move the cursor back.
    (end > to).then(|| Window {
        origin: Origin::Poll,
        from: Some(before(to, overlap)),
        to: end,
        page: None,
        rows: 0,
        sync: None,
    })
}

/// Where a window ends that is read now. A clock that was set back does not move the cursor back.
pub(super) fn end(vendor_now: Timestamp, lag: Duration, last: Option<&Cursor>) -> Timestamp {
    let read = last.filter(|last| last.complete).map(|last| instant(last.window_to));
    read.map_or(before(vendor_now, lag), |read| read.max(before(vendor_now, lag)))
}

/// Up to when a list was read whole; `None` in its first run.
pub(super) fn settled(cursor: &Cursor) -> Option<Timestamp> {
    if cursor.complete { Some(instant(cursor.window_to)) } else { cursor.window_from.map(instant) }
}

/// The run to read now of a list that the vendor narrows by a token. It always ends now: what is not shown yet, the next
/// token shows.
pub(super) fn next_sync(last: Option<&Cursor>, vendor_now: Timestamp) -> Window {
    let Some(last) = last else {
        return Window { origin: Origin::Backfill, from: None, to: vendor_now, page: None, rows: 0, sync: None };
    };
    let (sync, to) = (last.sync_token.clone(), instant(last.window_to));
    if last.complete {
        // Without a token the list is read whole again.
        return Window { origin: Origin::Poll, from: Some(to), to: vendor_now.max(to), page: None, rows: 0, sync };
    }
    Window {
        origin: if last.phase == BACKFILL { Origin::Backfill } else { Origin::Poll },
        from: last.window_from.map(instant),
        to,
        page: last.next_page.clone(),
        rows: last.rows,
        sync,
    }
}

/// The cursor after a page of `window`: `next` is the page that follows, `None` when that was the last; `sync` the token
/// of the next run, if the page told one.
pub(super) fn cursor(connection: &str, lane: &str, window: &Window, next: Option<&str>, sync: Option<&str>) -> Cursor {
    Cursor {
        connection_id: connection.to_owned(),
        stream: lane.to_owned(),
        phase: if window.origin == Origin::Backfill { BACKFILL } else { INTERVAL }.to_owned(),
        window_from: window.from.map(Timestamp::as_microsecond),
        window_to: window.to.as_microsecond(),
        next_page: next.map(str::to_owned),
        complete: next.is_none(),
        rows: window.rows,
        written_at: Timestamp::now().as_microsecond(),
        // Only the last page's token covers all of the run.
        sync_token: if next.is_none() { sync.map(str::to_owned).or(window.sync.clone()) } else { window.sync.clone() },
    }
}

/// `time` moved back, to whole milliseconds: the resolution of what vendors compare with.
fn before(time: Timestamp, by: Duration) -> Timestamp {
    let moved = time.checked_sub(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX));
    let millis = moved.unwrap_or(Timestamp::UNIX_EPOCH).as_millisecond();
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn instant(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(5);
    const OVERLAP: Duration = Duration::from_secs(20);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn read_whole(window: &Window) -> Cursor {
        cursor("c", "s", window, None, None)
    }

    #[test]
    fn the_first_window_is_all_until_the_lag_and_the_next_reaches_back_into_it() {
        let first = next(None, at(1000), LAG, OVERLAP).unwrap();
        assert_eq!((first.origin, first.from, first.to), (Origin::Backfill, None, at(995)));
        let second = next(Some(&read_whole(&first)), at(1030), LAG, OVERLAP).unwrap();
        assert_eq!((second.origin, second.from, second.to), (Origin::Poll, Some(at(975)), at(1025)));
    }

    #[test]
    fn a_window_goes_on_where_it_stopped_with_the_ends_that_it_had() {
        let first = next(None, at(1000), LAG, OVERLAP).unwrap();
        let resumed = next(Some(&cursor("c", "s", &first, Some("p2"), None)), at(9000), LAG, OVERLAP).unwrap();
        assert_eq!(resumed, Window { page: Some("p2".into()), ..first });
    }

    #[test]
    fn a_token_counts_only_when_the_run_is_whole_and_is_kept_when_no_other_is_told() {
        let first = next_sync(None, at(1000));
        assert_eq!((first.origin, &first.sync), (Origin::Backfill, &None));
        let half = cursor("c", "s", &first, Some("p2"), Some("early"));
        assert_eq!((next_sync(Some(&half), at(1001)).page.as_deref(), half.sync_token), (Some("p2"), None));
        let whole = cursor("c", "s", &first, None, Some("t1"));
        let second = next_sync(Some(&whole), at(1002));
        assert_eq!((second.origin, second.page.as_deref(), second.sync.as_deref()), (Origin::Poll, None, Some("t1")));
        // In the midst of the second run the token that began it must not be lost: its page may be gone after a restart.
        let half = cursor("c", "s", &second, Some("p9"), Some("early"));
        assert_eq!(next_sync(Some(&half), at(1003)).sync.as_deref(), Some("t1"));
        assert_eq!(cursor("c", "s", &second, None, None).sync_token.as_deref(), Some("t1"));
    }

    #[test]
    fn a_clock_set_back_moves_nothing() {
        let first = next(None, at(1000), LAG, OVERLAP).unwrap();
        assert_eq!(next(Some(&read_whole(&first)), at(999), LAG, OVERLAP), None);
        assert_eq!(next(Some(&read_whole(&first)), at(1000), LAG, OVERLAP), None);
    }
}
