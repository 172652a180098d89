//! Lists that are asked for by SOAP, by the manifest of a vendor that has such.

use super::canary::listen_in::Logs;
use super::soap_vendor::{Soap, envelope, fault};
use super::*;

const WORKDAY: &str = include_str!("../../../../vendors/workday/manifest.yaml");
const JOBS: &str = "Get_Job_Requisitions";

fn connection(soap: &Soap, more: &str) -> Arc<Connection> {
    let folder = tempfile::tempdir().unwrap().keep();
    let text = format!("{}attempts: 2\n{more}", soap.settings(&folder));
    connection_of(WORKDAY, &text)
}

/// The ids of the rows that were kept of a list.
fn kept(ledger: &Ledger, list: &str) -> Vec<String> {
    let of = |(_, _, stream, body): (String, String, String, String)| {
        let id = body.split_once("<wd:ID wd:type=\"WID\">")?.1.split_once('<')?.0.to_owned();
        (stream == list).then_some(id)
    };
    ledger.rows().into_iter().filter_map(of).collect()
}

fn text_of(body: &str, element: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<r:{element}>"))?;
    Some(rest.split_once('<')?.0.to_owned())
}

#[tokio::test]
async fn all_pages_are_of_one_moment_and_the_next_window_asks_the_transaction_log() {
    let soap = Soap::start().await;
    for id in ["a", "b", "c", "d", "e"] {
        soap.put(JOBS, id, ago(5000), "<wd:Job_Requisition_Data/>");
    }
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection(&soap, "overlap: 20s"), &ledger, &HashMap::new());
    poller.one_round().await;
    let rows = ledger.rows();
    let (topic, origin, stream, body) = &rows[0];
    assert_eq!((topic.as_str(), origin.as_str(), stream.as_str()), ("ats.raw.workday.v1", "backfill", JOBS));
    assert_eq!(
        body,
        "<wd:Job_Requisition xmlns:wd=\"urn:com.workday/bsvc\" xmlns:env=\"http://schemas.xmlsoap.org/soap/envelope/\"><wd:Job_Requisition_Reference>\
         <wd:ID wd:type=\"WID\">a</wd:ID></wd:Job_Requisition_Reference><wd:Job_Requisition_Data/></wd:Job_Requisition>"
    );
    assert_eq!(rows.len(), 5);
    let asked = soap.asked(JOBS);
    assert_eq!(asked.iter().map(|asked| asked.page).collect::<Vec<_>>(), [1, 2, 3]);
    let moment = text_of(&asked[0].body, "As_Of_Entry_DateTime").unwrap();
    for asked in &asked {
        assert_eq!(text_of(&asked.body, "As_Of_Entry_DateTime").as_deref(), Some(moment.as_str()));
        assert!(!asked.body.contains("Request_Criteria"), "the first read is of everything: {}", asked.body);
    }
    // An old one that changed; the others are not read again.
    soap.put(JOBS, "b", ago(0), "<wd:Job_Requisition_Data><wd:Changed/></wd:Job_Requisition_Data>");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    poller.one_round().await;
    assert_eq!(kept(&ledger, JOBS), ["b"]);
    let asked = soap.asked(JOBS);
    assert_eq!(asked.len(), 1);
    let at = |element: &str| text_of(&asked[0].body, element).unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(at("Updated_From"), moment.parse::<Timestamp>().unwrap() - SignedDuration::from_secs(20));
    assert_eq!(at("Updated_Through"), at("As_Of_Entry_DateTime"));
    // Shown again by overlap, kept once.
    poller.one_round().await;
    assert!(kept(&ledger, JOBS).is_empty());
}

