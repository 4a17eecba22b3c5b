/* `pilot`: asks the planner, where there is one, and otherwise becomes the Python command line.
 *
 * What the planner plans is cloned here, so that everything a process inherits is inherited from the caller's own
 * process. docs/decisions/resident-planner.md draws the conversation. This program decides nothing: it must never look
 * at an option, a bundle or a container.
 *
 * A planner may be lost at any point. Before BEGUN it has done nothing: we are the Python command line. Afterwards it has
 * told us what undoes what it began (`settle`), and whether to begin again.
 *
 * Compiled with BUILD (the digest of the Python sources, which must be the planner's too), SOCKET (where
 * a planner listens; of other users than root below XDG_RUNTIME_DIR) and, where it is known, COLD (execute.c).
 */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_ANSWER_S = 10, OWN_NUMBERS = 256 };

static const char NAME[] = "/pilot-planner/socket";

/* ---- finding it -------------------------------------------------------------------------------------------------- */

/* Whether nobody can have put anything of his own where we put ours: 0, 1, 2 are open, and all children are to be ours. */
static int is_plain(void)
{
    siginfo_t info;

    for (int number = 0; number < 3; number++)
        if (fcntl(number, F_GETFD) < 0)
            return 0;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int planner = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (planner < 0)
        return -1;
    if (connect(planner, (struct sockaddr *)&address, sizeof address)) {
        int error = errno;
        close(planner);
        errno = error;
        return -1;
    }
    return planner;
}

