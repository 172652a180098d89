//! Payloads of XML, through a mapping as those of JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::string_slice)]

mod support;

use hirewire_mapping::tool::{self, World};
use hirewire_mapping::xml::Forms;
use hirewire_mapping::{Input, Plan, RejectCode, Scratch};
use serde_json::{Value as Json, json};
use support::{Nobody, compile, id, key, schema_of};

const MAPPING: &str = r#"
version: "1"
xml: {lists: [Note], keyed: {ID: type}}
rules:
  parcel:
    record: Parcel
    streams: [Get_Parcels]
    completeness: whole
    id: Parcel_Reference.ID.WID
    fields:
      depot_id: {ref: Depot, from: Depot_Reference.ID.WID}
      route_id: Depot_Reference.ID.Depot_ID
      station: {from: Station, fields: {name: Name}}
      sent_at: Sent
      notes: {each: Note, fields: {title: Title, note: Text}}
"#;

const ROW: &str = r#"<w:Parcel xmlns:w="urn:x"><w:Parcel_Reference><w:ID w:type="WID">1</w:ID><w:ID w:type="Parcel_ID">P-1</w:ID></w:Parcel_Reference>
  <w:Depot_Reference w:Descriptor="Nord"><w:ID type="Depot_ID">D-7</w:ID><w:ID type="WID">7</w:ID></w:Depot_Reference>
  <w:Station><w:Name>&#xD6;st &amp; S&#xfc;d</w:Name></w:Station>
  <w:Sent>2020-10-06T01:48:50.263-07:00</w:Sent>
  <w:Note><w:Title>a</w:Title><w:Text><![CDATA[<b>]]></w:Text></w:Note></w:Parcel>"#;

fn plan() -> Plan {
    compile(MAPPING, None).unwrap_or_else(|problems| panic!("{problems}"))
}

