#include "report/report.h"

#include "base/fileio.h"
#include "report/page.h"
#include "report/sections.h"

#include <string.h>

static void append_training(iso_str *out, const iso_page_data *data) {
    iso_page_section(out, "training", "Over training");
    iso_figure_training_loss(out, data);
    iso_figure_validation(out, data);
    iso_figure_gain(out, data);
    iso_page_section_close(out);
}

/* The prepared folder that the runs name, if it is still there and still the same: it knows how far
 * gzip and byte frequencies compress each domain. Without it the page only lacks that scale. */
static bool open_dataset(iso_dataset *out, const iso_sides *sides) {
    if (sides->n == 0) return false;
    const iso_side_run *run = sides->sides[0].runs[0];
    const char *dir = iso_side_run_text(run, "data.dir");
    const char *hash = iso_side_run_text(run, "data_hash");
    if (!dir || !hash || iso_dataset_open(out, dir) != ISO_OK) return false;
    if (strcmp(out->hash, hash) == 0) return true;
    iso_dataset_close(out);
    return false;
}

iso_status iso_report_write(const char *path, const char *const *run_dirs, int64_t n_run_dirs,
                            const iso_report_options *options) {
    static const iso_report_options none = {0};
    iso_sides sides;
    ISO_TRY(iso_sides_open(&sides, run_dirs, n_run_dirs));
    iso_answer answer = iso_answer_make(&sides);
    iso_dataset dataset;
    bool has_dataset = open_dataset(&dataset, &sides);
    iso_page_data data = {&sides, &answer, options ? options : &none,
                          has_dataset ? &dataset : NULL};
    const char *title = data.options->title;
    iso_str page = {0};
    iso_page_open(&page, title ? title : "Dense or mixture of experts?");
    iso_section_answer(&page, &data);
    iso_figure_gap(&page, &data);
    iso_section_sides(&page, &data);
    append_training(&page, &data);
    iso_section_domains(&page, &data);
    iso_section_ledger(&page, &data);
    iso_section_router(&page, &data);
    iso_section_specialisation(&page, &data);
    iso_section_reproduce(&page, &data);
    iso_page_close(&page);
    iso_status status = iso_file_write_atomic(path, page.data, (int64_t)page.len);
    iso_str_release(&page);
    if (has_dataset) iso_dataset_close(&dataset);
    iso_sides_close(&sides);
    return status;
}
