/* isomoe generate: text from any checkpoint. */
#include "cli.h"

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "train/generate.h"
#include "train/load.h"

#include <stdlib.h>
#include <string.h>

typedef struct writer {
    const iso_tokenizer *tokenizer;
    iso_str text;
    iso_status status;
} writer;

static bool write_token(void *ctx, int32_t token) {
    writer *w = ctx;
    iso_str_clear(&w->text);
    w->status = iso_tokenizer_decode(w->tokenizer, &w->text, &token, 1);
    if (w->status != ISO_OK) return false;
    fwrite(w->text.data, 1, w->text.len, stdout);
    fflush(stdout);
    return true;
}

static iso_status generate(iso_trainer *trainer, const char *data_dir, const char *prompt,
                           iso_generate_options *options) {
    iso_tokenizer tokenizer;
    iso_ids ids = {0};
    ISO_TRY(iso_tokenizer_open_prepared(&tokenizer, data_dir));
    writer w = {.tokenizer = &tokenizer};
    iso_status status = iso_tokenizer_encode(&tokenizer, &ids, prompt, (int64_t)strlen(prompt));
    options->separator = tokenizer.separator;
    if (status == ISO_OK && tokenizer.n_ids > trainer->config.model.vocab_size)
        status =
            iso_fail(ISO_ERR_USAGE, "the tokenizer of %s has more ids than the model", data_dir);
    if (status == ISO_OK) {
        fputs(prompt, stdout);
        status = iso_generate(trainer, ids.data, ids.n, options, write_token, &w);
        if (status == ISO_OK) status = w.status;
        putchar('\n');
    }
    iso_str_release(&w.text);
    iso_ids_release(&ids);
    iso_tokenizer_close(&tokenizer);
    return status;
}

iso_status cmd_generate(int argc, char **argv) {
    cli_list models = {0};
    const char *prompt = "", *data = "";
    int64_t seed = 1, threads = ISO_THREADS_ALL;
    iso_generate_options options = {.max_tokens = 300, .temperature = 0.8};
    bool done;
    const cli_flag flags[] = {
        {"prompt", CLI_STRING, &prompt, "TEXT", "to continue (default: nothing)", NULL},
        {"max-tokens", CLI_I64, &options.max_tokens, "N", "(default 300)", NULL},
        {"temperature", CLI_F64, &options.temperature, "X",
         "0 = always the likeliest (default 0.8)", NULL},
        {"top-k", CLI_I64, &options.top_k, "K", "among the K likeliest only (default 0: all)",
         NULL},
        {"seed", CLI_I64, &seed, "N", "the same seed gives the same text (default 1)", NULL},
        {"data", CLI_STRING, &data, "DIR",
         "prepared folder with the tokenizer (default: the one trained on)", NULL},
        {"threads", CLI_I64, &threads, "N", "(default: all)", NULL},
    };
    const cli_usage usage = {
        .synopsis = "generate RUN|CHECKPOINT [--prompt TEXT] [--max-tokens N]",
        .summary = "Writes text with a trained model.",
        .example = "isomoe generate comparison/runs/dense-s1 --prompt 'The '",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &models,
        .min_positionals = 1,
        .max_positionals = 1,
    };
    iso_trainer *trainer = NULL;
    int64_t step;
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) {
        options.seed = (uint64_t)seed;
        if (options.max_tokens < 0 || options.top_k < 0 || !(options.temperature >= 0) ||
            threads < 0 || threads > ISO_THREADS_MAX)
            status = iso_fail(ISO_ERR_USAGE, "generate: --max-tokens, --top-k, --temperature and "
                                             "--threads must not be negative");
        if (status == ISO_OK)
            status = iso_trainer_load(&trainer, &step, models.items[0], 1, threads);
        if (status == ISO_OK)
            status = generate(trainer, data[0] ? data : trainer->config.data.dir, prompt, &options);
        iso_trainer_free(trainer);
    }
    cli_list_release(&models);
    return status;
}
