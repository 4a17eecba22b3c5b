/* Texts that init is started with: its command line, descriptors it inherits, a list of the kernel's command line. */
#include <stdlib.h>
#include <string.h>

#include "../../../native/init/cmdline.h"
#include "../../../native/init/inherited.h"
#include "../../../native/init/log.h"
#include "../../../native/init/options.h"

/* init writes one line for whatever it refuses. */
void log_line(const char *what, const char *to_what, int error) { (void)what, (void)to_what, (void)error; }

enum { MOST = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 2), *words[MOST + 2] = {"pilot-init"};
    int count = 1;
    struct options options;

    memcpy(copy, data, size);
    copy[size] = copy[size + 1] = 0;
    for (char *word = copy; word < copy + size && count < MOST; word += strlen(word) + 1)
        words[count++] = word;
    options_parse(count, words, &options);
    char *parts[8];
    int found = cmdline_split(copy, parts, 8);
    for (int i = 0; i < found; i++)
        if (strlen(parts[i]) > size)
            abort();
    inherited_read(copy);
    free(copy);
    return 0;
}
