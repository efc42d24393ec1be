/* A reader walks the text once; every production of the grammar in the header is a function that
 * takes what it knows and leaves the reader behind it. Messages quote what the user typed. */
#include "arch/quantity.h"

#include <ctype.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UTILISATION_USUAL 0.4
#define FLOPS_MAX         1e30
#define DEVICES_MAX       10000000

typedef struct reader {
    const char *what, *text, *at;
} reader;

/* "--params `7X`: " and the rest. */
static iso_status fail(const reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static iso_status fail(const reader *r, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    iso_fail(ISO_ERR_USAGE, "%s `%.80s`: %s", r->what, r->text, message);
    return ISO_ERR_USAGE;
}

static void skip_blanks(reader *r) {
    while (*r->at == ' ' || *r->at == '\t') r->at++;
}

static iso_status begin(reader *r, const char *what, const char *text) {
    *r = (reader){what, text, text};
    if (strlen(text) > ISO_QUANTITY_MAX)
        return fail(r, "longer than any quantity; give at most %d characters", ISO_QUANTITY_MAX);
    skip_blanks(r);
    if (*r->at == '\0') return fail(r, "nothing is given");
    return ISO_OK;
}

static iso_status finish(reader *r) {
    skip_blanks(r);
    if (*r->at == '\0') return ISO_OK;
    return fail(r, "`%.40s` is left over", r->at);
}

/* --- numbers --- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

typedef struct number {
    const char *from, *mantissa_end; /* digits and a point */
    long exponent;                   /* as written */
} number;

/* The number times 10^exponent: one conversion, so the result is the nearest double (I2). */
static double convert(const number *n, int exponent) {
    char digits[ISO_QUANTITY_MAX + 32];
    snprintf(digits, sizeof digits, "%.*se%ld", (int)(n->mantissa_end - n->from), n->from,
             n->exponent + exponent);
    return strtod(digits, NULL);
}

static iso_status read_number(reader *r, number *out) {
    const char *at = r->at;
    if (*at == '-') return fail(r, "negative; give a positive number");
    if (*at == '+') at++;
    out->from = at;
    while (is_digit(*at)) at++;
    if (*at == '.' && at[1] != '.') {
        at++;
        while (is_digit(*at)) at++;
    }
    int64_t n_digits = at - out->from - (memchr(out->from, '.', (size_t)(at - out->from)) != NULL);
    if (n_digits == 0) return fail(r, "no number at `%.40s`; write 7e9, 7B or 2.86e21", r->at);
    out->mantissa_end = at;
    out->exponent = 0;
    bool has_exponent = (*at == 'e' || *at == 'E') &&
                        (is_digit(at[1]) || ((at[1] == '+' || at[1] == '-') && is_digit(at[2])));
    if (has_exponent) {
        char *end;
        long exponent = strtol(at + 1, &end, 10);
        out->exponent = exponent > 9999 ? 9999 : exponent < -9999 ? -9999 : exponent;
        at = end;
    }
    r->at = at;
    return ISO_OK;
}

/* Positive and at most `max`. */
static iso_status check_value(const reader *r, double *out, double value, double max) {
    if (value == 0) return fail(r, "zero, or too small to matter; give a positive number");
    if (!(value <= max)) return fail(r, "too large; at most %g", max);
    *out = value;
    return ISO_OK;
}

/* --- units --- */

typedef struct unit {
    const char *name;
    int exponent;  /* of ten */
    double factor; /* beyond it; 0 = 1 */
} unit;

static const unit count_units[] = {
    {"K", 3, 0},       {"M", 6, 0},       {"B", 9, 0},         {"G", 9, 0},
    {"T", 12, 0},      {"P", 15, 0},      {"bn", 9, 0},        {"thousand", 3, 0},
    {"million", 6, 0}, {"billion", 9, 0}, {"trillion", 12, 0},
};
static const unit flop_units[] = {
    {"FLOP", 0, 0},   {"GFLOP", 9, 0},  {"TFLOP", 12, 0},           {"PFLOP", 15, 0},
    {"EFLOP", 18, 0}, {"ZFLOP", 21, 0}, {"PFLOP/s-day", 15, 86400}, {"PFLOP-day", 15, 86400},
};
static const unit time_units[] = {
    {"s", 0, 1},       {"sec", 0, 1},   {"m", 0, 60},      {"min", 0, 60},   {"h", 0, 3600},
    {"hour", 0, 3600}, {"d", 0, 86400}, {"day", 0, 86400}, {"w", 0, 604800}, {"week", 0, 604800},
};
#define N_OF(units) (sizeof(units) / sizeof *(units))

