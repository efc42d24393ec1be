#include "runs/route_file.h"

#include "base/fileio.h"
#include "base/str.h"
#include "safetensors/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "1"

typedef enum { LAYERS, TOKENS, LOAD, GATE_SUM, ENTROPY_SUM, BLOCK_DOMAIN, BLOCK_LOAD, PAIRS } part;
#define N_PARTS 8 /* the last is absent where no pairs are counted */

/* The tensors as they stand in the file, of the counts' sizes and memory. */
static int64_t describe(iso_safetensor out[N_PARTS], const iso_route_counts *c) {
    const int64_t D = c->n_domains, L = c->n_layers, C = ISO_N_TOKEN_CLASSES, E = c->E;
    out[LAYERS] = (iso_safetensor){"layers", ISO_I64, 1, {L}, c->layers};
    out[TOKENS] = (iso_safetensor){"tokens", ISO_I64, 2, {D, C}, c->tokens};
    out[LOAD] = (iso_safetensor){"load", ISO_I64, 4, {D, L, C, E}, c->load};
    out[GATE_SUM] = (iso_safetensor){"gate_sum", ISO_F64, 3, {D, L, E}, c->gate_sum};
    out[ENTROPY_SUM] = (iso_safetensor){"entropy_sum", ISO_F64, 2, {D, L}, c->entropy_sum};
    out[BLOCK_DOMAIN] =
        (iso_safetensor){"block_domain", ISO_I64, 1, {c->n_blocks}, c->block_domain};
    out[BLOCK_LOAD] =
        (iso_safetensor){"block_load", ISO_I64, 3, {c->n_blocks, L, E}, c->block_load};
    out[PAIRS] = (iso_safetensor){"pairs", ISO_I64, 3, {D, L, c->n_pairs}, c->pairs};
    return c->n_pairs > 0 ? N_PARTS : N_PARTS - 1;
}

/* --- writing --- */

iso_status iso_route_file_save(const char *path, int64_t step, const char *sample_hash,
                               const iso_route_counts *counts) {
    iso_safetensor parts[N_PARTS];
    int64_t n_parts = describe(parts, counts);
    iso_str domains = {0}, classes = {0};
    for (int64_t i = 0; i < counts->n_domains; i++)
        iso_str_appendf(&domains, "%s%s", i > 0 ? "," : "", counts->domains[i]);
    for (int i = 0; i < ISO_N_TOKEN_CLASSES; i++)
        iso_str_appendf(&classes, "%s%s", i > 0 ? "," : "",
                        iso_token_class_name((iso_token_class)i));
    char *step_text = iso_strf("%" PRId64, step), *k_text = iso_strf("%" PRId64, counts->K);
    json_t *metadata =
        json_pack("{ss ss ss ss ss ss}", "isomoe_routing", FORMAT, "step", step_text, "sample_hash",
                  sample_hash, "domains", domains.data ? domains.data : "", "classes", classes.data,
                  "experts_per_token", k_text);
    iso_status status = iso_safetensors_save(path, parts, n_parts, metadata);
    json_decref(metadata);
    free(k_text);
    free(step_text);
    iso_str_release(&classes);
    iso_str_release(&domains);
    return status;
}

/* --- reading --- */

static iso_status metadata_text(const char **out, const iso_safetensors *file, const char *key,
                                const char *path) {
    *out = iso_safetensors_metadata(file, key);
    if (*out) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s: no record of routing: its metadata lacks \"%s\"", path, key);
}

static iso_status metadata_number(int64_t *out, const iso_safetensors *file, const char *key,
                                  int64_t min, const char *path) {
    const char *text;
    ISO_TRY(metadata_text(&text, file, key, path));
    if (iso_str_to_i64(text, out) && *out >= min) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s: \"%s\" of the metadata is no count", path, key);
}

static const int64_t *dims_of(const iso_safetensors *file, const char *name, int n_dims) {
    const iso_safetensor *tensor = iso_safetensors_find(file, name);
    return tensor && tensor->n_dims == n_dims ? tensor->dims : NULL;
}

