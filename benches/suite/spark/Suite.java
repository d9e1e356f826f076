import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;

import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * The works of the benchmark as a Spark application: the same work, cut at the same places, as src/bin/suite.rs.
 *
 * <p>Arguments are the work and its parameters. Prints "ready" when the context is up and what the work needs is
 * prepared; then does the work once for each line of its input and prints "result SECONDS ANSWER".
 */
public final class Suite {
    /** One repetition of a work: its answer. */
    interface Work {
        String run() throws Exception;
    }

    /** A work that measures its own time: the seconds that count, and the answer. */
    record Timed(double seconds, String answer) {}

    interface TimedWork {
        Timed run() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        JavaSparkContext sc = new JavaSparkContext(new SparkConf().setAppName("bench"));
        Works works = new Works(sc);
        works.warmUp();
        String[] rest = Arrays.copyOfRange(args, 1, args.length);
        TimedWork work = works.named(args[0], rest);
        System.out.println("ready");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        while (input.readLine() != null) {
            Timed timed = work.run();
            System.out.println("result " + timed.seconds() + " " + timed.answer());
        }
        sc.stop();
    }

    /** Times the whole of a work. */
    static TimedWork timed(Work work) {
        return () -> {
            long start = System.nanoTime();
            String answer = work.run();
            return new Timed((System.nanoTime() - start) / 1e9, answer);
        };
    }
}