/* Words of two letters and more may have a plural. */
static const unit *find_unit(const unit *units, size_t n, const char *name, size_t n_name) {
    bool plural = n_name > 2 && tolower((unsigned char)name[n_name - 1]) == 's';
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(units[i].name);
        bool fits = length == n_name || (plural && length + 1 == n_name);
        if (fits && strncasecmp(units[i].name, name, length) == 0) return &units[i];
    }
    return NULL;
}

static void lower(char *out, size_t n_out, const char *word) {
    size_t i = 0;
    for (; word[i] && i + 1 < n_out; i++) out[i] = (char)tolower((unsigned char)word[i]);
    out[i] = '\0';
}

/* The unit that was probably meant, or NULL. One letter is near to every other: no guess there. */
static const char *nearest_unit(const unit *units, size_t n, const char *word) {
    const char *names[32];
    char lowered[32][16], low_word[64];
    ISO_ASSERT(n <= N_OF(names));
    if (strlen(word) < 3) return NULL;
    lower(low_word, sizeof low_word, word);
    for (size_t i = 0; i < n; i++) {
        lower(lowered[i], sizeof lowered[i], units[i].name);
        names[i] = lowered[i];
    }
    const char *near = iso_str_nearest(low_word, names, n);
    for (size_t i = 0; i < n; i++)
        if (near == names[i]) return units[i].name;
    return NULL;
}

static iso_status fail_unit(const reader *r, const unit *units, size_t n, const char *name,
                            size_t n_name, const char *known) {
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)n_name, name);
    const char *near = nearest_unit(units, n, word);
    if (near) return fail(r, "unknown unit `%s`; did you mean %s?", word, near);
    return fail(r, "unknown unit `%s`; known are %s", word, known);
}

/* The letters of a unit; "/" and "-" within, as in PFLOP/s-days. An x before a digit or a blank is
 * the sign of multiplication. */
static size_t unit_length(const char *at) {
    size_t n = 0;
    for (;; n++) {
        bool letter = isalpha((unsigned char)at[n]) ||
                      ((at[n] == '/' || at[n] == '-') && isalpha((unsigned char)at[n + 1]));
        bool times = (at[n] == 'x' || at[n] == 'X') && !isalpha((unsigned char)at[n + 1]);
        if (!letter || times) return n;
    }
}

#define COUNT_UNITS_KNOWN "K, M, B, T (thousand, million, billion, trillion)"

/* count_units, or, if `flops`, those of compute as well. */
static iso_status read_count(reader *r, double *out, double max, bool flops) {
    number n;
    ISO_TRY(read_number(r, &n));
    skip_blanks(r);
    size_t length = unit_length(r->at);
    const unit *u = NULL;
    if (length > 0) {
        u = find_unit(count_units, N_OF(count_units), r->at, length);
        if (!u && flops) u = find_unit(flop_units, N_OF(flop_units), r->at, length);
        if (!u && flops)
            return fail_unit(r, flop_units, N_OF(flop_units), r->at, length,
                             "K, M, B, T, PFLOP, EFLOP, ZFLOP, PFLOP-days");
        if (!u)
            return fail_unit(r, count_units, N_OF(count_units), r->at, length, COUNT_UNITS_KNOWN);
        r->at += length;
    }
    double value = convert(&n, u ? u->exponent : 0);
    if (u && u->factor > 0) value *= u->factor;
    return check_value(r, out, value, max);
}

iso_status iso_quantity_count(int64_t *out, const char *what, const char *text) {
    reader r;
    double value = 0;
    ISO_TRY(begin(&r, what, text));
    ISO_TRY(read_count(&r, &value, (double)ISO_COUNT_MAX, false));
    ISO_TRY(finish(&r));
    if (value != floor(value)) return fail(&r, "not a whole number");
    *out = (int64_t)value;
    return ISO_OK;
}

