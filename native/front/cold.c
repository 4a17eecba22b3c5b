/* The Python command line: instead of us, or for what a lost planner has left. */
#include "front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_SETTLE = 16384, MAX_SETTLE_WORDS = 32 };

void become_cold(char **words)
{
    release_signals();
    const char *refused = execute_python(words);
    fprintf(stderr, "pilot: execute %s: %s\n", refused, strerror(errno));
    exit(1);
}

static void execute_settle(char *text, size_t size)
{
    char *words[MAX_SETTLE_WORDS + 2] = {"pilot"};
    unsigned count = 1;

    for (size_t at = 0; at < size && count <= MAX_SETTLE_WORDS; at += strlen(text + at) + 1)
        words[count++] = text + at;
    become_cold(words);
}

/* Carries out the command line in the file, as a child: it undoes what was begun. Its messages are ours. */
void settle(int words_fd)
{
    static char text[MAX_SETTLE + 1];
    ssize_t size = pread(words_fd, text, MAX_SETTLE, 0);

    if (size <= 0)
        return; /* nothing was begun that would stay */
    pid_t pid = fork();
    if (pid == 0)
        execute_settle(text, size);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* Kills and reaps all of our children: those that were cloned for the planner, as we had none before. */
void end_children(void)
{
    char path[64], line[4096], *next;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (;;) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
        if (fd >= 0)
            close(fd);
        if (size <= 0)
            return;
        line[size] = 0;
        for (char *at = line; strtol(at, &next, 10) > 0; at = next)
            kill(strtol(at, NULL, 10), SIGKILL);
        while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
            ;
    }
}
