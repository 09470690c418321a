/* The protocol of the ring, the queue, the cell and the bell, on mapped memory. No Python here:
 * tests/native runs this very file under the sanitizers.
 *
 * All memory that two processes share is touched by atomics only, records too: a reader copies a
 * slot while the writer may be writing it, finds out afterwards, and throws the copy away. With
 * memcpy that would be a data race, which C does not define; with relaxed eight-byte atomics it is
 * defined, and costs one plain load or store per word on x86-64 and on ARM64.
 *
 * The offsets are those of layout.py, which has the picture; native.py compares the two.
 */
#ifndef TICKPIPE_RING_H
#define TICKPIPE_RING_H

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Segments are little-endian, and a word that needed a lock would be no word of shared memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "segments are little-endian");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(_Atomic uint64_t) == 8, "u64 is lock-free");
_Static_assert(ATOMIC_CHAR_LOCK_FREE == 2 && sizeof(_Atomic uint8_t) == 1, "u8 is lock-free");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && sizeof(_Atomic uint32_t) == 4, "u32 is lock-free");

typedef _Atomic uint64_t word_t;

/* Indexes of u64 words, and offsets of bytes in readers.ctl. */
enum { CLAIMED = 16, PUBLISHED = 32, STATE = 48, TAKEN = 64, FULL = 72, SLOTS = 80 };
enum { PARKED_BYTES = 128, READER_SIZE = 128, READER_CURSOR = 24, READER_LAPPED = 32 };
enum { READER_LOST = 40, READER_BELL = 48, READERS_MAX = 8 };
enum { LAYOUT_VERSION = 2, STATE_OPEN = 0, STATE_ABANDONED = 2, STATE_SUPERSEDED = 3 };

