/* isomoe.h - the only public header: status codes and the error message.
 *
 * Every fallible function of the library returns an iso_status. On anything but ISO_OK the calling
 * thread's error buffer holds one message that says what went wrong, where, and what to do about
 * it. The library never prints and never exits; cli/ alone turns a status into an exit code.
 */
#ifndef ISOMOE_H
#define ISOMOE_H

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

#ifdef __cplusplus
}
#endif
#endif
