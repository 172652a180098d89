//! What each service may do on a Kafka with access rules: the topic table and a deployment's names in, the least that its
//! services work with out.
//!
//! A rule of Read or Write allows Describe too, as Kafka has it.

use crate::Names;
use crate::topics::{Table, Topic};

/// A process with a principal of its own, and who operates them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// `ingest --role webhook`
    Webhook,
    /// `ingest --role poll`
    Poll,
    Normalize,
    Route,
    /// Whoever runs `topics apply`, `check --connect`, `doctor`, `dlq`, `route explain`, `tail` and `walk`.
    Operator,
}

impl Service {
    pub const ALL: [Self; 5] = [Self::Webhook, Self::Poll, Self::Normalize, Self::Route, Self::Operator];

    /// Its word in the topic table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
            Self::Normalize => "normalize",
            Self::Route => "route",
            Self::Operator => "operator",
        }
    }

    /// What it may do with a topic of the table.
    fn may(self, topic: &Topic) -> Vec<Operation> {
        let mut may = Vec::new();
        if topic.readers.contains(&self) || self == Self::Operator {
            may.push(Operation::Read);
        }
        if topic.writers.contains(&self) {
            may.push(Operation::Write);
        }
        if self == Self::Operator {
            may.extend([Operation::Create, Operation::DescribeConfigs, Operation::AlterConfigs]);
            if topic.name.starts_with("ats.dlq.") {
                // What was purged.
                may.push(Operation::Delete);
            }
        }
        may
    }
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Topic(String),
    /// All topics that begin so.
    Topics(String),
    Group(String),
    /// All transactional ids that begin so.
    TransactionalIds(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Read,
    Write,
    Describe,
    DescribeConfigs,
    Create,
    Delete,
    AlterConfigs,
}

impl Operation {
    /// Kafka's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Describe => "Describe",
            Self::DescribeConfigs => "DescribeConfigs",
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::AlterConfigs => "AlterConfigs",
        }
    }
}

/// One service may do one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub service: Service,
    pub resource: Resource,
    pub operation: Operation,
}

/// The group that readers of whole topics name: they commit nothing, but their client looks for its coordinator.
const TABLE_READER: &str = "hirewire-table";

/// The rules of a deployment, service by service. `others`: topics of other teams that sinks write.
#[must_use]
pub fn rules(table: &Table, names: &Names, vendors: &[&str], sinks: &[&str], others: &[&str]) -> Vec<Rule> {
    let topics = table.deployed(names, vendors, sinks);
    let of_service = |service: Service| {
        let of_topics = topics.iter().flat_map(move |(name, topic)| {
            service.may(topic).into_iter().map(move |operation| (Resource::Topic(name.clone()), operation))
        });
        let beside = beside_topics(service, names, sinks);
        let table =
            (service != Service::Webhook).then(|| (Resource::Group(TABLE_READER.to_owned()), Operation::Describe));
        // A sink asks such a topic how large a record may be, and so does the doctor.
        let of_others: &[Operation] = match service {
            Service::Route => &[Operation::Write, Operation::DescribeConfigs],
            Service::Operator => &[Operation::Describe, Operation::DescribeConfigs],
            Service::Webhook | Service::Poll | Service::Normalize => &[],
        };
        let others = others.iter().flat_map(|topic| {
            of_others.iter().map(move |operation| (Resource::Topic((*topic).to_owned()), *operation))
        });
        let all = of_topics.chain(beside).chain(table).chain(others);
        all.map(|(resource, operation)| Rule { service, resource, operation }).collect::<Vec<_>>()
    };
    Service::ALL.into_iter().flat_map(of_service).collect()
}

/// Consumer groups and transactional ids.
fn beside_topics(service: Service, names: &Names, sinks: &[&str]) -> Vec<(Resource, Operation)> {
    let one = |group: String| {
        let ids = Resource::TransactionalIds(format!("{group}-"));
        [(Resource::Group(group), Operation::Read), (ids, Operation::Write)]
    };
    match service {
        Service::Webhook => Vec::new(),
        Service::Poll => one(names.group("ingest-poll")).into(),
        Service::Normalize => one(names.group("normalize")).into(),
        Service::Route => sinks.iter().flat_map(|sink| one(names.group(&format!("route.{sink}")))).collect(),
        Service::Operator => of_operator(names, sinks),
    }
}

