/* One writer and two readers on one ring, a queue back and a cell, as threads: the core of the
 * extension under a sanitizer.
 *
 *     ring_tsan PUBLISHED
 *
 * Reader 0 spins, reader 1 parks. Fields follow from the seq, so that a torn record is seen; what
 * was received and what was lost must add up to what was published. ThreadSanitizer knows atomics
 * and no fences: what it shows is that no plain access touches shared memory. Torn records are
 * what shows a barrier that is missing, on a machine weak enough to need it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "_ring.h"

enum { CAPACITY = 64, SLOT_WORDS = 8, BATCH_MAX = 16, READERS = 2, QUEUE_CAPACITY = 16 };
enum { STRETCH = 4096, READ_MAX = 48, CELL_SLOTS = 4, SLICE_NS = 2000000000 };

static word_t ring_words[SLOTS + CAPACITY * SLOT_WORDS];
static word_t queue_words[SLOTS + QUEUE_CAPACITY * SLOT_WORDS];
static word_t cell_words[SLOTS + CELL_SLOTS * SLOT_WORDS];
static word_t table[(SLOTS * 8 + READERS_MAX * READER_SIZE) / 8];
static const channel_t ring = {ring_words, CAPACITY - 1, SLOT_WORDS};
static const channel_t queue = {queue_words, QUEUE_CAPACITY - 1, SLOT_WORDS};
static const channel_t cell = {cell_words, CELL_SLOTS - 1, SLOT_WORDS};

typedef struct {
    size_t index;
    uint64_t received, lost, parks, timeouts, taken;
} reader_t;

static void fail(const char *what, uint64_t seq)
{
    fprintf(stderr, "failed: %s at seq %llu\n", what, (unsigned long long)seq);
    exit(3);
}

static uint64_t field(uint64_t seq, size_t i)
{
    return (seq + i) * 0x9E3779B97F4A7C15ull;
}

static void fill(uint64_t *row, uint64_t seq)
{
    row[0] = 0;
    for (size_t i = 1; i < SLOT_WORDS; i++)
        row[i] = field(seq, i);
}

static void check(const uint64_t *row, uint64_t seq)
{
    if (row[0] != seq)
        fail("order", seq);
    for (size_t i = 1; i < SLOT_WORDS; i++)
        if (row[i] != field(seq, i))
            fail("torn", seq);
}

static void idle_parked(reader_t *reader, uint64_t cursor)
{
    bell_t bell = bell_at((char *)table, reader->index);
    bell_park(bell);
    if (!ring_ready(&ring, cursor)) {
        reader->parks++;
        reader->timeouts += bell_sleep(bell, SLICE_NS) == ETIMEDOUT;
    }
    bell_unpark(bell);
}

static void idle_spinning(uint64_t cursor)
{
    watch_t watch = {.words = {ring_words + PUBLISHED, ring_words + STATE}, .count = 2};
    watch_look(&watch);
    if (!ring_ready(&ring, cursor))
        watch_spin(&watch, 20000, true);
}

static void look_at_queue_and_cell(reader_t *reader, uint64_t *seen)
{
    uint64_t rows[QUEUE_CAPACITY][SLOT_WORDS];
    if (reader->index == 0) {
        uint64_t count = queue_waiting(&queue);
        queue_take(&queue, count, (char *)rows);
        for (uint64_t n = 0; n < count; n++)
            check(rows[n], ++reader->taken);
    }
    uint64_t newest = cell_latest(&cell, *seen, (char *)rows);
    if (newest != *seen)
        check(rows[0], newest);
    *seen = newest;
}

static void *read_all(void *argument)
{
    reader_t *reader = argument;
    uint64_t rows[READ_MAX][SLOT_WORDS], cursor = 0, seen = 0;
    while (!ring_ended(&ring, cursor)) {
        uint64_t end = ring_end(&ring);
        if (end == cursor) {
            reader->index ? idle_parked(reader, cursor) : idle_spinning(cursor);
            continue;
        }
        uint64_t first = ring_first(&ring, cursor, end);
        uint64_t count = end - first < READ_MAX ? end - first : READ_MAX;
        uint64_t torn = ring_copy(&ring, first, count, (char *)rows);
        for (uint64_t n = torn; n < count; n++)
            check(rows[n], first + n + 1);
        reader->lost += first - cursor + torn;
        reader->received += count - torn;
        cursor = first + count;
        look_at_queue_and_cell(reader, &seen);
    }
    return NULL;
}

/* Publish in batches of 1 to BATCH_MAX, put what fits on the queue. By turns at full speed, so that
 * readers are lapped while they copy, and with rests, so that they run dry and park. */
static void write_all(uint64_t count)
{
    bell_t bells[READERS] = {bell_at((char *)table, 0), bell_at((char *)table, 1)};
    uint64_t rows[BATCH_MAX][SLOT_WORDS], one[SLOT_WORDS], put = 0, done = 0, chance = 1;
    for (uint64_t turn = 1; done < count; turn++) {
        chance = chance * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t batch = 1 + (chance >> 33) % BATCH_MAX;
        for (uint64_t n = 0; n < batch; n++)
            fill(rows[n], done + n + 1);
        done = ring_publish(&ring, done, (const char *)rows, sizeof rows[0], batch);
        fill(one, turn);
        ring_publish(&cell, turn - 1, (const char *)one, sizeof one, 1);
        fill(one, put + 1);
        put += queue_put(&queue, put, (const char *)one, sizeof one, 1);
        if (bells_ring(bells, READERS) != 0)
            fail("futex", done);
        if ((done / STRETCH) % 2 == 1 && (chance >> 40) % 8 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    store_release(ring_words + STATE, 1);
    bells_ring(bells, READERS);
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    reader_t readers[READERS] = {{.index = 0}, {.index = 1}};
    pthread_t threads[READERS];
    for (size_t n = 0; n < READERS; n++)
        if (pthread_create(&threads[n], NULL, read_all, &readers[n]) != 0)
            fail("pthread_create", n);
    write_all(count);
    for (size_t n = 0; n < READERS; n++)
        pthread_join(threads[n], NULL);
    uint64_t published = ring_end(&ring);
    for (size_t n = 0; n < READERS; n++) {
        reader_t *reader = &readers[n];
        printf("reader %zu received %llu lost %llu parks %llu timeouts %llu taken %llu\n", n,
               (unsigned long long)reader->received, (unsigned long long)reader->lost,
               (unsigned long long)reader->parks, (unsigned long long)reader->timeouts,
               (unsigned long long)reader->taken);
        if (reader->received + reader->lost != published)
            fail("sums", published);
        if (reader->timeouts != 0)
            fail("a wake-up was lost", published);
    }
    if (readers[1].parks == 0 || readers[0].taken == 0)
        fail("nobody parked or took", published);
    return 0;
}
