// A small Kafka Streams application with exactly_once_v2: re-keys words through a repartition topic, counts them in a state store, and is
// closed and started again in the middle. Prints the final counts as a reader of committed data finds them; see ../observe.py.

import java.nio.file.Files;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.KeyValueStore;

public class Streams {
    static final int WORDS = 600;
    static String bootstrap, prefix;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        prefix = arguments[1];
        String in = prefix + "-words", out = prefix + "-counts";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(in, 2, (short) 1), new NewTopic(out, 2, (short) 1))).all().get();
            while (!admin.listTopics().names().get().containsAll(List.of(in, out))) Thread.sleep(20);
        }
        String state = Files.createTempDirectory("streams").toString();
        say(in, 0, WORDS / 2);
        run(in, out, state, WORDS / 2);
        say(in, WORDS / 2, WORDS);
        run(in, out, state, WORDS);
        Map<String, Long> counts = new TreeMap<>();
        long[] records = {0};
        read(out, (word, count) -> { records[0]++; counts.merge(word, count, Math::max); });
        System.out.println("counts: " + counts);
        // Each update of a count is one record: one more would be a word counted twice, one less a word lost.
        System.out.println("updates: " + records[0]);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            var names = admin.listTopics().names().get().stream().filter(n -> n.startsWith(prefix)).map(n -> n.replace(prefix, "@")).sorted().toList();
            System.out.println("topics: " + names);
        }
    }

    static void say(String topic, int from, int to) {
        try (var producer = new KafkaProducer<>(Map.<String, Object>of("bootstrap.servers", bootstrap), new StringSerializer(), new StringSerializer())) {
            for (int n = from; n < to; n++) producer.send(new ProducerRecord<>(topic, n % 2, "" + n, "word" + n % 7));
        }
    }

    static void run(String in, String out, String state, int expected) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(in, Consumed.with(Serdes.String(), Serdes.String()))
            .groupBy((key, word) -> word, Grouped.<String, String>as("by-word").withKeySerde(Serdes.String()).withValueSerde(Serdes.String()))
            .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts").withCachingDisabled())
            .toStream().to(out, Produced.with(Serdes.String(), Serdes.Long()));
        Properties settings = new Properties();
        settings.putAll(Map.of("application.id", prefix + "-streams", "bootstrap.servers", bootstrap, "processing.guarantee", "exactly_once_v2",
            "state.dir", state, "commit.interval.ms", "50", "replication.factor", "1", "auto.offset.reset", "earliest", "num.stream.threads", "2"));
        // A closed application does not leave its group; the next start waits until it is missed.
        settings.putAll(Map.of("session.timeout.ms", "6000", "heartbeat.interval.ms", "1000"));
        try (KafkaStreams streams = new KafkaStreams(builder.build(), settings)) {
            streams.setUncaughtExceptionHandler(problem -> { problem.printStackTrace(); return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT; });
            streams.start();
            long end = System.nanoTime() + 90_000_000_000L;
            for (long seen = 0; seen < expected; ) {
                if (System.nanoTime() > end) throw new IllegalStateException(seen + " of " + expected + " updates");
                Thread.sleep(100);
                long[] found = {0};
                read(out, (word, count) -> found[0]++);
                seen = found[0];
            }
        }
    }

    static void read(String topic, java.util.function.BiConsumer<String, Long> each) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed", "enable.auto.commit", "false");
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer())) {
            List<TopicPartition> places = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
            consumer.assign(places);
            consumer.seekToBeginning(places);
            Map<TopicPartition, Long> ends = consumer.endOffsets(places);
            while (places.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                for (ConsumerRecord<String, Long> record : consumer.poll(Duration.ofMillis(100))) each.accept(record.key(), record.value());
            }
        }
    }
}