fn of_operator(names: &Names, sinks: &[&str]) -> Vec<(Resource, Operation)> {
    let groups = ["ingest-poll", "normalize", "doctor"].map(str::to_owned);
    let of_sinks = sinks.iter().map(|sink| format!("route.{sink}"));
    let groups =
        groups.into_iter().chain(of_sinks).map(|group| (Resource::Group(names.group(&group)), Operation::Describe));
    // The topic on which `check --connect` tries the broker's promises.
    let tried = names.full("hirewire.internal.self-check-");
    let ids = [names.group("dlq"), names.group("doctor"), tried.clone()];
    let ids = ids.map(|id| (Resource::TransactionalIds(id), Operation::Write));
    let tried = [Operation::Create, Operation::Delete, Operation::Read, Operation::Write]
        .map(|operation| (Resource::Topics(tried.clone()), operation));
    groups.chain(ids).chain(tried).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::table;

    fn may(service: Service, resource: &Resource, operation: Operation) -> bool {
        let rules = rules(table(), &Names::new("t."), &["greenhouse"], &["payroll"], &["hr"]);
        rules.contains(&Rule { service, resource: resource.clone(), operation })
    }

    #[test]
    fn a_service_reads_and_writes_its_own_topics_and_no_others() {
        let topic = |name: &str| Resource::Topic(format!("t.{name}"));
        for (service, name, reads, writes) in [
            (Service::Webhook, "ats.raw.greenhouse.v1", false, true),
            (Service::Webhook, "ats.raw-restricted.greenhouse.v1", false, true),
            (Service::Webhook, "ats.candidate.v1", false, false),
            (Service::Poll, "hirewire.internal.cursor.v1", true, true),
            (Service::Normalize, "ats.raw.greenhouse.v1", true, false),
            (Service::Normalize, "ats.stage.v1", true, true),
            (Service::Normalize, "ats.candidate.v1", false, true),
            (Service::Route, "ats.candidate.v1", true, false),
            (Service::Route, "ats.dlq.route.payroll.v1", false, true),
            (Service::Route, "ats.raw.greenhouse.v1", false, false),
            (Service::Operator, "ats.candidate.v1", true, false),
            (Service::Operator, "ats.dlq.route.payroll.v1", true, false),
            (Service::Operator, "ats.raw.greenhouse.v1", true, true),
            (Service::Operator, "hirewire.internal.replay.v1", true, true),
        ] {
            let found = [Operation::Read, Operation::Write].map(|operation| may(service, &topic(name), operation));
            assert_eq!(found, [reads, writes], "{service:?} {name}");
        }
    }

    #[test]
    fn groups_and_transactional_ids_are_those_of_the_service() {
        assert!(may(Service::Route, &Resource::Group("t.hirewire-route.payroll".to_owned()), Operation::Read));
        assert!(
            may(Service::Route, &Resource::Topic("hr".to_owned()), Operation::Write),
            "a topic of others as it is named"
        );
        let ids = Resource::TransactionalIds("t.hirewire-normalize-".to_owned());
        assert!(may(Service::Normalize, &ids, Operation::Write));
        assert!(!may(Service::Route, &ids, Operation::Write));
        assert!(may(Service::Poll, &Resource::Group("hirewire-table".to_owned()), Operation::Describe));
    }

    #[test]
    fn somebody_writes_each_topic() {
        for topic in &table().topics {
            assert!(!topic.writers.is_empty(), "{}", topic.name);
        }
    }

    #[test]
    fn who_operates_deletes_dead_letters_alone_and_takes_nobody_s_place() {
        let topic = |name: &str| Resource::Topic(format!("t.{name}"));
        let operator = |resource, operation| may(Service::Operator, &resource, operation);
        for (name, deletes) in [("ats.dlq.normalize.v1", true), ("ats.stage-change.v1", false)] {
            assert_eq!(operator(topic(name), Operation::Delete), deletes, "{name}");
            assert!(operator(topic(name), Operation::AlterConfigs), "{name}");
        }
        let group = Resource::Group("t.hirewire-normalize".to_owned());
        let may = [Operation::Describe, Operation::Read].map(|operation| operator(group.clone(), operation));
        assert_eq!(may, [true, false], "it looks at groups and joins none");
        assert!(!operator(Resource::TransactionalIds("t.hirewire-normalize-".to_owned()), Operation::Write));
        assert!(operator(Resource::TransactionalIds("t.hirewire-dlq".to_owned()), Operation::Write));
    }
}
