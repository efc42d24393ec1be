#include "make_runs.h"

#include "arch/count.h"
#include "arch/steplaw.h"
#include "base/fileio.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/str.h"
#include "runs/route_file.h"
#include "train/config.h"
#include "train/ledger.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WINDOWS_PER_DOCUMENT 4
#define WINDOW_BYTES         256
#define BATCH_TOKENS         8192
#define UNIQUE_BATCHES       200
#define N_LAYERS             3
#define SEED_STRIDE          1000003

static const char *const default_domains[MAKE_DOMAINS_MAX] = {"general", "code", "holdout"};

static const char *const *domains_of(const made_run *spec) {
    return spec->domains[0] ? spec->domains : default_domains;
}

static uint64_t name_lane(const char *name) {
    uint64_t lane = 1469598103934665603u;
    for (; *name; name++) lane = (lane ^ (unsigned char)*name) * 1099511628211u;
    return lane;
}

static int64_t unique_tokens(const made_run *spec) {
    return (spec->n_unique ? spec->n_unique : UNIQUE_BATCHES) * BATCH_TOKENS;
}

static int64_t count_windows(const made_run *spec) {
    return (spec->n_documents ? spec->n_documents : 60) * WINDOWS_PER_DOCUMENT;
}

/* Bits of one window: text that is hard for all, the run's level, a little of its own. */
static double window_bits(const made_run *spec, const char *domain, int64_t i) {
    double common = 0.35 * iso_rng_normal(7, ISO_RNG_TEST, name_lane(domain), (uint64_t)i);
    double own = 0.02 * iso_rng_normal((uint64_t)spec->seed, ISO_RNG_TEST,
                                       name_lane(domain) ^ name_lane(spec->name), (uint64_t)i);
    double level = spec->level;
    if (strcmp(domain, "code") == 0) level -= 0.15;
    if (strcmp(domain, "holdout") == 0) level -= 0.4;
    return fmax(0.05, level + common + own) * WINDOW_BYTES;
}

static int64_t window_chars(int64_t i) {
    return WINDOW_BYTES - i % 3;
}

static json_t *make_evaluation(const made_run *spec) {
    json_t *domains = json_object();
    for (int d = 0; d < MAKE_DOMAINS_MAX && domains_of(spec)[d]; d++) {
        json_t *document = json_array(), *nats = json_array();
        json_t *bytes = json_array(), *chars = json_array();
        for (int64_t i = 0; i < count_windows(spec); i++) {
            json_array_append_new(document, json_integer(i / WINDOWS_PER_DOCUMENT));
            json_array_append_new(nats,
                                  json_real(window_bits(spec, domains_of(spec)[d], i) * log(2.0)));
            json_array_append_new(bytes, json_integer(WINDOW_BYTES));
            json_array_append_new(chars, json_integer(window_chars(i)));
        }
        json_object_set_new(domains, domains_of(spec)[d],
                            json_pack("{s:o,s:o,s:o,s:o}", "document", document, "nats", nats,
                                      "bytes", bytes, "chars", chars));
    }
    return json_pack("{s:i,s:i,s:s,s:o}", "format", 1, "step",
                     (int)(spec->n_steps ? spec->n_steps : 400), "sample_hash",
                     spec->sample_hash ? spec->sample_hash : "5a5a5a5a5a5a5a5a", "domains",
                     domains);
}

/* {loss, bpb, bpc, tokens, bytes, chars} of a domain. */
static json_t *domain_score(const made_run *spec, const char *domain) {
    double bits = 0.0, chars = 0.0, bytes = 0.0;
    for (int64_t i = 0; i < count_windows(spec); i++) {
        bits += window_bits(spec, domain, i);
        chars += (double)window_chars(i);
        bytes += WINDOW_BYTES;
    }
    return json_pack("{s:f,s:f,s:f,s:I,s:I,s:I}", "loss", bits / bytes * log(2.0), "bpb",
                     bits / bytes, "bpc", bits / chars, "tokens", (json_int_t)bytes, "bytes",
                     (json_int_t)bytes, "chars", (json_int_t)chars);
}

static int64_t n_experts(const made_run *spec) {
    return 50 - spec->n_used + spec->n_extra;
}

