/* What a running Program says to its parent, and what it waits for. */
#include "launch.h"

#include <string.h>
#include <sys/socket.h>

static long send_bytes(int socket, const void *bytes, size_t size, int descriptor)
{
    struct iovec part = {(void *)bytes, size};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (descriptor >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof descriptor);
        memcpy(CMSG_DATA(head), &descriptor, sizeof descriptor);
    }
    long result;
    do
        result = RAW3(SYS_sendmsg, socket, &message, MSG_NOSIGNAL);
    while (result == -EINTR);
    return result < 0 ? result : 0;
}

int send_message(int channel, const struct message *message, int descriptor)
{
    return send_bytes(channel, message, sizeof *message, descriptor);
}

int tell(struct run *run, enum message_kind kind, int value, int descriptor)
{
    const struct instruction *in = &run->program->instructions[run->position];
    struct message message = {kind, in->step, run->position, 0, value};

    if (run->channel < 0)
        return -EPIPE;
    if (!run->is_quiet || descriptor >= 0)
        return send_message(run->channel, &message, descriptor);
    /* A seccomp filter that lets a program do anything at all lets it write. SIGPIPE: there is no parent any more. */
    long result = RAW3(SYS_write, run->channel, &message, sizeof message);
    return result < 0 ? result : 0;
}

static long receive_byte(const struct run *run, struct msghdr *message)
{
    long result;

    do
        result = run->is_quiet ? RAW3(SYS_read, run->channel, message->msg_iov->iov_base, 1)
                               : RAW3(SYS_recvmsg, run->channel, message, MSG_CMSG_CLOEXEC);
    while (result == -EINTR);
    return result;
}

/* Waits for the parent's one byte; its descriptors go to the slots of `receives` (none come once it is quiet). Without a parent there is nothing to
 * live for: the end of the file is the end of the process. */
void await_go(struct run *run, const uint32_t *receives, unsigned count)
{
    char byte;
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(MAX_RECEIVED * sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int descriptors[MAX_RECEIVED];
    unsigned received = 0;

    if (receive_byte(run, &message) != 1)
        end_process(1);
    struct cmsghdr *head = run->is_quiet ? NULL : CMSG_FIRSTHDR(&message);
    if (head && head->cmsg_type == SCM_RIGHTS) {
        received = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(descriptors, CMSG_DATA(head), received * sizeof(int));
    }
    for (unsigned i = 0; i < received; i++) {
        if (i < count)
            bind_slot(run, receives[i], descriptors[i]);
        else
            RAW1(SYS_close, descriptors[i]);
    }
}

long do_barrier(struct run *run, const unsigned long *a)
{
    long result = tell(run, BARRIER, 0, -1);

    if (!result)
        await_go(run, (const uint32_t *)a[0], a[1]);
    return result;
}

long do_release(struct run *run, const unsigned long *a)
{
    long result = tell(run, RELEASE, 0, -1);

    (void)a;
    if (!result) {
        await_go(run, NULL, 0);
        RAW1(SYS_close, run->channel);
        run->channel = -1;
    }
    return result;
}

long do_send(struct run *run, const unsigned long *a)
{
    return (int)a[0] < 0 ? -EBADF : tell(run, DESCRIPTOR, a[1], a[0]);
}

long do_send_to(struct run *run, const unsigned long *a)
{
    (void)run;
    return (int)a[1] < 0 ? -EBADF : send_bytes(a[0], (const void *)a[2], a[3], a[1]);
}

/* Under a filter that notifies of sendmsg(2): the number of a descriptor, for the parent to take (pidfd_getfd(2)). Whoever would answer the
 * notification has no listener yet. */
long do_offer(struct run *run, const unsigned long *a)
{
    const struct instruction *in = &run->program->instructions[run->position];
    struct message message = {OFFER, in->step, run->position, a[0], a[1]};

    if ((int)a[0] < 0 || run->channel < 0)
        return (int)a[0] < 0 ? -EBADF : -EPIPE;
    long result = RAW3(SYS_write, run->channel, &message, sizeof message);
    return result < 0 ? result : 0;
}
