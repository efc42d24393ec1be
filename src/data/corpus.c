#include "data/corpus.h"

#include "base/fileio.h"
#include "base/str.h"
#include "data/unpack.h"
#include "data/utf8.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BYTES    (256 * 1024)
#define WHOLE_BYTES   (64 * 1024) /* a plain text up to here is one document */
#define CUT_MIN_BYTES (16 * 1024)
#define CUT_MAX_BYTES (32 * 1024)

typedef struct corpus_file {
    char *path;
    int64_t size_bytes;
} corpus_file;

struct iso_corpus {
    iso_corpus_options options;
    corpus_file *files;
    int64_t n_files, files_capacity;
    int64_t size_bytes, done_bytes; /* of all files; of the files that are finished */
    iso_corpus_counts counts;
    iso_corpus_skip skips[ISO_CORPUS_SKIPS];
    int64_t n_skips;

    /* the file being read; unread text is buffer[begin, end) */
    int64_t i_file; /* the next file to open is files[i_file] */
    iso_unpack *unpack;
    bool is_json, at_end;
    bool is_cut;      /* plain text: some of this file has been handed out */
    int64_t position; /* lines handed out, or the byte that buffer[begin] is */
    char *buffer;
    int64_t begin, end, capacity;
    json_t *line; /* owns the text of the last JSONL document */
};

iso_corpus_options iso_corpus_options_default(void) {
    return (iso_corpus_options){.invalid = ISO_INVALID_REJECT,
                                .max_line_bytes = 64 << 20,
                                .max_unpacked_bytes = ISO_UNPACK_MAX_BYTES};
}

/* --- the list of files --- */

static iso_status add_file(iso_corpus *corpus, const char *path, int64_t size_bytes) {
    if (corpus->n_files == corpus->files_capacity) {
        int64_t capacity = corpus->files_capacity ? 2 * corpus->files_capacity : 64;
        corpus_file *files = realloc(corpus->files, (size_t)capacity * sizeof *files);
        if (!files) return iso_fail(ISO_ERR_MEMORY, "no memory to list the files of the corpus");
        corpus->files = files;
        corpus->files_capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy) return iso_fail(ISO_ERR_MEMORY, "no memory to list the files of the corpus");
    corpus->files[corpus->n_files++] = (corpus_file){.path = copy, .size_bytes = size_bytes};
    corpus->size_bytes += size_bytes;
    return ISO_OK;
}

static iso_status add_folder(iso_corpus *corpus, const char *path) {
    char **names;
    int64_t n;
    ISO_TRY(iso_dir_list(&names, &n, path));
    iso_status status = ISO_OK;
    for (int64_t i = 0; i < n && status == ISO_OK; i++) {
        if (names[i][0] == '.') continue;
        char *child = iso_strf("%s/%s", path, names[i]);
        struct stat link, target;
        if (lstat(child, &link) != 0 || stat(child, &target) != 0)
            status = iso_fail_errno(ISO_ERR_IO, errno, "%s: cannot read", child);
        else if (S_ISREG(target.st_mode))
            status = add_file(corpus, child, target.st_size);
        else if (S_ISDIR(link.st_mode))
            status = add_folder(corpus, child);
        free(child);
    }
    iso_names_free(names, n);
    return status;
}

static iso_status list_files(iso_corpus *corpus, const char *const *paths, int64_t n_paths) {
    for (int64_t i = 0; i < n_paths; i++) {
        struct stat info;
        if (stat(paths[i], &info) != 0)
            return iso_fail_errno(ISO_ERR_IO, errno, "%s: cannot read this text", paths[i]);
        if (S_ISDIR(info.st_mode))
            ISO_TRY(add_folder(corpus, paths[i]));
        else
            ISO_TRY(add_file(corpus, paths[i], info.st_size));
    }
    if (corpus->n_files == 0)
        return iso_fail(ISO_ERR_DATA, "%s: no text files in here; give files or folders of text",
                        n_paths ? paths[0] : "(no path)");
    return ISO_OK;
}