static double router_load(const made_run *spec, int64_t layer, int64_t expert) {
    /* In the first MoE layer of a large model one expert dies, in the last one draws the crowd. */
    if (n_experts(spec) > 20 && layer == 1 && expert == 5) return 0.0;
    double lean = layer == N_LAYERS - 1 && expert == 0 ? 1.6 : 0.0;
    return exp(lean + 0.35 * iso_rng_normal((uint64_t)spec->seed, ISO_RNG_TEST, (uint64_t)layer,
                                            (uint64_t)expert));
}

static json_t *make_router(const made_run *spec, bool with_dead) {
    json_t *layers = json_array();
    for (int64_t layer = 1; layer < N_LAYERS; layer++) {
        double sum = 0.0, entropy = 0.0;
        int64_t dead = 0;
        json_t *load = json_array();
        for (int64_t e = 0; e < n_experts(spec); e++) sum += router_load(spec, layer, e);
        for (int64_t e = 0; e < n_experts(spec); e++) {
            double share = router_load(spec, layer, e) / sum;
            json_array_append_new(load, json_real(share));
            if (share > 0.0)
                entropy -= share * log(share) / log((double)n_experts(spec));
            else
                dead++;
        }
        json_t *row = json_pack("{s:I,s:f,s:o}", "layer", (json_int_t)layer, "entropy", entropy,
                                "load", load);
        if (with_dead) json_object_set_new(row, "dead", json_integer(dead));
        json_array_append_new(layers, row);
    }
    return layers;
}

/* The shapes have the same N: a layer's FFN is 982 wide on average, 146 + 2 x 1400 in the MoE. */
static iso_config make_config(const made_run *spec) {
    iso_config config = iso_config_default();
    iso_shape *model = &config.model;
    model->vocab_size = 258;
    model->hidden_size = 48;
    model->num_hidden_layers = N_LAYERS;
    model->num_attention_heads = 3;
    model->max_position_embeddings = 128;
    if (spec->n_used > 0) {
        model->layer_layout = ISO_LAYOUT_1DENSE;
        model->intermediate_size = 146;
        model->num_experts = n_experts(spec);
        model->num_experts_per_tok = spec->n_used;
        model->moe_intermediate_size = 28;
        model->shared_expert_intermediate_size = 28 * spec->n_used;
    } else {
        model->layer_layout = ISO_LAYOUT_DENSE;
        model->intermediate_size = (146 + 2 * 1400) / 3;
    }
    strcpy(config.data.dir, "data/demo");
    config.data.unique_tokens = unique_tokens(spec);
    config.train.batch_size = BATCH_TOKENS / 128;
    config.train.lr = spec->lr > 0.0 ? spec->lr : 0.002;
    config.train.seed = spec->seed;
    config.train.steps = spec->n_steps ? spec->n_steps : 400;
    if (spec->n_used > 0) { /* equal compute: fewer FLOPs a token, more tokens */
        made_run like = {.name = "dense"};
        iso_config dense = make_config(&like);
        iso_counts a, b;
        ISO_ASSERT(iso_count(&a, &dense.model, ISO_CONVENTION_PAPER) == ISO_OK);
        ISO_ASSERT(iso_count(&b, model, ISO_CONVENTION_PAPER) == ISO_OK);
        config.train.steps = llround((double)config.train.steps * (double)a.train_flops_per_token /
                                     (double)b.train_flops_per_token);
    }
    ISO_ASSERT(iso_config_resolve(&config, NULL) == ISO_OK);
    return config;
}