fn map(body: &str, rows: Option<&str>) -> Vec<Json> {
    let world = World { schema_of: &schema_of, id: &id, key: &key, meta: &[], meta_of: &|_, _, _| None };
    let input = Input { body: body.as_bytes(), stream: Some("Get_Parcels"), ..Input::default() };
    let report = tool::map_file(&plan(), &input, rows, &world);
    assert_eq!(report.coverage.unread, 0);
    report.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_row_of_xml_is_mapped_as_a_row_of_json_is() {
    let records = map(ROW, Some("Data.Parcel"));
    let record = &records[0]["record"];
    assert_eq!(record["meta"]["remote_id"], "1");
    assert_eq!((&record["depot_id"], &record["route_id"]), (&json!(id(None, "Depot", "7")), &json!("D-7")));
    assert_eq!(record["station"]["name"], "\u{d6}st & S\u{fc}d");
    assert_eq!(record["sent_at"], "2020-10-06T08:48:50.263Z");
    assert_eq!(record["notes"], json!([{"title": "a", "note": "<b>"}]), "one is a list too");
    // What no rule reads is carried, by the path that it would have in JSON.
    let carried: Vec<&str> = record["meta"]["custom_fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["path"].as_str().unwrap())
        .collect();
    assert_eq!(carried, ["Parcel_Reference.ID.Parcel_ID", "Depot_Reference.@Descriptor"]);
    // The same as JSON gives the same record.
    let mut json = String::new();
    hirewire_mapping::xml::to_json(
        ROW.as_bytes(),
        &Forms { lists: ["Note".to_owned()].into(), keyed: [("ID".to_owned(), "type".to_owned())].into() },
        &mut json,
    )
    .unwrap();
    assert_eq!(map(&json, None), records);
}

/// What is not keyed is a list of objects, in which a path finds one by its attribute.
#[test]
fn a_path_finds_an_element_by_its_attribute() {
    let mapping =
        MAPPING.replace("[Note], keyed: {ID: type}", "[Note, ID]").replace("ID.Depot_ID", "'ID[@type=Depot_ID].#text'");
    let mapping =
        mapping.replace("Depot_Reference.'ID", "'Depot_Reference.ID").replace("ID.WID", "ID[@type=WID].#text");
    let mapping =
        mapping.replace("id: Parcel_Reference.ID[@type=WID].#text", "id: \"Parcel_Reference.ID[@type=WID].#text\"");
    let mapping =
        mapping.replace("from: Depot_Reference.ID[@type=WID].#text", "from: \"Depot_Reference.ID[@type=WID].#text\"");
    let plan = compile(&mapping, None).unwrap_or_else(|problems| panic!("{mapping}\n{problems}"));
    let world = World { schema_of: &schema_of, id: &id, key: &key, meta: &[], meta_of: &|_, _, _| None };
    let input = Input { body: ROW.as_bytes(), stream: Some("Get_Parcels"), ..Input::default() };
    let line: Json =
        serde_json::from_str(&tool::map_file(&plan, &input, Some("Data.Parcel"), &world).lines[0]).unwrap();
    let record = &line["record"];
    assert_eq!(
        (&record["meta"]["remote_id"], &record["depot_id"], &record["route_id"]),
        (&json!("1"), &json!(id(None, "Depot", "7")), &json!("D-7"))
    );
}

#[test]
fn a_page_gives_its_rows_with_an_envelope_and_without() {
    let second = ROW.replace(">1</w:ID>", ">2</w:ID>");
    let page = format!("<Answer><Total>2</Total><Data>{ROW}{second}</Data></Answer>");
    let enveloped = format!("<s:Envelope xmlns:s='soap'><s:Body>{page}</s:Body></s:Envelope>");
    for body in [&page, &enveloped] {
        let records = map(body, Some("Data.Parcel"));
        let ids: Vec<&Json> = records.iter().map(|record| &record["record"]["meta"]["remote_id"]).collect();
        assert_eq!(ids, ["1", "2"]);
    }
    assert!(map("<Answer><Total>0</Total></Answer>", Some("Data.Parcel")).is_empty());
    let fault =
        "<s:Envelope xmlns:s='soap'><s:Body><s:Fault><faultstring>SECRET</faultstring></s:Fault></s:Body></s:Envelope>";
    assert_eq!(map(fault, Some("Data.Parcel"))[0]["dead_letter"]["reason"], "a fault in the place of an answer");
}

#[test]
fn hostile_xml_is_a_dead_letter_with_its_code() {
    let plan = plan();
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    for (body, code) in [
        (b"<a>\xff</a>".as_slice(), RejectCode::InvalidUtf8),
        (b"<a>", RejectCode::InvalidXml),
        (b"<!DOCTYPE a [<!ENTITY x 'SECRET'>]><a>&x;</a>", RejectCode::InvalidXml),
        (deep.as_bytes(), RejectCode::TooDeep),
        (b"<a b:x='1' c:x='2'><y/></a>", RejectCode::DuplicateKey),
        (b"<a><Parcel_Reference><ID>text alone</ID></Parcel_Reference></a>", RejectCode::UnexpectedType),
        (ROW.replace("Parcel_ID", "WID").leak().as_bytes(), RejectCode::DuplicateKey),
        // A name that no one declared as a list, twice.
        (ROW.replace("<w:Sent>", "<w:Sent>x</w:Sent><w:Sent>").leak().as_bytes(), RejectCode::UnexpectedType),
    ] {
        let input = Input { body, stream: Some("Get_Parcels"), ..Input::default() };
        let reject = plan.apply(&mut Scratch::default(), &input, &mut Nobody).map(|_| ()).unwrap_err();
        assert_eq!(reject.code, code, "{reject}");
        assert!(!reject.to_string().contains("SECRET"));
    }
}

#[test]
fn a_mapping_that_does_not_speak_of_xml_reads_none() {
    let plan = compile(&MAPPING.replace("xml: {lists: [Note], keyed: {ID: type}}\n", ""), None).unwrap();
    let input = Input { body: ROW.as_bytes(), stream: Some("Get_Parcels"), ..Input::default() };
    let reject = plan.apply(&mut Scratch::default(), &input, &mut Nobody).map(|_| ()).unwrap_err();
    assert_eq!(reject.code, RejectCode::InvalidJson);
}

/// Whatever is done to a page: it is refused, or it gives rows that are XML, and JSON that is JSON. Nothing panics.
#[test]
fn a_page_that_is_damaged_at_random_is_refused_or_read_and_what_is_read_is_json() {
    const PIECES: [&str; 24] = [
        "<",
        ">",
        "</",
        "/>",
        "<a>",
        "</a>",
        "<a/>",
        "&",
        ";",
        "&amp;",
        "&#x41;",
        "&#0;",
        "\"",
        "'",
        "=",
        " xmlns:w='v'",
        " a:nil='true'",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?x?>",
        "<!DOCTYPE a>",
        "\u{feff}",
    ];
    let page = format!(
        "<s:Envelope xmlns:s='soap'><s:Body><w:Answer xmlns:w='u'><Total>1</Total><Data>{ROW}{ROW}</Data></w:Answer></s:Body></s:Envelope>"
    );
    let forms = Forms { lists: ["Note".to_owned()].into(), keyed: [("ID".to_owned(), "type".to_owned())].into() };
    let mut random = fastrand::Rng::with_seed(7);
    let (mut refused, mut read, mut rows) = (0, 0, 0);
    for _ in 0..20_000 {
        let mut bytes = page.as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..5) {
                0 => drop(bytes.remove(at)),
                1 => bytes[at] = random.u8(..),
                2 => bytes.truncate(at.max(1)),
                3 => drop(bytes.splice(at..at, PIECES[random.usize(..PIECES.len())].bytes())),
                _ => drop(bytes.drain(at..(at + random.usize(..40)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                bytes.push(b'<');
            }
        }
        let mut json = String::new();
        if hirewire_mapping::xml::to_json(&bytes, &forms, &mut json).is_ok() {
            assert!(tool::is_json(json.as_bytes()), "{json}\n{}", String::from_utf8_lossy(&bytes));
        }
        match hirewire_mapping::xml::split(&bytes, &["Data", "Parcel"], &["Sent".to_owned()]) {
            Err(_) => refused += 1,
            Ok(page) => {
                read += 1;
                assert!(page.rest.is_empty() || tool::is_json(page.rest.as_bytes()), "{}", page.rest);
                for row in page.rows {
                    rows += 1;
                    let mut json = String::new();
                    if hirewire_mapping::xml::to_json(&row, &forms, &mut json).is_ok() {
                        assert!(tool::is_json(json.as_bytes()) && !json.contains("\"Sent\""), "{json}");
                    }
                }
            }
        }
    }
    assert!(refused > 3_000 && read > 700 && rows > 700, "{refused} {read} {rows}");
}
