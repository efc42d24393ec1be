/* Tests of runs/run_table.h and of the audit of its rows: what a table says is held to the rules of
 * run folders, what it leaves out is neither met nor assumed. */
#include "runs/audit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHAPE_HEADER                                                                               \
    "name,layer_layout,vocab_size,hidden_size,num_hidden_layers,num_attention_heads,"              \
    "intermediate_size,max_position_embeddings,num_experts,num_experts_per_tok,"                   \
    "moe_intermediate_size,shared_expert_intermediate_size,tokens,unique_tokens,batch_tokens,lr,"  \
    "bpc"

/* The paper's 2B pair, with the tokens that make C equal. */
#define DENSE_ROW "dense,dense,65536,2176,28,17,8848,2048,,,,,64999915520,3e10,655360,8.44e-4,0.49"
#define MOE_ROW                                                                                    \
    "moe,1dense,65536,1408,16,11,3904,2048,92,7,320,2240,299900000000,3e10,2555904,2.7e-3,0.48"

static iso_run_table *parse(const char *text) {
    iso_run_table *table;
    if (iso_run_table_parse(&table, text, (int64_t)strlen(text), "t.csv") != ISO_OK)
        fail_msg("%s", iso_error_message());
    return table;
}

static iso_audit *audit_group(const iso_run_table *table, int64_t i_group) {
    iso_audit_options options = iso_audit_options_default();
    iso_audit *audit;
    assert_int_equal(iso_audit_create_table(&audit, table, i_group, &options), ISO_OK);
    return audit;
}

static iso_verdict verdict_of(const char *text) {
    iso_run_table *table = parse(text);
    iso_audit *audit = audit_group(table, 0);
    iso_verdict verdict = audit->verdict;
    iso_audit_free(audit);
    iso_run_table_free(table);
    return verdict;
}

#define BIT(quantity) (1u << ISO_QUANTITY_##quantity)

static void shapes(void **state) {
    iso_run_table *table = parse(SHAPE_HEADER "\n" MOE_ROW "\n" DENSE_ROW "\n");
    assert_int_equal(table->n_groups, 1);
    const iso_record *moe = &table->records[0], *dense = &table->records[1];
    assert_int_equal(moe->counts[ISO_CONVENTION_PAPER].params_nonvocab, 2150612992);
    assert_int_equal(moe->counts[ISO_CONVENTION_FULL].train_flops_per_token, 3131876352);
    assert_int_equal(dense->counts[ISO_CONVENTION_PAPER].train_flops_per_token, 14382907392);
    assert_float_equal(dense->lr_over_steplaw, 0.9995, 1e-4);
    assert_int_equal(moe->steps, 299900000000 / 2555904);
    iso_audit *audit = audit_group(table, 0);
    assert_int_equal(audit->i_reference, 1); /* the dense one, wherever it stands */
    assert_int_equal(audit->verdict, ISO_VERDICT_STRICT);
    assert_int_equal(audit->unshown, BIT(SOUND) | BIT(TOKENIZER) | BIT(VALIDATION) | BIT(GROUP) |
                                         BIT(PROFILE) | BIT(SUBSET));
    assert_true(audit->is_counted);
    json_t *object = iso_audit_to_json(audit);
    assert_int_equal(json_array_size(json_object_get(object, "not_shown")), 6);
    assert_true(json_is_null(
        json_object_get(json_array_get(json_object_get(object, "runs"), 0), "data_hash")));
    json_decref(object);
    iso_audit_free(audit);
    iso_run_table_free(table);
}

/* N and M as numbers, in people's units; C may come as a whole. */
static void numbers(void **state) {
    iso_run_table *table =
        parse("name,params,params_active,train_flops_per_token,train_flops,tokens,unique_tokens\n"
              "dense,2.15B,2.15B,1.44e10,,65B,65B\nmoe,2.15B,429M,,9.36e20,299B,299B\n");
    const iso_record *moe = &table->records[1];
    assert_true(table->records[0].is_dense && !moe->is_dense);
    assert_int_equal(moe->counts[ISO_CONVENTION_FULL].params_nonvocab, 2150000000);
    assert_int_equal(moe->counts[0].train_flops_per_token, llround(9.36e20 / 299e9));
    assert_true(isnan(moe->lr_over_steplaw) && isnan(moe->bpc));
    iso_audit *audit = audit_group(table, 0);
    assert_int_equal(audit->verdict, ISO_VERDICT_UNIQUE_DATA);
    assert_true(audit->unshown & BIT(CORPUS));
    assert_false(audit->is_counted);
    assert_non_null(strstr(audit->notes.data, "not shown"));
    iso_audit_free(audit);
    iso_run_table_free(table);
}

#define PLAIN(rest) "name,params,train_flops_per_token,tokens,unique_tokens," rest "\n"

