/* logsink -l ADDRESS -p PORT: counts datagrams. Prints "ready", and a JSON line at SIGTERM.
 * It looks every few milliseconds instead of being woken for each one, so that no sender pays for a wake-up. */
#include "common.h"

#define BATCH 256
#define LINE 2048

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static char lines[BATCH][LINE], controls[BATCH][CMSG_SPACE(sizeof(uint32_t))];

static int open_sink(struct sockaddr_in name) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), room = 64 << 20, yes = 1;
    if (fd < 0) die("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &yes, sizeof yes);
    if (bind(fd, (void *)&name, sizeof name)) die("bind");
    return fd;
}

static uint32_t overflow_of(struct msghdr *header) {
    uint32_t lost = 0;
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) memcpy(&lost, CMSG_DATA(c), sizeof lost);
    return lost;
}

static int take(int fd, uint64_t *count, uint64_t *bytes, uint32_t *lost) {
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){lines[i], LINE};
        messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &vectors[i], .msg_iovlen = 1, .msg_control = controls[i], .msg_controllen = sizeof controls[i]};
    }
    int got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        *bytes += messages[i].msg_len;
        *lost = overflow_of(&messages[i].msg_hdr);
    }
    if (got > 0) *count += (uint64_t)got;
    return got;
}

int main(int argc, char **argv) {
    struct hosts at = {0, 0};
    int option, port = 0;
    uint64_t count = 0, bytes = 0;
    uint32_t lost = 0;
    begin();
    while ((option = getopt(argc, argv, "l:p:")) != -1) {
        if (option == 'l') at = parse_hosts(optarg);
        else if (option == 'p') port = parse_count(optarg, "port");
        else return 2;
    }
    errno = 0;
    if (!at.count || !port) die("usage: logsink -l ADDRESS -p PORT");
    int fd = open_sink(host_at(at, 0, port));
    puts("ready");
    fflush(stdout);
    while (!stopping) {
        struct timespec rest = {0, 5000000};
        if (take(fd, &count, &bytes, &lost) < BATCH) nanosleep(&rest, NULL);
    }
    while (take(fd, &count, &bytes, &lost) > 0) {}
    printf("{\"datagrams\": %lu, \"bytes\": %lu, \"lost\": %u}\n", count, bytes, lost);
    return 0;
}
