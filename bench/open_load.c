/* Calls that come by the clock, whether or not the last ones were answered.

   open PORT LINES FILE SEED PER_S:SECONDS ...  levels, one right after another: FILE, a whole HTTP request, is sent at
                                                random moments, so many a second on average (a Poisson process), over
                                                LINES connections at most
   closed PORT LINES FILE SECONDS PAUSE_MS      each of LINES callers asks, is answered, asks again; one who is refused
                                                (429) or cut off pauses before

   A call takes an idle connection or opens one, else it waits, first come first served. Its time counts from when it
   was due, so whatever made it late is in it; how late it was taken up, which is this program's own fault, is told
   apart. One thread, epoll, loopback only. Times are microseconds. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "timed.h"

#define HEAD 4096          /* bytes of a head */
#define ROOM 65536         /* bytes of FILE, and of what is read at once */
#define EVENTS 32          /* looked at before the clock is again */
#ifndef PATIENCE
#define PATIENCE 30000000 /* then a call without a whole answer is given up */
#endif
#define SLOT 250000        /* of the time series */
#define UNTIL_CLOSED (INT64_MAX / 2)
enum { OK = 200, REFUSED = 429, UNDER_WAY = 0, BROKEN = -1, TIMED_OUT = -2, NO_HTTP = -3 };

static void *room(size_t count, size_t size) {
    void *made = calloc(count, size);
    if (!made) fail("calloc");
    return made;
}

/* ---- an answer, as its bytes come ---- */

struct answer { char head[HEAD]; int size, closes; int64_t left; };

static void expect(struct answer *of) { of->size = of->closes = 0, of->left = -1; }

/* 1 where the answer is whole with these bytes, 0 where more is to come, -1 where it is none. */
static int take(struct answer *of, const char *data, int64_t size) {
    if (of->left < 0) {
        int had = of->size, fits = size < HEAD - 1 - had ? (int)size : HEAD - 1 - had;
        memcpy(of->head + had, data, fits);
        of->size += fits;
        of->head[of->size] = 0;
        char *end = strstr(of->head, "\r\n\r\n");
        if (!end) return of->size < HEAD - 1 ? 0 : -1;
        size -= end + 4 - of->head - had;
        end[2] = 0; /* what follows is no head */
        char *length = strcasestr(of->head, "\r\ncontent-length:");
        of->closes = strcasestr(of->head, "\r\nconnection: close\r\n") != NULL;
        if (!length && !of->closes) return -1;
        of->left = length ? atoll(length + 17) : UNTIL_CLOSED;
    }
    of->left -= size;
    return of->left > 0 ? 0 : of->left < 0 ? -1 : 1;
}

/* ---- the callers ---- */

struct call { int64_t due, taken_up, sent, done; int status; };
struct line { int fd, call, put; struct answer answer; };
struct level { double per_s; int64_t lasts, begin, end; long first, count; };

static char question[ROOM];
static int question_size, port, loop, most, open_lines, most_open;
static struct line *lines;
static int *idle, idles, *vacant; /* numbers of lines, those last used on top; closed ones are vacant[open_lines] on */
static struct call *calls;
static long count, given, ended, space; /* of calls: known, given to a line, answered or broken off */
static long opened;
static int64_t *put_off, pause_us; /* where callers ask again: when those who were refused do, in a ring */
static unsigned off;

static void append(int64_t due) {
    if (count == space && !(calls = realloc(calls, (space = space ? 2 * space : 65536) * sizeof *calls))) fail("calls");
    calls[count++] = (struct call){.due = due, .taken_up = now_us()};
}

static void end(struct line *of, int status) {
    calls[of->call].status = status;
    calls[of->call].done = now_us();
    of->call = -1;
    ended++;
    if (put_off && status == OK) append(now_us());
    else if (put_off) put_off[off++ % most] = now_us() + pause_us;
}

static void drop(struct line *of, int status) {
    int number = of - lines;
    if (of->call >= 0) end(of, status);
    for (int i = 0; i < idles; i++)
        if (idle[i] == number) memmove(idle + i, idle + i + 1, (--idles - i) * sizeof *idle);
    close(of->fd);
    of->fd = -1;
    vacant[--open_lines] = number;
}

static void watch(struct line *of, int how, uint32_t events) {
    struct epoll_event wanted = {.events = events, .data.u32 = of - lines};
    if (epoll_ctl(loop, how, of->fd, &wanted)) fail("epoll_ctl");
}

