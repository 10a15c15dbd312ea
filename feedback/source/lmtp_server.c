/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lmtp_server: see lmtp_server.h. Owns the listener, the sessions and the messages. A message
 * outlives its session when the client leaves before the commit: it is committed all the same,
 * and heard again when the client comes back, which does nothing.
 */
#include "lmtp_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "arena.h"
#include "listen_address.h"
#include "lmtp.h"
#include "log.h"
#include "mail_intake.h"

#define READ_BYTES ((size_t)16 * 1024)
#define COMMIT_S 60 /* longest wait for a commit before 451 */
#define END_S 10    /* to read the last reply */
#define BACKLOG 128

union stream {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct message;

struct session {
	struct session *previous, *next;
	struct lmtp_server *server;
	union stream *stream; /* each is NULL once its closing is under way */
	uv_timer_t *timer;
	struct lmtp *lmtp;
	struct message *message; /* at the intake, answer due; or NULL */
	unsigned writes;	 /* under way */
	bool is_reading;
	char chunk[READ_BYTES];
};

struct message {
	struct message *previous, *next;
	struct lmtp_server *server;
	struct session *session; /* NULL when nobody waits for the answer */
	uint64_t ref;
	struct arena arena;
	struct feedback_events events;
	struct intake_item item;
};

struct write {
	uv_write_t request;
	char bytes[];
};

struct lmtp_server {
	struct source source;
	struct lmtp_server_config config;
	struct lmtp_config lmtp;
	uv_loop_t *loop;
	union stream *listener;
	struct session *sessions;
	struct message *messages;
	unsigned session_count;
	bool is_stopping;
};

static void pump(struct session *s);
static void restart_idle(struct session *s);
static void session_close(struct session *s);

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* ---- messages --------------------------------------------------------------------------- */

static void
message_free(struct message *m)
{
	if (m->previous != NULL)
		m->previous->next = m->next;
	else
		m->server->messages = m->next;
	if (m->next != NULL)
		m->next->previous = m->previous;
	if (m->session != NULL)
		m->session->message = NULL;
	arena_release(&m->arena);
	free(m);
}

static struct message *
message_new(struct session *s, uint64_t ref)
{
	struct message *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->server = s->server;
	m->session = s;
	m->ref = ref;
	arena_init(&m->arena, MAIL_INTAKE_ARENA_MAX);
	m->next = s->server->messages;
	if (m->next != NULL)
		m->next->previous = m;
	s->server->messages = m;
	s->message = m;
	return m;
}

static void
answer(struct session *s, uint64_t ref, bool is_recorded)
{
	if (is_recorded) {
		(void)lmtp_answer(s->lmtp, ref, 250, "2.0.0 recorded");
	} else {
		source_left(&s->server->source);
		(void)lmtp_answer(s->lmtp, ref, 451, "4.3.0 try again");
	}
}

static void
on_done(struct intake_item *item, enum intake_result result)
{
	struct message *m =
	    (struct message *)(void *)((char *)item - offsetof(struct message, item));
	struct session *s = m->session;
	uint64_t ref = m->ref;

	message_free(m);
	if (s != NULL) {
		answer(s, ref, result == INTAKE_COMMITTED);
		restart_idle(s);
		pump(s);
	}
}

static void
on_commit_late(uv_timer_t *timer)
{
	struct session *s = timer->data;
	struct message *m = s->message;

	if (m == NULL)
		return;
	m->session = NULL;
	s->message = NULL;
	answer(s, m->ref, false);
	restart_idle(s);
	pump(s);
}

/* A complete message: to the intake, or 451. */
static void
take_message(struct session *s, const struct lmtp_message *in)
{
	struct lmtp_server *server = s->server;
	struct message *m = intake_is_open(server->config.intake) ? message_new(s, in->ref) : NULL;
	struct inbound_input input = { .raw = in->data,
		.rcpts = in->rcpts,
		.rcpt_count = in->rcpt_count,
		.keys = server->config.keys,
		.bounce_domain = slice_str(server->config.bounce_domain) };

	source_received(&server->source, 1);
	if (m == NULL) {
		answer(s, in->ref, false);
		return;
	}
	if (mail_intake_read(&input, &m->arena, &m->events) == 0) {
		m->item = (struct intake_item){ .events = m->events.items,
			.count = m->events.count,
			.bytes = m->arena.used_total + sizeof(*m),
			.done = on_done,
			.source = &server->source };
		if (intake_add(server->config.intake, &m->item)) {
			(void)uv_timer_start(s->timer, on_commit_late, COMMIT_S * 1000, 0);
			return;
		}
	}
	message_free(m);
	answer(s, in->ref, false);
}

/* ---- sessions --------------------------------------------------------------------------- */

static void
on_idle(uv_timer_t *timer)
{
	struct session *s = timer->data;

	if (lmtp_is_over(s->lmtp)) { /* he does not even read the end */
		session_close(s);
		return;
	}
	lmtp_end(s->lmtp, "4.4.2 silent for too long");
	(void)uv_timer_start(s->timer, on_idle, END_S * 1000, 0);
	pump(s);
}

static void
restart_idle(struct session *s)
{
	if (s->message == NULL)
		(void)uv_timer_start(s->timer, on_idle, LMTP_IDLE_S * 1000, 0);
}

/* Ends the session; its writes fail first, then the memory goes. */
static void
session_close(struct session *s)
{
	struct lmtp_server *server = s->server;

	if (s->message != NULL)
		s->message->session = NULL;
	if (s->previous != NULL)
		s->previous->next = s->next;
	else
		server->sessions = s->next;
	if (s->next != NULL)
		s->next->previous = s->previous;
	server->session_count--;
	s->stream->handle.data = NULL;
	uv_close(&s->stream->handle, free_handle);
	uv_close((uv_handle_t *)s->timer, free_handle);
	lmtp_free(s->lmtp);
	free(s);
}

static void
on_written(uv_write_t *request, int status)
{
	struct write *w = (struct write *)(void *)request;
	/* the session is gone when its stream says so */
	struct session *s = request->handle->data;

	free(w);
	if (s == NULL)
		return;
	s->writes--;
	if (status < 0)
		session_close(s);
	else
		pump(s);
}

/* False when the session was closed. */
static bool
write_output(struct session *s)
{
	struct slice out = lmtp_output(s->lmtp);
	struct write *w;
	uv_buf_t b;
	int n;

	if (out.len == 0)
		return true;
	if (s->writes == 0) {
		b = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
		n = uv_try_write(&s->stream->stream, &b, 1);
		if (n > 0) {
			lmtp_output_consume(s->lmtp, (size_t)n);
			out = lmtp_output(s->lmtp);
		}
		if (out.len == 0)
			return true;
	}
	w = malloc(sizeof(*w) + out.len);
	if (w != NULL) {
		memcpy(w->bytes, out.ptr, out.len);
		b = uv_buf_init(w->bytes, (unsigned)out.len);
		if (uv_write(&w->request, &s->stream->stream, &b, 1, on_written) == 0) {
			s->writes++;
			lmtp_output_consume(s->lmtp, out.len);
			return true;
		}
		free(w);
	}
	session_close(s);
	return false;
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b)
{
	struct session *s = handle->data;

	(void)suggested;
	*b = s != NULL ? uv_buf_init(s->chunk, READ_BYTES) : uv_buf_init(NULL, 0);
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct session *s = stream->data;

	if (s == NULL || n == 0)
		return;
	if (n < 0) {
		session_close(s);
		return;
	}
	if (lmtp_input(s->lmtp, b->base, (size_t)n) < 0)
		(void)lmtp_is_over(s->lmtp); /* pump() writes what is left and closes */
	restart_idle(s);
	pump(s);
}

/* Does whatever can be done now: messages, output, reading, the end. */
static void
pump(struct session *s)
{
	struct lmtp_message in;
	bool wants;

	while (s->message == NULL && lmtp_message(s->lmtp, &in)) {
		take_message(s, &in);
		restart_idle(s);
	}
	if (s->server->is_stopping && s->message == NULL && !lmtp_is_over(s->lmtp)) {
		lmtp_end(s->lmtp, "4.3.2 going down, come back");
		(void)uv_timer_start(s->timer, on_idle, END_S * 1000, 0);
	}
	if (!write_output(s))
		return;
	if (lmtp_is_over(s->lmtp) && s->writes == 0) {
		session_close(s);
		return;
	}
	wants = lmtp_wants_input(s->lmtp) && s->writes == 0;
	if (wants && !s->is_reading)
		(void)uv_read_start(&s->stream->stream, on_alloc, on_read);
	else if (!wants && s->is_reading)
		(void)uv_read_stop(&s->stream->stream);
	s->is_reading = wants;
}

static union stream *
stream_new(uv_loop_t *loop, bool is_unix)
{
	union stream *stream = calloc(1, sizeof(*stream));
	int status;

	if (stream == NULL)
		return NULL;
	status = is_unix ? uv_pipe_init(loop, &stream->pipe, 0) : uv_tcp_init(loop, &stream->tcp);
	if (status == 0)
		return stream;
	free(stream);
	return NULL;
}

static bool
is_unix(const struct lmtp_server *server)
{
	return strncmp(server->config.listen, "unix:", 5) == 0;
}

/* One too many is told so by closing: the MTA tries again. */
static void
on_connection(uv_stream_t *listener, int status)
{
	struct lmtp_server *server = listener->data;
	union stream *stream = status == 0 ? stream_new(server->loop, is_unix(server)) : NULL;
	struct session *s;

	if (stream == NULL)
		return;
	if (uv_accept(listener, &stream->stream) != 0 || server->is_stopping ||
	    server->session_count >= LMTP_SESSIONS_MAX || (s = calloc(1, sizeof(*s))) == NULL) {
		uv_close(&stream->handle, free_handle);
		return;
	}
	s->lmtp = lmtp_new(&server->lmtp);
	s->timer = malloc(sizeof(*s->timer));
	if (s->lmtp == NULL || s->timer == NULL || uv_timer_init(server->loop, s->timer) != 0) {
		lmtp_free(s->lmtp);
		free(s->timer);
		free(s);
		uv_close(&stream->handle, free_handle);
		return;
	}
	s->server = server;
	s->stream = stream;
	stream->handle.data = s->timer->data = s;
	s->next = server->sessions;
	if (s->next != NULL)
		s->next->previous = s;
	server->sessions = s;
	server->session_count++;
	restart_idle(s);
	pump(s);
}

/* ---- the listener ----------------------------------------------------------------------- */

static bool
accepts(void *ctx, struct slice address)
{
	static const struct slice others[] = { { "postmaster", 10 }, { "abuse", 5 }, { "fbl", 3 } };
	const struct lmtp_server *server = ctx;
	struct slice domain = slice_str(server->config.bounce_domain);
	const char *at = address.len > 0 ? memrchr(address.ptr, '@', address.len) : NULL;

	if (domain.len == 0 && at != NULL)
		domain = slice_make(at + 1, (size_t)(address.ptr + address.len - at) - 1);
	return lmtp_address_known(address, &domain, 1, others, sizeof(others) / sizeof(others[0]));
}

/* 0 when the path is free, maybe after removing what a dead server left. */
static int
clear_path(const char *path, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int fd, status;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, "feedback.lmtp_listen: the path is longer than %zu bytes",
		    sizeof(address.sun_path) - 1);
	if (lstat(path, &st) < 0)
		return errno == ENOENT
		    ? 0
		    : err_set(err, "feedback.lmtp_listen %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, "feedback.lmtp_listen %s is there and is no socket", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	status = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof(address));
	if (status < 0 && fd >= 0 && errno == ECONNREFUSED)
		status = unlink(path) == 0 ? 1 : -1;
	if (fd >= 0)
		(void)close(fd);
	return status == 1
	    ? 0
	    : err_set(err, "feedback.lmtp_listen %s: another server answers on it", path);
}

static int
listen_unix(struct lmtp_server *server, const char *path, struct err *err)
{
	int status;

	if (clear_path(path, err) < 0)
		return -1;
	status = uv_pipe_bind(&server->listener->pipe, path);
	if (status == 0 && chmod(path, 0666) < 0)
		status = uv_translate_sys_error(errno);
	if (status == 0)
		status = uv_listen(&server->listener->stream, BACKLOG, on_connection);
	return status == 0 ? 0
			   : err_set(err, "cannot listen on feedback.lmtp_listen %s: %s", path,
				 uv_strerror(status));
}

static bool
is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
		    &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
}

