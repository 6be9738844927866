/* Weather for whole processes: a small shared file says what the clock, the disk's sync and its room do from now on.
 *
 * Loaded with LD_PRELOAD. POND_WEATHER names the file: three int64 - microseconds added to the wall clock, microseconds
 * that every sync takes longer, bytes that still fit on the disk (-1: all) - and the directory below which regular files
 * feel the disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct weather {
    volatile int64_t clock_us, sync_us, room;
    char disk[1024];
};
static struct weather *weather;

__attribute__((constructor)) static void look_up(void) {
    const char *path = getenv("POND_WEATHER");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(struct weather), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) weather = page;
    close(file);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int clock_gettime(clockid_t which, struct timespec *at) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    int done = real(which, at);
    if (done || !weather || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) return done;
    int64_t us = at->tv_sec * 1000000LL + at->tv_nsec / 1000 + weather->clock_us;
    at->tv_nsec = us % 1000000 * 1000 + at->tv_nsec % 1000;
    at->tv_sec = us / 1000000;
    return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

static int is_ours(int file) {
    struct stat found;
    char link[64], path[PATH_MAX];
    if (!weather || fstat(file, &found) || !S_ISREG(found.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return !strncmp(path, weather->disk, strlen(weather->disk));
}

static void wait_for_disk(int file) {
    if (weather && weather->sync_us > 0 && is_ours(file)) usleep(weather->sync_us);
}

int fdatasync(int file) {
    wait_for_disk(file);
    return REAL(fdatasync)(file);
}

int fsync(int file) {
    wait_for_disk(file);
    return REAL(fsync)(file);
}

/* How many of so many bytes fit: like a real disk, a part of a write goes in and the next one finds no room. */
static ssize_t room_for(int file, size_t wanted) {
    if (!weather || weather->room < 0 || !wanted || !is_ours(file)) return wanted;
    int64_t left = weather->room, taken;
    do taken = left < (int64_t)wanted ? left : (int64_t)wanted;
    while (!__atomic_compare_exchange_n(&weather->room, &left, left - taken, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    if (taken) return taken;
    errno = ENOSPC;
    return -1;
}

ssize_t write(int file, const void *bytes, size_t n) {
    static __typeof__(&write) real;
    if (!real) real = REAL(write);
    ssize_t fits = room_for(file, n);
    return fits < 0 ? -1 : real(file, bytes, fits);
}

ssize_t pwrite(int file, const void *bytes, size_t n, off_t at) {
    ssize_t fits = room_for(file, n);
    return fits < 0 ? -1 : REAL(pwrite)(file, bytes, fits, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t n, off64_t at) {
    ssize_t fits = room_for(file, n);
    return fits < 0 ? -1 : REAL(pwrite64)(file, bytes, fits, at);
}

ssize_t writev(int file, const struct iovec *parts, int n) {
    size_t wanted = 0;
    for (int i = 0; i < n; i++) wanted += parts[i].iov_len;
    ssize_t fits = room_for(file, wanted);
    if (fits < 0) return -1;
    return fits == (ssize_t)wanted ? REAL(writev)(file, parts, n) : write(file, parts[0].iov_base, parts[0].iov_len);
}
