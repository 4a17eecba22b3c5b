#include "link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "message.h"
#include "records.h"
#include "store.h"

#define READS_PER_TURN 64
#define READS_AT_CLOSE 1024 /* more than a socket buffer holds; a stray holder of the agent's end cannot keep us here */
#define RIGHTS_LIMIT 253    /* SCM_MAX_FD */

static struct {
    int fd;
    uint32_t agent;
    uint64_t sent_seq;  /* the last exit record sent */
    uint64_t ready_seq; /* READY follows this record, so that a storm of deaths cannot put it off */
    int ready_sent, full, paused, answer_owed;
    int ended;  /* nothing more comes */
    int broken; /* nothing more goes; what came before is still to be read */
    struct message answer;
} peer = {.fd = -1};

static int shutdown_request = -1;

void link_adopt(int fd, uint32_t agent)
{
    int on = 1;
    /* Each packet then carries its sender, even an empty one: that is how it differs from the end of the stream. */
    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    memset(&peer, 0, sizeof peer);
    peer.fd = fd;
    peer.agent = agent;
    peer.ready_seq = records_last_seq();
}

int link_open(uint32_t agent)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return -errno;
    link_adopt(pair[0], agent);
    return pair[1];
}

int link_is_over(void) { return peer.fd >= 0 && (peer.ended || peer.broken); }

int link_fd(void) { return peer.fd; }

short link_events(void) { return (short)((peer.full ? POLLOUT : 0) | (!peer.ended && !peer.answer_owed ? POLLIN : 0)); }

int link_paused(void) { return peer.paused; }

int link_shutdown_request(void) { return shutdown_request; }

/* ---- receiving */

struct received {
    struct message message;
    size_t size;
    int fd;          /* the first descriptor, owned, or -1 */
    int descriptors; /* how many came */
    int error; /* EAGAIN: nothing there; EPIPE: the other end is closed; EMFILE: we have no room for descriptors */
};

static void take_descriptors(struct msghdr *header, struct received *in)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            if (in->descriptors++ == 0)
                in->fd = fd;
            else
                close(fd);
        }
    }
}

/* A peer that died before it had read everything leaves one ECONNRESET, in front of the packets that it sent. */
static ssize_t receive_packet(struct msghdr *header)
{
    ssize_t size;
    do
        size = recvmsg(peer.fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (size < 0 && (errno == ECONNRESET || errno == EINTR));
    return size;
}

static struct received receive(void)
{
    static union {
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(RIGHTS_LIMIT * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct received in = {.fd = -1};
    struct iovec part = {.iov_base = &in.message, .iov_len = sizeof in.message};
    struct msghdr header = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t size = receive_packet(&header);
    if (size < 0 || (size == 0 && header.msg_controllen == 0)) {
        in.error = size < 0 && errno == EAGAIN ? EAGAIN : EPIPE;
        return in;
    }
    take_descriptors(&header, &in);
    if (header.msg_flags & MSG_CTRUNC)
        in.error = EMFILE;
    in.size = header.msg_flags & MSG_TRUNC ? sizeof in.message + 1 : (size_t)size;
    return in;
}

static void owe_answer(enum message_kind kind, const struct message *to, int error)
{
    message_fill(&peer.answer, kind, to ? to->name : NULL);
    peer.answer.seq = to ? to->seq : 0;
    peer.answer.status = error;
    peer.answer_owed = 1;
}

/* Carries out one good packet; 0 or the errno to answer. Owns `fd`. */
static int obey(const struct message *in, int fd)
{
    int error = 0;
    switch (in->kind) {
    case MESSAGE_PUT:
        error = store_put(in->name, fd, peer.agent);
        if (error)
            close(fd);
        else
            owe_answer(MESSAGE_STORED, in, 0);
        break;
    case MESSAGE_DROP:
        store_drop(in->name);
        if (in->seq)
            owe_answer(MESSAGE_STORED, in, 0);
        break;
    case MESSAGE_ACK:
        records_acknowledge(in->seq);
        break;
    case MESSAGE_SHUTDOWN:
        shutdown_request = in->status;
        break;
    }
    return error;
}

/* One packet in; 0 when there was none. */
static int read_one(void)
{
    struct received in = receive();
    if (in.error == EAGAIN)
        return 0;
    if (in.error == EPIPE) {
        peer.ended = 1;
        return 0;
    }
    int error = in.error ? in.error : message_check(&in.message, in.size, in.descriptors);
    if (error && in.fd >= 0)
        close(in.fd);
    if (!error)
        error = obey(&in.message, in.fd);
    if (error) {
        in.message.name[NAME_SIZE - 1] = 0;
        owe_answer(MESSAGE_ERROR, in.size == sizeof in.message ? &in.message : NULL, error);
    }
    return 1;
}

void link_read(void)
{
    for (int turn = 0; peer.fd >= 0 && turn < READS_PER_TURN && !peer.ended && !peer.answer_owed && read_one(); turn++)
        link_write();
}

void link_close(void)
{
    if (peer.fd < 0)
        return;
    for (int turn = 0; turn < READS_AT_CLOSE && read_one(); turn++)
        ; /* the answers have nobody to go to */
    close(peer.fd);
    peer.fd = -1;
}

/* ---- sending */

static int send_packet(const struct message *out, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)out, .iov_len = sizeof *out};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(&control.align), &fd, sizeof fd);
    }
    return sendmsg(peer.fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? errno : 0;
}

