/* Closed loop: each connection sends its next request when its answer is whole.
 *
 * Open loop: request i is due at start + i / rate, whatever the server does. It goes out on the
 * first connection that is free, and its latency counts from when it was due, so that a server
 * that stalls is charged for all who would have come meanwhile (Gil Tene's "coordinated
 * omission"). Requests due in the window and never begun enter with the time they had waited when
 * the window closed, and are counted as `unsent`.
 *
 * The warm-up is sent and checked like the rest, but not measured. Answers that come after the
 * window count for latency and not for the rate.
 */
#define _GNU_SOURCE
#include "run.h"

#include "answer.h"
#include "fail.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#define NS 1000000000ull
#define BUFFER_BYTES (256u << 10)
#define EVENTS 256
#define PATROL_NS (100 * NS / 1000) /* how often time-outs and refused connections are looked at */
#define SPIN_NS (60 * NS / 1000000) /* what a sleep may come too late by */

const char *const run_error_names[ERROR_KINDS] = {
    "connect", "closed", "malformed", "status", "length", "body", "timeout",
};

enum connection_state { CLOSED, CONNECTING, IDLE, BUSY };

struct connection {
    struct stream stream;
    enum connection_state state;
    uint32_t events;               /* what epoll watches it for */
    const struct request *request; /* NULL: none */
    uint64_t due, begun, retry_at; /* in ns of the monotonic clock */
    uint64_t sent;                 /* of head and body */
    bool cannot_send;
    struct answer answer;
};

struct runner {
    const struct run_options *options;
    const struct requests *requests;
    struct run_result *result;
    int poll;
    struct connection *connections, **free;
    unsigned free_count, active;
    uint64_t measured_from, ends, next_due, interval;
    uint64_t next_patrol, last_good;
    char *buffer;
};

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS + (uint64_t)time.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static bool may_begin(const struct runner *runner, uint64_t now)
{
    uint64_t most = runner->options->requests_max;
    return now < runner->ends && (most == 0 || runner->result->sent < most);
}

static void watch(struct runner *runner, struct connection *connection, uint32_t events)
{
    if (connection->events == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = connection};
    int operation = connection->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(runner->poll, operation, connection->stream.file, &event) != 0)
        fail_errno("epoll_ctl");
    connection->events = events;
}

static void drop_connection(struct connection *connection)
{
    stream_close(&connection->stream); /* which ends the watch, too */
    connection->events = 0;
    connection->state = CLOSED;
}

static void note_sample(struct runner *runner, const struct connection *connection,
                        const char *kind)
{
    char *sample = runner->result->sample;
    if (sample[0])
        return;
    const struct answer *answer = &connection->answer;
    int used = snprintf(sample, RUN_SAMPLE_MAX, "%s", kind);
    if (connection->request && answer->status)
        snprintf(sample + used, RUN_SAMPLE_MAX - (size_t)used,
                 ": status %d (expected %d), %llu bytes of body; request %.60s; answer %.*s", answer->status,
                 answer->expected_status, (unsigned long long)answer->body_bytes,
                 runner->requests->heads + connection->request->head_offset,
                 (int)(answer->excerpt_bytes < 250 ? answer->excerpt_bytes : 250), answer->excerpt);
}

static void begin(struct runner *runner, struct connection *connection, uint64_t due, uint64_t now);

/* The connection is without a request: it gets its next one, or waits for one to be due. */
static void next(struct runner *runner, struct connection *connection, uint64_t now)
{
    connection->request = NULL;
    runner->active--;
    if (runner->options->rate > 0)
        runner->free[runner->free_count++] = connection;
    else if (connection->retry_at <= now && may_begin(runner, now))
        begin(runner, connection, now, now);
}

static void fail_request(struct runner *runner, struct connection *connection, enum run_error kind)
{
    uint64_t now = now_ns();
    runner->result->errors[kind]++;
    note_sample(runner, connection, run_error_names[kind]);
    drop_connection(connection);
    /* A port where nobody listens is not to be asked a hundred thousand times a second. */
    connection->retry_at = kind == ERROR_CONNECT ? now + PATROL_NS : 0;
    next(runner, connection, now);
}

