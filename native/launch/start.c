/* The beginning of a process that runs a Program, and the clone of a second one. */
#include "launch.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>

enum { SIGNALS = 64, SIGNAL_SET_BYTES = 8 };

long clone_process(uint64_t flags, int exit_signal, int cgroup_fd, int *pid_fd)
{
    struct clone_args clone = {.flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)pid_fd, .exit_signal = exit_signal};

    if (cgroup_fd >= 0) {
        clone.flags |= CLONE_INTO_CGROUP;
        clone.cgroup = cgroup_fd;
    }
    return RAW2(SYS_clone3, &clone, sizeof clone);
}

/* Python ignores some signals, its own caller may have ignored others, and all are blocked over clone and exec. */
static void reset_signals(void)
{
    uint64_t none = 0;
    struct { /* the kernel's struct sigaction, all zero: SIG_DFL */
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } action = {0};

    for (int number = 1; number <= SIGNALS; number++)
        if (number != SIGKILL && number != SIGSTOP)
            RAW4(SYS_rt_sigaction, number, &action, NULL, SIGNAL_SET_BYTES);
    RAW4(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, SIGNAL_SET_BYTES);
}

static void insert_sorted(int *sorted, unsigned count, int value)
{
    for (; count > 0 && sorted[count - 1] > value; count--)
        sorted[count] = sorted[count - 1];
    sorted[count] = value;
}

/* Closes everything that is not 0, 1, 2, the channel or in a slot: descriptors of other launches that run in other
 * threads, above all, whose end of file somebody waits for. */
static void close_others(const struct run *run)
{
    int kept[MAX_SLOTS + 1];
    unsigned count = 0, next = 3;

    insert_sorted(kept, count++, run->channel);
    for (unsigned i = 0; i < run->program->header->slots; i++)
        if (run->slots[i] >= 3)
            insert_sorted(kept, count++, run->slots[i]);
    for (unsigned i = 0; i < count; i++) {
        if ((unsigned)kept[i] > next)
            RAW3(SYS_close_range, next, kept[i] - 1, 0);
        next = kept[i] + 1;
    }
    RAW3(SYS_close_range, next, ~0U, 0);
    RAW3(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* Each slot gets a descriptor of its own, above 2, so that closing one slot is never felt by another. */
static long separate_slots(struct run *run)
{
    for (unsigned i = 0; i < run->program->header->slots; i++) {
        int shared = run->slots[i] >= 0 && run->slots[i] < 3;
        for (unsigned j = 0; j < i; j++)
            shared |= run->slots[i] >= 0 && run->slots[i] == run->slots[j];
        if (!shared)
            continue;
        long copy = RAW3(SYS_fcntl, run->slots[i], F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
            return copy;
        run->slots[i] = copy;
    }
    return 0;
}

/* A seccomp filter that refuses even this one kills by an illegal instruction: musl's _exit would try for ever. */
void end_process(int status)
{
    RAW1(SYS_exit_group, status);
    __builtin_trap();
}

void begin(struct run *run)
{
    struct message message = {.kind = FAILED, .step = NO_STEP};
    long result;

    reset_signals();
    close_others(run);
    result = separate_slots(run);
    if (result < 0) {
        message.error = -result;
        send_message(run->channel, &message, -1);
        end_process(1);
    }
    run_program(run);
}

/* SPAWN: the rest is run by a sibling. It starts when the parent knows its pid; this process tells that and ends.
 * With CLONE_PARENT clone3 wants exit signal 0 and the sibling inherits ours. */
long do_spawn(struct run *run, const unsigned long *a)
{
    int pid_fd = -1;
    int cgroup_fd = (long)a[1] < 0 ? -1 : run->slots[a[1]];
    long pid = clone_process(a[0] | CLONE_PARENT, 0, cgroup_fd, &pid_fd);

    if (pid < 0)
        return pid;
    if (pid > 0)
        end_process(tell(run, SPAWNED, pid, pid_fd) ? 1 : 0);
    await_go(run, NULL, 0);
    return 0;
}
