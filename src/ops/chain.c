/* chain.c - runs links block by block (chain.h): one region of pieces that prepares all of them,
 * one whose pieces are the blocks.
 */
#include "ops/chain.h"

#include "base/clock.h"
#include "ops/pile.h"

#include <string.h>

/* Of packed weights in one chain, about: what is left of a cache that all cores share. */
#define CHAIN_BYTES ((int64_t)4 << 20)

static int64_t n_blocks_of(const iso_link *link) {
    return link->blocks ? link->n_blocks : (link->n_rows + link->block_rows - 1) / link->block_rows;
}

/* Block i as the first link of the chain cuts it. */
static iso_step step_of(iso_exec *exec, int64_t i_block, int i_thread) {
    const iso_link *link = &exec->chain->links[0];
    iso_step step = {.exec = exec, .i_thread = i_thread, .i_block = i_block};
    if (link->blocks) {
        const iso_rows *rows = &link->blocks[i_block];
        step.first = rows->first, step.n = rows->n, step.expert = rows->expert;
    } else {
        step.first = i_block * link->block_rows;
        int64_t left = link->n_rows - step.first;
        step.n = left < link->block_rows ? left : link->block_rows;
    }
    return step;
}

static void prepare_piece(void *ctx, int64_t i_piece, int i_thread) {
    struct iso_chain *chain = ((iso_exec *)ctx)->chain;
    int i = 0;
    while (i_piece >= chain->first_prepare[i + 1]) i++;
    chain->links[i].prepare(chain->links[i].job, i_piece - chain->first_prepare[i], i_thread);
}

static void block_piece(void *ctx, int64_t i_piece, int i_thread) {
    iso_exec *exec = ctx;
    struct iso_chain *chain = exec->chain;
    iso_step step = step_of(exec, i_piece, i_thread);
    int64_t start_ns = iso_clock_ns();
    for (int i = 0; i < chain->n_links; i++) {
        step.i_link = i;
        chain->links[i].rows(chain->links[i].job, &step);
        int64_t end_ns = iso_clock_ns();
        atomic_fetch_add(&chain->times[i].ns, end_ns - start_ns);
        start_ns = end_ns;
    }
}

static void run(iso_exec *exec) {
    struct iso_chain *chain = exec->chain;
    bool was_open = chain->is_open;
    int64_t start_ns = iso_clock_ns();
    chain->is_open = false;
    for (int i = 0; i < chain->n_links; i++) {
        chain->first_prepare[i + 1] = chain->first_prepare[i] + chain->links[i].n_prepare;
        chain->times[i].op = chain->links[i].op, chain->times[i].ns = 0;
    }
    if (!exec->measuring && chain->n_links > 0) {
        iso_exec_pieces(exec, chain->first_prepare[chain->n_links], prepare_piece, exec);
        iso_exec_pieces(exec, n_blocks_of(&chain->links[0]), block_piece, exec);
        for (int i = 0; i < chain->n_links; i++)
            if (chain->links[i].after) chain->links[i].after(chain->links[i].job);
        int64_t run_ns = iso_clock_ns() - start_ns;
        if (was_open) iso_exec_share_time(exec, run_ns, chain->times, chain->n_links);
        if (was_open) chain->run_ns += run_ns;
    }
    if (chain->n_links > 0) iso_arena_rewind(&exec->scratch, chain->mark);
    chain->n_links = 0, chain->packed_bytes = 0;
    chain->is_open = was_open;
}

void iso_exec_chain(iso_exec *exec) {
    ISO_ASSERT(!exec->pile->is_open);
    exec->chain->is_open = true;
}

void iso_chain_flush(iso_exec *exec) {
    run(exec);
    exec->chain->is_open = false;
    exec->chain->run_ns = 0; /* no operation's wrapper has measured it */
}

void iso_link_begin(iso_exec *exec, int64_t n_bytes, bool by_expert) {
    struct iso_chain *chain = exec->chain;
    bool is_full =
        chain->n_links == ISO_CHAIN_LINKS ||
        (n_bytes > 0 && chain->packed_bytes > 0 && chain->packed_bytes + n_bytes > CHAIN_BYTES);
    if (chain->n_links > 0 && (is_full || (by_expert && !chain->links[0].goes_by_expert)))
        run(exec);
    if (chain->n_links == 0) chain->mark = iso_arena_mark(&exec->scratch);
    chain->packed_bytes += n_bytes;
}

/* Whether a link before link i_link touches what its operand j does, or an operand before j. */
static bool is_touched(const struct iso_chain *chain, int i_link, int j) {
    const void *data = chain->links[i_link].operands[j].data;
    for (int i = 0; i <= i_link; i++)
        for (int k = 0; k < (i < i_link ? ISO_LINK_OPERANDS : j); k++)
            if (chain->links[i].operands[k].data == data) return true;
    return false;
}

void iso_link_add(iso_exec *exec, const iso_link *link, const void *job, size_t job_bytes) {
    struct iso_chain *chain = exec->chain;
    ISO_ASSERT(chain->n_links < ISO_CHAIN_LINKS && job_bytes <= ISO_LINK_BYTES);
    ISO_ASSERT(chain->n_links == 0 || chain->links[0].n_rows == link->n_rows);
    ISO_ASSERT(chain->n_links == 0 || !link->goes_by_expert || chain->links[0].goes_by_expert);
    iso_link *added = &chain->links[chain->n_links];
    *added = *link;
    memcpy(added->job, job, job_bytes);
    if (chain->is_open && !link->goes_by_expert) added->block_rows = ISO_CHAIN_ROWS;
    for (int j = 0; j < ISO_LINK_OPERANDS; j++)
        if (is_touched(chain, chain->n_links, j)) added->operands[j].data = NULL;
    chain->n_links++;
    if (!chain->is_open) run(exec);
}

/* Operand `o` of a block, as a region. */
static iso_region region_of(const iso_operand *o, const iso_step *block) {
    if (o->by_expert)
        return (iso_region){.data = (const char *)o->data + block->expert * o->row_bytes,
                            .n_rows = 1,
                            .row_bytes = o->row_bytes};
    return (iso_region){.data =
                            (const char *)o->data + (o->index ? 0 : block->first * o->row_bytes),
                        .index = o->index ? o->index + block->first : NULL,
                        .n_rows = block->n,
                        .row_bytes = o->row_bytes};
}

int iso_chain_ahead(const iso_step *step, iso_region *regions, int n_most) {
    const struct iso_chain *chain = step->exec->chain;
    iso_step block = *step;
    int n = 0;
    for (int i = step->i_link + 1;; i++) {
        if (i == chain->n_links) {
            int64_t next = step->i_block + iso_exec_n_threads(step->exec);
            if (next >= n_blocks_of(&chain->links[0])) return n;
            block = step_of(step->exec, next, step->i_thread);
            i = 0;
        }
        for (int j = 0; j < ISO_LINK_OPERANDS && n < n_most; j++) {
            const iso_operand *o = &chain->links[i].operands[j];
            bool is_here =
                o->by_expert && block.i_block != step->i_block && block.expert == step->expert;
            if (o->data && !is_here) regions[n++] = region_of(o, &block);
        }
        if (chain->links[i].fetches) return n;
    }
}
