/* SPDX-License-Identifier: Apache-2.0 */
/* mail_parser: see mail_parser.h. Each process owns its socket and nothing else. */
#include "mail_parser.h"

#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "buf.h"
#include "contain.h"
#include "inbound.h"
#include "mail_wire.h"

#define MEMORY_MAX ((rlim_t)96 * 1024 * 1024) /* beyond what the program has at the start */
#define CPU_S 60			      /* of a parser's life; it ends by itself before */
#define CPU_HARD_S 120
#define FIRST_FD 3
#define POISON "X-Kairan-Crash: parser" /* in builds with crash points only */

/* ---- the socket ------------------------------------------------------------------------- */

int
frame_send(int fd, struct slice bytes, int timeout_ms)
{
	while (bytes.len > 0) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		ssize_t n;

		errno = 0;
		if (timeout_ms >= 0 && poll(&p, 1, timeout_ms) <= 0 && errno != EINTR)
			return -1;
		n = send(fd, bytes.ptr, bytes.len,
		    timeout_ms >= 0 ? MSG_NOSIGNAL | MSG_DONTWAIT : MSG_NOSIGNAL);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return -1;
		bytes = slice_make(bytes.ptr + n, bytes.len - (size_t)n);
	}
	return 0;
}

int
frame_receive(int fd, void *dst, size_t n, int timeout_ms)
{
	char *to = dst;

	while (n > 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got;

		errno = 0;
		if (timeout_ms >= 0 && poll(&p, 1, timeout_ms) <= 0 && errno != EINTR)
			return -1;
		got = recv(fd, to, n, timeout_ms >= 0 ? MSG_DONTWAIT : 0);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return -1;
		to += got;
		n -= (size_t)got;
	}
	return 0;
}

/* Nothing but the standard descriptors and fd, which becomes the first behind them. */
static int
keep_only(int fd)
{
	if (fd != FIRST_FD)
		(void)dup2(fd, FIRST_FD);
	(void)close_range(FIRST_FD + 1, ~0U, 0);
	return FIRST_FD;
}

/* ---- the parser ------------------------------------------------------------------------- */

static int
send_frame(int fd, enum mail_wire_kind kind, struct slice payload)
{
	unsigned char header[MAIL_WIRE_HEADER];

	mail_wire_header(header, kind, payload.len);
	return frame_send(fd, slice_make((const char *)header, sizeof(header)), -1) == 0 &&
		frame_send(fd, payload, -1) == 0
	    ? 0
	    : -1;
}

/* Asks the daemon, who has the keys. */
static bool
ask(void *ctx, enum token_purpose purpose, struct slice text, struct token *token)
{
	int fd = *(const int *)ctx;
	char question[MAIL_WIRE_QUESTION];
	unsigned char answer[MAIL_WIRE_HEADER + MAIL_WIRE_ANSWER];
	bool is_ours = false;

	mail_wire_put_question(question, purpose, text);
	if (send_frame(fd, MAIL_WIRE_ASK, slice_make(question, sizeof(question))) < 0 ||
	    frame_receive(fd, answer, sizeof(answer), -1) < 0)
		_exit(0); /* nobody waits for the rest */
	return mail_wire_get_answer(
		   slice_make((const char *)answer + MAIL_WIRE_HEADER, MAIL_WIRE_ANSWER), &is_ours,
		   token) &&
	    is_ours;
}

static bool
is_old(void)
{
	struct rusage used;

	return getrusage(RUSAGE_SELF, &used) != 0 || used.ru_utime.tv_sec >= CPU_S;
}

/* One mail; false when the parser should end. */
static bool
parse_one(int fd, struct buf *in, struct buf *out, struct arena *arena)
{
	unsigned char header[MAIL_WIRE_HEADER];
	struct feedback_events events = { 0 };
	struct inbound_input input;
	enum mail_wire_kind kind;
	struct err err = { 0 };
	bool is_last;
	size_t n;

	arena_reset(arena);
	buf_reset(in);
	buf_reset(out);
	if (frame_receive(fd, header, sizeof(header), -1) < 0 ||
	    !mail_wire_header_read(header, &kind, &n) || kind != MAIL_WIRE_MAIL ||
	    !buf_reserve(in, n) || frame_receive(fd, in->data, n, -1) < 0)
		return false;
	buf_commit(in, n);
	if (!mail_wire_get_mail(buf_slice(in), arena, &input))
		return false;
#ifdef KAIRAN_CRASH_POINTS /* a mail that no parser survives, for tests */
	if (memmem(input.raw.ptr, input.raw.len, POISON, sizeof(POISON) - 1) != NULL)
		(void)kill(getpid(), SIGKILL);
#endif
	input.verify = ask;
	input.verify_ctx = &fd;
	if (inbound_parse(&input, arena, &events, &err) < 0 || events.count == 0)
		return send_frame(fd, MAIL_WIRE_REFUSED, slice_str(err.msg)) == 0;
	mail_wire_put_events(out, &events);
	is_last = is_old();
	return !buf_failed(out) &&
	    send_frame(fd, is_last ? MAIL_WIRE_LAST : MAIL_WIRE_EVENTS, buf_slice(out)) == 0 &&
	    !is_last;
}

