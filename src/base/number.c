#include "base/number.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EN_DASH    "\xe2\x80\x93"
#define MINUS      "\xe2\x88\x92"
#define THIN_SPACE "\xe2\x80\xaf" /* narrow and unbreakable */

static char *put(char *buffer, const char *text) {
    snprintf(buffer, ISO_NUMBER_BYTES, "%s", text);
    return buffer;
}

char *iso_number_fixed(char *buffer, double value, int decimals) {
    if (!isfinite(value)) return put(buffer, EN_DASH);
    char digits[ISO_NUMBER_BYTES - 4];
    snprintf(digits, sizeof digits, "%.*f", decimals, fabs(value));
    /* A value that rounds to zero has no sign: no "-0.000" on the page. */
    bool negative = value < 0.0 && strtod(digits, NULL) != 0.0;
    snprintf(buffer, ISO_NUMBER_BYTES, "%s%s", negative ? MINUS : "", digits);
    return buffer;
}

char *iso_number_signed(char *buffer, double value, int decimals) {
    char plain[ISO_NUMBER_BYTES];
    iso_number_fixed(plain, value, decimals);
    bool positive = isfinite(value) && value > 0.0 && strtod(plain, NULL) > 0.0;
    snprintf(buffer, ISO_NUMBER_BYTES, "%s%.*s", positive ? "+" : "", ISO_NUMBER_BYTES - 2, plain);
    return buffer;
}

char *iso_number_short(char *buffer, double value, int digits) {
    if (!isfinite(value)) return put(buffer, EN_DASH);
    if (value == 0.0) return put(buffer, "0");
    int exponent = (int)floor(log10(fabs(value)));
    int decimals = digits - 1 - exponent;
    if (decimals < 0) decimals = 0;
    iso_number_fixed(buffer, value, decimals);
    char *dot = strchr(buffer, '.');
    if (!dot) return buffer;
    char *end = buffer + strlen(buffer);
    while (end[-1] == '0') *--end = '\0';
    if (end[-1] == '.') *--end = '\0';
    return buffer;
}

char *iso_number_count(char *buffer, double value) {
    static const struct {
        double size;
        const char *unit;
    } units[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "k"}};
    if (!isfinite(value)) return put(buffer, EN_DASH);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        /* 999,600 is 1.00M and not 1000k: the unit is chosen after rounding. */
        if (fabs(value) < units[i].size * 0.9995) continue;
        double scaled = value / units[i].size;
        int decimals = fabs(scaled) < 9.995 ? 2 : fabs(scaled) < 99.95 ? 1 : 0;
        snprintf(buffer, ISO_NUMBER_BYTES, "%.*f%s", decimals, scaled, units[i].unit);
        return buffer;
    }
    return iso_number_short(buffer, value, 3);
}

char *iso_number_power_of_ten(char *buffer, int exponent) {
    static const char *const raised[] = {
        "\xe2\x81\xb0", "\xc2\xb9",     "\xc2\xb2",     "\xc2\xb3",     "\xe2\x81\xb4",
        "\xe2\x81\xb5", "\xe2\x81\xb6", "\xe2\x81\xb7", "\xe2\x81\xb8", "\xe2\x81\xb9"};
    char digits[16];
    snprintf(digits, sizeof digits, "%d", abs(exponent));
    snprintf(buffer, ISO_NUMBER_BYTES, "10%s", exponent < 0 ? "\xe2\x81\xbb" : "");
    for (const char *at = digits; *at; at++)
        strncat(buffer, raised[*at - '0'], ISO_NUMBER_BYTES - strlen(buffer) - 1);
    return buffer;
}

char *iso_number_power(char *buffer, double value) {
    if (!isfinite(value)) return put(buffer, EN_DASH);
    if (fabs(value) < 1e5) return iso_number_short(buffer, value, 3);
    char mantissa[16];
    snprintf(mantissa, sizeof mantissa, "%.2e", fabs(value));
    int exponent = atoi(strchr(mantissa, 'e') + 1);
    *strchr(mantissa, 'e') = '\0';
    char power[ISO_NUMBER_BYTES];
    snprintf(buffer, ISO_NUMBER_BYTES, "%s%s\xc2\xa0\xc3\x97\xc2\xa0%.36s",
             value < 0.0 ? MINUS : "", mantissa, iso_number_power_of_ten(power, exponent));
    return buffer;
}

char *iso_number_grouped(char *buffer, int64_t value) {
    char digits[32];
    snprintf(digits, sizeof digits, "%llu",
             value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value);
    size_t n = strlen(digits), at = 0;
    buffer[0] = '\0';
    if (value < 0) at += (size_t)snprintf(buffer, ISO_NUMBER_BYTES, MINUS);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            at += (size_t)snprintf(buffer + at, ISO_NUMBER_BYTES - at, THIN_SPACE);
        buffer[at++] = digits[i];
        buffer[at] = '\0';
    }
    return buffer;
}

char *iso_number_percent(char *buffer, double fraction, int decimals) {
    char number[ISO_NUMBER_BYTES];
    iso_number_fixed(number, 100.0 * fraction, decimals);
    snprintf(buffer, ISO_NUMBER_BYTES, "%.*s\xc2\xa0%%", ISO_NUMBER_BYTES - 5, number);
    return buffer;
}

int iso_number_decimals(double spread) {
    if (!(spread > 0.0) || !isfinite(spread)) return 3;
    int decimals = 1 - (int)floor(log10(spread));
    return decimals < 2 ? 2 : decimals > 4 ? 4 : decimals;
}
