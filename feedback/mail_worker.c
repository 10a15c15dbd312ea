/* SPDX-License-Identifier: Apache-2.0 */
/* mail_worker: see mail_worker.h. Owns the sockets to the nursery and to the parser; a lock
 * lets one thread at a time use them. */
#include "mail_worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "log.h"
#include "mail.h"
#include "mail_parser.h"
#include "mail_wire.h"

#define SILENT_MS (MAIL_WORKER_SILENT_S * 1000)
#define NURSERY_MS 5000

struct mail_worker {
	pthread_mutex_t lock;
	pid_t nursery;
	int control, fd; /* fd: of the parser, -1 when there is none */
	bool is_contained;
	struct buf out, in;
};

/* One mail under way. */
struct exchange {
	struct mail_worker *worker;
	const struct inbound_input *input;
	struct mail_wire_token tokens[MAIL_WIRE_QUESTIONS_MAX];
	size_t token_count;
	size_t questions;
};

struct mail_worker *
mail_worker_start(struct err *err)
{
	struct mail_worker *w = calloc(1, sizeof(*w));
	int pair[2];

	if (w == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		free(w);
		(void)err_set(err, "cannot make a socket for the parser of mails");
		return NULL;
	}
	w->nursery = fork();
	if (w->nursery == 0) {
		nursery_run(pair[1]);
	}
	(void)close(pair[1]);
	if (w->nursery < 0) {
		(void)close(pair[0]);
		free(w);
		(void)err_set(
		    err, "cannot make a process for the parser of mails: %s", strerror(errno));
		return NULL;
	}
	(void)pthread_mutex_init(&w->lock, NULL);
	w->control = pair[0];
	w->fd = -1;
	w->is_contained = true;
	buf_init(&w->in, MAIL_WIRE_PAYLOAD_MAX);
	buf_init(&w->out, MAIL_WIRE_PAYLOAD_MAX);
	return w;
}

static void
drop_parser(struct mail_worker *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = -1;
}