/* --- fractions and rates --- */

static iso_status read_fraction(reader *r, double *out) {
    number n;
    ISO_TRY(read_number(r, &n));
    skip_blanks(r);
    bool percent = *r->at == '%';
    r->at += percent;
    double value = 0;
    ISO_TRY(check_value(r, &value, convert(&n, percent ? -2 : 0), DBL_MAX));
    if (value <= 1) {
        *out = value;
        return ISO_OK;
    }
    if (!percent && value <= 100)
        return fail(r, "a fraction is at most 1; write %g%% if percent is meant", value);
    return fail(r, "a fraction is at most 1 (100 %%)");
}

iso_status iso_quantity_fraction(double *out, const char *what, const char *text) {
    reader r;
    double value = 0;
    ISO_TRY(begin(&r, what, text));
    ISO_TRY(read_fraction(&r, &value));
    ISO_TRY(finish(&r));
    *out = value;
    return ISO_OK;
}

/* Ascending, each once. */
static iso_status add_rate(const reader *r, double *rates, int64_t *n, int64_t n_max, double rate) {
    if (!(rate < 1))
        return fail(r, "an activation rate is below 1 (100 %% is the dense baseline, which every "
                       "plan has)");
    if (*n >= n_max) return fail(r, "more than %" PRId64 " activation rates", n_max);
    int64_t i = *n;
    while (i > 0 && rates[i - 1] > rate) i--;
    if (i > 0 && rates[i - 1] > rate * (1 - 1e-9))
        return fail(r, "the activation rate %g is given twice", rate);
    if (i < *n && rates[i] < rate * (1 + 1e-9))
        return fail(r, "the activation rate %g is given twice", rate);
    memmove(&rates[i + 1], &rates[i], (size_t)(*n - i) * sizeof *rates);
    rates[i] = rate;
    ++*n;
    return ISO_OK;
}

static iso_status read_whole(reader *r, int64_t *out, int64_t max) {
    const char *from = r->at;
    int64_t value = 0;
    for (; is_digit(*r->at); r->at++)
        if (value <= max) value = 10 * value + (*r->at - '0');
    if (r->at == from) return fail(r, "a whole number is missing at `%.40s`", from);
    if (value < 1 || value > max) return fail(r, "a number from 1 to %" PRId64 " is needed", max);
    *out = value;
    return ISO_OK;
}

static iso_status read_rates(reader *r, double *rates, int64_t *n, int64_t n_max) {
    double first = 0, last = 0;
    int64_t steps = 0;
    ISO_TRY(read_fraction(r, &first));
    skip_blanks(r);
    if (strncmp(r->at, "..", 2) != 0) return add_rate(r, rates, n, n_max, first);
    r->at += 2;
    skip_blanks(r);
    ISO_TRY(read_fraction(r, &last));
    skip_blanks(r);
    if (*r->at != '/')
        return fail(r, "a range says how many: %g..%g/9 for nine rates", first, last);
    r->at++;
    ISO_TRY(read_whole(r, &steps, n_max));
    if (steps < 2) return fail(r, "a range has at least 2 rates; its ends belong to it");
    if (!(first < last)) return fail(r, "a range goes up: %g..%g", last, first);
    for (int64_t i = 0; i < steps; i++) {
        double part = (double)i / (double)(steps - 1);
        double rate = i == steps - 1 ? last : first * pow(last / first, part);
        ISO_TRY(add_rate(r, rates, n, n_max, rate));
    }
    return ISO_OK;
}

iso_status iso_quantity_rates(double *rates, int64_t *n, int64_t n_max, const char *what,
                              const char *text) {
    reader r;
    double found[256];
    int64_t n_found = *n;
    ISO_ASSERT(n_max <= (int64_t)N_OF(found) && n_found <= n_max);
    memcpy(found, rates, (size_t)n_found * sizeof *found);
    ISO_TRY(begin(&r, what, text));
    for (;;) {
        ISO_TRY(read_rates(&r, found, &n_found, n_max));
        skip_blanks(&r);
        if (*r.at != ',') break;
        r.at++;
        skip_blanks(&r);
    }
    ISO_TRY(finish(&r));
    memcpy(rates, found, (size_t)n_found * sizeof *found);
    *n = n_found;
    return ISO_OK;
}