static int
listen_tcp(struct lmtp_server *server, const char *text, struct err *err)
{
	static const char network[] = "network:";
	bool is_open = strncmp(text, network, sizeof(network) - 1) == 0;
	struct sockaddr_storage address;
	int status;

	if (is_open)
		text += sizeof(network) - 1;
	if (listen_address_parse(text, "feedback.lmtp_listen", &address, err) < 0)
		return -1;
	if (!is_open && !is_loopback(&address))
		return err_set(err,
		    "feedback.lmtp_listen %s is not the loopback, and LMTP knows no password; use "
		    "unix:/path or 127.0.0.1:port, or network:%s in a closed network",
		    text, text);
	status = uv_tcp_bind(&server->listener->tcp, (struct sockaddr *)&address, 0);
	if (status == 0)
		status = uv_listen(&server->listener->stream, BACKLOG, on_connection);
	return status == 0 ? 0
			   : err_set(err, "cannot listen on feedback.lmtp_listen %s: %s", text,
				 uv_strerror(status));
}

static void
stop(void *self)
{
	struct lmtp_server *server = self;
	struct session *next;

	if (server->is_stopping)
		return;
	server->is_stopping = true;
	uv_close(&server->listener->handle, free_handle);
	server->listener = NULL;
	for (struct session *s = server->sessions; s != NULL; s = next) {
		next = s->next;
		pump(s);
	}
}