void
mail_worker_free(struct mail_worker *w)
{
	if (w == NULL)
		return;
	drop_parser(w);
	(void)close(w->control);
	buf_release(&w->in);
	buf_release(&w->out);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

void
mail_worker_contain(struct mail_worker *w, bool is_contained)
{
	w->is_contained = is_contained;
}

/* ---- a parser --------------------------------------------------------------------------- */

/* The socket that comes with the nursery's answer, or -1. */
static int
receive_socket(int control)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} space = { 0 };
	char byte = 0;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = space.bytes,
		.msg_controllen = sizeof(space.bytes) };
	struct timeval wait = { NURSERY_MS / 1000, 0 };
	const struct cmsghdr *c;
	ssize_t n;
	int fd = -1;

	(void)setsockopt(control, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	do
		n = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		return -1;
	c = CMSG_FIRSTHDR(&message);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static bool
have_parser(struct mail_worker *w)
{
	char wish = w->is_contained ? NURSERY_CONTAINED : NURSERY_OPEN;

	if (w->fd >= 0)
		return true;
	if (frame_send(w->control, slice_make(&wish, 1), NURSERY_MS) < 0)
		return false;
	w->fd = receive_socket(w->control);
	return w->fd >= 0;
}

/* ---- one mail --------------------------------------------------------------------------- */

static int
send_frame(int fd, enum mail_wire_kind kind, struct slice payload)
{
	unsigned char header[MAIL_WIRE_HEADER];

	mail_wire_header(header, kind, payload.len);
	if (frame_send(fd, slice_make((const char *)header, sizeof(header)), SILENT_MS) < 0)
		return -1;
	return frame_send(fd, payload, SILENT_MS);
}

static int
receive_frame(struct mail_worker *w, enum mail_wire_kind *kind)
{
	unsigned char header[MAIL_WIRE_HEADER];
	size_t n;

	buf_reset(&w->in);
	if (frame_receive(w->fd, header, sizeof(header), SILENT_MS) < 0 ||
	    !mail_wire_header_read(header, kind, &n) || !buf_reserve(&w->in, n) ||
	    frame_receive(w->fd, w->in.data, n, SILENT_MS) < 0)
		return -1;
	buf_commit(&w->in, n);
	return 0;
}

/* Says whether it is our token, and keeps it: events may link to it and to no other. */
static int
answer_question(struct exchange *x)
{
	unsigned char answer[MAIL_WIRE_ANSWER];
	struct token token = { 0, 0, 0 };
	enum token_purpose purpose;
	struct slice text;
	bool is_ours;

	if (x->questions++ >= MAIL_WIRE_QUESTIONS_MAX ||
	    !mail_wire_get_question(buf_slice(&x->worker->in), &purpose, &text))
		return -1;
	is_ours = token_verify(x->input->keys, purpose, text, &token);
	if (is_ours)
		x->tokens[x->token_count++] = (struct mail_wire_token){ purpose, token };
	mail_wire_put_answer(answer, is_ours, &token);
	return send_frame(
	    x->worker->fd, MAIL_WIRE_TELL, slice_make((const char *)answer, sizeof(answer)));
}

/* 0 when there is a result, -1 when the parser failed. */
static int
converse(struct exchange *x, struct arena *arena, struct feedback_events *events,
    enum mail_worker_result *result, struct err *err)
{
	struct mail_worker *w = x->worker;
	enum mail_wire_kind kind;

	if (send_frame(w->fd, MAIL_WIRE_MAIL, buf_slice(&w->out)) < 0)
		return -1;
	for (;;) {
		if (receive_frame(w, &kind) < 0)
			return -1;
		if (kind == MAIL_WIRE_ASK && answer_question(x) == 0)
			continue;
		break;
	}
	if (kind == MAIL_WIRE_REFUSED) {
		struct slice why = feedback_text(arena, buf_slice(&w->in), sizeof(err->msg) - 1);

		*result = MAIL_WORKER_UNREADABLE;
		(void)err_set(err, "%.*s", (int)why.len, why.len > 0 ? why.ptr : "");
		return 0;
	}
	if ((kind != MAIL_WIRE_EVENTS && kind != MAIL_WIRE_LAST) ||
	    !mail_wire_get_events(buf_slice(&w->in), x->tokens, x->token_count, arena, events))
		return -1;
	if (kind == MAIL_WIRE_LAST)
		drop_parser(w);
	*result = MAIL_WORKER_READ;
	return 0;
}

static enum mail_worker_result
read_locked(struct mail_worker *w, const struct inbound_input *in, struct arena *arena,
    struct feedback_events *events, struct err *err)
{
	enum mail_worker_result result = MAIL_WORKER_UNREADABLE;
	struct inbound_input part = *in;

	/* what is behind is not looked at */
	if (part.raw.len > MAIL_READ_MAX)
		part.raw.len = MAIL_READ_MAX;
	buf_reset(&w->out);
	mail_wire_put_mail(&w->out, &part);
	if (buf_failed(&w->out)) {
		(void)err_set(err, "the mail needs more memory than there is");
		return MAIL_WORKER_NONE;
	}
	for (unsigned i = 0; i < MAIL_WORKER_TRIES; i++) {
		struct exchange x = { .worker = w, .input = in };

		if (!have_parser(w)) {
			(void)err_set(err, "no process for the parser of mails");
			return MAIL_WORKER_NONE;
		}
		arena_reset(arena);
		*events = (struct feedback_events){ 0 };
		if (converse(&x, arena, events, &result, err) == 0)
			return result;
		drop_parser(w);
		log_error(
		    "the parser of mails ended or misbehaved, a new one is made bytes=%zu time=%u",
		    in->raw.len, i + 1);
	}
	(void)err_set(err, "the parser ended on it %d times", MAIL_WORKER_TRIES);
	return MAIL_WORKER_UNREADABLE;
}

enum mail_worker_result
mail_worker_read(struct mail_worker *w, const struct inbound_input *in, struct arena *arena,
    struct feedback_events *events, struct err *err)
{
	enum mail_worker_result result;

	if (in->raw.len > INBOUND_SIZE_MAX) {
		(void)err_set(err, "the mail is larger than %d bytes", INBOUND_SIZE_MAX);
		return MAIL_WORKER_UNREADABLE;
	}
	(void)pthread_mutex_lock(&w->lock);
	result = read_locked(w, in, arena, events, err);
	(void)pthread_mutex_unlock(&w->lock);
	return result;
}
