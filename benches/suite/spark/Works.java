import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;

import scala.Tuple2;

/** What is measured. Each method is one work; src/bin/suite has them under the same names. */
final class Works {
    private final JavaSparkContext sc;

    Works(JavaSparkContext sc) {
        this.sc = sc;
    }

    Suite.TimedWork named(String name, String[] args) {
        switch (name) {
            case "word-count": return Suite.timed(() -> wordCount(args[0]));
            case "sort": return Suite.timed(() -> sort(args[0], args[1]));
            case "pagerank": {
                long edges = Long.parseLong(args[0]);
                int bits = Integer.parseInt(args[1]), iterations = Integer.parseInt(args[2]), n = Integer.parseInt(args[3]);
                return Suite.timed(() -> pagerank(edges, bits, iterations, n));
            }
            case "logistic": return logistic(Long.parseLong(args[0]), Integer.parseInt(args[1]), Integer.parseInt(args[2]));
            case "reduce-by-key": {
                long rows = Long.parseLong(args[0]), keys = Long.parseLong(args[1]);
                int n = Integer.parseInt(args[2]);
                return Suite.timed(() -> reduceByKey(rows, keys, n));
            }
            case "join": {
                long rows = Long.parseLong(args[0]), small = Long.parseLong(args[1]);
                int n = Integer.parseInt(args[2]);
                return Suite.timed(() -> join(rows, small, n));
            }
            case "cached-sum": return cachedSum(Long.parseLong(args[0]), Integer.parseInt(args[1]));
            case "map-filter-reduce": {
                long n = Long.parseLong(args[0]);
                int partitions = Integer.parseInt(args[1]);
                return Suite.timed(() -> mapFilterReduce(n, partitions));
            }
            case "empty-tasks": {
                int n = Integer.parseInt(args[0]);
                return Suite.timed(() -> emptyTasks(n));
            }
            case "one-stage": return oneStage(Integer.parseInt(args[0]));
            case "two-stage": return twoStage(Integer.parseInt(args[0]));
            case "broadcast": return broadcast(Integer.parseInt(args[0]));
            case "one": return Suite.timed(() -> Long.toString(range(1, 1).count()));
            case "idle": return Suite.timed(() -> "idle");
            default: throw new IllegalArgumentException("no such work: " + name);
        }
    }

    /** Lets both executors run tasks, so that what is measured is not their start. */
    void warmUp() {
        range(200, 200).count();
    }

    private JavaRDD<Object> range(long n, int partitions) {
        return sc.sc().range(0, n, 1, partitions).toJavaRDD();
    }

    /** The i-th number of the seeded sequence that all sides draw their data from. */
    static long mix(long i) {
        long z = (i + 1) * 0x9e3779b97f4a7c15L;
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }

    private String wordCount(String file) {
        long[] sums = sc.textFile(file)
            .flatMap(line -> Arrays.asList(line.split(" ")).iterator())
            .mapToPair(word -> new Tuple2<>(word, 1L))
            .reduceByKey(Long::sum)
            .aggregate(new long[3], (sum, pair) -> {
                sum[0] += 1;
                sum[1] += pair._2;
                sum[2] += pair._2 * pair._1.length();
                return sum;
            }, Works::add);
        return text(sums);
    }

    private String sort(String file, String out) {
        JavaRDD<String> lines = sc.textFile(file);
        lines.sortBy(line -> line.substring(0, 10), true, lines.getNumPartitions()).saveAsTextFile(out);
        return "sorted";
    }

    private String pagerank(long edges, int bits, int iterations, int partitions) {
        long mask = (1L << bits) - 1;
        JavaPairRDD<Integer, Iterable<Integer>> links = range(edges, partitions)
            .mapToPair(i -> {
                long from = mix(2 * (Long) i), to = mix(2 * (Long) i + 1);
                return new Tuple2<>((int) (from & mask), (int) (((to & mask) * ((to >>> 32) & mask)) >>> bits));
            })
            .groupByKey(partitions)
            .cache();
        JavaPairRDD<Integer, Double> ranks = links.mapValues(to -> 1.0);
        for (int i = 0; i < iterations; i++) {
            ranks = links.join(ranks)
                .flatMapToPair(page -> {
                    Iterable<Integer> targets = page._2._1;
                    int n = 0;
                    for (Integer target : targets) n++;
                    double share = page._2._2 / n;
                    List<Tuple2<Integer, Double>> shares = new ArrayList<>(n);
                    for (Integer target : targets) shares.add(new Tuple2<>(target, share));
                    return shares.iterator();
                })
                .reduceByKey(Double::sum)
                .mapValues(sum -> 0.15 + 0.85 * sum);
        }
        double[] sums = ranks.aggregate(new double[3], (sum, page) -> {
            sum[0] += 1;
            sum[1] += page._2;
            sum[2] = Math.max(sum[2], page._2);
            return sum;
        }, (a, b) -> new double[] {a[0] + b[0], a[1] + b[1], Math.max(a[2], b[2])});
        links.unpersist();
        return (long) sums[0] + " " + sums[1] + " " + sums[2];
    }

    private static final int DIMENSIONS = 10;

    static final class Point implements Serializable {
        final double y;
        final double[] x;

        Point(long i) {
            x = new double[DIMENSIONS];
            for (int d = 0; d < DIMENSIONS; d++) x[d] = (mix(i * 16 + d) >>> 11) * 0x1p-52 - 1;
            double noise = (mix(i * 16 + 15) >>> 11) * 0x1p-52 - 1;
            y = x[0] + 0.5 * x[1] - 0.25 * x[2] + noise > 0 ? 1 : -1;
        }
    }

