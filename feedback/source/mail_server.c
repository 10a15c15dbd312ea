/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_server: see mail_server.h. Owns the listener, the sessions and the messages. A message
 * outlives its session when the client leaves before the commit: it is committed all the same,
 * and heard again when the client comes back, which does nothing.
 */
#include "mail_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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
	struct mail_server *server;
	union stream *stream; /* each is NULL once its closing is under way */
	uv_timer_t *timer;
	struct smtpd *smtpd;
	struct tls *tls; /* NULL: in clear */
	struct sockaddr_storage peer;
	uint64_t started_ms;
	struct message *message; /* at the intake, answer due; or NULL */
	unsigned writes;	 /* under way */
	bool is_reading;
	char chunk[READ_BYTES];
};

struct message {
	struct message *previous, *next;
	struct mail_server *server;
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

struct mail_server {
	struct source source;
	struct mail_server_config config;
	uv_loop_t *loop;
	union stream *listener; /* NULL: not any more, or not yet */
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
		(void)smtpd_answer(s->smtpd, ref, 250, "2.0.0 recorded");
	} else {
		source_left(&s->server->source);
		(void)smtpd_answer(s->smtpd, ref, 451, "4.3.0 try again");
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
take_message(struct session *s, const struct smtpd_message *in)
{
	struct mail_server *server = s->server;
	const struct mail_server_config *c = &server->config;
	struct message *m = intake_is_open(c->intake) ? message_new(s, in->ref) : NULL;

	source_received(&server->source, 1);
	if (m == NULL) {
		answer(s, in->ref, false);
		return;
	}
	if (c->take(c->owner, in, (struct sockaddr *)&s->peer, &m->arena, &m->events) == 0) {
		if (m->events.count == 0) {
			message_free(m);
			(void)smtpd_answer(s->smtpd, in->ref, 250, "2.0.0 ok");
			return;
		}
		m->item = (struct intake_item){ .events = m->events.items,
			.count = m->events.count,
			.bytes = m->arena.used_total + sizeof(*m),
			.done = on_done,
			.source = &server->source };
		if (intake_add(c->intake, &m->item)) {
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

	if (smtpd_is_over(s->smtpd)) { /* he does not even read the end */
		session_close(s);
		return;
	}
	smtpd_end(s->smtpd, "4.4.2 silent for too long, or too long in all");
	(void)uv_timer_start(s->timer, on_idle, END_S * 1000, 0);
	pump(s);
}

static bool
is_stressed(const struct mail_server *server)
{
	return server->config.session_s > 0 &&
	    server->session_count * 4 > server->config.sessions_max * 3;
}

/* The next end of patience: silence, or the end of the session's time. */
static void
restart_idle(struct session *s)
{
	const struct mail_server_config *c = &s->server->config;
	bool stressed = is_stressed(s->server);
	uint64_t idle_ms = (stressed ? MAIL_SERVER_STRESS_IDLE_S : c->idle_s) * UINT64_C(1000);
	uint64_t whole_ms =
	    (stressed ? MAIL_SERVER_STRESS_SESSION_S : c->session_s) * UINT64_C(1000);
	uint64_t age_ms = uv_now(s->server->loop) - s->started_ms;

	if (s->message != NULL)
		return;
	if (stressed && idle_ms > c->idle_s * UINT64_C(1000))
		idle_ms = c->idle_s * UINT64_C(1000);
	if (whole_ms > 0 && age_ms + idle_ms > whole_ms)
		idle_ms = age_ms < whole_ms ? whole_ms - age_ms : 0;
	(void)uv_timer_start(s->timer, on_idle, idle_ms, 0);
}

/* Ends the session; its writes fail first, then the memory goes. */
static void
session_close(struct session *s)
{
	struct mail_server *server = s->server;

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
	smtpd_free(s->smtpd);
	tls_free(s->tls);
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

/* What goes to the socket now: the session's words, or what TLS makes of them. */
static struct slice
output(struct session *s)
{
	struct slice said = smtpd_output(s->smtpd);

	if (s->tls == NULL)
		return said;
	for (; said.len > 0 && tls_write(s->tls, said); said = smtpd_output(s->smtpd))
		smtpd_output_consume(s->smtpd, said.len);
	return tls_output(s->tls);
}

static void
output_consume(struct session *s, size_t n)
{
	if (s->tls != NULL)
		tls_wrote(s->tls, n);
	else
		smtpd_output_consume(s->smtpd, n);
}

/* False when the session was closed. */
static bool
write_output(struct session *s)
{
	struct slice out = output(s);
	struct write *w;
	uv_buf_t b;
	int n;

	if (out.len == 0)
		return true;
	if (s->writes == 0) {
		b = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
		n = uv_try_write(&s->stream->stream, &b, 1);
		if (n > 0) {
			output_consume(s, (size_t)n);
			out = output(s);
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
			output_consume(s, out.len);
			return true;
		}
		free(w);
	}
	session_close(s);
	return false;
}

/* The answer to STARTTLS has left: from now on nothing is read or written in clear. */
static void
begin_tls(struct session *s)
{
	const struct mail_server_config *c = &s->server->config;
	struct tls_context *context = c->tls != NULL ? c->tls(c->owner) : NULL;

	s->tls = context != NULL ? tls_accept(context) : NULL;
	if (s->tls == NULL) {
		log_error("%s cannot speak TLS, a session is ended", c->name);
		smtpd_end(s->smtpd, "4.7.0 TLS is not to be had now");
		return;
	}
	smtpd_tls_started(s->smtpd);
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b)
{
	struct session *s = handle->data;

	(void)suggested;
	*b = s != NULL ? uv_buf_init(s->chunk, READ_BYTES) : uv_buf_init(NULL, 0);
}

/* The client has ended TLS, and nothing of his is left to be done. */
static bool
has_left(const struct session *s)
{
	struct smtpd_message in;

	return s->tls != NULL && tls_state(s->tls) == TLS_ENDED && s->message == NULL &&
	    !smtpd_message(s->smtpd, &in);
}

/* False when TLS failed or is over. What ends the session by its own rules is written by pump(). */
static bool
read_bytes(struct session *s, const char *bytes, size_t n)
{
	char text[READ_BYTES];

	if (s->tls == NULL) {
		(void)!smtpd_input(s->smtpd, bytes, n);
		return true;
	}
	tls_input(s->tls, bytes, n);
	while ((n = tls_read(s->tls, text, sizeof(text))) > 0)
		(void)!smtpd_input(s->smtpd, text, n);
	if (tls_state(s->tls) != TLS_FAILED)
		return !has_left(s);
	log_debug("%s session ended error=\"%s\"", s->server->config.name, tls_failure(s->tls));
	return false;
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
	if (!read_bytes(s, b->base, (size_t)n)) {
		session_close(s);
		return;
	}
	restart_idle(s);
	pump(s);
}

/* close_notify, if there is room for it at once. */
static void
say_goodbye(struct session *s)
{
	struct slice out;
	uv_buf_t b;

	if (s->tls == NULL)
		return;
	tls_close(s->tls);
	out = tls_output(s->tls);
	b = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
	if (out.len > 0)
		(void)uv_try_write(&s->stream->stream, &b, 1);
}

/* Does whatever can be done now: messages, output, reading, the end. */
static void
pump(struct session *s)
{
	struct smtpd_message in;
	bool wants;

	while (s->message == NULL && smtpd_message(s->smtpd, &in)) {
		take_message(s, &in);
		restart_idle(s);
	}
	if (s->server->is_stopping && s->message == NULL && !smtpd_is_over(s->smtpd)) {
		smtpd_end(s->smtpd, "4.3.2 going down, come back");
		(void)uv_timer_start(s->timer, on_idle, END_S * 1000, 0);
	}
	if (!write_output(s))
		return;
	if (smtpd_wants_tls(s->smtpd) && s->writes == 0 && s->tls == NULL) {
		begin_tls(s);
		if (!write_output(s))
			return;
	}
	if ((smtpd_is_over(s->smtpd) || has_left(s)) && s->writes == 0) {
		say_goodbye(s);
		session_close(s);
		return;
	}
	wants = smtpd_wants_input(s->smtpd) && s->writes == 0;
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

/* Of IPv6 the network of 64 bits: a customer of any provider has all of it. */
static bool
is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const void *pa = a, *pb = b;

	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET6)
		return memcmp(&((const struct sockaddr_in6 *)pa)->sin6_addr,
			   &((const struct sockaddr_in6 *)pb)->sin6_addr, 8) == 0;
	return a->ss_family == AF_INET &&
	    ((const struct sockaddr_in *)pa)->sin_addr.s_addr ==
	    ((const struct sockaddr_in *)pb)->sin_addr.s_addr;
}

/* What is said in place of the greeting; NULL: he is welcome. */
static const char *
refusal(const struct mail_server *server, const struct sockaddr_storage *peer)
{
	const struct mail_server_config *c = &server->config;
	unsigned same = 0;
	const char *why;

	if (c->refuses != NULL &&
	    (why = c->refuses(c->owner, (const struct sockaddr *)peer)) != NULL)
		return why;
	if (server->is_stopping)
		return "421 4.3.2 going down, come back\r\n";
	if (server->session_count >= c->sessions_max)
		return "421 4.7.0 too many connections, come back\r\n";
	for (const struct session *s = server->sessions; s != NULL && c->per_peer_max > 0;
	     s = s->next)
		same += is_same_host(&s->peer, peer);
	return c->per_peer_max > 0 && same >= c->per_peer_max
	    ? "421 4.7.0 too many connections from your address, come back\r\n"
	    : NULL;
}

static void
turn_away(struct mail_server *server, union stream *stream, const char *why)
{
	uv_buf_t b = uv_buf_init((char *)(uintptr_t)why, (unsigned)strlen(why));

	(void)uv_try_write(&stream->stream, &b, 1);
	uv_close(&stream->handle, free_handle);
	source_left(&server->source);
	log_debug("%s connection turned away", server->config.name);
}

static struct session *
session_new(struct mail_server *server, union stream *stream, const struct sockaddr_storage *peer)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->smtpd = smtpd_new(&server->config.smtpd);
	s->timer = malloc(sizeof(*s->timer));
	if (s->smtpd == NULL || s->timer == NULL || uv_timer_init(server->loop, s->timer) != 0) {
		smtpd_free(s->smtpd);
		free(s->timer);
		free(s);
		return NULL;
	}
	s->server = server;
	s->stream = stream;
	s->peer = *peer;
	s->started_ms = uv_now(server->loop);
	stream->handle.data = s->timer->data = s;
	s->next = server->sessions;
	if (s->next != NULL)
		s->next->previous = s;
	server->sessions = s;
	server->session_count++;
	return s;
}

static void
on_connection(uv_stream_t *listener, int status)
{
	struct mail_server *server = listener->data;
	bool is_unix = listener->type == UV_NAMED_PIPE;
	union stream *stream = status == 0 ? stream_new(server->loop, is_unix) : NULL;
	struct sockaddr_storage peer = { .ss_family = AF_UNIX };
	int length = sizeof(peer);
	const char *why;
	struct session *s;

	if (stream == NULL)
		return;
	if (uv_accept(listener, &stream->stream) != 0 ||
	    (!is_unix &&
		uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&peer, &length) != 0)) {
		uv_close(&stream->handle, free_handle);
		return;
	}
	why = refusal(server, &peer);
	s = why == NULL ? session_new(server, stream, &peer) : NULL;
	if (s == NULL) {
		turn_away(server, stream, why != NULL ? why : "421 4.3.1 no memory\r\n");
		return;
	}
	restart_idle(s);
	pump(s);
}

/* ---- the listener ----------------------------------------------------------------------- */

/* 0 when the path is free, maybe after removing what a dead server left. */
static int
clear_path(const char *path, const char *setting, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int fd, status;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, "%s: the path is longer than %zu bytes", setting,
		    sizeof(address.sun_path) - 1);
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : err_set(err, "%s %s: %s", setting, path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, "%s %s is there and is no socket", setting, path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	status = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof(address));
	if (status < 0 && fd >= 0 && errno == ECONNREFUSED)
		status = unlink(path) == 0 ? 1 : -1;
	if (fd >= 0)
		(void)close(fd);
	return status == 1 ? 0 : err_set(err, "%s %s: another server answers on it", setting, path);
}

static int
begin(struct mail_server *server, const char *setting, int status, struct err *err)
{
	if (status == 0)
		status = uv_listen(&server->listener->stream, BACKLOG, on_connection);
	if (status != 0)
		return err_set(err, "cannot listen on %s: %s", setting, uv_strerror(status));
	source_up(&server->source, true);
	return 0;
}

static int
make_listener(struct mail_server *server, bool is_unix, struct err *err)
{
	server->listener = stream_new(server->loop, is_unix);
	if (server->listener == NULL)
		return err_set(err, "no memory");
	server->listener->handle.data = server;
	return 0;
}

int
mail_server_listen_unix(
    struct mail_server *server, const char *path, const char *setting, struct err *err)
{
	int status;

