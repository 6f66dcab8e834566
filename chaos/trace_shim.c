/* Records every change that a process makes to the files below one directory.
 *
 * Loaded with LD_PRELOAD. CHAOS_TRACE_ROOT is the directory (absolute, without a symbolic link),
 * CHAOS_TRACE_LOG the log. Each record is appended to the log under one lock, together with the
 * call itself, so that the log's order is the order of the effects. A sync has two records, one
 * before and one after the call: only what was logged before the first is durable by the second.
 *
 * It covers the calls that CPython and LMDB make: open, write, pwrite, pwritev, ftruncate,
 * fallocate, fsync, fdatasync, msync, unlink, rename, mkdir, close. A write through a descriptor
 * with O_SYNC or O_DSYNC is marked, since it is durable when it returns (LMDB writes its meta page
 * so). Writes through a shared mapping are not seen: LMDB without MDB_WRITEMAP makes none to its
 * data file, and the contents of its lock file mean nothing after a crash.
 *
 * With CHAOS_TRACE_FAIL ("KIND FIRST COUNT ERRNO ENDING") it also lets calls fail, undone and
 * unrecorded: those of kind `s` (sync) or `w` (write) on paths with that ending, COUNT of them
 * beginning with number FIRST (from 0).
 *
 * A record: kind (1 byte), flags (1), path bytes (u16), descriptor (i32), offset (u64), data bytes
 * (u32), path, data. Little-endian. The reader is chaos/trace.py.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 4096
#define FLAG_SYNCED 1
#define FLAG_DIRECTORY 2

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_descriptor = -1;
static char root[PATH_MAX];
static size_t root_length;
static char *paths[DESCRIPTORS_MAX];
static unsigned char flags_of[DESCRIPTORS_MAX];

static char fail_kind;
static long fail_first, fail_count, fail_seen;
static int fail_errno;
static char fail_ending[64];

static void die(void) {
    static const char text[] = "trace_shim: the log cannot be written\n";
    syscall(SYS_write, 2, text, sizeof text - 1);
    _exit(97);
}

static void append(const void *data, size_t length) {
    const char *at = data;
    while (length > 0) {
        ssize_t count = syscall(SYS_write, log_descriptor, at, length);
        if (count <= 0) die();
        at += count;
        length -= (size_t)count;
    }
}

__attribute__((constructor)) static void begin(void) {
    const char *wanted = getenv("CHAOS_TRACE_ROOT");
    const char *log = getenv("CHAOS_TRACE_LOG");
    if (!wanted || !log || strlen(wanted) >= sizeof root) return;
    strcpy(root, wanted);
    root_length = strlen(root);
    const char *failing = getenv("CHAOS_TRACE_FAIL");
    if (failing && sscanf(failing, "%c %ld %ld %d %63s", &fail_kind, &fail_first, &fail_count,
                          &fail_errno, fail_ending) != 5) die();
    log_descriptor = (int)syscall(SYS_openat, AT_FDCWD, log,
                                  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_descriptor < 0) die();
}

static void record(char kind, unsigned char flags, int descriptor, uint64_t offset,
                   const char *path, const struct iovec *vectors, int count, size_t limit) {
    struct __attribute__((packed)) {
        char kind;
        unsigned char flags;
        uint16_t path_bytes;
        int32_t descriptor;
        uint64_t offset;
        uint32_t data_bytes;
    } head = {kind, flags, (uint16_t)strlen(path), descriptor, offset, (uint32_t)limit};
    append(&head, sizeof head);
    append(path, head.path_bytes);
    for (int index = 0; index < count && limit > 0; index++) {
        size_t length = vectors[index].iov_len < limit ? vectors[index].iov_len : limit;
        append(vectors[index].iov_base, length);
        limit -= length;
    }
}

/* The path below the root, or NULL when it is elsewhere. The root itself is "". */
static const char *inside(const char *absolute) {
    if (log_descriptor < 0 || strncmp(absolute, root, root_length) != 0) return NULL;
    if (absolute[root_length] == '\0') return absolute + root_length;
    return absolute[root_length] == '/' ? absolute + root_length + 1 : NULL;
}

