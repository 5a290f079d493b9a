import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.commons.lang.StringEscapeUtils;
import org.apache.velocity.VelocityContext;
import org.apache.velocity.app.VelocityEngine;
import org.apache.velocity.runtime.log.NullLogChute;

/**
 * Mapping templates in Apache Velocity 1.7: one JSON request per line in, one JSON answer out.
 *
 * <p>$input, $util and $context offer what the templates use, and fail on the rest. Source: API
 * Gateway developer guide, "Variables for data transformations for API Gateway".
 */
public class Render {
    /** $input of one payload. */
    public static class Input {
        private final JsonElement document;

        Input(String body) {
            document = body.isEmpty() ? new JsonObject() : JsonParser.parseString(body);
        }

        /** `$` and `$.name` are all the JSONPath that the templates use. */
        private JsonElement find(String path) {
            if (path.equals("$")) {
                return document;
            }
            if (!path.matches("\\$\\.\\w+")) {
                throw new IllegalArgumentException("unknown path " + path);
            }
            return document.isJsonObject() ? document.getAsJsonObject().get(path.substring(2)) : null;
        }

        public Object path(String path) {
            JsonElement found = find(path);
            if (found == null || found.isJsonNull()) {
                return null;
            }
            if (!found.isJsonPrimitive()) {
                return found;
            }
            JsonPrimitive value = found.getAsJsonPrimitive();
            if (value.isBoolean()) {
                return value.getAsBoolean();
            }
            return value.isNumber() ? new BigDecimal(value.getAsString()) : value.getAsString();
        }

        public String json(String path) {
            JsonElement found = find(path);
            return found == null ? "\"\"" : found.toString();
        }
    }

    /** $util. Commons Lang 2's name for it is the one that API Gateway documents. */
    public static class Util {
        public String escapeJavaScript(String text) {
            return StringEscapeUtils.escapeJavaScript(text);
        }
    }

    /** Overrides: API Gateway answers a second of the same name with a 5XX. */
    public static class Once extends HashMap<String, Object> {
        @Override
        public Object put(String name, Object value) {
            if (containsKey(name)) {
                throw new IllegalStateException("The override " + name + " was set twice");
            }
            return super.put(name, value);
        }
    }

    static JsonObject render(VelocityEngine velocity, JsonObject request) {
        Once headers = new Once();
        Once override = new Once();
        override.put("header", headers);
        VelocityContext names = new VelocityContext();
        names.put("input", new Input(request.get("body").getAsString()));
        names.put("util", new Util());
        names.put("context", new HashMap<>(Map.of("responseOverride", override)));
        StringWriter text = new StringWriter();
        velocity.evaluate(names, text, "template", request.get("template").getAsString());
        JsonObject answer = new JsonObject();
        answer.addProperty("text", text.toString());
        answer.addProperty("status", (Number) override.get("status"));
        JsonObject told = new JsonObject();
        headers.forEach((name, value) -> told.addProperty(name, String.valueOf(value)));
        answer.add("headers", told);
        return answer;
    }

    public static void main(String[] arguments) throws Exception {
        VelocityEngine velocity = new VelocityEngine();
        velocity.setProperty("runtime.log.logsystem.class", NullLogChute.class.getName());
        velocity.init();
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonObject answer;
            try {
                answer = render(velocity, JsonParser.parseString(line).getAsJsonObject());
            } catch (RuntimeException problem) {
                answer = new JsonObject();
                answer.addProperty("problem", problem.toString());
            }
            System.out.write((answer + "\n").getBytes(StandardCharsets.UTF_8));
            System.out.flush();
        }
    }
}
