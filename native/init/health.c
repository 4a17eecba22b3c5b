#include "health.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "log.h"
#include "store.h"

#define NAME "health"
#define BACKLOG 16
#define PER_TURN 16

static int door = -1;

void health_open(void)
{
    int fd = store_find(NAME);
    if (fd < 0)
        return;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || listen(fd, BACKLOG) != 0) {
        log_line("listen at the stored descriptor", NAME, errno);
        return;
    }
    door = fd;
}

int health_fd(void) { return door; }

void health_answer(int stopping)
{
    char line[64] = "pilot-init agent=";
    if (door < 0)
        return;
    strcat(line, log_number((unsigned long long)agent_pid()));
    strcat(line, stopping ? " stopping=1\n" : " stopping=0\n");
    for (int turn = 0; turn < PER_TURN; turn++) {
        int visitor = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (visitor < 0)
            return; /* nobody; or somebody for whom there is no room now: poll says so again */
        /* An empty socket takes a line at once. Whoever has gone again needs none. */
        (void)!send(visitor, line, strlen(line), MSG_NOSIGNAL);
        close(visitor);
    }
}
