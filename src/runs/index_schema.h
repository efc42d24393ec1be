/* index_schema.h - the tables and views of the run index, as SQL. docs/run_index.md explains them.
 *
 * Not for others: they use run_index.h.
 *
 * Another shape of the tables is another ISO_INDEX_SCHEMA: an index of another one is made anew.
 */
#ifndef ISO_RUNS_INDEX_SCHEMA_H
#define ISO_RUNS_INDEX_SCHEMA_H

#define ISO_INDEX_SCHEMA      2          /* PRAGMA user_version */
#define ISO_INDEX_APPLICATION 0x49534f52 /* PRAGMA application_id: "ISOR" */

extern const char iso_index_schema_sql[];

#endif
