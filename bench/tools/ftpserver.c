/* ftpserver -l FIRST+COUNT -p PORT -r LOW-HIGH [-a ADVERTISED]: an FTP server in memory, one instance per address.
 * A file is its size: `RETR 1k`, `RETR 256m`, `STOR anything`. Every passive port is listened on from the start, so a
 * transfer costs this side an accept and nothing else. Prints "ready". */
#include "common.h"

#define LISTING "-rw-r--r-- 1 ftp ftp 1024 Jan  1 00:00 1k\r\n"

enum kind { CONTROL_LISTENER, DATA_LISTENER, CONTROL, DATA };
enum transfer { NONE, DOWNLOAD, UPLOAD, LISTING_OUT };

struct session;

/* What epoll hands back. */
struct source {
    enum kind kind;
    struct session *session; /* the one a port is leased to, for DATA_LISTENER */
    struct instance *instance;
    int fd, port, index;
};

struct instance {
    struct source *doors;
    int *free, head, count; /* ring of door indexes nobody has; the longest free is leased first */
};

struct session {
    struct source control, data;
    struct instance *at;
    struct session *next; /* in the list of the dead, until the batch is over */
    int door, dead, used, watching_out;
    enum transfer pending, running;
    uint64_t size, moved;
    char line[1024];
};

static int epoll, low, high, tell_advertised;
static struct in_addr advertised;
static struct session *dead, *spare;
static uint64_t sessions, transfers, strays;

static void add(struct source *source, uint32_t events) { watch(epoll, EPOLL_CTL_ADD, source->fd, events, (uint64_t)source); }

static void end_session(struct session *s);

static void reply(struct session *s, const char *text) {
    size_t length = strlen(text);
    if (send(s->control.fd, text, length, MSG_NOSIGNAL) != (ssize_t)length) end_session(s);
}

/* ---- passive ports ---- */

static void give_door_back(struct session *s) {
    struct instance *at = s->at;
    if (s->door < 0) return;
    at->doors[s->door].session = NULL;
    at->free[(at->head + at->count++) % (high - low + 1)] = s->door;
    s->door = -1;
}

static int take_door(struct session *s) {
    struct instance *at = s->at;
    give_door_back(s);
    if (!at->count) return 0;
    s->door = at->free[at->head];
    at->head = (at->head + 1) % (high - low + 1);
    at->count--;
    at->doors[s->door].session = s;
    return 1;
}

/* ---- sessions ---- */

static void close_data(struct session *s) {
    if (s->data.fd >= 0) close(s->data.fd);
    s->data.fd = -1;
    s->running = NONE;
}

static void end_session(struct session *s) {
    if (s->dead) return;
    close_data(s);
    give_door_back(s);
    close(s->control.fd);
    s->dead = 1;
    s->next = dead;
    dead = s;
}

static void bury(void) {
    while (dead) {
        struct session *s = dead;
        dead = s->next;
        s->next = spare;
        spare = s;
    }
}

static void welcome(struct source *listener) {
    for (int batch = 0; batch < 64; batch++) {
        int yes = 1, fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct session *s = spare;
        if (s) spare = s->next;
        else s = grab(1, sizeof *s);
        /* The buffer is left as it was: `used` says how much of it counts. */
        memset(s, 0, offsetof(struct session, line));
        s->control = (struct source){CONTROL, s, listener->instance, fd, 0, 0};
        s->data = (struct source){DATA, s, listener->instance, -1, 0, 0};
        s->at = listener->instance;
        s->door = -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        add(&s->control, EPOLLIN);
        sessions++;
        reply(s, "220 ready\r\n");
    }
}

/* ---- transfers ---- */

static void transfer_done(struct session *s, int whole) {
    close_data(s);
    transfers++;
    reply(s, whole ? "226 done\r\n" : "426 broken\r\n");
}