iso_status iso_corpus_open(iso_corpus **out, const char *const *paths, int64_t n_paths,
                           const iso_corpus_options *options) {
    *out = NULL;
    iso_corpus *corpus = calloc(1, sizeof *corpus);
    if (!corpus) return iso_fail(ISO_ERR_MEMORY, "no memory to read the corpus");
    corpus->options = options ? *options : iso_corpus_options_default();
    iso_status status = list_files(corpus, paths, n_paths);
    if (status != ISO_OK) {
        iso_corpus_close(corpus);
        return status;
    }
    *out = corpus;
    return ISO_OK;
}

void iso_corpus_close(iso_corpus *corpus) {
    if (!corpus) return;
    for (int64_t i = 0; i < corpus->n_files; i++) free(corpus->files[i].path);
    free(corpus->files);
    iso_unpack_close(corpus->unpack);
    json_decref(corpus->line);
    free(corpus->buffer);
    free(corpus);
}

const iso_corpus_counts *iso_corpus_get_counts(const iso_corpus *corpus) {
    return &corpus->counts;
}

const iso_corpus_skip *iso_corpus_get_skips(const iso_corpus *corpus, int64_t *n) {
    *n = corpus->n_skips;
    return corpus->skips;
}

int64_t iso_corpus_n_files(const iso_corpus *corpus) {
    return corpus->n_files;
}

const char *iso_corpus_file(const iso_corpus *corpus, int64_t i_file) {
    return corpus->files[i_file].path;
}

int64_t iso_corpus_size(const iso_corpus *corpus) {
    return corpus->size_bytes;
}

int64_t iso_corpus_position(const iso_corpus *corpus) {
    return corpus->done_bytes + (corpus->unpack ? iso_unpack_position(corpus->unpack) : 0);
}

/* --- the buffer --- */

/* Appends unread bytes to the buffer; sets at_end when there are no more. */
static iso_status fill(iso_corpus *corpus) {
    if (corpus->begin > 0) {
        memmove(corpus->buffer, corpus->buffer + corpus->begin,
                (size_t)(corpus->end - corpus->begin));
        corpus->end -= corpus->begin;
        corpus->begin = 0;
    }
    if (corpus->capacity - corpus->end < READ_BYTES) {
        int64_t capacity = 2 * corpus->capacity + READ_BYTES;
        char *buffer = realloc(corpus->buffer, (size_t)capacity);
        if (!buffer)
            return iso_fail(ISO_ERR_MEMORY, "no memory for a line of %lld bytes",
                            (long long)capacity);
        corpus->buffer = buffer;
        corpus->capacity = capacity;
    }
    int64_t n;
    ISO_TRY(iso_unpack_read(corpus->unpack, corpus->buffer + corpus->end,
                            corpus->capacity - corpus->end, &n));
    corpus->end += n;
    corpus->at_end = n == 0;
    return ISO_OK;
}

/* A byte order mark says how the file is encoded; it is no text. */
static void drop_byte_order_mark(iso_corpus *corpus) {
    if (corpus->end < 3 || memcmp(corpus->buffer, "\xEF\xBB\xBF", 3) != 0) return;
    corpus->begin = 3;
    if (!corpus->is_json) corpus->position = 3;
}

static iso_status open_file(iso_corpus *corpus) {
    const char *path = corpus->files[corpus->i_file].path;
    ISO_TRY(iso_unpack_open(&corpus->unpack, path, corpus->options.max_unpacked_bytes));
    corpus->i_file++;
    corpus->counts.n_files++;
    int64_t stem = iso_unpack_stem(path);
    corpus->is_json = (stem > 6 && memcmp(path + stem - 6, ".jsonl", 6) == 0) ||
                      (stem > 5 && memcmp(path + stem - 5, ".json", 5) == 0);
    corpus->begin = corpus->end = corpus->position = 0;
    corpus->at_end = corpus->is_cut = false;
    while (corpus->end < 3 && !corpus->at_end) ISO_TRY(fill(corpus));
    drop_byte_order_mark(corpus);
    return ISO_OK;
}

