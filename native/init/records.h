/* Exit records: kept until the agent acknowledges them, at most RECORD_LIMIT, each for a limited time. */
#ifndef PILOT_RECORDS_H
#define PILOT_RECORDS_H
#include <stdint.h>

#define RECORD_LIMIT 4096

struct record {
    uint64_t seq; /* 1, 2, 3 ... in the order of death */
    uint64_t start_time;
    int64_t died_ms;
    uint32_t pid;
    int32_t status; /* as wait(2) gives it */
};

/* Adds a record; the oldest goes when there are RECORD_LIMIT. */
void records_add(uint32_t pid, uint64_t start_time, int32_t status, int64_t now_ms);

/* Forgets the record; nothing when it is gone already. */
void records_acknowledge(uint64_t seq);

/* Drops the records that died before `oldest_ms`. */
void records_expire(int64_t oldest_ms);

/* When the oldest died, or -1. */
int64_t records_oldest_ms(void);

/* The first record after `seq`, or NULL. */
const struct record *records_after(uint64_t seq);

/* The seq of the newest record ever made. */
uint64_t records_last_seq(void);
#endif
