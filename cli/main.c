/* The command table, and where a status becomes an exit code. */
#include "cli.h"

#include <string.h>

static const cli_command commands[] = {
    {"audit", "were these runs an equal comparison?", cmd_audit},
    {"bench", "speed of training steps", cmd_bench},
    {"compare", "dense or MoE on your own text: the main job", cmd_compare},
    {"count", "parameters, FLOPs and memory of models, side by side", cmd_count},
    {"data", "text to token shards; what they hold; checks them", cmd_data},
    {"doctor", "what this build and this machine can do", cmd_doctor},
    {"eval", "cross-entropy, BPB and BPC of a model", cmd_eval},
    {"generate", "text from a model", cmd_generate},
    {"plan", "from a budget to an equal comparison that can be trained", cmd_plan},
    {"paper", "the paper's tables recomputed, its models as configs", cmd_paper},
    {"report", "one HTML page about any set of runs", cmd_report},
    {"study", "many runs as one: their status, questions about them", cmd_study},
    {"tokenizer", "learn a BPE model; text to ids and back", cmd_tokenizer},
    {"train", "one run, from a config to a run folder", cmd_train},
};

/* A full disk or a closed pipe shows only now: a product that was not written is a failure. */
static iso_status flush_product(iso_status status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    return status == ISO_OK ? iso_fail(ISO_ERR_IO, "standard output cannot be written") : status;
}

int main(int argc, char **argv) {
    cli_log_start(ISO_LOG_INFO);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("isomoe %s\n", ISO_VERSION);
        return cli_exit_code(flush_product(ISO_OK));
    }
    iso_status status = flush_product(
        cli_dispatch("isomoe", commands, sizeof commands / sizeof *commands, argc, argv));
    if (status != ISO_OK) iso_log(ISO_LOG_ERROR, "%s", iso_error_message());
    return cli_exit_code(status);
}
