/* Writers, one after the other, and three readers on a ring, a queue back and a cell, as threads:
 * the core of the extension under a sanitizer.
 *
 *     ring_tsan PUBLISHED [views]
 *
 * Reader 0 spins, reader 1 parks, reader 2 looks at the records where they lie and goes on with the
 * newest when it was overtaken; with `views` all of them look and none copies. Each writer but the
 * last dies in mid-write, and the next takes over at what it had claimed, in a ring of its own that
 * the readers follow to. Fields follow from the seq, so that a torn record is seen; what was
 * received and what was lost must add up to the last seq. ThreadSanitizer knows atomics
 * and no fences: what it shows is that no plain access touches shared memory. Torn records are
 * what shows a barrier that is missing, on a machine weak enough to need it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "_ring.h"

enum { CAPACITY = 64, SLOT_WORDS = 8, BATCH_MAX = 16, READERS = 3, QUEUE_CAPACITY = 16 };
enum { STRETCH = 4096, READ_MAX = 48, CELL_SLOTS = 4, SLICE_NS = 2000000000, EPOCHS = 16 };

/* A ring and the seqs that were an earlier one's; written before `path` points here. */
typedef struct {
    channel_t ring;
    uint64_t base;
} epoch_t;

static word_t ring_words[EPOCHS][SLOTS + CAPACITY * SLOT_WORDS];
static epoch_t epochs[EPOCHS];
static _Atomic(epoch_t *) path; /* what has the ring's name: set as rename() does */
static bool only_views;
static word_t queue_words[SLOTS + QUEUE_CAPACITY * SLOT_WORDS];
static word_t cell_words[SLOTS + CELL_SLOTS * SLOT_WORDS];
static word_t table[(SLOTS * 8 + READERS_MAX * READER_SIZE) / 8];
static const channel_t queue = {queue_words, QUEUE_CAPACITY - 1, SLOT_WORDS};
static const channel_t cell = {cell_words, CELL_SLOTS - 1, SLOT_WORDS};

