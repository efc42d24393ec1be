#include "study/glance.h"

#include "base/json.h"
#include "base/str.h"
#include "data/dataset.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Holds some hundred step rows, and so an evaluation in most runs. */
#define TAIL_BYTES 65536

/* The last bytes of a file, from the start of a line; NULL if there are none. */
static char *read_tail(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *tail = fd >= 0 ? malloc(TAIL_BYTES + 1) : NULL;
    ssize_t n = 0;
    if (tail) {
        off_t size = lseek(fd, 0, SEEK_END);
        off_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
        n = pread(fd, tail, TAIL_BYTES, from);
        tail[n > 0 ? n : 0] = '\0';
        char *line = from > 0 ? strchr(tail, '\n') : NULL;
        if (line) memmove(tail, line + 1, strlen(line + 1) + 1);
        char *end = strrchr(tail, '\n'); /* a torn last line is no row */
        if (end) *end = '\0';
        if (!end) n = 0;
    }
    if (fd >= 0) close(fd);
    if (n > 0) return tail;
    free(tail);
    return NULL;
}

/* Equal-weight mean over the named domains, over the hold-out where there is no other. */
static double headline(const json_t *val) {
    const char *name;
    json_t *scores;
    double sum = 0;
    int n = 0;
    json_object_foreach((json_t *)(uintptr_t)val, name, scores) {
        if (strcmp(name, ISO_HOLDOUT) == 0 && json_object_size(val) > 1) continue;
        sum += json_number_value(json_object_get(scores, "bpc"));
        n++;
    }
    return n > 0 ? sum / n : NAN;
}

static void take_row(iso_glance *out, const json_t *row) {
    const json_t *step = json_object_get(row, "step"), *val = json_object_get(row, "val");
    const json_t *speed = json_object_get(row, "tokens_per_s");
    if (out->step == 0 && json_is_integer(step)) out->step = json_integer_value(step);
    if (isnan(out->tokens_per_s) && json_is_number(speed))
        out->tokens_per_s = json_number_value(speed);
    if (isnan(out->bpc) && json_is_object(val)) out->bpc = headline(val);
}

iso_glance iso_run_glance(const char *run_dir) {
    iso_glance out = {.tokens_per_s = NAN, .bpc = NAN};
    char *path = iso_strf("%s/metrics.jsonl", run_dir), *tail = read_tail(path);
    char *end = tail ? tail + strlen(tail) : NULL;
    /* From the last line back: the first row of each kind is what is asked for. */
    while (end && (out.step == 0 || isnan(out.tokens_per_s) || isnan(out.bpc))) {
        *end = '\0';
        char *before = strrchr(tail, '\n'), *line = before ? before + 1 : tail;
        bool wanted = out.step == 0 || isnan(out.tokens_per_s) || strstr(line, "\"val\"");
        json_t *row = wanted ? json_loads(line, 0, NULL) : NULL;
        if (row) take_row(&out, row);
        json_decref(row);
        end = before;
    }
    free(tail);
    free(path);
    return out;
}
