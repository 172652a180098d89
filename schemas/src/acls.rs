//! What each service may do on a Kafka with access rules: the topic table and a deployment's names in, the least that its
//! services work with out.
//!
//! A rule of Read or Write allows Describe too, as Kafka has it.

use crate::Names;
use crate::topics::Table;

/// A process with a principal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// `ingest --role webhook`
    Webhook,
    /// `ingest --role poll`
    Poll,
    Normalize,
    Route,
}

impl Service {
    pub const ALL: [Self; 4] = [Self::Webhook, Self::Poll, Self::Normalize, Self::Route];

    /// Its word in the topic table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
            Self::Normalize => "normalize",
            Self::Route => "route",
        }
    }
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Topic(String),
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
    let of_service = |service| {
        let of_topics = topics.iter().flat_map(move |(name, topic)| {
            let may = [(Operation::Read, &topic.readers), (Operation::Write, &topic.writers)];
            let may = may.into_iter().filter(move |(_, services)| services.contains(&service));
            may.map(move |(operation, _)| (Resource::Topic(name.clone()), operation))
        });
        let beside = beside_topics(service, names, sinks);
        let table =
            (service != Service::Webhook).then(|| (Resource::Group(TABLE_READER.to_owned()), Operation::Describe));
        // A sink asks such a topic how large a record may be.
        let others = others.iter().filter(|_| service == Service::Route).flat_map(|topic| {
            [Operation::Write, Operation::DescribeConfigs]
                .map(|operation| (Resource::Topic((*topic).to_owned()), operation))
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
    }
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
    fn somebody_writes_each_topic_or_an_operator_does() {
        for topic in &table().topics {
            let replayed = topic.name == "hirewire.internal.replay.v1";
            assert!(replayed || !topic.writers.is_empty(), "{}", topic.name);
        }
    }
}
