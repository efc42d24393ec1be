/* Two passes over each split's text. The first one measures: how much there is, in which buckets of
 * the content hash. From that follow the thresholds of caps and hold-out, and the space needed. The
 * second writes. Validation comes before training, so that the training pass knows what to avoid.
 */
#include "data/prepare.h"

#include "base/fileio.h"
#include "base/json.h"
#include "base/log.h"
#include "data/choice.h"
#include "data/dataset.h"
#include "data/dataset_index.h"
#include "data/document_set.h"
#include "data/prepare_stage.h"
#include "data/split_sink.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SHARD_BYTES (INT64_C(1) << 30)
/* gzip -9 reads about 20 MB/s; over so much text its figure has long settled. */
#define TRAIN_GZIP_BYTES (16 << 20)
/* A hold-out below this is raised, on a small corpus, to 1/HOLDOUT_MIN_PART of the text. */
#define HOLDOUT_MIN_BYTES (256 * 1024)
#define HOLDOUT_MIN_PART  50
/* Weights of the passes in the progress: about their time per byte. */
#define MEASURE_WEIGHT 1
#define WRITE_WEIGHT   6
#define PROGRESS_BYTES (1 << 20)

typedef struct preparer {
    const iso_prepare_options *options;
    iso_tokenizer tokenizer;
    const char *dir;             /* where files are written: the stage */
    iso_document_set validation; /* every document that went to a named domain */
    json_t *domains;             /* entries of the index */
    json_t *train;
    json_t *sources; /* by split name */
    int holdout_threshold;
    int64_t progress_done;  /* weighted bytes of finished passes */
    int64_t progress_total; /* bytes of all input files */
} preparer;

/* What the first pass found out about one split. */
typedef struct plan {
    iso_choice cap, holdout;
    int cap_threshold, holdout_threshold;
} plan;

iso_prepare_options iso_prepare_options_default(void) {
    return (iso_prepare_options){.tokenizer = ISO_TOKENIZER_BYTES,
                                 .holdout_one_in = 200,
                                 .max_shard_bytes = MAX_SHARD_BYTES,
                                 .invalid = ISO_INVALID_REJECT};
}

static iso_status check_options(const iso_prepare_options *options) {
    if (!options->out_dir || !options->out_dir[0])
        return iso_fail(ISO_ERR_USAGE, "--out: give the folder to prepare");
    if (options->train.n_paths < 1)
        return iso_fail(ISO_ERR_USAGE, "--train: give at least one file or folder of text");
    if (options->holdout_one_in < 0 || options->holdout_one_in > ISO_CHOICE_BUCKETS)
        return iso_fail(ISO_ERR_USAGE, "--holdout: %lld is not in 0..%d (0 holds nothing out)",
                        (long long)options->holdout_one_in, ISO_CHOICE_BUCKETS);
    if (options->max_train_bytes < 0 || options->max_val_bytes < 0 || options->max_shard_bytes < 4)
        return iso_fail(ISO_ERR_USAGE, "byte limits must not be negative (0 = no limit)");
    for (int64_t i = 0; i < options->n_domains; i++) {
        const char *name = options->domains[i].name;
        if (!iso_dataset_name_ok(name) || strcmp(name, "train") == 0 ||
            strcmp(name, ISO_HOLDOUT) == 0)
            return iso_fail(ISO_ERR_USAGE,
                            "--val: \"%s\" cannot name a domain; use letters, digits, '_', '-', "
                            "'.', but not train or %s",
                            name, ISO_HOLDOUT);
        for (int64_t k = 0; k < i; k++)
            if (strcmp(options->domains[k].name, name) == 0)
                return iso_fail(ISO_ERR_USAGE, "--val: domain %s is given twice", name);
    }
    return ISO_OK;
}

/* --- one pass over one split --- */

typedef struct pass {
    preparer *prep;
    iso_corpus *corpus;
    const char *phase;
    int64_t weight, reported;
} pass;

static iso_status open_pass(pass *out, preparer *prep, const iso_text_input *input,
                            const char *phase, int64_t weight) {
    *out = (pass){.prep = prep, .phase = phase, .weight = weight};
    iso_corpus_options corpus = iso_corpus_options_default();
    corpus.invalid = prep->options->invalid;
    return iso_corpus_open(&out->corpus, input->paths, input->n_paths, &corpus);
}

