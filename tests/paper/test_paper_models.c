/* paper/paper_models.h: every config that the program writes is one that it can train, and counts
 * to what its rows do. */
#include "paper/paper_comparisons.h"
#include "paper/paper_models.h"
#include "paper/recount.h"

#include "base/csv.h"
#include "train/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct bench {
    iso_paper *paper;
    iso_paper_models *models;
} bench;

static int setup(void **state) {
    static bench b;
    *state = &b;
    if (iso_paper_create(&b.paper) != ISO_OK) return -1;
    return iso_paper_models_create(&b.models, b.paper) == ISO_OK ? 0 : -1;
}

static int teardown(void **state) {
    bench *b = *state;
    iso_paper_models_free(b->models);
    iso_paper_free(b->paper);
    return 0;
}

static void every_row_has_one_model(void **state) {
    bench *b = *state;
    int64_t n_rows = 0;
    for (int64_t i = 0; i < b->models->n; i++) {
        n_rows += b->models->items[i].n_rows;
        for (int64_t j = 0; j < i; j++)
            assert_string_not_equal(b->models->items[i].name, b->models->items[j].name);
    }
    assert_int_equal(n_rows, b->paper->n_rows);
    assert_int_equal(b->models->n, 70);
}

static const iso_paper_model *find(const bench *b, const char *name) {
    for (int64_t i = 0; i < b->models->n; i++)
        if (strcmp(b->models->items[i].name, name) == 0) return &b->models->items[i];
    fail_msg("no model %s", name);
    return NULL;
}

static void names(void **state) {
    const bench *b = *state;
    assert_int_equal(find(b, "2b-moe-k7-e92")->main_run->table, 10);
    assert_int_equal(find(b, "2b-moe-k6-e84")->main_run->table, 10); /* not the first, in 9 */
    assert_int_equal(find(b, "7b-moe-k6-e78")->n_rows, 4);
    assert_int_equal(find(b, "7b-moe-k6-e78")->main_run->table, 12);
    assert_int_equal(find(b, "3b-dense")->main_run->row, 3);
    assert_null(find(b, "2b-moe-k4-e70-d64-interleave-noshared-norm-s16384")->main_run);
    assert_null(find(b, "2b-moe-k2-e35-d64-full-norm")->main_run);
}

static iso_config config_of(const iso_paper_model *model) {
    iso_str text = {0};
    iso_config config;
    iso_paper_model_to_yaml(&text, model);
    if (iso_config_parse(&config, text.data, (int64_t)text.len, model->name, NULL, 0) != ISO_OK ||
        iso_config_resolve(&config, NULL) != ISO_OK)
        fail_msg("%s", iso_error_message());
    iso_str_release(&text);
    return config;
}

static void configs_are_the_rows(void **state) {
    const bench *b = *state;
    for (int64_t i = 0; i < b->models->n; i++) {
        const iso_paper_model *model = &b->models->items[i];
        iso_config config = config_of(model);
        iso_counts counts, expected;
        assert_int_equal(iso_count(&counts, &config.model, ISO_CONVENTION_FULL), ISO_OK);
        assert_int_equal(iso_count(&expected, &model->rows[0]->shape, ISO_CONVENTION_FULL), ISO_OK);
        assert_int_equal(counts.params_total, expected.params_total);
        assert_int_equal(counts.params_active, expected.params_active);
        assert_int_equal(counts.train_flops_per_token, expected.train_flops_per_token);
        assert_int_equal(config.train.micro_batch_size, 8); /* not the batch in one piece */
        assert_int_equal(config.model.norm_topk_prob, model->rows[0]->shape.norm_topk_prob);
        const iso_paper_row *run = model->main_run;
        if (!run) {
            assert_true((double)iso_config_tokens(&config) > 19.9 * (double)counts.params_nonvocab);
            continue;
        }
        iso_paper_recounted counted;
        iso_paper_recount(&counted, run);
        assert_int_equal(iso_config_tokens(&config), counted.tokens);
        assert_int_equal(config.train.steps, run->iterations);
        assert_int_equal(config.train.batch_size, run->batch_sequences);
        assert_true(iso_config_peak_lr(&config) == run->lr.value);
        int64_t unique = config.data.unique_tokens;
        assert_int_equal(unique == ISO_UNIQUE_TOKENS_ALL ? counted.tokens : unique,
                         counted.unique_tokens);
    }
}

static void comparisons(void **state) {
    const bench *b = *state;
    iso_str text = {0};
    iso_csv *csv;
    iso_paper_comparisons_to_csv(&text, b->paper);
    assert_int_equal(iso_csv_parse(&csv, text.data, (int64_t)text.len, "runs.csv"), ISO_OK);
    assert_int_equal(csv->n_rows, 1 + 6 + 12 + 9 + 9 + 8 + 6 + 6);
    for (int64_t i = 1; i < csv->n_rows; i++)
        assert_int_equal(csv->rows[i].n_cells, csv->rows[0].n_cells);
    iso_csv_free(csv);
    iso_str_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_one_model),
        cmocka_unit_test(names),
        cmocka_unit_test(configs_are_the_rows),
        cmocka_unit_test(comparisons),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
