/* pile.c - runs stages (pile.h): region by region, each what one round multiplies and then what the
 * next one packs. What packs nothing waits for the last region.
 */
#include "ops/pile.h"

#include "base/clock.h"
#include "ops/chain.h"

#include <string.h>

static int64_t max(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static void share_piece(void *ctx, int64_t i_piece, int i_thread) {
    struct iso_pile *pile = ((iso_exec *)ctx)->pile;
    const iso_share *share = pile->shares;
    while (i_piece >= share->first + share->n) share++;
    iso_turn turn = {.i_round = share->i_round,
                     .i_piece = i_piece - share->first,
                     .packed = share->packed,
                     .scratch = pile->scratch + i_thread * pile->thread_bytes};
    int64_t start_ns = iso_clock_ns();
    share->fn(pile->stages[share->i_stage].job, &turn);
    atomic_fetch_add(&pile->times[share->i_stage].ns, iso_clock_ns() - start_ns);
}

static void add_share(struct iso_pile *pile, iso_share share) {
    if (pile->n_shares > 0) {
        const iso_share *last = &pile->shares[pile->n_shares - 1];
        share.first = last->first + last->n;
    }
    pile->shares[pile->n_shares++] = share;
}

static void run_region(iso_exec *exec) {
    struct iso_pile *pile = exec->pile;
    if (pile->n_shares == 0) return;
    const iso_share *last = &pile->shares[pile->n_shares - 1];
    iso_exec_pieces(exec, last->first + last->n, share_piece, exec);
    pile->n_shares = 0;
}

/* packed: where rounds pack, in turn. */
static void run_regions(iso_exec *exec, float *const packed[2]) {
    struct iso_pile *pile = exec->pile;
    int64_t n_rounds = 0;
    for (int i = 0; i < pile->n_stages; i++) {
        const iso_stage *stage = &pile->stages[i];
        iso_share share = {.i_stage = i};
        for (; stage->pack && share.i_round < stage->n_rounds; share.i_round++) {
            share.packed = packed[n_rounds++ % 2];
            share.fn = stage->pack, share.n = stage->n_pack;
            add_share(pile, share);
            run_region(exec);
            share.fn = stage->multiply, share.n = stage->n_multiply;
            add_share(pile, share);
        }
    }
    for (int i = 0; i < pile->n_stages; i++) {
        const iso_stage *stage = &pile->stages[i];
        iso_share share = {.i_stage = i, .fn = stage->multiply, .n = stage->n_multiply};
        if (!stage->pack) add_share(pile, share);
    }
    run_region(exec);
}

static void run(iso_exec *exec) {
    struct iso_pile *pile = exec->pile;
    int64_t packed_bytes = 0, n_rounds = 0, start_ns = iso_clock_ns();
    bool was_open = pile->is_open;
    pile->is_open = false;
    if (pile->n_stages == 0) return;
    pile->thread_bytes = 0;
    for (int i = 0; i < pile->n_stages; i++) {
        const iso_stage *stage = &pile->stages[i];
        packed_bytes = max(packed_bytes, stage->packed_bytes);
        pile->thread_bytes = max(pile->thread_bytes, stage->thread_bytes);
        if (stage->pack) n_rounds += stage->n_rounds;
        pile->times[i].op = stage->op, pile->times[i].ns = 0;
    }
    float *packed[2];
    packed[0] = packed[1] = iso_arena_take(&exec->scratch, 1, packed_bytes);
    if (n_rounds > 1) packed[1] = iso_arena_take(&exec->scratch, 1, packed_bytes);
    pile->scratch = iso_arena_take(&exec->scratch, iso_exec_n_threads(exec), pile->thread_bytes);
    if (!exec->measuring) {
        run_regions(exec, packed);
        for (int i = 0; i < pile->n_stages; i++)
            if (pile->stages[i].after) pile->stages[i].after(pile->stages[i].job);
        if (was_open)
            iso_exec_share_time(exec, iso_clock_ns() - start_ns, pile->times, pile->n_stages);
    }
    iso_arena_rewind(&exec->scratch, pile->mark);
    pile->n_stages = 0;
}

void iso_exec_pile(iso_exec *exec) {
    ISO_ASSERT(!exec->chain->is_open && !exec->pile->is_open);
    exec->pile->is_open = true;
}

void iso_pile_flush(iso_exec *exec) {
    run(exec);
}

void iso_stage_begin(iso_exec *exec) {
    struct iso_pile *pile = exec->pile;
    if (pile->n_stages == 0) pile->mark = iso_arena_mark(&exec->scratch);
}

void iso_stage_add(iso_exec *exec, const iso_stage *stage, const void *job, size_t job_bytes) {
    struct iso_pile *pile = exec->pile;
    ISO_ASSERT(pile->n_stages < ISO_PILE_STAGES && job_bytes <= ISO_STAGE_BYTES);
    iso_stage *added = &pile->stages[pile->n_stages++];
    *added = *stage;
    memcpy(added->job, job, job_bytes);
    if (!pile->is_open) run(exec);
}
