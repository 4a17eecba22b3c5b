/* `pilot`: asks the planner, where there is one, and otherwise becomes the Python command line.
 *
 * What the planner plans is cloned here, so that everything a process inherits is inherited from the caller's own
 * process. docs/decisions/resident-planner.md draws the conversation; src/pilot/planner/messages.py has the same
 * packets. This program decides nothing: it must never look at an option, a bundle or a container.
 *
 * Compiled with BUILD (the digest of the Python sources, which must be the planner's too), COLD (the path of the Python
 * command line) and SOCKET (where a planner listens).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../launch/launch.h"

enum { ANSWER_S = 180, MAX_WORDS = 65536, MAX_PASSED = 253 };
enum packet_kind { COLD_PATH = 1, CLONE, WAIT, EXIT, REQUEST = 16, CLONED, ENDED };

/* From the planner. CLONE: the descriptors are stage, file, channel, then those that `slots` count from 0. */
struct answer {
    uint32_t kind;
    int32_t status;   /* EXIT */
    uint64_t flags;   /* CLONE: for clone3 */
    int32_t cgroup;   /* CLONE: a slot, or -1 */
    uint32_t count;   /* CLONE: slots */
    int16_t slots[MAX_SLOTS];
};

/* To the planner; a REQUEST is followed by BUILD and the words, each ended by NUL. */
struct report {
    uint32_t kind;
    int32_t pid;      /* CLONED */
    int32_t error;    /* CLONED: errno; ENDED: 0 exited, else killed by a signal (2: with a core) */
    int32_t status;   /* ENDED: exit status or signal */
};

/* Those that are not the container's business, as the Python command line has them. */
static const int NOT_HELD[] = {SIGURG, SIGTSTP, SIGTTIN, SIGTTOU, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPIPE, SIGWINCH, SIGCHLD};

static sigset_t held, before;

static void become_cold(char **words)
{
    sigprocmask(SIG_SETMASK, &before, NULL);
    words[0] = COLD;
    execv(COLD, words);
    fprintf(stderr, "pilot: execute %s: %s\n", COLD, strerror(errno));
    exit(1);
}

static int fail(const char *what)
{
    fprintf(stderr, "pilot: planner: %s: %s\n", what, errno ? strerror(errno) : "it has gone");
    return 1;
}

static void hold_signals(void)
{
    sigfillset(&held);
    for (size_t i = 0; i < sizeof NOT_HELD / sizeof *NOT_HELD; i++)
        sigdelset(&held, NOT_HELD[i]);
    sigprocmask(SIG_BLOCK, &held, &before);
}

