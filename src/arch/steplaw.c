#include "arch/steplaw.h"

#include <math.h>

static const struct {
    double lr_factor, lr_params, lr_tokens, batch_factor, batch_tokens;
} laws[] = {
    [ISO_STEPLAW_UNROUNDED] = {1.797339993900001, -0.7129222911869909, 0.30749095041206964,
                               0.5806877084495872, 0.5709443646895052},
    [ISO_STEPLAW_ROUNDED] = {1.79, -0.713, 0.307, 0.58, 0.571},
};

double iso_steplaw_lr(iso_steplaw law, double params, double tokens) {
    return laws[law].lr_factor * pow(params, laws[law].lr_params) *
           pow(tokens, laws[law].lr_tokens);
}

double iso_steplaw_batch_tokens(iso_steplaw law, double tokens) {
    return laws[law].batch_factor * pow(tokens, laws[law].batch_tokens);
}

bool iso_steplaw_in_range(double params, double tokens, bool moe) {
    return params >= 6e7 && params <= (moe ? 2.15e9 : 1.07e9) && tokens >= 2e9 && tokens <= 1e11;
}
