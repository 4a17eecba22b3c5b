/* The kernel command line, taken apart once into static storage. */
#ifndef PILOT_CMDLINE_H
#define PILOT_CMDLINE_H

/* Reads /proc/cmdline; 0 or an errno. */
int cmdline_read(void);

/* The value of `key` ("pilot.root"), or `otherwise`. The last one wins. Lives as long as the process. */
const char *cmdline_get(const char *key, const char *otherwise);

/* Splits `value` at commas into `out`, at most `limit` - 1 items and a NULL; -1 when there are more. Static storage. */
int cmdline_split(const char *value, char **out, int limit);
#endif
