/* page_sums.h - an SQLite file system layer that keeps a checksum in every page of a database.
 *
 * SQLite finds damage to the structure of a file, not to the numbers in it. Below this layer each
 * page of 4,096 bytes ends in the XXH3-64 of the bytes before it, seeded with its place in the file
 * and stored big-endian; SQLite leaves these 8 bytes alone ("reserved"). Journals pass through
 * unchanged: they have sums of their own.
 *
 * (I1) a page that is not as it was written is never given to SQLite: the read fails with
 *      SQLITE_IOERR_DATA. The one exception is asked for: emptying a damaged file has to read it.
 */
#ifndef ISO_RUNS_PAGE_SUMS_H
#define ISO_RUNS_PAGE_SUMS_H

#include "base/status.h"

#include <sqlite3.h>
#include <stdbool.h>

#define ISO_PAGE_BYTES     4096
#define ISO_PAGE_SUM_BYTES 8

typedef struct iso_page_sums iso_page_sums;

/* Registers the layer under a name of its own for sqlite3_open_v2. */
iso_status iso_page_sums_create(iso_page_sums **out);
const char *iso_page_sums_name(const iso_page_sums *sums);
/* After the last database that uses it has been closed. */
void iso_page_sums_free(iso_page_sums *sums);

/* Off while a database is emptied whatever it holds; on is the default. */
void iso_page_sums_check(iso_page_sums *sums, bool is_on);

/* Once after opening, before anything is read: reserves the bytes of a database yet to be made. */
iso_status iso_page_sums_reserve(sqlite3 *db);

#endif
