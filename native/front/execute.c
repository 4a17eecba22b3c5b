/* Where the Python command line is, and how it is executed.
 *
 * `make build` says where (COLD): an executable script. Whoever builds a package does not know where it will be installed:
 * compiled without COLD we execute `pilot-cold` beside us, with the interpreter that its first line names and with the
 * options that an installer of packages leaves no room for in that line. */
#include "front.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef COLD

const char *execute_python(char **words)
{
    words[0] = COLD;
    execv(COLD, words);
    return COLD;
}

#else

static const char SCRIPT[] = "pilot-cold", OPTIONS[] = "-IS";

/* The path of the script beside this program, wherever links to us are. */
static int find_script(char path[static PATH_MAX])
{
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - sizeof SCRIPT);

    if (size < 0)
        return -1;
    path[size] = 0;
    strcpy(strrchr(path, '/') + 1, SCRIPT);
    return 0;
}

/* What follows #! in the first line, whole: the path may have spaces. */
static int read_interpreter(const char *script, char path[static PATH_MAX + 2])
{
    FILE *file = fopen(script, "re");
    char *line = file ? fgets(path, PATH_MAX + 2, file) : NULL;

    if (file)
        fclose(file);
    if (!line || strncmp(line, "#!", 2)) {
        if (file)
            errno = ENOEXEC;
        return -1;
    }
    line[strcspn(line, "\n")] = 0;
    memmove(path, line + 2, strlen(line + 2) + 1);
    return 0;
}

const char *execute_python(char **words)
{
    static char script[PATH_MAX], interpreter[PATH_MAX + 2];
    unsigned count = 1; /* Linux starts no program without its name */

    if (find_script(script))
        return SCRIPT;
    if (read_interpreter(script, interpreter))
        return script;
    while (words[count])
        count++;
    char *all[count + 3];
    all[0] = interpreter;
    all[1] = (char *)OPTIONS;
    all[2] = script;
    memcpy(all + 3, words + 1, count * sizeof *words); /* and the NULL */
    execv(interpreter, all);
    return interpreter;
}

#endif
