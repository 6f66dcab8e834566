#define _GNU_SOURCE
#include "answer.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void answer_begin(struct answer *answer, bool to_head, int expected_status, const char *expected,
                  uint64_t expected_bytes)
{
    memset(answer, 0, offsetof(struct answer, head));
    answer->to_head = to_head;
    answer->expected_status = expected_status;
    answer->expected = expected;
    answer->expected_bytes = expected_bytes;
    answer->excerpt_bytes = 0;
}

static void take_body(struct answer *answer, const char *data, size_t count)
{
    if (answer->status != answer->expected_status) {
        size_t room = ANSWER_EXCERPT_MAX - answer->excerpt_bytes;
        size_t taken = count < room ? count : room;
        memcpy(answer->excerpt + answer->excerpt_bytes, data, taken);
        answer->excerpt_bytes += taken;
    } else if (answer->expected) {
        if (answer->body_bytes + count > answer->expected_bytes ||
            memcmp(answer->expected + answer->body_bytes, data, count) != 0)
            answer->differs = true;
    }
    answer->body_bytes += count;
}

static bool read_decimal(const char *text, size_t count, uint64_t *number)
{
    if (count == 0 || count > 18)
        return false;
    *number = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        *number = *number * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static bool is_token(const char *value, size_t count, const char *token)
{
    return count == strlen(token) && strncasecmp(value, token, count) == 0;
}

/* One header line without its end; false if it cannot be. */
static bool take_header(struct answer *answer, const char *line, size_t count)
{
    const char *colon = memchr(line, ':', count);
    if (!colon || colon == line)
        return false;
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1, *end = line + count;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t length = (size_t)(end - value);
    if (is_token(line, name, "content-length")) {
        uint64_t number;
        if (!read_decimal(value, length, &number))
            return false;
        if (answer->has_length && answer->length != number)
            return false;
        answer->has_length = true;
        answer->length = number;
    } else if (is_token(line, name, "transfer-encoding")) {
        if (!is_token(value, length, "chunked"))
            return false;
        answer->chunked = true;
    } else if (is_token(line, name, "connection")) {
        if (is_token(value, length, "close"))
            answer->keep_alive = false;
        else if (is_token(value, length, "keep-alive"))
            answer->keep_alive = true;
    }
    return true;
}

static bool take_status_line(struct answer *answer, const char *line, size_t count)
{
    if (count < 12 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ')
        return false;
    if (line[7] != '0' && line[7] != '1')
        return false;
    for (int i = 9; i < 12; i++)
        if (!isdigit((unsigned char)line[i]))
            return false;
    if (count > 12 && line[12] != ' ')
        return false;
    answer->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    answer->keep_alive = line[7] == '1';
    return answer->status >= 100;
}

static enum answer_state state_after_head(struct answer *answer)
{
    if (answer->status < 200) {
        answer->has_length = answer->chunked = false;
        return ANSWER_HEAD;
    }
    if (answer->has_length && answer->chunked)
        return ANSWER_MALFORMED;
    if (answer->to_head || answer->status == 204 || answer->status == 304)
        return ANSWER_DONE;
    if (answer->chunked)
        return ANSWER_CHUNK_SIZE;
    if (answer->has_length) {
        answer->left = answer->length;
        return answer->left ? ANSWER_BODY : ANSWER_DONE;
    }
    answer->keep_alive = false;
    return ANSWER_UNTIL_END;
}

/* A whole head with the empty line at its end. */
static enum answer_state take_head(struct answer *answer, const char *head, size_t count)
{
    const char *end = head + count - 2; /* before the empty line */
    bool first = true;
    while (head < end) {
        const char *stop = memmem(head, (size_t)(end - head), "\r\n", 2);
        if (!stop)
            return ANSWER_MALFORMED;
        size_t line = (size_t)(stop - head);
        bool taken = first ? take_status_line(answer, head, line) : take_header(answer, head, line);
        if (!taken)
            return ANSWER_MALFORMED;
        first = false;
        head = stop + 2;
    }
    return first ? ANSWER_MALFORMED : state_after_head(answer);
}

static size_t feed_head(struct answer *answer, const char *data, size_t count)
{
    if (answer->head_bytes == 0) { /* Nearly always the head comes whole. */
        const char *end = memmem(data, count, "\r\n\r\n", 4);
        if (end && (size_t)(end - data) + 4 <= ANSWER_HEAD_MAX) {
            size_t whole = (size_t)(end - data) + 4;
            answer->state = take_head(answer, data, whole);
            return whole;
        }
    }
    size_t room = ANSWER_HEAD_MAX - answer->head_bytes, before = answer->head_bytes;
    size_t taken = count < room ? count : room;
    memcpy(answer->head + before, data, taken);
    size_t from = before < 3 ? 0 : before - 3;
    const char *end = memmem(answer->head + from, before + taken - from, "\r\n\r\n", 4);
    if (!end) {
        answer->head_bytes += taken;
        if (answer->head_bytes == ANSWER_HEAD_MAX)
            answer->state = ANSWER_MALFORMED;
        return taken;
    }
    size_t whole = (size_t)(end - answer->head) + 4;
    answer->head_bytes = 0;
    answer->state = take_head(answer, answer->head, whole);
    return whole - before;
}

/* Gathers a line in `head`; returns what it took, and whether the line is whole in `*whole`. */
static size_t feed_line(struct answer *answer, const char *data, size_t count, bool *whole)
{
    const char *end = memchr(data, '\n', count);
    size_t taken = end ? (size_t)(end - data) + 1 : count;
    *whole = end != NULL;
    if (answer->line_bytes + taken > ANSWER_HEAD_MAX) {
        answer->state = ANSWER_MALFORMED;
        *whole = false;
        return taken;
    }
    memcpy(answer->head + answer->line_bytes, data, taken);
    answer->line_bytes += taken;
    if (*whole && (answer->line_bytes < 2 || answer->head[answer->line_bytes - 2] != '\r')) {
        answer->state = ANSWER_MALFORMED;
        *whole = false;
    }
    return taken;
}

static enum answer_state state_after_size(struct answer *answer)
{
    uint64_t size = 0;
    size_t digits = 0;
    for (; digits < answer->line_bytes && isxdigit((unsigned char)answer->head[digits]); digits++) {
        char digit = (char)tolower((unsigned char)answer->head[digits]);
        size = size * 16 + (uint64_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    char after = answer->head[digits];
    if (digits == 0 || digits > 15 || (after != '\r' && after != ';' && after != ' '))
        return ANSWER_MALFORMED;
    answer->left = size;
    return size ? ANSWER_CHUNK : ANSWER_TRAILERS;
}

/* The line end behind a chunk, which is wrong from its first wrong byte. */
static size_t feed_chunk_end(struct answer *answer, const char *data)
{
    if (data[0] != "\r\n"[answer->line_bytes])
        answer->state = ANSWER_MALFORMED;
    else if (++answer->line_bytes == 2) {
        answer->line_bytes = 0;
        answer->state = ANSWER_CHUNK_SIZE;
    }
    return 1;
}

static size_t feed_framing(struct answer *answer, const char *data, size_t count)
{
    bool whole;
    size_t taken = feed_line(answer, data, count, &whole);
    if (!whole)
        return taken;
    if (answer->state == ANSWER_CHUNK_SIZE)
        answer->state = state_after_size(answer);
    else if (answer->line_bytes == 2)
        answer->state = ANSWER_DONE;
    answer->line_bytes = 0;
    return taken;
}

static size_t feed_counted(struct answer *answer, const char *data, size_t count)
{
    size_t taken = count < answer->left ? count : (size_t)answer->left;
    take_body(answer, data, taken);
    answer->left -= taken;
    if (answer->left == 0)
        answer->state = answer->state == ANSWER_BODY ? ANSWER_DONE : ANSWER_CHUNK_END;
    return taken;
}

size_t answer_feed(struct answer *answer, const char *data, size_t count)
{
    size_t used = 0;
    while (used < count && answer->state != ANSWER_DONE && answer->state != ANSWER_MALFORMED) {
        const char *rest = data + used;
        switch (answer->state) {
        case ANSWER_HEAD:
            used += feed_head(answer, rest, count - used);
            break;
        case ANSWER_BODY:
        case ANSWER_CHUNK:
            used += feed_counted(answer, rest, count - used);
            break;
        case ANSWER_CHUNK_END:
            used += feed_chunk_end(answer, rest);
            break;
        case ANSWER_UNTIL_END:
            take_body(answer, rest, count - used);
            used = count;
            break;
        default:
            used += feed_framing(answer, rest, count - used);
        }
    }
    return used;
}

bool answer_end(struct answer *answer)
{
    if (answer->state == ANSWER_UNTIL_END)
        answer->state = ANSWER_DONE;
    return answer->state == ANSWER_DONE;
}