static void add_counts(json_t *out, const iso_config *config, int64_t tokens) {
    json_t *conventions = json_object(), *flops = json_object();
    __int128 sum = 0;
    for (int c = 0; c < ISO_N_CONVENTIONS; c++) {
        iso_counts counts;
        ISO_ASSERT(iso_count(&counts, &config->model, (iso_convention)c) == ISO_OK);
        json_t *row =
            json_pack("{s:I,s:I,s:f,s:I,s:f}", "params_nonvocab",
                      (json_int_t)counts.params_nonvocab, "params_active",
                      (json_int_t)counts.params_active, "activation_rate", counts.activation_rate,
                      "train_flops_per_token", (json_int_t)counts.train_flops_per_token,
                      "train_flops", iso_train_flops(counts.train_flops_per_token, tokens));
        if (c == ISO_CONVENTION_PAPER) {
            json_object_update(out, row);
            json_object_set_new(out, "params_total", json_integer(counts.params_total));
        }
        json_object_set_new(conventions, iso_convention_name((iso_convention)c), row);
    }
    for (int i = 0; i < ISO_N_COMPONENTS; i++) {
        int64_t forward = 0;
        for (int c = ISO_N_CONVENTIONS - 1; c >= 0; c--) {
            iso_counts counts;
            ISO_ASSERT(iso_count(&counts, &config->model, (iso_convention)c) == ISO_OK);
            if (counts.components[i].forward_flops > 0)
                forward = counts.components[i].forward_flops;
        }
        __int128 counted = (__int128)3 * forward * tokens;
        sum += counted;
        json_object_set_new(flops, iso_component_name((iso_component)i),
                            iso_json_from_i128(counted));
    }
    json_object_set_new(out, "conventions", conventions);
    json_object_set_new(
        out, "counted",
        json_pack("{s:o,s:o}", "model_flops", flops, "executed_flops", iso_json_from_i128(sum)));
}

static json_t *make_summary(const made_run *spec, const iso_config *config, int64_t n_steps) {
    int64_t tokens = n_steps * BATCH_TOKENS,
            unique = tokens < unique_tokens(spec) ? tokens : unique_tokens(spec);
    json_t *out =
        json_pack("{s:i,s:s,s:s,s:s,s:{s:s,s:s,s:s,s:s}}", "format", 1, "name", spec->name, "state",
                  spec->state ? spec->state : "finished", "version", "0.1.0", "numeric_profile",
                  "backend", "cpu", "precision", "fp32", "isa", "avx512", "gemm", "oneDNN 2.6.3");
    json_t *sections = iso_config_to_json(config);
    json_object_update(out, sections);
    json_decref(sections);
    add_counts(out, config, tokens);
    double lr = iso_config_peak_lr(config);
    double N = json_number_value(json_object_get(out, "params_nonvocab"));
    json_t *work = json_pack(
        "{s:I,s:I,s:f,s:I,s:I,s:i,s:i,s:f,s:f,s:f,s:I,s:I,s:f,s:I,s:I}", "tokens",
        (json_int_t)tokens, "unique_tokens", (json_int_t)unique, "epochs",
        (double)tokens / (double)unique, "steps", (json_int_t)n_steps, "planned_steps",
        (json_int_t)config->train.steps, "replayed_steps", 0, "skipped_steps", 0, "lr", lr,
        "lr_multiplier", config->train.lr_multiplier, "lr_over_steplaw",
        lr / iso_steplaw_lr(ISO_STEPLAW_UNROUNDED, N, (double)tokens), "batch",
        (json_int_t)config->train.batch_size, "batch_tokens", (json_int_t)BATCH_TOKENS,
        "batch_over_steplaw",
        BATCH_TOKENS / iso_steplaw_batch_tokens(ISO_STEPLAW_UNROUNDED, (double)tokens), "seed",
        (json_int_t)spec->seed, "router_aux_group", (json_int_t)config->model.router_aux_group);
    json_object_update(out, work);
    json_decref(work);
    static const char *const hashes[] = {"data_hash", "subset_hash", "tokenizer_hash",
                                         "validation_hash"};
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        bool is_subset = strcmp(hashes[i], "subset_hash") == 0;
        const char *hash =
            is_subset && spec->subset_hash ? spec->subset_hash : "0123456789abcdef0123456789abcdef";
        json_object_set_new(out, hashes[i], json_string(hash));
    }
    json_object_set_new(out, "wall_s", json_real((double)tokens / 90000.0));
    json_object_set_new(out, "tokens_per_s", json_real(90000.0));
    json_object_set_new(out, "mfu", json_real(0.41));
    return out;
}

