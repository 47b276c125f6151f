/* Both ends of bench/gateway_streams.py: an upstream that streams answers, and callers who read them.

   serve PORT                             says its port, a free one for 0; 20 events an answer; "pace=N" in the question:
                                          N milliseconds between them, or before an answer that is no stream
   load PORT SECONDS CALLERS FILE BETWEEN each caller sends FILE (a whole HTTP request), reads the answer, sends again;
                                          they begin BETWEEN milliseconds apart from first to last

   An event's text holds the word "tick", which nothing else does: a caller counts those, however they are framed. An
   answer is whole with [DONE] and the last chunk of HTTP. One thread, epoll, loopback only. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "timed.h"

#define EVENTS 20
#define MOST 16384       /* descriptors */
#define ROOM 65536       /* bytes of a question */
#define SAMPLES 4000000

static const char WORD[] = "tick", DONE[] = "[DONE]", LAST[] = "\r\n0\r\n\r\n";
static const char START[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                            "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char CHUNK[] = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                            "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{%s},\"logprobs\":null,"
                            "\"finish_reason\":%s}]}\n\n";
#define LOREM "Lorem ipsum dolor sit amet. Lorem ipsum dolor sit amet. "
static const char PLAIN[] = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
                            "\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                            "\"content\":\"" LOREM LOREM LOREM LOREM "\"},\"logprobs\":null,"
                            "\"finish_reason\":\"stop\"}],"
                            "\"usage\":{\"prompt_tokens\":300,\"completion_tokens\":45,\"total_tokens\":345}}";

static void quick(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void watch(int loop, int fd) {
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &wanted)) fail("epoll_ctl");
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

/* ---- the upstream ---- */

struct answer { /* what one connection asked, and how far its answer is */
    char asked[ROOM];
    int size, next, pace_ms, number;
};
struct due { int fd, number; int64_t at; };

static struct answer *answers[MOST];
static char frames[EVENTS + 2][1024]; /* events, the end, and the answer that is no stream */
static int sizes[EVENTS + 2];

static int framed(char *into, const char *data, int size) {
    int at = sprintf(into, "%x\r\n", size);
    memcpy(into + at, data, size);
    memcpy(into + at + size, "\r\n", 2);
    return at + size + 2;
}

static void make_frames(void) {
    char data[512], delta[64];
    for (int i = 0; i < EVENTS; i++) {
        sprintf(delta, "%s\"content\":\"tick %02d of it, \"", i ? "" : "\"role\":\"assistant\",", i);
        sizes[i] = framed(frames[i], data, sprintf(data, CHUNK, delta, "null"));
    }
    int end = framed(frames[EVENTS], data, sprintf(data, CHUNK, "", "\"stop\""));
    end += framed(frames[EVENTS] + end, "data: [DONE]\n\n", 14);
    memcpy(frames[EVENTS] + end, "0\r\n\r\n", 5);
    sizes[EVENTS] = end + 5;
    sizes[EVENTS + 1] = sprintf(frames[EVENTS + 1], "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                "Content-Length: %d\r\n\r\n%s", (int)strlen(PLAIN), PLAIN);
}

static int sent(int fd, const char *data, int size) { return send(fd, data, size, MSG_NOSIGNAL) == size; }

/* The bytes of the question that has come whole; 0 where more is to come. */
static int whole(struct answer *of) {
    of->asked[of->size] = 0;
    char *body = strstr(of->asked, "\r\n\r\n");
    if (!body) return 0;
    body += 4;
    char *length = strcasestr(of->asked, "\r\ncontent-length:");
    if (length && length < body) {
        int size = (int)(body - of->asked) + atoi(length + 17);
        return of->size >= size ? size : 0;
    }
    char *end = strstr(body - 2, LAST);
    return end ? (int)(end - of->asked) + 7 : 0;
}

static int answer(int fd, struct answer *of) { /* begins; 1, or -1 on a fault */
    char *stream = strstr(of->asked, "\"stream\""), *pace = strstr(of->asked, "pace=");
    int plain = !stream || (strncmp(stream, "\"stream\":true", 13) && strncmp(stream, "\"stream\": true", 14));
    of->next = plain ? EVENTS + 1 : 0;
    of->pace_ms = pace ? atoi(pace + 5) : 0;
    return plain || sent(fd, START, strlen(START)) ? 1 : -1;
}

static int say(int fd, struct answer *of) { /* the next event; 1 where more follow, 0 after the last, -1 on a fault */
    do {
        if (!sent(fd, frames[of->next], sizes[of->next])) return -1;
        if (++of->next > EVENTS) return 0;
    } while (!of->pace_ms || of->next == EVENTS); /* the end follows its last event at once */
    return 1;
}

static void leave(int loop, int fd) {
    epoll_ctl(loop, EPOLL_CTL_DEL, fd, NULL);
    close(fd);
    free(answers[fd]);
    answers[fd] = NULL;
}

static void serve(int port) {
    int loop = epoll_create1(0), door = socket(AF_INET, SOCK_STREAM, 0), one = 1, number = 0;
    struct sockaddr_in at = loopback(port);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(door, (struct sockaddr *)&at, sizeof at) || listen(door, 4096)) fail("bind");
    socklen_t length = sizeof at;
    getsockname(door, (struct sockaddr *)&at, &length);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    watch(loop, door);
    make_frames();
    /* all wait equally long: the next one due is the one that has waited longest */
    static struct due queue[MOST * 4];
    unsigned head = 0, tail = 0;
    struct epoll_event ready[256];
    for (;;) {
        int64_t left = head == tail ? 1000000 : queue[head % (MOST * 4)].at - now_us();
        struct timespec wait = {.tv_nsec = left > 0 ? left * 1000 % 1000000000 : 0, .tv_sec = left > 0 ? left / 1000000 : 0};
        int found = epoll_pwait2(loop, ready, 256, &wait, NULL);
        for (int i = 0; i < found; i++) {
            int fd = ready[i].data.fd;
            if (fd == door) {
                int caller = accept(door, NULL, NULL);
                if (caller < 0 || caller >= MOST) fail("accept");
                quick(caller);
                answers[caller] = calloc(1, sizeof(struct answer));
                answers[caller]->number = ++number;
                watch(loop, caller);
                continue;
            }
            struct answer *of = answers[fd];
            ssize_t got = recv(fd, of->asked + of->size, ROOM - 1 - of->size, 0);
            if (got <= 0) { leave(loop, fd); continue; }
            of->size += got;
            int size = whole(of);
            if (!size) continue;
            int more = answer(fd, of);
            of->size = 0;
            if (more > 0 && (!of->next || !of->pace_ms)) more = say(fd, of);
            if (more < 0) { leave(loop, fd); continue; }
            if (more) queue[tail++ % (MOST * 4)] = (struct due){fd, of->number, now_us() + of->pace_ms * 1000};
        }
        int64_t now = now_us();
        while (head != tail && queue[head % (MOST * 4)].at <= now) {
            struct due one = queue[head++ % (MOST * 4)];
            struct answer *of = answers[one.fd];
            if (!of || of->number != one.number) continue; /* that caller has left */
            int more = say(one.fd, of);
            if (more < 0) leave(loop, one.fd);
            else if (more) queue[tail++ % (MOST * 4)] = (struct due){one.fd, one.number, one.at + of->pace_ms * 1000};
        }
    }
}

/* ---- the callers ---- */

struct caller { int word, done, size, heard, bad; int64_t asked, first; char head[16], tail[7]; };

static struct caller callers[MOST];
static float *first_us, *whole_us;
static long answered, events, failed, timed;

static int match(const char *word, int at, char letter) {
    return letter == word[at] ? at + 1 : letter == word[0];
}

static int dial(int loop, int port) {
    struct sockaddr_in at = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || fd >= MOST || connect(fd, (struct sockaddr *)&at, sizeof at)) fail("connect");
    quick(fd);
    watch(loop, fd);
    return fd;
}

