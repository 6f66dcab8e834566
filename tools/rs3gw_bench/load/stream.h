/* A non-blocking TCP connection, plain or with TLS where the program was built with OpenSSL. */
#ifndef RS3GW_BENCH_STREAM_H
#define RS3GW_BENCH_STREAM_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream {
    int file; /* -1: closed */
    void *tls;
};

/* Where to connect, and how; `tls` is NULL for plain TCP. */
struct endpoint {
    struct sockaddr_in address;
    const char *host;
    void *tls;
};

/* Results below zero. */
#define STREAM_WANT_READ (-1)
#define STREAM_WANT_WRITE (-2)
#define STREAM_BROKEN (-3)

bool stream_has_tls(void);

/* A client context that trusts the authorities in the PEM file; ends the program on failure. */
void *stream_tls_context(const char *authorities);

/* Begins to connect: 0, or STREAM_BROKEN with the stream closed. */
int stream_connect(struct stream *stream, const struct endpoint *endpoint);

/* To be called when the file is writable, or readable during a handshake, until it gives 0. */
int stream_continue(struct stream *stream);

/* Bytes taken or given, 0 at the end of the connection (receive only), or a result below zero. */
ssize_t stream_send(struct stream *stream, const struct iovec *parts, int count);
ssize_t stream_receive(struct stream *stream, char *buffer, size_t count);

void stream_close(struct stream *stream);

#endif