	if (clear_path(path, setting, err) < 0 || make_listener(server, true, err) < 0)
		return -1;
	status = uv_pipe_bind(&server->listener->pipe, path);
	if (status == 0 && chmod(path, 0666) < 0)
		status = uv_translate_sys_error(errno);
	return begin(server, setting, status, err);
}

int
mail_server_listen_tcp(struct mail_server *server, const struct sockaddr_storage *address,
    const char *setting, struct err *err)
{
	if (make_listener(server, false, err) < 0)
		return -1;
	return begin(server, setting,
	    uv_tcp_bind(&server->listener->tcp, (const struct sockaddr *)address, 0), err);
}

static void
stop(void *self)
{
	struct mail_server *server = self;
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
	const struct mail_server *server = self;

	return server->sessions == NULL && server->messages == NULL;
}

static void
server_free(void *self)
{
	struct mail_server *server = self;

	if (server->listener != NULL)
		uv_close(&server->listener->handle, free_handle);
	while (server->sessions != NULL)
		session_close(server->sessions);
	while (server->messages != NULL)
		message_free(server->messages);
	if (server->config.release != NULL)
		server->config.release(server->config.owner);
	source_release(&server->source);
	free(server);
}

static const struct source_kind kind = { .stop = stop, .is_idle = is_idle, .free = server_free };

struct mail_server *
mail_server_new(uv_loop_t *loop, const struct mail_server_config *config, struct err *err)
{
	struct mail_server *server = calloc(1, sizeof(*server));

	if (server == NULL) {
		if (config->release != NULL)
			config->release(config->owner);
		(void)err_set(err, "no memory");
		return NULL;
	}
	source_init(&server->source, config->name, &kind, server);
	server->config = *config;
	server->loop = loop;
	return server;
}

struct source *
mail_server_source(struct mail_server *server)
{
	return &server->source;
}
