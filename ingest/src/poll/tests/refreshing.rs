//! Refresh tokens that work once: the one that follows is never lost but to a crash in the one moment that nobody can close,
//! and then it is said.

use base64::Engine;

use super::canary::listen_in::Logs;
use super::house::{Fault, House, REFRESHING};
use super::sessions::connected;
use super::*;
use crate::poll::probe::{Probed, probe};

async fn start() -> (House, Arc<Connection>) {
    let house = House::open().await;
    house.with(|rooms| {
        rooms.jobs = vec![(1, ago(100).as_millisecond())];
        rooms.refresh = Some("refresh-0".to_owned());
    });
    let connection = connected(&house.manifest(REFRESHING), "refresh_token: {file: FOLDER/refresh}");
    (house, connection)
}

/// How often a token was asked for, and how often the list.
fn asked(house: &House) -> (usize, usize) {
    (house.count("POST /oauth/token"), house.count("GET /rest/jobs"))
}

#[tokio::test]
async fn each_token_is_renewed_by_the_one_before_it_over_restarts() {
    let (house, connection) = start().await;
    // Each is over at once.
    house.with(|rooms| rooms.token_life = 0);
    let ledger = Arc::new(Ledger::default());
    for restart in 0..3 {
        let cursors = ledger.cursors();
        let mut poller = poller(&connection, &ledger, &cursors);
        for _ in 0..2 {
            // Windows are of whole milliseconds: in the same one there is nothing new to ask for.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            assert!(poller.one_round().await);
            assert_eq!(poller.lanes[0].failing, None, "restart {restart}");
        }
    }
    assert!(house.count("POST /oauth/token grant_type=refresh_token") >= 6);
}

#[tokio::test]
async fn a_token_that_could_not_be_kept_is_used_for_nothing_and_kept_as_soon_as_it_can_be() {
    let (house, connection) = start().await;
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    // What is committed last is answered first: that the token is used, then the one that follows, three times in vain.
    let again = || NotCommitted::Again("a test".to_owned());
    ledger.answers.lock().unwrap().extend([again(), again(), again()]);
    ledger.skip.store(1, std::sync::atomic::Ordering::SeqCst);
    poller.one_round().await;
    assert_eq!(asked(&house), (1, 0), "the list is not asked before the token is kept");
    assert!(ledger.rows().is_empty());
    poller.one_round().await;
    // The first refresh token would not have worked again.
    assert_eq!((asked(&house).0, ledger.rows().len()), (2, 1));
}

#[tokio::test]
async fn who_lost_the_connection_without_knowing_spends_no_token() {
    let (house, connection) = start().await;
    let ledger = Arc::new(Ledger::default());
    ledger.answers.lock().unwrap().push(NotCommitted::Fenced);
    assert!(!poller(&connection, &ledger, &HashMap::new()).one_round().await, "it stops");
    assert_eq!(asked(&house), (0, 0));
    assert_eq!(house.with(|rooms| rooms.refresh.clone()).as_deref(), Some("refresh-0"));
}

#[tokio::test]
async fn a_token_that_is_lost_between_the_vendor_and_us_is_told_and_a_new_consent_takes_its_place() {
    let (house, connection) = start().await;
    let ledger = Arc::new(Ledger::default());
    house.fault("POST /oauth/token", Fault::Lost);
    let mut first = poller(&connection, &ledger, &HashMap::new());
    first.one_round().await;
    assert_eq!(first.lanes[0].failing, Some("poll-credentials"));
    // Also to the next process, which reads that it was used.
    let cursors = ledger.cursors();
    let (logs, _guard) = Logs::start();
    poller(&connection, &ledger, &cursors).one_round().await;
    assert!(
        logs.text().contains("what followed it was lost when a process ended. Give consent anew"),
        "{}",
        logs.text()
    );
    assert!(!logs.text().contains("refresh-"), "no token in a log: {}", logs.text());
    // A person gives consent once more.
    let anew = connected(&house.manifest(REFRESHING), "refresh_token: {file: FOLDER/id}");
    house.with(|rooms| rooms.refresh = Some("client".to_owned()));
    poller(&anew, &ledger, &cursors).one_round().await;
    assert_eq!(ledger.bodies().len(), 1);
}

#[tokio::test]
async fn what_is_kept_is_sealed_by_the_client_s_secret_and_for_its_connection() {
    let (house, connection) = start().await;
    let ledger = Arc::new(Ledger::default());
    poller(&connection, &ledger, &HashMap::new()).one_round().await;
    let stored = ledger.cursors().remove("acme/@token").unwrap();
    let token = house.with(|rooms| rooms.refresh.clone()).unwrap();
    let sealed = stored.sync_token.clone().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(&sealed).unwrap();
    assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()) && !sealed.contains(&token));
    let open = |connection: &str, secret: &str| {
        let codec = CursorCodec::new("cursors".into(), 1);
        Vault::new(ledger.clone(), codec, 0, connection, Some(&stored)).open(secret.as_bytes()).map(|kept| kept.token)
    };
    assert_eq!(open("acme", "secret"), Some(token));
    assert_eq!((open("acme", "another"), open("other", "secret")), (None, None));
}

#[tokio::test]
async fn a_probe_does_not_spend_the_token() {
    let (house, connection) = start().await;
    assert!(matches!(probe(&connection).await, Some(Probed::Untried(_))));
    assert!(house.take_requests().is_empty());
}
