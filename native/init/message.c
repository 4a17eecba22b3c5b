#include "message.h"

#include <errno.h>
#include <string.h>

void message_fill(struct message *out, enum message_kind kind, const char *name)
{
    memset(out, 0, sizeof *out);
    out->magic = MESSAGE_MAGIC;
    out->kind = kind;
    if (name)
        strncpy(out->name, name, NAME_SIZE - 1);
}

static int name_is_good(const struct message *in) { return in->name[0] != 0 && memchr(in->name, 0, NAME_SIZE) != NULL; }

int message_check(const struct message *in, size_t size, int descriptors)
{
    if (size != sizeof *in || in->magic != MESSAGE_MAGIC)
        return EBADMSG;
    switch (in->kind) {
    case MESSAGE_PUT:
        return !name_is_good(in) ? EINVAL : descriptors != 1 ? EBADF : 0;
    case MESSAGE_DROP:
        return !name_is_good(in) || descriptors ? EINVAL : 0;
    case MESSAGE_ACK:
        return descriptors ? EINVAL : 0;
    case MESSAGE_SHUTDOWN:
        return descriptors || in->status < SHUTDOWN_HALT || in->status > SHUTDOWN_REBOOT ? EINVAL : 0;
    default:
        return EOPNOTSUPP;
    }
}
