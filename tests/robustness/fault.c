/* Makes the Nth write, rename or fsync of a process fail once: LD_PRELOAD, FAULT_AT, FAULT_ERRNO.

   Calls on files below FAULT_IN count alone. When the fault has struck, the file FAULT_STRUCK is
   made. With a FAULT_ERRNO of 0 the process is killed at that call instead.

   FAULT_SLOW delays each such call by so many milliseconds. CLOCK_SHIFT moves the clock of the
   process by so many seconds.

   POWER_AT instead ends the process after the Nth rename or fsync, as a loss of power does at its
   worst: new names are on the disk, and of every file only what was there at its last fsync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static long calls;

long fault_calls(void) { return calls; }

static int below(const char *path) {
    const char *folder = getenv("FAULT_IN");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int fd_below(int fd) {
    if (!getenv("FAULT_IN")) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

static struct dirty { dev_t dev; ino_t ino; int fd; off_t size; } unsynced[1024];
static int many;
static long durable; /* renames and fsyncs */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* Before a write: remembers the file as long as it is not synced. */
static void note(int fd) {
    struct stat now;
    if (!getenv("POWER_AT") || fstat(fd, &now)) return;
    pthread_mutex_lock(&turn);
    int i = 0;
    while (i < many && (unsynced[i].ino != now.st_ino || unsynced[i].dev != now.st_dev)) i++;
    if (i == many && many < 1024)
        unsynced[many++] =
            (struct dirty){now.st_dev, now.st_ino, fcntl(fd, F_DUPFD_CLOEXEC, 500), now.st_size};
    pthread_mutex_unlock(&turn);
}

static void synced(int fd) {
    struct stat now;
    if (!getenv("POWER_AT") || fstat(fd, &now)) return;
    pthread_mutex_lock(&turn);
    for (int i = 0; i < many; i++)
        if (unsynced[i].ino == now.st_ino && unsynced[i].dev == now.st_dev) {
            close(unsynced[i].fd);
            unsynced[i] = unsynced[--many];
            break;
        }
    pthread_mutex_unlock(&turn);
}

static void mark_struck(void) {
    const char *struck = getenv("FAULT_STRUCK");
    int made = struck ? open(struck, O_CREAT | O_WRONLY, 0644) : -1;
    if (made >= 0) close(made);
}

static void lose_power(void) {
    const char *at = getenv("POWER_AT");
    if (!at || __sync_add_and_fetch(&durable, 1) != atol(at)) return;
    for (int i = 0; i < many; i++)
        if (ftruncate(unsynced[i].fd, unsynced[i].size)) _exit(138);
    mark_struck();
    _exit(137);
}

static int strike(void) {
    if (getenv("FAULT_SLOW")) usleep(1000 * atoi(getenv("FAULT_SLOW")));
    const char *at = getenv("FAULT_AT");
    if (!at || __sync_add_and_fetch(&calls, 1) != atol(at)) return 0;
    mark_struck();
    errno = atoi(getenv("FAULT_ERRNO") ? getenv("FAULT_ERRNO") : "28");
    if (!errno) raise(SIGKILL);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t which, struct timespec *now) {
    int result = REAL(clock_gettime)(which, now);
    if (which == CLOCK_REALTIME && getenv("CLOCK_SHIFT")) now->tv_sec += atol(getenv("CLOCK_SHIFT"));
    return result;
}
ssize_t write(int fd, const void *data, size_t size) {
    if (fd > 2 && fd_below(fd)) {
        if (strike()) return -1;
        note(fd);
    }
    return REAL(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    if (fd_below(fd)) {
        if (strike()) return -1;
        note(fd);
    }
    return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    if (fd_below(fd)) {
        if (strike()) return -1;
        note(fd);
    }
    return REAL(pwrite64)(fd, data, size, at);
}
int rename(const char *from, const char *to) {
    int counts = below(to);
    if (counts && strike()) return -1;
    int result = REAL(rename)(from, to);
    if (counts && !result) lose_power();
    return result;
}
int fsync(int fd) {
    int counts = fd_below(fd);
    if (counts && strike()) return -1;
    int result = REAL(fsync)(fd);
    if (counts && !result) {
        synced(fd);
        lose_power();
    }
    return result;
}
int fdatasync(int fd) {
    int counts = fd_below(fd);
    if (counts && strike()) return -1;
    int result = REAL(fdatasync)(fd);
    if (counts && !result) {
        synced(fd);
        lose_power();
    }
    return result;
}
