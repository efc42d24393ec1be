#include "data/text_stats.h"

#include <math.h>
#include <stdlib.h>
#include <zlib.h>

#define OUTPUT_BYTES (64 * 1024)

iso_status iso_text_stats_init(iso_text_stats *out, int64_t gzip_max_bytes) {
    *out = (iso_text_stats){.gzip_max_bytes = gzip_max_bytes};
    out->gzip = calloc(1, sizeof *out->gzip);
    /* 15 + 16: the largest window and a gzip header, as the command writes. */
    if (out->gzip && deflateInit2(out->gzip, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK)
        return ISO_OK;
    free(out->gzip);
    out->gzip = NULL;
    return iso_fail(ISO_ERR_MEMORY, "no memory to measure how the text compresses");
}

void iso_text_stats_release(iso_text_stats *stats) {
    if (stats->gzip) deflateEnd(stats->gzip);
    free(stats->gzip);
    *stats = (iso_text_stats){0};
}

static void feed_gzip(iso_text_stats *stats, const char *text, int64_t n_bytes, int flush) {
    uint8_t output[OUTPUT_BYTES];
    stats->gzip->next_in = (z_const Bytef *)text;
    stats->gzip->avail_in = (uInt)n_bytes;
    do {
        stats->gzip->next_out = output;
        stats->gzip->avail_out = OUTPUT_BYTES;
        deflate(stats->gzip, flush);
        stats->gzip_out_bytes += OUTPUT_BYTES - stats->gzip->avail_out;
    } while (stats->gzip->avail_out == 0);
    stats->gzip_in_bytes += n_bytes;
}

void iso_text_stats_add(iso_text_stats *stats, const char *text, int64_t n_bytes) {
    for (int64_t i = 0; i < n_bytes; i++) stats->byte_counts[(uint8_t)text[i]]++;
    stats->n_bytes += n_bytes;
    int64_t room = stats->gzip_max_bytes - stats->gzip_in_bytes;
    for (int64_t left = n_bytes < room ? n_bytes : room; left > 0;) {
        int64_t n = left < INT32_MAX ? left : INT32_MAX;
        feed_gzip(stats, text, n, Z_NO_FLUSH);
        text += n;
        left -= n;
    }
}

void iso_text_stats_finish(iso_text_stats *stats) {
    feed_gzip(stats, "", 0, Z_FINISH);
}

double iso_text_stats_order0(const iso_text_stats *stats) {
    double bits = 0.0;
    for (int i = 0; i < 256; i++) {
        if (stats->byte_counts[i] == 0) continue;
        double p = (double)stats->byte_counts[i] / (double)stats->n_bytes;
        bits -= p * log2(p);
    }
    return bits;
}

double iso_text_stats_gzip9(const iso_text_stats *stats) {
    if (stats->gzip_in_bytes == 0) return 0.0;
    return 8.0 * (double)stats->gzip_out_bytes / (double)stats->gzip_in_bytes;
}
