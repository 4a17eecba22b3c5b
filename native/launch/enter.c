/* From the Python process into the stage: a clone that shares memory, as vfork's does, and execs at once.
 *
 * A copy of the interpreter's memory would cost more than all that follows, and would carry its secrets into a process
 * that joins other namespaces. So the child runs on a stack of its own, in our memory, while our thread is suspended.
 * It makes nothing but system calls, and touches nothing but `entrance`. */
#include "launch.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

enum { STACK_BYTES = 16384, SIGNAL_SET_BYTES = 8 };

struct child {
    const struct entrance *entrance;
    char *arguments[3];
    char *environment[1];
    int error; /* out: why it could not be executed */
};

/* clone3 whose child calls function(argument) on the stack of `clone` and never returns. */
static long clone_calling(struct clone_args *clone, void (*function)(void *), void *argument)
{
#if defined(__x86_64__)
    long result;
    register void *kept asm("r8") = argument;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r8, %%rdi\n\t"
                     "call *%%rdx\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"(SYS_clone3), "D"(clone), "S"(sizeof *clone), "d"(function), "r"(kept)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long number asm("x8") = SYS_clone3;
    register long result asm("x0") = (long)clone;
    register unsigned long size asm("x1") = sizeof *clone;
    register void (*called)(void *) asm("x2") = function;
    register void *kept asm("x3") = argument;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x0, x3\n\t"
                     "blr x2\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(result)
                     : "r"(number), "r"(size), "r"(called), "r"(kept)
                     : "x30", "memory");
    return result;
#else
#error "clone_calling is not written for this architecture"
#endif
}

static long keep_over_exec(int descriptor) { return descriptor < 3 ? 0 : RAW3(SYS_fcntl, descriptor, F_SETFD, 0); }

/* In the child. Its table of descriptors is a copy, so clearing close-on-exec is not seen by the parent. */
static void execute_stage(void *argument)
{
    struct child *child = argument;
    const struct entrance *entrance = child->entrance;
    long result = keep_over_exec(entrance->block->channel);

    for (unsigned i = 0; i < entrance->header->slots && result >= 0; i++)
        result = keep_over_exec(entrance->block->slots[i]);
    if (result >= 0)
        result = keep_over_exec(entrance->block_fd);
    if (result >= 0)
        result = RAW5(SYS_execveat, entrance->stage_fd, "", child->arguments, child->environment, AT_EMPTY_PATH);
    child->error = -result;
    RAW1(SYS_exit, 1);
}

static void reap(int pid_fd)
{
    siginfo_t info;

    while (RAW5(SYS_waitid, P_PIDFD, pid_fd, &info, WEXITED, NULL) == -EINTR) {
    } /* ECHILD: it is a child of our parent, which reaps it */
    close(pid_fd);
}

int enter_stage(struct entrance *entrance)
{
    char stack[STACK_BYTES] __attribute__((aligned(16)));
    char number[16];
    struct child child = {entrance, {"pilot-launch", number, NULL}, {NULL}, 0};
    int cgroup = entrance->header->cgroup;
    int cgroup_fd = cgroup < 0 ? -1 : entrance->block->slots[cgroup];
    struct clone_args clone = {
        .flags = entrance->header->flags | entrance->flags | CLONE_PIDFD | CLONE_VM | CLONE_VFORK,
        .pidfd = (uintptr_t)&entrance->pid_fd,
        .exit_signal = entrance->exit_signal,
        .stack = (uintptr_t)stack,
        .stack_size = sizeof stack,
    };
    uint64_t all = ~(uint64_t)0, before;
    long result;

    snprintf(number, sizeof number, "%d", entrance->block_fd);
    if (cgroup >= 0) {
        clone.flags |= CLONE_INTO_CGROUP;
        clone.cgroup = (unsigned)cgroup_fd;
    }
    RAW4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNAL_SET_BYTES);
    result = clone_calling(&clone, execute_stage, &child);
    RAW4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNAL_SET_BYTES);
    if (result < 0)
        return -result;
    if (child.error) {
        reap(entrance->pid_fd);
        return child.error;
    }
    entrance->pid = result;
    return 0;
}
