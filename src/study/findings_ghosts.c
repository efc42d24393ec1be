/* The paper's own points, where its axes and ours are the same: differences, not levels. */
#include "study/findings_build.h"

#include "paper/paper_comparisons.h"
#include "paper/paper_runs.h"

#include <math.h>
#include <string.h>

#define TABLE_UNIQUE_7B 12
#define TABLE_DENSE     14

/* A table's MoEs against a dense model; only those of as many tokens where these are equal. */
static iso_status add_gaps(iso_finding_figure *figure, int table, int dense_row, bool equal_tokens,
                           const char *name) {
    iso_paper_run runs[ISO_PAPER_N_RUNS];
    iso_series_point points[ISO_PAPER_N_RUNS];
    const iso_paper_run *dense = NULL;
    ISO_TRY(iso_paper_runs(runs));
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++)
        if (runs[i].table == TABLE_DENSE && runs[i].row == dense_row) dense = &runs[i];
    ISO_ASSERT(dense != NULL);
    iso_series series = {.name = (char *)name, .kind = ISO_SERIES_GHOST, .points = points};
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++) {
        if (runs[i].table != table || runs[i].is_dense) continue;
        bool equal = iso_findings_same((double)runs[i].tokens, (double)dense->tokens);
        if (equal_tokens && !equal) continue;
        points[series.n++] = (iso_series_point){
            .x = runs[i].activation_rate, .y = dense->bpc - runs[i].bpc, .low = NAN, .high = NAN};
    }
    return iso_findings_series(figure, &series);
}

iso_status iso_findings_ghost_gaps(iso_finding_figure *figure, const char *comparison,
                                   const char *name) {
    int i = 0;
    while (i < ISO_PAPER_N_COMPARISONS && strcmp(iso_paper_comparisons[i].name, comparison) != 0)
        i++;
    ISO_ASSERT(i < ISO_PAPER_N_COMPARISONS);
    const iso_paper_comparison *of = &iso_paper_comparisons[i];
    return add_gaps(figure, of->table, of->dense_row, false, name);
}

iso_status iso_findings_ghost_tokens(iso_finding_figure *figure, int table, int dense_row,
                                     const char *name) {
    return add_gaps(figure, table, dense_row, true, name);
}

iso_status iso_findings_ghost_penalties(iso_finding_figure *figure, int table, const char *name) {
    iso_paper_run runs[ISO_PAPER_N_RUNS];
    iso_series_point points[ISO_PAPER_N_RUNS];
    iso_series series = {.name = (char *)name, .kind = ISO_SERIES_GHOST, .points = points};
    ISO_TRY(iso_paper_runs(runs));
    for (int i = 0; i < ISO_PAPER_N_RUNS; i++)
        for (int j = 0; j < ISO_PAPER_N_RUNS; j++) {
            const iso_paper_run *repeated = &runs[i], *once = &runs[j];
            if (repeated->table != table || once->table != TABLE_UNIQUE_7B) continue;
            if (memcmp(&repeated->shape, &once->shape, sizeof repeated->shape) != 0) continue;
            points[series.n++] =
                (iso_series_point){.x = (double)repeated->tokens / (double)repeated->unique_tokens,
                                   .y = repeated->bpc - once->bpc,
                                   .low = NAN,
                                   .high = NAN};
        }
    return iso_findings_series(figure, &series);
}