static struct line *dial(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int number = vacant[open_lines++], one = 1;
    struct line *of = &lines[number];
    of->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (of->fd < 0) fail("socket");
    setsockopt(of->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connect(of->fd, (struct sockaddr *)&at, sizeof at); /* what is wrong with it shows when it is written to */
    watch(of, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    opened++;
    if (open_lines > most_open) most_open = open_lines;
    return of;
}

static void put(struct line *of) { /* what it can take of the question */
    while (of->put < question_size) {
        ssize_t size = send(of->fd, question + of->put, question_size - of->put, MSG_NOSIGNAL);
        if (size < 0 && errno == EAGAIN) return;
        if (size < 0) { drop(of, BROKEN); return; }
        of->put += size;
    }
    calls[of->call].sent = now_us();
}

static void hand_out(void) { /* gives lines to the calls that are due, in their order */
    while (given < count && (idles || open_lines < most)) {
        struct line *of = idles ? &lines[idle[--idles]] : dial();
        of->call = given++;
        of->put = 0;
        expect(&of->answer);
        put(of);
    }
}

static void hear(struct line *of) {
    static char data[ROOM];
    ssize_t got = recv(of->fd, data, ROOM, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (of->call < 0) { drop(of, BROKEN); return; } /* nothing was asked: it was closed */
    int whole = got > 0 ? take(&of->answer, data, got) : got == 0 && of->answer.left > UNTIL_CLOSED / 2 ? 1 : -1;
    if (whole < 0) drop(of, got > 0 ? NO_HTTP : BROKEN);
    if (whole <= 0) return;
    end(of, atoi(of->answer.head + 9));
    if (of->answer.closes) drop(of, BROKEN);
    else idle[idles++] = of - lines;
}

static void turn(int64_t until) { /* gives out what is due, and hears what comes, until something has or it is time */
    static int64_t looked;
    struct epoll_event events[EVENTS];
    hand_out();
    int64_t left = until - now_us();
    struct timespec wait = {.tv_sec = left > 0 ? left / 1000000 : 0, .tv_nsec = left > 0 ? left % 1000000 * 1000 : 0};
    int found = epoll_pwait2(loop, events, EVENTS, &wait, NULL);
    for (int i = 0; i < found; i++) {
        struct line *of = &lines[events[i].data.u32];
        if (events[i].events & EPOLLOUT) {
            if (of->put < question_size) put(of);
            if (of->fd < 0) continue;
            if (of->put == question_size) watch(of, EPOLL_CTL_MOD, EPOLLIN);
        }
        if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) hear(of);
    }
    if (now_us() < looked + SLOT) return;
    looked = now_us();
    for (int i = 0; i < most; i++)
        if (lines[i].fd >= 0 && lines[i].call >= 0 && looked > calls[lines[i].call].due + PATIENCE)
            drop(&lines[i], TIMED_OUT);
}

static void in_the_end(void) { /* waits for what is under way */
    int64_t until = now_us() + PATIENCE;
    while (ended < count && now_us() < until) turn(now_us() + SLOT);
}

static double dice(uint64_t *state) { /* splitmix64, as a number above 0 and up to 1 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return ((double)((z ^ (z >> 31)) >> 11) + 1) / 9007199254740992.0;
}

static void by_the_clock(struct level *levels, int wanted, uint64_t seed) {
    int64_t begin = now_us() + 10000;
    for (int i = 0; i < wanted; i++) {
        struct level *of = &levels[i];
        of->first = count, of->begin = begin;
        begin = of->end = begin + of->lasts;
        double due = of->begin - log(dice(&seed)) / of->per_s * 1e6;
        while (due < of->end) {
            for (int64_t now = now_us(); due <= now && due < of->end; due -= log(dice(&seed)) / of->per_s * 1e6)
                append((int64_t)due);
            turn(due < of->end ? (int64_t)due : of->end);
        }
        of->count = count - of->first;
    }
    in_the_end();
}

static void one_by_one(struct level *of) {
    unsigned back = 0;
    put_off = room(most, sizeof *put_off);
    of->begin = now_us(), of->end = of->begin + of->lasts;
    for (int i = 0; i < most; i++) append(of->begin);
    while (now_us() < of->end) {
        for (; back != off && put_off[back % most] <= now_us(); back++) append(now_us());
        turn(back != off && put_off[back % most] < of->end ? put_off[back % most] : of->end);
    }
    of->count = count;
    put_off = NULL; /* nobody asks again */
    in_the_end();
}

/* ---- what came of it ---- */

enum { LATE = -10, HELD = -11 }; /* taken up after it was due; sent after it was taken up */

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* How many of these calls ended so, or the times of them all; sorted, in milliseconds. */
static long times(long first, long count_of, int what, float *into) {
    long found = 0;
    for (struct call *of = calls + first; of < calls + first + count_of; of++) {
        if (what == LATE) into[found++] = (of->taken_up - of->due) / 1000.0;
        else if (what == HELD && of->sent) into[found++] = (of->sent - of->taken_up) / 1000.0;
        else if (what == of->status) into[found++] = (of->done - of->due) / 1000.0;
    }
    qsort(into, found, sizeof *into, by_size);
    return found;
}

static void say(const char *name, double value) {
    if (isnan(value)) printf(", \"%s\": NaN", name); /* as Python has it: none to take it from */
    else printf(", \"%s\": %.3f", name, value);
}

static double share(const float *of, long n, double part) {
    long at = (long)(part * n);
    return n ? of[at < n ? at : n - 1] : NAN;
}

static void say_times(const char *name, long first, long n, int what, float *into) {
    long found = times(first, n, what, into);
    printf(", \"%s\": {\"n\": %ld", name, found);
    say("p50_ms", share(into, found, .5));
    say("p99_ms", share(into, found, .99));
    say("most_ms", share(into, found, 1));
    printf("}");
}

static void say_slot(long first, long n, float *into) {
    long answered = times(first, n, OK, into);
    double p50 = share(into, answered, .5), p99 = share(into, answered, .99);
    long refused = times(first, n, REFUSED, into);
    printf("{\"offered\": %ld, \"answered\": %ld, \"refused\": %ld", n, answered, refused);
    say("p50_ms", p50);
    say("p99_ms", p99);
    say("refused_p99_ms", share(into, refused, .99));
    say("late_most_ms", share(into, times(first, n, LATE, into), 1));
    printf("}");
}

static void say_level(const struct level *of) {
    float *into = room(of->count + 1, sizeof *into);
    long in_time = 0, at = of->first, last = of->first + of->count, ends[5] = {0};
    for (long i = of->first; i < last; i++) {
        struct call *one = &calls[i];
        in_time += one->status == OK && one->done <= of->end;
        ends[one->status <= 0 ? -one->status : 4] += one->status != OK && one->status != REFUSED;
    }
    printf("{\"seconds\": %.3f, \"offered\": %ld, \"in_time\": %ld, \"unanswered\": %ld, \"broken\": %ld, "
           "\"timed_out\": %ld, \"no_http\": %ld, \"other_status\": %ld", (of->end - of->begin) / 1e6, of->count,
           in_time, ends[-UNDER_WAY], ends[-BROKEN], ends[-TIMED_OUT], ends[-NO_HTTP], ends[4]);
    say_times("answered", of->first, of->count, OK, into);
    say_times("refused", of->first, of->count, REFUSED, into);
    say_times("late", of->first, of->count, LATE, into);
    say_times("held", of->first, of->count, HELD, into);
    printf(", \"slot_s\": %.3f, \"slots\": [", SLOT / 1e6);
    for (int64_t until = of->begin + SLOT; until <= of->end; until += SLOT) {
        long first = at;
        while (at < last && calls[at].due < until) at++;
        printf(until > of->begin + SLOT ? ", " : "");
        say_slot(first, at - first, into);
    }
    printf("]}");
    free(into);
}

static void start(const char *at, const char *connections, const char *file) {
    FILE *from = fopen(file, "rb");
    if (!from) fail(file);
    question_size = fread(question, 1, ROOM, from);
    fclose(from);
    port = atoi(at), most = atoi(connections);
    loop = epoll_create1(0);
    lines = room(most, sizeof *lines), idle = room(most, sizeof *idle), vacant = room(most, sizeof *vacant);
    for (int i = 0; i < most; i++) lines[i].fd = lines[i].call = -1, vacant[i] = i;
}

int main(int words_count, char **words) {
    prctl(PR_SET_TIMERSLACK, 1000);
    int by_clock = words_count >= 7 && !strcmp(words[1], "open"), wanted = by_clock ? words_count - 6 : 1;
    if (!by_clock && (words_count != 7 || strcmp(words[1], "closed"))) {
        fprintf(stderr, "open PORT LINES FILE SEED PER_S:SECONDS ... | closed PORT LINES FILE SECONDS PAUSE_MS\n");
        return 2;
    }
    struct level *levels = room(wanted, sizeof *levels);
    for (int i = 0; i < wanted; i++) {
        const char *seconds = by_clock ? strchr(words[6 + i], ':') : words[5] - 1;
        levels[i].lasts = seconds ? (int64_t)(atof(seconds + 1) * 1e6) : 0;
        levels[i].per_s = atof(words[5 + by_clock + i]);
    }
    start(words[2], words[3], words[4]);
    pause_us = (int64_t)(atof(words[6]) * 1000);
    by_clock ? by_the_clock(levels, wanted, strtoull(words[5], NULL, 10)) : one_by_one(levels);
    printf("{\"opened\": %ld, \"most_open\": %d, \"levels\": [", opened, most_open);
    for (int i = 0; i < wanted; i++) {
        printf(i ? ", " : "");
        say_level(&levels[i]);
    }
    printf("]}\n");
}
