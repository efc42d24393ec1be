/* Tests of runs/audit.h and runs/run_record.h on synthetic run folders: the ledgers are made from a
 * config by the same arithmetic that a run's is, then changed where a test wants a difference. */
#include "runs/audit.h"

#include "base/fileio.h"
#include "train/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- synthetic runs --- */

/* Dense, H 256, L 4, F 704: N = 3,211,264 by `paper`; an MoE below has exactly the same. */
static iso_config dense_config(void) {
    iso_config config = iso_config_default();
    config.model.vocab_size = 257;
    config.model.hidden_size = 256;
    config.model.num_hidden_layers = 4;
    config.model.num_attention_heads = 4;
    config.model.intermediate_size = 704;
    config.model.max_position_embeddings = 256;
    config.train.batch_size = 8;
    config.train.steps = 2000;
    config.train.lr = 1e-3;
    assert_int_equal(iso_config_resolve(&config, NULL), ISO_OK);
    return config;
}

static int64_t flops_per_token(const iso_config *config) {
    iso_counts counts;
    assert_int_equal(iso_count(&counts, &config->model, ISO_CONVENTION_PAPER), ISO_OK);
    return counts.train_flops_per_token;
}

/* The same N, and as many steps as make the same C to the nearest step. */
static iso_config moe_config(void) {
    iso_config dense = dense_config(), config = dense;
    config.model.layer_layout = ISO_LAYOUT_1DENSE;
    config.model.num_experts = 10;
    config.model.num_experts_per_tok = 1;
    config.model.moe_intermediate_size = 64;
    config.model.shared_expert_intermediate_size = 64;
    config.train.steps = (int64_t)((double)flops_per_token(&dense) * (double)dense.train.steps /
                                       (double)flops_per_token(&config) +
                                   0.5);
    return config;
}

static json_t *conventions_of(const iso_config *config) {
    json_t *conventions = json_object();
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) {
        iso_counts counts;
        assert_int_equal(iso_count(&counts, &config->model, (iso_convention)i), ISO_OK);
        json_object_set_new(conventions, iso_convention_name((iso_convention)i),
                            json_pack("{s:I, s:I, s:I}", "params_nonvocab",
                                      (json_int_t)counts.params_nonvocab, "params_active",
                                      (json_int_t)counts.params_active, "train_flops_per_token",
                                      (json_int_t)counts.train_flops_per_token));
    }
    return conventions;
}

/* The FLOPs of every component that any convention counts. */
static json_t *counted_of(const iso_config *config) {
    json_t *flops = json_object();
    for (int c = 0; c < ISO_N_COMPONENTS; c++) {
        iso_component component = (iso_component)c;
        static const iso_convention having[ISO_N_COMPONENTS] = {
            [ISO_COMPONENT_SOFTMAX] = ISO_CONVENTION_FULL,
            [ISO_COMPONENT_ROUTER] = ISO_CONVENTION_FULL,
            [ISO_COMPONENT_HEAD] = ISO_CONVENTION_WITH_HEAD,
        };
        iso_counts counts;
        assert_int_equal(iso_count(&counts, &config->model, having[c]), ISO_OK);
        __int128 total =
            (__int128)3 * counts.components[c].forward_flops * iso_config_tokens(config);
        json_object_set_new(flops, iso_component_name(component), iso_json_from_i128(total));
    }
    return flops;
}

static json_t *summary_of(const char *name, const iso_config *config) {
    int64_t tokens = iso_config_tokens(config);
    json_t *conventions = conventions_of(config);
    json_t *summary = json_pack(
        "{s:i, s:s, s:s, s:{s:s, s:s}, s:o, s:{s:o}, s:I, s:I, s:I, s:I, s:i, s:i, s:I, s:f, s:I, "
        "s:s, s:s, s:s, s:s, s:f, s:f}",
        "format", 1, "name", name, "state", "finished", "numeric_profile", "precision", "fp32",
        "isa", "avx512", "conventions", conventions, "counted", "model_flops", counted_of(config),
        "tokens", (json_int_t)tokens, "unique_tokens", (json_int_t)(tokens / 4), "steps",
        (json_int_t)config->train.steps, "planned_steps", (json_int_t)config->train.steps,
        "replayed_steps", 0, "skipped_steps", 0, "batch_tokens",
        (json_int_t)iso_config_batch_tokens(config), "lr", iso_config_peak_lr(config),
        "router_aux_group", (json_int_t)config->model.router_aux_group, "data_hash", "d0d0",
        "subset_hash", "5ub5e7", "tokenizer_hash", "70ce2", "validation_hash", "fa11d", "bpb", 2.5,
        "bpc", 2.5);
    assert_non_null(summary);
    iso_counts counts;
    assert_int_equal(iso_count(&counts, &config->model, ISO_CONVENTION_PAPER), ISO_OK);
    json_object_update(summary, json_object_get(conventions, "paper"));
    json_object_set_new(summary, "params_total", json_integer(counts.params_total));
    json_t *sections = iso_config_to_json(config);
    json_object_update(summary, sections);
    json_decref(sections);
    return summary;
}