static void add_scores(json_t *summary, const made_run *spec) {
    json_t *domains = json_object();
    double bpb = 0.0, bpc = 0.0;
    int n_headline = 0;
    const char *const *names = domains_of(spec);
    for (int d = 0; d < MAKE_DOMAINS_MAX && names[d]; d++) {
        json_t *score = domain_score(spec, names[d]);
        json_object_set_new(domains, names[d], score);
        if (strcmp(names[d], "holdout") == 0) {
            json_object_set_new(summary, "in_distribution",
                                json_pack("{s:O,s:O}", "bpb", json_object_get(score, "bpb"), "bpc",
                                          json_object_get(score, "bpc")));
            if (d > 0 || names[1]) continue;
        }
        bpb += json_number_value(json_object_get(score, "bpb"));
        bpc += json_number_value(json_object_get(score, "bpc"));
        n_headline++;
    }
    json_object_set_new(summary, "domains", domains);
    json_object_set_new(summary, "bpb", json_real(bpb / n_headline));
    json_object_set_new(summary, "bpc", json_real(bpc / n_headline));
    if (spec->n_used > 0) json_object_set_new(summary, "router", make_router(spec, true));
}

static void append_row(iso_str *out, json_t *row) {
    char *line = iso_json_line(row);
    iso_str_append(out, line);
    iso_str_append(out, "\n");
    free(line);
    json_decref(row);
}

static void append_step(iso_str *out, const made_run *spec, int64_t step, int64_t n_steps) {
    double progress = (double)step / (double)n_steps;
    double excess = 3.0 * exp(-(double)step / 15.0) + 0.55 * pow(1.0 - 0.97 * progress, 1.4);
    double noise = 0.03 * iso_rng_normal((uint64_t)spec->seed * SEED_STRIDE, ISO_RNG_TEST,
                                         name_lane(spec->name), (uint64_t)step);
    double loss = (spec->level - 0.5) * log(2.0) + excess + noise;
    json_t *row = json_pack("{s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:f}", "step", (json_int_t)step,
                            "tokens", (json_int_t)(step * BATCH_TOKENS), "epoch",
                            (json_int_t)(step * BATCH_TOKENS / unique_tokens(spec)), "loss", loss,
                            "grad_norm", 1.2, "lr", 0.002 * (1.0 - 0.9 * progress), "step_ms", 91.0,
                            "tokens_per_s", 90000.0, "mfu", 0.41);
    if (spec->n_used > 0) {
        json_object_set_new(row, "aux_loss", json_real(1.02));
        json_object_set_new(row, "load_imbalance",
                            json_real(1.3 + 2.0 * exp(-8.0 * progress) + 3.0 * fabs(noise)));
        json_object_set_new(row, "dead_experts", json_integer(0));
        json_object_set_new(row, "router_entropy", json_real(0.97));
    }
    append_row(out, row);
}

static void append_eval(iso_str *out, const made_run *spec, int64_t step, int64_t n_steps) {
    json_t *val = json_object();
    double progress = (double)step / (double)n_steps;
    for (int d = 0; d < MAKE_DOMAINS_MAX && domains_of(spec)[d]; d++) {
        double bpc = spec->level + 3.5 * exp(-(double)step / 15.0) + 0.8 * pow(1.0 - progress, 1.4);
        json_object_set_new(
            val, domains_of(spec)[d],
            json_pack("{s:f,s:f,s:f}", "loss", bpc * log(2.0), "bpb", bpc, "bpc", bpc));
    }
    json_t *row = json_pack("{s:I,s:o}", "step", (json_int_t)step, "val", val);
    if (step == n_steps) json_object_set_new(row, "final", json_true());
    append_row(out, row);
    if (spec->n_used > 0)
        append_row(out, json_pack("{s:I,s:o}", "step", (json_int_t)step, "router",
                                  make_router(spec, false)));
}

static void save_text(const char *folder, const char *name, const char *text) {
    char *path = iso_strf("%s/%s", folder, name);
    ISO_ASSERT(iso_file_write_atomic(path, text, (int64_t)strlen(text)) == ISO_OK);
    free(path);
}

static void save_json(const char *folder, const char *name, json_t *value) {
    char *path = iso_strf("%s/%s", folder, name);
    ISO_ASSERT(iso_json_save(value, path) == ISO_OK);
    json_decref(value);
    free(path);
}

#define ROUTED_TOKENS 2000 /* of each domain */
#define ROUTED_BLOCKS 8

