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
    const char *examples; /* what a message may recommend to write */
    const char *noun;     /* may follow a count; NULL: nothing may */
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

static iso_status begin(reader *r, const char *what, const char *text, const char *examples) {
    *r = (reader){what, text, text, examples, NULL};
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
    if (n_digits == 0) return fail(r, "no number at `%.40s`; write %s", r->at, r->examples);
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
    {"FLOP", 0, 0},
    {"GFLOP", 9, 0},
    {"TFLOP", 12, 0},
    {"PFLOP", 15, 0},
    {"EFLOP", 18, 0},
    {"ZFLOP", 21, 0},
    {"PFLOP/s-day", 15, 86400},
    {"PFLOP-day", 15, 86400},
    {"PF-day", 15, 86400},
    {"PFLOPs-day", 15, 86400},
    {"EFLOP/s-day", 18, 86400},
    {"EFLOP-day", 18, 86400},
    {"EF-day", 18, 86400},
    {"EFLOPs-day", 18, 86400},
};
/* Of one device, in training. */
static const unit rate_units[] = {
    {"GFLOP/s", 9, 0},  {"GFLOPs/s", 9, 0},  {"GFLOP", 9, 0},
    {"TFLOP/s", 12, 0}, {"TFLOPs/s", 12, 0}, {"TFLOP", 12, 0},
    {"PFLOP/s", 15, 0}, {"PFLOPs/s", 15, 0}, {"PFLOP", 15, 0},
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

static bool is_noun(const reader *r, size_t length) {
    return r->noun && strlen(r->noun) == length && strncasecmp(r->noun, r->at, length) == 0;
}

/* count_units, or, if `flops`, those of compute as well. */
static iso_status read_count(reader *r, double *out, double max, bool flops) {
    number n;
    ISO_TRY(read_number(r, &n));
    skip_blanks(r);
    size_t length = unit_length(r->at);
    const unit *u = NULL;
    if (length > 0 && !is_noun(r, length)) {
        u = find_unit(count_units, N_OF(count_units), r->at, length);
        if (!u && flops) u = find_unit(flop_units, N_OF(flop_units), r->at, length);
        if (!u && flops)
            return fail_unit(r, flop_units, N_OF(flop_units), r->at, length,
                             "K, M, B, T, PFLOP, EFLOP, ZFLOP, PFLOP-days; devices are written "
                             "8xH100@40%x10d");
        if (!u)
            return fail_unit(r, count_units, N_OF(count_units), r->at, length, COUNT_UNITS_KNOWN);
        r->at += length;
    }
    double value = convert(&n, u ? u->exponent : 0);
    if (u && u->factor > 0) value *= u->factor;
    return check_value(r, out, value, max);
}

/* Whether three digits and no fourth follow a sign that people put between thousands. */
static bool is_separator(const char *at) {
    return *at && strchr(",._' ", *at) && is_digit(at[-1]) && strspn(at + 1, "0123456789") == 3;
}

/* The end of a count: what people write behind one has messages of its own. A number was read, so
 * there is a character before r->at. */
static iso_status finish_count(reader *r) {
    if (is_separator(r->at) || (r->at[-1] == ' ' && is_separator(r->at - 1)))
        return fail(r, "a number has no separators of thousands; write %s", r->examples);
    if (*r->at == ',')
        return fail(r, "one number is needed, and a decimal has a point; `%.40s` is left over",
                    r->at);
    return finish(r);
}

static iso_status read_whole_count(int64_t *out, const char *what, const char *text,
                                   const char *examples, const char *noun) {
    reader r;
    double value = 0;
    ISO_TRY(begin(&r, what, text, examples));
    r.noun = noun;
    ISO_TRY(read_count(&r, &value, (double)ISO_COUNT_MAX, false));
    skip_blanks(&r);
    if (noun && is_noun(&r, unit_length(r.at))) r.at += strlen(noun);
    ISO_TRY(finish_count(&r));
    if (value != floor(value)) return fail(&r, "not a whole number");
    *out = (int64_t)value;
    return ISO_OK;
}

iso_status iso_quantity_count(int64_t *out, const char *what, const char *text) {
    return read_whole_count(out, what, text, "7B or 7e9", NULL);
}

iso_status iso_quantity_tokens(int64_t *out, const char *what, const char *text) {
    return read_whole_count(out, what, text, "200B or 2e11", "tokens");
}

/* --- fractions and rates --- */

/* Reads a number and a per-cent sign, if there is one. */
static iso_status read_share(reader *r, number *out, bool *percent) {
    ISO_TRY(read_number(r, out));
    skip_blanks(r);
    *percent = *r->at == '%';
    r->at += *percent;
    return ISO_OK;
}

static iso_status take_fraction(const reader *r, double *out, const number *n, bool percent) {
    double value = 0;
    ISO_TRY(check_value(r, &value, convert(n, percent ? -2 : 0), DBL_MAX));
    if (value <= 1) {
        *out = value;
        return ISO_OK;
    }
    if (!percent && value <= 100)
        return fail(r, "a fraction is at most 1; write %g%% if percent is meant", value);
    return fail(r, "a fraction is at most 1 (100 %%)");
}

static iso_status read_fraction(reader *r, double *out) {
    number n;
    bool percent;
    ISO_TRY(read_share(r, &n, &percent));
    return take_fraction(r, out, &n, percent);
}

iso_status iso_quantity_fraction(double *out, const char *what, const char *text) {
    reader r;
    double value = 0;
    ISO_TRY(begin(&r, what, text, "0.4 or 40%"));
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

/* `0,2` is a decimal to many, `10,20,30%` three rates: a comma before a digit, behind a number
 * that is no rate by itself. */
static iso_status check_comma(const reader *r, const number *n, bool percent) {
    double value = convert(n, percent ? -2 : 0);
    size_t n_digits = *r->at == ',' ? strspn(r->at + 1, "0123456789") : 0;
    if (n_digits == 0 || percent || (value > 0 && value <= 1)) return ISO_OK;
    char decimal[ISO_QUANTITY_MAX + 2];
    snprintf(decimal, sizeof decimal, "%g.%.*s", value, (int)n_digits, r->at + 1);
    if (value == 0)
        return fail(r, "a comma separates rates; write %s or %g%% if that is meant", decimal,
                    100 * strtod(decimal, NULL));
    return fail(r, "a comma separates rates, each with its own %%: write %g%%,%.*s%%, or %s%%",
                value, (int)n_digits, r->at + 1, decimal);
}

/* People's other signs for a range. */
static bool is_range_sign(const char *at) {
    return *at == '-' || *at == ':' || strncmp(at, "\xe2\x80\x93", 3) == 0 ||
           strncasecmp(at, "to ", 3) == 0;
}

#define RANGE_FORM "a range is written FIRST..LAST/HOW_MANY, as in 10%%..50%%/5"

/* The two ends of a range; a % at the right one is meant for both where the left one is no
 * fraction. */
static iso_status read_range(reader *r, double *first, const number *left, bool percent,
                             double *last) {
    number right;
    bool right_percent;
    ISO_TRY(read_share(r, &right, &right_percent));
    if (right_percent && convert(left, 0) >= 1) percent = true;
    ISO_TRY(take_fraction(r, first, left, percent));
    ISO_TRY(take_fraction(r, last, &right, right_percent));
    skip_blanks(r);
    if (*r->at == '/') return ISO_OK;
    if (right_percent)
        return fail(r, "a range says how many: %g%%..%g%%/9 for nine rates", 100 * *first,
                    100 * *last);
    return fail(r, "a range says how many: %g..%g/9 for nine rates", *first, *last);
}

static iso_status read_rates(reader *r, double *rates, int64_t *n, int64_t n_max) {
    number left;
    bool percent;
    double first = 0, last = 0;
    int64_t steps = 0;
    ISO_TRY(read_share(r, &left, &percent));
    skip_blanks(r);
    if (is_range_sign(r->at)) return fail(r, RANGE_FORM);
    if (strncmp(r->at, "..", 2) != 0) {
        ISO_TRY(check_comma(r, &left, percent));
        ISO_TRY(take_fraction(r, &first, &left, percent));
        return add_rate(r, rates, n, n_max, first);
    }
    r->at += 2;
    skip_blanks(r);
    ISO_TRY(read_range(r, &first, &left, percent, &last));
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
    ISO_TRY(begin(&r, what, text, "20%, 10%,0.35 or 10%..50%/5"));
    for (;;) {
        ISO_TRY(read_rates(&r, found, &n_found, n_max));
        skip_blanks(&r);
        if (*r.at != ',') break;
        r.at++;
        skip_blanks(&r);
        if (*r.at == '\0' || *r.at == ',')
            return fail(&r, "a rate is missing after the comma; write %s", r.examples);
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

/* Length of what stands between a speed and a duration: a sign of multiplication, or "for". */
static size_t during_length(const char *at) {
    bool is_for = strncasecmp(at, "for", 3) == 0 && !isalpha((unsigned char)at[3]);
    return is_for ? 3 : times_length(at);
}

/* Whether a name may end there: "H100-NVL" is not the H100. */
static bool ends_name(const char *at) {
    if (*at == '-' && isalnum((unsigned char)at[1])) return false;
    return !isalnum((unsigned char)*at) || times_length(at) > 0;
}

/* The longest stretch that names a device ("RTX-4090" has an x of its own), its plural s included;
 * 0 if there is none. */
static size_t device_length(const char *at, const iso_accelerator **out) {
    size_t stop = strcspn(at, "@"), found = 0;
    *out = NULL;
    for (size_t n = 1; n <= stop; n++) {
        const iso_accelerator *candidate = iso_accelerator_find(at, n);
        if (!candidate) continue;
        bool plural = isalnum((unsigned char)at[n - 1]) && (at[n] == 's' || at[n] == 'S') &&
                      ends_name(at + n + 1);
        if (plural || ends_name(at + n)) *out = candidate, found = n + plural;
    }
    return found;
}

static iso_status read_device(reader *r, const iso_accelerator **out) {
    size_t found = device_length(r->at, out), stop = strcspn(r->at, "@"), n = 0;
    if (found > 0) {
        r->at += found;
        return ISO_OK;
    }
    /* For the message: up to what begins a duration. */
    for (; n < stop; n++) {
        size_t times = n > 1 ? during_length(r->at + n) : 0;
        if (times && (is_digit(r->at[n + times]) || r->at[n + times] == ' ')) break;
    }
    while (n > 0 && r->at[n - 1] == ' ') n--;
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

/* What follows @: the share of the peak, or what one device sustains, "400TFLOP/s". */
static iso_status read_utilisation(reader *r, double *out, const iso_accelerator *device) {
    number n;
    bool percent;
    ISO_TRY(read_share(r, &n, &percent));
    skip_blanks(r);
    size_t length = percent || during_length(r->at) ? 0 : unit_length(r->at);
    if (length == 0) return take_fraction(r, out, &n, percent);
    const unit *u = find_unit(rate_units, N_OF(rate_units), r->at, length);
    if (!u)
        return fail_unit(r, rate_units, N_OF(rate_units), r->at, length,
                         "% (of the peak) and TFLOP/s (of one device)");
    double rate = 0;
    ISO_TRY(check_value(r, &rate, convert(&n, u->exponent), 1e30));
    if (rate > device->bf16_flops_per_s)
        return fail(r, "more than one %s does at its peak, %g TFLOP/s (dense bf16)", device->name,
                    device->bf16_flops_per_s / 1e12);
    r->at += length;
    *out = rate / device->bf16_flops_per_s;
    return ISO_OK;
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
        ISO_TRY(read_utilisation(r, &speed.utilisation, speed.accelerator));
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
    ISO_TRY(begin(&r, what, text, "8xH100@40% or 1650tok/s"));
    ISO_TRY(read_speed(&r, &speed));
    skip_blanks(&r);
    if (during_length(r.at) || is_digit(*r.at))
        return fail(&r, "a throughput has no duration; leave out `%.40s`", r.at);
    ISO_TRY(finish(&r));
    *out = speed;
    return ISO_OK;
}

/* Devices begin with a letter, or with a number and a sign of multiplication or a known name. After
 * a blank, letters with a digit are no unit, but somebody's name of a device. */
static bool names_devices(const char *at) {
    const iso_accelerator *device;
    if (isalpha((unsigned char)*at)) return true;
    at += strspn(at, "0123456789. ");
    size_t times = times_length(at);
    if (times > 0) at += times + strspn(at + times, " ");
    if (times > 0 || device_length(at, &device) > 0) return isalpha((unsigned char)*at);
    size_t n_letters = 0;
    while (isalpha((unsigned char)at[n_letters])) n_letters++;
    return n_letters > 0 && at[-1] == ' ' && is_digit(at[n_letters]);
}

/* "x 10d", "for 10 days", or the bare duration. */
static iso_status read_during(reader *r, double *out) {
    skip_blanks(r);
    size_t during = during_length(r->at);
    if (during == 0 && *r->at == '\0')
        return fail(r, "for how long? Append the time, as in %.60sx10d", r->text);
    if (during == 0 && !is_digit(*r->at))
        return fail(r, "`%.40s` is left over; the form is 8xH100@40%%x10d", r->at);
    r->at += during;
    skip_blanks(r);
    return read_duration(r, out);
}

iso_status iso_quantity_compute(iso_compute *out, const char *what, const char *text) {
    reader r;
    iso_compute compute = {0};
    ISO_TRY(begin(&r, what, text, "2.86e21, 10PFLOP-days or 8xH100@40%x10d"));
    bool not_finite = strncasecmp(r.at, "nan", 3) == 0 || strncasecmp(r.at, "inf", 3) == 0;
    if (not_finite || (!is_measured(r.at) && !names_devices(r.at))) {
        ISO_TRY(read_count(&r, &compute.flops, FLOPS_MAX, true));
        skip_blanks(&r);
        ISO_TRY(finish_count(&r));
        *out = compute;
        return ISO_OK;
    }
    ISO_TRY(read_speed(&r, &compute.speed));
    ISO_TRY(read_during(&r, &compute.seconds));
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