static bool is_slow_down(const struct answer *answer)
{
    return answer->status == 503 &&
           (answer->body_bytes == 0 ||
            memmem(answer->excerpt, answer->excerpt_bytes, "SlowDown", 8) != NULL);
}

static enum run_error judge(const struct request *request, const struct answer *answer)
{
    if (answer->status != request->status)
        return ERROR_STATUS;
    uint64_t length = answer->has_length ? answer->length : answer->body_bytes;
    bool unsaid = answer->to_head && !answer->has_length;
    if (request->flags & REQUEST_LENGTH && (unsaid || length != request->expected_bytes))
        return ERROR_LENGTH;
    if (request->flags & REQUEST_COMPARE &&
        (answer->differs || answer->body_bytes != request->expected_bytes))
        return ERROR_BODY;
    return ERROR_KINDS;
}

static void complete(struct runner *runner, struct connection *connection)
{
    const struct request *request = connection->request;
    const struct answer *answer = &connection->answer;
    struct run_result *result = runner->result;
    uint64_t now = now_ns();
    enum run_error error = judge(request, answer);
    if (error == ERROR_STATUS && is_slow_down(answer)) {
        result->slow_down++;
        note_sample(runner, connection, "slow_down");
    } else if (error != ERROR_KINDS) {
        result->errors[error]++;
        note_sample(runner, connection, run_error_names[error]);
    } else if (connection->due >= runner->measured_from) {
        histogram_record(&result->kinds[request->kind], now - connection->due);
        if (now < runner->ends) {
            result->good++;
            runner->last_good = now;
        }
    } else if (now >= runner->measured_from && now < runner->ends) {
        result->good++;
        runner->last_good = now;
    }
    if (!answer->keep_alive)
        result->not_kept++;
    bool is_sent = connection->sent == request->head_bytes + request->body_bytes;
    if (answer->keep_alive && is_sent)
        connection->state = IDLE;
    else
        drop_connection(connection);
    connection->retry_at = 0;
    next(runner, connection, now);
}

static void send_rest(struct runner *runner, struct connection *connection)
{
    const struct request *request = connection->request;
    uint64_t whole = request->head_bytes + request->body_bytes;
    while (connection->sent < whole && !connection->cannot_send) {
        struct iovec parts[2];
        int count = 0;
        uint64_t from = connection->sent;
        if (from < request->head_bytes) {
            const char *head = runner->requests->heads + request->head_offset;
            parts[count++] = (struct iovec){(char *)head + from, request->head_bytes - from};
            from = request->head_bytes;
        }
        if (from < whole) {
            const char *body = runner->requests->pool + request->body_offset;
            parts[count++] =
                (struct iovec){(char *)body + (from - request->head_bytes), whole - from};
        }
        ssize_t sent = stream_send(&connection->stream, parts, count);
        if (sent == STREAM_WANT_READ || sent == STREAM_WANT_WRITE) {
            watch(runner, connection, EPOLLIN | EPOLLOUT);
            return;
        }
        /* A server may answer and close before it has read everything: what came is read. */
        if (sent < 0)
            connection->cannot_send = true;
        else {
            connection->sent += (uint64_t)sent;
            runner->result->bytes_sent += (uint64_t)sent;
        }
    }
    watch(runner, connection, EPOLLIN);
}

static void proceed(struct runner *runner, struct connection *connection)
{
    int state = stream_continue(&connection->stream);
    if (state == STREAM_WANT_READ)
        watch(runner, connection, EPOLLIN);
    else if (state == STREAM_WANT_WRITE)
        watch(runner, connection, EPOLLOUT);
    else if (state == STREAM_BROKEN)
        fail_request(runner, connection, ERROR_CONNECT);
    else {
        connection->state = BUSY;
        send_rest(runner, connection);
    }
}

