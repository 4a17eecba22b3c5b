#include "inherited.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "message.h"
#include "store.h"

#define INHERITED_LIMIT 256

static struct {
    const char *name;
    int fd;
} inherited[INHERITED_LIMIT];
static size_t count;

/* The number at `text`, or -1 when it is not one of an open descriptor above 2. */
static int parse_descriptor(const char *text)
{
    char *end;
    long fd = strtol(text, &end, 10);
    if (*end || end == text || fd < 3 || fd > 1 << 20 || fcntl((int)fd, F_GETFD) < 0)
        return -1;
    return (int)fd;
}

static int is_listed(int fd)
{
    for (size_t i = 0; i < count; i++)
        if (inherited[i].fd == fd)
            return 1;
    return 0;
}

static const char *take(char *item)
{
    char *colon = strrchr(item, ':');
    int fd = colon ? parse_descriptor(colon + 1) : -1;
    if (colon)
        *colon = 0;
    if (fd < 0)
        return "PILOT_FDS names no open descriptor";
    /* Twice in the store, it would be closed twice: the second time somebody else's. */
    if (is_listed(fd))
        return "PILOT_FDS names a descriptor twice";
    if (*item == 0 || strlen(item) >= NAME_SIZE || count == INHERITED_LIMIT)
        return "cannot keep the descriptor";
    inherited[count].name = item;
    inherited[count++].fd = fd;
    return NULL;
}

void inherited_read(char *list)
{
    for (char *item = list ? strtok(list, ",") : NULL; item; item = strtok(NULL, ",")) {
        const char *problem = take(item);
        if (problem)
            log_line(problem, item, 0);
    }
}

void inherited_store(void)
{
    for (size_t i = 0; i < count; i++) {
        int error = store_put(inherited[i].name, inherited[i].fd, 0);
        if (error)
            log_line("cannot keep the descriptor", inherited[i].name, error);
    }
}