/* Sizes from the shapes of three tensors; `fill` holds all others to them. */
static iso_status read_sizes(iso_route_counts *sizes, const iso_safetensors *file,
                             const char *path) {
    const int64_t *load = dims_of(file, "load", 4), *blocks = dims_of(file, "block_domain", 1);
    *sizes = (iso_route_counts){0};
    if (!load || !blocks || load[3] < 1)
        return iso_fail(ISO_ERR_DATA, "%s: the tensors load and block_domain are missing", path);
    sizes->n_domains = load[0];
    sizes->n_layers = load[1];
    sizes->E = load[3];
    sizes->n_blocks = blocks[0];
    ISO_TRY(metadata_number(&sizes->K, file, "experts_per_token", 1, path));
    if (sizes->K > sizes->E)
        return iso_fail(ISO_ERR_DATA, "%s: %" PRId64 " of %" PRId64 " experts per token", path,
                        sizes->K, sizes->E);
    if (dims_of(file, "pairs", 3) && sizes->E <= ISO_ROUTE_PAIRS_MAX_EXPERTS)
        sizes->n_pairs = sizes->E * (sizes->E - 1) / 2;
    return ISO_OK;
}

static iso_status fill(const iso_route_counts *counts, const iso_safetensors *file,
                       const char *path) {
    iso_safetensor parts[N_PARTS];
    int64_t n_parts = describe(parts, counts);
    for (int64_t i = 0; i < n_parts; i++) {
        const iso_safetensor *want = &parts[i], *is = iso_safetensors_find(file, want->name);
        size_t dims_bytes = (size_t)want->n_dims * sizeof *want->dims;
        if (!is || is->dtype != want->dtype || is->n_dims != want->n_dims ||
            memcmp(is->dims, want->dims, dims_bytes) != 0)
            return iso_fail(ISO_ERR_DATA, "%s: the tensor %s has not the type and shape it must",
                            path, want->name);
        memcpy(want->data, is->data, (size_t)iso_safetensor_bytes(want));
    }
    if (file->n_tensors == n_parts) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s: tensors that a record of routing does not have", path);
}

/* Names as a prepared folder has them: they go to pages, tables and terminals. */
static iso_status fill_names(iso_route_counts *counts, const char *names, const char *path) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    int64_t n = 0;
    for (const char *at = names; *at || n < counts->n_domains;) {
        size_t len = strspn(at, allowed);
        if (len == 0 || (at[len] && at[len] != ',') || n == counts->n_domains)
            return iso_fail(ISO_ERR_DATA, "%s: \"domains\" of the metadata are not %" PRId64, path,
                            counts->n_domains);
        counts->domains[n++] = iso_strf("%.*s", (int)len, at);
        at += len + (at[len] == ',');
    }
    return ISO_OK;
}

/* Adds n values to *sum: false if one is negative or they come to more than int64 holds. */
static bool sum_up(int64_t *sum, const int64_t *values, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (values[i] < 0 || __builtin_add_overflow(*sum, values[i], sum)) return false;
    return true;
}

/* Whether n non-negative values come to `count` times `times`. */
static bool adds_up(const int64_t *values, int64_t n, int64_t count, int64_t times) {
    int64_t sum = 0, want;
    return sum_up(&sum, values, n) && !__builtin_mul_overflow(count, times, &want) && sum == want;
}

/* A sum of n reals between 0 and `most`, with room for rounding. */
static bool is_sum(double sum, int64_t n, double most) {
    return sum >= 0 && sum <= (double)n * most * 1.001;
}

/* Whether the blocks of a domain and layer come to its load, expert by expert. */
static bool blocks_add_up(const iso_route_counts *c, int64_t domain, int64_t layer) {
    const int64_t C = ISO_N_TOKEN_CLASSES,
                  *load = c->load + (domain * c->n_layers + layer) * C * c->E;
    for (int64_t e = 0; e < c->E; e++) {
        int64_t in_classes = 0, in_blocks = 0;
        for (int64_t class = 0; class < C; class ++) in_classes += load[class * c->E + e];
        for (int64_t b = 0; b < c->n_blocks; b++) {
            if (c->block_domain[b] != domain) continue;
            if (!sum_up(&in_blocks, &c->block_load[(b * c->n_layers + layer) * c->E + e], 1))
                return false;
        }
        if (in_classes != in_blocks) return false;
    }
    return true;
}