/* A comparison under construction: runs with their summaries, not yet on disk. */
typedef struct bench {
    char *dir;
    int n_runs;
    json_t *summaries[4];
    iso_config configs[4];
    iso_run runs[4];
    int n_open;
    iso_audit *audit;
    iso_audit_options options;
} bench;

static json_t *add_run(bench *b, const char *name, iso_config config) {
    b->configs[b->n_runs] = config;
    return b->summaries[b->n_runs++] = summary_of(name, &config);
}

static void close_audit(bench *b) {
    iso_audit_free(b->audit);
    b->audit = NULL;
    while (b->n_open > 0) iso_run_close(&b->runs[--b->n_open]);
}

/* Writes the folders, opens them, audits. */
static iso_status audit(bench *b) {
    close_audit(b);
    for (int i = 0; i < b->n_runs; i++) {
        char *dir = iso_strf("%s/run%d", b->dir, i);
        char *config = iso_strf("%s/config.yaml", dir), *summary = iso_strf("%s/summary.json", dir);
        assert_int_equal(iso_dir_create(dir), ISO_OK);
        assert_int_equal(iso_config_save(&b->configs[i], config), ISO_OK);
        assert_int_equal(iso_json_save(b->summaries[i], summary), ISO_OK);
        iso_status status = iso_run_open(&b->runs[i], dir);
        free(summary);
        free(config);
        free(dir);
        if (status != ISO_OK) return status;
        b->n_open++;
    }
    return iso_audit_create(&b->audit, b->runs, b->n_runs, &b->options);
}

static int setup(void **state) {
    bench *b = calloc(1, sizeof *b);
    char template[] = "/tmp/isomoe_audit_XXXXXX";
    assert_non_null(mkdtemp(template));
    b->dir = iso_strf("%s", template);
    b->options = iso_audit_options_default();
    *state = b;
    return 0;
}

static int teardown(void **state) {
    bench *b = *state;
    close_audit(b);
    for (int i = 0; i < b->n_runs; i++) json_decref(b->summaries[i]);
    assert_int_equal(iso_dir_remove(b->dir), ISO_OK);
    free(b->dir);
    free(b);
    return 0;
}

static void assert_verdict(bench *b, iso_verdict expected) {
    if (audit(b) != ISO_OK) fail_msg("%s", iso_error_message());
    if (b->audit->verdict == expected) return;
    fail_msg("verdict %s, expected %s; problems: %s", iso_verdict_name(b->audit->verdict),
             iso_verdict_name(expected),
             b->audit->sides[1].record.problems.data ? b->audit->sides[1].record.problems.data
                                                     : "none");
}

/* Exactly these quantities of side 1 are not met. */
static void assert_unmet(const bench *b, unsigned expected) {
    unsigned unmet = 0;
    for (int i = 0; i < ISO_N_QUANTITIES; i++)
        if (!b->audit->sides[1].checks[i].is_met) unmet |= 1u << i;
    assert_int_equal(unmet, expected);
}
#define UNMET(quantity) (1u << ISO_QUANTITY_##quantity)
#define REUSE           (UNMET(HALF) | UNMET(ONE_EPOCH)) /* four epochs are neither */

static void set_int(json_t *object, const char *key, int64_t value) {
    json_object_set_new(object, key, json_integer(value));
}
static void set_str(json_t *object, const char *key, const char *value) {
    json_object_set_new(object, key, json_string(value));
}

/* --- verdicts --- */

