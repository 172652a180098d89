//! Topics and groups: create, look, remove.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic as NativeTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;

use crate::client::Logging;
use crate::{Settings, Stop, guard};

/// Administration of one cluster.
pub struct Admin {
    client: AdminClient<Logging>,
    settings: Settings,
}

/// A topic to create.
#[derive(Debug, Clone)]
pub struct NewTopic {
    pub name: String,
    pub partitions: i32,
    /// −1: the broker's default.
    pub replication: i32,
    pub config: BTreeMap<String, String>,
}

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub partitions: i32,
    /// The settings asked for.
    pub config: BTreeMap<String, String>,
}

const TIMEOUT: Duration = Duration::from_secs(30);

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

impl Admin {
    /// # Errors
    /// When the settings are refused.
    pub fn new(settings: &Settings) -> Result<Self, Stop> {
        let client: AdminClient<Logging> = settings
            .client()?
            .create_with_context(Logging { guard: settings.guard() })
            .map_err(|error| Stop::kafka("create an admin client", &error))?;
        guard::start(client.inner(), settings)?;
        Ok(Self { client, settings: settings.clone() })
    }

    /// Creates what is missing; what exists already is not an error and is not changed. Returns what was created.
    ///
    /// # Errors
    /// When the broker refuses a topic, naming it.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<Vec<String>, Stop> {
        // An empty list is an invalid argument to librdkafka.
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let native: Vec<NativeTopic<'_>> = topics
            .iter()
            .map(|topic| {
                let fresh = NativeTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
                topic.config.iter().fold(fresh, |fresh, (key, value)| fresh.set(key, value))
            })
            .collect();
        let results = self
            .client
            .create_topics(&native, &options())
            .await
            .map_err(|error| Stop::kafka("create topics", &error))?;
        let mut created = Vec::new();
        for result in results {
            match result {
                Ok(name) => created.push(name),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(Stop::permanent("topic-refused", format!("create {name}: {code}"))),
            }
        }
        Ok(created)
    }

    /// Deletes topics; one that is not there is not an error.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn delete_topics(&self, names: &[String]) -> Result<(), Stop> {
        // An empty list is an invalid argument to librdkafka.
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let results = self
            .client
            .delete_topics(&names, &options())
            .await
            .map_err(|error| Stop::kafka("delete topics", &error))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {}
                Err((name, code)) => return Err(Stop::retryable("topic-refused", format!("delete {name}: {code}"))),
            }
        }
        Ok(())
    }

    /// Deletes consumer groups; one that is not there is not an error.
    ///
    /// # Errors
    /// When a group still has members.
    pub async fn delete_groups(&self, names: &[String]) -> Result<(), Stop> {
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let results = self
            .client
            .delete_groups(&names, &options())
            .await
            .map_err(|error| Stop::kafka("delete groups", &error))?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
                Err((name, code)) => {
                    return Err(Stop::retryable("group-refused", format!("delete group {name}: {code}")));
                }
            }
        }
        Ok(())
    }

    /// All topics and their partition counts. Blocks for one round trip.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn topics(&self) -> Result<BTreeMap<String, i32>, Stop> {
        let metadata =
            self.client.inner().fetch_metadata(None, TIMEOUT).map_err(|error| Stop::kafka("list topics", &error))?;
        Ok(metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none())
            .map(|topic| (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
            .collect())
    }

    /// Where the cluster says that its brokers are, each as `HOST:PORT`. Blocks for one round trip.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn brokers(&self) -> Result<Vec<String>, Stop> {
        let metadata =
            self.client.inner().fetch_metadata(None, TIMEOUT).map_err(|error| Stop::kafka("list brokers", &error))?;
        Ok(metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect())
    }

    /// The id of the cluster, which no other has. Blocks for one round trip.
    ///
    /// # Errors
    /// When no broker says it.
    pub fn cluster_id(&self) -> Result<String, Stop> {
        let told = self.client.inner().fetch_cluster_id(TIMEOUT);
        told.ok_or_else(|| Stop::retryable("kafka-unavailable", "no broker says which cluster it is of"))
    }

    /// The partition count of one topic, `None` when it does not exist. Blocks for one round trip.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn partitions_of(&self, topic: &str) -> Result<Option<i32>, Stop> {
        Ok(self.topics()?.remove(topic))
    }

    /// All consumer groups. Blocks for one round trip.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn groups(&self) -> Result<Vec<String>, Stop> {
        let groups =
            self.client.inner().fetch_group_list(None, TIMEOUT).map_err(|error| Stop::kafka("list groups", &error))?;
        Ok(groups.groups().iter().map(|group| group.name().to_owned()).collect())
    }

    /// The named settings of an existing topic.
    ///
    /// # Errors
    /// When the broker refuses or cannot be reached.
    pub async fn topic_config(&self, topic: &str, names: &[String]) -> Result<BTreeMap<String, String>, Stop> {
        let doing = || format!("describe {topic}");
        let results = self
            .client
            .describe_configs(&[ResourceSpecifier::Topic(topic)], &options())
            .await
            .map_err(|error| Stop::kafka(&doing(), &error))?;
        let mut found = BTreeMap::new();
        for result in results {
            let resource = result.map_err(|code| Stop::retryable("topic-refused", format!("{}: {code}", doing())))?;
            if resource.entries.is_empty() {
                // Every topic has settings; the client keeps to itself why it got none.
                let what = format!("{}: the broker shows none of its settings to this principal", doing());
                return Err(Stop::retryable("not-authorized", what));
            }
            for name in names {
                if let Some(value) = resource.get(name).and_then(|entry| entry.value.clone()) {
                    found.insert(name.clone(), value);
                }
            }
        }
        Ok(found)
    }

    /// Sets a topic's settings; those not named go back to their defaults (the protocol's AlterConfigs).
    ///
    /// # Errors
    /// When the broker refuses or cannot be reached.
    pub async fn set_topic_config(&self, topic: &str, config: &BTreeMap<String, String>) -> Result<(), Stop> {
        let change = config
            .iter()
            .fold(AlterConfig::new(ResourceSpecifier::Topic(topic)), |change, (key, value)| change.set(key, value));
        let results = self
            .client
            .alter_configs([&change], &options())
            .await
            .map_err(|error| Stop::kafka(&format!("configure {topic}"), &error))?;
        for result in results {
            result.map_err(|(_, code)| Stop::permanent("topic-refused", format!("configure {topic}: {code}")))?;
        }
        Ok(())
    }

    /// Lowest and next offset of a partition. Blocks for one round trip.
    ///
    /// # Errors
    /// When the partition does not exist or the broker cannot be reached.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), Stop> {
        self.client
            .inner()
            .fetch_watermarks(topic, partition, TIMEOUT)
            .map_err(|error| Stop::kafka(&format!("find the end of {topic} partition {partition}"), &error))
    }

    /// Deletes all records before an offset, by partition.
    ///
    /// # Errors
    /// When the broker refuses or cannot be reached.
    pub async fn delete_records(&self, topic: &str, before: &BTreeMap<i32, i64>) -> Result<(), Stop> {
        let doing = || format!("delete records of {topic}");
        let mut wanted = rdkafka::TopicPartitionList::new();
        for (partition, offset) in before {
            wanted
                .add_partition_offset(topic, *partition, rdkafka::Offset::Offset(*offset))
                .map_err(|error| Stop::kafka(&doing(), &error))?;
        }
        if wanted.count() == 0 {
            return Ok(());
        }
        let deleted =
            self.client.delete_records(&wanted, &options()).await.map_err(|error| Stop::kafka(&doing(), &error))?;
        for element in deleted.elements() {
            element.error().map_err(|error| {
                Stop::retryable("topic-refused", format!("{} partition {}: {error}", doing(), element.partition()))
            })?;
        }
        Ok(())
    }

    /// The committed offsets of a group on one topic, by partition. Blocks for one round trip.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub fn committed(&self, group: &str, topic: &str, partitions: i32) -> Result<BTreeMap<i32, i64>, Stop> {
        let topics = BTreeMap::from([(topic.to_owned(), partitions)]);
        let all = committed(&self.member_of(group)?, group, &topics, TIMEOUT)?;
        Ok(all.into_iter().map(|((_, partition), offset)| (partition, offset)).collect())
    }

    /// Sets a group that has no members on these offsets, by topic and partition. Blocks for one round trip.
    ///
    /// # Errors
    /// When the group has members, or the broker refuses or cannot be reached.
    pub fn commit(&self, group: &str, offsets: &BTreeMap<(String, i32), i64>) -> Result<(), Stop> {
        let failed = |error| Stop::kafka(&format!("set the offsets of {group}"), &error);
        let mut wanted = rdkafka::TopicPartitionList::new();
        for ((topic, partition), offset) in offsets {
            wanted.add_partition_offset(topic, *partition, rdkafka::Offset::Offset(*offset)).map_err(failed)?;
        }
        self.member_of(group)?.commit(&wanted, CommitMode::Sync).map_err(failed)
    }

    /// One that asks and commits for a group, and joins it not.
    fn member_of(&self, group: &str) -> Result<BaseConsumer<Logging>, Stop> {
        let config = self.settings.consumer(group)?;
        config.create_with_context(Logging::default()).map_err(|error| Stop::kafka("create a consumer", &error))
    }
}

/// Where a group stands, by topic and partition, of those that it has committed for. The consumer is one of that group.
pub(crate) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    group: &str,
    topics: &BTreeMap<String, i32>,
    patience: Duration,
) -> Result<BTreeMap<(String, i32), i64>, Stop> {
    let mut wanted = rdkafka::TopicPartitionList::new();
    for (topic, partitions) in topics {
        wanted.add_partition_range(topic, 0, partitions - 1);
    }
    let found = consumer
        .committed_offsets(wanted, patience)
        .map_err(|error| Stop::kafka(&format!("read the offsets of {group}"), &error))?;
    let offset = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        rdkafka::Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
        _ => None,
    };
    Ok(found.elements().iter().filter_map(offset).collect())
}