static bool
is_idle(void *self)
{
	const struct lmtp_server *server = self;

	return server->sessions == NULL && server->messages == NULL;
}

static void
server_free(void *self)
{
	struct lmtp_server *server = self;

	if (server->listener != NULL)
		uv_close(&server->listener->handle, free_handle);
	while (server->sessions != NULL)
		session_close(server->sessions);
	while (server->messages != NULL)
		message_free(server->messages);
	source_release(&server->source);
	free(server);
}

static const struct source_kind lmtp_kind = {
	.stop = stop, .is_idle = is_idle, .free = server_free
};

struct source *
lmtp_server_new(uv_loop_t *loop, const struct lmtp_server_config *config, struct err *err)
{
	struct lmtp_server *server = calloc(1, sizeof(*server));
	int status;

	if (server == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	source_init(&server->source, "lmtp", &lmtp_kind, server);
	server->config = *config;
	server->lmtp = (struct lmtp_config){
		.hostname = config->hostname, .accepts = accepts, .context = server
	};
	server->loop = loop;
	server->listener = stream_new(loop, is_unix(server));
	if (server->listener == NULL) {
		server_free(server);
		(void)err_set(err, "no memory");
		return NULL;
	}
	server->listener->handle.data = server;
	status = is_unix(server) ? listen_unix(server, config->listen + 5, err)
				 : listen_tcp(server, config->listen, err);
	if (status < 0) {
		server_free(server);
		return NULL;
	}
	log_info("lmtp listens address=%s", config->listen);
	source_up(&server->source, true);
	return &server->source;
}
