/* panel.c - the product of packed operands, and packing (panel.h).
 *
 * A tile of C stays in registers while all of k runs: what is left to load is one strip of B, read
 * front to back from the second-level cache for each tile of rows, and the tile's own rows of A.
 * With C written once, at the end, it may be rounded to bf16 or added to a residual there.
 */
#include "ops/cpu/panel.h"
#include "ops/cpu/half.h"

/* Unrolled 24-fold; with UBSan's checks in it a compiler needs minutes. */
#define UNCHECKED __attribute__((no_sanitize("undefined")))
/* Steps of k between a load of B and its prefetch. */
#define AHEAD 8
/* Rows of A whose places are found at a time: whole tiles. */
#define MAX_ROWS (32 * PANEL_ROWS)
/* Rows between a load and its prefetch, where rows are packed. */
#define FAR_AHEAD  16
#define NEAR_AHEAD 4 /* of whole rows */
/* Panels that a register has words for. */
#define PER_LOAD (VEC_LANES / PANEL_ROWS)
/* Words of k that pack_columns converts at a time. */
#define CONVERT_WORDS 64

_Static_assert(PANEL_LANES == VEC_LANES && PANEL_ROWS <= VEC_LANES, "a register of C is a vec");

/* Bytes that a tile fetches while it runs: from `at`, `step` with each k. */
typedef struct stream {
    const char *at;
    int64_t step;
} stream;

typedef struct tile {
    const char *const *rows; /* of A, at k = 0 */
    int64_t step_bytes;      /* of A, from word to word */
    const float *b;
    int64_t n_words;
    bool has_tail; /* half of the last word is beyond K */
    char *c;
    const float *base;
    int64_t c_ld, n_rows, n_last; /* n_last: columns in the last register */
    int64_t next_tile;            /* rows from here to its */
    stream fetched;
} tile;

/* acc + a b: a a word of A for all lanes */
VEC_INLINE vec multiply_add(vec acc, int32_t a, vec b, bool is_half) {
#ifdef __AVX512BF16__
    if (is_half)
        return (vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_epi32(a), (__m512bh)b);
#endif
    float x;
    memcpy(&x, &a, sizeof x);
    return acc + x * b;
}

VEC_INLINE int32_t load_word(const char *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* One number of bf16 and a zero. */
VEC_INLINE int32_t load_half_word(const char *p) {
    uint16_t number;
    memcpy(&number, p, sizeof number);
    return number;
}

VEC_INLINE void store_tile(const tile *t, vec acc[PANEL_ROWS][PANEL_REGS], int n_regs,
                           bool c_is_half) {
#pragma GCC unroll 8
    for (int r = 0; r < PANEL_ROWS; r++) {
        if (r >= t->n_rows) break;
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++) {
            int64_t n = v == n_regs - 1 ? t->n_last : VEC_LANES, at = r * t->c_ld + v * VEC_LANES;
            vec sum = acc[r][v];
            if (!c_is_half && t->base) sum += vec_load_upto(t->base + at, n);
            act_store(t->c, c_is_half, at, sum, n);
        }
    }
}

/* Row r of C, which is written when all of k has run, what it is added to, and the start of a row
 * of the next tile. */
VEC_INLINE void prefetch_tile(const tile *t, int r, int n_regs, bool c_is_half) {
    int64_t row_bytes = t->c_ld * (c_is_half ? 2 : 4);
    if (r < t->n_rows)
        for (int i = 0; i < n_regs * VEC_BYTES / (c_is_half ? 2 : 1); i += 64)
            __builtin_prefetch(t->c + r * row_bytes + i, 1);
    if (!c_is_half && t->base && (const char *)t->base != t->c && r < t->n_rows)
        for (int v = 0; v < n_regs; v++) __builtin_prefetch(t->base + r * t->c_ld + v * VEC_LANES);
    __builtin_prefetch(t->rows[r + t->next_tile]);
    __builtin_prefetch(t->rows[r + t->next_tile] + 64);
}

/* Constant arguments but for the tile: inlined once for each choice. The loop is written for the 14
 * registers there are for addresses: one more, and each step moves some from vector registers, in
 * cycles of the multiply-adds (6 % of a product on Zen 4, docs/speed.md). */
