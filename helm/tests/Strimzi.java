import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import io.strimzi.api.kafka.model.topic.KafkaTopicSpec;
import io.strimzi.api.kafka.model.user.KafkaUserSpec;
import java.beans.Introspector;
import java.io.File;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The schemas of KafkaTopic and KafkaUser, made of the classes that Strimzi's operators read them with: `java -cp LIBS Strimzi.java DIR`.
 * Strict: what no class knows is refused. Run by tests/crds.sh; the outcome is committed.
 */
class Strimzi {
    static final String GROUP = "kafka.strimzi.io", VERSION = "v1";

    public static void main(String[] arguments) throws Exception {
        write(arguments[0], "KafkaTopic", KafkaTopicSpec.class);
        write(arguments[0], "KafkaUser", KafkaUserSpec.class);
    }

    static void write(String folder, String kind, Class<?> spec) throws Exception {
        Map<String, Object> properties = new TreeMap<>();
        properties.put("apiVersion", Map.of("type", "string", "enum", List.of(GROUP + "/" + VERSION)));
        properties.put("kind", Map.of("type", "string", "enum", List.of(kind)));
        properties.put("metadata", Map.of("type", "object"));
        properties.put("spec", schema(spec));
        properties.put("status", Map.of("type", "object"));
        Map<String, Object> schema = Map.of("type", "object", "required", List.of("spec"), "additionalProperties", false, "properties", properties);
        File to = new File(folder, kind.toLowerCase() + "_" + GROUP + "_" + VERSION + ".json");
        ObjectMapper mapper = new ObjectMapper().enable(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS);
        java.nio.file.Files.writeString(to.toPath(), mapper.writeValueAsString(schema) + "\n");
        System.out.println(to.getName() + " " + to.length());
    }

    static Object schema(Type type) throws Exception {
        if (type instanceof ParameterizedType made) {
            if (made.getRawType() == List.class) {
                return Map.of("type", "array", "items", schema(made.getActualTypeArguments()[0]));
            }
            return Map.of("type", "object");
        }
        Class<?> own = (Class<?>) type;
        if (own == String.class) return Map.of("type", "string");
        if (own == Integer.class || own == int.class || own == Long.class || own == long.class) return Map.of("type", "integer");
        if (own == Double.class || own == double.class) return Map.of("type", "number");
        if (own == Boolean.class || own == boolean.class) return Map.of("type", "boolean");
        if (own.isEnum()) {
            List<String> names = new ArrayList<>();
            for (Object each : own.getEnumConstants()) names.add(new ObjectMapper().valueToTree(each).asText());
            return Map.of("type", "string", "enum", names);
        }
        if (own.getName().startsWith("java.") || own.getName().startsWith("io.fabric8.")) return Map.of();
        Map<String, Object> properties = new TreeMap<>();
        List<String> required = new ArrayList<>();
        JsonSubTypes kinds = own.getAnnotation(JsonSubTypes.class);
        if (kinds != null) {
            // As in Strimzi's own definitions: one object with the keys of all kinds.
            List<String> names = new ArrayList<>();
            for (JsonSubTypes.Type kind : kinds.value()) {
                names.add(kind.name());
                collect(kind.value(), properties, new ArrayList<>());
            }
            properties.put("type", Map.of("type", "string", "enum", names));
            required.add("type");
        } else {
            collect(own, properties, required);
        }
        Map<String, Object> schema = new TreeMap<>(Map.of("type", "object", "additionalProperties", false, "properties", properties));
        if (!required.isEmpty()) schema.put("required", required);
        return schema;
    }

    static void collect(Class<?> own, Map<String, Object> properties, List<String> required) throws Exception {
        for (Method method : own.getMethods()) {
            boolean getter = method.getName().matches("(get|is)[A-Z].*") && method.getParameterCount() == 0;
            if (!getter || Modifier.isStatic(method.getModifiers()) || method.getDeclaringClass() == Object.class) continue;
            if (method.isAnnotationPresent(JsonIgnore.class) || method.isAnnotationPresent(Deprecated.class) || method.getName().equals("getAdditionalProperties")) continue;
            String name = Introspector.decapitalize(method.getName().replaceFirst("get|is", ""));
            JsonProperty told = method.getAnnotation(JsonProperty.class);
            if (told != null && !told.value().isEmpty()) name = told.value();
            if (told != null && told.required()) required.add(name);
            properties.put(name, schema(method.getGenericReturnType()));
        }
    }
}
