/* The requests that a run sends, built and signed beforehand by tools/rs3gw_bench/request_file.py.
 *
 * File format, version 1, little-endian; the three parts follow one another:
 *
 *   offset  bytes  header
 *        0      4  magic "R3LD"
 *        4      4  version, 1
 *        8      8  count of requests
 *       16      4  count of kinds (1 to 8)
 *       20      4  0
 *       24      8  bytes of the heads
 *       32      8  bytes of the pool of bodies
 *       40    8x16 names of the kinds, each padded with zeros
 *      168         records, heads, pool
 *
 *   offset  bytes  record of one request
 *        0      8  offset of its head within the heads
 *        8      4  bytes of its head, the empty line included
 *       12      2  status that it must be answered with
 *       14      1  kind
 *       15      1  flags: 1 HEAD, 2 compare the body that comes, 4 check the length that comes
 *       16      8  offset of the body to send within the pool
 *       24      8  bytes of the body to send
 *       32      8  offset of the expected body within the pool
 *       40      8  bytes of the expected body
 */
#ifndef RS3GW_BENCH_REQUESTS_H
#define RS3GW_BENCH_REQUESTS_H

#include <stdint.h>

#define REQUESTS_KINDS_MAX 8
#define REQUESTS_KIND_BYTES 16

#define REQUEST_HEAD 1
#define REQUEST_COMPARE 2
#define REQUEST_LENGTH 4

struct request {
    uint64_t head_offset;
    uint32_t head_bytes;
    uint16_t status;
    uint8_t kind;
    uint8_t flags;
    uint64_t body_offset, body_bytes;
    uint64_t expected_offset, expected_bytes;
};

struct requests {
    uint64_t count;
    unsigned kinds;
    char names[REQUESTS_KINDS_MAX][REQUESTS_KIND_BYTES + 1];
    const struct request *records;
    const char *heads, *pool;
};

/* Maps a file; ends the program with a message if it is not what it should be. */
struct requests requests_open(const char *path);

#endif
