/* isomoe tokenizer: learn a BPE model; text to ids and back. */
#include "cli.h"

#include "base/json.h"
#include "data/tokenizer.h"
#include "data/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX_BYTES (INT64_C(1) << 31)

/* --- train --- */

static iso_status train(const char *out, const cli_list *paths,
                        const iso_tokenizer_options *options) {
    if (!out) return iso_fail(ISO_ERR_USAGE, "--out: give the file to write the tokenizer to");
    iso_tokenizer tokenizer;
    ISO_TRY(iso_tokenizer_train(out, paths->items, paths->n, options));
    ISO_TRY(iso_tokenizer_open(&tokenizer, out));
    printf("%s: %lld ids, separator %d, sha256 %s\n", out, (long long)tokenizer.n_ids,
           tokenizer.separator, tokenizer.hash);
    iso_tokenizer_close(&tokenizer);
    return ISO_OK;
}

static iso_status run_train(int argc, char **argv) {
    iso_tokenizer_options options = {.vocab_size = 8192, .max_bytes = 100 << 20};
    const char *out = NULL;
    cli_list paths = {0};
    bool done;
    const cli_flag flags[] = {
        {"out", CLI_STRING, &out, "FILE", "where the model goes", NULL},
        {"vocab-size", CLI_I64, &options.vocab_size, "N", "ids in all, 320 to 65536 (default 8192)",
         NULL},
        {"max-bytes", CLI_I64, &options.max_bytes, "N",
         "learn from at most so much text, chosen by hash (default 100 MiB, 0 = all)", NULL},
    };
    const cli_usage usage = {
        .synopsis = "tokenizer train PATH... --out FILE [--vocab-size N]",
        .summary = "Learns a lossless SentencePiece BPE model (byte fallback, no normalisation).",
        .example = "isomoe tokenizer train books/ --vocab-size 16384 --out books.model",
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &paths,
        .min_positionals = 1,
        .max_positionals = -1,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) status = train(out, &paths, &options);
    cli_list_release(&paths);
    return status;
}

/* --- encode, decode --- */

static iso_status read_input(char **text, int64_t *n_bytes, const cli_list *paths) {
    const char *path = paths->n > 0 ? paths->items[0] : "/dev/stdin";
    return iso_file_read(text, n_bytes, path, INPUT_MAX_BYTES);
}

static iso_status print_ids(const iso_ids *ids, bool json) {
    if (!json) {
        for (int64_t i = 0; i < ids->n; i++)
            printf("%d%c", ids->data[i], i + 1 < ids->n ? ' ' : '\n');
        return ISO_OK;
    }
    json_t *array = json_array();
    for (int64_t i = 0; i < ids->n; i++) json_array_append_new(array, json_integer(ids->data[i]));
    json_t *object = json_pack("{s:o}", "ids", array);
    char *line = iso_json_line(object);
    printf("%s\n", line);
    free(line);
    json_decref(object);
    return ISO_OK;
}

static iso_status encode(const iso_tokenizer *tokenizer, const char *text, int64_t n_bytes,
                         bool json) {
    int64_t valid = iso_utf8_check(text, n_bytes);
    if (valid < n_bytes)
        return iso_fail(ISO_ERR_DATA, "byte %lld of the input (0x%02X) is not valid UTF-8",
                        (long long)valid, (uint8_t)text[valid]);
    iso_ids ids = {0};
    iso_status status = iso_tokenizer_encode(tokenizer, &ids, text, n_bytes);
    if (status == ISO_OK) status = print_ids(&ids, json);
    iso_ids_release(&ids);
    return status;
}

