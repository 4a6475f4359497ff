/* What the load tools share: addresses, sizes, the clock, sockets, a histogram. Each tool is this header and one file. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define SECOND 1000000000ULL
#define CHUNK (1 << 18)

/* ---- the process ---- */

static volatile sig_atomic_t stopping;

static void on_stop(int signal) {
    (void)signal;
    stopping = 1;
}

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "refused");
    exit(2);
}

/* A tool ends with the runner that started it, however that one ended. */
static void begin(void) {
    struct rlimit limit;
    struct sigaction action = {.sa_handler = on_stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static inline uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static inline void *grab(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) die("memory");
    return memory;
}

/* ---- words ---- */

/* "1k", "256m", "2g", "17"; 1k is 1024. UINT64_MAX when it is none of these. */
static inline uint64_t parse_size(const char *text) {
    char *end;
    if (*text < '0' || *text > '9') return UINT64_MAX;
    uint64_t value = strtoull(text, &end, 10);
    int shift = 0;
    if (*end == 'k' || *end == 'K') shift = 10;
    if (*end == 'm' || *end == 'M') shift = 20;
    if (*end == 'g' || *end == 'G') shift = 30;
    if (shift) end++;
    return *end ? UINT64_MAX : value << shift;
}

static inline int parse_count(const char *text, const char *what) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < 0 || value > 100000000) {
        errno = 0;
        die(what);
    }
    return (int)value;
}

/* "127.2.0.0" or "127.2.0.0+200": that many addresses from the first one. */
struct hosts {
    uint32_t first, count;
};

static inline struct hosts parse_hosts(const char *text) {
    char copy[64];
    struct in_addr address;
    struct hosts hosts = {0, 1};
    snprintf(copy, sizeof copy, "%s", text);
    char *plus = strchr(copy, '+');
    if (plus) {
        *plus = 0;
        hosts.count = (uint32_t)parse_count(plus + 1, "count of addresses");
    }
    errno = 0;
    if (inet_pton(AF_INET, copy, &address) != 1 || !hosts.count) die("address");
    hosts.first = ntohl(address.s_addr);
    return hosts;
}

static inline struct sockaddr_in host_at(struct hosts hosts, uint32_t index, int port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    name.sin_addr.s_addr = htonl(hosts.first + index % hosts.count);
    return name;
}

/* "127.0.0.1:2121" */
static inline struct sockaddr_in parse_endpoint(const char *text) {
    char copy[64];
    snprintf(copy, sizeof copy, "%s", text);
    char *colon = strchr(copy, ':');
    errno = 0;
    if (!colon) die("address:port");
    *colon = 0;
    return host_at(parse_hosts(copy), 0, parse_count(colon + 1, "port"));
}

/* ---- sockets ---- */

static inline int listen_on(struct sockaddr_in name) {
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (void *)&name, sizeof name) || listen(fd, 4096)) die("listen");
    return fd;
}

/* A connect under way, or -1. The kernel picks the port at connect time, so a source is not limited to 28,000 in all. */
static inline int dial(struct sockaddr_in from, struct sockaddr_in to) {
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    from.sin_port = 0;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (!bind(fd, (void *)&from, sizeof from) && (!connect(fd, (void *)&to, sizeof to) || errno == EINPROGRESS)) return fd;
    close(fd);
    return -1;
}

static inline void watch(int epoll, int operation, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event event = {.events = events, .data.u64 = tag};
    if (epoll_ctl(epoll, operation, fd, &event)) die("epoll_ctl");
}

static inline int blocked(void) { return errno == EAGAIN || errno == EINTR; }

/* At most one chunk of what is left, from a buffer that stays in the second-level cache: measured, this costs less than
 * sendfile() from a memory file, whose pages make small fragments. The count sent, or -1 with errno. */
static inline ssize_t send_stock(int to, uint64_t left) {
    static char stock[CHUNK];
    return send(to, stock, left < CHUNK ? left : CHUNK, MSG_NOSIGNAL);
}

/* Received bytes are counted and dropped inside the kernel: the tools must cost less than what they measure. */
static inline ssize_t drop(int fd) {
    static char nowhere[CHUNK];
    return recv(fd, nowhere, CHUNK, MSG_TRUNC);
}

/* ---- histogram of microseconds, three percent wide ---- */

#define STEPS 32
struct histogram {
    uint64_t count, bucket[STEPS * 60];
};

static inline void note(struct histogram *h, uint64_t nanoseconds) {
    uint64_t v = nanoseconds / 1000;
    int shift = v < 2 * STEPS ? 0 : 63 - __builtin_clzll(v) - 5;
    h->bucket[(uint64_t)shift * STEPS + (v >> shift)]++;
    h->count++;
}

/* Microseconds below which `part` (0..1) of the values lie; 0 when there are none. */
static inline uint64_t quantile(const struct histogram *h, double part) {
    uint64_t wanted = (uint64_t)((double)h->count * part), seen = 0;
    for (uint64_t i = 0; h->count && i < STEPS * 60; i++) {
        seen += h->bucket[i];
        if (seen > wanted || seen == h->count) {
            uint64_t shift = i < 2 * STEPS ? 0 : i / STEPS - 1;
            return (i - shift * STEPS) << shift;
        }
    }
    return 0;
}

#endif
