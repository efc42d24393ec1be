/* People's quantities: what every form means, and every refusal (quantity.h, I1 and I2). */
#include "arch/quantity.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void assert_near(double value, double expected) {
    if (!(fabs(value - expected) <= 1e-12 * fabs(expected)))
        fail_msg("%.17g, expected %.17g", value, expected);
}

static void counts(void **state) {
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {
        {"1", 1},
        {"7e9", 7000000000},
        {"7B", 7000000000},
        {"7b", 7000000000},
        {" 7 billion ", 7000000000},
        {"2.15B", 2150000000},
        {"68G", 68000000000},
        {"1.5T", 1500000000000},
        {"300M", 300000000},
        {"64k", 64000},
        {".5K", 500},
        {"4.1e3", 4100},
        {"4.1E+3", 4100},
        {"12000e-3", 12},
        {"1.000000000001T", 1000000000001},
        {"1e15", 1000000000000000},
        {"+5", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;
        if (iso_quantity_count(&value, "--params", cases[i].text) != ISO_OK)
            fail_msg("%s: %s", cases[i].text, iso_error_message());
        if (value != cases[i].value)
            fail_msg("%s: %lld, expected %lld", cases[i].text, (long long)value,
                     (long long)cases[i].value);
    }
}

typedef struct refusal {
    const char *text, *says;
} refusal;

static void assert_says(iso_status status, const refusal *r, const char *what) {
    if (status != ISO_ERR_USAGE) fail_msg("`%s` is taken", r->text);
    if (!strstr(iso_error_message(), r->says))
        fail_msg("`%s`: \"%s\" does not say \"%s\"", r->text, iso_error_message(), r->says);
    if (strncmp(iso_error_message(), what, strlen(what)) != 0)
        fail_msg("\"%s\" does not begin with %s", iso_error_message(), what);
}

static void counts_refused(void **state) {
    static const refusal cases[] = {
        {"", "nothing is given"},
        {"   ", "nothing is given"},
        {"-7B", "negative"},
        {"0", "zero"},
        {"0.0B", "zero"},
        {"1e-400", "zero"},
        {"1.5", "not a whole number"},
        {"1e16", "too large"},
        {"9999T", "too large"},
        {"1e999999999999999999999", "too large"},
        {"nan", "no number at `nan`; write 7B or 7e9"},
        {"inf", "no number"},
        {"7x10", "left over"},
        {"0x10", "zero"},
        {"B", "no number"},
        {".", "no number"},
        {"e9", "no number"},
        {"7Q", "unknown unit `Q`; known are K, M, B, T"},
        {"7 bilion", "did you mean billion?"},
        {"7B params", "`params` is left over"},
        {"7B 3", "`3` is left over"},
        {"7,5B", "a decimal has a point"},
        {"2e9,3e9", "one number is needed"},
        {"7,000,000,000", "no separators of thousands; write 7B"},
        {"7_000_000", "no separators"},
        {"7 000 000", "no separators"},
        {"7.000.000", "no separators"},
        {"7B 300", "`300` is left over"},
        {"7B tokens", "`tokens` is left over"},
        {"2e", "unknown unit `e`"},
        {"7\xff", "left over"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 42;
        assert_says(iso_quantity_count(&value, "--params", cases[i].text), &cases[i], "--params `");
        assert_int_equal(value, 42);
    }
    char digits[ISO_QUANTITY_MAX + 2];
    memset(digits, '1', sizeof digits - 1);
    digits[sizeof digits - 1] = '\0';
    int64_t value;
    const refusal r = {digits, "longer than"};
    assert_says(iso_quantity_count(&value, "--params", digits), &r, "--params `");
}

/* A count of tokens may say so, and nothing else. */
static void tokens(void **state) {
    static const char *const texts[] = {"200B", "200B tokens", "200e9 tokens",
                                        "200 billion Tokens "};
    int64_t value;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (iso_quantity_tokens(&value, "--data", texts[i]) != ISO_OK)
            fail_msg("%s: %s", texts[i], iso_error_message());
        assert_true(value == 200000000000);
    }
    static const refusal cases[] = {
        {"200B token s", "left over"},
        {"200B words", "`words` is left over"},
        {"200B tokens more", "left over"},
        {"tokens", "no number at `tokens`; write 200B"},
        {"200,000,000", "no separators of thousands; write 200B"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_says(iso_quantity_tokens(&value, "--data", cases[i].text), &cases[i], "--data `");
    assert_true(value == 200000000000);
}

static void fractions(void **state) {
    double value;
    assert_int_equal(iso_quantity_fraction(&value, "--x", "10%"), ISO_OK);
    assert_true(value == 0.1);
    assert_int_equal(iso_quantity_fraction(&value, "--x", "12.5 %"), ISO_OK);
    assert_true(value == 0.125);
    assert_int_equal(iso_quantity_fraction(&value, "--x", "1"), ISO_OK);
    assert_true(value == 1);
    static const refusal cases[] = {
        {"40", "write 40% if percent is meant"},
        {"101%", "at most 1"},
        {"0%", "zero"},
        {"-5%", "negative"},
        {"5%%", "left over"},
        {"nan", "no number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_says(iso_quantity_fraction(&value, "--x", cases[i].text), &cases[i], "--x `");
    assert_true(value == 1);
}

static void rates(void **state) {
    double r[32];
    int64_t n = 0;
    assert_int_equal(iso_quantity_rates(r, &n, 32, "-r", "0.35, 10%,20%"), ISO_OK);
    assert_int_equal(n, 3);
    assert_true(r[0] == 0.1 && r[1] == 0.2 && r[2] == 0.35); /* ascending */
    assert_int_equal(iso_quantity_rates(r, &n, 32, "-r", "15%"), ISO_OK);
    assert_int_equal(n, 4);
    assert_true(r[1] == 0.15);
    n = 0;
    assert_int_equal(iso_quantity_rates(r, &n, 32, "-r", "0.1..0.4/3"), ISO_OK);
    assert_int_equal(n, 3);
    assert_true(r[0] == 0.1 && r[2] == 0.4);
    assert_near(r[1], 0.2);
    n = 0;
    assert_int_equal(iso_quantity_rates(r, &n, 32, "-r", "5%..80%/32"), ISO_OK);
    assert_int_equal(n, 32);
    for (int i = 1; i < 32; i++) assert_near(r[i] / r[i - 1], pow(16, 1.0 / 31));
    n = 0; /* one % for both ends, and two fractions that need none */
    assert_int_equal(iso_quantity_rates(r, &n, 32, "-r", "10..50%/5"), ISO_OK);
    assert_true(n == 5 && r[0] == 0.1 && r[4] == 0.5);
    n = 0;
    assert_int_equal(iso_quantity_rates(r, &n, 32, "-r", "1..50%/2"), ISO_OK);
    assert_true(n == 2 && r[0] == 0.01);
    n = 0;
    assert_int_equal(iso_quantity_rates(r, &n, 32, "-r", "0.1..50%/2"), ISO_OK);
    assert_true(n == 2 && r[0] == 0.1);
}

static void rates_refused(void **state) {
    static const refusal cases[] = {
        {"20", "write 20% if percent is meant"},
        {"2", "at most 1"},
        {"1", "below 1"},
        {"0", "zero"},
        {"-0.1", "negative"},
        {"0.1,", "a rate is missing after the comma; write 20%, 10%,0.35 or 10%..50%/5"},
        {"0.1,,0.2", "a rate is missing after the comma"},
        {"0,2", "a comma separates rates; write 0.2 or 20% if that is meant"},
        {"0,35,0,5", "write 0.35 or 35%"},
        {"10,20%", "write 10%,20%, or 10.20%"},
        {"10-50%", "a range is written FIRST..LAST/HOW_MANY, as in 10%..50%/5"},
        {"10%-50%/5", "a range is written"},
        {"10\xe2\x80\x93"
         "50%",
         "a range is written"},
        {"10% to 50%", "a range is written"},
        {"10%..50%", "says how many: 10%..50%/9"},
        {"10..50/5", "write 10% if percent is meant"},
        {"0.1,0.1", "given twice"},
        {"10%,0.1", "given twice"},
        {"0.1..0.5", "says how many"},
        {"0.1..0.5/1", "at least 2"},
        {"0.1..0.5/", "whole number is missing"},
        {"0.1..0.5/99", "from 1 to 8"},
        {"0.5..0.1/3", "goes up"},
        {"0.1..1/3", "below 1"},
        {"0.1;0.2", "left over"},
        {"0.1 0.2", "left over"},
        {"10%..20%/8,30%", "more than 8"},
        {"nan", "no number at `nan`; write 20%, 10%,0.35"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double r[8] = {0.7};
        int64_t n = 1;
        assert_says(iso_quantity_rates(r, &n, 8, "-r", cases[i].text), &cases[i], "-r `");
        assert_true(n == 1 && r[0] == 0.7);
    }
}

static void compute(void **state) {
    static const struct {
        const char *text;
        double flops;
    } cases[] = {
        {"2.86e21", 2.86e21},
        {"2.86ZFLOP", 2.86e21},
        {"910 EFLOPs", 9.1e20},
        {"1e6T", 1e18},
        {"10PFLOP-days", 8.64e20},
        {"10 PFLOP/s-days", 8.64e20},
        {"8xH100@40%x10d", 8 * 989.4e12 * 0.4 * 864000},
        {"8 x h100 @ 0.4 x 240h", 8 * 989.4e12 * 0.4 * 864000},
        {"8*H100@40%*1w3d", 8 * 989.4e12 * 0.4 * 864000},
        {"8\xc3\x97H100@40%\xc3\x97"
         "10d",
         8 * 989.4e12 * 0.4 * 864000},
        {"H100@40%x10d", 989.4e12 * 0.4 * 864000},
        {"1xA100x90m", 312e12 * 0.4 * 5400}, /* 40 % is the usual part of the peak */
        {"4xRTX4090@35%x2d", 4 * 165.2e12 * 0.35 * 172800},
        {"4x rtx 4090 x 2 days", 4 * 165.2e12 * 0.4 * 172800},
        {"1xL4x10min", 121e12 * 0.4 * 600},
        {"1xL40Sx30s", 362e12 * 0.4 * 30},
        {"256xTPU-v5p@50%x7d", 256 * 459e12 * 0.5 * 604800},
        {"2xH100-PCIe@30%x1h", 2 * 756e12 * 0.3 * 3600},
        {"100 PF-days", 100e15 * 86400},
        {"2EFLOP-days", 2e18 * 86400},
        {"2 EF-days", 2e18 * 86400},
        {"8 H100 for 10 days", 8 * 989.4e12 * 0.4 * 864000},
        {"8 H100s for 10 days", 8 * 989.4e12 * 0.4 * 864000},
        {"8H100s x10d", 8 * 989.4e12 * 0.4 * 864000},
        {"8xH100 10 days", 8 * 989.4e12 * 0.4 * 864000},
        {"8xH100@40% 10d", 8 * 989.4e12 * 0.4 * 864000},
        {"8 x L40s for 1 h", 8 * 362e12 * 0.4 * 3600},
        {"64xA100-80GBx2weeks", 64 * 312e12 * 0.4 * 1209600},
        {"8xH100-SXMx10d", 8 * 989.4e12 * 0.4 * 864000},
        {"8xH100@400TFLOP/s x 10d", 8 * 400e12 * 864000},
        {"8xH100@400 TFLOPSx10d", 8 * 400e12 * 864000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iso_compute c;
        if (iso_quantity_compute(&c, "--compute", cases[i].text) != ISO_OK)
            fail_msg("%s: %s", cases[i].text, iso_error_message());
        assert_near(c.flops, cases[i].flops);
        assert_true(c.tokens == 0);
    }
    iso_compute c;
    assert_int_equal(iso_quantity_compute(&c, "--compute", "1650tok/s x 3h"), ISO_OK);
    assert_true(c.flops == 0 && c.tokens == 1650.0 * 10800 && c.speed.tokens_per_s == 1650);
    assert_int_equal(iso_quantity_compute(&c, "--compute", "1650tok/sx3h"), ISO_OK);
    assert_true(c.tokens == 1650.0 * 10800);
    assert_int_equal(iso_quantity_compute(&c, "--compute", "1650 tok/s for 3 hours"), ISO_OK);
    assert_true(c.tokens == 1650.0 * 10800);
    assert_int_equal(iso_quantity_compute(&c, "--compute", "12.5K tokens/s x 30 min"), ISO_OK);
    assert_true(c.tokens == 12500.0 * 1800);
    assert_int_equal(iso_quantity_compute(&c, "--compute", "8xH100x10d"), ISO_OK);
    assert_true(c.speed.utilisation_assumed && c.speed.n_devices == 8);
    assert_int_equal(iso_quantity_compute(&c, "--compute", "8xH100@40%x10d"), ISO_OK);
    assert_false(c.speed.utilisation_assumed);
}

static void compute_refused(void **state) {
    static const refusal cases[] = {
        {"-1e21", "negative"},
        {"0", "zero"},
        {"1e31", "too large"},
        {"1e400", "too large"},
        {"nan", "no number"},
        {"infinity", "no number"},
        {"2.86WFLOP", "did you mean"},
        {"2.86e21 flips", "did you mean FLOP?"},
        {"2.86q", "unknown unit `q`"},
        {"8xH100@40%", "for how long?"},
        {"8xH100@40%x10", "needs a unit"},
        {"8xH100@40%x10y", "unknown unit `y`"},
        {"8xH100@40%x10 dayz", "did you mean day?"},
        {"8xH100@40%x0d", "zero"},
        {"8xH100@40%x-1d", "negative"},
        {"8xH100@140%x1d", "at most 1"},
        {"8xH100@40x1d", "write 40% if percent is meant"},
        {"8xH100@x1d", "no number"},
        {"0xH100@40%x1d", "from 1 to"},
        {"99999999999999999999xH100@40%x1d", "from 1 to"},
        {"8.5xH100@40%x1d", "whole numbers"},
        {"8xH1000@40%x1d", "did you mean H100?"},
        {"8xBanana@40%x1d", "unknown device `Banana`; known are H100,"},
        {"8xH100@40%x10d!", "`!` is left over"},
        {"8xH100@40%x1e300d", "too large"},
        {"8xH100 at 40% x 10d", "`at 40% x 10d` is left over; the form is 8xH100@40%x10d"},
        {"8 H1000 for 10 days", "unknown device `H1000`; did you mean H100?"},
        {"8xH100-NVLx10d", "unknown device `H100-NVL`"},
        {"8xH100-SXx10d", "unknown device `H100-SX`; did you mean"},
        {"8 Banana for 10 days", "unknown unit `Banana`; known are K, M"},
        {"8xBanana for 10 days", "unknown device `Banana`; known are H100,"},
        {"8 H100 for ever", "no number at `ever`"},
        {"8xH100@1000TFLOP/s x 10d", "more than one H100 does at its peak, 989.4 TFLOP/s"},
        {"8xH100@400TFLIP/s x 10d", "did you mean TFLOP/s?"},
        {"8xH100@0TFLOP/s x 10d", "zero"},
        {"2e9,3e9", "one number is needed"},
        {"2,860,000", "no separators of thousands; write 2.86e21"},
        {"1650tok/s", "for how long?"},
        {"0tok/s x 3h", "zero"},
        {"-5tok/s x 3h", "negative"},
        {"5qtok/s x 3h", "unknown unit `q`"},
        {"1e15tok/s x 3h", "too large"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        iso_compute c = {.flops = 42};
        assert_says(iso_quantity_compute(&c, "--compute", cases[i].text), &cases[i], "--compute `");
        assert_true(c.flops == 42);
    }
}

static void speeds(void **state) {
    iso_speed s;
    iso_str words = {0};
    assert_int_equal(iso_quantity_speed(&s, "--throughput", "8xH100@40%"), ISO_OK);
    assert_near(s.flops_per_s, 8 * 989.4e12 * 0.4);
    iso_speed_say(&words, &s);
    assert_string_equal(words.data, "8 x H100 at 40 % of 989.4 TFLOP/s");
    iso_str_clear(&words);
    assert_int_equal(iso_quantity_speed(&s, "--throughput", "1650 tok/s"), ISO_OK);
    assert_true(s.flops_per_s == 0 && s.tokens_per_s == 1650 && !s.accelerator);
    iso_speed_say(&words, &s);
    assert_string_equal(words.data, "1650 tokens/s");
    iso_str_release(&words);
    static const refusal cases[] = {
        {"8xH100@40%x10d", "no duration"}, {"8 H100 for 10 days", "no duration"},
        {"8xH100 10 days", "no duration"}, {"1650", "unknown device"},
        {"1650tok/s x 3h", "no duration"}, {"tok/s", "no number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_says(iso_quantity_speed(&s, "--throughput", cases[i].text), &cases[i],
                    "--throughput `");
}

/* Every name of the table is found, by its own spelling and by a sloppy one. */
static void accelerators(void **state) {
    iso_str help = {0};
    iso_accelerator_help(&help);
    for (size_t i = 0; iso_accelerator_at(i); i++) {
        const iso_accelerator *row = iso_accelerator_at(i);
        assert_ptr_equal(iso_accelerator_find(row->name, strlen(row->name)), row);
        char sloppy[64];
        size_t n = 0;
        for (const char *c = row->name; *c; c++)
            if (*c != '-') sloppy[n++] = (char)(*c | (*c >= 'A' && *c <= 'Z' ? 0x20 : 0));
        assert_ptr_equal(iso_accelerator_find(sloppy, n), row);
        assert_non_null(strstr(help.data, row->name));
        assert_true(row->bf16_flops_per_s > 1e13 && row->bf16_flops_per_s < 1e16);
        assert_true(row->memory_bytes >= 16e9 && row->memory_bytes <= 512e9);
        assert_true(strlen(row->source) > 10);
    }
    assert_ptr_equal(iso_accelerator_find("A100 80GB", 9), iso_accelerator_find("A100", 4));
    assert_ptr_equal(iso_accelerator_find("h100-sxm5", 9), iso_accelerator_find("H100", 4));
    assert_null(iso_accelerator_find("H1", 2));
    assert_null(iso_accelerator_find("", 0));
    iso_str_release(&help);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),  cmocka_unit_test(counts_refused),
        cmocka_unit_test(tokens),  cmocka_unit_test(fractions),
        cmocka_unit_test(rates),   cmocka_unit_test(rates_refused),
        cmocka_unit_test(compute), cmocka_unit_test(compute_refused),
        cmocka_unit_test(speeds),  cmocka_unit_test(accelerators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
