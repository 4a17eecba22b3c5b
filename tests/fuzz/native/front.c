/* A planner that sends `pilot` what it likes: packets of any size, with descriptors. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../native/front/front.h"
#include "packet.h"

_Static_assert(MAX_PASSED <= MOST_SENT, "one packet takes them");

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct received received;
    static struct answer answer;
    int pair[2], null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
        abort();
    memset(&received, 0, sizeof received);
    while (size >= 2) {
        size_t length = data[1] < size - 2 ? data[1] : size - 2;
        memset(&answer, 0, sizeof answer);
        memcpy(&answer, data + 2, length);
        /* As long as an answer is, or as long as what there is; with no descriptor, one, or all that a packet takes. */
        send_packet(pair[1], (uint8_t *)&answer, data[0] % 2 ? sizeof answer : length,
                    data[0] / 2 % 3 == 2 ? MAX_PASSED : data[0] / 2 % 3, null_fd);
        if (receive_answer(pair[0], &received))
            break;
        if (received.count > MAX_HELD)
            abort();
        data += 2 + length;
        size -= 2 + length;
    }
    for (unsigned i = 0; i < received.count; i++)
        close(received.fds[i]);
    close(pair[0]);
    close(pair[1]);
    close(null_fd);
    return 0;
}
