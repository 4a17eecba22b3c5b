/* A keeper without an agent of its own: whoever connects to its socket is the agent, until the next one connects.
 *
 * The listening socket lies in the store like any other descriptor, so a keeper that takes the store takes the door with it,
 * and nobody outside sees the change but by a connection that ends. */
#ifndef PILOT_DOOR_H
#define PILOT_DOOR_H

/* Listens on the stored descriptor `name`; 0 or an errno. */
int door_open(const char *name);

int door_fd(void); /* -1 when there is no door */

/* Lets go of a link that has ended, and takes in who waits outside, in place of whoever was in. */
void door_admit(void);

/* 1 when nobody is in and nothing but the door is stored: what this keeper was for is over. */
int door_is_deserted(void);
#endif
