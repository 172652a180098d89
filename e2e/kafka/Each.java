import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;

/** Gives commands of Kafka one after the other, a line of the standard input each: its class and its arguments. To start a Java takes longer than what they do. */
public class Each {
    public static void main(String[] none) throws Exception {
        for (String line : new BufferedReader(new InputStreamReader(System.in)).lines().toList()) {
            String[] words = line.split(" ");
            // A command that fails says why, and ends this process with its code.
            Class.forName(words[0]).getMethod("main", String[].class).invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
        }
    }
}
