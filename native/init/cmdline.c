#include "cmdline.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static char words[4096]; /* COMMAND_LINE_SIZE is 2048 or 4096; the blanks are made NULs */
static size_t words_size;

int cmdline_read(void)
{
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    ssize_t size = read(fd, words, sizeof words - 1);
    int error = size < 0 ? errno : 0;
    close(fd);
    words_size = size > 0 ? (size_t)size : 0;
    for (size_t i = 0; i < words_size; i++)
        if (words[i] == ' ' || words[i] == '\n')
            words[i] = 0;
    return error;
}

const char *cmdline_get(const char *key, const char *otherwise)
{
    size_t length = strlen(key);
    for (const char *word = words; word < words + words_size; word += strlen(word) + 1)
        if (strncmp(word, key, length) == 0 && word[length] == '=')
            otherwise = word + length + 1;
    return otherwise;
}

int cmdline_split(const char *value, char **out, int limit)
{
    static char copy[sizeof words];
    int count = 0;
    strncpy(copy, value, sizeof copy - 1);
    for (char *at = copy; *at;) {
        if (count == limit - 1)
            return -1;
        out[count++] = at;
        at += strcspn(at, ",");
        if (*at)
            *at++ = 0;
    }
    out[count] = NULL;
    return count;
}
