/* A wrong clock of day and time for one process: what CLOCK_REALTIME, gettimeofday and time say is
 * off by what the file named by CHAOS_CLOCK holds, a number of nanoseconds of 8 bytes that may
 * change at any time. Monotonic clocks stay right, as a wrong NTP server leaves them.
 *
 * Loaded by LD_PRELOAD; see chaos/cluster_nodes.py. Sources: clock_gettime(2), ld.so(8).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const volatile int64_t *offset_ns;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("CHAOS_CLOCK");
    if (path == NULL)
        return;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        abort(); /* a run whose clocks are secretly right proves nothing */
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED)
        abort();
    close(descriptor);
    offset_ns = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *result)
{
    if (real_clock_gettime == NULL) /* another library's constructor came first */
        real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real_clock_gettime(clock, result);
    if (status != 0 || offset_ns == NULL)
        return status;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        int64_t now = result->tv_sec * SECOND + result->tv_nsec + *offset_ns;
        result->tv_sec = now / SECOND;
        result->tv_nsec = now % SECOND;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result != NULL)
        *result = now.tv_sec;
    return now.tv_sec;
}