/* --- durations, speeds, compute --- */

static iso_status read_duration(reader *r, double *out) {
    double sum = 0;
    do {
        number n;
        ISO_TRY(read_number(r, &n));
        skip_blanks(r);
        size_t length = unit_length(r->at);
        if (length == 0)
            return fail(r, "a duration needs a unit: d, h, m(in) or s, as in 10d or 36h");
        const unit *u = find_unit(time_units, N_OF(time_units), r->at, length);
        if (!u)
            return fail_unit(r, time_units, N_OF(time_units), r->at, length,
                             "s, m or min, h, d, w");
        r->at += length;
        double part = 0;
        ISO_TRY(check_value(r, &part, convert(&n, 0) * u->factor, 1e12));
        sum += part;
        skip_blanks(r);
    } while (is_digit(*r->at));
    return check_value(r, out, sum, 1e12);
}

/* Length of a sign of multiplication under the reader, 0 if there is none. */
static size_t times_length(const char *at) {
    static const char sign[] = "\xc3\x97";
    if (*at == 'x' || *at == 'X' || *at == '*') return 1;
    return strncmp(at, sign, 2) == 0 ? 2 : 0;
}

/* The longest stretch that names a device ("RTX-4090" has an x of its own), then what is left. */
static iso_status read_device(reader *r, const iso_accelerator **out) {
    size_t stop = strcspn(r->at, "@"), found = 0;
    *out = NULL;
    for (size_t n = 1; n <= stop; n++) {
        const iso_accelerator *candidate = iso_accelerator_find(r->at, n);
        bool whole = !isalnum((unsigned char)r->at[n]) || times_length(r->at + n);
        if (candidate && whole) *out = candidate, found = n;
    }
    if (*out) {
        r->at += found;
        return ISO_OK;
    }
    /* For the message: up to an x before a digit, which begins a duration. */
    size_t n = 0;
    while (n < stop && !(n > 1 && times_length(r->at + n) && is_digit(r->at[n + 1]))) n++;
    char *word = strndup(r->at, n < 31 ? n : 31);
    ISO_ASSERT(word != NULL);
    const char *near = iso_accelerator_nearest(word);
    iso_str known = {0};
    iso_accelerator_names(&known);
    iso_status status = near ? fail(r, "unknown device `%s`; did you mean %s?", word, near)
                             : fail(r, "unknown device `%s`; known are %s", word, known.data);
    iso_str_release(&known);
    free(word);
    return status;
}

static iso_status read_devices(reader *r, iso_speed *out) {
    iso_speed speed = {.n_devices = 1, .utilisation = UTILISATION_USUAL};
    if (is_digit(*r->at)) {
        ISO_TRY(read_whole(r, &speed.n_devices, DEVICES_MAX));
        if (*r->at == '.') return fail(r, "devices come in whole numbers");
        skip_blanks(r);
        r->at += times_length(r->at);
        skip_blanks(r);
    }
    ISO_TRY(read_device(r, &speed.accelerator));
    skip_blanks(r);
    speed.utilisation_assumed = *r->at != '@';
    if (*r->at == '@') {
        r->at++;
        skip_blanks(r);
        ISO_TRY(read_fraction(r, &speed.utilisation));
        skip_blanks(r);
    }
    speed.flops_per_s =
        (double)speed.n_devices * speed.accelerator->bf16_flops_per_s * speed.utilisation;
    *out = speed;
    return ISO_OK;
}

/* "tok/s" and its longer spellings; their length, else 0. The x of "tok/sx3h" multiplies. */
static size_t per_second_length(const char *at) {
    static const char *const spellings[] = {"tokens/s", "token/s", "tok/s", "t/s"};
    for (size_t i = 0; i < N_OF(spellings); i++) {
        size_t n = strlen(spellings[i]);
        if (strncasecmp(at, spellings[i], n) != 0) continue;
        bool times = times_length(at + n) > 0 && !isalpha((unsigned char)at[n + 1]);
        if (times || !isalpha((unsigned char)at[n])) return n;
    }
    return 0;
}

