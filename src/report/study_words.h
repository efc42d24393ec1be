/* study_words.h - the numbers of findings as people read them: on the page, in legends, in the
 * terminal.
 *
 * Owns: digits, intervals in words, the words for outcomes. Does not own: sentences, which come
 * with the findings (study/study_findings.h, I2).
 */
#ifndef ISO_REPORT_STUDY_WORDS_H
#define ISO_REPORT_STUDY_WORDS_H

#include "base/number.h"
#include "base/str.h"
#include "study/study_findings.h"

/* "resolved", "not resolved", "refused". */
const char *iso_outcome_words(iso_verdict_outcome outcome);
/* A class of the page's .answer: "moe" (an answer), "open", "none" (no comparison). */
const char *iso_outcome_class(iso_verdict_outcome outcome);

/* A value with the digits that its interval can tell apart: two of its half-width, or four of
 * the value's own where there is no interval; powers of ten where plain digits would be a row of
 * zeros. Fractions as percent where `is_percent`. Writes into `buffer` (ISO_NUMBER_BYTES). */
char *iso_finding_value(char *buffer, double value, double low, double high, bool is_percent);
/* "0.004 to 0.020"; "0.004 or more", "0.020 or less" where one end is open or not known; nothing if
 * both are. Digits as above; `value` may be NaN. */
void iso_finding_interval(iso_str *out, double value, double low, double high, bool is_percent);
/* "3 seeds", "1 run"; nothing for 0. `singular` without its s. */
void iso_finding_count(iso_str *out, int64_t n, const char *singular);
/* Whether its numbers are fractions to be shown as percent: of unit "activation rate" or "share of
 * ...". */
bool iso_verdict_is_percent(const iso_finding_verdict *verdict);
/* A verdict's numbers in one line: "0.012 BPC, 95 % interval 0.004 to 0.020; 3 seeds, 12 runs".
 * Empty (not NULL) if it has none; the caller frees it. */
char *iso_verdict_numbers(const iso_finding_verdict *verdict);

/* How far the study is, what kind it is: "scan, 12 of 14 runs finished". The caller frees it. */
char *iso_findings_progress(const iso_findings *findings);
bool iso_findings_are_refused(const iso_findings *findings);

#endif
