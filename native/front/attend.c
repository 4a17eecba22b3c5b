/* WAIT and REAP: processes that were cloned here are ours to wait for; of one that runs in the foreground our signals are
 * its own. */
#include "front.h"

#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Those that are not the container's business, as the Python command line has them where there is no terminal. */
static const int NOT_HELD[] = {SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPIPE, SIGWINCH, SIGCHLD};

static sigset_t held, before;

void hold_signals(void)
{
    sigfillset(&held);
    for (size_t i = 0; i < sizeof NOT_HELD / sizeof *NOT_HELD; i++)
        sigdelset(&held, NOT_HELD[i]);
    sigprocmask(SIG_BLOCK, &held, &before);
}

void release_signals(void) { sigprocmask(SIG_SETMASK, &before, NULL); }

static void pass_signal_on(int signals, int pid_fd)
{
    struct signalfd_siginfo info;

    if (read(signals, &info, sizeof info) == sizeof info)
        syscall(SYS_pidfd_send_signal, pid_fd, info.ssi_signo, NULL, 0); /* ESRCH: it has just ended */
}

static int await_end(int pid_fd)
{
    struct pollfd ready[2] = {{.fd = pid_fd, .events = POLLIN}, {.events = POLLIN}};

    ready[1].fd = signalfd(-1, &held, SFD_CLOEXEC);
    if (ready[1].fd < 0)
        return -1;
    while (!(ready[0].revents & POLLIN)) {
        if (poll(ready, 2, -1) < 0 && errno != EINTR)
            return -1;
        if (ready[1].revents & POLLIN)
            pass_signal_on(ready[1].fd, pid_fd);
    }
    close(ready[1].fd);
    return 0;
}

/* How the process ended, as a report. */
static struct report reap(int pid_fd)
{
    struct report report = {.kind = ENDED, .error = 3};
    siginfo_t info;

    if (waitid(P_PIDFD, pid_fd, &info, WEXITED))
        return report; /* it is not our child */
    report.status = info.si_status;
    report.error = info.si_code == CLD_EXITED ? 0 : info.si_code == CLD_DUMPED ? 2 : 1;
    return report;
}

int answer_wait(int planner, const struct received *received, int *status)
{
    if (received->count != 1 || await_end(received->fds[0]))
        return -1;
    struct report report = reap(received->fds[0]);
    *status = report.error == 3 ? 255 : report.error ? 128 + report.status : report.status;
    send_report(planner, &report, NULL, 0); /* when the planner has gone the next receive says so */
    return 0;
}

int answer_reap(int planner, const struct received *received)
{
    if (received->count != 1)
        return -1;
    struct report report = reap(received->fds[0]);
    return send_report(planner, &report, NULL, 0);
}
