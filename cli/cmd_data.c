/* isomoe data: text to a prepared folder, what such a folder holds, and whether it is whole. */
#include "cli.h"

#include "base/json.h"
#include "data/dataset.h"
#include "data/dataset_index.h"
#include "data/prepare.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- what a prepared folder holds --- */

static void add_split(cli_table *table, const iso_split *split) {
    cli_table_add(table, split->name);
    cli_table_addf(table, "%" PRId64, split->n_documents);
    cli_table_addf(table, "%" PRId64, split->n_tokens);
    cli_table_addf(table, "%" PRId64, split->n_bytes);
    cli_table_addf(table, "%" PRId64, split->n_chars);
    cli_table_addf(table, "%.3f", split->order0_bpb);
    cli_table_addf(table, "%.3f", split->gzip9_bpb);
}

static void print_table(const iso_dataset *dataset) {
    static const char *const headers[] = {"split",       "documents", "tokens", "bytes",
                                          "code points", "order-0",   "gzip -9"};
    cli_table table;
    cli_table_init(&table, headers, 7);
    add_split(&table, &dataset->train);
    for (int64_t i = 0; i < dataset->n_domains; i++) add_split(&table, &dataset->domains[i]);
    cli_table_print(&table, stdout);
    cli_table_release(&table);
    printf("\norder-0 and gzip -9 in bits per byte; %" PRId64
           " token ids of %d bytes, separator %d\n"
           "data      %s\ntokenizer %s\n",
           dataset->n_ids, dataset->train.token_bytes, dataset->separator, dataset->hash,
           dataset->tokenizer_hash);
}

/* The index as it is, with the folder's own hash in front. */
static iso_status print_json(const iso_dataset *dataset) {
    json_t *index;
    char *path = iso_strf("%s/" ISO_DATASET_INDEX, dataset->dir);
    iso_status status = iso_json_load(&index, path);
    free(path);
    ISO_TRY(status);
    json_t *object = json_pack("{s:s, s:s}", "dir", dataset->dir, "hash", dataset->hash);
    if (json_object_update(object, index) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(index);
    return cli_print_json(object, CLI_JSON_EXACT);
}

static iso_status show(const char *dir, bool json) {
    iso_dataset dataset;
    ISO_TRY(iso_dataset_open(&dataset, dir));
    iso_status status = ISO_OK;
    if (json)
        status = print_json(&dataset);
    else
        print_table(&dataset);
    iso_dataset_close(&dataset);
    return status;
}

static iso_status cmd_info(int argc, char **argv) {
    bool json = false, done;
    cli_list dirs = {0};
    const cli_flag flags[] = {{"json", CLI_BOOL, &json, NULL, "print JSON", NULL}};
    const cli_usage usage = {
        .synopsis = "data info DIR [--json]",
        .summary =
            "Shows what a prepared folder holds. order-0 and gzip -9 are the bits per byte of "
            "the raw text under the simplest models: the scale for a language model's.",
        .example = "isomoe data info data/demo",
        .flags = flags,
        .n_flags = 1,
        .positionals = &dirs,
        .min_positionals = 1,
        .max_positionals = 1,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) status = show(dirs.items[0], json);
    cli_list_release(&dirs);
    return status;
}

/* --- verify --- */

static iso_status verify(const char *dir) {
    iso_dataset dataset;
    ISO_TRY(iso_dataset_open(&dataset, dir));
    iso_status status = iso_dataset_verify(&dataset);
    if (status == ISO_OK)
        printf("%s: whole; %" PRId64 " training tokens, %" PRId64 " validation domains, data %s\n",
               dir, dataset.train.n_tokens, dataset.n_domains, dataset.hash);
    iso_dataset_close(&dataset);
    return status;
}

static iso_status cmd_verify(int argc, char **argv) {
    bool done;
    cli_list dirs = {0};
    const cli_usage usage = {
        .synopsis = "data verify DIR",
        .summary =
            "Reads a whole prepared folder and compares every file and every token with what "
            "was recorded.",
        .example = "isomoe data verify data/demo",
        .positionals = &dirs,
        .min_positionals = 1,
        .max_positionals = 1,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) status = verify(dirs.items[0]);
    cli_list_release(&dirs);
    return status;
}

/* --- prepare --- */

/* Validation domains, gathered from NAME=PATH items. */
typedef struct domains {
    iso_text_input *items;
    int64_t n;
} domains;

static void release_domains(domains *list) {
    for (int64_t i = 0; i < list->n; i++) {
        free((void *)list->items[i].name);
        free((void *)list->items[i].paths);
    }
    free(list->items);
}

static iso_text_input *find_domain(domains *list, const char *name) {
    for (int64_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].name, name) == 0) return &list->items[i];
    list->items = realloc(list->items, (size_t)(list->n + 1) * sizeof *list->items);
    ISO_ASSERT(list->items != NULL);
    list->items[list->n] = (iso_text_input){.name = iso_strf("%s", name)};
    return &list->items[list->n++];
}

