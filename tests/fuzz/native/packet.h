/* A packet as another process would send it: some bytes, and descriptors. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define MOST_SENT 253 /* descriptors; what the kernel takes in one packet */

/* `size` bytes with `count` descriptors, each of them `passed_fd`. */
static inline void send_packet(int fd, const uint8_t *data, size_t size, unsigned count, int passed_fd)
{
    static union {
        char space[CMSG_SPACE(MOST_SENT * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {(void *)data, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (count) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        *head = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))};
        for (unsigned i = 0; i < count; i++)
            memcpy(CMSG_DATA(head) + i * sizeof(int), &passed_fd, sizeof(int));
    }
    sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}