/* Ids as encode prints them: numbers between anything but digits and minus signs. */
static iso_status parse_ids(iso_ids *out, const char *text) {
    int64_t capacity = (int64_t)strlen(text) / 2 + 1;
    *out = (iso_ids){.data = malloc((size_t)capacity * sizeof *out->data), .capacity = capacity};
    if (!out->data) return iso_fail(ISO_ERR_MEMORY, "no memory for the ids");
    for (const char *at = text; *(at += strcspn(at, "0123456789-"));) {
        char *end;
        errno = 0;
        long id = strtol(at, &end, 10);
        if (end == at || errno != 0 || id < 0 || id > INT32_MAX)
            return iso_fail(ISO_ERR_DATA, "\"%.*s\" is no token id", (int)strcspn(at, " \n,]"), at);
        out->data[out->n++] = (int32_t)id;
        at = end;
    }
    return ISO_OK;
}

static iso_status decode(const iso_tokenizer *tokenizer, const char *text, bool json) {
    iso_ids ids;
    iso_str out = {0};
    iso_status status = parse_ids(&ids, text);
    if (status == ISO_OK) status = iso_tokenizer_decode(tokenizer, &out, ids.data, ids.n);
    if (status == ISO_OK && json) {
        json_t *object =
            json_pack("{s:o}", "text", json_stringn(out.data ? out.data : "", out.len));
        if (object) {
            char *line = iso_json_line(object);
            printf("%s\n", line);
            free(line);
        } else {
            status =
                iso_fail(ISO_ERR_DATA, "these ids spell no valid UTF-8, which JSON needs; leave "
                                       "--json out to get the bytes");
        }
        json_decref(object);
    } else if (status == ISO_OK && out.len > 0) {
        fwrite(out.data, 1, out.len, stdout);
    }
    iso_ids_release(&ids);
    iso_str_release(&out);
    return status;
}

static iso_status convert(const char *name, const cli_list *paths, bool json, bool to_ids) {
    iso_tokenizer tokenizer;
    char *text;
    int64_t n_bytes;
    ISO_TRY(iso_tokenizer_open(&tokenizer, name));
    iso_status status = read_input(&text, &n_bytes, paths);
    if (status == ISO_OK) {
        status = to_ids ? encode(&tokenizer, text, n_bytes, json) : decode(&tokenizer, text, json);
        free(text);
    }
    iso_tokenizer_close(&tokenizer);
    return status;
}

static iso_status run_convert(int argc, char **argv, const char *synopsis, const char *summary,
                              const char *example, bool to_ids) {
    const char *name = ISO_TOKENIZER_BYTES;
    cli_list paths = {0};
    bool json = false, done;
    const cli_flag flags[] = {
        {"tokenizer", CLI_STRING, &name, "bytes|FILE", "bytes (default) or a model file", NULL},
        {"json", CLI_BOOL, &json, NULL, "print one JSON object", NULL},
    };
    const cli_usage usage = {
        .synopsis = synopsis,
        .summary = summary,
        .example = example,
        .flags = flags,
        .n_flags = sizeof flags / sizeof *flags,
        .positionals = &paths,
        .max_positionals = 1,
    };
    iso_status status = cli_parse(&usage, argc, argv, &done);
    if (status == ISO_OK && !done) status = convert(name, &paths, json, to_ids);
    cli_list_release(&paths);
    return status;
}

static iso_status cmd_encode(int argc, char **argv) {
    return run_convert(argc, argv, "tokenizer encode [FILE] [--tokenizer bytes|FILE] [--json]",
                       "Prints the token ids of a file, or of standard input.",
                       "echo hello | isomoe tokenizer encode --tokenizer books.model", true);
}

static iso_status cmd_decode(int argc, char **argv) {
    return run_convert(argc, argv, "tokenizer decode [FILE] [--tokenizer bytes|FILE] [--json]",
                       "Prints the text that token ids spell; the separator spells nothing.",
                       "echo 104 105 | isomoe tokenizer decode", false);
}

iso_status cmd_tokenizer(int argc, char **argv) {
    static const cli_command commands[] = {
        {"train", "learn a BPE model from text", run_train},
        {"encode", "text to token ids", cmd_encode},
        {"decode", "token ids to text", cmd_decode},
    };
    return cli_dispatch("isomoe tokenizer", commands, sizeof commands / sizeof *commands, argc,
                        argv);
}
