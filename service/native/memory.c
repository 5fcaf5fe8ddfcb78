/* The memory of a hash is kept for the next one on the same thread, on large pages if there are any.
 *
 * 19 MiB from the system for each hash are 4864 page faults, each with a page to be zeroed. The
 * reference implementation overwrites the memory with zeros before it gives it back (`free_memory`
 * in core.c), so that nothing of a password is in what is kept.
 *
 * The linker puts these in the place of malloc and free within this library (--wrap).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define LEAST ((size_t)64 << 10)   /* what is smaller is no memory of a hash */
#define LARGE_PAGE ((size_t)2 << 20)

void *__real_malloc(size_t);
void __real_free(void *);

size_t lalepass_keep = (size_t)32 << 20;
/* What is larger is given back at once: it was for a record of somebody else's. */

typedef struct {
    char *mapped, *start; /* `start` is where a large page can begin */
    size_t size;          /* of what is mapped */
    size_t usable;        /* from `start` */
    int lent;
} pages;

static _Thread_local pages held;
static _Thread_local int told; /* whether the end of this thread gives back what it holds */
static pthread_key_t at_thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int keyless = 1;
/* Nobody would be told that a thread has ended: then nothing is kept. */

static void give_back(void *which) {
    pages *these = which;
    if (these->mapped)
        munmap(these->mapped, these->size);
    *these = (pages){0};
}

static void make_key(void) { keyless = pthread_key_create(&at_thread_end, give_back) != 0; }

static size_t rounded(size_t size) { return (size + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1); }

void *__wrap_malloc(size_t size) {
    /* A hash asks for one large memory at a time. If it ever has two, the second is nobody's. */
    if (size < LEAST || held.lent)
        return __real_malloc(size);
    if (held.usable >= size) {
        held.lent = 1;
        return held.start;
    }
    give_back(&held);
    pages fresh = {.size = rounded(size) + LARGE_PAGE, .usable = rounded(size)};
    fresh.mapped = mmap(NULL, fresh.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh.mapped == MAP_FAILED)
        return NULL;
    fresh.start = (char *)rounded((uintptr_t)fresh.mapped);
    madvise(fresh.start, fresh.usable, MADV_HUGEPAGE);
    fresh.lent = 1;
    held = fresh;
    pthread_once(&once, make_key);
    told = !keyless && pthread_setspecific(at_thread_end, &held) == 0;
    return held.start;
}

void __wrap_free(void *memory) {
    if (memory != held.start || memory == NULL) {
        __real_free(memory);
        return;
    }
    held.lent = 0;
    if (!told || held.usable > rounded(lalepass_keep))
        give_back(&held);
}
