//! The shapes of all requests, to measure one before it is decoded.
//!
//! In: the body of a request; out: whether its lists and strings fit into it. The decoder reserves memory for a list's
//! length as it is announced, so a length that no bytes stand behind would end the process.

use kafka_protocol::messages::ApiKey;

/// Entries of all lists of a request together.
const MAX_ENTRIES: usize = 1_000_000;

#[derive(Clone, Copy)]
enum Kind {
    /// So many bytes.
    Fixed(usize),
    Text,
    Bytes,
    /// A list of plain values.
    List(&'static Kind),
    /// A list of structures.
    Array(&'static [Field]),
}

#[derive(Clone, Copy)]
struct Field {
    kind: Kind,
    min: i16,
    max: i16,
}

const fn field(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}

const fn since(min: i16, kind: Kind) -> Field {
    between(min, i16::MAX, kind)
}

const fn between(min: i16, max: i16, kind: Kind) -> Field {
    Field { kind, min, max }
}

const BYTE: Field = field(Kind::Fixed(1));
const SHORT: Field = field(Kind::Fixed(2));
const INT: Field = field(Kind::Fixed(4));
const LONG: Field = field(Kind::Fixed(8));
const TEXT: Field = field(Kind::Text);
const BYTES: Field = field(Kind::Bytes);
const INTS: Field = field(Kind::List(&Kind::Fixed(4)));
const TEXTS: Field = field(Kind::List(&Kind::Text));

const fn array(fields: &'static [Field]) -> Field {
    field(Kind::Array(fields))
}

const fn at(min: i16, max: i16, field: Field) -> Field {
    between(min, max, field.kind)
}

/// Resource type, name and pattern, principal, host, operation, permission.
const ACL: &[Field] = &[BYTE, TEXT, BYTE, TEXT, TEXT, BYTE, BYTE];

const LAST: i16 = i16::MAX;

/// The fields in the order of the wire, tagged ones left out.
fn fields(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::Produce => {
            const PARTITIONS: Field = array(&[INT, BYTES]);
            const FIELDS: &[Field] = &[TEXT, SHORT, INT, array(&[TEXT, PARTITIONS])];
            FIELDS
        }
        ApiKey::Fetch => {
            const PARTITION: &[Field] = &[INT, at(9, LAST, INT), LONG, at(12, LAST, INT), at(5, LAST, LONG), INT];
            const FORGOTTEN: Field = since(7, Kind::Array(&[TEXT, INTS]));
            const TOPICS: Field = array(&[TEXT, array(PARTITION)]);
            const FIELDS: &[Field] =
                &[INT, INT, INT, INT, BYTE, at(7, LAST, INT), at(7, LAST, INT), TOPICS, FORGOTTEN, at(11, LAST, TEXT)];
            FIELDS
        }
        ApiKey::ListOffsets => {
            const PARTITION: &[Field] = &[INT, at(4, LAST, INT), LONG];
            const FIELDS: &[Field] = &[INT, at(2, LAST, BYTE), array(&[TEXT, array(PARTITION)])];
            FIELDS
        }
        ApiKey::Metadata => {
            const TOPICS: Field = array(&[since(10, Kind::Fixed(16)), TEXT]);
            const FIELDS: &[Field] = &[TOPICS, at(4, LAST, BYTE), at(8, 10, BYTE), at(8, LAST, BYTE)];
            FIELDS
        }
        ApiKey::OffsetCommit => {
            const PARTITION: &[Field] = &[INT, LONG, at(6, LAST, INT), TEXT];
            const TOPICS: Field = array(&[TEXT, array(PARTITION)]);
            const FIELDS: &[Field] = &[TEXT, INT, TEXT, at(7, LAST, TEXT), at(2, 4, LONG), TOPICS];
            FIELDS
        }
        ApiKey::OffsetFetch => {
            const TOPICS: Field = array(&[TEXT, INTS]);
            const GROUPS: Field = since(8, Kind::Array(&[TEXT, at(9, LAST, TEXT), at(9, LAST, INT), TOPICS]));
            const FIELDS: &[Field] = &[at(0, 7, TEXT), at(0, 7, TOPICS), GROUPS, at(7, LAST, BYTE)];
            FIELDS
        }
        ApiKey::FindCoordinator => {
            const FIELDS: &[Field] = &[between(0, 3, Kind::Text), since(1, Kind::Fixed(1)), since(4, TEXTS.kind)];
            FIELDS
        }
        ApiKey::JoinGroup => {
            const PROTOCOLS: Field = array(&[TEXT, BYTES]);
            const FIELDS: &[Field] =
                &[TEXT, INT, at(1, LAST, INT), TEXT, at(5, LAST, TEXT), TEXT, PROTOCOLS, at(8, LAST, TEXT)];
            FIELDS
        }
        ApiKey::Heartbeat => {
            const FIELDS: &[Field] = &[TEXT, INT, TEXT, since(3, Kind::Text)];
            FIELDS
        }
        ApiKey::LeaveGroup => {
            const MEMBERS: Field = since(3, Kind::Array(&[TEXT, TEXT, since(5, Kind::Text)]));
            const FIELDS: &[Field] = &[TEXT, at(0, 2, TEXT), MEMBERS];
            FIELDS
        }
        ApiKey::SyncGroup => {
            const ASSIGNMENTS: Field = array(&[TEXT, BYTES]);
            const FIELDS: &[Field] =
                &[TEXT, INT, TEXT, at(3, LAST, TEXT), at(5, LAST, TEXT), at(5, LAST, TEXT), ASSIGNMENTS];
            FIELDS
        }
        ApiKey::SaslHandshake => {
            const FIELDS: &[Field] = &[TEXT];
            FIELDS
        }
        ApiKey::SaslAuthenticate => {
            const FIELDS: &[Field] = &[BYTES];
            FIELDS
        }
        ApiKey::DescribeGroups => {
            const FIELDS: &[Field] = &[TEXTS, since(3, Kind::Fixed(1))];
            FIELDS
        }
        ApiKey::ListGroups => {
            const FIELDS: &[Field] = &[since(4, TEXTS.kind), since(5, TEXTS.kind)];
            FIELDS
        }
        ApiKey::ApiVersions => {
            const FIELDS: &[Field] = &[since(3, Kind::Text), since(3, Kind::Text)];
            FIELDS
        }
        ApiKey::CreateTopics => {
            const TOPIC: &[Field] = &[TEXT, INT, SHORT, array(&[INT, INTS]), array(&[TEXT, TEXT])];
            const FIELDS: &[Field] = &[array(TOPIC), INT, BYTE];
            FIELDS
        }
        ApiKey::DeleteTopics => {
            const STATES: Field = since(6, Kind::Array(&[TEXT, field(Kind::Fixed(16))]));
            const FIELDS: &[Field] = &[STATES, at(0, 5, TEXTS), INT];
            FIELDS
        }
        ApiKey::DeleteRecords => {
            const FIELDS: &[Field] = &[array(&[TEXT, array(&[INT, LONG])]), INT];
            FIELDS
        }
        ApiKey::InitProducerId => {
            const FIELDS: &[Field] = &[TEXT, INT, since(3, Kind::Fixed(8)), since(3, Kind::Fixed(2))];
            FIELDS
        }
        ApiKey::OffsetForLeaderEpoch => {
            const FIELDS: &[Field] = &[at(3, LAST, INT), array(&[TEXT, array(&[INT, INT, INT])])];
            FIELDS
        }
        ApiKey::AddPartitionsToTxn => {
            const FIELDS: &[Field] = &[TEXT, LONG, SHORT, array(&[TEXT, INTS])];
            FIELDS
        }
        ApiKey::AddOffsetsToTxn => {
            const FIELDS: &[Field] = &[TEXT, LONG, SHORT, TEXT];
            FIELDS
        }
        ApiKey::EndTxn => {
            const FIELDS: &[Field] = &[TEXT, LONG, SHORT, BYTE];
            FIELDS
        }
        ApiKey::TxnOffsetCommit => {
            const TOPICS: Field = array(&[TEXT, array(&[INT, LONG, at(2, LAST, INT), TEXT])]);
            const FIELDS: &[Field] =
                &[TEXT, TEXT, LONG, SHORT, at(3, LAST, INT), at(3, LAST, TEXT), at(3, LAST, TEXT), TOPICS];
            FIELDS
        }
        ApiKey::DescribeAcls => ACL,
        ApiKey::CreateAcls | ApiKey::DeleteAcls => {
            const FIELDS: &[Field] = &[array(ACL)];
            FIELDS
        }
        ApiKey::DescribeLogDirs | ApiKey::DescribeProducers => {
            const FIELDS: &[Field] = &[array(&[TEXT, INTS])];
            FIELDS
        }
        ApiKey::DescribeTransactions => {
            const FIELDS: &[Field] = &[TEXTS];
            FIELDS
        }
        ApiKey::ListTransactions => {
            const FIELDS: &[Field] = &[TEXTS, field(Kind::List(&Kind::Fixed(8))), at(1, LAST, LONG)];
            FIELDS
        }
        ApiKey::DescribeConfigs => {
            const FIELDS: &[Field] = &[array(&[BYTE, TEXT, TEXTS]), BYTE, at(3, LAST, BYTE)];
            FIELDS
        }
        ApiKey::AlterConfigs => {
            const FIELDS: &[Field] = &[array(&[BYTE, TEXT, array(&[TEXT, TEXT])]), BYTE];
            FIELDS
        }
        ApiKey::IncrementalAlterConfigs => {
            const FIELDS: &[Field] = &[array(&[BYTE, TEXT, array(&[TEXT, BYTE, TEXT])]), BYTE];
            FIELDS
        }
        ApiKey::CreatePartitions => {
            const FIELDS: &[Field] = &[array(&[TEXT, INT, array(&[INTS])]), INT, BYTE];
            FIELDS
        }
        ApiKey::DeleteGroups => {
            const FIELDS: &[Field] = &[TEXTS];
            FIELDS
        }
        ApiKey::OffsetDelete => {
            const FIELDS: &[Field] = &[TEXT, array(&[TEXT, array(&[INT])])];
            FIELDS
        }
        ApiKey::DescribeCluster => {
            const FIELDS: &[Field] = &[BYTE, since(1, Kind::Fixed(1))];
            FIELDS
        }
        _ => return None,
    })
}