/* One token's K experts: neighbours in a ring, the later domains nearer to its beginning. */
static void route_token(iso_route_counts *c, const made_run *spec, int64_t d, int64_t l,
                        int64_t t) {
    double draw =
        iso_rng_uniform((uint64_t)spec->seed, ISO_RNG_TEST, (uint64_t)(d * 7 + l), (uint64_t)t);
    int64_t first = (int64_t)(pow(draw, 1.0 + 0.5 * (double)d) * (double)c->E);
    int64_t place = d * c->n_layers + l, class = t % ISO_N_TOKEN_CLASSES;
    int64_t block = d * ROUTED_BLOCKS + t % ROUTED_BLOCKS;
    for (int64_t k = 0; k < c->K; k++) {
        int64_t e = (first + k) % c->E;
        c->load[(place * ISO_N_TOKEN_CLASSES + class) * c->E + e]++;
        c->block_load[(block * c->n_layers + l) * c->E + e]++;
        c->gate_sum[place * c->E + e] += 0.5 / (double)(k + 1);
        for (int64_t j = 0; j < k; j++) {
            int64_t other = (first + j) % c->E;
            c->pairs[place * c->n_pairs +
                     iso_route_pair(c->E, e < other ? e : other, e < other ? other : e)]++;
        }
    }
    c->entropy_sum[place] += 1.5;
    if (l == 0) c->tokens[d * ISO_N_TOKEN_CLASSES + class]++;
}

static void save_routing(const char *folder, const made_run *spec, int64_t step) {
    iso_route_counts counts,
        sizes = {.n_layers = N_LAYERS - 1, .E = n_experts(spec), .K = spec->n_used};
    while (sizes.n_domains < MAKE_DOMAINS_MAX && domains_of(spec)[sizes.n_domains])
        sizes.n_domains++;
    sizes.n_blocks = sizes.n_domains * ROUTED_BLOCKS;
    sizes.n_pairs = sizes.K > 1 ? sizes.E * (sizes.E - 1) / 2 : 0;
    ISO_ASSERT(iso_route_counts_create(&counts, &sizes) == ISO_OK);
    for (int64_t l = 0; l < sizes.n_layers; l++) counts.layers[l] = l + 1;
    for (int64_t b = 0; b < sizes.n_blocks; b++) counts.block_domain[b] = b / ROUTED_BLOCKS;
    for (int64_t d = 0; d < sizes.n_domains; d++) {
        counts.domains[d] = iso_strf("%s", domains_of(spec)[d]);
        for (int64_t l = 0; l < sizes.n_layers; l++)
            for (int64_t t = 0; t < ROUTED_TOKENS; t++) route_token(&counts, spec, d, l, t);
    }
    char *path = iso_strf("%s/" ISO_RUN_ROUTING, folder);
    ISO_ASSERT(iso_route_file_save(path, step, "5a5a5a5a5a5a5a5a", &counts) == ISO_OK);
    free(path);
    iso_route_counts_free(&counts);
}

char *make_run(const char *dir, const made_run *spec) {
    char *folder = iso_strf("%s/%s", dir, spec->name);
    ISO_ASSERT(iso_dir_create(folder) == ISO_OK);
    bool finished = !spec->state || strcmp(spec->state, "finished") == 0;
    iso_config config = make_config(spec);
    int64_t n_planned = config.train.steps, n_steps = finished ? n_planned : n_planned / 3;
    json_t *summary = make_summary(spec, &config, n_steps);
    if (finished) add_scores(summary, spec);
    save_json(folder, "summary.json", summary);
    if (finished && !spec->without_evaluation)
        save_json(folder, "evaluation.json", make_evaluation(spec));
    if (finished && !spec->without_evaluation && spec->n_used > 0)
        save_routing(folder, spec, n_steps);
    iso_str metrics = {0};
    for (int64_t step = 1; step <= n_steps && !spec->without_metrics; step++) {
        append_step(&metrics, spec, step, n_planned);
        if (step % (n_planned / 10 > 0 ? n_planned / 10 : 1) == 0 || step == n_planned)
            append_eval(&metrics, spec, step, n_planned);
    }
    save_text(folder, "metrics.jsonl", metrics.data ? metrics.data : "");
    iso_str_release(&metrics);
    char *path = iso_strf("%s/config.yaml", folder);
    ISO_ASSERT(iso_config_save(&config, path) == ISO_OK);
    free(path);
    return folder;
}