static void test_strict(void **state) {
    bench *b = *state;
    iso_config second_seed = moe_config();
    second_seed.train.seed = 2;
    add_run(b, "moe", moe_config());
    add_run(b, "dense", dense_config());
    add_run(b, "moe-2", second_seed);
    assert_verdict(b, ISO_VERDICT_STRICT);
    assert_int_equal(b->audit->i_reference, 1); /* the first dense one */
    for (int i = 0; i < 3; i++) assert_int_equal(b->audit->sides[i].record.problems.len, 0);
    for (int i = 0; i < 3; i++) assert_int_equal(b->audit->sides[i].verdict, ISO_VERDICT_STRICT);
}

static void test_reference_without_dense(void **state) {
    bench *b = *state;
    add_run(b, "a", moe_config());
    add_run(b, "b", moe_config());
    assert_verdict(b, ISO_VERDICT_STRICT);
    assert_int_equal(b->audit->i_reference, 0);
    iso_audit *alone;
    assert_int_equal(iso_audit_create(&alone, b->runs, 1, &b->options), ISO_ERR_USAGE);
    assert_null(alone);
}

static void test_params(void **state) {
    bench *b = *state;
    iso_config wider = dense_config();
    add_run(b, "dense", dense_config());
    add_run(b, "wider", wider);
    const struct {
        int64_t F, steps;
        iso_verdict expected;
    } cases[] = {
        {707, 1995, ISO_VERDICT_STRICT},    /* N + 0.29 % */
        {714, 1982, ISO_VERDICT_NOT_EQUAL}, /* N + 0.96 % */
        {694, 2018, ISO_VERDICT_NOT_EQUAL}, /* N - 0.96 % */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b->configs[1].model.intermediate_size = cases[i].F;
        b->configs[1].train.steps = cases[i].steps; /* C stays */
        json_decref(b->summaries[1]);
        b->summaries[1] = summary_of("wider", &b->configs[1]);
        assert_verdict(b, cases[i].expected);
        assert_unmet(b, REUSE | (cases[i].expected == ISO_VERDICT_STRICT ? 0 : UNMET(PARAMS)));
    }
    b->options.params_tolerance_frac = 0.01;
    assert_verdict(b, ISO_VERDICT_STRICT);
    b->options.params_tolerance_frac = 0;
    assert_verdict(b, ISO_VERDICT_NOT_EQUAL);
}

static void test_compute(void **state) {
    bench *b = *state;
    add_run(b, "dense", dense_config());
    add_run(b, "longer", dense_config());
    const struct {
        int64_t steps;
        iso_verdict expected;
    } cases[] = {{2000, ISO_VERDICT_STRICT},    {2010, ISO_VERDICT_STRICT}, /* exactly 0.5 % */
                 {2011, ISO_VERDICT_NOT_EQUAL}, {1990, ISO_VERDICT_STRICT},
                 {1989, ISO_VERDICT_NOT_EQUAL}, {2200, ISO_VERDICT_NOT_EQUAL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b->configs[1].train.steps = cases[i].steps;
        json_decref(b->summaries[1]);
        b->summaries[1] = summary_of("longer", &b->configs[1]);
        assert_verdict(b, cases[i].expected);
        assert_unmet(b, REUSE | (cases[i].expected == ISO_VERDICT_STRICT ? 0 : UNMET(COMPUTE)));
    }
}

/* Short runs cannot be closer than a step. */
static void test_one_step_is_tolerated(void **state) {
    bench *b = *state;
    iso_config short_run = dense_config();
    short_run.train.steps = 50;
    short_run.train.warmup_steps = 5;
    add_run(b, "dense", short_run);
    for (int more = 1; more <= 2; more++) {
        b->n_runs = 1;
        short_run.train.steps = 50 + more;
        add_run(b, "longer", short_run);
        assert_verdict(b, more == 1 ? ISO_VERDICT_STRICT : ISO_VERDICT_NOT_EQUAL);
        if (more == 1) json_decref(b->summaries[1]);
    }
}

static void test_shared_conditions(void **state) {
    bench *b = *state;
    static const struct {
        const char *key;
        iso_quantity quantity;
        iso_verdict expected;
    } cases[] = {
        {"subset_hash", ISO_QUANTITY_SUBSET, ISO_VERDICT_NOT_EQUAL},
        {"tokenizer_hash", ISO_QUANTITY_TOKENIZER, ISO_VERDICT_NOT_EQUAL},
        {"validation_hash", ISO_QUANTITY_VALIDATION, ISO_VERDICT_NOT_EQUAL},
        {"data_hash", ISO_QUANTITY_CORPUS, ISO_VERDICT_STRICT}, /* strict goes by the subset */
    };
    add_run(b, "dense", dense_config());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b->n_runs = 1;
        json_t *summary = add_run(b, "moe", moe_config());
        set_str(summary, cases[i].key, "0ther");
        assert_verdict(b, cases[i].expected);
        assert_unmet(b, REUSE | 1u << cases[i].quantity);
        json_decref(summary);
    }
    b->n_runs = 1;
    json_t *summary = add_run(b, "moe", moe_config());
    set_str(json_object_get(summary, "numeric_profile"), "precision", "bf16");
    assert_verdict(b, ISO_VERDICT_NOT_EQUAL);
    assert_unmet(b, REUSE | UNMET(PROFILE));
    json_decref(summary);

    b->n_runs = 1;
    iso_config other_group = moe_config();
    other_group.model.router_aux_group = 4;
    add_run(b, "moe", other_group);
    assert_verdict(b, ISO_VERDICT_NOT_EQUAL);
    assert_unmet(b, REUSE | UNMET(GROUP));
}

