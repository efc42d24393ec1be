/* paper_data.h - the bytes of src/paper/tables/, put into paper_data.c by the build. */
#ifndef ISO_PAPER_PAPER_DATA_H
#define ISO_PAPER_PAPER_DATA_H

typedef struct iso_paper_data {
    int table;
    const char *csv; /* the whole file, NUL-terminated */
} iso_paper_data;

/* Ascending by table; one with csv NULL ends them. */
extern const iso_paper_data iso_paper_tables_data[];

#endif