static void verdicts(void **state) {
    static const struct {
        const char *text;
        iso_verdict verdict;
    } cases[] = {
        /* other sizes of the subset speak against strict, at two epochs for loose */
        {PLAIN("bpc") "a,1e9,6e9,20e9,20e9,1\nb,1e9,3e9,40e9,20e9,1\n", ISO_VERDICT_STRICT},
        {PLAIN("bpc") "a,1e9,6e9,20e9,10e9,1\nb,1e9,3e9,40e9,20e9,1\n", ISO_VERDICT_LOOSE},
        {PLAIN("bpc") "a,1e9,6e9,20e9,20e9,1\nb,1e9,3e9,40e9,40e9,1\n", ISO_VERDICT_UNIQUE_DATA},
        {PLAIN("bpc") "a,1e9,6e9,20e9,20e9,1\nb,1e9,3e9,40e9,30e9,1\n", ISO_VERDICT_NOT_EQUAL},
        /* N by 0.6 %, C by 0.6 % */
        {PLAIN("bpc") "a,1e9,6e9,20e9,20e9,1\nb,1.006e9,3e9,40e9,20e9,1\n", ISO_VERDICT_NOT_EQUAL},
        {PLAIN("bpc") "a,1e9,6e9,20e9,20e9,1\nb,1e9,3e9,40.24e9,20e9,1\n", ISO_VERDICT_NOT_EQUAL},
        /* ... which is less than one step of 0.5e9 tokens */
        {PLAIN("batch_tokens") "a,1e9,6e9,20e9,20e9,5e8\nb,1e9,3e9,40.24e9,20e9,5e8\n",
         ISO_VERDICT_STRICT},
        /* hashes: one known and one not leaves it open; two that differ do not */
        {PLAIN("tokenizer_hash") "a,1e9,6e9,20e9,20e9,ab\nb,1e9,3e9,40e9,20e9,\n",
         ISO_VERDICT_STRICT},
        {PLAIN("tokenizer_hash") "a,1e9,6e9,20e9,20e9,ab\nb,1e9,3e9,40e9,20e9,cd\n",
         ISO_VERDICT_NOT_EQUAL},
        {PLAIN("subset_hash") "a,1e9,6e9,20e9,20e9,ab\nb,1e9,3e9,40e9,20e9,cd\n",
         ISO_VERDICT_NOT_EQUAL},
        {PLAIN("data_hash") "a,1e9,6e9,20e9,20e9,ab\nb,1e9,3e9,40e9,40e9,cd\n",
         ISO_VERDICT_NOT_EQUAL},
        {PLAIN("numeric_profile") "a,1e9,6e9,20e9,20e9,bf16\nb,1e9,3e9,40e9,20e9,fp32\n",
         ISO_VERDICT_NOT_EQUAL},
        {PLAIN("router_aux_group") "a,1e9,6e9,20e9,20e9,8\nb,1e9,3e9,40e9,20e9,4\n",
         ISO_VERDICT_NOT_EQUAL},
        {PLAIN("validation_hash") "a,1e9,6e9,20e9,20e9,x\nb,1e9,3e9,40e9,20e9,y\n",
         ISO_VERDICT_NOT_EQUAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (verdict_of(cases[i].text) != cases[i].verdict)
            fail_msg("case %d: %s", (int)i, iso_verdict_name(verdict_of(cases[i].text)));
}

/* With every hash given nothing but the soundness of the runs stays open. */
static void all_shown(void **state) {
    iso_run_table *table =
        parse("name,params,train_flops_per_token,tokens,unique_tokens,data_hash,subset_hash,"
              "tokenizer_hash,validation_hash,router_aux_group,numeric_profile\n"
              "a,1e9,6e9,20e9,20e9,d,s,t,v,8,bf16\nb,1e9,3e9,40e9,20e9,d,s,t,v,8,bf16\n");
    iso_audit *audit = audit_group(table, 0);
    assert_int_equal(audit->verdict, ISO_VERDICT_STRICT);
    assert_int_equal(audit->unshown, BIT(SOUND));
    iso_audit_free(audit);
    iso_run_table_free(table);
}

/* What a row says twice has to agree: a reported N against the shape's, C against M x D. */
static void contradictions(void **state) {
    static const char *const cases[][2] = {
        {"layer_layout,vocab_size,hidden_size,num_hidden_layers,num_attention_heads,"
         "intermediate_size,max_position_embeddings,params",
         "dense,65536,2176,28,17,8848,2048,2.02B"},
        {"layer_layout,vocab_size,hidden_size,num_hidden_layers,num_attention_heads,"
         "intermediate_size,max_position_embeddings,train_flops_per_token",
         "dense,65536,2176,28,17,8848,2048,4.8e9"}, /* the forward ones */
        {"params,train_flops_per_token,train_flops", "1e9,6e9,1.3e20"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = iso_strf("name,tokens,unique_tokens,%s\na,20e9,20e9,%s\nb,20e9,20e9,%s\n",
                              cases[i][0], cases[i][1], cases[i][1]);
        iso_run_table *table = parse(text);
        assert_non_null(table->records[0].problems.data);
        assert_non_null(strstr(table->records[0].problems.data, "inconsistent: "));
        assert_int_equal(verdict_of(text), ISO_VERDICT_NOT_EQUAL);
        iso_run_table_free(table);
        free(text);
    }
}

static void comparisons(void **state) {
    iso_run_table *table =
        parse("comparison,name,params,train_flops_per_token,tokens,unique_tokens\n"
              "x,a,1e9,6e9,20e9,20e9\ny,a,1e9,6e9,20e9,20e9\n"
              "x,b,1e9,6e9,20e9,20e9\ny,b,9e9,6e9,20e9,20e9\n");
    assert_int_equal(table->n_groups, 2);
    assert_string_equal(table->groups[1].name, "y");
    assert_string_equal(table->runs[table->groups[1].first].dir, "t.csv:3");
    iso_audit *x = audit_group(table, 0), *y = audit_group(table, 1);
    assert_int_equal(x->verdict, ISO_VERDICT_STRICT);
    assert_int_equal(y->verdict, ISO_VERDICT_NOT_EQUAL);
    iso_audit_free(x);
    iso_audit_free(y);
    iso_run_table_free(table);
}

static void all_faults_at_once(void **state) {
    static const char text[] = "name,parms,params,train_flops_per_token,tokens,unique_tokens,lr\n"
                               "a,,-1,6e9,20e9,20e9,0.1\n"
                               "a,,1e9,,20e9,,x\n"
                               "c,,1e9\n";
    static const char *const expected[] = {
        "t.csv:1: no column is called `parms`; did you mean params?",
        "t.csv:2: params `-1`: ",
        "t.csv:3: unique_tokens is missing",
        "t.csv:3: give train_flops_per_token or train_flops",
        "t.csv:3: lr `x`: give a positive number",
        "t.csv:3: the name a stands twice",
        "t.csv:4: 3 cells, the header has 7",
    };
    iso_run_table *table;
    assert_int_equal(iso_run_table_parse(&table, text, sizeof text - 1, "t.csv"), ISO_ERR_USAGE);
    assert_null(table);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(iso_error_message(), expected[i]))
            fail_msg("%s is not in:\n%s", expected[i], iso_error_message());
}

static void refused(void **state) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"name,tokens\na,1\nb,1\n", "the column unique_tokens is missing"},
        {"name,tokens,unique_tokens\na,1,1\nb,1,1\n", "give params and train_flops_per_token"},
        {PLAIN("lr") "a,1e9,6e9,20e9,20e9,1\n", "one run; an audit compares at least two"},
        {PLAIN("lr"), "no runs below the header"},
        {PLAIN("tokens") "a,1e9,6e9,1,1,1\nb,1e9,6e9,1,1,1\n",
         "the column tokens stands there twice"},
        {PLAIN("lr") "a,9e99,6e9,1,1,1\nb,1e9,6e9,1,1,1\n", "t.csv:2: params"},
        {SHAPE_HEADER "\na,dense,65536,2176,28,15,8848,2048,,,,,1,1,,,\n" MOE_ROW "\n",
         "num_attention_heads"},
        {SHAPE_HEADER "\na,sparse,65536,2176,28,17,8848,2048,,,,,1,1,,,\n" MOE_ROW "\n",
         "layer_layout `sparse`"},
        {"name,params,train_flops,tokens,unique_tokens\na,1e9,1e30,1,1\nb,1,1,1,1\n",
         "no count per token"},
        {PLAIN("params_active") "a,1e9,6e9,20e9,20e9,2e9\nb,1e9,6e9,20e9,20e9,1e9\n",
         "params_active is more than params"},
        {PLAIN("lr") "\xff,1e9,6e9,20e9,20e9,1\n", "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iso_run_table *table;
        int64_t n_bytes = (int64_t)strlen(cases[i].text);
        assert_int_equal(iso_run_table_parse(&table, cases[i].text, n_bytes, "t.csv"),
                         ISO_ERR_USAGE);
        if (!strstr(iso_error_message(), cases[i].message))
            fail_msg("case %d: %s", (int)i, iso_error_message());
    }
}

/* More faults than a message holds: whole lines, and how many are left. */
static void many_faults(void **state) {
    iso_str text = {0};
    iso_str_append(&text, PLAIN("lr"));
    for (int i = 0; i < 100; i++) iso_str_appendf(&text, "run%d,1e9,6e9,20e9,20e9,zero\n", i);
    iso_run_table *table;
    assert_int_equal(iso_run_table_parse(&table, text.data, (int64_t)text.len, "t.csv"),
                     ISO_ERR_USAGE);
    int n_lines = 0, n_more = 0;
    for (const char *c = iso_error_message(); *c; c++) n_lines += *c == '\n';
    const char *more = strstr(iso_error_message(), "\n... and ");
    assert_non_null(more);
    n_more = atoi(more + strlen("\n... and "));
    assert_int_equal(n_lines + n_more, 100);
    iso_str_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(numbers),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(all_shown),
        cmocka_unit_test(contradictions),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(all_faults_at_once),
        cmocka_unit_test(refused),
        cmocka_unit_test(many_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