/* One domain in one layer: load by class, blocks, pairs, reals. */
static bool is_sound_place(const iso_route_counts *c, int64_t d, int64_t l, int64_t n_tokens) {
    const int64_t C = ISO_N_TOKEN_CLASSES, E = c->E, place = d * c->n_layers + l;
    for (int64_t i = 0; i < C; i++)
        if (!adds_up(c->load + (place * C + i) * E, E, c->tokens[d * C + i], c->K)) return false;
    if (!blocks_add_up(c, d, l)) return false;
    if (c->n_pairs > 0 &&
        !adds_up(c->pairs + place * c->n_pairs, c->n_pairs, n_tokens, c->K * (c->K - 1) / 2))
        return false;
    for (int64_t e = 0; e < E; e++) {
        int64_t n = 0;
        for (int64_t i = 0; i < C; i++) n += c->load[(place * C + i) * E + e];
        if (!is_sum(c->gate_sum[place * E + e], n, 1)) return false;
    }
    return is_sum(c->entropy_sum[place], n_tokens, log((double)E));
}

/* (I1) of route_counts.h, and that sums over domains and blocks stay within int64. */
static bool is_sound(const iso_route_counts *c) {
    const int64_t C = ISO_N_TOKEN_CLASSES;
    int64_t n_all = 0, n_choices;
    for (int64_t l = 0; l < c->n_layers; l++)
        if (c->layers[l] < 0 || (l > 0 && c->layers[l] <= c->layers[l - 1])) return false;
    for (int64_t b = 0; b < c->n_blocks; b++)
        if (c->block_domain[b] < 0 || c->block_domain[b] >= c->n_domains ||
            (b > 0 && c->block_domain[b] < c->block_domain[b - 1]))
            return false;
    if (!sum_up(&n_all, c->tokens, c->n_domains * C) ||
        __builtin_mul_overflow(n_all, c->K, &n_choices))
        return false;
    for (int64_t d = 0; d < c->n_domains; d++) {
        int64_t n_tokens = 0;
        for (int64_t i = 0; i < C; i++) n_tokens += c->tokens[d * C + i];
        for (int64_t l = 0; l < c->n_layers; l++)
            if (!is_sound_place(c, d, l, n_tokens)) return false;
    }
    return true;
}

static iso_status read_counts(iso_route_file *out, const iso_safetensors *file, const char *path) {
    const char *format, *names, *hash;
    iso_route_counts sizes;
    ISO_TRY(metadata_text(&format, file, "isomoe_routing", path));
    if (strcmp(format, FORMAT) != 0)
        return iso_fail(ISO_ERR_UNSUPPORTED, "%s: format %s; this version reads " FORMAT, path,
                        format);
    ISO_TRY(metadata_number(&out->step, file, "step", 0, path));
    ISO_TRY(metadata_text(&hash, file, "sample_hash", path));
    ISO_TRY(metadata_text(&names, file, "domains", path));
    ISO_TRY(read_sizes(&sizes, file, path));
    ISO_TRY(iso_route_counts_create(&out->counts, &sizes));
    out->sample_hash = iso_strf("%s", hash);
    ISO_TRY(fill(&out->counts, file, path));
    ISO_TRY(fill_names(&out->counts, names, path));
    if (is_sound(&out->counts)) return ISO_OK;
    return iso_fail(ISO_ERR_DATA, "%s: counts that do not add up", path);
}

/* Takes what an opened file says, and closes it. */
static iso_status take_file(iso_route_file *out, iso_safetensors *file, const char *path) {
    iso_status status = read_counts(out, file, path);
    iso_safetensors_close(file);
    if (status != ISO_OK) iso_route_file_release(out);
    return status;
}

iso_status iso_route_file_load(iso_route_file *out, const char *path) {
    iso_safetensors file;
    *out = (iso_route_file){0};
    ISO_TRY(iso_safetensors_open(&file, path));
    return take_file(out, &file, path);
}

iso_status iso_route_file_parse(iso_route_file *out, const void *bytes, int64_t n_bytes,
                                const char *what) {
    iso_safetensors file;
    *out = (iso_route_file){0};
    ISO_TRY(iso_safetensors_parse(&file, bytes, n_bytes, what));
    return take_file(out, &file, what);
}

void iso_route_file_release(iso_route_file *file) {
    iso_route_counts_free(&file->counts);
    free(file->sample_hash);
    *file = (iso_route_file){0};
}

iso_status iso_run_routing(iso_route_file *out, bool *found, const char *run_dir) {
    char *path = iso_strf("%s/" ISO_RUN_ROUTING, run_dir);
    *out = (iso_route_file){0};
    *found = iso_path_exists(path);
    iso_status status = *found ? iso_route_file_load(out, path) : ISO_OK;
    free(path);
    return status;
}
