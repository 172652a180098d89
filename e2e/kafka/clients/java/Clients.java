// Kafka's own Java clients: producer, consumer, transactions and as much of Admin as a single node can answer.
// Each case prints one line, `name: what was observed`; see ../observe.py. Run as a source file with the clients' jars.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.serialization.*;

public class Clients {
    static String bootstrap, prefix;
    static Admin admin;

    static String topic(String name) { return prefix + "-" + name; }

    static void tell(String name, Object seen) { System.out.println(name + ": " + String.valueOf(seen).replace(prefix, "@")); }

    /** What a call gives, or the name of its exception. */
    static Object outcome(Callable<?> call) {
        try {
            Object value = call.call();
            return value == null ? "ok" : value;
        } catch (ExecutionException problem) {
            return problem.getCause().getClass().getSimpleName();
        } catch (Exception problem) {
            return problem.getClass().getSimpleName();
        }
    }

    static void until(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + 30_000_000_000L;
        while (!condition.call()) {
            if (System.nanoTime() > end) throw new IllegalStateException("waited too long for " + what);
            Thread.sleep(20);
        }
    }

    static Map<String, Object> base(Object... more) {
        Map<String, Object> map = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        for (int at = 0; at < more.length; at += 2) map.put((String) more[at], more[at + 1]);
        return map;
    }

    static KafkaProducer<String, String> producer(Object... more) { return new KafkaProducer<>(base(more), new StringSerializer(), new StringSerializer()); }

