// Avro's own Java library as the judge of a registry's verdicts: for each pair of compatibility.json, whether the new schema reads what the old one
// wrote (BACKWARD), and the reverse (FORWARD). Each case prints `old -> new: Avro's verdicts, the registry's verdicts`; see ../observe.py.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.net.URI;
import java.net.http.*;
import java.util.*;
import org.apache.avro.*;
import org.apache.avro.SchemaCompatibility.SchemaCompatibilityType;

public class Schemas {
    static final ObjectMapper json = new ObjectMapper();
    static final HttpClient http = HttpClient.newHttpClient();
    static String registry, prefix;

    static JsonNode call(String method, String path, Object body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(registry + path)).header("Content-Type", "application/vnd.schemaregistry.v1+json")
            .method(method, HttpRequest.BodyPublishers.ofString(json.writeValueAsString(body))).build();
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) throw new IllegalStateException(method + " " + path + ": " + answer.statusCode() + " " + answer.body());
        return json.readTree(answer.body());
    }

    static boolean reads(String reader, String writer) {
        return SchemaCompatibility.checkReaderWriterCompatibility(new SchemaParser().parse(reader).mainSchema(), new SchemaParser().parse(writer).mainSchema())
            .getType() == SchemaCompatibilityType.COMPATIBLE;
    }

    static boolean allows(String level, String subject, String schema) throws Exception {
        call("PUT", "/config/" + subject, Map.of("compatibility", level));
        return call("POST", "/compatibility/subjects/" + subject + "/versions/latest", Map.of("schema", schema)).get("is_compatible").asBoolean();
    }

    public static void main(String[] args) throws Exception {
        registry = args[0];
        prefix = args[1];
        int number = 0;
        for (JsonNode pair : json.readTree(new File(System.getenv("COMPATIBILITY_CASES")))) {
            // What is no record is judged as a field of one, as it would be used.
            String old = schema(pair.get(1)), fresh = schema(pair.get(2)), subject = prefix + "-" + number++;
            call("PUT", "/config/" + subject, Map.of("compatibility", "NONE"));
            call("POST", "/subjects/" + subject + "/versions", Map.of("schema", old));
            List<Boolean> avro = List.of(reads(fresh, old), reads(old, fresh));
            List<Boolean> verdicts = List.of(allows("BACKWARD", subject, fresh), allows("FORWARD", subject, fresh));
            boolean full = allows("FULL", subject, fresh);
            System.out.println(pair.get(0).asText() + ": " + (avro.equals(verdicts) ? "as Avro " + avro : "Avro " + avro + ", registry " + verdicts)
                + (full == (verdicts.get(0) && verdicts.get(1)) ? "" : ", FULL is not both"));
        }
    }

    static String schema(JsonNode type) throws Exception {
        if (type.isObject() && type.get("type").asText().equals("record")) return json.writeValueAsString(type);
        return json.writeValueAsString(Map.of("type", "record", "name", "R", "fields", List.of(Map.of("name", "f", "type", type))));
    }
}
