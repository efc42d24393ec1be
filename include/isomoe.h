/* isomoe.h - the only public header: status codes, and the pipeline, a function per stage.
 *
 * Every fallible function of the library returns an iso_status. On anything but ISO_OK the calling
 * thread's error buffer holds one message that says what went wrong, where, and what to do about
 * it. The library never prints and never exits; cli/ alone turns a status into an exit code.
 */
#ifndef ISOMOE_H
#define ISOMOE_H

#include <signal.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ISO_VERSION "0.1.0"

/* What a call came to. The exit code of each is in cli/exit_code.c, and nowhere else. */
typedef enum iso_status {
    ISO_OK = 0,
    ISO_ERR_FAILED,    /* something failed that is none of the below */
    ISO_ERR_USAGE,     /* bad command line, bad configuration, impossible shape */
    ISO_ERR_DATA,      /* input that breaks its format: text, shard, tokenizer, checkpoint, JSON */
    ISO_ERR_IO,        /* the operating system refused to read or write */
    ISO_ERR_NO_SPACE,  /* the disk is full (or would be): what was saved stays, a rerun goes on */
    ISO_ERR_LOCKED,    /* another process owns the run folder */
    ISO_ERR_MEMORY,    /* an allocation failed */
    ISO_ERR_NONFINITE, /* NaN or infinity in training: stopped before the update */
    ISO_ERR_NOT_EQUAL, /* the audit's answer: the runs are not an equal comparison */
    ISO_ERR_PREEMPTED, /* a signal asked to stop: a checkpoint is saved, run again to go on */
    ISO_ERR_UNSUPPORTED, /* this build or machine cannot do it */
} iso_status;

/* The calling thread's last error message; "" if none. Valid until the next failing call. */
const char *iso_error_message(void);

/* --- the pipeline: paths in, files out; everything on disk is in docs/formats.md --- */

/* A validation domain and one file or folder of its text. */
typedef struct iso_domain_path {
    const char *name, *path;
} iso_domain_path;

/* Text to a prepared folder. tokenizer: "bytes" or a SentencePiece model; texts: files and folders
 * of JSONL or plain text, .gz, .zst. Part of them is held out as the domain "holdout". */
iso_status isomoe_prepare(const char *out_dir, const char *tokenizer, const char *const *texts,
                          int64_t n_texts, const iso_domain_path *domains, int64_t n_domains);

/* One run, from a config to a run folder; goes on from its newest good checkpoint. overrides:
 * "section.key=value". *stop (may be NULL) non-zero: saves and returns ISO_ERR_PREEMPTED.
 * Signals are blocked while it computes and saves, and let in between steps. */
iso_status isomoe_train(const char *run_dir, const char *config_path, const char *const *overrides,
                        int64_t n_overrides, const volatile sig_atomic_t *stop);

/* Whether runs were an equal comparison: ISO_OK, or ISO_ERR_NOT_EQUAL. *out_json (may be NULL) is
 * the whole audit, to be freed with free(); it is there in both cases. */
iso_status isomoe_audit(char **out_json, const char *const *run_dirs, int64_t n_runs);

/* One self-contained HTML page about the runs. */
iso_status isomoe_report(const char *html_path, const char *const *run_dirs, int64_t n_runs);

#ifdef __cplusplus
}
#endif
#endif