static void close_pass(pass *reading) {
    reading->prep->progress_done += reading->weight * iso_corpus_size(reading->corpus);
    iso_corpus_close(reading->corpus);
}

static iso_status next_document(pass *reading, iso_document *document) {
    const preparer *prep = reading->prep;
    int64_t position = iso_corpus_position(reading->corpus);
    if (prep->options->progress && position - reading->reported >= PROGRESS_BYTES) {
        reading->reported = position;
        prep->options->progress(prep->options->progress_ctx, reading->phase,
                                (prep->progress_done + reading->weight * position) /
                                    (MEASURE_WEIGHT + WRITE_WEIGHT),
                                prep->progress_total);
    }
    return iso_corpus_next(reading->corpus, document);
}

/* --- measure --- */

/* Fills both histograms with the documents below cap_threshold; for the training text (is_train),
 * with those that are not in validation. */
static iso_status measure(plan *found, preparer *prep, const iso_text_input *input, bool is_train,
                          int cap_threshold) {
    pass reading;
    iso_document document;
    iso_status status;
    *found = (plan){.cap_threshold = cap_threshold};
    ISO_TRY(open_pass(&reading, prep, input, "measuring", MEASURE_WEIGHT));
    while ((status = next_document(&reading, &document)) == ISO_OK && document.text) {
        int cap = iso_choice_bucket(ISO_CHOICE_CAP, document.text, document.n_bytes);
        if (cap >= cap_threshold) continue;
        if (is_train && iso_document_set_has(&prep->validation, document.text, document.n_bytes))
            continue;
        iso_choice_add(&found->cap, cap, document.n_bytes);
        iso_choice_add(&found->holdout,
                       iso_choice_bucket(ISO_CHOICE_HOLDOUT, document.text, document.n_bytes),
                       document.n_bytes);
    }
    close_pass(&reading);
    return status;
}

/* As measure, with the cap applied; and fails if nothing is left, or no room for it on the disk. */
static iso_status make_plan(plan *found, preparer *prep, const iso_text_input *input, bool is_train,
                            int64_t max_bytes) {
    const char *name = is_train ? "train" : input->name;
    ISO_TRY(measure(found, prep, input, is_train, ISO_CHOICE_BUCKETS));
    if (found->cap.n_documents == 0)
        return iso_fail(
            ISO_ERR_DATA,
            "%s: no text in split %s (0 documents that are not empty%s); give more text",
            input->paths[0], name, is_train ? " or in validation" : "");
    int threshold = iso_choice_at_most(&found->cap, max_bytes);
    if (threshold < ISO_CHOICE_BUCKETS) {
        ISO_TRY(measure(found, prep, input, is_train, threshold));
        if (found->cap.n_documents == 0)
            return iso_fail(ISO_ERR_USAGE,
                            "split %s: a cap of %lld bytes leaves no document; raise it", name,
                            (long long)max_bytes);
    }
    /* Byte ids are one a byte; pieces are longer, at least two bytes each on any real text. */
    int64_t n_tokens = found->cap.n_documents +
                       (prep->tokenizer.model ? found->cap.n_bytes / 2 : found->cap.n_bytes);
    return iso_dir_check_space(prep->dir, n_tokens * iso_tokenizer_token_bytes(&prep->tokenizer));
}

/* How much of the training text to hold out: about 1 in holdout_one_in, but on a small corpus
 * enough to measure something with, and never most of it. */
static int choose_holdout(const plan *found, int64_t one_in) {
    if (one_in == 0) return 0;
    int nominal = (int)(ISO_CHOICE_BUCKETS / one_in);
    int64_t n_bytes = found->holdout.n_bytes;
    int64_t wanted = n_bytes / HOLDOUT_MIN_PART;
    if (wanted > HOLDOUT_MIN_BYTES) wanted = HOLDOUT_MIN_BYTES;
    int threshold = iso_choice_at_least(&found->holdout, nominal, wanted > 0 ? wanted : 1);
    int64_t held = iso_choice_bytes_below(&found->holdout, threshold);
    if (held > n_bytes / 2) {
        iso_log(ISO_LOG_WARN,
                "no hold-out: the training text has %lld documents, too few to give one up",
                (long long)found->holdout.n_documents);
        return 0;
    }
    if (threshold > nominal)
        iso_log(ISO_LOG_INFO, "hold-out raised to %.1f %% of the training text, which is small",
                100.0 * (double)held / (double)n_bytes);
    return threshold;
}