UNCHECKED VEC_INLINE void run_tile(const tile *t, int n_regs, bool is_half, bool c_is_half) {
    vec acc[PANEL_ROWS][PANEL_REGS], col[PANEL_REGS];
    const char *rows[PANEL_ROWS];
    const float *b = t->b;
    int64_t at = 0, step = t->step_bytes;
    stream fetched = t->fetched;
    const int b_step = n_regs * VEC_LANES;
    const float *b_end = b + (t->n_words - t->has_tail) * b_step;
#pragma GCC unroll 8
    for (int r = 0; r < PANEL_ROWS; r++) {
        rows[r] = t->rows[r];
        prefetch_tile(t, r, n_regs, c_is_half);
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++) acc[r][v] = (vec){0};
    }
    for (; b != b_end; at += step, b += b_step) {
        __builtin_prefetch(fetched.at, 0, 2);
        fetched.at += fetched.step;
#pragma GCC unroll 3
        for (int v = 0; v < n_regs; v++) {
            __builtin_prefetch(b + AHEAD * b_step + v * VEC_LANES);
            col[v] = vec_load(b + v * VEC_LANES);
        }
#pragma GCC unroll 8
        for (int r = 0; r < PANEL_ROWS; r++)
#pragma GCC unroll 3
            for (int v = 0; v < n_regs; v++)
                acc[r][v] = multiply_add(acc[r][v], load_word(rows[r] + at), col[v], is_half);
    }
    if (t->has_tail)
#pragma GCC unroll 8
        for (int r = 0; r < PANEL_ROWS; r++)
#pragma GCC unroll 3
            for (int v = 0; v < n_regs; v++)
                acc[r][v] = multiply_add(acc[r][v], load_half_word(rows[r] + at),
                                         vec_load(b + v * VEC_LANES), is_half);
    store_tile(t, acc, n_regs, c_is_half);
}

UNCHECKED static void run_float(const tile *t, int64_t n_regs) {
    if (n_regs == 1) run_tile(t, 1, false, false);
    if (n_regs == 2) run_tile(t, 2, false, false);
#if PANEL_REGS > 2
    if (n_regs == 3) run_tile(t, 3, false, false);
#endif
}

#ifdef __AVX512BF16__
UNCHECKED static void run_half(const tile *t, int64_t n_regs) {
    if (n_regs == 1) run_tile(t, 1, true, false);
    if (n_regs == 2) run_tile(t, 2, true, false);
    if (n_regs == 3) run_tile(t, 3, true, false);
}

UNCHECKED static void run_half_to_half(const tile *t, int64_t n_regs) {
    if (n_regs == 1) run_tile(t, 1, true, true);
    if (n_regs == 2) run_tile(t, 2, true, true);
    if (n_regs == 3) run_tile(t, 3, true, true);
}
#endif

/* Where rows [first, first + n) of A begin; up to a whole tile's the last one is repeated. */
static void find_rows(const char **rows, const cpu_product *p, int64_t first, int64_t n) {
    int64_t item = p->is_half ? 2 : 4;
    int64_t panel = cpu_panel_words(cpu_words(p->K, p->is_half)) * 4;
    for (int64_t i = 0; i < cpu_ceil_div(n, PANEL_ROWS) * PANEL_ROWS; i++) {
        int64_t row = first + cpu_min(i, n - 1), at = row * p->a_ld * item;
        if (p->a_index) at = p->a_index[row] * p->a_ld * item;
        if (p->a_in_panels) at = row / PANEL_ROWS * panel + row % PANEL_ROWS * 4;
        rows[i] = (const char *)p->a + at;
    }
}

typedef void (*run_fn)(const tile *, int64_t n_regs);

/* n_bytes over n_words steps, a line of the cache each at most: what is more goes at once. */
static stream stream_of(const void *from, int64_t n_bytes, int64_t n_words) {
    const char *at = from;
    for (; n_bytes > 64 * n_words; at += 64, n_bytes -= 64) __builtin_prefetch(at, 0, 2);
    return (stream){at, cpu_ceil_div(n_bytes, cpu_max(1, n_words))};
}

/* What is left of a product's `ahead`. */
typedef struct fetch {
    const iso_region *region, *end;
    int64_t row, at; /* the next byte's, of region */
    int64_t n_bytes; /* with each tile */
} fetch;

