/* The table: one page of entries for each 64 MiB of disk that was ever looked at. */
#include "lookaside.h"

#include <stdlib.h>
#include <sys/mman.h>

#define ROOT_BYTES (MAX_PAGES * sizeof(struct page *))

int table_open(struct table *table)
{
    void *root = mmap(NULL, ROOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    table->pages = root == MAP_FAILED ? NULL : root;
    return table->pages ? 0 : -1;
}

void table_close(struct table *table)
{
    if (!table->pages)
        return;
    for (uint64_t n = 0; n < table->count; n++)
        free(table->pages[n]);
    munmap((void *)table->pages, ROOT_BYTES);
    table->pages = NULL;
}

static struct page *find(const struct table *table, uint64_t chunk)
{
    return chunk / PAGE_ENTRIES < MAX_PAGES ? atomic_load(&table->pages[chunk / PAGE_ENTRIES]) : NULL;
}

uint64_t table_get(const struct table *table, uint64_t chunk)
{
    struct page *page = find(table, chunk);

    return page ? atomic_load(&page->entries[chunk % PAGE_ENTRIES]) : 0;
}

/* This and the next under the GIL: one thread at a time makes pages and changes entries. */
int table_put(struct table *table, uint64_t chunk, uint64_t entry)
{
    struct page *page = find(table, chunk);

    if (chunk / PAGE_ENTRIES >= MAX_PAGES)
        return 0; /* no disk has it: never known */
    if (!page) {
        page = calloc(1, sizeof *page);
        if (!page)
            return -1;
        atomic_store(&table->pages[chunk / PAGE_ENTRIES], page);
        if (table->count <= chunk / PAGE_ENTRIES)
            table->count = chunk / PAGE_ENTRIES + 1;
    }
    atomic_store(&page->entries[chunk % PAGE_ENTRIES], entry);
    return 0;
}

size_t table_take(struct table *table, uint64_t first, uint64_t count, uint64_t bits)
{
    size_t writable = 0;
    uint64_t last = first + count < first ? UINT64_MAX : first + count;

    for (uint64_t chunk = first; chunk < last && chunk / PAGE_ENTRIES < table->count;) {
        struct page *page = find(table, chunk);
        uint64_t end = (chunk / PAGE_ENTRIES + 1) * PAGE_ENTRIES;
        for (; page && chunk < end && chunk < last; chunk++) {
            uint64_t entry = atomic_load(&page->entries[chunk % PAGE_ENTRIES]);
            if (entry)
                atomic_store(&page->entries[chunk % PAGE_ENTRIES], bits ? entry & ~bits : 0);
            writable += (entry & WRITABLE) != 0;
        }
        chunk = page ? chunk : end;
    }
    return writable;
}
