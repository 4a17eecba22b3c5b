#include "log.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

struct line {
    char text[400];
    size_t size;
};

static void add(struct line *line, const char *text)
{
    while (*text && line->size < sizeof line->text - 1)
        line->text[line->size++] = *text++;
}

void log_line(const char *what, const char *to_what, int error)
{
    struct line line = {.size = 0};
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    add(&line, "pilot-init: ");
    add(&line, what);
    if (to_what)
        add(&line, ": "), add(&line, to_what);
    if (error)
        add(&line, ": "), add(&line, strerror(error));
    line.text[line.size++] = '\n';
    /* A pipe that polls writable takes PIPE_BUF bytes at once; nobody reads a full one, and PID 1 does not wait for it. */
    if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) && write(STDERR_FILENO, line.text, line.size) < 0)
        return;
}

const char *log_number(unsigned long long value)
{
    static char digits[24];
    char *at = digits + sizeof digits - 1;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    return at;
}