static void begin(struct runner *runner, struct connection *connection, uint64_t due, uint64_t now)
{
    const struct requests *requests = runner->requests;
    const struct request *request = &requests->records[runner->result->sent % requests->count];
    runner->result->sent++;
    runner->active++;
    connection->request = request;
    connection->due = due;
    connection->begun = now;
    connection->sent = 0;
    connection->cannot_send = false;
    answer_begin(&connection->answer, request->flags & REQUEST_HEAD, request->status,
                 request->flags & REQUEST_COMPARE ? requests->pool + request->expected_offset
                                                  : NULL,
                 request->expected_bytes);
    if (connection->state == IDLE) {
        connection->state = BUSY;
        send_rest(runner, connection);
    } else if (stream_connect(&connection->stream, &runner->options->endpoint) != 0) {
        fail_request(runner, connection, ERROR_CONNECT);
    } else {
        connection->state = CONNECTING;
        watch(runner, connection, EPOLLOUT);
    }
}

static void take_end(struct runner *runner, struct connection *connection, bool is_clean)
{
    if (connection->state == IDLE) {
        runner->result->reconnects++;
        drop_connection(connection);
    } else if (is_clean && answer_end(&connection->answer)) {
        complete(runner, connection);
    } else {
        fail_request(runner, connection, ERROR_CLOSED);
    }
}

/* Takes what has arrived; false once nothing more is to be read now. */
static bool receive_some(struct runner *runner, struct connection *connection)
{
    ssize_t count = stream_receive(&connection->stream, runner->buffer, BUFFER_BYTES);
    if (count == STREAM_WANT_READ || count == STREAM_WANT_WRITE)
        return false;
    if (count <= 0) {
        take_end(runner, connection, count == 0);
        return false;
    }
    runner->result->bytes_received += (uint64_t)count;
    if (connection->state == IDLE) { /* An answer to nothing. */
        runner->result->errors[ERROR_MALFORMED]++;
        note_sample(runner, connection, "an answer to nothing");
        drop_connection(connection);
        return false;
    }
    struct answer *answer = &connection->answer;
    size_t used = answer_feed(answer, runner->buffer, (size_t)count);
    if (answer->state == ANSWER_MALFORMED || used < (size_t)count)
        fail_request(runner, connection, ERROR_MALFORMED);
    else if (answer->state == ANSWER_DONE)
        complete(runner, connection);
    /* OpenSSL may hold bytes that epoll does not see. */
    return connection->stream.tls && connection->state >= IDLE;
}

static void take_event(struct runner *runner, struct connection *connection, uint32_t events)
{
    if (connection->state == CONNECTING) {
        proceed(runner, connection);
        return;
    }
    if (connection->state == BUSY && connection->events & EPOLLOUT)
        send_rest(runner, connection);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && connection->state >= IDLE)
        while (receive_some(runner, connection))
            ;
}

static void begin_due(struct runner *runner, uint64_t now)
{
    while (runner->next_due <= now && runner->free_count > 0 && may_begin(runner, now)) {
        uint64_t due = runner->next_due;
        runner->next_due += runner->interval;
        begin(runner, runner->free[--runner->free_count], due, now);
    }
}

/* Every now and then: who has waited too long, and who may try to connect again. */
static void patrol(struct runner *runner, uint64_t now)
{
    uint64_t patience = (uint64_t)(runner->options->timeout_seconds * (double)NS);
    runner->next_patrol = now + PATROL_NS;
    for (unsigned i = 0; i < runner->options->connections; i++) {
        struct connection *connection = &runner->connections[i];
        if (connection->request) {
            if (now - connection->begun > patience)
                fail_request(runner, connection, ERROR_TIMEOUT);
        } else if (runner->options->rate == 0 && may_begin(runner, now)) {
            begin(runner, connection, now, now);
        }
    }
}

