/* Milliseconds of CLOCK_MONOTONIC: it stands still while a machine is suspended, and so do our deadlines. */
#ifndef PILOT_CLOCK_H
#define PILOT_CLOCK_H
#include <stdint.h>

int64_t clock_ms(void);
void clock_sleep_ms(int64_t milliseconds);
#endif
