/* Descriptors, privileges, and the ends of a Program: hooks and exec. */
#include "launch.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

void bind_slot(struct run *run, int slot, int descriptor)
{
    if (run->slots[slot] >= 0)
        RAW1(SYS_close, run->slots[slot]);
    run->slots[slot] = descriptor;
}

long do_close(struct run *run, const unsigned long *a)
{
    bind_slot(run, a[0], -1);
    return 0;
}

static long move_above(int *descriptor, unsigned long lowest)
{
    if (*descriptor < 0 || (unsigned long)*descriptor >= lowest)
        return 0;
    long moved = RAW3(SYS_fcntl, *descriptor, F_DUPFD_CLOEXEC, lowest);
    if (moved < 0)
        return moved;
    *descriptor = moved;
    return 0;
}

/* First everything that we still need is moved out of the way, then 0..n-1 are set one by one. */
long do_install(struct run *run, const unsigned long *a)
{
    const int32_t *wanted = (const int32_t *)a[0];
    unsigned long count = a[1];
    long result = move_above(&run->channel, count);

    for (unsigned i = 0; i < run->program->header->slots && !result; i++)
        result = move_above(&run->slots[i], count);
    for (unsigned long i = 0; i < count && !result; i++) {
        if (wanted[i] < 0)
            RAW1(SYS_close, i); /* EBADF is what was wanted */
        else if ((result = RAW3(SYS_dup3, run->slots[wanted[i]], i, 0)) >= 0)
            result = 0;
    }
    return result;
}

static void say_done(struct run *run)
{
    if (run->channel >= 0 && !run->is_quiet)
        tell(run, DONE, 0, -1); /* a parent that is gone was not going to hear of it */
    run->is_quiet = 1;
}

long do_seccomp(struct run *run, const unsigned long *a)
{
    struct sock_fprog filter = {a[1], (struct sock_filter *)a[0]};

    say_done(run); /* the filter may kill whoever calls sendmsg(2) */
    return RAW3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, a[2], &filter);
}

/* PR_CAPBSET_READ: 1 in the set, 0 not, EINVAL past the last capability of this kernel. */
long do_drop_bounding(struct run *run, const unsigned long *a)
{
    (void)run;
    for (unsigned capability = 0; capability < 64; capability++) {
        long present = RAW2(SYS_prctl, PR_CAPBSET_READ, capability);
        if (present < 0)
            return present == -EINVAL ? 0 : present;
        if (!present || a[0] >> capability & 1)
            continue;
        long result = RAW5(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
        if (result < 0)
            return result;
    }
    return 0;
}

long do_await(struct run *run, const unsigned long *a)
{
    char byte;
    long result;

    (void)run;
    do
        result = RAW3(SYS_read, a[0], &byte, 1);
    while (result == -EINTR);
    return result == 1 ? 0 : result ? result : -EPIPE;
}

static long check_executable(const char *path)
{
    struct stat status;

    if (stat(path, &status))
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (!S_ISREG(status.st_mode))
        return -EACCES;
    return RAW4(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS);
}

/* As execvp: a candidate that is not there is passed over, one that is forbidden is remembered. */
static int is_passed_over(long error)
{
    return error == -ENOENT || error == -ENOTDIR || error == -EACCES || error == -EISDIR || error == -ENAMETOOLONG;
}

static long more_telling(long before, long error) { return error == -ENOENT || error == -ENOTDIR ? before : error; }

long do_find_executable(struct run *run, const unsigned long *a)
{
    const char *const *candidates = (const char *const *)a[0];
    long failure = -ENOENT;

    (void)run;
    if (candidates[0] && !candidates[1]) /* named, and not searched for: what is wrong with it counts */
        return check_executable(candidates[0]);
    for (const char *const *candidate = candidates; *candidate; candidate++) {
        long result = check_executable(*candidate);
        if (!result || !is_passed_over(result))
            return result;
        failure = more_telling(failure, result);
    }
    return failure;
}

long do_execute(struct run *run, const unsigned long *a)
{
    long failure = -ENOENT;

    say_done(run);
    for (const char *const *candidate = (const char *const *)a[0]; *candidate; candidate++) {
        long result = RAW3(SYS_execve, *candidate, a[1], a[2]);
        if (!is_passed_over(result))
            return result;
        failure = more_telling(failure, result);
    }
    return failure;
}

/* What was installed for the container's process is not for its hooks. */
static long close_over_exec(void)
{
    long result = RAW3(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);

    if (result >= 0)
        return 0;
    for (int descriptor = 3; descriptor < MAX_SLOTS; descriptor++) /* a seccomp filter older than close_range(2) */
        if ((result = RAW3(SYS_fcntl, descriptor, F_SETFD, FD_CLOEXEC)) < 0 && result != -EBADF)
            return result;
    return 0;
}

static void run_hook_child(const unsigned long *a, int report)
{
    long result = RAW3(SYS_lseek, a[3], 0, SEEK_SET);

    if (result >= 0)
        result = RAW3(SYS_dup3, a[3], 0, 0);
    if (result >= 0)
        result = RAW3(SYS_dup3, 2, 1, 0); /* the container's output is its process's */
    if (result >= 0)
        result = close_over_exec();
    if (result >= 0)
        result = RAW3(SYS_execve, a[0], a[1], a[2]);
    RAW3(SYS_write, report, &result, sizeof result);
    end_process(127);
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for a pidfd until `deadline` (0: none). */
static long wait_until(int pid_fd, long deadline)
{
    struct pollfd poll_fd = {pid_fd, POLLIN, 0};
    long result;

    do {
        long left = deadline ? deadline - now_ms() : -1;
        result = poll(&poll_fd, 1, deadline && left < 0 ? 0 : left);
    } while (result < 0 && errno == EINTR);
    return result == 0 ? -ETIMEDOUT : result < 0 ? -errno : 0;
}

static long finish_hook(struct run *run, int pid_fd, int report, long timeout_ms)
{
    siginfo_t info = {0};
    long failure = 0, result = wait_until(pid_fd, timeout_ms ? now_ms() + timeout_ms : 0);

    if (result)
        RAW4(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0);
    if (RAW5(SYS_waitid, P_PIDFD, pid_fd, &info, WEXITED, NULL) < 0 || result)
        return result ? result : -ECHILD;
    if (RAW3(SYS_read, report, &failure, sizeof failure) == sizeof failure)
        return failure; /* it could not be executed */
    if (info.si_code == CLD_EXITED && info.si_status == 0)
        return 0;
    run->detail = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
    return -ECANCELED;
}

/* clone3, or clone where a seccomp filter knows no clone3 or cannot look into its structure. */
static long clone_hook(int *pid_fd)
{
    struct clone_args clone = {.flags = CLONE_PIDFD, .pidfd = (uintptr_t)pid_fd, .exit_signal = SIGCHLD};
    long result = RAW2(SYS_clone3, &clone, sizeof clone);

    return result >= 0 ? result : RAW5(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, pid_fd, NULL, NULL);
}

long do_run_hook(struct run *run, const unsigned long *a)
{
    int pid_fd = -1, report[2];
    long result = RAW2(SYS_pipe2, report, O_CLOEXEC);

    if (result < 0)
        return result;
    result = clone_hook(&pid_fd);
    if (result == 0)
        run_hook_child(a, report[1]);
    RAW1(SYS_close, report[1]);
    if (result > 0) {
        result = finish_hook(run, pid_fd, report[0], a[4]);
        RAW1(SYS_close, pid_fd);
    }
    RAW1(SYS_close, report[0]);
    return result;
}