/* --- write --- */

static json_t *counts_json(const iso_corpus *corpus, int64_t n_in_validation, int64_t n_over_cap) {
    const iso_corpus_counts *counts = iso_corpus_get_counts(corpus);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}",        //
                     "read", (json_int_t)counts->n_documents,      //
                     "empty", (json_int_t)counts->n_empty,         //
                     "bad_utf8", (json_int_t)counts->n_bad_utf8,   //
                     "bad_json", (json_int_t)counts->n_bad_json,   //
                     "too_long", (json_int_t)counts->n_too_long,   //
                     "in_validation", (json_int_t)n_in_validation, //
                     "over_cap", (json_int_t)n_over_cap);
}

/* Where the text came from and what was left out, for sources.json. */
static void note_source(preparer *prep, const char *name, const iso_corpus *corpus) {
    json_t *files = json_array(), *skipped = json_array();
    for (int64_t i = 0; i < iso_corpus_n_files(corpus); i++)
        json_array_append_new(files, json_string(iso_corpus_file(corpus, i)));
    int64_t n;
    const iso_corpus_skip *skips = iso_corpus_get_skips(corpus, &n);
    for (int64_t i = 0; i < n; i++)
        json_array_append_new(skipped, json_pack("{s:s, s:I, s:s}",                         //
                                                 "file", skips[i].path,                     //
                                                 "position", (json_int_t)skips[i].position, //
                                                 "reason", skips[i].reason));
    json_object_set_new(prep->sources, name,
                        json_pack("{s:o, s:o}", "files", files, "skipped", skipped));
}

static void warn_skipped(const char *name, const iso_corpus *corpus) {
    const iso_corpus_counts *counts = iso_corpus_get_counts(corpus);
    int64_t n = counts->n_bad_utf8 + counts->n_bad_json + counts->n_too_long;
    if (n > 0)
        iso_log(ISO_LOG_WARN,
                "split %s: %lld documents skipped (not UTF-8: %lld, no JSON text: "
                "%lld, too long: %lld); %s lists them",
                name, (long long)n, (long long)counts->n_bad_utf8, (long long)counts->n_bad_json,
                (long long)counts->n_too_long, ISO_DATASET_SOURCES);
}

/* Ends a sink; its entry, with the counts of what was read for it, goes to *entry. */
static iso_status finish_split(iso_split_sink *sink, json_t **entry, json_t *counts) {
    iso_status status = iso_split_sink_finish(sink, entry);
    if (status == ISO_OK)
        json_object_set_new(*entry, "documents", counts);
    else
        json_decref(counts);
    return status;
}

static iso_status write_domain(preparer *prep, const iso_text_input *input, const plan *found,
                               pass *reading, iso_split_sink *sink) {
    iso_document document;
    iso_status status;
    int64_t n_over_cap = 0;
    while ((status = next_document(reading, &document)) == ISO_OK && document.text) {
        if (iso_choice_bucket(ISO_CHOICE_CAP, document.text, document.n_bytes) >=
            found->cap_threshold) {
            n_over_cap++;
            continue;
        }
        ISO_TRY(iso_document_set_add(&prep->validation, document.text, document.n_bytes));
        ISO_TRY(iso_split_sink_add(sink, &document));
    }
    ISO_TRY(status);
    json_t *entry;
    ISO_TRY(finish_split(sink, &entry, counts_json(reading->corpus, 0, n_over_cap)));
    json_array_append_new(prep->domains, entry);
    note_source(prep, input->name, reading->corpus);
    warn_skipped(input->name, reading->corpus);
    return ISO_OK;
}

static iso_status prepare_domain(preparer *prep, const iso_text_input *input, plan *found) {
    ISO_TRY(make_plan(found, prep, input, false, prep->options->max_val_bytes));
    iso_split_sink sink;
    ISO_TRY(iso_split_sink_init(&sink, &prep->tokenizer, input->name, prep->dir,
                                prep->options->max_shard_bytes, INT64_MAX));
    pass reading;
    iso_status status = open_pass(&reading, prep, input, input->name, WRITE_WEIGHT);
    if (status == ISO_OK) {
        status = write_domain(prep, input, found, &reading, &sink);
        close_pass(&reading);
    }
    iso_split_sink_release(&sink);
    return status;
}

