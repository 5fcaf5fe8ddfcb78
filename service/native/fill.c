/* Fills Argon2id's memory where there is one lane: the reference implementation's work, asked for
 * in an order that keeps the processor from waiting.
 *
 * A block takes about as long to compute as the block that it refers to takes to come from beyond
 * the second-level cache. In the first half of the first pass all references are known beforehand.
 * Later ones depend on the first word of the block before (RFC 9106, 3.4.1.2), which is finished
 * when half of that block is (a quarter, with AVX2): the memory is asked for then, and comes while
 * the rest is computed. And with one lane there is nothing to divide by.
 *
 * The rounds are the reference's own (blamka-round-opt.h). So is everything for other lanes,
 * versions and kinds. Compiled once for each level, with LEVEL in the names.
 */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "argon2.h"
#include "blake2/blake2.h"
#include "blake2/blamka-round-opt.h"
#include "core.h"

#define JOINED(name, level) name##level
#define NAMED(name, level) JOINED(name, level)

#if LEVEL == 4
typedef __m512i vector;
#define XOR(a, b) _mm512_xor_si512(a, b)
#define LOAD(from) _mm512_loadu_si512(from)
#define STORE(to, what) _mm512_storeu_si512(to, what)
#define FIRST_WORD(a) ((uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(a)))
#define ROW_GROUPS 2
#define ROWS(s, g)                                                                                 \
    BLAKE2_ROUND_1(s[8 * g], s[8 * g + 1], s[8 * g + 2], s[8 * g + 3], s[8 * g + 4], s[8 * g + 5], \
                   s[8 * g + 6], s[8 * g + 7])
#define COLUMN_GROUPS 2
#define COLUMNS(s, g)                                                                              \
    BLAKE2_ROUND_2(s[g], s[2 + g], s[4 + g], s[6 + g], s[8 + g], s[10 + g], s[12 + g], s[14 + g])
#else
typedef __m256i vector;
#define XOR(a, b) _mm256_xor_si256(a, b)
#define LOAD(from) _mm256_loadu_si256((const __m256i *)(from))
#define STORE(to, what) _mm256_storeu_si256((__m256i *)(to), what)
#define FIRST_WORD(a) ((uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(a)))
#define ROW_GROUPS 4
#define ROWS(s, g)                                                                                 \
    BLAKE2_ROUND_1(s[8 * g], s[8 * g + 4], s[8 * g + 1], s[8 * g + 5], s[8 * g + 2], s[8 * g + 6], \
                   s[8 * g + 3], s[8 * g + 7])
#define COLUMN_GROUPS 4
#define COLUMNS(s, g)                                                                              \
    BLAKE2_ROUND_2(s[g], s[4 + g], s[8 + g], s[12 + g], s[16 + g], s[20 + g], s[24 + g], s[28 + g])
#endif

#define INLINE static inline __attribute__((always_inline))
#define VECTORS (ARGON2_BLOCK_SIZE / sizeof(vector))
#define CACHE_LINE 64
#define NONE UINT32_MAX

/* One segment, with what of its position decides about references. */
typedef struct {
    block *memory;
    uint32_t lane_length, segment_length, pass, slice;
} segment;

INLINE void ask_for(const block *wanted) {
    for (unsigned at = 0; at < ARGON2_BLOCK_SIZE; at += CACHE_LINE)
        __builtin_prefetch((const char *)wanted + at);
}

/* Which block the one at `index` of the segment refers to: `index_alpha` for one lane. */
INLINE uint32_t referred(const segment *s, uint32_t index, uint64_t word) {
    uint32_t behind = s->pass == 0 ? s->slice * s->segment_length
                                   : s->lane_length - s->segment_length;
    uint32_t first = s->pass == 0 || s->slice == ARGON2_SYNC_POINTS - 1
                         ? 0
                         : (s->slice + 1) * s->segment_length;
    uint64_t area = behind + index - 1, squared = (word & UINT32_MAX) * (word & UINT32_MAX) >> 32;
    uint32_t at = first + (uint32_t)(area - 1 - (area * squared >> 32));
    return at < s->lane_length ? at : at - s->lane_length;
}

/* The compression function, from `state`, which is the block before, and `from` to `to`.
 *
 * Asks for the block that the one at `following` refers to as soon as it is known which that is,
 * and returns its place; NONE: there is nothing to ask for. */