static void
limit(int what, rlim_t soft, rlim_t hard)
{
	(void)setrlimit(what, &(struct rlimit){ soft, hard });
}

/* Bytes that the process has mapped. */
static rlim_t
mapped(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (file == NULL || fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	if (file != NULL)
		(void)fclose(file);
	return pages > 0 ? (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) : (rlim_t)1 << 30;
}

_Noreturn static void
parser_run(int fd, bool is_contained)
{
	struct arena arena;
	struct buf in, out;

	(void)prctl(PR_SET_NAME, "kairan-parser", 0, 0, 0);
	arena_init(&arena, INBOUND_ARENA_MAX + 64 * 1024);
	buf_init(&in, MAIL_WIRE_PAYLOAD_MAX);
	buf_init(&out, MAIL_WIRE_PAYLOAD_MAX);
	limit(RLIMIT_CPU, CPU_HARD_S, CPU_HARD_S);
#if !defined(KAIRAN_SANITIZED) && !defined(KAIRAN_COVERAGE)
	/* sanitizers map terabytes, and both end with calls of their own */
	limit(RLIMIT_AS, mapped() + MEMORY_MAX, mapped() + MEMORY_MAX);
	limit(RLIMIT_FSIZE, 0, 0);
	limit(RLIMIT_NOFILE, 0, 0);
	if (is_contained && !contain_parser())
		_exit(1);
#else
	(void)is_contained;
	(void)mapped;
#endif
	while (parse_one(fd, &in, &out, &arena))
		continue;
	_exit(0);
}

/* ---- the nursery ------------------------------------------------------------------------ */

/* glibc loads the table of an encoding when it is first asked for, and a parser may open no
 * file. As long as one handle is open the table stays. */
static void
load_encodings(void)
{
	static const char *const names[] = { "US-ASCII", "UTF-16", "UTF-16BE", "UTF-16LE", "UTF-32",
		"UTF-7", "ISO-8859-1", "ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5",
		"ISO-8859-6", "ISO-8859-7", "ISO-8859-8", "ISO-8859-9", "ISO-8859-10",
		"ISO-8859-11", "ISO-8859-13", "ISO-8859-14", "ISO-8859-15", "ISO-8859-16",
		"WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1252", "WINDOWS-1253", "WINDOWS-1254",
		"WINDOWS-1255", "WINDOWS-1256", "WINDOWS-1257", "WINDOWS-1258", "WINDOWS-31J",
		"KOI8-R", "KOI8-U", "ISO-2022-JP", "ISO-2022-JP-2", "ISO-2022-JP-3", "SHIFT_JIS",
		"CP932", "EUC-JP", "EUC-JP-MS", "EUC-KR", "CP949", "ISO-2022-KR", "JOHAB", "GB2312",
		"GBK", "GB18030", "HZ", "EUC-CN", "ISO-2022-CN", "BIG5", "BIG5-HKSCS", "CP950",
		"EUC-TW", "TIS-620", "CP874", "VISCII", "MACINTOSH", "CP437", "CP850", "CP852",
		"CP866" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)iconv_open("UTF-8", names[i]); /* never closed */
}

/* What was given in the environment is not for the parser: a password may be in it. */
static void
forget_environment(void)
{
	for (char **e = environ; e != NULL && *e != NULL; e++)
#ifdef KAIRAN_SANITIZED /* its own settings are read late */
		if (strstr(*e, "SAN_OPTIONS=") == NULL)
#endif
			explicit_bzero(*e, strlen(*e));
}

static void
keep_quiet(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)prctl(PR_SET_NAME, "kairan-nursery", 0, 0, 0);
	/* a service manager tells all processes to end: the daemon finishes first, with a parser */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
	}
}

static int
send_socket(int control, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} space = { 0 };
	char byte = fd >= 0 ? '+' : '-';
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		message.msg_control = space.bytes;
		message.msg_controllen = sizeof(space.bytes);
		c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(control, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static void
end_parser(pid_t *parser)
{
	if (*parser <= 0)
		return;
	(void)kill(*parser, SIGKILL);
	while (waitpid(*parser, NULL, 0) < 0 && errno == EINTR)
		continue;
	*parser = 0;
}

static int
make_parser(int control, bool is_contained, pid_t *parser)
{
	int pair[2] = { -1, -1 }, status;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
		*parser = fork();
		if (*parser == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			parser_run(keep_only(pair[1]), is_contained);
		}
		(void)close(pair[1]);
		if (*parser < 0) {
			(void)close(pair[0]);
			pair[0] = -1;
		}
	}
	status = send_socket(control, pair[0]);
	if (pair[0] >= 0)
		(void)close(pair[0]);
	return status;
}

void
nursery_run(int control)
{
	pid_t parser = 0;
	ssize_t n;
	char wish;

	keep_quiet();
	control = keep_only(control);
	forget_environment();
	load_encodings();
	for (;;) {
		n = recv(control, &wish, 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		end_parser(&parser);
		if (n <= 0 || make_parser(control, wish != NURSERY_OPEN, &parser) < 0)
			break;
	}
	end_parser(&parser);
	_exit(0);
}
