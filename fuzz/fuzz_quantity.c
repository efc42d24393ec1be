/* fuzz_quantity: people's quantities out of hostile text. The first byte chooses the grammar.
 *
 * Checked beyond "does not crash": what is accepted is positive, finite and within its bounds, and
 * what is refused leaves its result alone and says why.
 */
#include "arch/quantity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_refusal(iso_status status, bool untouched) {
    ISO_ASSERT(status == ISO_ERR_USAGE && untouched);
    ISO_ASSERT(strncmp(iso_error_message(), "--x `", 5) == 0);
}

static void check_count(const char *text) {
    int64_t value = -1;
    iso_status status = iso_quantity_count(&value, "--x", text);
    if (status != ISO_OK)
        check_refusal(status, value == -1);
    else
        ISO_ASSERT(value >= 1 && value <= ISO_COUNT_MAX);
    int64_t tokens = -1; /* every count is one of tokens */
    iso_status as_tokens = iso_quantity_tokens(&tokens, "--x", text);
    if (as_tokens != ISO_OK) check_refusal(as_tokens, tokens == -1);
    if (status == ISO_OK) ISO_ASSERT(tokens == value);
}

static void check_rates(const char *text) {
    double rates[8] = {0.3};
    int64_t n = 1;
    iso_status status = iso_quantity_rates(rates, &n, 8, "--x", text);
    if (status != ISO_OK) check_refusal(status, n == 1 && rates[0] == 0.3);
    ISO_ASSERT(n >= 1 && n <= 8);
    for (int64_t i = 0; i < n; i++) ISO_ASSERT(rates[i] > 0 && rates[i] < 1);
    for (int64_t i = 1; i < n; i++) ISO_ASSERT(rates[i] > rates[i - 1]);
}

static void check_speed(const iso_speed *speed) {
    bool devices = speed->flops_per_s > 0, measured = speed->tokens_per_s > 0;
    ISO_ASSERT(devices != measured && (speed->accelerator != NULL) == devices);
    ISO_ASSERT(isfinite(speed->flops_per_s) && isfinite(speed->tokens_per_s));
    iso_str words = {0};
    iso_speed_say(&words, speed);
    iso_str_release(&words);
}

static void check_compute(const char *text) {
    iso_compute compute = {.flops = -1};
    iso_status status = iso_quantity_compute(&compute, "--x", text);
    if (status != ISO_OK) {
        check_refusal(status, compute.flops == -1);
        return;
    }
    ISO_ASSERT((compute.flops > 0) != (compute.tokens > 0));
    ISO_ASSERT(compute.flops <= 1e30 && compute.tokens <= (double)ISO_COUNT_MAX);
    if (compute.seconds > 0) check_speed(&compute.speed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    char *text = malloc(size); /* no terminator to spare: overreads show */
    if (!text) return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    double fraction = -1;
    iso_speed speed;
    switch (data[0] % 5) {
    case 0:
        check_count(text);
        break;
    case 1:
        check_rates(text);
        break;
    case 2:
        check_compute(text);
        break;
    case 3:
        if (iso_quantity_speed(&speed, "--x", text) == ISO_OK) check_speed(&speed);
        break;
    default:
        if (iso_quantity_fraction(&fraction, "--x", text) != ISO_OK)
            check_refusal(ISO_ERR_USAGE, fraction == -1);
        else
            ISO_ASSERT(fraction > 0 && fraction <= 1);
    }
    free(text);
    return 0;
}