/* Of the second run: the kind of equality it aims at, and what alone speaks against it. */
static void assert_objections(const bench *b, iso_verdict aim, unsigned expected) {
    const iso_audit_side *side = &b->audit->sides[1];
    unsigned objections = 0;
    for (int q = 0; q < ISO_N_QUANTITIES; q++)
        if (iso_audit_is_objection(side, (iso_quantity)q)) objections |= 1u << q;
    assert_int_equal(side->aim, aim);
    assert_int_equal(objections, expected);
}

static void test_loose_and_unique_data(void **state) {
    bench *b = *state;
    json_t *dense = add_run(b, "dense", dense_config()), *moe = add_run(b, "moe", moe_config());
    int64_t D_dense = iso_config_tokens(&b->configs[0]), D_moe = iso_config_tokens(&b->configs[1]);
    set_str(moe, "subset_hash", "0ther");
    set_int(dense, "unique_tokens", D_dense / 2);
    set_int(moe, "unique_tokens", D_moe / 2);
    assert_verdict(b, ISO_VERDICT_LOOSE);
    assert_objections(b, ISO_VERDICT_LOOSE, 0); /* another subset is no fault here */
    set_int(moe, "unique_tokens", D_moe / 2 - D_moe / 100);
    assert_verdict(b, ISO_VERDICT_NOT_EQUAL);
    assert_objections(b, ISO_VERDICT_STRICT, UNMET(SUBSET));
    set_int(moe, "unique_tokens", D_moe);
    assert_verdict(b, ISO_VERDICT_NOT_EQUAL); /* one loose, one unique: no common kind */
    assert_objections(b, ISO_VERDICT_UNIQUE_DATA, UNMET(ONE_EPOCH));
    set_int(moe, "unique_tokens", D_moe / 2);
    set_int(dense, "unique_tokens", D_dense);
    assert_verdict(b, ISO_VERDICT_NOT_EQUAL); /* and the other way round */
    assert_objections(b, ISO_VERDICT_LOOSE, UNMET(HALF));
    set_int(moe, "unique_tokens", D_moe);
    assert_verdict(b, ISO_VERDICT_UNIQUE_DATA);
    assert_objections(b, ISO_VERDICT_UNIQUE_DATA, 0);
    set_str(moe, "data_hash", "0ther");
    assert_verdict(b, ISO_VERDICT_NOT_EQUAL);
    assert_objections(b, ISO_VERDICT_UNIQUE_DATA, UNMET(CORPUS));
    set_str(moe, "data_hash", "d0d0");
    set_str(moe, "subset_hash", "5ub5e7");
    assert_verdict(b, ISO_VERDICT_STRICT); /* the strictest that holds */
}