#[tokio::test]
async fn files_and_what_nobody_may_need_are_not_kept_and_people_are_restricted() {
    let soap = Soap::start().await;
    let body = "<wd:Candidate_Data><wd:Resume_Attachment_Data><wd:Filename>cv.pdf</wd:Filename><wd:File_Content>U0VDUkVU</wd:File_Content>\
                </wd:Resume_Attachment_Data><wd:Candidate_Identification_Data><wd:ID>SECRET</wd:ID></wd:Candidate_Identification_Data></wd:Candidate_Data>";
    soap.put("Get_Candidates", "p", ago(100), body);
    soap.with(|account| account.gzip = true);
    let ledger = Arc::new(Ledger::default());
    poller(&connection(&soap, ""), &ledger, &HashMap::new()).one_round().await;
    let rows = ledger.rows();
    let (topic, _, _, kept) = rows.iter().find(|row| row.2 == "Get_Candidates").unwrap();
    assert_eq!(topic, "ats.raw-restricted.workday.v1");
    assert!(
        kept.contains("<wd:Filename>cv.pdf</wd:Filename></wd:Resume_Attachment_Data></wd:Candidate_Data>"),
        "{kept}"
    );
}

#[tokio::test]
async fn a_wrong_password_ends_the_round_and_is_told_by_its_code_alone() {
    let (logs, _guard) = Logs::start();
    let soap = Soap::start().await;
    soap.put(JOBS, "a", ago(100), "");
    soap.with(|account| account.refuses = true);
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection(&soap, ""), &ledger, &HashMap::new());
    poller.one_round().await;
    assert!(ledger.cursors().is_empty() && ledger.rows().is_empty());
    assert_eq!(soap.with(|account| account.asked.len()), 1, "asked once, for no other list either");
    let told = logs.text();
    assert!(told.contains("poll-credentials") && told.contains("the SOAP fault Client.authenticationError"), "{told}");
    assert!(!told.contains("SECRET") && !told.contains("ss&") && !told.contains("p&lt;"), "{told}");
    soap.with(|account| account.refuses = false);
    poller.one_round().await;
    assert_eq!(kept(&ledger, JOBS), ["a"]);
}

#[tokio::test]
async fn a_fault_is_a_failure_under_any_status_and_loses_nothing() {
    let (logs, _guard) = Logs::start();
    let client = || fault("SOAP-ENV:Client.validationError");
    let server = || fault("SOAP-ENV:Server.processingFault");
    for (status, body, requests) in [
        // Asked again the same way, it gives the same again.
        (500, client(), 1),
        (200, client(), 1),
        (400, client(), 1),
        // The vendor's own fault: until the attempts are over.
        (500, server(), 2),
        (200, server(), 2),
        // No fault at all: by its status.
        (500, "<html>busy".to_owned(), 2),
        (503, "busy".to_owned(), 2),
    ] {
        let soap = Soap::start().await;
        soap.put(JOBS, "a", ago(100), "");
        soap.put("Get_Job_Postings", "p", ago(100), "");
        soap.with(|account| account.broken.insert(JOBS, (status, body.clone())));
        let ledger = Arc::new(Ledger::default());
        let mut poller = poller(&connection(&soap, ""), &ledger, &HashMap::new());
        poller.one_round().await;
        assert_eq!(soap.asked(JOBS).len(), requests, "{status} {body}");
        assert_eq!(ledger.cursors().get("acme/Get_Job_Requisitions"), None);
        assert_eq!(kept(&ledger, "Get_Job_Postings"), ["p"], "the other lists go on");
        soap.with(|account| account.broken.clear());
        poller.one_round().await;
        assert_eq!(kept(&ledger, JOBS), ["a"], "{status} {body}");
    }
    let told = logs.text();
    assert!(told.contains("poll-soap-fault") && told.contains("the SOAP fault Client.validationError"), "{told}");
    assert!(!told.contains("SECRET"), "{told}");
}

#[tokio::test]
async fn a_fault_for_a_later_page_begins_the_window_anew() {
    let soap = Soap::start().await;
    for id in ["a", "b", "c"] {
        soap.put(JOBS, id, ago(100), "");
    }
    soap.with(|account| account.faults = [None, Some((500, fault("SOAP-ENV:Client.validationError")))].into());
    let ledger = Arc::new(Ledger::default());
    poller(&connection(&soap, ""), &ledger, &HashMap::new()).one_round().await;
    assert_eq!(soap.asked(JOBS).iter().map(|asked| asked.page).collect::<Vec<_>>(), [1, 2, 1, 2]);
    assert_eq!(kept(&ledger, JOBS), ["a", "b", "c"], "none twice: the first page was kept");
}

