#include "requests.h"

#include "fail.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct header {
    char magic[4];
    uint32_t version;
    uint64_t count;
    uint32_t kinds, zero;
    uint64_t heads_bytes, pool_bytes;
    char names[REQUESTS_KINDS_MAX][REQUESTS_KIND_BYTES];
};

_Static_assert(sizeof(struct header) == 168, "the header as the format has it");
_Static_assert(sizeof(struct request) == 48, "a record as the format has it");

static bool lies_within(uint64_t offset, uint64_t bytes, uint64_t whole)
{
    return offset <= whole && bytes <= whole - offset;
}

static void check(const struct header *header, const struct request *records)
{
    for (uint64_t i = 0; i < header->count; i++) {
        const struct request *record = &records[i];
        if (!lies_within(record->head_offset, record->head_bytes, header->heads_bytes) ||
            !lies_within(record->body_offset, record->body_bytes, header->pool_bytes) ||
            !lies_within(record->expected_offset,
                         record->flags & REQUEST_COMPARE ? record->expected_bytes : 0,
                         header->pool_bytes) ||
            record->kind >= header->kinds || record->head_bytes == 0)
            fail("request %llu points out of the file", (unsigned long long)i);
    }
}

struct requests requests_open(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0)
        fail_errno(path);
    uint64_t size = (uint64_t)status.st_size;
    if (size < sizeof(struct header))
        fail("%s: too short to hold requests", path);
    const char *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (bytes == MAP_FAILED)
        fail_errno(path);
    close(file);
    const struct header *header = (const struct header *)bytes;
    if (memcmp(header->magic, "R3LD", 4) != 0 || header->version != 1)
        fail("%s: not a file of requests of version 1", path);
    if (header->kinds < 1 || header->kinds > REQUESTS_KINDS_MAX || header->count < 1 ||
        header->count > size / sizeof(struct request))
        fail("%s: the counts cannot be", path);
    uint64_t records_bytes = header->count * sizeof(struct request);
    if (sizeof(*header) + records_bytes + header->heads_bytes + header->pool_bytes != size)
        fail("%s: %llu bytes do not fit the header", path, (unsigned long long)size);
    struct requests requests = {.count = header->count, .kinds = header->kinds};
    for (unsigned i = 0; i < header->kinds; i++)
        memcpy(requests.names[i], header->names[i], REQUESTS_KIND_BYTES);
    requests.records = (const struct request *)(bytes + sizeof(*header));
    requests.heads = bytes + sizeof(*header) + records_bytes;
    requests.pool = requests.heads + header->heads_bytes;
    check(header, requests.records);
    return requests;
}
