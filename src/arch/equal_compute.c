#include "arch/equal_compute.h"

iso_status iso_equal_steps(int64_t *out_steps, int64_t reference_train_flops_per_token,
                           int64_t reference_tokens, int64_t train_flops_per_token,
                           int64_t batch_tokens) {
    if (reference_train_flops_per_token < 1 || reference_tokens < 1 || train_flops_per_token < 1 ||
        batch_tokens < 1)
        return iso_fail(ISO_ERR_USAGE, "equal compute: FLOPs per token, tokens and batch must be "
                                       "positive");
    unsigned __int128 compute =
        (unsigned __int128)reference_train_flops_per_token * (unsigned __int128)reference_tokens;
    unsigned __int128 step =
        (unsigned __int128)train_flops_per_token * (unsigned __int128)batch_tokens;
    unsigned __int128 steps = compute / step;
    if (compute % step >= step - compute % step) steps++;
    if (steps > INT64_MAX)
        return iso_fail(ISO_ERR_USAGE, "equal compute: the number of steps does not fit 63 bits");
    *out_steps = steps < 1 ? 1 : (int64_t)steps;
    return ISO_OK;
}
