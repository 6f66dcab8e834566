/* The floor below the floor: epoll in C that answers every request with the same few bytes.
 *
 *   responder [bytes of the answer's body, 2]      prints the port it listens on, serves until killed
 *
 * It looks for the end of a head and for Content-Length, skips the body and answers. What the load
 * generator does against it is the generator's own ceiling.
 */
#define _GNU_SOURCE
#include "fail.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4096
#define BUFFER_BYTES (256 << 10)
#define BODY_BYTES_MAX (1 << 20)

struct peer {
    uint64_t body_left;
    size_t kept; /* bytes of an unfinished head in `head` */
    char head[8192];
};

static struct peer *peers[CONNECTIONS_MAX];
static char answer[BODY_BYTES_MAX + 128], buffer[BUFFER_BYTES + sizeof ((struct peer *)0)->head];
static size_t answer_bytes;

static uint64_t content_length(const char *head, size_t count)
{
    static const char name[] = "\r\ncontent-length:";
    for (size_t i = 0; i + sizeof name - 1 < count; i++)
        if (head[i] == '\r' && strncasecmp(head + i, name, sizeof name - 1) == 0)
            return strtoull(head + i + sizeof name - 1, NULL, 10);
    return 0;
}

/* How many requests end within these bytes; what is left of a head is kept. */
static unsigned take(struct peer *peer, const char *data, size_t count)
{
    unsigned complete = 0;
    while (count > 0) {
        if (peer->body_left > 0) {
            size_t taken = count < peer->body_left ? count : (size_t)peer->body_left;
            peer->body_left -= taken, data += taken, count -= taken;
            complete += peer->body_left == 0;
            continue;
        }
        const char *end = memmem(data, count, "\r\n\r\n", 4);
        if (!end)
            break;
        size_t head = (size_t)(end - data) + 4;
        peer->body_left = content_length(data, head);
        data += head, count -= head;
        complete += peer->body_left == 0;
    }
    peer->kept = count;
    if (count > sizeof peer->head)
        fail("a head of more than %zu bytes", sizeof peer->head);
    memcpy(peer->head, data, count);
    return complete;
}

static bool answer_all(int file, unsigned times)
{
    while (times--)
        for (size_t sent = 0; sent < answer_bytes;) {
            ssize_t count = send(file, answer + sent, answer_bytes - sent, MSG_NOSIGNAL);
            if (count < 0)
                return false;
            sent += (size_t)count;
        }
    return true;
}

static void serve(int file)
{
    struct peer *peer = peers[file];
    memcpy(buffer, peer->head, peer->kept);
    ssize_t count = recv(file, buffer + peer->kept, BUFFER_BYTES, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count > 0 && answer_all(file, take(peer, buffer, peer->kept + (size_t)count)))
        return;
    close(file);
    free(peer);
    peers[file] = NULL;
}

static void accept_one(int poll, int listener)
{
    int one = 1, file = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (file < 0 || file >= CONNECTIONS_MAX)
        fail_errno("accept");
    setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    peers[file] = calloc(1, sizeof(struct peer));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
    if (!peers[file] || epoll_ctl(poll, EPOLL_CTL_ADD, file, &event) != 0)
        fail_errno("epoll_ctl");
}

int main(int count, char **arguments)
{
    long body = count > 1 ? atol(arguments[1]) : 2;
    if (body < 0 || body > BODY_BYTES_MAX)
        fail("a body of 0 to %d bytes", BODY_BYTES_MAX);
    int head = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", body);
    memset(answer + head, 'o', (size_t)body);
    answer_bytes = (size_t)(head + body);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), poll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1024) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        fail_errno("listen");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.fd == listener)
                accept_one(poll, listener);
            else
                serve(events[i].data.fd);
    }
}
