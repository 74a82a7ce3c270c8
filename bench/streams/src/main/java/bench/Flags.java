package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;

/**
 * The ten flags of the shipped waf pipeline on Kafka Streams, its clients tuned as well as we know how. No windows, no headers,
 * no check of times: less than outlier does.
 *
 * <p>In two ways: {@code bytes} is one streaming pass over the bytes of a record, flags spliced in before the closing brace, as
 * fast as it goes; {@code tree} reads a record into a Jackson tree, adds the flags and writes it, as applications do.
 *
 * <p>Arguments: bootstrap servers, application id, input topic, output topic, at_least_once or exactly_once_v2, commit interval
 * in ms, linger in ms, threads, bytes or tree.
 */
public final class Flags {
  private static final JsonFactory JSON = new JsonFactory();
  private static final ObjectMapper MAPPER = new ObjectMapper();
  /** One piece for each group and outcome: neither, good, bad. */
  private static final byte[][][] PIECES = {
    pieces("K_action", "B_action"),
    pieces("K_source", "UNK_source"),
    pieces("G_httpstatus", "B_httpstatus"),
    pieces("K_country", "UNK_country"),
    pieces("common_method", "uncommon_method"),
  };

  private static byte[][] pieces(String good, String bad) {
    String form = ",\"" + good + "\":%d,\"" + bad + "\":%d";
    int[][] outcomes = {{0, 0}, {1, 0}, {0, 1}};
    byte[][] pieces = new byte[outcomes.length][];
    for (int i = 0; i < pieces.length; i++) {
      pieces[i] = String.format(form, outcomes[i][0], outcomes[i][1]).getBytes(StandardCharsets.UTF_8);
    }
    return pieces;
  }

  private static int action(String value) {
    return switch (value) {
      case "ALLOW", "CAPTCHA", "Challenge", "Count" -> 1;
      case "BLOCK" -> 2;
      default -> 0;
    };
  }

  private static int source(String value) {
    return switch (value) {
      case "ALB", "APIGW", "APPSYNC", "CF" -> 1;
      default -> 2;
    };
  }

  private static int status(String value) {
    if (value.length() != 3) {
      return 0;
    }
    return switch (value.charAt(0)) {
      case '2', '3' -> 1;
      case '4', '5' -> 2;
      default -> 0;
    };
  }

  private static int country(String value) {
    return switch (value) {
      case "US", "UK", "IN" -> 1;
      default -> 2;
    };
  }

  private static int method(String value) {
    return switch (value) {
      case "GET", "HEAD", "POST" -> 1;
      case "DELETE" -> 2;
      default -> 0;
    };
  }

  private static void set(ObjectNode record, String good, String bad, int outcome) {
    record.put(good, outcome == 1 ? 1 : 0);
    record.put(bad, outcome == 2 ? 1 : 0);
  }

  static byte[] enrichTree(byte[] bytes) {
    try {
      if (!(MAPPER.readTree(bytes) instanceof ObjectNode record)) {
        return null;
      }
      JsonNode request = record.path("httpRequest");
      set(record, "K_action", "B_action", action(record.path("action").asText()));
      set(record, "K_source", "UNK_source", source(record.path("httpSourceName").asText()));
      set(record, "G_httpstatus", "B_httpstatus", status(record.path("httpStatus").asText()));
      set(record, "K_country", "UNK_country", country(request.path("country").asText()));
      set(record, "common_method", "uncommon_method", method(request.path("httpMethod").asText()));
      return MAPPER.writeValueAsBytes(record);
    } catch (java.io.IOException e) {
      return null;
    }
  }

  static byte[] enrichBytes(byte[] record) {
    int action = 0;
    int source = 2;
    int status = 0;
    int country = 2;
    int method = 0;
    try (JsonParser parser = JSON.createParser(record)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        return null;
      }
      int depth = 1;
      boolean request = false;
      while (depth > 0) {
        JsonToken token = parser.nextToken();
        if (token == JsonToken.FIELD_NAME) {
          String name = parser.currentName();
          if (depth == 1) {
            switch (name) {
              case "action" -> { parser.nextToken(); action = action(parser.getText()); }
              case "httpSourceName" -> { parser.nextToken(); source = source(parser.getText()); }
              case "httpStatus" -> { parser.nextToken(); status = status(parser.getText()); }
              case "httpRequest" -> request = true;
              default -> request = false;
            }
          } else if (depth == 2 && request) {
            switch (name) {
              case "country" -> { parser.nextToken(); country = country(parser.getText()); }
              case "httpMethod" -> { parser.nextToken(); method = method(parser.getText()); }
              default -> { }
            }
          }
        } else if (token == JsonToken.START_OBJECT || token == JsonToken.START_ARRAY) {
          depth++;
        } else if (token == JsonToken.END_OBJECT || token == JsonToken.END_ARRAY) {
          depth--;
        } else if (token == null) {
          return null;
        }
      }
    } catch (java.io.IOException e) {
      return null;
    }
    int close = record.length - 1;
    while (record[close] != '}') {
      close--;
    }
    int[] outcomes = {action, source, status, country, method};
    int length = close + 1;
    for (int i = 0; i < outcomes.length; i++) {
      length += PIECES[i][outcomes[i]].length;
    }
    byte[] out = new byte[length];
    System.arraycopy(record, 0, out, 0, close);
    int at = close;
    for (int i = 0; i < outcomes.length; i++) {
      byte[] piece = PIECES[i][outcomes[i]];
      System.arraycopy(piece, 0, out, at, piece.length);
      at += piece.length;
    }
    out[at] = '}';
    return out;
  }

  public static void main(String[] args) {
    Properties p = new Properties();
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[4]);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[5]);
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, args[7]);
    p.put(StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir") + "/" + args[1]);
    p.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, "10000");
    p.put(StreamsConfig.METRICS_RECORDING_LEVEL_CONFIG, "INFO");
    p.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
    p.put(StreamsConfig.producerPrefix("linger.ms"), args[6]);
    p.put(StreamsConfig.producerPrefix("batch.size"), "1000000");
    p.put(StreamsConfig.producerPrefix("buffer.memory"), "67108864");
    p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
    p.put(StreamsConfig.consumerPrefix("max.poll.records"), "10000");
    p.put(StreamsConfig.consumerPrefix("fetch.min.bytes"), "1");
    p.put(StreamsConfig.consumerPrefix("max.partition.fetch.bytes"), "1048576");
    StreamsBuilder builder = new StreamsBuilder();
    builder.<byte[], byte[]>stream(
            args[2], org.apache.kafka.streams.kstream.Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
        .mapValues(args[8].equals("tree") ? Flags::enrichTree : Flags::enrichBytes)
        .to(args[3], org.apache.kafka.streams.kstream.Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
    KafkaStreams streams = new KafkaStreams(builder.build(), p);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
    streams.start();
  }
}
