import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.util.Arrays;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

/** Reads each record of a folder that avro_bytes.rs wrote, and writes it again: the bytes must be the same. */
public class Read {
  public static void main(String[] arguments) throws Exception {
    File[] files = new File(arguments[0]).listFiles((folder, name) -> name.endsWith(".bin"));
    Arrays.sort(files);
    int total = 0;
    for (File file : files) {
      String schemaFile = file.getPath().replaceAll("\\.bin$", ".avsc");
      Schema schema = new Schema.Parser().parse(new File(schemaFile));
      GenericDatumReader<Object> reader = new GenericDatumReader<>(schema);
      GenericDatumWriter<Object> writer = new GenericDatumWriter<>(schema);
      try (DataInputStream in = new DataInputStream(new java.io.BufferedInputStream(new FileInputStream(file)))) {
        for (int count = 0; in.available() > 0; count++, total++) {
          byte[] record = new byte[in.readInt()];
          in.readFully(record);
          BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(record, null);
          Object value = reader.read(null, decoder);
          if (!decoder.isEnd()) {
            throw new IllegalStateException(file.getName() + " " + count + ": bytes are left over");
          }
          ByteArrayOutputStream again = new ByteArrayOutputStream();
          BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(again, null);
          writer.write(value, encoder);
          encoder.flush();
          if (!Arrays.equals(again.toByteArray(), record)) {
            throw new IllegalStateException(file.getName() + " " + count + ": Java writes other bytes");
          }
        }
      }
    }
    System.out.println("Avro " + Schema.class.getPackage().getImplementationVersion() + " (Java): " + total
        + " records, each read whole and written again with the same bytes");
    if (total == 0) {
      throw new IllegalStateException("no records");
    }
  }
}