static void finish_file(iso_corpus *corpus) {
    corpus->done_bytes += iso_unpack_position(corpus->unpack);
    iso_unpack_close(corpus->unpack);
    corpus->unpack = NULL;
}

static const char *current_path(const iso_corpus *corpus) {
    return corpus->files[corpus->i_file - 1].path;
}

/* Counts a document as left out. The caller has decided that the policy allows it. */
static void skip(iso_corpus *corpus, int64_t *counter, int64_t position, const char *reason) {
    (*counter)++;
    if (corpus->n_skips < ISO_CORPUS_SKIPS)
        corpus->skips[corpus->n_skips++] =
            (iso_corpus_skip){.path = current_path(corpus), .position = position, .reason = reason};
}

/* --- JSONL --- */

typedef struct line_span {
    const char *text; /* NULL at the end of the file */
    int64_t n_bytes;
    bool too_long; /* the rest of the line has been thrown away */
} line_span;

/* Cuts the next line off the buffer, its LF not included. */
static iso_status next_line(iso_corpus *corpus, line_span *line) {
    int64_t searched = 0;
    *line = (line_span){0};
    for (;;) {
        int64_t n = corpus->end - corpus->begin;
        const char *start = corpus->buffer + corpus->begin;
        const char *lf =
            n > searched ? memchr(start + searched, '\n', (size_t)(n - searched)) : NULL;
        if (lf || (corpus->at_end && (n > 0 || line->too_long))) {
            int64_t length = lf ? lf - start : n;
            corpus->begin += length + (lf ? 1 : 0);
            corpus->position++;
            line->text = start;
            line->n_bytes = length;
            line->too_long = line->too_long || length > corpus->options.max_line_bytes;
            return ISO_OK;
        }
        if (corpus->at_end) return ISO_OK;
        searched = n;
        if (n > corpus->options.max_line_bytes) {
            line->too_long = true;
            corpus->begin = corpus->end;
            searched = 0;
        }
        ISO_TRY(fill(corpus));
    }
}

static bool is_blank(const char *text, int64_t n_bytes) {
    for (int64_t i = 0; i < n_bytes; i++)
        if (!strchr(" \t\r", text[i]) || text[i] == '\0') return false;
    return true;
}