static void add_path(iso_text_input *domain, const char *path) {
    size_t n = (size_t)domain->n_paths + 1;
    const char **paths = realloc((void *)domain->paths, n * sizeof *paths);
    ISO_ASSERT(paths != NULL);
    paths[domain->n_paths++] = path;
    domain->paths = paths;
}

/* "NAME=PATH" names a domain; a bare PATH belongs to the domain before it (what a shell makes of
 * NAME=DIR/a.txt DIR/b.txt). */
static iso_status parse_domains(domains *out, const cli_list *items) {
    iso_text_input *domain = NULL;
    for (int64_t i = 0; i < items->n; i++) {
        const char *item = items->items[i], *equals = strchr(item, '=');
        if (equals) {
            char *name = iso_strf("%.*s", (int)(equals - item), item);
            domain = find_domain(out, name);
            free(name);
            item = equals + 1;
        }
        if (!domain || !item[0])
            return iso_fail(ISO_ERR_USAGE,
                            "--val: \"%s\": give a name and a file or folder, such as maths=%s",
                            items->items[i], item[0] ? item : "maths.jsonl");
        add_path(domain, item);
    }
    return ISO_OK;
}

/* An iso_progress_fn. */
static void show_progress(void *ctx, const char *phase, int64_t n_done, int64_t total) {
    cli_progress *progress = ctx;
    progress->total = total;
    cli_progress_update(progress, n_done, phase);
}

static iso_status prepare(const iso_prepare_options *given, const cli_list *train,
                          const cli_list *val, bool json) {
    domains list = {0};
    cli_progress progress;
    iso_prepare_result result = {0};
    iso_prepare_options options = *given;
    iso_status status = parse_domains(&list, val);
    if (status == ISO_OK) {
        cli_progress_start(&progress, "preparing", "bytes", 0, 1);
        options.train = (iso_text_input){.paths = train->items, .n_paths = train->n};
        options.domains = list.items;
        options.n_domains = list.n;
        options.progress = show_progress;
        options.progress_ctx = &progress;
        status = iso_data_prepare(&options, &result);
        cli_progress_finish(&progress);
    }
    release_domains(&list);
    ISO_TRY(status);
    if (result.reused)
        iso_log(ISO_LOG_INFO, "%s is there already, made from the same text and options",
                options.out_dir);
    return show(options.out_dir, json);
}

static iso_status cmd_prepare(int argc, char **argv) {
    static const char *const policies[] = {"reject", "skip", NULL};
    iso_prepare_options options = iso_prepare_options_default();
    cli_list train = {0}, val = {0};
    const char *invalid = "reject";
    bool json = false, done;
    const cli_flag flags[] = {
        {"train", CLI_LIST, &train, "PATH", "training text: files or folders", NULL},
        {"val", CLI_LIST, &val, "NAME=PATH", "a validation domain; may be repeated", NULL},
        {"out", CLI_STRING, &options.out_dir, "DIR", "the folder to make", NULL},
        {"tokenizer", CLI_STRING, &options.tokenizer, "bytes|FILE",
         "bytes (default) or a SentencePiece model", NULL},
        {"holdout", CLI_I64, &options.holdout_one_in, "N",
         "keep about 1 training document in N for validation (default 200, 0 = none)", NULL},
        {"max-bytes", CLI_I64, &options.max_train_bytes, "N",
         "take at most so much training text, chosen by hash (default 0 = all)", NULL},
        {"max-val-bytes", CLI_I64, &options.max_val_bytes, "N",
         "the same for each validation domain (default 0 = all)", NULL},
        {"invalid", CLI_CHOICE, &invalid, "POLICY",
         "reject (default) or skip documents that are not valid UTF-8 or JSON", policies},
        {"force", CLI_BOOL, &options.force, NULL, "replace a prepared folder", NULL},
        {"json", CLI_BOOL, &json, NULL, "print the index as JSON", NULL},
    };
    const cli_usage usage = {
        .synopsis = "data prepare --train PATH... --val NAME=PATH... --out DIR",
        .summary =
            "Turns text into token shards. Files are JSONL with \"text\" (.jsonl, .json) or plain\n"
            "text (any other name), also as .gz or .zst; folders are searched.",
        .example = "isomoe data prepare --train books/ --val code=src.jsonl.zst --out data/mine",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    options.invalid = strcmp(invalid, "skip") == 0 ? ISO_INVALID_SKIP : ISO_INVALID_REJECT;
    if (status == ISO_OK && !done) status = prepare(&options, &train, &val, json);
    cli_list_release(&train);
    cli_list_release(&val);
    return status;
}

iso_status cmd_data(int argc, char **argv) {
    static const cli_command commands[] = {
        {"prepare", "text to token shards", cmd_prepare},
        {"info", "what a prepared folder holds", cmd_info},
        {"verify", "checks every byte of a prepared folder", cmd_verify},
    };
    return cli_dispatch("isomoe data", commands, sizeof commands / sizeof *commands, argc, argv);
}