/* The planner of our own user, or -1. */
static int connect_planner(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    struct timeval timeout = {.tv_sec = ANSWER_S};
    socklen_t size = sizeof peer;
    const char *path = getenv("PILOT_PLANNER");

    path = path ? path : SOCKET;
    if (!*path || strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    int planner = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (planner < 0)
        return -1;
    if (connect(planner, (struct sockaddr *)&address, sizeof address)
        || getsockopt(planner, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != geteuid()
        || setsockopt(planner, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout)) {
        close(planner);
        return -1;
    }
    return planner;
}

static ssize_t send_packet(int planner, const struct report *report, const char *words, size_t size, const int *fds,
                           unsigned count)
{
    struct iovec parts[2] = {{(void *)report, sizeof *report}, {(void *)words, size}};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    if (count) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(count * sizeof *fds);
        memcpy(CMSG_DATA(head), fds, count * sizeof *fds);
    }
    return sendmsg(planner, &message, MSG_NOSIGNAL);
}

/* One packet with its descriptors; 0, or -1 at the end of the planner. */
static int receive_answer(int planner, struct answer *answer, int *fds, unsigned *count)
{
    struct iovec part = {answer, sizeof *answer};
    static union {
        struct cmsghdr align;
        char space[CMSG_SPACE(MAX_PASSED * sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

    errno = 0;
    *count = 0;
    ssize_t size = recvmsg(planner, &message, MSG_CMSG_CLOEXEC);
    if (size >= (ssize_t)sizeof answer->kind && answer->kind == COLD_PATH)
        return 0; /* whatever else there may be in the packets of another build */
    if (size != sizeof *answer)
        return -1;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS) {
        *count = (head->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
        memcpy(fds, CMSG_DATA(head), *count * sizeof *fds);
    }
    return 0;
}

/* The words in one packet, or 0 when they are too many for one. */
static size_t join_words(char *text, int count, char **words)
{
    size_t used = 0;

    for (int i = 0; i < count; i++) {
        size_t size = strlen(words[i]) + 1;
        if (used + size > MAX_WORDS)
            return 0;
        memcpy(text + used, words[i], size);
        used += size;
    }
    return used;
}

static int send_request(int planner, int count, char **words)
{
    static char text[MAX_WORDS + sizeof BUILD];
    struct report report = {.kind = REQUEST};
    int fds[4] = {open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), 0, 1, 2};

    memcpy(text, BUILD, sizeof BUILD);
    size_t size = join_words(text + sizeof BUILD, count - 1, words + 1);
    ssize_t sent = -1;
    if (fds[0] >= 0 && (size || count == 1))
        sent = send_packet(planner, &report, text, sizeof BUILD + size, fds, 4);
    if (fds[0] >= 0)
        close(fds[0]);
    return sent < 0 ? -1 : 0;
}

/* ---- CLONE ------------------------------------------------------------------------------------------------------ */

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

/* The Program's file begins with room for the numbers that its descriptors have here. */
static int clone_stage(const struct answer *answer, const int *fds, unsigned passed, int *pid_fd)
{
    struct block block = {0};
    struct clone_args clone = {
        .flags = answer->flags | CLONE_PIDFD, .pidfd = (uintptr_t)pid_fd, .exit_signal = SIGCHLD};

    if (passed < 3 || answer->count > MAX_SLOTS || answer->cgroup >= (int)answer->count)
        return -EPROTO;
    for (unsigned i = 0; i < answer->count; i++) {
        if (answer->slots[i] >= (int)passed - 3)
            return -EPROTO;
        block.slots[i] = answer->slots[i] < 0 ? -1 : fds[3 + answer->slots[i]];
    }
    block.channel = fds[2];
    if (pwrite(fds[1], &block, sizeof block, 0) != sizeof block)
        return -errno;
    if (answer->cgroup >= 0) {
        clone.flags |= CLONE_INTO_CGROUP;
        clone.cgroup = block.slots[answer->cgroup];
    }
    long pid = syscall(SYS_clone3, &clone, sizeof clone);
    if (pid == 0)
        run_stage(fds[0], fds[1], &block, answer->count);
    return pid < 0 ? -errno : pid;
}

static int answer_clone(int planner, const struct answer *answer, const int *fds, unsigned passed)
{
    struct report report = {.kind = CLONED};
    int pid_fd = -1, result = clone_stage(answer, fds, passed, &pid_fd);

    report.pid = result < 0 ? 0 : result;
    report.error = result < 0 ? -result : 0;
    ssize_t sent = send_packet(planner, &report, NULL, 0, &pid_fd, result < 0 ? 0 : 1);
    if (pid_fd >= 0)
        close(pid_fd);
    return sent < 0 ? -1 : 0;
}

/* ---- WAIT ------------------------------------------------------------------------------------------------------- */

static void pass_signal_on(int signals, int pid_fd)
{
    struct signalfd_siginfo info;

    if (read(signals, &info, sizeof info) == sizeof info)
        syscall(SYS_pidfd_send_signal, pid_fd, info.ssi_signo, NULL, 0); /* ESRCH: it has just ended */
}

/* Waits for the container's process, our child, and passes signals on meanwhile. */
static int await_end(int pid_fd, siginfo_t *info)
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
    return waitid(P_PIDFD, pid_fd, info, WEXITED);
}

static int exit_status(const siginfo_t *info)
{
    return info->si_code == CLD_EXITED ? info->si_status : 128 + info->si_status;
}

static int answer_wait(int planner, const int *fds, unsigned passed, int *status)
{
    struct report report = {.kind = ENDED};
    siginfo_t info;

    if (passed != 1 || await_end(fds[0], &info))
        return -1;
    *status = exit_status(&info);
    report.status = info.si_status;
    report.error = info.si_code == CLD_EXITED ? 0 : info.si_code == CLD_DUMPED ? 2 : 1;
    send_packet(planner, &report, NULL, 0, NULL, 0); /* when the planner has gone the next receive says so */
    return 0;
}

/* ---- the conversation -------------------------------------------------------------------------------------------- */

static int converse(int planner, char **words)
{
    static struct answer answer;
    static int fds[MAX_PASSED];
    unsigned passed;
    int status = -1; /* of the process that we have waited for */

    while (!receive_answer(planner, &answer, fds, &passed)) {
        int result = 0;
        if (answer.kind == EXIT)
            return answer.status;
        if (answer.kind == COLD_PATH)
            become_cold(words);
        else if (answer.kind == CLONE)
            result = answer_clone(planner, &answer, fds, passed);
        else if (answer.kind == WAIT)
            result = answer_wait(planner, fds, passed, &status);
        for (unsigned i = 0; i < passed; i++)
            close(fds[i]);
        if (result)
            return fail("answer");
    }
    int failure = fail("await its answer");
    return status < 0 ? failure : status;
}

int main(int count, char **words)
{
    hold_signals();
    /* Descriptors from 3 on are the container's then, and only the command line knows how many. */
    int planner = getenv("LISTEN_FDS") || getenv("NOTIFY_SOCKET") ? -1 : connect_planner();
    if (planner < 0 || send_request(planner, count, words))
        become_cold(words);
    return converse(planner, words);
}