typedef struct {
    size_t index;
    epoch_t *epoch;
    uint64_t cursor, received, lost, parks, timeouts, taken, followed;
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

static void idle_parked(reader_t *reader)
{
    bell_t bell = bell_at((char *)table, reader->index);
    bell_park(bell);
    if (!ring_ready(&reader->epoch->ring, reader->cursor)) {
        reader->parks++;
        reader->timeouts += bell_sleep(bell, SLICE_NS) == ETIMEDOUT;
    }
    bell_unpark(bell);
}

static void idle_spinning(reader_t *reader)
{
    const channel_t *ring = &reader->epoch->ring;
    watch_t watch = {.words = {ring->words + PUBLISHED, ring->words + STATE}, .count = 2};
    watch_look(&watch);
    if (!ring_ready(ring, reader->cursor))
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

static void read_copies(reader_t *reader, uint64_t end)
{
    const channel_t *ring = &reader->epoch->ring;
    uint64_t rows[READ_MAX][SLOT_WORDS];
    uint64_t first = ring_first(ring, reader->cursor, end);
    uint64_t count = end - first < READ_MAX ? end - first : READ_MAX;
    uint64_t torn = ring_copy(ring, first, count, (char *)rows);
    for (uint64_t n = torn; n < count; n++)
        check(rows[n], first + n + 1);
    reader->lost += first - reader->cursor + torn;
    reader->received += count - torn;
    reader->cursor = first + count;
}

static bool is_whole(const word_t *slot, uint64_t seq)
{
    bool whole = load_relaxed(slot) == seq;
    for (size_t i = 1; i < SLOT_WORDS; i++)
        whole = load_relaxed(slot + i) == field(seq, i) && whole;
    return whole;
}

/* Look at the records where they lie, then ask which of them may be relied on. */
static void read_views(reader_t *reader, uint64_t end)
{
    const channel_t *ring = &reader->epoch->ring;
    bool whole[CAPACITY];
    uint64_t first = reader->index == 2 ? ring_newest(ring, reader->cursor, end)
                                        : ring_first(ring, reader->cursor, end);
    uint64_t count = ring_in_one_piece(ring, first, end - first);
    for (uint64_t n = 0; n < count; n++)
        whole[n] = is_whole(slot_of(ring, first + n), first + n + 1);
    uint64_t torn = ring_torn(ring, first, count);
    for (uint64_t n = torn; n < count; n++)
        if (!whole[n])
            fail("torn in a view", first + n + 1);
    reader->lost += first - reader->cursor + torn;
    reader->received += count - torn;
    reader->cursor = first + count;
}

/* Go on in the ring that took the place of this one, or wait until there is one. */
static void follow(reader_t *reader)
{
    epoch_t *next = atomic_load_explicit(&path, memory_order_acquire);
    if (next == reader->epoch) {
        sched_yield();
        return;
    }
    if (next->base < reader->cursor)
        fail("seqs went back", reader->cursor);
    reader->lost += next->base - reader->cursor;
    reader->cursor = next->base;
    reader->epoch = next;
    reader->followed++;
}

static void *read_all(void *argument)
{
    reader_t *reader = argument;
    uint64_t seen = 0;
    while (!ring_ended(&reader->epoch->ring, reader->cursor)) {
        uint64_t end = ring_end(&reader->epoch->ring);
        if (ring_superseded(&reader->epoch->ring, reader->cursor)) {
            follow(reader);
        } else if (end == reader->cursor) {
            reader->index == 1 ? idle_parked(reader) : idle_spinning(reader);
        } else {
            only_views || reader->index == 2 ? read_views(reader, end) : read_copies(reader, end);
            if (!only_views) /* whose torn values would be seen first where nothing is validated */
                look_at_queue_and_cell(reader, &seen);
        }
    }
    return NULL;
}

typedef struct {
    uint64_t until, done, put, turn, chance;
    size_t epoch;
} writer_t;

static void ring_all(void)
{
    bell_t bells[READERS];
    for (size_t n = 0; n < READERS; n++)
        bells[n] = bell_at((char *)table, n);
    if (bells_ring(bells, READERS) != 0)
        fail("futex", 0);
}

/* Become the writer behind the one that died: mark its ring, then take its name. */
static void take_over(writer_t *writer)
{
    epoch_t *epoch = &epochs[writer->epoch];
    if (writer->epoch > 0) {
        epoch->ring = (channel_t){ring_words[writer->epoch], CAPACITY - 1, SLOT_WORDS};
        const channel_t *before = &epochs[writer->epoch - 1].ring;
        epoch->base = load_relaxed(before->words + CLAIMED);
        store_relaxed(epoch->ring.words + CLAIMED, epoch->base);
        store_relaxed(epoch->ring.words + PUBLISHED, epoch->base);
        store_release(before->words + STATE, STATE_SUPERSEDED);
    }
    atomic_store_explicit(&path, epoch, memory_order_release);
    writer->done = epoch->base;
    ring_all();
}

/* Die between the claim and the publish, with half of the slots written. */
static void die(const writer_t *writer)
{
    const channel_t *ring = &epochs[writer->epoch].ring;
    uint64_t rows[BATCH_MAX][SLOT_WORDS], batch = 1 + (writer->chance >> 33) % BATCH_MAX;
    store_relaxed(ring->words + CLAIMED, writer->done + batch);
    atomic_thread_fence(memory_order_release);
    for (uint64_t n = 0; n < batch; n++)
        fill(rows[n], 0);
    store_rows(ring, writer->done, (const char *)rows, sizeof rows[0], batch / 2);
}

/* Publish in batches of 1 to BATCH_MAX, put what fits on the queue. */
static void publish(writer_t *writer)
{
    uint64_t rows[BATCH_MAX][SLOT_WORDS], one[SLOT_WORDS];
    uint64_t batch = 1 + (writer->chance >> 33) % BATCH_MAX;
    for (uint64_t n = 0; n < batch; n++)
        fill(rows[n], writer->done + n + 1);
    writer->done = ring_publish(&epochs[writer->epoch].ring, writer->done, (const char *)rows,
                                sizeof rows[0], batch);
    fill(one, writer->turn);
    ring_publish(&cell, writer->turn - 1, (const char *)one, sizeof one, 1);
    fill(one, writer->put + 1);
    writer->put += queue_put(&queue, writer->put, (const char *)one, sizeof one, 1);
    ring_all();
}

/* By turns at full speed, so that readers are lapped while they copy, and with rests, so that they
 * run dry and park. */
static void *write_epoch(void *argument)
{
    writer_t *writer = argument;
    take_over(writer);
    while (writer->done < writer->until) {
        writer->turn++;
        writer->chance = writer->chance * 6364136223846793005ull + 1442695040888963407ull;
        publish(writer);
        if ((writer->done / STRETCH) % 2 == 1 && (writer->chance >> 40) % 8 == 0)
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
    if (writer->epoch < EPOCHS - 1) {
        die(writer);
        return NULL;
    }
    ring_finish(&epochs[writer->epoch].ring, 1);
    ring_all();
    return NULL;
}

/* One thread for each writer; the next is started when the last is dead, as its lock has it. */
static void write_all(uint64_t count)
{
    writer_t writer = {.chance = 1};
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        pthread_t thread;
        writer.epoch = epoch;
        writer.until = count / EPOCHS * (epoch + 1);
        if (pthread_create(&thread, NULL, write_epoch, &writer) != 0)
            fail("pthread_create", epoch);
        pthread_join(thread, NULL);
    }
}

static void report(const reader_t *reader, uint64_t last)
{
    printf("reader %zu received %llu lost %llu parks %llu timeouts %llu taken %llu followed %llu\n",
           reader->index, (unsigned long long)reader->received, (unsigned long long)reader->lost,
           (unsigned long long)reader->parks, (unsigned long long)reader->timeouts,
           (unsigned long long)reader->taken, (unsigned long long)reader->followed);
    if (reader->received + reader->lost != last)
        fail("sums", last);
    if (reader->timeouts != 0)
        fail("a wake-up was lost", last);
    if (reader->followed == 0)
        fail("nobody was followed", last);
}

int main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    only_views = argc > 2 && strcmp(argv[2], "views") == 0;
    reader_t readers[READERS] = {{.index = 0}, {.index = 1}, {.index = 2}};
    pthread_t threads[READERS];
    epochs[0].ring = (channel_t){ring_words[0], CAPACITY - 1, SLOT_WORDS};
    for (size_t n = 0; n < READERS; n++) {
        readers[n].epoch = &epochs[0];
        if (pthread_create(&threads[n], NULL, read_all, &readers[n]) != 0)
            fail("pthread_create", n);
    }
    write_all(count);
    for (size_t n = 0; n < READERS; n++)
        pthread_join(threads[n], NULL);
    uint64_t last = ring_end(&epochs[EPOCHS - 1].ring);
    for (size_t n = 0; n < READERS; n++)
        report(&readers[n], last);
    if (readers[1].parks == 0 || (readers[0].taken == 0 && !only_views))
        fail("nobody parked or took", last);
    return 0;
}