static void send_more(struct session *s) {
    ssize_t sent = 0;
    while (s->moved < s->size && (sent = send_stock(s->data.fd, s->size - s->moved)) > 0) {
        s->moved += (uint64_t)sent;
        if (sent == CHUNK) break; /* others want their turn */
    }
    if (s->moved == s->size || (sent < 0 && !blocked())) {
        transfer_done(s, s->moved == s->size);
    } else if (!s->watching_out) {
        s->watching_out = 1;
        add(&s->data, EPOLLOUT);
    }
}

static void receive_more(struct session *s) {
    ssize_t got = drop(s->data.fd);
    if (got > 0) s->moved += (uint64_t)got;
    else if (got == 0 || !blocked()) transfer_done(s, got == 0);
}

/* Needs both: the command and the connection, in whichever order they arrive. */
static void start_transfer(struct session *s) {
    if (s->pending == NONE || s->data.fd < 0) return;
    s->running = s->pending;
    s->pending = NONE;
    s->moved = 0;
    s->watching_out = 0;
    reply(s, "150 coming\r\n");
    if (s->dead) return;
    if (s->running == DOWNLOAD) send_more(s);
    else if (s->running == UPLOAD) add(&s->data, EPOLLIN);
    else transfer_done(s, send(s->data.fd, LISTING, sizeof LISTING - 1, MSG_NOSIGNAL) > 0);
}

static void accept_data(struct source *door) {
    int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct session *s = door->session;
    if (fd < 0) return;
    if (!s || s->data.fd >= 0) {
        strays++;
        close(fd);
        return;
    }
    give_door_back(s);
    s->data.fd = fd;
    start_transfer(s);
}

/* ---- commands ---- */

static void passive(struct session *s, int extended) {
    char text[128];
    struct sockaddr_in here;
    socklen_t length = sizeof here;
    if (!take_door(s)) {
        reply(s, "425 no port\r\n");
        return;
    }
    int port = s->at->doors[s->door].port;
    if (extended) {
        snprintf(text, sizeof text, "229 Entering Extended Passive Mode (|||%d|)\r\n", port);
    } else {
        struct in_addr address = advertised;
        if (!tell_advertised && !getsockname(s->control.fd, (void *)&here, &length)) address = here.sin_addr;
        uint32_t a = ntohl(address.s_addr);
        snprintf(text, sizeof text, "227 Entering Passive Mode (%u,%u,%u,%u,%d,%d)\r\n", a >> 24, a >> 16 & 255,
                 a >> 8 & 255, a & 255, port >> 8, port & 255);
    }
    reply(s, text);
}

static void transfer(struct session *s, enum transfer what, const char *name) {
    uint64_t size = what == DOWNLOAD ? parse_size(name) : 0;
    if (size == UINT64_MAX) {
        reply(s, "550 a file is a size\r\n");
        return;
    }
    if (s->door < 0 && s->data.fd < 0) {
        reply(s, "425 PASV first\r\n");
        return;
    }
    s->size = size;
    s->pending = what;
    start_transfer(s);
}

static void say_size(struct session *s, const char *name) {
    char text[64];
    uint64_t size = parse_size(name);
    if (size == UINT64_MAX) snprintf(text, sizeof text, "550 a file is a size\r\n");
    else snprintf(text, sizeof text, "213 %lu\r\n", size);
    reply(s, text);
}

static const char *const plain[][2] = {
    {"USER", "331 password\r\n"}, {"PASS", "230 welcome\r\n"}, {"TYPE", "200 fine\r\n"},        {"CWD", "250 fine\r\n"},
    {"NOOP", "200 fine\r\n"},     {"SYST", "215 UNIX\r\n"},    {"PWD", "257 \"/\" is here\r\n"},
};