/* 1 when the packet is dealt with, 0 when it stays owed. */
static int sent(const struct message *out, int fd)
{
    int error = send_packet(out, fd);
    switch (error) {
    case 0:
        return 1;
    case EAGAIN:
        peer.full = 1;
        return 0;
    case EPIPE:
    case ECONNRESET:
        peer.broken = 1;
        return 0;
    case ETOOMANYREFS: /* of this user, in flight, perhaps through other sockets: poll(2) cannot say when that ends */
    case ENOBUFS:
    case ENOMEM:
        peer.paused = 1;
        return 0;
    default: /* the kernel passes no such descriptor (an io_uring, say); the agent must start all the same */
        log_line("cannot hand over the descriptor", out->name, error);
        return 1;
    }
}

static int send_answer(void)
{
    if (!sent(&peer.answer, -1))
        return 0;
    peer.answer_owed = 0;
    return 1;
}

static int send_entry(struct store_entry *entry)
{
    struct message out;
    message_fill(&out, MESSAGE_FD, entry->name);
    if (!sent(&out, entry->fd))
        return 0;
    entry->sent_to = peer.agent;
    return 1;
}

static int send_record(const struct record *record)
{
    struct message out;
    message_fill(&out, MESSAGE_EXIT, NULL);
    out.seq = record->seq;
    out.pid = record->pid;
    out.status = record->status;
    out.start_time = record->start_time;
    if (!sent(&out, -1))
        return 0;
    peer.sent_seq = record->seq;
    return 1;
}

static int send_ready(void)
{
    struct message out;
    message_fill(&out, MESSAGE_READY, NULL);
    if (!sent(&out, -1))
        return 0;
    peer.ready_sent = 1;
    return 1;
}

/* Sends the first thing that is owed; 0 when nothing is, or it cannot be sent now. */
static int send_one(void)
{
    if (peer.answer_owed)
        return send_answer();
    struct store_entry *entry = store_unsent(peer.agent);
    if (entry)
        return send_entry(entry);
    const struct record *record = records_after(peer.sent_seq);
    if (record && (peer.ready_sent || record->seq <= peer.ready_seq))
        return send_record(record);
    return peer.ready_sent ? 0 : send_ready();
}

void link_write(void)
{
    peer.full = peer.paused = 0; /* what made it so may not be owed any more */
    while (peer.fd >= 0 && !peer.broken && send_one())
        ;
}
