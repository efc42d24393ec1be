/* text_stats.h - how far simple means compress a text: the scale beside a model's bits per byte. */
#ifndef ISO_DATA_TEXT_STATS_H
#define ISO_DATA_TEXT_STATS_H

#include "base/status.h"

#include <stdint.h>

typedef struct iso_text_stats {
    int64_t byte_counts[256];
    int64_t n_bytes;
    int64_t gzip_max_bytes; /* gzip sees the text up to here: it is slow, and soon settles */
    int64_t gzip_in_bytes, gzip_out_bytes;
    struct z_stream_s *gzip;
} iso_text_stats;

iso_status iso_text_stats_init(iso_text_stats *out, int64_t gzip_max_bytes);
void iso_text_stats_release(iso_text_stats *stats);
void iso_text_stats_add(iso_text_stats *stats, const char *text, int64_t n_bytes);
/* Ends the gzip stream; nothing may be added after it. */
void iso_text_stats_finish(iso_text_stats *stats);

/* Entropy of the byte frequencies, bits per byte; 0 for no text. */
double iso_text_stats_order0(const iso_text_stats *stats);
/* What `gzip -9` makes of it, bits per byte; 0 for no text. */
double iso_text_stats_gzip9(const iso_text_stats *stats);

#endif
