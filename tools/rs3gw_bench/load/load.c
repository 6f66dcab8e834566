/* The load generator: sends requests that were built and signed beforehand and checks what comes.
 *
 *   load --address 127.0.0.1:9000 --requests FILE [options]     results on standard output, as JSON
 *   load --self-test-histogram                                  values on standard input
 *
 * It knows neither S3 nor signatures; one thread, one epoll, nothing allocated while it runs.
 */
#define _GNU_SOURCE
#include "fail.h"
#include "run.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>

static const double shares[] = {0.5, 0.9, 0.99, 0.999};
static const char *const share_names[] = {"p50", "p90", "p99", "p999"};
#define SHARES (sizeof shares / sizeof *shares)

static void print_latency(const struct histogram *histogram)
{
    double mean = histogram->count ? (double)histogram->sum / (double)histogram->count : 0;
    printf("{\"count\":%" PRIu64 ",\"min\":%" PRIu64 ",\"mean\":%.0f", histogram->count,
           histogram->least, mean);
    for (size_t i = 0; i < SHARES; i++)
        printf(",\"%s\":%" PRIu64, share_names[i], histogram_quantile(histogram, shares[i]));
    printf(",\"max\":%" PRIu64 "}", histogram->greatest);
}

static void print_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else if (byte < 32 || byte > 126)
            printf("\\u%04x", byte);
        else
            putchar(byte);
    }
    putchar('"');
}

static void print_result(const struct run_result *result, const struct requests *requests)
{
    struct histogram *all = calloc(1, sizeof *all);
    if (!all)
        fail("no memory");
    for (unsigned i = 0; i < requests->kinds; i++)
        histogram_add(all, &result->kinds[i]);
    printf("{\"good\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"slow_down\":%" PRIu64 ",\"unsent\":%" PRIu64
           ",\"reconnects\":%" PRIu64 ",\"not_kept\":%" PRIu64 ",\"bytes_sent\":%" PRIu64
           ",\"bytes_received\":%" PRIu64 ",\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"errors\":{",
           result->good, result->sent, result->slow_down, result->unsent, result->reconnects,
           result->not_kept, result->bytes_sent, result->bytes_received, result->seconds,
           result->cpu_seconds);
    for (int i = 0; i < ERROR_KINDS; i++)
        printf("%s\"%s\":%" PRIu64, i ? "," : "", run_error_names[i], result->errors[i]);
    printf("},\"sample\":");
    print_string(result->sample);
    printf(",\"latency_ns\":");
    print_latency(all);
    printf(",\"kinds\":{");
    for (unsigned i = 0; i < requests->kinds; i++) {
        putchar(i ? ',' : ' ');
        print_string(requests->names[i]);
        putchar(':');
        print_latency(&result->kinds[i]);
    }
    printf("}}\n");
    free(all);
}

/* Reads values, one to a line, and prints what the histogram makes of them. */
static int self_test_histogram(void)
{
    struct histogram *histogram = calloc(1, sizeof *histogram);
    uint64_t value;
    if (!histogram)
        fail("no memory");
    printf("{\"buckets\":[");
    for (int count = 0; scanf("%" SCNu64, &value) == 1; count++) {
        unsigned index = histogram_index(value);
        printf("%s[%u,%" PRIu64 "]", count ? "," : "", index, histogram_upper(index));
        histogram_record(histogram, value);
    }
    printf("],\"latency_ns\":");
    print_latency(histogram);
    printf("}\n");
    free(histogram);
    return 0;
}

static struct sockaddr_in read_address(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strrchr(text, ':');
    char host[64];
    if (!colon || (size_t)(colon - text) >= sizeof host)
        fail("%s: not an address of the form 127.0.0.1:9000", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    int port = atoi(colon + 1);
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || port < 1 || port > 65535)
        fail("%s: not an address of the form 127.0.0.1:9000", text);
    address.sin_port = htons((uint16_t)port);
    return address;
}

static double read_number(const char *text, double least, double most)
{
    char *end;
    double number = strtod(text, &end);
    if (*end || end == text || number < least || number > most)
        fail("%s: not a number from %g to %g", text, least, most);
    return number;
}

static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        fail_errno("sched_setaffinity");
}

static const struct option option_table[] = {
    {"address", required_argument, NULL, 'a'},  {"requests", required_argument, NULL, 'f'},
    {"connections", required_argument, NULL, 'c'}, {"seconds", required_argument, NULL, 's'},
    {"warmup", required_argument, NULL, 'w'},   {"timeout", required_argument, NULL, 't'},
    {"limit", required_argument, NULL, 'n'},    {"rate", required_argument, NULL, 'r'},
    {"core", required_argument, NULL, 'p'},     {"tls-authorities", required_argument, NULL, 'A'},
    {"tls-host", required_argument, NULL, 'H'}, {"has-tls", no_argument, NULL, 'T'},
    {"self-test-histogram", no_argument, NULL, 'S'}, {NULL, 0, NULL, 0},
};

int main(int count, char **arguments)
{
    struct run_options options = {.connections = 1, .seconds = 1, .timeout_seconds = 30};
    const char *file = NULL, *authorities = NULL;
    for (int option; (option = getopt_long(count, arguments, "", option_table, NULL)) != -1;) {
        switch (option) {
        case 'a': options.endpoint.address = read_address(optarg); break;
        case 'f': file = optarg; break;
        case 'c': options.connections = (unsigned)read_number(optarg, 1, 10000); break;
        case 's': options.seconds = read_number(optarg, 0.01, 86400); break;
        case 'w': options.warmup_seconds = read_number(optarg, 0, 3600); break;
        case 't': options.timeout_seconds = read_number(optarg, 0.1, 3600); break;
        case 'n': options.requests_max = (uint64_t)read_number(optarg, 1, 1e15); break;
        case 'r': options.rate = read_number(optarg, 0.1, 1e7); break;
        case 'p': pin((int)read_number(optarg, 0, 1023)); break;
        case 'A': authorities = optarg; break;
        case 'H': options.endpoint.host = optarg; break;
        case 'T': return stream_has_tls() ? 0 : 1;
        case 'S': return self_test_histogram();
        default: return 2;
        }
    }
    if (!file || !options.endpoint.address.sin_port)
        fail("--address and --requests are needed");
    if (options.endpoint.host)
        options.endpoint.tls = stream_tls_context(authorities);
    struct requests requests = requests_open(file);
    print_result(run(&options, &requests), &requests);
    return 0;
}
