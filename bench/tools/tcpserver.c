/* tcpserver -l FIRST+COUNT -p PORT [-b BYTES]: accept, send BYTES (64), close. Prints "ready" once it listens. */
#include "common.h"

static int bytes = 64;

static void serve(int listener, const char *payload, uint64_t *served) {
    for (int batch = 0; batch < 64; batch++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        if (send(fd, payload, (size_t)bytes, MSG_NOSIGNAL) == bytes) ++*served;
        close(fd);
    }
}

int main(int argc, char **argv) {
    struct hosts at = {0, 0};
    struct epoll_event events[EVENTS];
    int option, port = 0, epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t served = 0;
    begin();
    while ((option = getopt(argc, argv, "l:p:b:")) != -1) {
        if (option == 'l') at = parse_hosts(optarg);
        else if (option == 'p') port = parse_count(optarg, "port");
        else if (option == 'b') bytes = parse_count(optarg, "bytes");
        else return 2;
    }
    errno = 0;
    if (!at.count || !port || bytes > CHUNK) die("usage: tcpserver -l FIRST[+COUNT] -p PORT [-b BYTES]");
    char *payload = grab(1, (size_t)bytes + 1);
    memset(payload, 'x', (size_t)bytes);
    for (uint32_t i = 0; i < at.count; i++) {
        int fd = listen_on(host_at(at, i, port));
        watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, (uint64_t)fd);
    }
    puts("ready");
    fflush(stdout);
    while (!stopping) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) serve((int)events[i].data.u64, payload, &served);
    }
    printf("{\"served\": %lu}\n", served);
    return 0;
}
