/* chain.h - operations that go row by row, done one after the other on a block of rows (ops.h,
 * iso_exec_chain), from inside: for kernels.
 *
 * Owns: the blocks, what is fetched ahead for whom, whose time is whose. Does not own: what a
 * kernel does with a block.
 *
 * Why blocks: a norm or SwiGLU takes as long as memory takes to bring its rows, and a product has
 * just had them. Why links, not one function for each pair that meets: five kinds of operations
 * meet in a dozen ways.
 *
 * A kernel describes itself as a link: pieces that come before all blocks (packing weights), a
 * function for a block of rows, something to do when all is done. Outside a chain the link runs at
 * once, alone. Of a chain's operands the first link to touch one has it fetched, by the last
 * product before it; later links find it in the cache.
 */
#ifndef ISO_OPS_CHAIN_H
#define ISO_OPS_CHAIN_H

#include "ops/ops.h"

#define ISO_CHAIN_ROWS    64 /* in a block, but for experts */
#define ISO_CHAIN_LINKS   8
#define ISO_LINK_OPERANDS 6
#define ISO_LINK_BYTES    448

/* A block of rows of one expert; of its dw rows or columns. */
typedef struct iso_rows {
    int32_t expert, first, n;
} iso_rows;

/* A matrix that a link reads or writes: row by row, or, by_expert, all of one expert's. */
typedef struct iso_operand {
    const void *data;
    const int32_t *index; /* row r is row index[r] of memory; NULL: r */
    int64_t row_bytes;
    bool by_expert; /* row_bytes are all of an expert's */
} iso_operand;

/* Rows of memory, perhaps by index; n_rows 0: nothing. */
typedef struct iso_region {
    const void *data;
    const int32_t *index;
    int64_t n_rows, row_bytes;
} iso_region;

/* One link on one block. */
typedef struct iso_step {
    iso_exec *exec;
    int i_link, i_thread;
    int64_t i_block, first, n; /* rows [first, first + n) */
    int64_t expert;            /* whose rows, if blocks are experts' */
} iso_step;

typedef struct iso_link {
    iso_piece_fn prepare; /* ctx is the job; NULL: nothing */
    int64_t n_prepare;
    void (*rows)(const void *job, const iso_step *step);
    void (*after)(const void *job); /* on one thread; NULL: nothing */
    bool fetches;                   /* a product, which fetches ahead */
    int64_t n_rows, block_rows;     /* alone: how it is cut */
    bool goes_by_expert;            /* its rows are experts' */
    const iso_rows *blocks;         /* then these are the blocks, as many as */
    int64_t n_blocks;
    iso_operand operands[ISO_LINK_OPERANDS]; /* data NULL: none */
    iso_op op;                               /* the wrapper's */
    _Alignas(ISO_ALIGN_BYTES) char job[ISO_LINK_BYTES];
} iso_link;

struct iso_chain {
    bool is_open;
    int n_links;
    int64_t mark;         /* where their scratch starts */
    int64_t packed_bytes; /* of weights, for all threads to read */
    iso_link links[ISO_CHAIN_LINKS];
    int64_t first_prepare[ISO_CHAIN_LINKS + 1];
    iso_op_time times[ISO_CHAIN_LINKS]; /* of all threads */
    int64_t run_ns;                     /* since the last operation ended: not its own */
};

/* Before a kernel takes scratch, in dry runs too, which cut a chain where a real run does. If it
 * will pack n_bytes of weights for all threads and the chain holds much already, that runs now:
 * what is packed should still be in the last cache when it is read. So does a chain of tokens if
 * the link goes by the rows of experts. */
void iso_link_begin(iso_exec *exec, int64_t n_bytes, bool by_expert);
/* Runs the link, or adds it to the chain that is open; in a dry run it only takes note. Scratch
 * taken since iso_link_begin is given back when it has run. `job` is copied. */
void iso_link_add(iso_exec *exec, const iso_link *link, const void *job, size_t job_bytes);
/* What a link that fetches should fetch meanwhile, at most n_most regions: what the links after it
 * touch first, up to the next one that fetches; those before it, of the thread's next block. */
int iso_chain_ahead(const iso_step *step, iso_region *regions, int n_most);
/* Runs what is there and closes the chain. */
void iso_chain_flush(iso_exec *exec);

#endif
