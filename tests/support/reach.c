/* Tries the calls that a world may not make, on each ABI that this kernel has, and prints "name: errno" (0: it worked). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AF_VSOCK 40
#define X32 0x40000000
#define NO_NUMBER (-1)

static void tell(const char *name, long result) { printf("%s: %d\n", name, result < 0 ? errno : 0); }

#ifdef __x86_64__
/* The 32-bit ABI, as any 64-bit process may use it; what it points to lies below 4 GiB. */
static void tell32(const char *name, long number, long one, long two, long three) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(one), "c"(two), "d"(three) : "memory", "r8", "r9", "r10", "r11");
  errno = (int)-result;
  tell(name, result < 0 ? -1 : 0);
}
#endif

int main(void) {
  char parameters[256] = {0};
  tell("tcp", syscall(SYS_socket, 2, 1, 0));
  tell("vsock", syscall(SYS_socket, AF_VSOCK, 1, 0));
  tell("vsock, with more in the register", syscall(SYS_socket, 0x700000000L | AF_VSOCK, 1, 0));
  tell("io_uring", syscall(SYS_io_uring_setup, 1, parameters));
  tell("keyctl", syscall(SYS_keyctl, 0, -3, 1));
  tell("userfaultfd", syscall(SYS_userfaultfd, 1));
  tell("personality", syscall(SYS_personality, 0xffffffff));
#ifdef __x86_64__
  int *arguments = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  memcpy(arguments, (int[]){AF_VSOCK, 1, 0}, 12);
  tell32("vsock by socketcall", 102, 1, (long)arguments, 0);
  tell32("vsock by socket of 32 bits", 359, AF_VSOCK, 1, 0);
  tell32("io_uring of 32 bits", 425, 1, (long)arguments, 0);
  tell("vsock of x32", syscall(X32 | SYS_socket, AF_VSOCK, 1, 0));
#endif
  return 0;
}
