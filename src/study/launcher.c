#include "study/launcher.h"

#include "base/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: becomes `isomoe train`. */
static void become(const char *program, const iso_job *job, int log_fd, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    signal(SIGINT, SIG_IGN); /* Ctrl-C reaches the parent, which asks in its own way */
    execl(program, "isomoe", "train", job->config_path, "--out", job->run_dir, "--name", job->name,
          "--resume", "auto", (char *)NULL);
    _exit(127);
}

static iso_status start(void *ctx, iso_job *job) {
    ISO_TRY(iso_dir_create(job->run_dir));
    char *log = iso_strf("%s/log.txt", job->run_dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int err = errno;
    pid_t parent = getpid(), pid = 0;
    iso_status status = ISO_OK;
    if (fd < 0) {
        status = iso_fail_errno(ISO_ERR_IO, err, "cannot write %s", log);
    } else if ((pid = fork()) == 0) {
        become(ctx, job, fd, parent);
    } else if (pid < 0) {
        status = iso_fail_errno(ISO_ERR_FAILED, errno, "cannot start the run %s", job->name);
    }
    job->handle = pid;
    if (fd >= 0) close(fd);
    free(log);
    return status;
}

static bool has_ended(void *ctx, const iso_job *job, int *exit_code) {
    int wait_status;
    if (waitpid((pid_t)job->handle, &wait_status, WNOHANG) != (pid_t)job->handle) return false;
    *exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    return true;
}

static void ask_to_end(void *ctx, const iso_job *job) {
    kill((pid_t)job->handle, SIGTERM);
}

iso_launcher iso_launcher_local(const char *program) {
    return (iso_launcher){.start = start,
                          .has_ended = has_ended,
                          .ask_to_end = ask_to_end,
                          .ctx = (void *)(uintptr_t)program};
}
