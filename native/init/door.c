#include "door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>

#include "link.h"
#include "store.h"

#define BACKLOG 8

static int door = -1;
static uint32_t visitors; /* so far; the number of the last is that of its link */

int door_open(const char *name)
{
    int fd = store_find(name);
    if (fd < 0)
        return ENOENT;
    /* It listens already. Once more makes us the peer whose pid a client is told (SO_PEERCRED). */
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || listen(fd, BACKLOG) != 0)
        return errno;
    door = fd;
    return 0;
}

int door_fd(void) { return door; }

void door_admit(void)
{
    if (door < 0)
        return;
    if (link_is_over())
        link_close();
    int visitor = accept4(door, NULL, NULL, SOCK_CLOEXEC);
    if (visitor < 0)
        return; /* nobody; or somebody who gave up, or for whom we have no room: poll says so again */
    link_close();
    link_adopt(visitor, ++visitors);
}

int door_is_deserted(void) { return door >= 0 && link_fd() < 0 && store_count() == 1; }
