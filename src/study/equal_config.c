#include "study/equal_config.h"

#include "arch/count.h"
#include "arch/equal_compute.h"
#include "study/lr_rule.h"

iso_status iso_equal_batch_set(iso_config *config, const iso_equal_rule *rule, int64_t tokens) {
    iso_train_config *train = &config->train;
    ISO_TRY(iso_shape_check(&config->model));
    train->batch_size = iso_config_law_batch(config, rule->law, (double)tokens);
    if (train->micro_batch_size == ISO_MICRO_BATCH_WHOLE)
        train->micro_batch_size = train->batch_size;
    return ISO_OK;
}

iso_status iso_equal_steps_of(int64_t *out_steps, const iso_config *config,
                              int64_t reference_flops_per_token, int64_t reference_tokens) {
    iso_counts counts;
    ISO_TRY(iso_count(&counts, &config->model, ISO_CONVENTION_PAPER));
    return iso_equal_steps(out_steps, reference_flops_per_token, reference_tokens,
                           counts.train_flops_per_token, iso_config_batch_tokens(config));
}

iso_status iso_equal_steps_set(iso_config *config, const iso_equal_rule *rule, int64_t steps,
                               iso_str *warnings) {
    iso_train_config *train = &config->train;
    iso_counts counts;
    ISO_TRY(iso_count(&counts, &config->model, ISO_CONVENTION_PAPER));
    double params = (double)counts.params_nonvocab;
    train->tokens = 0;
    train->flops = 0;
    train->steps = steps;
    train->lr =
        iso_steplaw_lr(rule->law, params, (double)steps * (double)iso_config_batch_tokens(config));
    train->lr_multiplier = rule->lr_multiplier > 0
                               ? rule->lr_multiplier
                               : iso_lr_rule_multiplier(params, counts.activation_rate);
    train->warmup_steps = ISO_WARMUP_AUTO;
    train->eval_every = steps >= 10 ? steps / 10 : 1;
    train->checkpoint_every = steps >= 5 ? steps / 5 : 1;
    return iso_config_resolve(config, warnings);
}
