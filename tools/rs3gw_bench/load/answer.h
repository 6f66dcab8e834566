/* Reads HTTP/1.1 responses (RFC 9112), a piece at a time, and says what is wrong with them.
 *
 * Minimal, but not careless: names in any case, Content-Length or chunked or until the connection
 * ends, interim 1xx responses skipped, no body after HEAD, 204 and 304. A response that has two
 * framings, or one that contradicts itself, is malformed.
 */
#ifndef RS3GW_BENCH_ANSWER_H
#define RS3GW_BENCH_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_HEAD_MAX 16384
#define ANSWER_EXCERPT_MAX 1024

enum answer_state {
    ANSWER_HEAD,
    ANSWER_BODY,       /* `left` bytes are to come */
    ANSWER_UNTIL_END,  /* the body ends with the connection */
    ANSWER_CHUNK_SIZE,
    ANSWER_CHUNK,      /* `left` bytes of a chunk are to come */
    ANSWER_CHUNK_END,
    ANSWER_TRAILERS,
    ANSWER_DONE,
    ANSWER_MALFORMED,
};

struct answer {
    enum answer_state state;
    int status;
    bool to_head;        /* answers HEAD: whatever it announces, no body follows */
    bool keep_alive;
    bool has_length;
    bool chunked;
    uint64_t length;     /* Content-Length, where there is one */
    uint64_t left;
    uint64_t body_bytes; /* of the body so far, without the framing of chunks */

    /* What the body should be; `expected` may be NULL. It is compared as it comes. */
    const char *expected;
    uint64_t expected_bytes;
    int expected_status;
    bool differs;

    size_t line_bytes;   /* of a chunk's size line or a trailer line, kept in `head` */
    size_t head_bytes;
    char head[ANSWER_HEAD_MAX];
    size_t excerpt_bytes;
    char excerpt[ANSWER_EXCERPT_MAX]; /* how a body begins that came with another status */
};

void answer_begin(struct answer *answer, bool to_head, int expected_status, const char *expected,
                  uint64_t expected_bytes);

/* Takes bytes up to the end of the answer; returns how many were its own. */
size_t answer_feed(struct answer *answer, const char *data, size_t count);

/* The connection has ended: true if the answer is whole by that. */
bool answer_end(struct answer *answer);

#endif