static fetch fetch_of(const cpu_product *p, bool has_beside) {
    int64_t n_tiles = cpu_n_strips(p->N) * cpu_ceil_div(p->M, PANEL_ROWS), n_bytes = 0;
    n_tiles = n_tiles * (has_beside ? 1 : 5) / 8; /* turn_of */
    for (int i = 0; i < CPU_AHEAD; i++) n_bytes += p->ahead[i].row_bytes * p->ahead[i].n_rows;
    return (fetch){.region = p->ahead,
                   .end = p->ahead + CPU_AHEAD,
                   .n_bytes = cpu_ceil_div(n_bytes, cpu_max(1, n_tiles) * 64) * 64};
}

/* The next bytes to fetch: a run of them goes to the tile, whole rows of an index at once. */
static void fetch_some(fetch *f, tile *t) {
    for (int64_t n = f->n_bytes; n > 0 && f->region < f->end;) {
        const iso_region *r = f->region;
        if (f->row == r->n_rows) {
            f->region++;
            f->row = 0, f->at = 0;
            continue;
        }
        if (!r->index) {
            int64_t n_all = r->n_rows * r->row_bytes, some = cpu_min(n, n_all - f->at);
            t->fetched = stream_of((const char *)r->data + f->at, some, t->n_words);
            f->at += some;
            if (f->at == n_all) f->row = r->n_rows;
            return;
        }
        const char *row = (const char *)r->data + r->index[f->row] * r->row_bytes;
        for (; n > 0 && f->at < r->row_bytes; f->at += 64, n -= 64)
            __builtin_prefetch(row + f->at, 0, 2);
        if (f->at < r->row_bytes) return;
        f->at = 0;
        f->row++;
    }
}

/* Work beside a product (iso_exec_aside): with each strip some numbers, fetched by every second
 * tile and done when STRIPS_BESIDE strips are. */
typedef struct numbers {
    const iso_beside *work;
    int64_t first, end, fetched; /* done up to first, fetched up to there */
    int64_t n_strip;             /* whole lines of the cache */
} numbers;

#define LINE_NUMBERS 16
/* FLOPs beside which a number is fetched and done without being noticed. */
#define FLOPS_BESIDE  1024
#define STRIPS_BESIDE 4

/* Tiles that fetch a stream's share for a strip. */
static int64_t tiles_per_stream(int64_t n_tiles) {
    return (n_tiles + 1) / 2 / ISO_BESIDE_STREAMS;
}

static numbers claim_numbers(const cpu_product *p) {
    numbers beside = {.work = NULL};
    if (!p->exec || !p->exec->beside.fn) return beside;
    int64_t n_strips = cpu_n_strips(p->N), n_rows = cpu_min(p->M, MAX_ROWS);
    int64_t n_tiles = cpu_ceil_div(n_rows, PANEL_ROWS);
    int64_t n = 2 * n_rows * p->K * p->N / n_strips / FLOPS_BESIDE;
    int64_t most = LINE_NUMBERS * cpu_words(p->K, p->is_half) * tiles_per_stream(n_tiles);
    beside.n_strip = cpu_min(n, most) / LINE_NUMBERS * LINE_NUMBERS;
    n = beside.n_strip * n_strips * cpu_ceil_div(p->M, MAX_ROWS);
    n = n > 0 ? iso_exec_claim(p->exec, n, &beside.first) : 0;
    if (n > 0) beside.work = &p->exec->beside;
    beside.end = beside.first + n, beside.fetched = beside.first;
    return beside;
}

/* Tile i of n_tiles, an even one, fetches its share of what is done after this strip. */
static void fetch_numbers(const numbers *beside, tile *t, int64_t i, int64_t n_tiles) {
    int64_t n_parts = tiles_per_stream(n_tiles), i_stream = i / 2 / cpu_max(1, n_parts);
    if (n_parts == 0 || i_stream >= ISO_BESIDE_STREAMS) return;
    int64_t n = cpu_min(beside->n_strip, beside->end - beside->fetched);
    int64_t share = cpu_ceil_div(n, n_parts * LINE_NUMBERS) * LINE_NUMBERS;
    const float *from = beside->work->streams[i_stream] + beside->fetched;
    t->fetched =
        stream_of(from + i / 2 % n_parts * share, share * (int64_t)sizeof *from, t->n_words);
}