#[tokio::test]
async fn an_answer_that_cannot_be_trusted_is_not_used() {
    let rows = |results: &str, data: &str| {
        envelope(&format!(
            "<w:Get_Job_Requisitions_Response xmlns:w='urn:com.workday/bsvc'><w:Response_Results>{results}</w:Response_Results>{data}</w:Get_Job_Requisitions_Response>"
        ))
    };
    let one = "<w:Response_Data><w:Job_Requisition><w:Job_Requisition_Reference><w:ID w:type='WID'>x</w:ID></w:Job_Requisition_Reference></w:Job_Requisition></w:Response_Data>";
    let good = "<w:Total_Pages>1</w:Total_Pages><w:Page_Results>1</w:Page_Results>";
    let whole = rows(good, one);
    let cut = |by: usize| whole.get(..whole.len() - by).unwrap().to_owned();
    for body in [
        String::new(),
        "{}".to_owned(),
        cut(1),
        cut(200),
        rows("<w:Total_Pages>1</w:Total_Pages>", one),
        rows("<w:Page_Results>1</w:Page_Results>", one),
        // Rows, and none where they should be.
        rows(good, &one.replace("Response_Data", "Other_Data")),
        format!(
            "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;'>]>{}",
            whole.trim_start_matches("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
        ),
        rows(good, &one.replace(">x<", &format!(">{}x{}<", "<a>".repeat(70), "</a>".repeat(70)))),
        whole.replace("UTF-8", "ISO-8859-1"),
    ] {
        let soap = Soap::start().await;
        soap.put(JOBS, "a", ago(100), "");
        soap.with(|account| account.broken.insert(JOBS, (200, body.clone())));
        let ledger = Arc::new(Ledger::default());
        let mut poller = poller(&connection(&soap, ""), &ledger, &HashMap::new());
        poller.one_round().await;
        assert!(!ledger.cursors().contains_key("acme/Get_Job_Requisitions"), "{body}");
        assert!(kept(&ledger, JOBS).is_empty(), "{body}");
        soap.with(|account| account.broken.clear());
        poller.one_round().await;
        assert_eq!(kept(&ledger, JOBS), ["a"], "{body}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_kept_for_the_dead_letters_and_stops_nothing() {
    let soap = Soap::start().await;
    soap.put(JOBS, "a", ago(100), "<wd:Title>&nbsp;</wd:Title>");
    soap.put(JOBS, "b", ago(100), "<wd:Title>\u{1}</wd:Title>");
    soap.put(JOBS, "c", ago(100), "");
    let ledger = Arc::new(Ledger::default());
    let registry = prometheus::Registry::new();
    poller_that_counts(&connection(&soap, ""), &ledger, &HashMap::new(), &registry).one_round().await;
    assert_eq!(kept(&ledger, JOBS), ["a", "b", "c"]);
    let counted = shown(&registry, "poll_unidentified_total");
    assert!(counted.iter().any(|line| line.contains(JOBS) && line.ends_with(" 2")), "{counted:?}");
}

#[tokio::test]
async fn a_report_is_read_where_a_customer_has_one_by_basic_auth() {
    let soap = Soap::start().await;
    let ledger = Arc::new(Ledger::default());
    let mut without = poller(&connection(&soap, ""), &ledger, &HashMap::new());
    without.one_round().await;
    assert!(soap.with(|account| std::mem::take(&mut account.reports)).is_empty());
    assert!(without.lanes.iter().all(|lane| lane.failing.is_none()), "what is not there does not fail");
    let own = format!("urls: {{Application_History: \"{}/ccx/service/customreport2/acme/isu/History\"}}", soap.address);
    let mut poller = poller(&connection(&soap, &own), &ledger, &HashMap::new());
    poller.one_round().await;
    let rows = ledger.rows();
    let report = rows.iter().find(|row| row.2 == "Application_History").unwrap();
    assert_eq!(report.3, "{\"Event_WID\":\"e1\",\"Application_WID\":\"a1\",\"Updated_At\":\"2026-01-02T03:04:05Z\"}");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    poller.one_round().await;
    let asked = soap.with(|account| std::mem::take(&mut account.reports));
    assert_eq!(asked[0], "format=json");
    assert!(
        asked[1].starts_with("format=json&Updated_From=") && asked[1].contains("&Updated_Through="),
        "{}",
        asked[1]
    );
}

#[tokio::test]
async fn operations_and_reports_are_asked_for_by_a_token_where_a_connection_has_a_refresh_token() {
    let soap = Soap::start().await;
    soap.put(JOBS, "a", ago(100), "<wd:Job_Requisition_Data/>");
    let folder = tempfile::tempdir().unwrap().keep();
    let own = format!("urls: {{Application_History: \"{}/ccx/service/customreport2/acme/isu/History\"}}", soap.address);
    let connection = connection_of(WORKDAY, &format!("{}attempts: 2\n{own}", soap.by_token(&folder)));
    let ledger = Arc::new(Ledger::default());
    let mut poller = poller(&connection, &ledger, &HashMap::new());
    poller.one_round().await;
    let rows = ledger.rows();
    assert!(["Application_History", JOBS].iter().all(|list| rows.iter().any(|row| row.2 == *list)), "{rows:?}");
    // One token for all; another when the vendor takes it back.
    assert_eq!(soap.with(|account| std::mem::replace(&mut account.tokens, 7)), 1);
    soap.put(JOBS, "a", ago(0), "<wd:Job_Requisition_Data><wd:Changed/></wd:Job_Requisition_Data>");
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    poller.one_round().await;
    assert_eq!(kept(&ledger, JOBS), ["a"]);
    assert_eq!(soap.with(|account| account.tokens), 8);
}

#[test]
fn a_connection_with_a_refresh_token_names_where_its_tokens_are() {
    let manifest = Manifest::parse("manifest.yaml", WORKDAY).unwrap();
    let of = |poll: &str| {
        let node = hirewire_yaml::parse("hirewire.yaml", poll).unwrap();
        let mut problems = Problems::new();
        let read = Connection::read("acme", "tenant", &manifest, None, Some(&node), None, &mut problems);
        problems.into_result(read).map(|_| ()).map_err(|problems| problems.to_string())
    };
    let three =
        "base_url: \"https://x.example\", client_id: {env: A}, client_secret: {env: A}, refresh_token: {env: A}";
    assert_eq!(of(&format!("{{{three}, token_url: \"https://x.example/token\"}}")), Ok(()));
    let missing = of(&format!("{{{three}}}")).unwrap_err();
    assert!(
        missing.contains("`token_url` is missing beside `refresh_token`") && missing.contains("/ccx/oauth2/acme/token"),
        "{missing}"
    );
    let both = of(&format!("{{{three}, token_url: \"https://x.example/token\", username: {{env: A}}}}")).unwrap_err();
    assert!(both.contains("unknown key \"username\""), "{both}");
}

#[test]
fn a_connection_names_only_reports_that_the_vendor_can_have() {
    let manifest = Manifest::parse("manifest.yaml", WORKDAY).unwrap();
    let text = "username: {env: U}\npassword: {env: P}\nbase_url: https://x.example\nurls: {Application_Histry: https://x.example/r, Get_Candidates: http://x.example}";
    let node = hirewire_yaml::parse("hirewire.yaml", text).unwrap();
    let mut problems = Problems::new();
    let _read = Connection::read("acme", "tenant", &manifest, None, Some(&node), None, &mut problems);
    let told = problems.to_string();
    assert!(told.contains("hirewire.yaml:4: this vendor has no list \"Application_Histry\" with a URL of its own (did you mean \"Application_History\"?)"), "{told}");
    assert!(told.contains("no list \"Get_Candidates\"") && told.contains("a URL that cannot be used here"), "{told}");
    assert!(!told.contains("`username`"), "{told}");
}
