/* One line on standard error, never waiting for it: a line that would block is lost. */
#ifndef PILOT_LOG_H
#define PILOT_LOG_H

/* "pilot-init: what: to_what: why"; `to_what` may be NULL, `error` 0 leaves the reason out. */
void log_line(const char *what, const char *to_what, int error);

/* The decimal digits of `value` in a static buffer, good until the next call. */
const char *log_number(unsigned long long value);
#endif
