#include "paper/paper_findings.h"

#include "paper/finding.h"

static const struct {
    const char *group, *title;
    void (*write)(iso_str *out, const iso_paper *paper);
} findings_in_order[] = {
    {"Learning rate and batch", "2B: MoE and dense were not tuned alike", iso_finding_settings_2b},
    {"Learning rate and batch", "3B: the settings of other models", iso_finding_settings_3b},
    {"Learning rate and batch", "7B: as the law has it", iso_finding_settings_7b},
    {"How equal", "\"Fixed C\" is fixed to a few per cent", iso_finding_fixed_compute},
    {"How equal", "\"Equal N\" is nearly equal", iso_finding_equal_params},
    {"How equal", "The repeated data at 3B is that of 2B", iso_finding_reuse_sizes},
    {"How equal", "D/N >= 20 does not hold everywhere", iso_finding_data_ratio},
    {"How equal", "The fixed ratios", iso_finding_frames},
    {"Equations", "Equation 6: a factor 2", iso_finding_equation_6},
    {"Equations", "Equation 10: upside down", iso_finding_equation_10},
    {"Equations", "\"R_c times more tokens\"", iso_finding_more_tokens},
    {"Equations", "M means two things", iso_finding_training_flops},
    {"Equations", "The balance loss is divided by K", iso_finding_balance_loss},
    {"Tables", "Table 5, rows 1 to 3", iso_finding_table_5},
    {"Tables", "Table 7, rows 1 and 2", iso_finding_table_7},
    {"Tables", "Table 8: zeta", iso_finding_table_8},
    {"Tables", "Two conventions", iso_finding_mixed_counting},
    {"Tables", "Tables 15 and 16: one D/N", iso_finding_ratio_misprint},
    {"What the results can bear", "One configuration, two figures", iso_finding_noise},
    {"What the results can bear", "Wide and narrow experts in one scan",
     iso_finding_coarse_experts},
    {"What the results can bear", "Points near the optimum", iso_finding_gaps_in_scan},
    {"What the results can bear", "Head width", iso_finding_head_width},
};

void iso_paper_findings_make(iso_paper_findings *out, const iso_paper *paper) {
    size_t n = sizeof findings_in_order / sizeof *findings_in_order;
    *out = (iso_paper_findings){0};
    ISO_ASSERT(n <= sizeof out->items / sizeof *out->items);
    for (size_t i = 0; i < n; i++) {
        iso_paper_finding *finding = &out->items[out->n++];
        finding->group = findings_in_order[i].group;
        finding->title = findings_in_order[i].title;
        findings_in_order[i].write(&finding->text, paper);
    }
}

void iso_paper_findings_release(iso_paper_findings *findings) {
    for (int64_t i = 0; i < findings->n; i++) iso_str_release(&findings->items[i].text);
    findings->n = 0;
}