static void wait_events(struct runner *runner, uint64_t now)
{
    struct epoll_event events[EVENTS];
    uint64_t until = runner->next_patrol;
    if (now < runner->ends && runner->ends < until)
        until = runner->ends;
    if (runner->options->rate > 0 && runner->free_count > 0 && may_begin(runner, now)) {
        uint64_t due = runner->next_due > SPIN_NS ? runner->next_due - SPIN_NS : 0;
        until = due < until ? due : until;
    }
    uint64_t wait = until > now ? until - now : 0;
    struct timespec timeout = {(time_t)(wait / NS), (long)(wait % NS)};
    int count = epoll_pwait2(runner->poll, events, EVENTS, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        fail_errno("epoll_pwait2");
    for (int i = 0; i < count; i++)
        take_event(runner, events[i].data.ptr, events[i].events);
}

/* Open loop: those who never got a connection had waited this long at least. */
static void charge_unsent(struct runner *runner)
{
    for (; runner->next_due < runner->ends; runner->next_due += runner->interval) {
        uint64_t index = runner->result->sent + runner->result->unsent++;
        const struct request *request =
            &runner->requests->records[index % runner->requests->count];
        if (runner->next_due >= runner->measured_from)
            histogram_record(&runner->result->kinds[request->kind],
                             runner->ends - runner->next_due);
    }
}

static void loop(struct runner *runner)
{
    struct run_result *result = runner->result;
    double cpu_at_start = -1, cpu_at_end = -1;
    uint64_t now = now_ns();
    for (;; now = now_ns()) {
        if (cpu_at_start < 0 && now >= runner->measured_from)
            cpu_at_start = cpu_seconds();
        if (cpu_at_end < 0 && now >= runner->ends)
            cpu_at_end = cpu_seconds();
        if (runner->options->rate > 0)
            begin_due(runner, now);
        if (!may_begin(runner, now) && runner->active == 0)
            break;
        if (now >= runner->next_patrol)
            patrol(runner, now);
        wait_events(runner, now);
    }
    if (cpu_at_end < 0)
        cpu_at_end = cpu_seconds();
    result->cpu_seconds = cpu_at_start < 0 ? 0 : cpu_at_end - cpu_at_start;
    /* A run that ends by its count ends with its last good answer. */
    uint64_t end = now < runner->ends ? runner->last_good : runner->ends;
    result->seconds =
        end > runner->measured_from ? (double)(end - runner->measured_from) / (double)NS : 0;
    if (runner->options->rate > 0 && runner->options->requests_max == 0)
        charge_unsent(runner);
}

struct run_result *run(const struct run_options *options, const struct requests *requests)
{
    struct runner runner = {
        .options = options,
        .requests = requests,
        .result = calloc(1, sizeof(struct run_result)),
        .poll = epoll_create1(EPOLL_CLOEXEC),
        .connections = calloc(options->connections, sizeof(struct connection)),
        .free = calloc(options->connections, sizeof(struct connection *)),
        .buffer = malloc(BUFFER_BYTES),
    };
    if (runner.poll < 0 || !runner.result || !runner.connections || !runner.free || !runner.buffer)
        fail("no memory, or no epoll");
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL. */
    prctl(PR_SET_TIMERSLACK, 1);
    for (unsigned i = 0; i < options->connections; i++) {
        runner.connections[i].stream.file = -1;
        runner.free[options->connections - 1 - i] = &runner.connections[i];
    }
    runner.free_count = options->rate > 0 ? options->connections : 0;
    uint64_t start = now_ns();
    runner.measured_from = start + (uint64_t)(options->warmup_seconds * (double)NS);
    runner.ends = runner.measured_from + (uint64_t)(options->seconds * (double)NS);
    runner.next_due = start;
    runner.interval = options->rate > 0 ? (uint64_t)((double)NS / options->rate) : 0;
    loop(&runner);
    for (unsigned i = 0; i < options->connections; i++)
        if (runner.connections[i].state != CLOSED)
            drop_connection(&runner.connections[i]);
    return runner.result;
}
