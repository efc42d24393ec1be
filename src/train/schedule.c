#include "train/schedule.h"

#include <math.h>

double iso_schedule_value(int64_t step, int64_t steps, int64_t warmup, double peak, double min) {
    const double pi = 3.14159265358979323846;
    if (step <= warmup) return peak * (double)step / (double)warmup;
    double progress = (double)(step - warmup) / (double)(steps - warmup);
    return min + 0.5 * (peak - min) * (1.0 + cos(pi * progress));
}

double iso_schedule_lr(const iso_config *config, int64_t step) {
    const iso_train_config *train = &config->train;
    return iso_schedule_value(step, train->steps, train->warmup_steps, iso_config_peak_lr(config),
                              train->min_lr);
}
