/* Stage 0 of a VM: from the initramfs to the machine's own root, in the same process. */
#ifndef PILOT_STAGE0_H
#define PILOT_STAGE0_H

struct stage0 {
    char **command;     /* what pilot.exec= said, NULL-terminated; static storage */
    int halt_by_reboot; /* pilot.halt=reboot: reboot(2) is what ends this machine (Firecracker, or no ACPI) */
};

/* The kernel started us as /init and nothing is mounted yet. */
int stage0_wanted(const char *argv0);

/* Mounts, loads modules, switches to the root; on an error says so on the console and ends the machine. */
struct stage0 stage0_run(void);

/* reboot(2); `again` starts the machine anew. Returns only when the kernel refuses. */
void stage0_end_machine(int again, int halt_by_reboot);
#endif
