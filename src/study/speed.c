#include "study/speed.h"

#include "base/clock.h"
#include "base/rng.h"
#include "train/trainer.h"

#include <pthread.h>
#include <stdlib.h>

#define MEASURE_S 0.5

typedef struct probe {
    iso_config config;
    pthread_barrier_t *barrier;
    double tokens_per_s;
    iso_status status;
    char message[ISO_ERROR_BYTES];
} probe;

static iso_status run_steps(probe *p, iso_trainer *trainer, const int32_t *tokens, double seconds,
                            double *tokens_per_s) {
    double start = iso_clock_s(), elapsed = 0;
    int64_t n_steps = 0;
    for (; elapsed < seconds; n_steps++, elapsed = iso_clock_s() - start) {
        iso_step_result result;
        ISO_TRY(iso_trainer_step(trainer, n_steps + 1, tokens, tokens, &result));
    }
    *tokens_per_s = (double)(n_steps * iso_config_batch_tokens(&p->config)) / elapsed;
    return ISO_OK;
}

static iso_status measure(probe *p) {
    int64_t n = iso_config_batch_tokens(&p->config);
    int32_t *tokens = malloc((size_t)n * sizeof *tokens);
    if (!tokens) return iso_fail(ISO_ERR_MEMORY, "cannot allocate a batch of tokens");
    for (int64_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(iso_rng_u64(0, ISO_RNG_TEST, 0, (uint64_t)i) %
                              (uint64_t)p->config.model.vocab_size);
    iso_trainer *trainer = NULL;
    iso_status status = iso_trainer_create(&trainer, &p->config, "cpu", ISO_F32, true);
    /* Warm up, then all at once: they share caches and memory as the real runs will. */
    if (status == ISO_OK) status = run_steps(p, trainer, tokens, 0, &p->tokens_per_s);
    pthread_barrier_wait(p->barrier);
    if (status == ISO_OK) status = run_steps(p, trainer, tokens, MEASURE_S, &p->tokens_per_s);
    iso_trainer_free(trainer);
    free(tokens);
    return status;
}

static void *measure_thread(void *ctx) {
    probe *p = ctx;
    p->status = measure(p);
    snprintf(p->message, sizeof p->message, "%s", iso_error_message());
    return NULL;
}

iso_status iso_speed_measure(double *out_tokens_per_s, const iso_config *config, int n_parallel) {
    probe *probes = calloc((size_t)n_parallel, sizeof *probes);
    pthread_t *threads = calloc((size_t)n_parallel, sizeof *threads);
    pthread_barrier_t barrier;
    int n_started = 0;
    iso_status status = ISO_OK;
    if (!probes || !threads) {
        free(probes);
        free(threads);
        return iso_fail(ISO_ERR_MEMORY, "cannot allocate the speed measurement");
    }
    pthread_barrier_init(&barrier, NULL, (unsigned)n_parallel);
    for (; n_started < n_parallel; n_started++) {
        probes[n_started].config = *config;
        probes[n_started].config.train.threads = 1;
        probes[n_started].barrier = &barrier;
        int err = pthread_create(&threads[n_started], NULL, measure_thread, &probes[n_started]);
        /* Threads that wait at the barrier for one that never came could not be joined. */
        ISO_ASSERT(err == 0);
    }
    *out_tokens_per_s = 0;
    for (int i = 0; i < n_started; i++) {
        pthread_join(threads[i], NULL);
        *out_tokens_per_s += probes[i].tokens_per_s / n_parallel;
        if (probes[i].status != ISO_OK)
            status = iso_fail(probes[i].status, "%s", probes[i].message);
    }
    pthread_barrier_destroy(&barrier);
    free(probes);
    free(threads);
    return status;
}
