/* ftpclient -d ADDRESS:PORT -s FIRST+COUNT -c CONCURRENT (-t SECONDS | -n SESSIONS) [-f FILE] [-u] [-k TRANSFERS] [-e] [-i]
 * Log in, PASV, RETR FILE (1k), QUIT, again; -u uploads that many bytes instead; -k transfers in one session; -e EPSV;
 * -i ignores the address of the 227. One JSON line at the end. Bulk load is the same with -f 256m and -n. */
#include "common.h"

enum stage { GREETING, USER, PASS, PASSIVE, TRANSFER, QUIT };

struct session {
    int control, data, alive, used, transfers, ended, first_seen, replied;
    enum stage stage;
    uint32_t generation;
    uint64_t started, transfer_started, last, moved;
    struct sockaddr_in from;
    char line[512];
};

static struct session *all;
static struct sockaddr_in target;
static struct hosts sources;
static struct histogram to_first_byte, to_first_transfer_byte, whole;
static char file[32] = "1k", command[64];
static int epoll, concurrent = 50, upload, per_session = 1, extended, ignore_address, alive;
static uint64_t size, patience = 10 * SECOND;
static uint64_t total = UINT64_MAX, deadline = UINT64_MAX;
static uint64_t started, done, refused, broken, unexpected, wrong_size, stuck, bytes, transfers;
static uint32_t next_source;

static uint64_t tag_of(struct session *s, int is_data) {
    return (uint64_t)s->generation << 32 | (uint64_t)(s - all) << 1 | (uint64_t)is_data;
}

static void start(struct session *s);

static void end(struct session *s, uint64_t *why) {
    ++*why;
    if (s->data >= 0) close(s->data);
    close(s->control);
    s->alive = 0;
    alive--;
    start(s);
}

