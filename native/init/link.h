/* init's end of the link to the agent that runs now. Never waits: what cannot be sent stays owed, in the store and in the
 * records themselves, until the socket is writable. Requests are not read while an answer is owed, so an agent that does
 * not read cannot make init remember anything for it. */
#ifndef PILOT_LINK_H
#define PILOT_LINK_H
#include <stdint.h>

/* A new link for the agent of this number: everything is owed to it. The agent's end, which the caller closes, or -errno. */
int link_open(uint32_t agent);

/* Takes in what the agent sent before it died, then forgets it. */
void link_close(void);

/* The same with a socket that the agent made; ours from now on. */
void link_adopt(int fd, uint32_t agent);

/* 1 when the other end is gone: `link_close` is due. */
int link_is_over(void);

int link_fd(void);       /* -1 when there is none */
short link_events(void); /* for poll(2) */
int link_paused(void);   /* sending waits for the kernel rather than for the agent: try again after LINK_PAUSE_MS */
#define LINK_PAUSE_MS 50

void link_read(void);
void link_write(void);

/* What the agent asked for (`enum shutdown_request`), or -1. */
int link_shutdown_request(void);
#endif
