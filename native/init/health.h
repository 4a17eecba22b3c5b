/* The reserved door "health": init itself answers at it, however busy the agent is, or while there is none. */
#ifndef PILOT_HEALTH_H
#define PILOT_HEALTH_H

/* Answers at the stored listening socket of that name from now on; nothing where there is none. */
void health_open(void);

/* The door, or -1. */
int health_fd(void);

/* Tells those who have come, each in one line, and closes: "pilot-init agent=PID stopping=0|1" (PID 0: none runs now). */
void health_answer(int stopping);
#endif