static iso_status write_train(preparer *prep, const plan *found, pass *reading,
                              iso_split_sink *train, iso_split_sink *holdout) {
    iso_document document;
    iso_status status;
    int64_t n_in_validation = 0, n_over_cap = 0;
    while ((status = next_document(reading, &document)) == ISO_OK && document.text) {
        const char *text = document.text;
        int64_t n = document.n_bytes;
        if (iso_document_set_has(&prep->validation, text, n)) {
            n_in_validation++;
        } else if (iso_choice_bucket(ISO_CHOICE_CAP, text, n) >= found->cap_threshold) {
            n_over_cap++;
        } else {
            bool held = iso_choice_bucket(ISO_CHOICE_HOLDOUT, text, n) < prep->holdout_threshold;
            ISO_TRY(iso_split_sink_add(held ? holdout : train, &document));
        }
    }
    ISO_TRY(status);
    ISO_TRY(finish_split(train, &prep->train,
                         counts_json(reading->corpus, n_in_validation, n_over_cap)));
    if (prep->holdout_threshold > 0) {
        json_t *entry;
        ISO_TRY(iso_split_sink_finish(holdout, &entry));
        json_array_append_new(prep->domains, entry);
    }
    note_source(prep, "train", reading->corpus);
    warn_skipped("train", reading->corpus);
    return ISO_OK;
}

static iso_status prepare_train(preparer *prep, plan *found) {
    const iso_prepare_options *options = prep->options;
    ISO_TRY(make_plan(found, prep, &options->train, true, options->max_train_bytes));
    prep->holdout_threshold = choose_holdout(found, options->holdout_one_in);
    iso_split_sink train = {0}, holdout = {0};
    pass reading;
    iso_status status = iso_split_sink_init(&train, &prep->tokenizer, "train", prep->dir,
                                            options->max_shard_bytes, TRAIN_GZIP_BYTES);
    if (status == ISO_OK)
        status = iso_split_sink_init(&holdout, &prep->tokenizer, ISO_HOLDOUT, prep->dir,
                                     options->max_shard_bytes, INT64_MAX);
    if (status == ISO_OK)
        status = open_pass(&reading, prep, &options->train, "train", WRITE_WEIGHT);
    if (status == ISO_OK) {
        status = write_train(prep, found, &reading, &train, &holdout);
        close_pass(&reading);
    }
    iso_split_sink_release(&train);
    iso_split_sink_release(&holdout);
    return status;
}

/* --- the other files --- */

static iso_status write_file(const preparer *prep, const char *name, const void *bytes,
                             int64_t n_bytes) {
    char *path = iso_strf("%s/%s", prep->dir, name);
    iso_status status = iso_file_write_atomic(path, bytes, n_bytes);
    free(path);
    return status;
}

static iso_status write_json(const preparer *prep, const char *name, json_t *value) {
    char *path = iso_strf("%s/%s", prep->dir, name);
    iso_status status = value ? iso_json_save(value, path)
                              : iso_fail(ISO_ERR_MEMORY, "%s: no memory to write it", path);
    free(path);
    json_decref(value);
    return status;
}

static iso_status write_tokenizer(const preparer *prep) {
    const iso_tokenizer *tokenizer = &prep->tokenizer;
    uint8_t *table = malloc((size_t)tokenizer->n_ids * 4);
    if (!table) return iso_fail(ISO_ERR_MEMORY, "no memory for the id table");
    for (int64_t id = 0; id < tokenizer->n_ids; id++) {
        table[4 * id] = (uint8_t)tokenizer->id_bytes[id];
        table[4 * id + 1] = (uint8_t)(tokenizer->id_bytes[id] >> 8);
        table[4 * id + 2] = (uint8_t)tokenizer->id_chars[id];
        table[4 * id + 3] = (uint8_t)(tokenizer->id_chars[id] >> 8);
    }
    iso_status status = write_file(prep, ISO_DATASET_TABLE, table, tokenizer->n_ids * 4);
    free(table);
    if (status == ISO_OK && tokenizer->model)
        status =
            write_file(prep, ISO_DATASET_MODEL, tokenizer->model_bytes, tokenizer->n_model_bytes);
    return status;
}

