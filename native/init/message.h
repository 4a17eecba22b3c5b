/* The packets between init and its agent (docs/reference/joints.md, 2). One packet is one `struct message`, little-endian,
 * with at most one descriptor in SCM_RIGHTS. `pilot.kernel.initlink` holds the same numbers; tests/checks compares them. */
#ifndef PILOT_MESSAGE_H
#define PILOT_MESSAGE_H
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_MAGIC 0x314c4950u /* "PIL1" */
#define NAME_SIZE 96              /* with the NUL at its end */

enum message_kind {
    MESSAGE_PUT = 1,
    MESSAGE_DROP = 2,
    MESSAGE_ACK = 3,
    MESSAGE_SHUTDOWN = 4,
    MESSAGE_FD = 16,
    MESSAGE_EXIT = 17,
    MESSAGE_READY = 18,
    MESSAGE_STORED = 19,
    MESSAGE_ERROR = 20,
};

enum shutdown_request { SHUTDOWN_HALT = 0, SHUTDOWN_REBOOT = 1 };

struct message {
    uint32_t magic;
    uint32_t kind;
    uint64_t seq;
    uint32_t pid;
    int32_t status;
    uint64_t start_time;
    char name[NAME_SIZE];
};
_Static_assert(sizeof(struct message) == 128, "the packet has no padding");

/* Fills `out` with a packet of `kind`; `name` may be NULL. */
void message_fill(struct message *out, enum message_kind kind, const char *name);

/* 0 when `size` bytes at `in` are a packet that an agent may send with `descriptors` descriptors, else the errno to answer. */
int message_check(const struct message *in, size_t size, int descriptors);
#endif
