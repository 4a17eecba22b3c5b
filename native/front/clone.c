/* CLONE: the process of a Program, cloned here. Its descriptors are stage, file, channel, then what `slots` count from 0. */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STAGE, FILE_, CHANNEL, FIRST };

static void run_stage(int stage, int file, const struct block *block, unsigned count)
{
    char number[16];
    char *arguments[] = {"pilot-launch", number, NULL}, *environment[] = {NULL};

    fcntl(file, F_SETFD, 0);
    fcntl(block->channel, F_SETFD, 0);
    for (unsigned i = 0; i < count; i++)
        if (block->slots[i] >= 3)
            fcntl(block->slots[i], F_SETFD, 0);
    snprintf(number, sizeof number, "%d", file);
    syscall(SYS_execveat, stage, "", arguments, environment, AT_EMPTY_PATH);
    _exit(127);
}

/* The Program's file begins with room for the numbers that its descriptors have here. A pid, or -errno. */
static int clone_stage(const struct received *received, int *pid_fd)
{
    const struct answer *answer = &received->answer;
    struct block block = {0};
    struct clone_args clone = {
        .flags = answer->flags | CLONE_PIDFD, .pidfd = (uintptr_t)pid_fd, .exit_signal = SIGCHLD};

    if (received->lacks)
        return -EMFILE;
    if (received->count < FIRST || answer->count > MAX_SLOTS || answer->cgroup >= (int)answer->count)
        return -EPROTO;
    for (unsigned i = 0; i < answer->count; i++) {
        if (answer->slots[i] >= (int)received->count - FIRST)
            return -EPROTO;
        block.slots[i] = answer->slots[i] < 0 ? -1 : received->fds[FIRST + answer->slots[i]];
    }
    block.channel = received->fds[CHANNEL];
    if (pwrite(received->fds[FILE_], &block, sizeof block, 0) != sizeof block)
        return -errno;
    if (answer->cgroup >= 0) {
        clone.flags |= CLONE_INTO_CGROUP;
        clone.cgroup = block.slots[answer->cgroup];
    }
    long pid = syscall(SYS_clone3, &clone, sizeof clone);
    if (pid == 0)
        run_stage(received->fds[STAGE], received->fds[FILE_], &block, answer->count);
    return pid < 0 ? -errno : pid;
}

int answer_clone(int planner, const struct received *received)
{
    struct report report = {.kind = CLONED};
    int pid_fd = -1, result = clone_stage(received, &pid_fd);

    report.pid = result < 0 ? 0 : result;
    report.error = result < 0 ? -result : 0;
    int sent = send_report(planner, &report, &pid_fd, result < 0 ? 0 : 1);
    if (pid_fd >= 0)
        close(pid_fd);
    return sent;
}