/* Whether the text speaks of tokens per second. */
static bool is_measured(const char *text) {
    for (; *text; text++)
        if (per_second_length(text)) return true;
    return false;
}

/* count tok/s; the unit of the count may touch that of the rate: 12Ktok/s. */
static iso_status read_measured(reader *r, iso_speed *out) {
    number n;
    ISO_TRY(read_number(r, &n));
    skip_blanks(r);
    size_t length = 0;
    while (r->at[length] && !per_second_length(r->at + length)) length++;
    size_t n_unit = length;
    while (n_unit > 0 && r->at[n_unit - 1] == ' ') n_unit--;
    const unit *u = n_unit ? find_unit(count_units, N_OF(count_units), r->at, n_unit) : NULL;
    if (n_unit > 0 && !u)
        return fail_unit(r, count_units, N_OF(count_units), r->at, n_unit, COUNT_UNITS_KNOWN);
    r->at += length;
    r->at += per_second_length(r->at);
    iso_speed speed = {0};
    ISO_TRY(check_value(r, &speed.tokens_per_s, convert(&n, u ? u->exponent : 0), 1e15));
    *out = speed;
    return ISO_OK;
}

static iso_status read_speed(reader *r, iso_speed *out) {
    return is_measured(r->at) ? read_measured(r, out) : read_devices(r, out);
}

iso_status iso_quantity_speed(iso_speed *out, const char *what, const char *text) {
    reader r;
    iso_speed speed;
    ISO_TRY(begin(&r, what, text));
    ISO_TRY(read_speed(&r, &speed));
    skip_blanks(&r);
    if (times_length(r.at))
        return fail(&r, "a throughput has no duration; leave out `%.40s`", r.at);
    ISO_TRY(finish(&r));
    *out = speed;
    return ISO_OK;
}

/* Devices begin with a letter, or with a number and a sign of multiplication. */
static bool names_devices(const char *at) {
    if (isalpha((unsigned char)*at)) return true;
    at += strspn(at, "0123456789. ");
    size_t times = times_length(at);
    at += times + strspn(at + times, " ");
    return times > 0 && isalpha((unsigned char)*at);
}

iso_status iso_quantity_compute(iso_compute *out, const char *what, const char *text) {
    reader r;
    iso_compute compute = {0};
    ISO_TRY(begin(&r, what, text));
    bool not_finite = strncasecmp(r.at, "nan", 3) == 0 || strncasecmp(r.at, "inf", 3) == 0;
    if (not_finite || (!is_measured(r.at) && !names_devices(r.at))) {
        ISO_TRY(read_count(&r, &compute.flops, FLOPS_MAX, true));
        ISO_TRY(finish(&r));
        *out = compute;
        return ISO_OK;
    }
    ISO_TRY(read_speed(&r, &compute.speed));
    skip_blanks(&r);
    size_t times = times_length(r.at);
    if (times == 0 && *r.at == '\0')
        return fail(&r, "for how long? Append the time, as in %.60sx10d", text);
    if (times == 0) return finish(&r);
    r.at += times;
    skip_blanks(&r);
    ISO_TRY(read_duration(&r, &compute.seconds));
    ISO_TRY(finish(&r));
    if (compute.speed.accelerator)
        ISO_TRY(check_value(&r, &compute.flops, compute.speed.flops_per_s * compute.seconds,
                            FLOPS_MAX));
    else
        ISO_TRY(check_value(&r, &compute.tokens, compute.speed.tokens_per_s * compute.seconds,
                            (double)ISO_COUNT_MAX));
    *out = compute;
    return ISO_OK;
}

void iso_speed_say(iso_str *out, const iso_speed *speed) {
    if (!speed->accelerator) {
        iso_str_appendf(out, "%.6g tokens/s", speed->tokens_per_s);
        return;
    }
    iso_str_appendf(out, "%" PRId64 " x %s at %.4g %% of %.4g TFLOP/s", speed->n_devices,
                    speed->accelerator->name, 100 * speed->utilisation,
                    speed->accelerator->bf16_flops_per_s / 1e12);
}