/* The paper's own scale: C = 8.4e20 is beyond 64 bits. 2B dense against 2B MoE at 20 %. */
static void test_paper_scale(void **state) {
    bench *b = *state;
    iso_config dense = iso_config_default();
    dense.model.vocab_size = 65536;
    dense.model.hidden_size = 2176;
    dense.model.num_hidden_layers = 28;
    dense.model.num_attention_heads = 17;
    dense.model.intermediate_size = 8848;
    dense.model.max_position_embeddings = 2048;
    dense.train.batch_size = 320;
    dense.train.steps = 99182;
    dense.train.lr = 7e-4;
    assert_int_equal(iso_config_resolve(&dense, NULL), ISO_OK);
    iso_config moe = dense;
    moe.model.hidden_size = 1408;
    moe.model.num_hidden_layers = 16;
    moe.model.num_attention_heads = 11;
    moe.model.intermediate_size = 3904;
    moe.model.layer_layout = ISO_LAYOUT_1DENSE;
    moe.model.num_experts = 88;
    moe.model.num_experts_per_tok = 2;
    moe.model.moe_intermediate_size = 352;
    moe.model.shared_expert_intermediate_size = 704;
    moe.train.steps = (int64_t)((double)flops_per_token(&dense) * (double)dense.train.steps /
                                    (double)flops_per_token(&moe) +
                                0.5);
    add_run(b, "dense", dense);
    add_run(b, "moe", moe);
    assert_verdict(b, ISO_VERDICT_STRICT);
    double C = (double)iso_record_compute(&b->audit->sides[0].record, ISO_CONVENTION_PAPER);
    assert_true(C > 9.2e18 && C > (double)INT64_MAX);
    assert_true(b->audit->sides[1].compute_diff_frac[0] < 1e-4);
    json_t *object = iso_audit_to_json(b->audit);
    const json_t *run = json_array_get(json_object_get(object, "runs"), 0);
    const json_t *paper = json_object_get(json_object_get(run, "conventions"), "paper");
    assert_true(json_is_string(json_object_get(paper, "train_flops_exact")));
    json_decref(object);

    /* 2 % more steps, chosen so that the two C differ by 2^64 to within a step: the same in 64 bits
     */
    unsigned __int128 step = (unsigned __int128)flops_per_token(&dense) *
                             (unsigned __int128)iso_config_batch_tokens(&dense);
    dense.train.steps += (int64_t)((((unsigned __int128)1 << 64) + step / 2) / step);
    add_run(b, "longer", dense);
    assert_verdict(b, ISO_VERDICT_NOT_EQUAL);
    assert_false(b->audit->sides[2].checks[ISO_QUANTITY_COMPUTE].is_met);
}

static void test_notes(void **state) {
    bench *b = *state;
    add_run(b, "dense", dense_config());
    iso_config moe = moe_config();
    moe.train.lr_multiplier = 4;
    json_t *summary = add_run(b, "moe", moe);
    set_int(summary, "replayed_steps", 7);
    assert_verdict(b, ISO_VERDICT_STRICT);
    assert_non_null(strstr(b->audit->notes.data, "moe has 0.78 of Step Law's learning rate"));
    assert_non_null(strstr(b->audit->notes.data, "7 steps twice"));
    for (int i = 0; i < ISO_N_CONVENTIONS; i++) {
        char *named = iso_strf("by `%s` it would be", iso_convention_name((iso_convention)i));
        bool depends = b->audit->by_convention[i] != b->audit->verdict;
        assert_int_equal(strstr(b->audit->notes.data, named) != NULL, depends);
        free(named);
    }
    /* by `full` the router counts, 0.24 % of N here: a tighter tolerance tells them apart */
    assert_true(b->audit->sides[1].params_diff_frac[ISO_CONVENTION_FULL] > 0.002);
    assert_true(b->audit->sides[1].params_diff_frac[ISO_CONVENTION_PAPER] == 0);
    b->options.params_tolerance_frac = 0.001;
    assert_verdict(b, ISO_VERDICT_STRICT);
    assert_int_equal(b->audit->by_convention[ISO_CONVENTION_FULL], ISO_VERDICT_NOT_EQUAL);
    assert_non_null(strstr(b->audit->notes.data, "by `full` it would be not equal"));
    json_t *object = iso_audit_to_json(b->audit);
    assert_string_equal(json_string_value(json_object_get(object, "verdict")), "strict");
    assert_true(json_array_size(json_object_get(object, "notes")) >= 3);
    json_decref(object);
    /* several runs share a line, with what they range over */
    add_run(b, "again", moe);
    assert_verdict(b, ISO_VERDICT_STRICT);
    assert_non_null(strstr(b->audit->notes.data, "\n2 runs have 0.78 of Step Law's learning rate"));
    moe.train.lr_multiplier = 2;
    add_run(b, "slower", moe);
    assert_verdict(b, ISO_VERDICT_STRICT);
    const char *notes = b->audit->notes.data;
    assert_non_null(strstr(notes, "3 runs have 0.39 to 0.78 of Step Law's learning rate"));
    assert_null(strstr(notes, "moe has"));
}