    static KafkaConsumer<String, String> consumer(Object... more) {
        Map<String, Object> settings = base("enable.auto.commit", "false", "auto.offset.reset", "earliest", "heartbeat.interval.ms", "200");
        settings.putAll(base(more));
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    static void create(String name, int partitions, Map<String, String> settings) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(settings))).all().get();
        until("the topic", () -> admin.listTopics().names().get().contains(name));
    }

    static List<ConsumerRecord<String, String>> read(String name, String isolation) {
        try (KafkaConsumer<String, String> consumer = consumer("isolation.level", isolation)) {
            TopicPartition place = new TopicPartition(name, 0);
            consumer.assign(List.of(place));
            consumer.seekToBeginning(List.of(place));
            long end = consumer.endOffsets(List.of(place)).get(place);
            List<ConsumerRecord<String, String>> found = new ArrayList<>();
            while (consumer.position(place) < end) consumer.poll(Duration.ofMillis(200)).forEach(found::add);
            return found;
        }
    }

    static List<String> values(String name, String isolation) { return read(name, isolation).stream().map(ConsumerRecord::value).toList(); }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        prefix = arguments[1];
        admin = Admin.create(base());
        topics();
        records();
        groups();
        transactions();
        elsewhere();
        admin.close();
    }

    static void topics() throws Exception {
        String name = topic("java");
        CreateTopicsResult made = admin.createTopics(List.of(new NewTopic(name, Optional.of(2), Optional.empty()).configs(Map.of("retention.ms", "-1"))));
        tell("create", List.of(made.numPartitions(name).get(), made.replicationFactor(name).get(), made.config(name).get().get("retention.ms").value(), made.config(name).get().get("segment.ms").source()));
        tell("create.assigned", outcome(() -> admin.createTopics(List.of(new NewTopic(topic("assigned"), Map.of(0, List.of(1), 1, List.of(1))))).all().get()));
        tell("create.assigned-to-nobody", outcome(() -> admin.createTopics(List.of(new NewTopic(topic("assigned2"), Map.of(0, List.of(77))))).all().get()));
        tell("create.assigned-with-a-gap", outcome(() -> admin.createTopics(List.of(new NewTopic(topic("assigned3"), Map.of(1, List.of(1))))).all().get()));
        tell("create.twice-in-one", outcome(() -> admin.createTopics(List.of(new NewTopic(topic("twice"), 1, (short) 1), new NewTopic(topic("twice"), 2, (short) 1))).all().get()));
        until("the topic", () -> admin.listTopics().names().get().contains(name));
        TopicDescription described = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        tell("describe", described.partitions().stream().map(p -> List.of(p.partition(), p.replicas().size(), p.isr().size())).toList() + " " + described.isInternal());
        tell("describe.by-id", admin.describeTopics(TopicCollection.ofTopicIds(List.of(described.topicId()))).allTopicIds().get().size());
        tell("describe.unknown-id", outcome(() -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.fromString("AAAAAAAAAAAAAAAAAAAAEQ")))).allTopicIds().get()));
        tell("partitions.assigned", outcome(() -> admin.createPartitions(Map.of(name, NewPartitions.increaseTo(3, List.of(List.of(1))))).all().get()));
        DescribeClusterResult cluster = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
        tell("cluster", List.of(cluster.nodes().get().size(), cluster.controller().get() != null, String.valueOf(cluster.authorizedOperations().get() != null)));
        tell("delete.by-id", outcome(() -> {
            Uuid id = admin.describeTopics(List.of(topic("assigned"))).allTopicNames().get().get(topic("assigned")).topicId();
            return admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
        }));
    }

    static void records() throws Exception {
        String name = topic("java");
        try (KafkaProducer<String, String> producer = producer()) {
            ProducerRecord<String, String> record = new ProducerRecord<>(name, 0, 1_700_000_000_000L, "k", "one");
            record.headers().add("a", "1".getBytes()).add("a", new byte[] {0, -1}).add("none", null);
            RecordMetadata stored = producer.send(record).get();
            tell("produce", List.of(stored.offset(), stored.timestamp(), stored.serializedValueSize()));
            List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
            for (int number = 0; number < 500; number++) sent.add(producer.send(new ProducerRecord<>(name, 0, 1_700_000_001_000L + number, null, "" + number)));
            List<Long> offsets = new ArrayList<>();
            for (var one : sent) offsets.add(one.get().offset());
            tell("produce.many", offsets.equals(java.util.stream.LongStream.rangeClosed(1, 500).boxed().toList()));
            tell("produce.too-large", outcome(() -> producer.send(new ProducerRecord<>(name, "x".repeat(2_000_000))).get()));
        }
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> producer = producer("compression.type", codec, "acks", "1", "enable.idempotence", "false", "linger.ms", "20")) {
                for (int number = 0; number < 20; number++) producer.send(new ProducerRecord<>(name, 0, "k" + number, codec + " ".repeat(100)));
            }
        }
        try (KafkaProducer<String, String> producer = producer("max.request.size", "5000000", "buffer.memory", "50000000")) {
            tell("produce.3MiB", outcome(() -> producer.send(new ProducerRecord<>(name, 0, null, "x".repeat(3 * 1024 * 1024))).get()));
        }
        try (KafkaProducer<String, String> producer = producer("max.block.ms", "2000")) {
            tell("produce.no-topic", outcome(() -> producer.send(new ProducerRecord<>(topic("none"), "x")).get()));
        }
        List<ConsumerRecord<String, String>> found = read(name, "read_committed");
        List<String> headers = new ArrayList<>();
        for (Header header : found.get(0).headers()) headers.add(header.key() + "=" + Arrays.toString(header.value()));
        tell("read", List.of(found.size(), headers, found.get(0).timestamp(), found.get(0).timestampType(), found.get(0).leaderEpoch()));
        tell("read.packed", found.stream().skip(501).map(ConsumerRecord::value).map(String::trim).collect(Collectors.groupingBy(v -> v, TreeMap::new, Collectors.counting())));
        TopicPartition place = new TopicPartition(name, 0);
        for (OffsetSpec spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.forTimestamp(1_700_000_001_100L), OffsetSpec.earliestLocal(), OffsetSpec.latestTiered())) {
            tell("offsets." + spec.getClass().getSimpleName(), outcome(() -> {
                var answer = admin.listOffsets(Map.of(place, spec)).all().get().get(place);
                return List.of(answer.offset(), answer.timestamp(), answer.leaderEpoch());
            }));
        }
        try (KafkaConsumer<String, String> consumer = consumer()) {
            tell("offsets.for-times", consumer.offsetsForTimes(Map.of(place, 1_700_000_001_100L)).get(place));
            tell("partitions-for.none", outcome(() -> consumer.partitionsFor(topic("none")).size()));
            tell("topic-names", consumer.listTopics().containsKey(name));
        }
        tell("records.delete", admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(10))).lowWatermarks().get(place).get().lowWatermark());
        tell("records.delete-all", admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(place).get().lowWatermark());
    }

    static void groups() throws Exception {
        String name = topic("java-groups"), group = topic("java-group");
        create(name, 4, Map.of());
        for (String assignor : List.of("RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor")) {
            Object[] settings = {"group.id", group + assignor, "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor};
            try (KafkaConsumer<String, String> first = consumer(settings); KafkaConsumer<String, String> second = consumer(settings)) {
                first.subscribe(List.of(name));
                until("all", () -> { first.poll(Duration.ofMillis(50)); return first.assignment().size() == 4; });
                second.subscribe(List.of(name));
                until("two shares", () -> { first.poll(Duration.ofMillis(50)); second.poll(Duration.ofMillis(50)); return first.assignment().size() == 2 && second.assignment().size() == 2; });
                second.unsubscribe();
                until("all again", () -> { first.poll(Duration.ofMillis(50)); return first.assignment().size() == 4; });
                tell("group." + assignor, "4, 2+2, 4");
            }
        }
        TopicPartition place = new TopicPartition(name, 0);
        try (KafkaConsumer<String, String> one = consumer("group.id", group, "group.instance.id", "i1", "client.id", "c")) {
            one.subscribe(List.of(name));
            until("all", () -> { one.poll(Duration.ofMillis(50)); return one.assignment().size() == 4; });
            one.commitSync(Map.of(place, new OffsetAndMetadata(0, Optional.of(0), "note")));
            ClassicGroupDescription described = admin.describeClassicGroups(List.of(group)).all().get().get(group);
            tell("group.describe", List.of(described.protocol(), described.protocolData(), described.state(), described.members().stream().map(m -> m.clientId() + m.host() + m.groupInstanceId() + m.assignment().topicPartitions().size()).toList()));
            tell("group.describe-consumer", outcome(() -> { var g = admin.describeConsumerGroups(List.of(group)).all().get().get(group); return List.of(g.type(), g.groupState(), g.partitionAssignor(), g.isSimpleConsumerGroup()); }));
            tell("group.offsets", admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get());
            tell("group.delete-offsets-in-use", outcome(() -> admin.deleteConsumerGroupOffsets(group, Set.of(place)).partitionResult(place).get()));
            tell("group.alter-offsets-in-use", outcome(() -> admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(1))).all().get()));
        }
        tell("group.remove-members", outcome(() -> admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("i1")))).all().get()));
        tell("group.remove-again", outcome(() -> admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("i1")))).all().get()));
        tell("group.alter-offsets", outcome(() -> admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(1))).all().get()));
        tell("group.delete-offsets", outcome(() -> admin.deleteConsumerGroupOffsets(group, Set.of(place)).all().get()));
        tell("group.list", admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.CLASSIC))).all().get().stream().filter(g -> g.groupId().equals(group)).map(g -> g.type() + " " + g.protocol() + " " + g.groupState()).toList());
        tell("group.delete", outcome(() -> admin.deleteConsumerGroups(List.of(group)).all().get()));
        tell("group.delete-again", outcome(() -> admin.deleteConsumerGroups(List.of(group)).all().get()));
        tell("group.describe-none", outcome(() -> admin.describeClassicGroups(List.of(topic("no-group"))).all().get()));
    }

    static void transactions() throws Exception {
        String name = topic("java-tx"), id = topic("java-tx-id");
        create(name, 1, Map.of());
        TopicPartition place = new TopicPartition(name, 0);
        KafkaProducer<String, String> producer = producer("transactional.id", id, "transaction.timeout.ms", "20000");
        producer.initTransactions();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(name, "kept"));
        producer.sendOffsetsToTransaction(Map.of(place, new OffsetAndMetadata(5)), new ConsumerGroupMetadata(topic("java-tx-group")));
        producer.commitTransaction();
        producer.beginTransaction();
        // Awaited: what was not sent yet is dropped by the producer itself.
        producer.send(new ProducerRecord<>(name, "dropped")).get();
        producer.abortTransaction();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(name, "open")).get();
        tell("transaction.open", List.of(values(name, "read_committed"), values(name, "read_uncommitted")));
        tell("transaction.offsets", admin.listConsumerGroupOffsets(topic("java-tx-group")).partitionsToOffsetAndMetadata().get());
        tell("transaction.describe", outcome(() -> {
            TransactionDescription found = admin.describeTransactions(List.of(id)).all().get().get(id);
            return List.of(found.state(), found.transactionTimeoutMs(), found.topicPartitions(), found.transactionStartTimeMs().isPresent());
        }));
        tell("transaction.describe-none", outcome(() -> admin.describeTransactions(List.of(topic("none"))).all().get()));
        tell("transaction.list", outcome(() -> admin.listTransactions().all().get().stream().filter(t -> t.transactionalId().equals(id)).map(TransactionListing::state).toList()));
        tell("transaction.list.complete", outcome(() -> admin.listTransactions(new ListTransactionsOptions().filterStates(Set.of(TransactionState.COMPLETE_COMMIT))).all().get().stream().filter(t -> t.transactionalId().equals(id)).toList()));
        tell("transaction.list.long", outcome(() -> admin.listTransactions(new ListTransactionsOptions().filterOnDuration(3_600_000)).all().get().stream().filter(t -> t.transactionalId().equals(id)).toList()));
        tell("producers", outcome(() -> admin.describeProducers(List.of(place)).all().get().get(place).activeProducers().stream().map(p -> List.of(p.lastSequence(), p.currentTransactionStartOffset())).toList()));
        tell("producers.none", outcome(() -> admin.describeProducers(List.of(new TopicPartition(topic("none"), 0)), new DescribeProducersOptions().timeoutMs(3000)).all().get()));
        KafkaProducer<String, String> other = producer("transactional.id", id, "transaction.timeout.ms", "20000");
        other.initTransactions();
        tell("transaction.fenced", List.of(outcome(() -> producer.send(new ProducerRecord<>(name, "late")).get()), outcome(() -> { producer.commitTransaction(); return null; })));
        producer.close(Duration.ZERO);
        other.beginTransaction();
        other.send(new ProducerRecord<>(name, "next"));
        other.commitTransaction();
        tell("transaction.after", values(name, "read_committed"));
        tell("transaction.list-after", outcome(() -> admin.listTransactions().all().get().stream().filter(t -> t.transactionalId().equals(id)).map(TransactionListing::state).toList()));
        tell("transaction.fence-by-admin", outcome(() -> admin.fenceProducers(List.of(id)).all().get()));
        other.beginTransaction();
        tell("transaction.fenced-by-admin", outcome(() -> { other.send(new ProducerRecord<>(name, "gone")).get(); other.commitTransaction(); return null; }));
        other.close(Duration.ZERO);
        tell("transaction.too-long", outcome(() -> { try (var p = producer("transactional.id", topic("java-long"), "transaction.timeout.ms", "2000000")) { p.initTransactions(); } return null; }));
    }

    /** What this broker refuses or has little to say about. */
    static void elsewhere() throws Exception {
        String name = topic("java");
        var acl = new AclBinding(new org.apache.kafka.common.resource.ResourcePattern(org.apache.kafka.common.resource.ResourceType.TOPIC, name, org.apache.kafka.common.resource.PatternType.LITERAL), new AccessControlEntry("User:x", "*", AclOperation.READ, AclPermissionType.ALLOW));
        tell("acls.create", outcome(() -> admin.createAcls(List.of(acl)).all().get()));
        tell("acls.describe", outcome(() -> admin.describeAcls(AclBindingFilter.ANY).values().get()));
        tell("acls.delete", outcome(() -> admin.deleteAcls(List.of(AclBindingFilter.ANY)).all().get()));
        tell("log-dirs", outcome(() -> admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).values().stream().map(d -> List.of(d.error() == null, d.replicaInfos().containsKey(new TopicPartition(name, 0)))).toList()));
        tell("elect-leaders", outcome(() -> admin.electLeaders(ElectionType.PREFERRED, Set.of(new TopicPartition(name, 0))).all().get()));
        tell("reassignments", outcome(() -> admin.listPartitionReassignments().reassignments().get()));
        tell("quotas", outcome(() -> admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get()));
        tell("features", outcome(() -> admin.describeFeatures().featureMetadata().get().supportedFeatures().containsKey("metadata.version")));
        tell("config-resources", outcome(() -> admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get().stream().anyMatch(r -> r.name().equals(name))));
        tell("broker-settings", outcome(() -> admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.BROKER, "1"))).all().get().values().iterator().next().get("auto.create.topics.enable").value()));
        tell("delete", outcome(() -> admin.deleteTopics(List.of(name)).all().get()));
        tell("delete.again", outcome(() -> admin.deleteTopics(List.of(name)).all().get()));
    }
}
