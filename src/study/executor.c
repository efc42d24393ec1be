#include "study/executor.h"

#include "base/fileio.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS        ((long)200 * 1000 * 1000)
#define EXIT_PREEMPTED 75
#define EXIT_NO_SPACE  4
#define EXIT_LOCKED    5
/* A run that an earlier, killed parent had started may still be saving its checkpoint: it is tried
 * again so often, so many polls apart. */
#define LOCKED_RETRIES 60
#define LOCKED_POLLS   5

static bool is_finished(const iso_job *job) {
    char *path = iso_strf("%s/summary.json", job->run_dir);
    json_t *summary = NULL;
    const char *state = NULL;
    bool finished = iso_path_exists(path) && iso_json_load(&summary, path) == ISO_OK &&
                    iso_json_get_str(&state, summary, "state", path) == ISO_OK &&
                    strcmp(state, "finished") == 0;
    json_decref(summary);
    free(path);
    return finished;
}

/* The last whole line's "step"; what it was before if there is none yet. */
static int64_t last_step(const iso_job *job) {
    char *path = iso_strf("%s/metrics.jsonl", job->run_dir), tail[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    if (fd < 0) return job->step;
    off_t size = lseek(fd, 0, SEEK_END), from = size - (off_t)sizeof tail + 1;
    ssize_t n = pread(fd, tail, sizeof tail - 1, from > 0 ? from : 0);
    close(fd);
    if (n <= 0) return job->step;
    tail[n] = '\0';
    char *end = strrchr(tail, '\n');
    if (!end) return job->step;
    *end = '\0';
    const char *start = strrchr(tail, '\n');
    start = start ? start + 1 : tail;
    long long step;
    return sscanf(start, "{\"step\":%lld", &step) == 1 ? step : job->step;
}

/* In the child: becomes `isomoe train`. */
static void become(const iso_executor *ex, const iso_job *job, int log_fd, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the parent, which asks in its own way */
    execl(ex->program, "isomoe", "train", job->config_path, "--out", job->run_dir, "--name",
          job->name, "--resume", "auto", (char *)NULL);
    _exit(127);
}

static iso_status start(const iso_executor *ex, iso_job *job) {
    ISO_TRY(iso_dir_create(job->run_dir));
    char *log = iso_strf("%s/log.txt", job->run_dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int err = errno;
    pid_t parent = getpid();
    iso_status status = ISO_OK;
    if (fd < 0) {
        status = iso_fail_errno(ISO_ERR_IO, err, "cannot write %s", log);
    } else if ((job->pid = fork()) == 0) {
        become(ex, job, fd, parent);
    } else if (job->pid < 0) {
        status = iso_fail_errno(ISO_ERR_FAILED, errno, "cannot start the run %s", job->name);
    } else {
        job->state = ISO_JOB_RUNNING;
    }
    if (fd >= 0) close(fd);
    free(log);
    return status;
}

static iso_job *longest_waiting(iso_job *jobs, int64_t n_jobs) {
    iso_job *longest = NULL;
    for (int64_t i = 0; i < n_jobs; i++)
        if (jobs[i].state == ISO_JOB_WAITING && jobs[i].wait_polls == 0 &&
            (!longest || jobs[i].cost > longest->cost))
            longest = &jobs[i];
    return longest;
}

/* How many still wait, now or later; one poll nearer to their turn. */
static int64_t count_waiting(iso_job *jobs, int64_t n_jobs) {
    int64_t n_waiting = 0;
    for (int64_t i = 0; i < n_jobs; i++) {
        n_waiting += jobs[i].state == ISO_JOB_WAITING;
        if (jobs[i].wait_polls > 0) jobs[i].wait_polls--;
    }
    return n_waiting;
}

static void take_note(iso_job *job, int wait_status) {
    job->exit_code =
        WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    /* Asked to stop before it could listen, a run has nothing to save. */
    if (job->exit_code == 128 + SIGTERM) job->exit_code = EXIT_PREEMPTED;
    job->state = job->exit_code == 0                ? ISO_JOB_DONE
                 : job->exit_code == EXIT_PREEMPTED ? ISO_JOB_PREEMPTED
                                                    : ISO_JOB_FAILED;
    if (job->exit_code == EXIT_LOCKED && job->n_retries++ < LOCKED_RETRIES) {
        job->state = ISO_JOB_WAITING;
        job->wait_polls = LOCKED_POLLS;
    }
}

/* Takes note of children that ended; returns how many still run. */
static int reap(iso_job *jobs, int64_t n_jobs) {
    int n_running = 0;
    for (int64_t i = 0; i < n_jobs; i++) {
        int wait_status;
        if (jobs[i].state != ISO_JOB_RUNNING) continue;
        jobs[i].step = last_step(&jobs[i]);
        if (waitpid(jobs[i].pid, &wait_status, WNOHANG) != jobs[i].pid) {
            n_running++;
            continue;
        }
        take_note(&jobs[i], wait_status);
    }
    return n_running;
}

/* The last line of a failed job's log says why. */
static iso_status failure(const iso_job *job) {
    char *path = iso_strf("%s/log.txt", job->run_dir), *text = NULL;
    int64_t n_bytes = 0;
    const char *words = "";
    if (iso_file_read(&text, &n_bytes, path, (int64_t)1 << 26) == ISO_OK) {
        while (n_bytes > 0 && text[n_bytes - 1] == '\n') text[--n_bytes] = '\0';
        const char *line = strrchr(text, '\n');
        words = line ? line + 1 : text;
    }
    iso_status status = job->exit_code == EXIT_NO_SPACE ? ISO_ERR_NO_SPACE : ISO_ERR_FAILED;
    iso_fail(status, "the run %s ended with exit code %d: %s (all of it in %s)", job->name,
             job->exit_code, words, path);
    free(text);
    free(path);
    return status;
}

iso_status iso_executor_run(const iso_executor *ex, iso_job *jobs, int64_t n_jobs) {
    iso_status status = ISO_OK;
    bool asked = false;
    for (int64_t i = 0; i < n_jobs; i++) {
        jobs[i].state = is_finished(&jobs[i]) ? ISO_JOB_DONE : ISO_JOB_WAITING;
        jobs[i].step = jobs[i].state == ISO_JOB_DONE ? jobs[i].n_steps : 0;
    }
    for (int n_running = 0;;) {
        bool stopping = (ex->stop && *ex->stop) || status != ISO_OK;
        for (iso_job *next; !stopping && n_running < ex->n_parallel && status == ISO_OK &&
                            (next = longest_waiting(jobs, n_jobs));
             n_running++)
            status = start(ex, next);
        if (stopping && !asked)
            for (int64_t i = 0; i < n_jobs; i++)
                if (jobs[i].state == ISO_JOB_RUNNING) kill(jobs[i].pid, SIGTERM);
        asked |= stopping;
        n_running = reap(jobs, n_jobs);
        if (ex->on_progress) ex->on_progress(ex->ctx, jobs, n_jobs);
        int64_t n_waiting = count_waiting(jobs, n_jobs);
        if (n_running == 0 && (stopping || n_waiting == 0)) break;
        nanosleep(&(struct timespec){0, POLL_NS}, NULL);
    }
    if (status != ISO_OK) return status;
    for (int64_t i = 0; i < n_jobs; i++)
        if (jobs[i].state == ISO_JOB_FAILED) return failure(&jobs[i]);
    if (asked)
        return iso_fail(ISO_ERR_PREEMPTED, "stopped by a signal; every run has saved a checkpoint, "
                                           "run the same command to go on");
    return ISO_OK;
}
