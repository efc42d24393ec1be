#include "paper/figure_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void iso_figure_append_grouped(iso_str *out, int64_t value) {
    char *digits = iso_strf("%" PRId64, value);
    size_t n_digits = strlen(digits);
    for (size_t i = 0; i < n_digits; i++) {
        if (i > 0 && (n_digits - i) % 3 == 0 && digits[i - 1] != '-') iso_str_append(out, ",");
        iso_str_append_bytes(out, &digits[i], 1);
    }
    free(digits);
}

void iso_figure_append_power(iso_str *out, double value, int n_decimals) {
    char *text = iso_strf("%.*e", n_decimals, value);
    char *exponent = strchr(text, 'e');
    iso_str_append_bytes(out, text, (size_t)(exponent - text));
    iso_str_appendf(out, "e%ld", strtol(exponent + 1, NULL, 10));
    free(text);
}

void iso_figure_append_percent(iso_str *out, double frac, int n_decimals) {
    double percent = 100 * frac;
    bool is_nothing = fabs(percent) < 0.5 * pow(10, -n_decimals);
    iso_str_appendf(out, is_nothing ? "%.*f %%" : "%+.*f %%", n_decimals,
                    is_nothing ? 0.0 : percent);
}
