/* idle -d ADDRESS:PORT -s FIRST+COUNT -n CONNECTIONS: opens them, waits for every greeting, prints "ready" with counts,
 * holds them until SIGTERM, then says how many were still open. */
#include "common.h"

#define AT_ONCE 200
#define PATIENCE (60 * SECOND)

static struct sockaddr_in target;
static struct hosts sources;
static int epoll, *fds, wanted, dialled, greeted, lost, pending;

static void dial_more(void) {
    while (dialled < wanted && pending < AT_ONCE) {
        int fd = fds[dialled] = dial(host_at(sources, (uint32_t)dialled, 0), target);
        if (fd >= 0) {
            watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, (uint64_t)dialled);
            pending++;
        } else
            lost++;
        dialled++;
    }
}

/* The first event of a connection decides; later ones can only be its end, noticed by still_open(). */
static void greet(int index) {
    char buffer[512];
    ssize_t got = recv(fds[index], buffer, sizeof buffer, 0);
    if (got < 0 && blocked()) return;
    pending--;
    if (got > 0) greeted++;
    else lost++;
    epoll_ctl(epoll, EPOLL_CTL_DEL, fds[index], NULL);
}

static int still_open(void) {
    int count = 0;
    char byte;
    for (int i = 0; i < wanted; i++)
        if (fds[i] >= 0 && recv(fds[i], &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN) count++;
    return count;
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS];
    int option;
    begin();
    while ((option = getopt(argc, argv, "d:s:n:")) != -1) {
        if (option == 'd') target = parse_endpoint(optarg);
        else if (option == 's') sources = parse_hosts(optarg);
        else if (option == 'n') wanted = parse_count(optarg, "connections");
        else return 2;
    }
    errno = 0;
    if (!target.sin_port || !sources.count || !wanted) die("usage: idle -d ADDRESS:PORT -s FIRST+COUNT -n CONNECTIONS");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    fds = grab((size_t)wanted, sizeof *fds);
    uint64_t from = now();
    while (!stopping && greeted + lost < wanted && now() - from < PATIENCE) {
        dial_more();
        int count = epoll_wait(epoll, events, EVENTS, 1000);
        for (int i = 0; i < count; i++) greet((int)events[i].data.u64);
    }
    printf("ready {\"open\": %d, \"lost\": %d, \"seconds\": %.3f}\n", greeted, wanted - greeted,
           (double)(now() - from) / SECOND);
    fflush(stdout);
    struct timespec rest = {0, 50000000};
    while (!stopping) nanosleep(&rest, NULL);
    printf("{\"still_open\": %d}\n", still_open());
    return 0;
}