static void do_numbers(numbers *beside, int64_t end) {
    int64_t n = cpu_min(end, beside->end) - beside->first;
    if (n > 0) beside->work->fn(beside->work->job, beside->first, n);
    beside->first += n;
}

/* After strip i, which has fetched its share. Some strips together: what is done pushes rows of A
 * out of the first cache. */
static void end_strip(numbers *beside, int64_t i_strip) {
    if (!beside->work) return;
    beside->fetched = cpu_min(beside->end, beside->fetched + beside->n_strip);
    if ((i_strip + 1) % STRIPS_BESIDE == 0) do_numbers(beside, beside->fetched);
}

/* What a tile fetches, one thing each: of eight tiles three the next strip, four work beside if
 * there is some, the rest what the product names. */
typedef enum turn { FETCH_STRIP, FETCH_NUMBERS, FETCH_AHEAD } turn;

static turn turn_of(int64_t i_tile, bool has_beside) {
    if (i_tile % 2 == 0) return has_beside ? FETCH_NUMBERS : FETCH_AHEAD;
    return i_tile % 8 == 7 ? FETCH_AHEAD : FETCH_STRIP;
}

/* Tile i of n, one whose turn it is, fetches its share of the next strip of B. */
static void fetch_strip(tile *t, const float *strip, int64_t width, int64_t i, int64_t n) {
    int64_t n_turns = n / 2 - n / 8;
    int64_t share = cpu_ceil_div(width * t->n_words * 4, n_turns * 64) * 64;
    t->fetched = stream_of((const char *)strip + (i / 2 - i / 8) * share, share, t->n_words);
}

/* Rows [first, first + n) of C: strip by strip, so that each is in the cache for all tiles. */
static void multiply_rows(const cpu_product *p, run_fn run, int64_t first, int64_t n, fetch *ahead,
                          numbers *beside) {
    const char *rows[MAX_ROWS];
    tile t = {.n_words = cpu_words(p->K, p->is_half), .c_ld = p->c_ld};
    t.step_bytes = p->a_in_panels ? PANEL_ROWS * 4 : 4;
    t.has_tail = p->is_half && !p->a_in_panels && p->K % 2 != 0;
    find_rows(rows, p, first, n);
    for (int64_t i_strip = 0; i_strip < cpu_n_strips(p->N); i_strip++) {
        int64_t col = cpu_strip_start(p->N, i_strip), end = cpu_strip_start(p->N, i_strip + 1);
        t.b = (const float *)p->b + col * t.n_words;
        t.n_last = cpu_min(VEC_LANES, p->N - (end - VEC_LANES));
        const float *next = t.b + (end - col) * t.n_words;
        int64_t next_width = end - col, n_tiles = cpu_ceil_div(n, PANEL_ROWS);
        if (i_strip + 1 < cpu_n_strips(p->N))
            next_width = cpu_strip_start(p->N, i_strip + 2) - end;
        else
            next = p->next_b;
        for (int64_t i = 0, i_tile = 0; i < n; i += PANEL_ROWS, i_tile++) {
            int64_t at = (first + i) * p->c_ld + col;
            t.rows = rows + i;
            t.n_rows = cpu_min(PANEL_ROWS, n - i);
            t.next_tile = i + PANEL_ROWS < n ? PANEL_ROWS : 0;
            t.c = (char *)p->c + at * (p->c_is_half ? 2 : 4);
            t.base = p->base ? p->base + at : NULL;
            t.fetched = (stream){t.rows[0], 0}; /* if there is nothing */
            switch (turn_of(i_tile, beside->work != NULL)) {
            case FETCH_NUMBERS:
                fetch_numbers(beside, &t, i_tile, n_tiles);
                break;
            case FETCH_AHEAD:
                fetch_some(ahead, &t);
                break;
            case FETCH_STRIP:
                if (next) fetch_strip(&t, next, next_width, i_tile, n_tiles);
                break;
            }
            run(&t, (end - col) / VEC_LANES);
        }
        end_strip(beside, i_strip);
    }
}