static void ask(int fd, const char *question, int size) {
    callers[fd] = (struct caller){.asked = now_us()};
    if (!sent(fd, question, size)) callers[fd].bad = 1;
}

/* Reads what has come; 1 where the answer is whole. */
static int hear(struct caller *of, const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (of->size < 16) of->head[of->size++] = data[i];
        of->word = match(WORD, of->word, data[i]);
        if (of->word == 4) {
            of->word = 0;
            events++;
            if (!of->heard++) of->first = now_us();
        }
        if (of->done < 6) of->done = match(DONE, of->done, data[i]);
    }
    size_t fresh = size < 7 ? size : 7;
    memmove(of->tail, of->tail + fresh, 7 - fresh);
    memcpy(of->tail + 7 - fresh, data + size - fresh, fresh);
    if (of->size >= 12 && memcmp(of->head + 8, " 200", 4)) of->bad = 1;
    return !of->bad && of->done == 6 && !memcmp(of->tail, LAST, 7);
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double share(float *of, double part) {
    return timed ? of[(long)((timed - 1) * part)] / 1000.0 : 0.0;
}

static void load(int port, double seconds, int wanted, const char *file, double between_ms) {
    static char question[ROOM], data[ROOM];
    FILE *from = fopen(file, "rb");
    if (!from) fail(file);
    int size = fread(question, 1, ROOM, from), loop = epoll_create1(0), there = 0;
    fclose(from);
    first_us = malloc(SAMPLES * sizeof(float));
    whole_us = malloc(SAMPLES * sizeof(float));
    int64_t begun = now_us(), until = begun + (int64_t)(seconds * 1e6);
    int64_t gap = (int64_t)(between_ms * 1000 / wanted);
    struct epoll_event ready[256];
    while (now_us() < until) {
        while (there < wanted && now_us() >= begun + there * gap) {
            ask(dial(loop, port), question, size);
            there++;
        }
        int found = epoll_wait(loop, ready, 256, there < wanted ? 1 : 20);
        for (int i = 0; i < found; i++) {
            int fd = ready[i].data.fd;
            struct caller *of = &callers[fd];
            ssize_t got = recv(fd, data, ROOM, 0);
            if (got > 0 && !hear(of, data, got) && !of->bad) continue;
            if (got > 0 && !of->bad && of->heard == EVENTS) {
                answered++;
                if (timed < SAMPLES) {
                    first_us[timed] = of->first - of->asked;
                    whole_us[timed++] = now_us() - of->asked;
                }
                ask(fd, question, size);
                continue;
            }
            if (!failed++) /* not 200, broken off, or not all of it: what the first one came to */
                fprintf(stderr, "%d of %d events, %s: %.*s\n", of->heard, EVENTS, got > 0 ? "then" : "closed",
                        got > 0 ? (int)(got < 600 ? got : 600) : 0, data);
            close(fd);
            ask(dial(loop, port), question, size);
        }
    }
    double took = (now_us() - begun) / 1e6;
    qsort(first_us, timed, sizeof(float), by_size);
    qsort(whole_us, timed, sizeof(float), by_size);
    printf("{\"seconds\": %.3f, \"events\": %ld, \"answers\": %ld, \"failed\": %ld, \"first_p50_ms\": %.3f, "
           "\"first_p99_ms\": %.3f, \"whole_p50_ms\": %.3f, \"whole_p99_ms\": %.3f}\n",
           took, events, answered, failed, share(first_us, .5), share(first_us, .99), share(whole_us, .5),
           share(whole_us, .99));
}

int main(int count, char **words) {
    signal(SIGPIPE, SIG_IGN);
    if (count == 3 && !strcmp(words[1], "serve")) serve(atoi(words[2]));
    if (count == 7 && !strcmp(words[1], "load")) {
        load(atoi(words[2]), atof(words[3]), atoi(words[4]), words[5], atof(words[6]));
        return 0;
    }
    fprintf(stderr, "serve PORT | load PORT SECONDS CALLERS FILE BETWEEN\n");
    return 2;
}
