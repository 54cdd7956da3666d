import java.io.File;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.LongStream;

/**
 * Several threads compute over a large heap that is renewed bit by bit, so that the collector is always at work. What comes
 * out depends on the number of rounds alone, not on which thread was faster.
 *
 *     java Churn MEBIBYTES THREADS ROUNDS|FILE
 *
 * Ends after so many rounds, or in the round in which FILE is there; then says "done ROUNDS CHECKSUM".
 */
public final class Churn {
  private static final int BLOCK = 8192; // longs, 64 KiB
  /** In each round a thread works on one block of so many. */
  private static final int SHARE = 24;

  private final int threads;
  private final int rounds;
  private final File end;
  private final long[][][] blocks;
  private final long[] published;
  private final ConcurrentHashMap<Long, AtomicLong> counts = new ConcurrentHashMap<>();
  private final CyclicBarrier computed;
  private final CyclicBarrier agreed;
  private int round;
  private boolean over;
  private volatile boolean quiet;

  private Churn(int mebibytes, int threads, String until) {
    this.threads = threads;
    rounds = until.matches("\\d+") ? Integer.parseInt(until) : Integer.MAX_VALUE;
    end = new File(until);
    blocks = new long[threads][mebibytes * 16 / threads][];
    published = new long[threads];
    computed = new CyclicBarrier(threads);
    agreed = new CyclicBarrier(threads, this::endRound);
  }

  public static void main(String[] args) throws Exception {
    new Churn(Integer.parseInt(args[0]), Integer.parseInt(args[1]), args[2]).run();
  }

  private void run() throws Exception {
    List<Thread> workers = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      int self = i;
      Thread worker = new Thread(() -> work(self), "worker-" + i);
      worker.setUncaughtExceptionHandler((thread, error) -> fail(thread.getName() + ": " + error));
      worker.start();
      workers.add(worker);
    }
    Thread clock = new Thread(this::watchClock, "clock");
    clock.start();
    for (Thread worker : workers) worker.join();
    quiet = true;
    clock.join();
    long sum = LongStream.range(0, threads).parallel().map(i -> sumOf(blocks[(int) i])).sum();
    for (var entry : new TreeMap<>(counts).entrySet()) sum = mix(sum ^ entry.getKey()) + entry.getValue().get();
    System.out.println("done " + round + " " + Long.toHexString(sum));
  }

  private void work(int self) {
    try {
      long[][] mine = blocks[self];
      for (int i = 0; i < mine.length; i++) mine[i] = fresh(mix(self * 1_000_003L + i));
      agreed.await();
      while (!over) {
        long neighbour = published[(self + 1) % threads];
        long sum = neighbour;
        for (int i = round % SHARE; i < mine.length; i += SHARE) sum = turn(mine, i, sum);
        counts.computeIfAbsent(Math.floorMod(sum, 97L), key -> new AtomicLong()).addAndGet(sum);
        computed.await(); // nobody reads what was published any more
        published[self] = sum;
        agreed.await();
      }
    } catch (Exception error) {
      fail(error.toString());
    }
  }

  /** Works on one block, makes garbage on the way, and puts a new block in its place now and then. */
  private static long turn(long[][] mine, int i, long seed) {
    long[] block = mine[i];
    long sum = seed;
    TreeMap<String, Long> words = new TreeMap<>();
    for (int k = 0; k < BLOCK; k++) {
      sum = mix(sum + block[k]);
      block[k] ^= sum;
      if (k % 512 == 0) words.merge(Long.toString(sum, 36), sum, Long::sum);
    }
    double root = 0;
    for (long value : words.values()) root += Math.sqrt(Math.abs((double) value));
    sum ^= Double.doubleToLongBits(root);
    if (sum % 3 == 0) mine[i] = fresh(sum);
    return sum;
  }

  /** Run by one thread while the others wait. */
  private void endRound() {
    if (round == 0) System.out.println("READY");
    over = round >= rounds || (rounds == Integer.MAX_VALUE && end.exists());
    if (!over) round++;
  }

  /** Sleeps and sees time go on. */
  private void watchClock() {
    long last = System.nanoTime();
    while (!quiet) {
      LockSupport.parkNanos(3_000_000);
      long now = System.nanoTime();
      if (now < last) fail("the clock went back by " + (last - now) + " ns");
      last = now;
    }
  }

  private static long[] fresh(long seed) {
    long[] block = new long[BLOCK];
    for (int i = 0; i < BLOCK; i++) block[i] = seed + i * 0x9e3779b97f4a7c15L;
    return block;
  }

  private static long sumOf(long[][] all) {
    long sum = 0;
    for (long[] block : all) for (long value : block) sum = mix(sum + value);
    return sum;
  }

  private static long mix(long x) {
    x = (x ^ (x >>> 30)) * 0xbf58476d1ce4e5b9L;
    return x ^ (x >>> 27);
  }

  private static void fail(String what) {
    System.out.println("FAIL: " + what);
    Runtime.getRuntime().halt(1);
  }
}
