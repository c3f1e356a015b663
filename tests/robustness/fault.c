/* Makes the Nth write, rename or fsync of a process fail once: LD_PRELOAD, FAULT_AT, FAULT_ERRNO.

   Calls on files below FAULT_IN count alone. When the fault has struck, the file FAULT_STRUCK is
   made. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long calls;

static int below(const char *path) {
    const char *folder = getenv("FAULT_IN");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int fd_below(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

static int strike(void) {
    const char *at = getenv("FAULT_AT");
    if (!at || __sync_add_and_fetch(&calls, 1) != atol(at)) return 0;
    const char *struck = getenv("FAULT_STRUCK");
    int saved = struck ? open(struck, O_CREAT | O_WRONLY, 0644) : -1;
    if (saved >= 0) close(saved);
    errno = atoi(getenv("FAULT_ERRNO") ? getenv("FAULT_ERRNO") : "28");
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
    if (fd > 2 && fd_below(fd) && strike()) return -1;
    return REAL(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    if (fd_below(fd) && strike()) return -1;
    return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    if (fd_below(fd) && strike()) return -1;
    return REAL(pwrite64)(fd, data, size, at);
}
int rename(const char *from, const char *to) {
    if (below(to) && strike()) return -1;
    return REAL(rename)(from, to);
}
int fsync(int fd) {
    if (fd_below(fd) && strike()) return -1;
    return REAL(fsync)(fd);
}
int fdatasync(int fd) {
    if (fd_below(fd) && strike()) return -1;
    return REAL(fdatasync)(fd);
}