static inline uint64_t load_relaxed(const word_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static inline uint64_t load_acquire(const word_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static inline void store_relaxed(word_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline void store_release(word_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

/* Slots --------------------------------------------------------------------------------------- */

typedef struct {
    word_t *words;     /* the segment from its first byte */
    uint64_t mask;     /* capacity - 1, capacity being a power of two */
    size_t slot_words; /* u64 words of a slot, the first being seq */
} channel_t;

static inline uint64_t capacity_of(const channel_t *channel)
{
    return channel->mask + 1;
}

static inline word_t *slot_of(const channel_t *channel, uint64_t done)
{
    return channel->words + SLOTS + (done & channel->mask) * channel->slot_words;
}

/* Write `count` rows behind the first `done` records, numbered from done + 1. The rows lie `stride`
 * bytes apart in private memory, at any alignment. Relaxed: who calls it puts the barriers. */
static inline void store_rows(
    const channel_t *channel, uint64_t done, const char *rows, ptrdiff_t stride, uint64_t count)
{
    for (uint64_t n = 0; n < count; n++, rows += stride) {
        word_t *slot = slot_of(channel, done + n);
        store_relaxed(slot, done + n + 1);
        for (size_t i = 1; i < channel->slot_words; i++) {
            uint64_t value;
            memcpy(&value, rows + 8 * i, 8);
            store_relaxed(slot + i, value);
        }
    }
}

/* Copy the `count` records behind the first `done` into `rows`, packed. Relaxed, as above. */
static inline void load_rows(const channel_t *channel, uint64_t done, char *rows, uint64_t count)
{
    for (uint64_t n = 0; n < count; n++) {
        const word_t *slot = slot_of(channel, done + n);
        for (size_t i = 0; i < channel->slot_words; i++, rows += 8) {
            uint64_t value = load_relaxed(slot + i);
            memcpy(rows, &value, 8);
        }
    }
}

/* The ring, and the cell's writer --------------------------------------------------------------- */

/* Publish at most `capacity` rows behind the first `done` and return how many there are then. */
static inline uint64_t ring_publish(
    const channel_t *channel, uint64_t done, const char *rows, ptrdiff_t stride, uint64_t count)
{
    uint64_t after = done + count;
    store_relaxed(channel->words + CLAIMED, after);
    /* The claim must be visible before any word of a slot: a reader that copied one new word must
     * find the claim that covers it. A release *store* of the claim would order what came before
     * it and nothing behind it; the fence orders the claim before the stores that follow. It pairs
     * with the acquire fence in ring_copy. */
    atomic_thread_fence(memory_order_release);
    store_rows(channel, done, rows, stride, count);
    /* Release: every word of the slots before the count that lets readers look at them. Pairs with
     * the acquire load of published in ring_end. */
    store_release(channel->words + PUBLISHED, after);
    return after;
}

/* Return how many records may be read. Acquire: this load before the loads of the slots. */
static inline uint64_t ring_end(const channel_t *channel)
{
    return load_acquire(channel->words + PUBLISHED);
}

/* Return how many records behind `first` were overtaken by a claim. */
static inline uint64_t ring_overtaken(const channel_t *channel, uint64_t first)
{
    uint64_t claimed = load_relaxed(channel->words + CLAIMED);
    return claimed > capacity_of(channel) + first ? claimed - capacity_of(channel) - first : 0;
}

/* Return from where a reader at `cursor` goes on: the oldest record that no claim has reached. */
static inline uint64_t ring_first(const channel_t *channel, uint64_t cursor, uint64_t end)
{
    uint64_t first = cursor + ring_overtaken(channel, cursor);
    return first < end ? first : end;
}

/* The same for a reader that goes on with the newest record when it was overtaken. */
static inline uint64_t ring_newest(const channel_t *channel, uint64_t cursor, uint64_t end)
{
    uint64_t first = ring_first(channel, cursor, end);
    return cursor < first && first < end ? end - 1 : first;
}

/* Say, behind the loads of `count` records behind the first `first`, how many of them are torn. */
static inline uint64_t ring_torn(const channel_t *channel, uint64_t first, uint64_t count)
{
    /* Every load of a slot before the load of the claim. If one of them saw a word that the writer
     * stored behind its release fence, the claim before that fence is seen here (fence to fence),
     * and the record counts as torn. The *claimed* word: published would be a batch too late. */
    atomic_thread_fence(memory_order_acquire);
    uint64_t torn = ring_overtaken(channel, first);
    return torn < count ? torn : count;
}

/* Copy `count` records behind the first `first`; return how many of the oldest are torn. */
static inline uint64_t ring_copy(
    const channel_t *channel, uint64_t first, uint64_t count, char *rows)
{
    load_rows(channel, first, rows, count);
    return ring_torn(channel, first, count);
}

/* Return how many of `count` records behind the first `first` lie in one piece. They are looked at
 * where they lie; ring_torn says afterwards which of them were not whole. */
static inline uint64_t ring_in_one_piece(const channel_t *channel, uint64_t first, uint64_t count)
{
    uint64_t room = capacity_of(channel) - (first & channel->mask);
    return count < room ? count : room;
}

/* True when the writer has closed the ring and everything in it was read. */
static inline bool ring_ended(const channel_t *channel, uint64_t cursor)
{
    /* State before published: the writer stores its last published, then (release) the state. Read
     * the other way round, the last records would be taken for read. */
    uint64_t state = load_acquire(channel->words + STATE);
    return state != STATE_OPEN && state != STATE_SUPERSEDED && ring_end(channel) == cursor;
}

/* True when another writer goes on elsewhere and everything here was read; ordered as above. */
static inline bool ring_superseded(const channel_t *channel, uint64_t cursor)
{
    return load_acquire(channel->words + STATE) == STATE_SUPERSEDED && ring_end(channel) == cursor;
}

/* Store the last state, unless the next writer has marked the segment already. */
static inline void ring_finish(const channel_t *channel, uint64_t state)
{
    uint64_t open = STATE_OPEN;
    /* Release: behind the last published, see ring_ended. */
    atomic_compare_exchange_strong_explicit(channel->words + STATE, &open, state,
                                            memory_order_release, memory_order_relaxed);
}

static inline bool ring_ready(const channel_t *channel, uint64_t cursor)
{
    return ring_end(channel) != cursor || load_acquire(channel->words + STATE) != STATE_OPEN;
}

/* Copy the newest value of a cell that is not the `seen`-th into `row`; return its number, or
 * `seen` where there is none newer. */
static inline uint64_t cell_latest(const channel_t *channel, uint64_t seen, char *row)
{
    for (;;) {
        uint64_t published = ring_end(channel);
        if (published == seen)
            return seen;
        if (ring_copy(channel, published - 1, 1, row) == 0)
            return published;
    }
}

/* The queue ------------------------------------------------------------------------------------- */

/* Append all rows behind the first `done` and return true, or none of them and return false. */
static inline bool queue_put(
    const channel_t *channel, uint64_t done, const char *rows, ptrdiff_t stride, uint64_t count)
{
    /* Acquire: the reader's loads of a slot (before its release of taken) before our stores to it,
     * or it would copy the record that replaces the one it takes. */
    uint64_t taken = load_acquire(channel->words + TAKEN);
    if (done - taken + count > capacity_of(channel))
        return false;
    store_rows(channel, done, rows, stride, count);
    store_release(channel->words + PUBLISHED, done + count); /* as in ring_publish */
    return true;
}

static inline uint64_t queue_waiting(const channel_t *channel)
{
    return load_acquire(channel->words + PUBLISHED) - load_relaxed(channel->words + TAKEN);
}

/* Copy `count` records that wait (queue_waiting) into `rows` and make their room free. */
static inline void queue_take(const channel_t *channel, uint64_t count, char *rows)
{
    uint64_t taken = load_relaxed(channel->words + TAKEN); /* nobody else writes it */
    load_rows(channel, taken, rows, count);
    /* Release: our loads of the slots before the word that lets the writer store to them. */
    store_release(channel->words + TAKEN, taken + count);
}

/* Bells ----------------------------------------------------------------------------------------- */

typedef struct {
    _Atomic uint8_t *parked; /* 1 while its reader is parked */
    _Atomic uint32_t *bell;  /* futex word: 0 = sleep, 1 = somebody published */
} bell_t;

static inline bell_t bell_at(char *readers, size_t index)
{
    bell_t bell = {
        .parked = (_Atomic uint8_t *)(readers + PARKED_BYTES + index),
        .bell = (_Atomic uint32_t *)(void *)(readers + SLOTS * 8 + index * READER_SIZE +
                                             READER_BELL),
    };
    return bell;
}

/* FUTEX_WAIT and FUTEX_WAKE without FUTEX_PRIVATE_FLAG: the two sides are two processes. */
static inline long futex(
    _Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, (void *)word, operation, value, timeout, NULL, 0);
}

/* Wake those of `bells` that are parked; call it behind a publish. */
static inline int bells_ring(const bell_t *bells, size_t count)
{
    /* StoreLoad: the store of published before the loads of parked. Without it both sides read the
     * other's old word (the store buffer of either CPU is enough for that) and the reader sleeps
     * on a full ring. Pairs with the fence in bell_park: of two seq_cst fences one is first, and
     * whoever passes the second sees what the other stored before its own. */
    atomic_thread_fence(memory_order_seq_cst);
    for (size_t n = 0; n < count; n++) {
        /* Acquire: parked before the store to the bell, so that this 1 comes behind the 0 with
         * which the reader began the park that we saw, and not under it. */
        if (!atomic_load_explicit(bells[n].parked, memory_order_acquire))
            continue;
        atomic_store_explicit(bells[n].bell, 1, memory_order_release);
        if (futex(bells[n].bell, FUTEX_WAKE, 1, NULL) < 0)
            return errno;
    }
    return 0;
}

/* Say that we are about to sleep. Look at the channel once more between this and bell_sleep. */
static inline void bell_park(bell_t bell)
{
    atomic_store_explicit(bell.bell, 0, memory_order_relaxed);
    /* Release: the 0 in the bell before the 1 in parked; pairs with the acquire in bells_ring. */
    atomic_store_explicit(bell.parked, 1, memory_order_release);
    /* StoreLoad: parked before the loads of the channel that follow; see bells_ring. */
    atomic_thread_fence(memory_order_seq_cst);
}

/* Sleep until rung, `slice_ns` at most; return 0 or an errno: ETIMEDOUT, EINTR, EAGAIN (rung
 * between the look and the sleep: the kernel compares the bell with 0 under its own lock). */
static inline int bell_sleep(bell_t bell, int64_t slice_ns)
{
    struct timespec timeout = {
        .tv_sec = (time_t)(slice_ns / 1000000000),
        .tv_nsec = (long)(slice_ns % 1000000000),
    };
    return futex(bell.bell, FUTEX_WAIT, 0, &timeout) < 0 ? errno : 0;
}

static inline void bell_unpark(bell_t bell)
{
    atomic_store_explicit(bell.parked, 0, memory_order_relaxed);
}

/* Spinning -------------------------------------------------------------------------------------- */

enum { WATCHED_MAX = 8, SPINS_PER_CLOCK = 32 };

/* Words of other processes, and what they were at the last look. */
typedef struct {
    const word_t *words[WATCHED_MAX];
    uint64_t seen[WATCHED_MAX];
    size_t count;
} watch_t;

/* Note the words as they are now. Everything decided from loads behind this is at least as new:
 * acquire keeps those loads behind these. */
static inline void watch_look(watch_t *watch)
{
    for (size_t n = 0; n < watch->count; n++)
        watch->seen[n] = load_acquire(watch->words[n]);
}

static inline bool watch_changed(const watch_t *watch)
{
    for (size_t n = 0; n < watch->count; n++)
        if (load_acquire(watch->words[n]) != watch->seen[n])
            return true;
    return false;
}

/* Tell the CPU that this is a spin loop: it gives the sibling thread its execution slots, and does
 * not pay for a memory-order violation when the word changes. */
static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory"); /* yield is a no-op on most ARM64 cores */
#endif
}

static inline int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Spin until a word differs from the last look; false after `spin_ns`. `yielding` lets others run
 * between looks, for a spinner that shares its CPU. */
static inline bool watch_spin(const watch_t *watch, int64_t spin_ns, bool yielding)
{
    int64_t deadline = monotonic_ns() + spin_ns;
    do {
        for (int n = 0; n < SPINS_PER_CLOCK; n++) {
            if (watch_changed(watch))
                return true;
            if (yielding)
                sched_yield();
            else
                pause_cpu();
        }
    } while (monotonic_ns() < deadline);
    return false;
}

/* The same for a ring: spin until it is worth a look for a reader at `cursor`. */
static inline bool ring_spin(
    const channel_t *channel, uint64_t cursor, int64_t spin_ns, bool yielding)
{
    int64_t deadline = monotonic_ns() + spin_ns;
    do {
        for (int n = 0; n < SPINS_PER_CLOCK; n++) {
            if (ring_ready(channel, cursor))
                return true;
            if (yielding)
                sched_yield();
            else
                pause_cpu();
        }
    } while (monotonic_ns() < deadline);
    return false;
}

#endif
