/* Packets with descriptors, on a SOCK_SEQPACKET socket. */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_TEXT = 131072 };

extern char **environ;

static int send_packet(int planner, const struct report *report, const char *text, size_t size, const int *fds,
                       unsigned count)
{
    struct iovec parts[2] = {{(void *)report, sizeof *report}, {(void *)text, size}};
    static union {
        struct cmsghdr align;
        char space[CMSG_SPACE(MAX_PASSED * sizeof(int))];
    } control;
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
    return sendmsg(planner, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int send_report(int planner, const struct report *report, const int *fds, unsigned count)
{
    return send_packet(planner, report, NULL, 0, fds, count);
}

/* Appends texts, each with its NUL; how much there is then, or -1 when it is too much for a packet. */
static ssize_t append(char *text, size_t used, char **items, int count)
{
    for (int i = 0; i < count; i++) {
        size_t size = strlen(items[i]) + 1;
        if (used + size > MAX_TEXT)
            return -1;
        memcpy(text + used, items[i], size);
        used += size;
    }
    return used;
}

int send_request(int planner, int count, char **words)
{
    static char text[MAX_TEXT];
    char *build[] = {BUILD};
    struct report report = {.kind = REQUEST, .pid = count - 1};
    int variables = 0, fds[4] = {open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), 0, 1, 2};

    if (fds[0] < 0)
        return -1;
    while (environ[variables])
        variables++;
    ssize_t used = append(text, 0, build, 1);
    used = append(text, used, words + 1, count - 1);
    if (used >= 0)
        used = append(text, used, environ, variables);
    int result = used < 0 ? -1 : send_packet(planner, &report, text, used, fds, 4);
    close(fds[0]);
    return result;
}

int receive_answer(int planner, struct received *received)
{
    struct iovec part = {&received->answer, sizeof received->answer};
    static union {
        struct cmsghdr align;
        char space[CMSG_SPACE(MAX_PASSED * sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

    errno = 0;
    ssize_t size = recvmsg(planner, &message, MSG_CMSG_CLOEXEC);
    if (size >= (ssize_t)sizeof received->answer.kind && received->answer.kind == COLD_PATH)
        return 0; /* whatever else there may be in the packets of another build */
    if (size != sizeof received->answer)
        return -1;
    received->lacks |= message.msg_flags & MSG_CTRUNC;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS) {
        unsigned count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (received->count + count > MAX_HELD)
            return -1;
        memcpy(received->fds + received->count, CMSG_DATA(head), count * sizeof(int));
        received->count += count;
    }
    return 0;
}
