#include "store.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct store_table *table;
static uint32_t limit;
static uint32_t unsent_from; /* no entry before this one is unsent; only a new agent and a drop take it back */
static uint32_t unsent_agent;

int store_open(uint32_t descriptors)
{
    int fd = memfd_create(STORE_MEMFD, MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof *table) != 0)
        return errno;
    void *memory = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return errno;
    table = memory;
    table->magic = STORE_MAGIC;
    limit = descriptors < STORE_LIMIT ? descriptors : STORE_LIMIT;
    return 0;
}

static struct store_entry *find(const char *name)
{
    for (uint32_t i = 0; i < table->count; i++)
        if (strcmp(table->entries[i].name, name) == 0)
            return &table->entries[i];
    return NULL;
}

int store_put(const char *name, int fd, uint32_t sent_to)
{
    struct store_entry *entry = find(name);
    if (entry) {
        close(entry->fd);
    } else {
        if (table->count >= limit)
            return EMFILE;
        entry = &table->entries[table->count];
        strncpy(entry->name, name, NAME_SIZE - 1);
        entry->name[NAME_SIZE - 1] = 0;
    }
    entry->fd = fd;
    entry->sent_to = sent_to;
    if (entry == &table->entries[table->count])
        table->count++;
    return 0;
}

void store_drop(const char *name)
{
    struct store_entry *entry = find(name);
    if (!entry)
        return;
    uint32_t index = (uint32_t)(entry - table->entries);
    close(entry->fd);
    *entry = table->entries[--table->count];
    memset(&table->entries[table->count], 0, sizeof *entry);
    if (index < unsent_from)
        unsent_from = index; /* the last entry sits here now, and may be unsent */
}

int store_find(const char *name)
{
    const struct store_entry *entry = find(name);
    return entry ? entry->fd : -1;
}

uint32_t store_count(void) { return table->count; }

struct store_entry *store_unsent(uint32_t agent)
{
    if (agent != unsent_agent)
        unsent_from = 0, unsent_agent = agent;
    for (; unsent_from < table->count; unsent_from++)
        if (table->entries[unsent_from].sent_to != agent)
            return &table->entries[unsent_from];
    return NULL;
}
