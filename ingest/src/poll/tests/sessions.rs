//! A user's session: how it is opened, what happens when it ends, and that no secret goes astray.

use super::house::{Fault, House, SESSIONS};
use super::*;

/// A connection of a user to the house. `more` are lines of its `poll`.
pub(super) fn user_of(house: &House, more: &str) -> Arc<Connection> {
    // One read of the queue in a test, and no more.
    connected(
        &house.manifest(SESSIONS),
        &format!("username: {{file: FOLDER/user}}\npassword: {{file: FOLDER/password}}\n{more}"),
    )
}

pub(super) fn connected(manifest: &str, more: &str) -> Arc<Connection> {
    let folder = tempfile::tempdir().unwrap().keep();
    for (name, value) in [
        ("id", "client"),
        ("secret", "secret"),
        ("password", "password"),
        ("refresh", "refresh-0"),
        ("user", "api.user"),
    ] {
        std::fs::write(folder.join(name), value).unwrap();
    }
    let text = format!(
        "client_id: {{file: FOLDER/id}}\nclient_secret: {{file: FOLDER/secret}}\ninterval: 10ms\nretry_first: 1ms\n\
         retry_most: 5ms\nattempts: 3\n{more}"
    );
    connection_of(manifest, &text.replace("FOLDER", &folder.display().to_string()))
}

async fn house_with(jobs: u64) -> House {
    let house = House::open().await;
    house.with(|rooms| rooms.jobs = (1..=jobs).map(|id| (id, ago(100 + id as i64).as_millisecond())).collect());
    house
}