static iso_status write_index(const preparer *prep, const char *input_hash) {
    const iso_tokenizer *tokenizer = &prep->tokenizer;
    const iso_prepare_options *options = prep->options;
    ISO_TRY(write_tokenizer(prep));
    json_t *index =
        json_pack("{s:i, s:{s:s, s:I, s:i, s:s}, s:{s:I, s:i, s:i}, s:{s:I, s:I}, s:O, s:O}",    //
                  "format", ISO_DATASET_FORMAT,                                                  //
                  "tokenizer", "kind", tokenizer->model ? "sentencepiece" : ISO_TOKENIZER_BYTES, //
                  "n_ids", (json_int_t)tokenizer->n_ids, "separator", (int)tokenizer->separator, //
                  "sha256", tokenizer->hash,                                                     //
                  "holdout", "one_in", (json_int_t)options->holdout_one_in,                      //
                  "buckets", prep->holdout_threshold, "of", ISO_CHOICE_BUCKETS,                  //
                  "caps", "train_bytes", (json_int_t)options->max_train_bytes,                   //
                  "val_bytes", (json_int_t)options->max_val_bytes,                               //
                  "train", prep->train, "domains", prep->domains);
    ISO_TRY(write_json(prep, ISO_DATASET_INDEX, index));
    json_t *sources = json_pack("{s:i, s:s, s:s, s:s, s:O}", "format", ISO_DATASET_FORMAT, //
                                "version", ISO_VERSION, "input_sha256", input_hash,        //
                                "invalid",
                                options->invalid == ISO_INVALID_SKIP ? "skip" : "reject", //
                                "splits", prep->sources);
    ISO_TRY(write_json(prep, ISO_DATASET_SOURCES, sources));
    char *sums;
    ISO_TRY(iso_dataset_sums(&sums, prep->dir));
    iso_status status = write_file(prep, ISO_DATASET_SUMS, sums, (int64_t)strlen(sums));
    free(sums);
    return status;
}

/* --- all of it --- */

static iso_status prepare_all(preparer *prep, const char *input_hash) {
    plan *found = malloc(sizeof *found);
    if (!found) return iso_fail(ISO_ERR_MEMORY, "no memory to prepare data");
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < prep->options->n_domains && status == ISO_OK; i++)
        status = prepare_domain(prep, &prep->options->domains[i], found);
    if (status == ISO_OK) status = prepare_train(prep, found);
    free(found);
    return status == ISO_OK ? write_index(prep, input_hash) : status;
}

static iso_status prepare_staged(preparer *prep, bool *reused) {
    const iso_prepare_options *options = prep->options;
    iso_prepare_stage stage;
    char input_hash[ISO_SHA256_HEX_BYTES];
    int64_t input_bytes;
    ISO_TRY(iso_prepare_input_hash(input_hash, &input_bytes, options, prep->tokenizer.hash));
    prep->progress_total = input_bytes;
    ISO_TRY(iso_prepare_stage_check(reused, options->out_dir, input_hash, options->force));
    if (*reused) return ISO_OK;
    ISO_TRY(iso_prepare_stage_open(&stage, options->out_dir));
    prep->dir = stage.dir;
    iso_status status = prepare_all(prep, input_hash);
    if (status == ISO_OK) status = iso_prepare_stage_commit(&stage);
    iso_prepare_stage_close(&stage);
    return status;
}

iso_status iso_data_prepare(const iso_prepare_options *options, iso_prepare_result *result) {
    *result = (iso_prepare_result){0};
    ISO_TRY(check_options(options));
    preparer prep = {.options = options};
    ISO_TRY(iso_tokenizer_open(&prep.tokenizer, options->tokenizer));
    prep.domains = json_array();
    prep.sources = json_object();
    iso_status status = prepare_staged(&prep, &result->reused);
    json_decref(prep.domains);
    json_decref(prep.sources);
    json_decref(prep.train);
    iso_document_set_release(&prep.validation);
    iso_tokenizer_close(&prep.tokenizer);
    return status;
}
