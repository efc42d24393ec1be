#include "base/arena.h"

#include <string.h>
#include <sys/mman.h>

bool iso_size_mul(int64_t *out, int64_t a, int64_t b) {
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, out);
}

bool iso_size_add(int64_t *out, int64_t a, int64_t b) {
    return a >= 0 && b >= 0 && !__builtin_add_overflow(a, b, out);
}

void iso_arena_init(iso_arena *arena) {
    *arena = (iso_arena){0};
}

iso_status iso_arena_create(iso_arena *arena, int64_t size_bytes) {
    *arena = (iso_arena){0};
    if (size_bytes <= 0) size_bytes = ISO_ALIGN_BYTES;
    void *base =
        mmap(NULL, (size_t)size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return iso_fail(ISO_ERR_MEMORY,
                        "cannot allocate %.1f MB; use a smaller micro_batch_size or model",
                        (double)size_bytes / 1e6);
    /* Only a hint: page faults of fresh 4 KiB pages cost more than what is computed on them. */
    (void)madvise(base, (size_t)size_bytes, MADV_HUGEPAGE);
    arena->base = base;
    arena->size_bytes = size_bytes;
    return ISO_OK;
}

void iso_arena_release(iso_arena *arena) {
    if (arena->base) munmap(arena->base, (size_t)arena->size_bytes);
    *arena = (iso_arena){0};
}

void *iso_arena_take(iso_arena *arena, int64_t n, int64_t item_bytes) {
    int64_t bytes, padded, used;
    ISO_ASSERT(iso_size_mul(&bytes, n, item_bytes));
    ISO_ASSERT(iso_size_add(&padded, bytes, ISO_ALIGN_BYTES - 1));
    padded -= padded % ISO_ALIGN_BYTES;
    ISO_ASSERT(iso_size_add(&used, arena->used_bytes, padded));
    void *out = arena->base ? arena->base + arena->used_bytes : NULL;
    arena->used_bytes = used;
    if (used > arena->peak_bytes) arena->peak_bytes = used;
    ISO_ASSERT(!arena->base || used <= arena->size_bytes);
    return out;
}

void iso_arena_rewind(iso_arena *arena, int64_t mark) {
    ISO_ASSERT(mark >= 0 && mark <= arena->used_bytes);
    arena->used_bytes = mark;
}