void cpu_multiply(const cpu_product *p) {
    run_fn run = run_float;
#ifdef __AVX512BF16__
    if (p->is_half) run = p->c_is_half ? run_half_to_half : run_half;
#endif
    ISO_ASSERT(run != run_float || (!p->is_half && !p->c_is_half));
    numbers beside = claim_numbers(p);
    fetch ahead = fetch_of(p, beside.work != NULL);
    for (int64_t i = 0; i < p->M; i += MAX_ROWS)
        multiply_rows(p, run, i, cpu_min(MAX_ROWS, p->M - i), &ahead, &beside);
    if (beside.work) do_numbers(&beside, beside.end);
}

static int64_t memory_row(const cpu_matrix *in, int64_t row) {
    return (in->index ? in->index[row] : row) * in->ld;
}

/* One word for each of n numbers at columns col..: of row `a`, or, if is_half, of rows `a` and `b`
 * (b < 0: of a and zeros). Lanes from n on are 0. */
VEC_INLINE vec load_words(const cpu_matrix *in, bool in_is_half, bool is_half, int64_t a, int64_t b,
                          int64_t col, int64_t n) {
    if (!is_half) return act_load(in->data, in_is_half, a + col, n);
    half_lanes low = act_load_half(in->data, in_is_half, a + col, n), high = {0};
    if (b >= 0) high = act_load_half(in->data, in_is_half, b + col, n);
    return half_pair(low, high);
}

/* Columns [col, col + n) of a row that will be packed soon, if there is one. */
VEC_INLINE void prefetch_row(const cpu_matrix *in, bool in_is_half, int64_t row, int64_t end,
                             int64_t col, int64_t n) {
    if (row >= end) return;
    int64_t item = in_is_half ? 2 : 4;
    const char *p = (const char *)in->data + (memory_row(in, row) + col) * item;
    for (int64_t i = 0; i < n * item; i += 64) __builtin_prefetch(p + i);
}

VEC_INLINE void pack_rows(float *strips, bool is_half, const cpu_matrix *in, bool in_is_half,
                          int64_t row, int64_t K, int64_t N, int64_t first, int64_t end) {
    int64_t n_words = cpu_words(K, is_half), n_strips = cpu_n_strips(N);
    int64_t n_regs = cpu_ceil_div(N, VEC_LANES), least = n_regs / n_strips,
            rest = n_regs % n_strips;
    for (int64_t k = cpu_words(first, is_half); k < cpu_words(end, is_half); k++) {
        int64_t a = memory_row(in, row + (is_half ? 2 * k : k)), b = -1;
        if (is_half && 2 * k + 1 < K) b = memory_row(in, row + 2 * k + 1);
        int64_t next = row + (is_half ? 2 * k : k) + NEAR_AHEAD;
        prefetch_row(in, in_is_half, next, row + K, 0, N);
        if (is_half) prefetch_row(in, in_is_half, next + 1, row + K, 0, N);
        for (int64_t i = 0, col = 0, sum = 0; i < n_strips; i++) {
            /* cpu_strip_start without its division */
            sum += rest;
            bool is_wide = sum >= n_strips;
            if (is_wide) sum -= n_strips;
            int64_t width = (least + is_wide) * VEC_LANES;
            float *out = strips + col * n_words + k * width;
            for (int64_t v = 0; v < width; v += VEC_LANES, col += VEC_LANES)
                vec_store(out + v, load_words(in, in_is_half, is_half, a, b, col, N - col));
        }
    }
}

void cpu_pack_rows(void *strips, bool is_half, const cpu_matrix *in, int64_t row, int64_t K,
                   int64_t N, int64_t first, int64_t end) {
    if (is_half && in->is_half)
        pack_rows(strips, true, in, true, row, K, N, first, end);
    else if (is_half)
        pack_rows(strips, true, in, false, row, K, N, first, end);
    else if (in->is_half)
        pack_rows(strips, false, in, true, row, K, N, first, end);
    else
        pack_rows(strips, false, in, false, row, K, N, first, end);
}

/* Columns [col, end) of a strip of bf16: rows of `in` are rounded, which puts two k in a word, and
 * the words are transposed. */