INLINE uint32_t compress(vector *state, const block *from, block *to, int over, const segment *s,
                         uint32_t following) {
    vector kept[VECTORS];
    uint32_t next = NONE;

    for (unsigned i = 0; i < VECTORS; ++i) {
        state[i] = XOR(state[i], LOAD((const vector *)from->v + i));
        kept[i] = over ? XOR(state[i], LOAD((const vector *)to->v + i)) : state[i];
    }
    for (unsigned group = 0; group < ROW_GROUPS; ++group)
        ROWS(state, group);
    COLUMNS(state, 0);
    if (following != NONE) {
        next = referred(s, following, FIRST_WORD(XOR(state[0], kept[0])));
        ask_for(s->memory + next);
    }
    for (unsigned group = 1; group < COLUMN_GROUPS; ++group)
        COLUMNS(state, group);
    for (unsigned i = 0; i < VECTORS; ++i) {
        state[i] = XOR(state[i], kept[i]);
        STORE((vector *)to->v + i, state[i]);
    }
    return next;
}

/* The next 128 words that references are made of, where they depend on no password. */
static void next_words(block *words, block *counter) {
    vector zero[VECTORS];

    counter->v[6]++;
    memset(zero, 0, sizeof zero);
    compress(zero, counter, words, 0, NULL, NONE);
    memset(zero, 0, sizeof zero);
    compress(zero, words, words, 0, NULL, NONE);
}

INLINE void fill_known(const segment *s, const argon2_instance_t *instance, vector *state,
                       uint32_t begin) {
    block *current = s->memory + s->slice * s->segment_length + begin, words, counter;
    uint32_t places[ARGON2_ADDRESSES_IN_BLOCK];

    memset(&counter, 0, sizeof counter);
    counter.v[2] = s->slice;
    counter.v[3] = instance->memory_blocks;
    counter.v[4] = instance->passes;
    counter.v[5] = instance->type;
    for (uint32_t base = 0; base < s->segment_length; base += ARGON2_ADDRESSES_IN_BLOCK) {
        uint32_t at = base < begin ? begin - base : 0, left = s->segment_length - base;
        uint32_t end = left < ARGON2_ADDRESSES_IN_BLOCK ? left : ARGON2_ADDRESSES_IN_BLOCK;

        next_words(&words, &counter);
        for (uint32_t i = at; i < end; ++i)
            places[i] = referred(s, base + i, words.v[i]);
        for (; at < end; ++at, ++current) {
            if (at + 2 < end)
                ask_for(s->memory + places[at + 2]);
            compress(state, s->memory + places[at], current, 0, NULL, NONE);
        }
    }
}

INLINE void fill_dependent(const segment *s, vector *state, uint64_t word, int over) {
    block *current = s->memory + s->slice * s->segment_length;
    uint32_t place = referred(s, 0, word);

    for (uint32_t i = 0; i < s->segment_length; ++i, ++current)
        place = compress(state, s->memory + place, current, over, s,
                         i + 1 < s->segment_length ? i + 1 : NONE);
}

void NAMED(reference_fill_segment_, LEVEL)(const argon2_instance_t *, argon2_position_t);

void NAMED(fill_segment_, LEVEL)(const argon2_instance_t *instance, argon2_position_t position) {
    segment s = {instance->memory, instance->lane_length, instance->segment_length, position.pass,
                 position.slice};
    /* The first two blocks are there from the beginning. */
    uint32_t begin = position.pass == 0 && position.slice == 0 ? 2 : 0;
    uint32_t at = position.slice * s.segment_length + begin;
    const block *before = s.memory + (at == 0 ? s.lane_length : at) - 1;
    vector state[VECTORS];

    if (instance->lanes != 1 || instance->version != ARGON2_VERSION_13 ||
        instance->type != Argon2_id) {
        NAMED(reference_fill_segment_, LEVEL)(instance, position);
        return;
    }
    memcpy(state, before->v, sizeof state);
    if (position.pass > 0)
        fill_dependent(&s, state, before->v[0], 1);
    else if (position.slice >= ARGON2_SYNC_POINTS / 2)
        fill_dependent(&s, state, before->v[0], 0);
    else
        fill_known(&s, instance, state, begin);
}
