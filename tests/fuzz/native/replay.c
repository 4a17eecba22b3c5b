/* Instead of libFuzzer: each file of the command line, once. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int count, char **names)
{
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(names[i], "rb");
        uint8_t *data = malloc(1 << 20);
        if (!file || !data)
            return 1;
        size_t size = fread(data, 1, 1 << 20, file);
        fclose(file);
        /* A buffer of its very size, so that what is read behind it is seen. */
        uint8_t *exact = malloc(size ? size : 1);
        if (!exact)
            return 1;
        for (size_t at = 0; at < size; at++)
            exact[at] = data[at];
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
        free(data);
    }
    return 0;
}