static void start(struct session *s) {
    while (started < total && now() < deadline && !stopping) {
        uint32_t generation = s->generation + 1;
        started++;
        memset(s, 0, offsetof(struct session, line));
        s->generation = generation;
        s->data = -1;
        s->started = s->last = now();
        s->from = host_at(sources, next_source++, 0);
        s->control = dial(s->from, target);
        if (s->control >= 0) {
            int yes = 1;
            setsockopt(s->control, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            watch(epoll, EPOLL_CTL_ADD, s->control, EPOLLIN, tag_of(s, 0));
            s->alive = 1;
            alive++;
            return;
        }
        refused++;
        if (refused > 1000 && refused > done) die("connect");
    }
}

static int say(struct session *s, const char *text) {
    size_t length = strlen(text);
    if (send(s->control, text, length, MSG_NOSIGNAL) == (ssize_t)length) return 1;
    end(s, &broken);
    return 0;
}

/* ---- replies ---- */

static int passive_endpoint(const char *line, struct sockaddr_in *to) {
    unsigned h[4], p[2];
    const char *open = strchr(line, '(');
    *to = target;
    if (extended && open && sscanf(open, "(|||%u|)", &p[0]) == 1) {
        to->sin_port = htons((uint16_t)p[0]);
        return 1;
    }
    if (!open || sscanf(open, "(%u,%u,%u,%u,%u,%u)", &h[0], &h[1], &h[2], &h[3], &p[0], &p[1]) != 6) return 0;
    if (!ignore_address) to->sin_addr.s_addr = htonl(h[0] << 24 | h[1] << 16 | h[2] << 8 | h[3]);
    to->sin_port = htons((uint16_t)(p[0] << 8 | p[1]));
    return 1;
}

static void ask_for_port(struct session *s) {
    s->stage = PASSIVE;
    say(s, extended ? "EPSV\r\n" : "PASV\r\n");
}

static void open_data(struct session *s) {
    struct sockaddr_in to;
    if (!passive_endpoint(s->line, &to)) {
        end(s, &unexpected);
        return;
    }
    s->transfer_started = now();
    s->moved = 0;
    s->ended = s->replied = s->first_seen = 0;
    s->data = dial(s->from, to);
    if (s->data < 0) {
        end(s, &refused);
        return;
    }
    watch(epoll, EPOLL_CTL_ADD, s->data, upload ? EPOLLOUT : EPOLLIN, tag_of(s, 1));
    s->stage = TRANSFER;
    say(s, command);
}

static void transfer_over(struct session *s) {
    if (!s->ended || !s->replied) return;
    if (s->moved != size) {
        end(s, &wrong_size);
        return;
    }
    transfers++;
    if (++s->transfers < per_session) {
        ask_for_port(s);
        return;
    }
    s->stage = QUIT;
    say(s, "QUIT\r\n");
}

static void finished(struct session *s) {
    note(&whole, now() - s->started);
    end(s, &done);
}

static void replied(struct session *s, int code) {
    if (s->stage == TRANSFER && code == 150) return;
    if (s->stage == GREETING && code == 220) {
        s->stage = USER;
        say(s, "USER bench\r\n");
    } else if (s->stage == USER && code == 331) {
        s->stage = PASS;
        say(s, "PASS bench\r\n");
    } else if (s->stage == PASS && code == 230) {
        ask_for_port(s);
    } else if (s->stage == PASSIVE && (code == 227 || code == 229)) {
        open_data(s);
    } else if (s->stage == TRANSFER && code == 226) {
        s->replied = 1;
        transfer_over(s);
    } else if (s->stage == QUIT && code == 221) {
        finished(s);
    } else {
        end(s, &unexpected);
    }
}

/* One reply at a time: what a reply makes us do may end the session, and then the rest of the buffer is nobody's. */
static void read_control(struct session *s) {
    uint32_t generation = s->generation;
    ssize_t got = recv(s->control, s->line + s->used, sizeof s->line - 1 - (size_t)s->used, 0);
    if (got < 0 && blocked()) return;
    if (got <= 0) {
        end(s, &broken);
        return;
    }
    s->used += (int)got;
    char *newline;
    while ((newline = memchr(s->line, '\n', (size_t)s->used))) {
        int length = (int)(newline - s->line) + 1;
        *newline = 0;
        replied(s, atoi(s->line));
        if (s->generation != generation || !s->alive) return;
        s->used -= length;
        memmove(s->line, s->line + length, (size_t)s->used);
    }
    if (s->used >= (int)sizeof s->line - 1) end(s, &unexpected);
}

/* ---- data ---- */

static void data_ended(struct session *s) {
    close(s->data);
    s->data = -1;
    s->ended = 1;
    transfer_over(s);
}

static void first_byte(struct session *s) {
    if (s->first_seen) return;
    s->first_seen = 1;
    uint64_t time = now();
    note(&to_first_transfer_byte, time - s->transfer_started);
    if (!s->transfers) note(&to_first_byte, time - s->started);
}

static void receive(struct session *s) {
    for (int turn = 0; turn < 4; turn++) {
        ssize_t got = drop(s->data);
        if (got < 0 && blocked()) return;
        if (got < 0) {
            end(s, &broken);
            return;
        }
        if (got == 0) {
            data_ended(s);
            return;
        }
        first_byte(s);
        s->moved += (uint64_t)got;
        bytes += (uint64_t)got;
    }
}

static void transmit(struct session *s) {
    ssize_t sent = s->moved < size ? send_stock(s->data, size - s->moved) : 0;
    if (sent < 0 && blocked()) return;
    if (sent < 0) {
        end(s, &broken);
        return;
    }
    first_byte(s);
    s->moved += (uint64_t)sent;
    bytes += (uint64_t)sent;
    if (s->moved == size) data_ended(s);
}

/* ---- loop ---- */

static void serve(uint64_t tag) {
    struct session *s = &all[(tag & 0xffffffff) >> 1];
    if (!s->alive || s->generation != (uint32_t)(tag >> 32)) return;
    s->last = now();
    if (!(tag & 1)) read_control(s);
    else if (s->data < 0) return;
    else if (upload) transmit(s);
    else receive(s);
}

static void give_up_on_the_stuck(uint64_t time) {
    for (int i = 0; i < concurrent; i++)
        if (all[i].alive && time - all[i].last > patience) end(&all[i], &stuck);
}

static void run(void) {
    struct epoll_event events[EVENTS];
    uint64_t swept = now();
    for (int i = 0; i < concurrent; i++) start(&all[i]);
    while (alive && !stopping) {
        int count = epoll_wait(epoll, events, EVENTS, 1000);
        for (int i = 0; i < count; i++) serve(events[i].data.u64);
        uint64_t time = now();
        if (time - swept > SECOND) give_up_on_the_stuck(swept = time);
    }
}

static void options(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "d:s:c:t:n:f:k:uei")) != -1) {
        if (option == 'd') target = parse_endpoint(optarg);
        else if (option == 's') sources = parse_hosts(optarg);
        else if (option == 'c') concurrent = parse_count(optarg, "concurrent");
        else if (option == 't') deadline = now() + (uint64_t)(atof(optarg) * SECOND);
        else if (option == 'n') total = (uint64_t)parse_count(optarg, "sessions");
        else if (option == 'f') snprintf(file, sizeof file, "%s", optarg);
        else if (option == 'k') per_session = parse_count(optarg, "transfers");
        else if (option == 'u') upload = 1;
        else if (option == 'e') extended = 1;
        else if (option == 'i') ignore_address = 1;
        else exit(2);
    }
    errno = 0;
    size = parse_size(file);
    if (!target.sin_port || !sources.count || !concurrent || size == UINT64_MAX || (total == UINT64_MAX && deadline == UINT64_MAX))
        die("usage: ftpclient -d ADDRESS:PORT -s FIRST+COUNT -c CONCURRENT (-t SECONDS | -n SESSIONS) [-f SIZE] [-u] [-k N] [-e] [-i]");
    snprintf(command, sizeof command, "%s %s\r\n", upload ? "STOR" : "RETR", file);
}

static void report(double seconds) {
    printf("{\"done\": %lu, \"seconds\": %.6f, \"rate\": %.2f, \"bytes\": %lu, \"gigabytes_per_second\": %.4f, "
           "\"transfers\": %lu, \"errors\": %lu, \"refused\": %lu, \"broken\": %lu, \"unexpected\": %lu, "
           "\"wrong_size\": %lu, \"stuck\": %lu, ",
           done, seconds, (double)done / seconds, bytes, (double)bytes / seconds / 1e9, transfers,
           refused + broken + unexpected + wrong_size + stuck, refused, broken, unexpected, wrong_size, stuck);
    printf("\"first_byte_p50_us\": %lu, \"first_byte_p99_us\": %lu, \"transfer_first_byte_p50_us\": %lu, "
           "\"transfer_first_byte_p99_us\": %lu, \"session_p50_us\": %lu, \"session_p99_us\": %lu}\n",
           quantile(&to_first_byte, .5), quantile(&to_first_byte, .99), quantile(&to_first_transfer_byte, .5),
           quantile(&to_first_transfer_byte, .99), quantile(&whole, .5), quantile(&whole, .99));
}

int main(int argc, char **argv) {
    begin();
    options(argc, argv);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    all = grab((size_t)concurrent, sizeof *all);
    uint64_t from = now();
    run();
    report((double)(now() - from) / SECOND);
    return 0;
}