static const char *path_of(int descriptor) {
    if (descriptor < 0 || descriptor >= DESCRIPTORS_MAX) return NULL;
    return paths[descriptor];
}

/* Called under the lock. */
static int must_fail(char kind, const char *path) {
    if (kind != fail_kind) return 0;
    size_t length = strlen(path), ending = strlen(fail_ending);
    if (length < ending || strcmp(path + length - ending, fail_ending) != 0) return 0;
    long number = fail_seen++;
    return number >= fail_first && number < fail_first + fail_count;
}

static int real_openat(int directory, const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

static int traced_open(const char *path, int flags, mode_t mode) {
    const char *below = path[0] == '/' ? inside(path) : NULL;
    if (below == NULL) return real_openat(AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&lock);
    int existed = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
    int descriptor = real_openat(AT_FDCWD, path, flags, mode);
    int error = errno;
    if (descriptor >= DESCRIPTORS_MAX) die();
    if (descriptor >= 0) {
        struct stat status;
        unsigned char marks = 0;
        if (flags & O_DSYNC) marks |= FLAG_SYNCED;
        if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) marks |= FLAG_DIRECTORY;
        free(paths[descriptor]);
        paths[descriptor] = strdup(below);
        flags_of[descriptor] = marks;
        record(existed ? 'o' : 'c', marks, descriptor, 0, below, NULL, 0, 0);
        if (existed && (flags & O_TRUNC)) record('t', 0, descriptor, 0, below, NULL, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return descriptor;
}

#define OPEN_BODY                              \
    mode_t mode = 0;                           \
    if (flags & (O_CREAT | O_TMPFILE)) {       \
        va_list rest;                          \
        va_start(rest, flags);                 \
        mode = va_arg(rest, mode_t);           \
        va_end(rest);                          \
    }

int open(const char *path, int flags, ...) {
    OPEN_BODY
    return traced_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    OPEN_BODY
    return traced_open(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    OPEN_BODY
    if (path[0] == '/') return traced_open(path, flags, mode);
    return real_openat(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    OPEN_BODY
    if (path[0] == '/') return traced_open(path, flags, mode);
    return real_openat(directory, path, flags, mode);
}

int close(int descriptor) {
    if (path_of(descriptor) == NULL) return (int)syscall(SYS_close, descriptor);
    pthread_mutex_lock(&lock);
    record('x', 0, descriptor, 0, paths[descriptor], NULL, 0, 0);
    free(paths[descriptor]);
    paths[descriptor] = NULL;
    int result = (int)syscall(SYS_close, descriptor);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

static ssize_t traced_write(int descriptor, const struct iovec *vectors, int count, int64_t offset) {
    const char *path = path_of(descriptor);
    if (path != NULL) {
        pthread_mutex_lock(&lock);
        if (must_fail('w', path)) {
            pthread_mutex_unlock(&lock);
            errno = fail_errno;
            return -1;
        }
    }
    uint64_t place = (uint64_t)offset;
    if (path != NULL && offset < 0) place = (uint64_t)syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
    ssize_t done = offset < 0
        ? (ssize_t)syscall(SYS_writev, descriptor, vectors, count)
        : (ssize_t)syscall(SYS_pwritev, descriptor, vectors, count, offset, 0);
    int error = errno;
    if (path != NULL) {
        if (done > 0)
            record('w', flags_of[descriptor], descriptor, place, path, vectors, count, (size_t)done);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return done;
}

ssize_t write(int descriptor, const void *data, size_t length) {
    if (path_of(descriptor) == NULL) return syscall(SYS_write, descriptor, data, length);
    struct iovec vector = {(void *)data, length};
    return traced_write(descriptor, &vector, 1, -1);
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset) {
    if (path_of(descriptor) == NULL) return syscall(SYS_pwrite64, descriptor, data, length, offset);
    struct iovec vector = {(void *)data, length};
    return traced_write(descriptor, &vector, 1, offset);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset) {
    return pwrite(descriptor, data, length, offset);
}

ssize_t writev(int descriptor, const struct iovec *vectors, int count) {
    return traced_write(descriptor, vectors, count, -1);
}

ssize_t pwritev(int descriptor, const struct iovec *vectors, int count, off_t offset) {
    return traced_write(descriptor, vectors, count, offset);
}

ssize_t pwritev64(int descriptor, const struct iovec *vectors, int count, off64_t offset) {
    return traced_write(descriptor, vectors, count, offset);
}

/* CPython's os.pwritev uses it when it was built so; the flags are for reads, none is set. */
ssize_t pwritev2(int descriptor, const struct iovec *vectors, int count, off_t offset, int flags) {
    if (flags != 0 && path_of(descriptor) != NULL) die();
    if (flags != 0)
        return syscall(SYS_pwritev2, descriptor, vectors, count, offset, 0, flags);
    return traced_write(descriptor, vectors, count, offset);
}

ssize_t pwritev64v2(int descriptor, const struct iovec *vectors, int count, off64_t offset,
                    int flags) {
    return pwritev2(descriptor, vectors, count, offset, flags);
}

static int traced_truncate(int descriptor, off_t length) {
    const char *path = path_of(descriptor);
    if (path == NULL) return (int)syscall(SYS_ftruncate, descriptor, length);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_ftruncate, descriptor, length);
    int error = errno;
    if (result == 0) record('t', 0, descriptor, (uint64_t)length, path, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate(int descriptor, off_t length) { return traced_truncate(descriptor, length); }
int ftruncate64(int descriptor, off64_t length) { return traced_truncate(descriptor, length); }

static int traced_allocate(int descriptor, int mode, off_t offset, off_t length) {
    const char *path = path_of(descriptor);
    if (path == NULL) return (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
    if (mode != 0) die();
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
    int error = errno;
    if (result == 0) record('a', 0, descriptor, (uint64_t)(offset + length), path, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fallocate(int descriptor, int mode, off_t offset, off_t length) {
    return traced_allocate(descriptor, mode, offset, length);
}

int fallocate64(int descriptor, int mode, off64_t offset, off64_t length) {
    return traced_allocate(descriptor, mode, offset, length);
}

int posix_fallocate(int descriptor, off_t offset, off_t length) {
    return traced_allocate(descriptor, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t length) {
    return traced_allocate(descriptor, 0, offset, length) == 0 ? 0 : errno;
}

static int traced_sync(int descriptor, long number) {
    const char *path = path_of(descriptor);
    if (path == NULL) return (int)syscall(number, descriptor);
    pthread_mutex_lock(&lock);
    if (must_fail('s', path)) {
        pthread_mutex_unlock(&lock);
        errno = fail_errno;
        return -1;
    }
    record('s', flags_of[descriptor], descriptor, 0, path, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    int result = (int)syscall(number, descriptor);
    int error = errno;
    if (result == 0) {
        pthread_mutex_lock(&lock);
        record('S', flags_of[descriptor], descriptor, 0, path, NULL, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return result;
}

int fsync(int descriptor) { return traced_sync(descriptor, SYS_fsync); }
int fdatasync(int descriptor) { return traced_sync(descriptor, SYS_fdatasync); }

/* No mapping is written through; were it otherwise the replay would be wrong, so say so. */
int msync(void *address, size_t length, int flags) {
    if (log_descriptor >= 0) record('m', 0, -1, 0, "", NULL, 0, 0);
    return (int)syscall(SYS_msync, address, length, flags);
}

int unlink(const char *path) {
    const char *below = path[0] == '/' ? inside(path) : NULL;
    if (below == NULL) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    int error = errno;
    if (result == 0) record('u', 0, -1, 0, below, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int rename(const char *old, const char *new) {
    const char *below_old = old[0] == '/' ? inside(old) : NULL;
    const char *below_new = new[0] == '/' ? inside(new) : NULL;
    if (below_old == NULL || below_new == NULL)
        return (int)syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0);
    int error = errno;
    struct iovec target = {(void *)below_new, strlen(below_new)};
    if (result == 0) record('r', 0, -1, 0, below_old, &target, 1, target.iov_len);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode) {
    const char *below = path[0] == '/' ? inside(path) : NULL;
    if (below == NULL) return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int error = errno;
    if (result == 0) record('d', 0, -1, 0, below, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