/* --- unsound runs --- */

static void test_unfinished(void **state) {
    bench *b = *state;
    add_run(b, "dense", dense_config());
    static const char *const states[] = {"running", "preempted", "failed"};
    for (int i = 0; i < 5; i++) {
        b->n_runs = 1;
        json_t *summary = add_run(b, "moe", moe_config());
        if (i < 3) set_str(summary, "state", states[i]);
        if (i == 3) set_int(summary, "skipped_steps", 1);
        if (i == 4) json_object_del(summary, "bpc");
        assert_verdict(b, ISO_VERDICT_NOT_EQUAL);
        assert_unmet(b, REUSE | UNMET(SOUND));
        json_decref(summary);
    }
    b->n_runs = 1;
}

/* Each number alone, changed by one, is seen: the rest of the ledger contradicts it. */
static void test_inconsistent(void **state) {
    bench *b = *state;
    static const char *const keys[] = {
        "params_total", "params_nonvocab", "params_active", "train_flops_per_token", "tokens",
        "steps",        "planned_steps",   "batch_tokens",  "router_aux_group"};
    enum { N_KEYS = sizeof keys / sizeof *keys };
    add_run(b, "dense", dense_config());
    for (int i = 0; i < N_KEYS + ISO_N_COMPONENTS + 3 * ISO_N_CONVENTIONS + 2; i++) {
        b->n_runs = 1;
        json_t *summary = add_run(b, "moe", moe_config());
        int j = i - N_KEYS, k = j - ISO_N_COMPONENTS, l = k - 3 * ISO_N_CONVENTIONS;
        const char *key =
            i < N_KEYS ? keys[i] : iso_component_name((iso_component)(j % ISO_N_COMPONENTS));
        json_t *object = summary;
        if (i >= N_KEYS)
            object = json_object_get(json_object_get(summary, "counted"), "model_flops");
        if (k >= 0) {
            object =
                json_object_get(json_object_get(summary, "conventions"),
                                iso_convention_name((iso_convention)(k / 3 % ISO_N_CONVENTIONS)));
            key = keys[1 + k % 3];
        }
        if (l == 0) {
            object = json_object_get(summary, "train");
            key = "seed"; /* config.yaml says otherwise */
        }
        if (l == 1) {
            object = json_object_get(summary, "model");
            key = "intermediate_size";
        }
        set_int(object, key, json_integer_value(json_object_get(object, key)) + 1);
        if (audit(b) != ISO_OK) fail_msg("%s: %s", key, iso_error_message());
        if (b->audit->sides[1].record.problems.len == 0 ||
            b->audit->verdict != ISO_VERDICT_NOT_EQUAL)
            fail_msg("%s + 1 went unseen (case %d)", key, i);
        json_decref(summary);
    }
    b->n_runs = 1;
}

static void test_config_file_is_needed(void **state) {
    bench *b = *state;
    add_run(b, "dense", dense_config());
    add_run(b, "moe", moe_config());
    assert_verdict(b, ISO_VERDICT_STRICT);
    char *path = iso_strf("%s/run1/config.yaml", b->dir);
    assert_int_equal(iso_dir_remove(path), ISO_OK);
    free(path);
    iso_audit_free(b->audit);
    assert_int_equal(iso_audit_create(&b->audit, b->runs, 2, &b->options), ISO_OK);
    assert_int_equal(b->audit->verdict, ISO_VERDICT_NOT_EQUAL);
}