fn ids(ledger: &Ledger) -> Vec<u64> {
    let id = |body: &String| serde_json::from_str::<serde_json::Value>(body).unwrap()["id"].as_u64().unwrap();
    let mut ids: Vec<u64> = ledger.bodies().iter().filter(|body| body.contains("changed")).map(id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_user_logs_in_at_the_own_data_centre_and_asks_where_the_login_says() {
    let house = house_with(3).await;
    let ledger = Arc::new(Ledger::default());
    let connection = user_of(&house, "");
    assert!(poller(&connection, &ledger, &HashMap::new()).one_round().await);
    assert_eq!(ids(&ledger), [1, 2, 3]);
    let requests = house.take_requests();
    let login = [
        "GET /loginInfo",
        "GET /oauth/authorize",
        "POST /oauth/token grant_type=authorization_code",
        "POST /services/login",
        "GET /rest/events/acme/last",
    ];
    assert_eq!(requests[..5], login, "{requests:?}");
    let pages: Vec<&String> = requests.iter().filter(|request| request.starts_with("GET /rest/jobs")).collect();
    let all = ["GET /rest/jobs where=all", "GET /rest/jobs start=2 where=all", "GET /rest/jobs start=3 where=all"];
    assert_eq!(pages, all, "a page without rows is behind the last");
}

#[tokio::test]
async fn settings_may_name_the_data_centre_and_then_nobody_is_asked() {
    let house = house_with(1).await;
    let ledger = Arc::new(Ledger::default());
    let urls = format!("oauth_url: {0}/oauth\nlogin_url: {0}/services", house.address);
    assert!(poller(&user_of(&house, &urls), &ledger, &HashMap::new()).one_round().await);
    assert_eq!((ids(&ledger), house.count("GET /loginInfo")), (vec![1], 0));
}

#[tokio::test]
async fn a_session_that_ends_between_any_two_requests_is_opened_anew_and_no_row_is_skipped_or_doubled() {
    for requests in 1..8 {
        let house = house_with(7).await;
        house.with(|rooms| rooms.session_requests = Some(requests));
        let ledger = Arc::new(Ledger::default());
        assert!(poller(&user_of(&house, ""), &ledger, &HashMap::new()).one_round().await);
        assert_eq!(ids(&ledger), [1, 2, 3, 4, 5, 6, 7], "a session of {requests} requests");
        assert!(house.count("POST /services/login") > 1);
        // Each with a token of its own, by the refresh token that the one before gave.
        assert_eq!(house.count("GET /oauth/authorize"), 1);
    }
}

#[tokio::test]
async fn a_token_is_used_for_one_login_also_when_the_login_fails() {
    for fault in [Fault::Status(500), Fault::Lost] {
        let house = house_with(2).await;
        house.fault("POST /services/login", fault.clone());
        let ledger = Arc::new(Ledger::default());
        assert!(poller(&user_of(&house, ""), &ledger, &HashMap::new()).one_round().await);
        assert_eq!(ids(&ledger), [1, 2], "{fault:?}");
        assert_eq!(house.count("POST /oauth/token"), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn the_next_process_goes_on_by_the_refresh_token_that_was_kept_and_by_the_password_where_none_is_good() {
    let house = house_with(1).await;
    let ledger = Arc::new(Ledger::default());
    let connection = user_of(&house, "");
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    let cursors = ledger.cursors();
    poller(&connection, &ledger, &cursors).one_round().await;
    assert_eq!((house.count("GET /oauth/authorize"), house.count("POST /services/login")), (1, 2));
    // The same cursors again: what they hold was used.
    poller(&connection, &ledger, &cursors).one_round().await;
    assert_eq!((house.count("GET /oauth/authorize"), house.count("POST /services/login")), (2, 3));
    // A vendor that gives none.
    house.with(|rooms| rooms.gives_refresh = false);
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    assert_eq!((house.count("GET /oauth/authorize"), house.count("POST /services/login")), (3, 4));
}

#[tokio::test]
async fn a_wrong_password_is_told_and_asks_for_nothing_more_in_this_round() {
    let house = house_with(1).await;
    let ledger = Arc::new(Ledger::default());
    let connection = connected(&house.manifest(SESSIONS), "username: {file: FOLDER/user}\npassword: {file: FOLDER/id}");
    let registry = prometheus::Registry::new();
    poller_that_counts(&connection, &ledger, &HashMap::new(), &registry).one_round().await;
    assert!(ledger.rows().is_empty());
    assert_eq!(house.take_requests(), ["GET /loginInfo", "GET /oauth/authorize"]);
    assert!(shown(&registry, "poll_failures_total").iter().any(|line| line.contains("poll-credentials")));
}

#[tokio::test]
async fn the_way_to_another_data_centre_is_followed_and_the_way_to_a_stranger_is_not() {
    for at in ["GET /loginInfo", "GET /oauth/authorize", "POST /oauth/token", "POST /services/login"] {
        let (house, stranger) = (house_with(1).await, House::open().await);
        let ledger = Arc::new(Ledger::default());
        // Of another host: only its name differs.
        let there = stranger.address.replace("127.0.0.1", "localhost");
        for _ in 0..9 {
            house.fault(at, Fault::Moved(format!("{there}/oauth?secret=x")));
        }
        poller(&user_of(&house, ""), &ledger, &HashMap::new()).one_round().await;
        assert!(stranger.take_requests().is_empty() && ledger.rows().is_empty(), "{at}");
    }
    // The same house by another of its addresses stands for another data centre.
    let house = house_with(1).await;
    let query = "username=api.user";
    house.fault("GET /loginInfo", Fault::Moved(format!("{}/loginInfo?{query}", house.address)));
    let ledger = Arc::new(Ledger::default());
    poller(&user_of(&house, ""), &ledger, &HashMap::new()).one_round().await;
    assert_eq!((ids(&ledger), house.count("GET /loginInfo")), (vec![1], 2));
}

#[tokio::test]
async fn a_probe_logs_in_by_the_password_and_keeps_nothing() {
    let house = house_with(1).await;
    let probed = super::super::probe::probe(&user_of(&house, "")).await.unwrap();
    assert!(matches!(probed, super::super::probe::Probed::Answered { ref list, .. } if list == "jobs"), "{probed:?}");
}