    private Suite.TimedWork logistic(long n, int iterations, int partitions) {
        JavaRDD<Point> points = range(n, partitions).map(i -> new Point((Long) i)).cache();
        points.count();
        return Suite.timed(() -> {
            double[] weights = new double[DIMENSIONS];
            for (int i = 0; i < iterations; i++) {
                double[] w = weights.clone();
                double[] gradient = points.aggregate(new double[DIMENSIONS], (sum, p) -> {
                    double dot = 0;
                    for (int d = 0; d < DIMENSIONS; d++) dot += w[d] * p.x[d];
                    double scale = (1 / (1 + Math.exp(-p.y * dot)) - 1) * p.y;
                    for (int d = 0; d < DIMENSIONS; d++) sum[d] += scale * p.x[d];
                    return sum;
                }, (a, b) -> {
                    for (int d = 0; d < DIMENSIONS; d++) a[d] += b[d];
                    return a;
                });
                for (int d = 0; d < DIMENSIONS; d++) weights[d] -= 4 * gradient[d] / n;
            }
            StringBuilder answer = new StringBuilder();
            for (int d = 0; d < 4; d++) answer.append(d == 0 ? "" : " ").append(weights[d]);
            return answer.toString();
        });
    }

    private String reduceByKey(long rows, long keys, int partitions) {
        long[] sums = range(rows, partitions)
            .mapToPair(i -> new Tuple2<>(Long.remainderUnsigned(mix((Long) i), keys), (Long) i & 0xff))
            .reduceByKey(Long::sum, partitions)
            .aggregate(new long[3], (sum, pair) -> {
                sum[0] += 1;
                sum[1] += pair._2;
                sum[2] += pair._1 * pair._2;
                return sum;
            }, Works::add);
        return text(sums);
    }

    private String join(long rows, long small, int partitions) {
        JavaPairRDD<Long, Long> facts = range(rows, partitions)
            .mapToPair(i -> new Tuple2<>(Long.remainderUnsigned(mix((Long) i), 2 * small), (Long) i));
        JavaPairRDD<Long, Long> names = range(small, partitions)
            .mapToPair(i -> new Tuple2<>((Long) i, mix((Long) i) & 0xffff));
        long[] sums = facts.join(names, partitions).aggregate(new long[3], (sum, pair) -> {
            sum[0] += 1;
            sum[1] += pair._2._1;
            sum[2] += pair._1 * pair._2._2;
            return sum;
        }, Works::add);
        return text(sums);
    }

    private Suite.TimedWork cachedSum(long n, int partitions) {
        JavaRDD<Object> numbers = range(n, partitions).cache();
        numbers.count();
        return Suite.timed(() -> Long.toString(numbers.aggregate(0L, (sum, x) -> sum + (Long) x, Long::sum)));
    }

    private String mapFilterReduce(long n, int partitions) {
        return Long.toString(range(n, partitions)
            .map(x -> (Long) x * 3)
            .filter(x -> (x & 1) == 0)
            .reduce(Long::sum));
    }

    private String emptyTasks(int n) {
        return Long.toString(range(n, n).mapPartitions(numbers -> new ArrayList<Long>().iterator()).count());
    }

    private static Suite.Timed median(double[] seconds, String answer) {
        Arrays.sort(seconds);
        return new Suite.Timed(seconds[seconds.length / 2], answer);
    }

    private Suite.TimedWork oneStage(int jobs) {
        return () -> {
            double[] seconds = new double[jobs];
            long count = 0;
            for (int i = 0; i < jobs; i++) {
                long start = System.nanoTime();
                count += range(1, 1).count();
                seconds[i] = (System.nanoTime() - start) / 1e9;
            }
            return median(seconds, Long.toString(count));
        };
    }

    private Suite.TimedWork twoStage(int jobs) {
        JavaPairRDD<Long, Long> pairs = range(2, 2).mapToPair(x -> new Tuple2<>((Long) x, (Long) x));
        return () -> {
            double[] seconds = new double[jobs];
            long count = 0;
            for (int i = 0; i < jobs; i++) {
                long start = System.nanoTime();
                count += pairs.reduceByKey(Long::sum, 2).count();
                seconds[i] = (System.nanoTime() - start) / 1e9;
            }
            return median(seconds, Long.toString(count));
        };
    }

    private Suite.TimedWork broadcast(int megabytes) {
        int n = megabytes << 17;
        long[] numbers = new long[n];
        for (int i = 0; i < n; i++) numbers[i] = mix(i);
        return () -> {
            long start = System.nanoTime();
            Broadcast<long[]> broadcast = sc.broadcast(numbers);
            long sum = range(2, 2).map(i -> {
                long[] there = broadcast.value();
                return there.length + there[there.length / 2] + there[there.length - 1];
            }).reduce(Long::sum);
            double seconds = (System.nanoTime() - start) / 1e9;
            broadcast.destroy();
            return new Suite.Timed(seconds, Long.toString(sum));
        };
    }

    private static long[] add(long[] a, long[] b) {
        for (int i = 0; i < a.length; i++) a[i] += b[i];
        return a;
    }

    private static String text(long[] sums) {
        return sums[0] + " " + sums[1] + " " + sums[2];
    }
}
