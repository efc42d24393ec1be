/* finding.h - one function per finding: appends its paragraph. paper_findings.c has them in order.
 */
#ifndef ISO_PAPER_FINDING_H
#define ISO_PAPER_FINDING_H

#include "base/str.h"
#include "paper/paper.h"

/* finding_equal.c: settings, and how equal the equal quantities are. */
void iso_finding_settings_2b(iso_str *out, const iso_paper *paper);
void iso_finding_settings_3b(iso_str *out, const iso_paper *paper);
void iso_finding_settings_7b(iso_str *out, const iso_paper *paper);
void iso_finding_fixed_compute(iso_str *out, const iso_paper *paper);
void iso_finding_equal_params(iso_str *out, const iso_paper *paper);
void iso_finding_data_ratio(iso_str *out, const iso_paper *paper);
void iso_finding_reuse_sizes(iso_str *out, const iso_paper *paper);
void iso_finding_frames(iso_str *out, const iso_paper *paper);

/* finding_printed.c: equations, single tables, and what the results can bear. */
void iso_finding_equation_6(iso_str *out, const iso_paper *paper);
void iso_finding_equation_10(iso_str *out, const iso_paper *paper);
void iso_finding_more_tokens(iso_str *out, const iso_paper *paper);
void iso_finding_training_flops(iso_str *out, const iso_paper *paper);
void iso_finding_table_5(iso_str *out, const iso_paper *paper);
void iso_finding_table_7(iso_str *out, const iso_paper *paper);
void iso_finding_table_8(iso_str *out, const iso_paper *paper);
void iso_finding_mixed_counting(iso_str *out, const iso_paper *paper);
void iso_finding_ratio_misprint(iso_str *out, const iso_paper *paper);
void iso_finding_balance_loss(iso_str *out, const iso_paper *paper);
void iso_finding_noise(iso_str *out, const iso_paper *paper);
void iso_finding_coarse_experts(iso_str *out, const iso_paper *paper);
void iso_finding_gaps_in_scan(iso_str *out, const iso_paper *paper);
void iso_finding_head_width(iso_str *out, const iso_paper *paper);

#endif