/* Only of our own user, and on a number that no caller's descriptor is likely to have. */
static int accept_planner(int planner)
{
    struct ucred peer;
    struct timeval timeout = {.tv_sec = FIRST_ANSWER_S};
    socklen_t size = sizeof peer;

    if (getsockopt(planner, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != geteuid()
        || setsockopt(planner, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout)) {
        close(planner);
        return -1;
    }
    int moved = fcntl(planner, F_DUPFD_CLOEXEC, OWN_NUMBERS);
    if (moved < 0)
        return planner;
    close(planner);
    return moved;
}

/* The planner of our own user, or -1; the Python command line hears where there is none that listens. */
static int connect_planner(void)
{
    static char own[4096];
    const char *path = getenv("PILOT_PLANNER"), *directory = getenv("XDG_RUNTIME_DIR");

    unsetenv("PILOT_PLANNER_ABSENT");
    if (path && !*path)
        return -1;
    int planner = connect_to(path ? path : SOCKET);
    if (planner < 0 && !path && directory && (geteuid() || errno == EACCES || access("/run", W_OK))) {
        snprintf(own, sizeof own, "%s%s", directory, NAME);
        planner = connect_to(path = own);
    }
    if (planner >= 0)
        return accept_planner(planner);
    if (errno == ENOENT || errno == ECONNREFUSED)
        setenv("PILOT_PLANNER_ABSENT", path ? path : SOCKET, 1);
    return -1;
}

/* ---- the conversation -------------------------------------------------------------------------------------------- */

struct conversation {
    int planner;
    char **words;
    int has_begun;
    enum loss loss;
    int failure;   /* exit status when we give up */
    int settle_fd; /* words of the command line that undoes what was begun, or -1 */
    int status;    /* of the process that we have attended to, or -1 */
};

static int lose(struct conversation *talk)
{
    if (!talk->has_begun)
        become_cold(talk->words);
    close(talk->planner);
    end_children();
    if (talk->settle_fd >= 0)
        settle(talk->settle_fd);
    if (talk->status >= 0) {
        fprintf(stderr, "pilot: the planner has gone meanwhile\n");
        return talk->status;
    }
    if (talk->loss == RERUN)
        become_cold(talk->words);
    fprintf(stderr, "pilot: the planner has gone while it carried this out\n");
    return talk->failure;
}

/* From here on the planner changes things; it takes as long as it takes. */
static int note_begun(struct conversation *talk, struct received *received)
{
    struct timeval none = {0};

    setsockopt(talk->planner, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
    talk->has_begun = 1;
    talk->loss = received->answer.flags;
    talk->failure = received->answer.status;
    if (received->count && talk->settle_fd >= 0)
        close(talk->settle_fd);
    if (received->count) {
        talk->settle_fd = received->fds[0];
        received->count = 0; /* it is ours now */
    }
    return 0;
}

/* The caller's descriptors of these numbers, unless one of them is not open or our own. */
static int answer_pass(const struct conversation *talk, const struct answer *answer)
{
    struct report report = {.kind = PASSED};
    int numbers[MAX_PASSED];
    unsigned count = answer->count > MAX_PASSED ? MAX_PASSED : answer->count;

    for (unsigned i = 0; i < count && !report.error; i++) {
        numbers[i] = answer->status + i;
        if (fcntl(numbers[i], F_GETFD) < 0 || numbers[i] == talk->planner || numbers[i] == talk->settle_fd) {
            report.error = EBADF;
            report.pid = numbers[i];
        }
    }
    return send_report(talk->planner, &report, numbers, report.error ? 0 : count);
}

/* What the verb printed is in the file; the exit status. */
static int print_and_exit(const struct received *received)
{
    char text[4096];
    ssize_t size, written;
    off_t at = 0;

    if (!received->count)
        return received->answer.status;
    signal(SIGPIPE, SIG_IGN);
    while ((size = pread(received->fds[0], text, sizeof text, at)) > 0) {
        at += size;
        for (char *next = text; size > 0; next += written, size -= written)
            if ((written = write(1, next, size)) < 0) {
                if (errno == EAGAIN)
                    poll(&(struct pollfd){.fd = 1, .events = POLLOUT}, 1, -1);
                else if (errno != EINTR)
                    return 1; /* whoever read our output has gone */
                written = 0;
            }
    }
    return received->answer.status;
}

static int answer(struct conversation *talk, struct received *received)
{
    switch (received->answer.kind) {
    case BEGUN:
        return note_begun(talk, received);
    case CLONE:
        return talk->has_begun ? answer_clone(talk->planner, received) : -1;
    case WAIT:
        return answer_wait(talk->planner, received, &talk->status);
    case REAP:
        return answer_reap(talk->planner, received);
    case PASS:
        return answer_pass(talk, &received->answer);
    default:
        return -1;
    }
}

/* A planner that does not answer at first is not waited for: once the connection is shut down it cannot begin, and what
 * it had said until then is still to be read. */
static int receive(const struct conversation *talk, struct received *received)
{
    int result = receive_answer(talk->planner, received);

    if (!result || errno != EAGAIN || talk->has_begun)
        return result;
    shutdown(talk->planner, SHUT_RDWR);
    return receive_answer(talk->planner, received);
}

static int converse(struct conversation *talk)
{
    static struct received received;

    while (!receive(talk, &received)) {
        if (received.answer.kind == COLD_PATH)
            become_cold(talk->words);
        if (received.answer.kind == EXIT)
            return print_and_exit(&received);
        if (received.answer.kind == HOLD)
            continue;
        int result = answer(talk, &received);
        for (unsigned i = 0; i < received.count; i++)
            close(received.fds[i]);
        received.count = 0;
        received.lacks = 0;
        if (result)
            break;
    }
    return lose(talk);
}

/* A standard descriptor that the caller closed is /dev/null, before anything else gets its number. */
static void open_standard(void)
{
    int descriptor;

    do
        descriptor = open("/dev/null", O_RDWR);
    while (descriptor >= 0 && descriptor < 3);
    if (descriptor >= 0)
        close(descriptor);
}

int main(int count, char **words)
{
    open_standard();
    /* Of who ignores it the kernel keeps no status of a child; the Python command line inherits it. */
    signal(SIGCHLD, SIG_DFL);
    hold_signals();
    int planner = is_plain() ? connect_planner() : -1;
    if (planner < 0 || send_request(planner, count, words))
        become_cold(words);
    struct conversation talk = {.planner = planner, .words = words, .settle_fd = -1, .status = -1};
    return converse(&talk);
}
