/* A disk of one process that can be full or failing, whenever the file named by CHAOS_DISK says so.
 *
 * The file holds four numbers of 8 bytes, and is mapped: a state that may change at any time, and
 * three counts that this library keeps: of calls that it let fail and of questions for free space
 * that it answered with none. The states: 0 well; 1 files cannot grow (ENOSPC), what is allocated
 * can be written; 2 nothing can be written (ENOSPC: a file system that copies on write); 3 writes
 * and syncs fail (EIO); 4 syncs fail (EIO). Only files below CHAOS_DISK_ROOT (absolute, without a
 * symbolic link) are meant; reads and names are left alone.
 *
 * Loaded by LD_PRELOAD before chaos/trace_shim.c, to which it passes all other calls: what failed
 * here was never done, and is not recorded. See chaos/node_disks.py. Sources: write(2), fsync(2),
 * posix_fallocate(3), statvfs(3), ld.so(8).
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
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WELL, NO_GROWTH, NO_ROOM, NO_WRITES, NO_SYNCS };

struct control {
    volatile int64_t state;
    int64_t writes_denied;
    int64_t syncs_denied;
    int64_t told_full;
};

static struct control *control;
static char root[PATH_MAX];
static size_t root_length;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CHAOS_DISK"), *wanted = getenv("CHAOS_DISK_ROOT");
    if (path == NULL || wanted == NULL)
        return;
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0 || strlen(wanted) >= sizeof root)
        abort(); /* a run whose disks are secretly well proves nothing */
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED)
        abort();
    close(descriptor);
    strcpy(root, wanted);
    root_length = strlen(root);
    control = mapped;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_below(const char *path)
{
    return strncmp(path, root, root_length) == 0 &&
           (path[root_length] == '/' || path[root_length] == '\0');
}

/* Whether the descriptor is a file of this disk, which is only asked while the disk is not well. */
static int is_ours(int descriptor)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = '\0';
    return is_below(path);
}

static int deny(int64_t *count, int error)
{
    __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    errno = error;
    return 1;
}

/* `end` is where the write ends in the file, which is where LMDB's single pages and its runs of
 * pages (lseek, writev) both lie in what it has allocated before. */
static int write_fails(int descriptor, int64_t end)
{
    int64_t state = control == NULL ? WELL : control->state;
    if (state == WELL || state == NO_SYNCS || !is_ours(descriptor))
        return 0;
    if (state == NO_WRITES)
        return deny(&control->writes_denied, EIO);
    struct stat status;
    if (state == NO_GROWTH && fstat(descriptor, &status) == 0 && end <= status.st_size)
        return 0;
    return deny(&control->writes_denied, ENOSPC);
}

/* Where the descriptor itself stands; nothing is asked while the disk is well. */
static int64_t place_of(int descriptor)
{
    return control == NULL || control->state != NO_GROWTH ? 0 : lseek(descriptor, 0, SEEK_CUR);
}

static int64_t end_of(int64_t offset, const struct iovec *vectors, int count)
{
    for (int index = 0; index < count; index++)
        offset += (int64_t)vectors[index].iov_len;
    return offset;
}

ssize_t write(int descriptor, const void *data, size_t length)
{
    if (write_fails(descriptor, place_of(descriptor) + (int64_t)length))
        return -1;
    return REAL(write)(descriptor, data, length);
}

ssize_t writev(int descriptor, const struct iovec *vectors, int count)
{
    if (write_fails(descriptor, end_of(place_of(descriptor), vectors, count)))
        return -1;
    return REAL(writev)(descriptor, vectors, count);
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset)
{
    if (write_fails(descriptor, offset + (int64_t)length))
        return -1;
    return REAL(pwrite)(descriptor, data, length, offset);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset)
{
    return pwrite(descriptor, data, length, offset);
}

ssize_t pwritev(int descriptor, const struct iovec *vectors, int count, off_t offset)
{
    if (write_fails(descriptor, end_of(offset, vectors, count)))
        return -1;
    return REAL(pwritev)(descriptor, vectors, count, offset);
}

ssize_t pwritev64(int descriptor, const struct iovec *vectors, int count, off64_t offset)
{
    return pwritev(descriptor, vectors, count, offset);
}

ssize_t pwritev2(int descriptor, const struct iovec *vectors, int count, off_t offset, int flags)
{
    if (write_fails(descriptor, end_of(offset, vectors, count)))
        return -1;
    return REAL(pwritev2)(descriptor, vectors, count, offset, flags);
}

ssize_t pwritev64v2(int descriptor, const struct iovec *vectors, int count, off64_t offset,
                    int flags)
{
    return pwritev2(descriptor, vectors, count, offset, flags);
}

int ftruncate(int descriptor, off_t length)
{
    if (write_fails(descriptor, length))
        return -1;
    return REAL(ftruncate)(descriptor, length);
}

int ftruncate64(int descriptor, off64_t length) { return ftruncate(descriptor, length); }

int fallocate(int descriptor, int mode, off_t offset, off_t length)
{
    if (write_fails(descriptor, offset + length))
        return -1;
    return REAL(fallocate)(descriptor, mode, offset, length);
}

int fallocate64(int descriptor, int mode, off64_t offset, off64_t length)
{
    return fallocate(descriptor, mode, offset, length);
}

int posix_fallocate(int descriptor, off_t offset, off_t length)
{
    if (write_fails(descriptor, offset + length))
        return errno;
    return REAL(posix_fallocate)(descriptor, offset, length);
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t length)
{
    return posix_fallocate(descriptor, offset, length);
}

static int sync_fails(int descriptor)
{
    int64_t state = control == NULL ? WELL : control->state;
    if ((state != NO_WRITES && state != NO_SYNCS) || !is_ours(descriptor))
        return 0;
    return deny(&control->syncs_denied, EIO);
}

int fsync(int descriptor)
{
    if (sync_fails(descriptor))
        return -1;
    return REAL(fsync)(descriptor);
}

int fdatasync(int descriptor)
{
    if (sync_fails(descriptor))
        return -1;
    return REAL(fdatasync)(descriptor);
}

static int is_full(void)
{
    return control != NULL && (control->state == NO_GROWTH || control->state == NO_ROOM);
}

int statvfs(const char *path, struct statvfs *result)
{
    int status = REAL(statvfs)(path, result);
    if (status == 0 && is_full() && is_below(path)) {
        __atomic_fetch_add(&control->told_full, 1, __ATOMIC_RELAXED);
        result->f_bavail = result->f_bfree = 0;
    }
    return status;
}

int statvfs64(const char *path, struct statvfs64 *result)
{
    return statvfs(path, (struct statvfs *)result);
}