static void test_metrics_must_agree(void **state) {
    bench *b = *state;
    add_run(b, "dense", dense_config());
    add_run(b, "moe", moe_config());
    assert_verdict(b, ISO_VERDICT_STRICT);
    iso_step_row row = {.step = b->configs[1].train.steps,
                        .tokens = iso_config_tokens(&b->configs[1])};
    iso_record record;
    iso_run run = b->runs[1];
    run.steps = &row;
    run.n_steps = 1;
    assert_int_equal(iso_record_read(&record, &run), ISO_OK);
    assert_int_equal(record.problems.len, 0);
    iso_record_release(&record);
    row.step--;
    assert_int_equal(iso_record_read(&record, &run), ISO_OK);
    assert_true(record.problems.len > 0);
    iso_record_release(&record);
}

/* --- tampered ledgers: wrong form is an error, not a verdict --- */

static void test_tampered(void **state) {
    bench *b = *state;
    static const char *const keys[] = {"format",
                                       "state",
                                       "numeric_profile",
                                       "model",
                                       "data",
                                       "train",
                                       "params_total",
                                       "params_nonvocab",
                                       "params_active",
                                       "tokens",
                                       "unique_tokens",
                                       "steps",
                                       "planned_steps",
                                       "batch_tokens",
                                       "replayed_steps",
                                       "skipped_steps",
                                       "lr",
                                       "counted",
                                       "conventions",
                                       "router_aux_group",
                                       "data_hash",
                                       "subset_hash",
                                       "tokenizer_hash",
                                       "validation_hash",
                                       "train_flops_per_token"};
    add_run(b, "dense", dense_config());
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        for (int how = 0; how < 6; how++) {
            b->n_runs = 1;
            json_t *summary = add_run(b, "moe", moe_config());
            switch (how) {
            case 0:
                json_object_del(summary, keys[i]);
                break;
            case 1:
                set_int(summary, keys[i], -1);
                break;
            case 2:
                json_object_set_new(summary, keys[i], json_array());
                break;
            case 3:
                json_object_set_new(summary, keys[i], json_null());
                break;
            case 4:
                set_str(summary, keys[i], "a b\n");
                break;
            case 5:
                json_object_set_new(summary, keys[i], json_true());
                break;
            }
            iso_status status = audit(b);
            bool is_refused = status == ISO_ERR_DATA ||
                              (status == ISO_ERR_UNSUPPORTED && strcmp(keys[i], "format") == 0);
            if (!is_refused) fail_msg("%s, way %d: status %d", keys[i], how, status);
            assert_non_null(strstr(iso_error_message(), "summary.json"));
            json_decref(summary);
        }
    }
    b->n_runs = 1;
}

static void test_tampered_deeper(void **state) {
    bench *b = *state;
    add_run(b, "dense", dense_config());
    for (int how = 0; how < 9; how++) {
        b->n_runs = 1;
        json_t *summary = add_run(b, "moe", moe_config());
        json_t *model = json_object_get(summary, "model");
        json_t *conventions = json_object_get(summary, "conventions");
        json_t *flops = json_object_get(json_object_get(summary, "counted"), "model_flops");
        switch (how) {
        case 0:
            set_int(model, "num_attention_heads", 5);
            break; /* does not divide H */
        case 1:
            set_int(model, "hidden_size", -4);
            break;
        case 2:
            set_str(model, "layer_layout", "sandwich");
            break;
        case 3:
            set_str(model, "position", "alibi\ntrain: {steps: 1}");
            break;
        case 4:
            set_int(model, "unknown_key", 1);
            break;
        case 5:
            json_object_del(conventions, "causal");
            break;
        case 6:
            set_int(json_object_get(conventions, "full"), "params_active", 0);
            break;
        case 7:
            set_str(flops, "attention", "12e3");
            break;
        case 8:
            set_int(flops, "router", -1);
            break;
        }
        iso_status status = audit(b);
        if (status != ISO_ERR_DATA) fail_msg("way %d: status %d", how, status);
        json_decref(summary);
    }
    b->n_runs = 1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_strict),
        TEST(test_reference_without_dense),
        TEST(test_params),
        TEST(test_compute),
        TEST(test_one_step_is_tolerated),
        TEST(test_shared_conditions),
        TEST(test_loose_and_unique_data),
        TEST(test_paper_scale),
        TEST(test_notes),
        TEST(test_unfinished),
        TEST(test_inconsistent),
        TEST(test_config_file_is_needed),
        TEST(test_metrics_must_agree),
        TEST(test_tampered),
        TEST(test_tampered_deeper),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
