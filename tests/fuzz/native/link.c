/* An agent that sends what it likes over init's link, with descriptors, and comes and goes. */
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../native/init/link.h"
#include "../../../native/init/message.h"
#include "../../../native/init/records.h"
#include "../../../native/init/store.h"
#include "packet.h"

static int agent_fd = -1, null_fd = -1;
static uint32_t agent;

static void come_anew(void)
{
    if (agent_fd >= 0)
        close(agent_fd);
    link_close();
    agent_fd = link_open(++agent);
}

static void read_as_agent(void)
{
    struct message in;
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {&in, sizeof in};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};

    while (message.msg_controllen = sizeof control.space, recvmsg(agent_fd, &message, MSG_DONTWAIT) > 0)
        for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head))
            if (head->cmsg_type == SCM_RIGHTS) {
                int fd;
                memcpy(&fd, CMSG_DATA(head), sizeof fd);
                close(fd);
            }
}

static void drop_all(void)
{
    char name[NAME_SIZE];
    struct store_entry *entry;

    while ((entry = store_unsent(UINT32_MAX))) {
        memcpy(name, entry->name, sizeof name);
        store_drop(name);
    }
    records_expire(INT64_MAX);
}

/* Of each byte pair the first says what is done, the second how much of what follows it takes. */
static void act(uint8_t what, const uint8_t *data, size_t size)
{
    static struct message good;

    switch (what % 6) {
    case 0:
        send_packet(agent_fd, data, size, what / 6 % 3, null_fd);
        break;
    case 1: /* a packet that is good but for what the data says */
        message_fill(&good, size ? data[0] % 24 : 0, "name");
        memcpy(&good.name, data, size < NAME_SIZE ? size : NAME_SIZE);
        good.seq = what;
        good.status = what % 4;
        send_packet(agent_fd, (uint8_t *)&good, sizeof good, what / 6 % 3, null_fd);
        break;
    case 2:
        records_add(what, size, what, 1);
        break;
    case 3:
        read_as_agent();
        break;
    case 4:
        if (what / 6 % 2)
            come_anew();
        break;
    default:
        break;
    }
    if (link_fd() >= 0 && (link_events() & POLLIN))
        link_read();
    if (link_fd() >= 0)
        link_write();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (null_fd < 0) {
        null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (store_open(64))
            return 0;
    }
    come_anew();
    while (size >= 2) {
        size_t length = data[1] < size - 2 ? data[1] : size - 2;
        act(data[0], data + 2, length);
        data += 2 + length;
        size -= 2 + length;
    }
    drop_all();
    return 0;
}