static void pack_half_columns(float *out, int64_t width, const float *in, int64_t K, int64_t n) {
    enum { MAX_COLUMNS = PANEL_REGS * PANEL_LANES };
    float words[MAX_COLUMNS * CONVERT_WORDS];
    for (int64_t k = 0; k < K; k += 2 * CONVERT_WORDS) {
        int64_t n_numbers = cpu_min(2 * CONVERT_WORDS, K - k), n_words = cpu_words(n_numbers, true);
        for (int64_t i = 0; i < n; i++) {
            float *row = words + i * CONVERT_WORDS;
            row[n_words - 1] = 0; /* its upper half may be beyond K */
            for (int64_t j = 0; j < n_numbers; j += VEC_LANES) {
                __builtin_prefetch(in + (i + FAR_AHEAD) * K + k + j);
                act_store(row, true, j, vec_load_upto(in + i * K + k + j, n_numbers - j),
                          n_numbers - j);
            }
        }
        ISO_ISA_NAME(iso_cpu_transpose)
        (out + k / 2 * width, width, words, CONVERT_WORDS, n, n_words);
    }
}

void cpu_pack_columns(void *strips, bool is_half, const float *in, int64_t K, int64_t N,
                      int64_t first, int64_t end) {
    int64_t n_words = cpu_words(K, is_half);
    for (int64_t i = first; i < end; i++) {
        int64_t col = cpu_strip_start(N, i), width = cpu_strip_start(N, i + 1) - col;
        int64_t n = cpu_min(width, N - col);
        float *out = (float *)strips + col * n_words;
        if (is_half)
            pack_half_columns(out, width, in + col * K, K, n);
        else
            ISO_ISA_NAME(iso_cpu_transpose)(out, width, in + col * K, K, n, K);
        for (int64_t k = 0; n < width && k < n_words; k++)
            memset(out + k * width + n, 0, (size_t)(width - n) * sizeof *out);
    }
}

/* Row by row: `in` has rows far apart, which no processor fetches by itself. Rows of A beyond M are
 * whatever follows in memory, or 0. */
VEC_INLINE void pack_panels(float *panels, bool is_half, const cpu_matrix *in, bool in_is_half,
                            int64_t row, int64_t col, int64_t M, int64_t K) {
    int64_t n_words = cpu_words(K, is_half), panel = cpu_panel_words(n_words), end = row + K;
    for (int64_t k = 0; k < n_words; k++) {
        int64_t first = row + (is_half ? 2 * k : k), a = memory_row(in, first), b = -1;
        if (is_half && first + 1 < end) b = memory_row(in, first + 1);
        prefetch_row(in, in_is_half, first + FAR_AHEAD, end, col, M);
        if (is_half) prefetch_row(in, in_is_half, first + 1 + FAR_AHEAD, end, col, M);
        float *out = panels + k * PANEL_ROWS;
        for (int64_t i = 0; i < M; i += PER_LOAD * PANEL_ROWS) {
            vec words = load_words(in, in_is_half, is_half, a, b, col + i, in->ld - (col + i));
            for (int j = 0; j < PER_LOAD && i + j * PANEL_ROWS < M; j++, out += panel)
                memcpy(out, (const float *)&words + j * PANEL_ROWS, PANEL_ROWS * sizeof *out);
        }
    }
}

void cpu_pack_panels(void *panels, bool is_half, const cpu_matrix *in, int64_t row, int64_t col,
                     int64_t M, int64_t K) {
    if (is_half && in->is_half)
        pack_panels(panels, true, in, true, row, col, M, K);
    else if (is_half)
        pack_panels(panels, true, in, false, row, col, M, K);
    else if (in->is_half)
        pack_panels(panels, false, in, true, row, col, M, K);
    else
        pack_panels(panels, false, in, false, row, col, M, K);
}

void cpu_convert_rows(void *out, bool is_half, const cpu_matrix *in, int64_t row, int64_t n,
                      int64_t K) {
    ISO_ASSERT(is_half != in->is_half);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = memory_row(in, row + i), to = i * K;
        for (int64_t k = 0; k < K; k += VEC_LANES)
            if (is_half)
                act_store(out, true, to + k, act_load(in->data, false, from + k, K - k), K - k);
            else
                act_store(out, false, to + k, act_load(in->data, true, from + k, K - k), K - k);
    }
}
