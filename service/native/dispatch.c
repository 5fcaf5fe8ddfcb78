/* Which of the compiled levels is used. The compiler's own look at the processor decides what may
 * be: it asks CPUID for all that belongs to a level, and whether the system keeps its registers
 * (XCR0). Nothing beyond plain x86-64 runs before that. */
#include <errno.h>

#include "argon2.h"
#include "core.h"

typedef void fill(const argon2_instance_t *, argon2_position_t);

fill fill_segment_3, fill_segment_4;

static fill *chosen;

void fill_segment(const argon2_instance_t *instance, argon2_position_t position) {
    chosen(instance, position);
}

/* Say whether this machine can do level 3 (AVX2) or 4 (AVX-512) of x86-64. */
int lalepass_supports(int level) {
    __builtin_cpu_init();
    if (level == 4)
        return __builtin_cpu_supports("x86-64-v4") != 0;
    return level == 3 && __builtin_cpu_supports("x86-64-v3") != 0;
}

/* Choose a level; before the first hash. Returns 0, or ENOTSUP and chooses none. */
int lalepass_choose(int level) {
    if (!lalepass_supports(level))
        return ENOTSUP;
    chosen = level == 4 ? fill_segment_4 : fill_segment_3;
    return 0;
}
