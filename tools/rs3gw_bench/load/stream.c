#define _GNU_SOURCE
#include "stream.h"

#include "fail.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

static int tls_result(SSL *tls, int result)
{
    switch (SSL_get_error(tls, result)) {
    case SSL_ERROR_WANT_READ:
        return STREAM_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return STREAM_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        ERR_clear_error();
        return STREAM_BROKEN;
    }
}

void *stream_tls_context(const char *authorities)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context)
        fail("OpenSSL gives no context");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    int trusted = authorities ? SSL_CTX_load_verify_locations(context, authorities, NULL)
                              : SSL_CTX_set_default_verify_paths(context);
    if (trusted != 1)
        fail("no certificates in %s", authorities ? authorities : "the system's store");
    return context;
}

static void *tls_begin(const struct endpoint *endpoint, int file)
{
    SSL *tls = SSL_new(endpoint->tls);
    if (!tls || SSL_set_fd(tls, file) != 1 || SSL_set1_host(tls, endpoint->host) != 1 ||
        SSL_set_tlsext_host_name(tls, endpoint->host) != 1)
        fail("OpenSSL gives no connection");
    SSL_set_connect_state(tls);
    return tls;
}

static int tls_continue(void *tls)
{
    int result = SSL_do_handshake(tls);
    if (result == 1)
        return 0;
    result = tls_result(tls, result);
    return result == 0 ? STREAM_BROKEN : result;
}

static ssize_t tls_send(void *tls, const struct iovec *part)
{
    size_t count = part->iov_len < (1u << 20) ? part->iov_len : (1u << 20);
    int result = SSL_write(tls, part->iov_base, (int)count);
    if (result > 0)
        return result;
    result = tls_result(tls, result);
    return result == 0 ? STREAM_BROKEN : result;
}

static ssize_t tls_receive(void *tls, char *buffer, size_t count)
{
    int result = SSL_read(tls, buffer, (int)count);
    return result > 0 ? result : tls_result(tls, result);
}

static void tls_end(void *tls) { SSL_free(tls); }
bool stream_has_tls(void) { return true; }

#else

void *stream_tls_context(const char *authorities)
{
    (void)authorities;
    fail("built without OpenSSL; apt-get install libssl-dev");
}

static void *tls_begin(const struct endpoint *endpoint, int file)
{
    (void)endpoint, (void)file;
    return NULL;
}

static int tls_continue(void *tls) { return tls ? STREAM_BROKEN : 0; }
static ssize_t tls_send(void *tls, const struct iovec *part) { return (void)tls, (void)part, STREAM_BROKEN; }
static ssize_t tls_receive(void *tls, char *buffer, size_t count) { return (void)tls, (void)buffer, (void)count, STREAM_BROKEN; }
static void tls_end(void *tls) { (void)tls; }
bool stream_has_tls(void) { return false; }

#endif

int stream_connect(struct stream *stream, const struct endpoint *endpoint)
{
    int one = 1;
    stream->tls = NULL;
    stream->file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (stream->file < 0)
        fail_errno("socket");
    setsockopt(stream->file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(stream->file, (const struct sockaddr *)&endpoint->address,
                sizeof endpoint->address) != 0 &&
        errno != EINPROGRESS) {
        stream_close(stream);
        return STREAM_BROKEN;
    }
    if (endpoint->tls)
        stream->tls = tls_begin(endpoint, stream->file);
    return 0;
}

int stream_continue(struct stream *stream)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(stream->file, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error)
        return STREAM_BROKEN;
    return stream->tls ? tls_continue(stream->tls) : 0;
}

ssize_t stream_send(struct stream *stream, const struct iovec *parts, int count)
{
    if (stream->tls)
        return tls_send(stream->tls, parts);
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(stream->file, &message, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EINTR ? STREAM_WANT_WRITE : STREAM_BROKEN;
}

ssize_t stream_receive(struct stream *stream, char *buffer, size_t count)
{
    if (stream->tls)
        return tls_receive(stream->tls, buffer, count);
    ssize_t received = recv(stream->file, buffer, count, 0);
    if (received >= 0)
        return received;
    return errno == EAGAIN || errno == EINTR ? STREAM_WANT_READ : STREAM_BROKEN;
}

void stream_close(struct stream *stream)
{
    if (stream->tls)
        tls_end(stream->tls);
    if (stream->file >= 0)
        close(stream->file);
    stream->tls = NULL;
    stream->file = -1;
}
