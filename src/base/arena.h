/* arena.h - memory by lifetime: one block, handed out front to back, released as a whole.
 *
 * An arena starts in one of two modes. A *measuring* arena has no memory: it hands out NULL and
 * counts. Run the same allocation code once with a measuring arena and once with a real one of the
 * size it measured, and what was planned is what is allocated, by construction.
 *
 * (I1) every pointer handed out is aligned to ISO_ALIGN_BYTES, so no two of them share a cache
 * line; (I2) used_bytes never exceeds size_bytes in a real arena: taking more is a broken
 * invariant.
 */
#ifndef ISO_BASE_ARENA_H
#define ISO_BASE_ARENA_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define ISO_ALIGN_BYTES 64

typedef struct iso_arena {
    char *base;         /* NULL while measuring */
    int64_t size_bytes; /* 0 while measuring */
    int64_t used_bytes;
    int64_t peak_bytes; /* the most that was ever in use: what a scratch arena must hold */
} iso_arena;

/* A measuring arena. */
void iso_arena_init(iso_arena *arena);
/* A real arena of size_bytes, zeroed, backed by huge pages where the system has them. */
iso_status iso_arena_create(iso_arena *arena, int64_t size_bytes);
void iso_arena_release(iso_arena *arena);

/* n items of item_bytes each; NULL while measuring. Sizes are overflow-checked. */
void *iso_arena_take(iso_arena *arena, int64_t n, int64_t item_bytes);

/* A mark and the way back to it: scratch memory with a stack's discipline. */
static inline int64_t iso_arena_mark(const iso_arena *arena) {
    return arena->used_bytes;
}
void iso_arena_rewind(iso_arena *arena, int64_t mark);

/* a*b and a+b of non-negative sizes; false on overflow or a negative operand. */
bool iso_size_mul(int64_t *out, int64_t a, int64_t b);
bool iso_size_add(int64_t *out, int64_t a, int64_t b);

#endif