/// Whether a request's body holds what its lengths promise.
pub(crate) fn fits(api: ApiKey, version: i16, body: &[u8]) -> bool {
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk { rest: body, version, flexible, entries: 0 };
    fields(api).is_some_and(|fields| walk.structure(fields).is_some())
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    /// Lengths are varints, and structures end with tagged fields.
    flexible: bool,
    entries: usize,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &[Field]) -> Option<()> {
        for field in fields {
            if (field.min..=field.max).contains(&self.version) {
                self.value(&field.kind)?;
            }
        }
        if self.flexible {
            for _ in 0..self.varint()? {
                self.count(1)?;
                self.varint()?;
                let size = self.varint()?;
                self.skip(size)?;
            }
        }
        Some(())
    }

    fn value(&mut self, kind: &Kind) -> Option<()> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes),
            Kind::Text => {
                let length = self.length(2)?;
                self.skip(length)
            }
            Kind::Bytes => {
                let length = self.length(4)?;
                self.skip(length)
            }
            Kind::List(of) => {
                let length = self.length(4)?;
                self.count(length)?;
                (0..length).try_for_each(|_| self.value(of))
            }
            Kind::Array(fields) => {
                let length = self.length(4)?;
                self.count(length)?;
                (0..length).try_for_each(|_| self.structure(fields))
            }
        }
    }

    /// A length of so many bytes, or a varint that is one larger; null counts as 0.
    fn length(&mut self, bytes: usize) -> Option<usize> {
        if self.flexible {
            return self.varint().map(|length| length.saturating_sub(1));
        }
        let (head, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        let length = match head {
            [a, b] => i32::from(i16::from_be_bytes([*a, *b])),
            [a, b, c, d] => i32::from_be_bytes([*a, *b, *c, *d]),
            _ => return None,
        };
        if length == -1 { Some(0) } else { usize::try_from(length).ok() }
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value as usize);
            }
        }
        None
    }

    fn count(&mut self, entries: usize) -> Option<()> {
        self.entries = self.entries.checked_add(entries)?;
        (self.entries <= MAX_ENTRIES && entries <= self.rest.len()).then_some(())
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }
}
