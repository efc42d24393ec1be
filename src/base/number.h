/* number.h - numbers as people read them: in sentences, tables and figures alike. */
#ifndef ISO_BASE_NUMBER_H
#define ISO_BASE_NUMBER_H

#include <stdint.h>

/* Numbers for people. Each writes into `buffer` (at least ISO_NUMBER_BYTES) and returns it; NaN
 * becomes an en dash, the page's sign for "not known". */
#define ISO_NUMBER_BYTES 64
/* Fixed decimals, with a real minus sign. */
char *iso_number_fixed(char *buffer, double value, int decimals);
/* As fixed, and always a sign. */
char *iso_number_signed(char *buffer, double value, int decimals);
/* Up to `digits` significant digits, trailing zeros dropped, no exponent: 0.00117, 0.5, 12. */
char *iso_number_short(char *buffer, double value, int digits);
/* Three significant digits and a unit: 452k, 4.50M, 2.15B. */
char *iso_number_count(char *buffer, double value);
/* 1.31 x 10^13 with a real multiplication sign and superscripts; plain below 10^5. */
char *iso_number_power(char *buffer, double value);
/* An integer with thin spaces between groups of three digits. */
char *iso_number_grouped(char *buffer, int64_t value);
/* 0.1994 -> "19.9 %". */
char *iso_number_percent(char *buffer, double fraction, int decimals);
/* Decimals that show `spread` with two significant digits, within [2, 4]: the digits of a gap. */
int iso_number_decimals(double spread);
/* The superscript of a power of ten: 13 -> "10" and a raised 13. */
char *iso_number_power_of_ten(char *buffer, int exponent);

#endif
