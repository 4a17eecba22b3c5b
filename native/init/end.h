/* The end: nothing of ours is left running. */
#ifndef PILOT_END_H
#define PILOT_END_H
#include <stdint.h>

/* SIGTERM to all that is left, at most `grace_ms` for it to go, SIGKILL, and at most 2 s for the kernel to bury it. PID 1
 * signals everything in its pid namespace; a keeper its own descendants only. */
void end_processes(int64_t grace_ms);

/* sync(2) in a child, waited for at most 20 s: a disk that hangs must not keep the machine from ending. */
void end_sync(void);
#endif
