/* tcpclient -d ADDRESS:PORT -s FIRST+COUNT -c CONCURRENT (-t SECONDS | -n TOTAL) [-b BYTES]
 * Connects, reads BYTES (64) and the end, closes, again. One JSON line at the end. */
#include "common.h"

#define PATIENCE (10 * SECOND)

struct exchange {
    int fd, got;
    uint64_t started;
};

static struct exchange *exchanges;
static struct sockaddr_in target;
static struct hosts sources;
static struct histogram first_byte, whole;
static int epoll, concurrent = 50, bytes = 64, open_now;
static uint64_t total = UINT64_MAX, deadline = UINT64_MAX, started, done, refused, failed, short_read, stuck;
static uint32_t next_source;

static void start(struct exchange *e) {
    e->fd = -1;
    while (started < total && now() < deadline && !stopping) {
        started++;
        e->got = 0;
        e->started = now();
        e->fd = dial(host_at(sources, next_source++, 0), target);
        if (e->fd >= 0) {
            watch(epoll, EPOLL_CTL_ADD, e->fd, EPOLLIN | EPOLLRDHUP, (uint64_t)(e - exchanges));
            open_now++;
            return;
        }
        refused++;
        if (refused > 1000 && refused > done) die("connect");
    }
}

static void finish(struct exchange *e) {
    close(e->fd);
    open_now--;
    start(e);
}

static void progress(struct exchange *e) {
    char buffer[4096];
    for (;;) {
        ssize_t got = recv(e->fd, buffer, sizeof buffer, 0);
        if (got < 0 && blocked()) return;
        if (got < 0) failed++;
        if (got == 0 && e->got != bytes) short_read++;
        if (got == 0 && e->got == bytes) {
            done++;
            note(&whole, now() - e->started);
        }
        if (got <= 0) {
            finish(e);
            return;
        }
        if (!e->got) note(&first_byte, now() - e->started);
        e->got += (int)got;
    }
}

static void give_up_on_the_stuck(uint64_t time) {
    for (int i = 0; i < concurrent; i++) {
        if (exchanges[i].fd >= 0 && time - exchanges[i].started > PATIENCE) {
            stuck++;
            finish(&exchanges[i]);
        }
    }
}

static void run(void) {
    struct epoll_event events[EVENTS];
    uint64_t swept = now();
    for (int i = 0; i < concurrent; i++) start(&exchanges[i]);
    while (open_now && !stopping) {
        int count = epoll_wait(epoll, events, EVENTS, 1000);
        for (int i = 0; i < count; i++) progress(&exchanges[events[i].data.u64]);
        uint64_t time = now();
        if (time - swept > SECOND) give_up_on_the_stuck(swept = time);
    }
}

static void options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "d:s:c:t:n:b:")) != -1) {
        if (option == 'd') target = parse_endpoint(optarg);
        else if (option == 's') sources = parse_hosts(optarg);
        else if (option == 'c') concurrent = parse_count(optarg, "concurrent");
        else if (option == 't') deadline = now() + (uint64_t)(atof(optarg) * SECOND);
        else if (option == 'n') total = (uint64_t)parse_count(optarg, "total");
        else if (option == 'b') bytes = parse_count(optarg, "bytes");
        else exit(2);
    }
    errno = 0;
    if (!target.sin_port || !sources.count || !concurrent || (total == UINT64_MAX && deadline == UINT64_MAX))
        die("usage: tcpclient -d ADDRESS:PORT -s FIRST+COUNT -c CONCURRENT (-t SECONDS | -n TOTAL) [-b BYTES]");
}

int main(int argc, char **argv) {
    begin();
    options(argc, argv);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    exchanges = grab((size_t)concurrent, sizeof *exchanges);
    uint64_t from = now();
    run();
    double seconds = (double)(now() - from) / SECOND;
    printf("{\"done\": %lu, \"seconds\": %.6f, \"rate\": %.2f, \"errors\": %lu, \"refused\": %lu, \"failed\": %lu, "
           "\"short\": %lu, \"stuck\": %lu, \"first_byte_p50_us\": %lu, \"first_byte_p99_us\": %lu, "
           "\"p50_us\": %lu, \"p99_us\": %lu}\n",
           done, seconds, (double)done / seconds, refused + failed + short_read + stuck, refused, failed, short_read, stuck,
           quantile(&first_byte, .5), quantile(&first_byte, .99), quantile(&whole, .5), quantile(&whole, .99));
    return 0;
}
