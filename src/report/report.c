#include "report/report.h"

#include "base/fileio.h"
#include "report/page.h"
#include "report/sections.h"

static void append_training(iso_str *out, const iso_page_data *data) {
    iso_page_section(out, "training", "Over training");
    iso_figure_training_loss(out, data);
    iso_figure_validation(out, data);
    iso_page_section_close(out);
}

iso_status iso_report_write(const char *path, const char *const *run_dirs, int64_t n_run_dirs,
                            const iso_report_options *options) {
    static const iso_report_options none = {0};
    iso_sides sides;
    ISO_TRY(iso_sides_open(&sides, run_dirs, n_run_dirs));
    iso_verdict verdict = iso_verdict_make(&sides, (iso_equality){0});
    iso_page_data data = {&sides, &verdict, options ? options : &none};
    const char *title = data.options->title;
    iso_str page = {0};
    iso_page_open(&page, title ? title : "Dense or mixture of experts, at equal N, C and D");
    iso_section_answer(&page, &data);
    iso_figure_gap(&page, &data);
    iso_section_sides(&page, &data);
    append_training(&page, &data);
    iso_section_domains(&page, &data);
    iso_section_ledger(&page, &data);
    iso_section_router(&page, &data);
    iso_section_reproduce(&page, &data);
    iso_page_close(&page);
    iso_status status = iso_file_write_atomic(path, page.data, (int64_t)page.len);
    iso_str_release(&page);
    iso_sides_close(&sides);
    return status;
}