static void obey(struct session *s, char *line) {
    char *argument = strchr(line, ' ');
    if (argument) *argument++ = 0;
    else argument = "";
    for (char *c = line; *c; c++)
        if (*c >= 'a' && *c <= 'z') *c &= ~32;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (!strcmp(line, plain[i][0])) {
            reply(s, plain[i][1]);
            return;
        }
    }
    if (!strcmp(line, "PASV")) passive(s, 0);
    else if (!strcmp(line, "EPSV")) passive(s, 1);
    else if (!strcmp(line, "RETR")) transfer(s, DOWNLOAD, argument);
    else if (!strcmp(line, "STOR")) transfer(s, UPLOAD, argument);
    else if (!strcmp(line, "LIST") || !strcmp(line, "NLST")) transfer(s, LISTING_OUT, argument);
    else if (!strcmp(line, "SIZE")) say_size(s, argument);
    else if (!strcmp(line, "QUIT")) {
        reply(s, "221 bye\r\n");
        end_session(s);
    } else
        reply(s, "500 what?\r\n");
}

static void listen_to(struct session *s) {
    ssize_t got = recv(s->control.fd, s->line + s->used, sizeof s->line - (size_t)s->used, 0);
    if (got < 0 && blocked()) return;
    if (got <= 0) {
        end_session(s);
        return;
    }
    s->used += (int)got;
    char *from = s->line, *end;
    while (!s->dead && (end = memchr(from, '\n', (size_t)(s->line + s->used - from)))) {
        *end = 0;
        if (end > from && end[-1] == '\r') end[-1] = 0;
        obey(s, from);
        from = end + 1;
    }
    s->used -= (int)(from - s->line);
    memmove(s->line, from, (size_t)s->used);
    if (s->used == (int)sizeof s->line) end_session(s);
}

static void serve(struct source *source) {
    struct session *s = source->session;
    if (source->kind == CONTROL_LISTENER) welcome(source);
    else if (source->kind == DATA_LISTENER) accept_data(source);
    else if (s->dead) return;
    else if (source->kind == CONTROL) listen_to(s);
    else if (s->running == DOWNLOAD) send_more(s);
    else if (s->running == UPLOAD) receive_more(s);
}

/* ---- start ---- */

static void open_instance(struct hosts at, uint32_t index, int port) {
    int ports = low ? high - low + 1 : 0;
    struct instance *instance = grab(1, sizeof *instance);
    struct source *control = grab(1, sizeof *control);
    *control = (struct source){CONTROL_LISTENER, NULL, instance, listen_on(host_at(at, index, port)), port, 0};
    add(control, EPOLLIN);
    instance->doors = grab((size_t)ports + 1, sizeof *instance->doors);
    instance->free = grab((size_t)ports + 1, sizeof *instance->free);
    instance->count = ports;
    for (int i = 0; i < ports; i++) {
        int fd = listen_on(host_at(at, index, low + i));
        instance->doors[i] = (struct source){DATA_LISTENER, NULL, instance, fd, low + i, i};
        instance->free[i] = i;
        add(&instance->doors[i], EPOLLIN);
    }
}

int main(int argc, char **argv) {
    struct hosts at = {0, 0};
    struct epoll_event events[EVENTS];
    int option, port = 0;
    begin();
    while ((option = getopt(argc, argv, "l:p:r:a:")) != -1) {
        if (option == 'l') at = parse_hosts(optarg);
        else if (option == 'p') port = parse_count(optarg, "port");
        else if (option == 'r' && sscanf(optarg, "%d-%d", &low, &high) == 2 && low > 0 && high >= low) continue;
        else if (option == 'a') tell_advertised = inet_pton(AF_INET, optarg, &advertised) == 1;
        else return 2;
    }
    errno = 0;
    if (!at.count || !port) die("usage: ftpserver -l FIRST[+COUNT] -p PORT [-r LOW-HIGH] [-a ADVERTISED]");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < at.count; i++) open_instance(at, i, port);
    puts("ready");
    fflush(stdout);
    while (!stopping) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) serve((struct source *)events[i].data.u64);
        bury();
    }
    printf("{\"sessions\": %lu, \"transfers\": %lu, \"strays\": %lu}\n", sessions, transfers, strays);
    return 0;
}