/* Parses one line into corpus->line; *text stays NULL if the line is to be passed over. */
static iso_status parse_line(iso_corpus *corpus, const line_span *line, const char **text,
                             int64_t *n_bytes) {
    const char *path = current_path(corpus);
    bool reject = corpus->options.invalid == ISO_INVALID_REJECT;
    long long number = corpus->position;
    *text = NULL;
    if (line->too_long) {
        if (reject)
            return iso_fail(
                ISO_ERR_DATA,
                "%s:%lld: a line of more than %lld bytes; split it, or leave such lines "
                "out with --invalid skip",
                path, number, (long long)corpus->options.max_line_bytes);
        skip(corpus, &corpus->counts.n_too_long, number, "line too long");
        return ISO_OK;
    }
    if (is_blank(line->text, line->n_bytes)) return ISO_OK;
    int64_t bad = iso_utf8_check(line->text, line->n_bytes);
    if (bad < line->n_bytes) {
        if (reject)
            return iso_fail(
                ISO_ERR_DATA,
                "%s:%lld: byte %lld of the line (0x%02X) is not valid UTF-8; repair the "
                "text, or leave such documents out with --invalid skip",
                path, number, (long long)bad, (uint8_t)line->text[bad]);
        skip(corpus, &corpus->counts.n_bad_utf8, number, "not UTF-8");
        return ISO_OK;
    }
    json_decref(corpus->line);
    json_error_t error;
    /* Only "text" matters: numbers beyond 64 bits elsewhere in the object are no reason to fail. */
    corpus->line = json_loadb(line->text, (size_t)line->n_bytes,
                              JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    json_t *member = json_object_get(corpus->line, "text");
    if (!json_is_string(member)) {
        if (reject)
            return iso_fail(ISO_ERR_DATA,
                            "%s:%lld: %s; give one JSON object with a string \"text\" a line, or "
                            "leave such lines out with --invalid skip",
                            path, number, corpus->line ? "no string member \"text\"" : error.text);
        skip(corpus, &corpus->counts.n_bad_json, number, "no JSON object with a string text");
        return ISO_OK;
    }
    *text = json_string_value(member);
    *n_bytes = (int64_t)json_string_length(member);
    return ISO_OK;
}

static iso_status next_json(iso_corpus *corpus, iso_document *out) {
    for (;;) {
        line_span line;
        ISO_TRY(next_line(corpus, &line));
        if (!line.text) return ISO_OK;
        const char *text;
        int64_t n_bytes = 0;
        ISO_TRY(parse_line(corpus, &line, &text, &n_bytes));
        if (!text) continue;
        if (n_bytes == 0) {
            corpus->counts.n_empty++;
            continue;
        }
        *out = (iso_document){.text = text,
                              .n_bytes = n_bytes,
                              .path = current_path(corpus),
                              .position = corpus->position};
        return ISO_OK;
    }
}

/* --- plain text --- */

/* Where to cut a long text: after the last blank line, else the last line end, else the last whole
 * character in [CUT_MIN_BYTES, CUT_MAX_BYTES]. */
static int64_t cut_at(const char *text) {
    int64_t line_end = 0;
    for (int64_t i = CUT_MAX_BYTES; i > CUT_MIN_BYTES; i--) {
        if (text[i - 1] != '\n') continue;
        if (text[i - 2] == '\n') return i;
        if (line_end == 0) line_end = i;
    }
    return line_end ? line_end : iso_utf8_boundary(text, CUT_MAX_BYTES);
}

static iso_status next_plain(iso_corpus *corpus, iso_document *out) {
    for (;;) {
        while (!corpus->at_end && corpus->end - corpus->begin <= WHOLE_BYTES) ISO_TRY(fill(corpus));
        int64_t n = corpus->end - corpus->begin;
        if (n == 0) {
            if (!corpus->is_cut) corpus->counts.n_empty++;
            return ISO_OK;
        }
        const char *text = corpus->buffer + corpus->begin;
        int64_t whole = corpus->is_cut ? CUT_MAX_BYTES : WHOLE_BYTES;
        int64_t length = n <= whole ? n : cut_at(text);
        int64_t position = corpus->position;
        corpus->is_cut = true;
        corpus->begin += length;
        corpus->position += length;
        int64_t bad = iso_utf8_check(text, length);
        if (bad == length) {
            *out = (iso_document){.text = text,
                                  .n_bytes = length,
                                  .path = current_path(corpus),
                                  .position = position};
            return ISO_OK;
        }
        if (corpus->options.invalid == ISO_INVALID_REJECT)
            return iso_fail(ISO_ERR_DATA,
                            "%s: byte %lld (0x%02X) is not valid UTF-8; repair the text, or leave "
                            "such documents out with --invalid skip",
                            current_path(corpus), (long long)(position + bad), (uint8_t)text[bad]);
        skip(corpus, &corpus->counts.n_bad_utf8, position, "not UTF-8");
    }
}

iso_status iso_corpus_next(iso_corpus *corpus, iso_document *out) {
    *out = (iso_document){0};
    for (;;) {
        if (!corpus->unpack) {
            if (corpus->i_file == corpus->n_files) return ISO_OK;
            ISO_TRY(open_file(corpus));
        }
        ISO_TRY(corpus->is_json ? next_json(corpus, out) : next_plain(corpus, out));
        if (out->text) {
            corpus->counts.n_documents++;
            corpus->counts.n_bytes += out->n_bytes;
            return ISO_OK;
        }
        finish_file(corpus);
    }
}
