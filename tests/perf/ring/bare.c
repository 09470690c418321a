/* What the ring is held against: the least that two processes can do to hand a record over.
 *
 * spin     the writer copies 64 bytes into a slot and counts up; the reader spins on the count
 * futex    the same, and the reader sleeps on a word that the writer changes and wakes
 * eventfd  the same, and the reader sleeps in read() of an eventfd
 *
 * No validation, no losses, no look at a stop. A writer sends at intended times, a reader notes
 * when it had the record in its own memory. Called through ctypes by bare.py.
 */
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 8, MASK = 65535 };

typedef struct {
    _Alignas(128) _Atomic uint64_t sent;
    _Alignas(128) _Atomic uint32_t bell;
    _Alignas(128) _Atomic uint64_t slots[MASK + 1][WORDS];
} line_t;

typedef struct {
    line_t *line;
    int event; /* eventfd, or -1: use the futex, or -2: use neither */
    int reserved;
    uint64_t done; /* records that this side has sent or taken */
} end_t;

static inline int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wake(end_t *end)
{
    if (end->event >= 0) {
        uint64_t one = 1;
        if (write(end->event, &one, sizeof one) < 0)
            return; /* full: the reader is awake */
    } else if (end->event == -1) {
        atomic_fetch_add(&end->line->bell, 1);
        syscall(SYS_futex, (void *)&end->line->bell, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

/* Send `count` records of 64 bytes, each at its time in `due`. */
void send_all(end_t *end, const int64_t *due, const uint64_t (*rows)[WORDS], uint64_t count)
{
    for (uint64_t n = 0; n < count; n++) {
        _Atomic uint64_t *slot = end->line->slots[end->done & MASK];
        while (monotonic_ns() < due[n])
            ;
        for (int i = 0; i < WORDS; i++)
            atomic_store_explicit(slot + i, rows[n][i], memory_order_relaxed);
        atomic_store_explicit(&end->line->sent, ++end->done, memory_order_release);
        wake(end);
    }
}

static void wait_for_more(end_t *end)
{
    while (atomic_load_explicit(&end->line->sent, memory_order_acquire) == end->done) {
        if (end->event >= 0) {
            uint64_t count;
            if (read(end->event, &count, sizeof count) < 0)
                return;
        } else if (end->event == -1) {
            uint32_t seen = atomic_load(&end->line->bell);
            if (atomic_load(&end->line->sent) != end->done)
                return;
            syscall(SYS_futex, (void *)&end->line->bell, FUTEX_WAIT, seen, NULL, NULL, 0);
        } else {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
    }
}

/* Take records until one ends in a word of ones; return how many, that one included. */
uint64_t receive_all(end_t *end, uint64_t (*log)[WORDS], int64_t *times, int64_t *sizes)
{
    for (uint64_t n = 0;; n++) {
        wait_for_more(end);
        _Atomic uint64_t *slot = end->line->slots[end->done & MASK];
        for (int i = 0; i < WORDS; i++)
            log[n][i] = atomic_load_explicit(slot + i, memory_order_relaxed);
        times[n] = monotonic_ns();
        sizes[n] = 8 * WORDS;
        end->done++;
        if (log[n][WORDS - 1] == UINT64_MAX)
            return n + 1;
    }
}
