/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_relay: see sim_relay.h. A server of RFC 5321 with PIPELINING and CHUNKING (RFC 3030), which reads
 * bytes as they arrive, late and in pieces. What it takes is the ground truth: noted before it answers,
 * whatever becomes of the answer. It errs by chance, in each way a server may at the place.
 */
#include "sim_relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slice.h"

#define LINE_MAX_BYTES 1024
#define CHUNK_REPLY 96

struct chunk {
	struct sim_connection *c;
	char *bytes; /* NULL: the end */
	size_t len;
};

enum reading { COMMANDS, DATA, BDAT };

struct sim_connection {
	struct sim_connection *next; /* of all */
	unsigned number;
	struct sim_process *process;
	struct sim_handle *handle;
	bool client_gone, closed, broken; /* broken: the client can know */
	bool silent;			  /* says nothing any more */
	int64_t arrives, replies; /* times of the last ones, which later ones do not overtake */
	size_t seen, cut_at;	  /* bytes */
	enum reading reading;
	char line[LINE_MAX_BYTES];
	size_t line_len;
	bool has_mail, has_recipient, last;
	size_t left; /* of a BDAT chunk */
	int dot;     /* how much of CR LF . CR LF was seen */
	struct token token;
};

static struct sim_connection *all;
static long long taken; /* mails, for their ids */

void
sim_relay_begin(void)
{
	all = NULL;
	taken = 0;
}

unsigned
sim_relay_open(const struct sim_process *p)
{
	unsigned n = 0;

	for (const struct sim_connection *c = all; c != NULL; c = c->next)
		n += c->process == p && !c->client_gone;
	return n;
}

bool
sim_relay_is_broken(const struct sim_connection *c)
{
	return c->broken;
}

/* ---- to the client ---- */

static void
on_reply(void *ctx, uint64_t reset)
{
	struct chunk *k = ctx;
	struct sim_connection *c = k->c;

	if (c->client_gone)
		return;
	if (k->bytes == NULL)
		c->broken = true;
	sim_uv_read(c->handle, k->bytes, k->bytes != NULL ? k->len : reset);
	sim_free(k->bytes);
	sim_free(k);
}

static struct chunk *
chunk_new(struct sim_connection *c, const char *bytes, size_t n)
{
	struct chunk *k = sim_alloc(sizeof(*k));

	*k = (struct chunk){ .c = c, .len = n };
	if (bytes != NULL) {
		k->bytes = sim_alloc(n + 1);
		memcpy(k->bytes, bytes, n);
	}
	return k;
}

static void
say_late(struct sim_connection *c, const char *bytes, size_t n, int64_t us, uint64_t reset)
{
	int64_t at = sim.now + us;

	c->replies = at > c->replies ? at : c->replies;
	if (!c->client_gone && c->process->alive)
		sim_after(
		    c->process, c->replies - sim.now, on_reply, chunk_new(c, bytes, n), reset);
}

static void
say(struct sim_connection *c, const char *text)
{
	size_t n = strlen(text), first = sim_chance(200000) ? sim_random((uint32_t)n) : n;

	if (c->closed || c->silent)
		return;
	sim_trace("relay connection %u says %.*s", c->number, (int)strcspn(text, "\r"), text);
	if (first > 0)
		say_late(c, text, first, sim_random(2000), 0);
	if (first < n)
		say_late(c, text + first, n - first, sim_random(20000), 0);
}

static void
hang_up(struct sim_connection *c, bool reset)
{
	if (c->closed)
		return;
	c->closed = true;
	sim.cuts++;
	sim.doubt_bound++; /* a mark may stand before it */
	say_late(c, NULL, 0, sim_random(3000), reset);
}

/* ---- faults ---- */

/* Another reply than the usual one; false: the usual one. */
static bool
errs(struct sim_connection *c, const char *what)
{
	static const char *const replies[] = { "451 4.3.0 Try again later\r\n",
		"550 5.7.1 Not wanted here\r\n", "421 4.3.2 Closing\r\n", "what?\r\n", "25", "" };
	uint32_t which = sim_random(sizeof(replies) / sizeof(replies[0]));

	if (!sim_chance(sim.faults.relay))
		return false;
	sim.faults_seen++;
	sim_trace("fault: relay answers %s with \"%.12s\"", what, replies[which]);
	say(c, replies[which]);
	if (which == 2 || which == 4)
		hang_up(c, which == 4);
	c->silent = c->silent || which == 5;
	return true;
}

/* ---- mails ---- */

static void
take_mail(struct sim_connection *c, char id[24])
{
	int run = (int)c->token.run, send = (int)c->token.send;
	struct sim_truth *t;
	const struct pg_row *s;

	(void)snprintf(id, 24, "Q%llX", (unsigned long long)(++taken * 7919));
	if (run < 1 || run > PG_RUNS || send < 1 || send > sim.pg->run[run].rows) {
		sim_fail("a mail for nobody: run %d send %d", run, send);
		return;
	}
	t = &sim.truth[run][send];
	s = &sim.pg->run[run].row[send];
	sim.accepted++;
	sim_trace("relay takes run=%d send=%d attempt=%d (row: %s, attempt %d)", run, send,
	    c->token.attempt, pg_state_name(s->state), s->attempt);
	t->accepted++;
	if (t->accepted == 1)
		t->first_attempt = c->token.attempt;
	(void)snprintf(t->remote_id, sizeof(t->remote_id), "%s", id);
	if (t->accepted > sim_may_take(run, send))
		sim_fail("run %d send %d was taken %d times (attempts %d, then %d)", run, send,
		    t->accepted, t->first_attempt, c->token.attempt);
	sim_taken(run, send, c->token.attempt);
}

/* Behind the final dot, or the last chunk. */
static void
end_of_data(struct sim_connection *c)
{
	char id[24] = "", reply[CHUNK_REPLY];
	uint32_t fault = sim_chance(3 * sim.faults.relay) ? 1 + sim_random(9) : 0;

	c->has_mail = c->has_recipient = false;
	if (fault > 0)
		sim.faults_seen++;
	if (fault > 0)
		sim_trace("fault: number %u behind the dot", fault);
	if (fault == 0 || fault <= 5)
		take_mail(c, id);
	(void)snprintf(reply, sizeof(reply), "250 2.0.0 Ok: queued as %s\r\n", id);
	switch (fault) {
	case 0:
		say(c, reply);
		break;
	case 1: /* taken, the answer is lost */
	case 6: /* not taken, no answer either */
		hang_up(c, sim_chance(500000));
		break;
	case 2: /* taken, half an answer */
		reply[3 + sim_random(4)] = '\0';
		say(c, reply);
		hang_up(c, true);
		break;
	case 3: /* taken, answered when nobody waits any more, or almost */
		say_late(c, reply, strlen(reply), 40 * SIM_SECOND + sim_random(40000) * SIM_MS, 0);
		break;
	case 4: /* taken, and nonsense said */
		say(c, "thank you\r\n");
		hang_up(c, false);
		break;
	case 5: /* taken and never answered */
		c->silent = true;
		sim.doubt_bound++;
		break;
	case 7:
		say(c, "451 4.7.1 Later\r\n");
		break;
	case 8:
		say(c, "421 4.3.2 Closing\r\n");
		hang_up(c, false);
		break;
	default:
		say(c, sim_chance(500000) ? "550 5.1.1 No such user\r\n" : "554 5.7.1 Refused\r\n");
		break;
	}
}

/* ---- commands ---- */

static void
command_mail(struct sim_connection *c, struct slice line)
{
	const char *plus = memchr(line.ptr, '+', line.len);

	c->token = (struct token){ 0 };
	c->has_mail = plus != NULL && (size_t)(line.ptr + line.len - plus) > TOKEN_CHARS &&
	    token_verify(&sim.keys, TOKEN_BOUNCE, slice_make(plus + 1, TOKEN_CHARS), &c->token);
	if (!c->has_mail)
		sim_fail("a return path without a token of ours");
	c->has_recipient = false;
	say(c, "250 2.1.0 Ok\r\n");
}

static void
command_rcpt(struct sim_connection *c)
{
	if (sim_chance(sim.faults.relay)) {
		sim_fault("recipient is unknown");
		say(c, "550 5.1.1 No such user\r\n");
		return;
	}
	c->has_recipient = c->has_mail;
	say(c, "250 2.1.5 Ok\r\n");
}

static void
command_bdat(struct sim_connection *c, struct slice line)
{
	c->left = strtoul(line.ptr + 5, NULL, 10);
	c->last = line.len > 5 && memmem(line.ptr, line.len, "LAST", 4) != NULL;
	c->reading = BDAT;
}

static void
command(struct sim_connection *c, struct slice line)
{
	char word[5] = "";

	memcpy(word, line.ptr, line.len < 4 ? line.len : 4);
	if (strcmp(word, "QUIT") == 0) {
		say(c, "221 2.0.0 Bye\r\n");
		c->closed = true;
		say_late(c, NULL, 0, 2000, 0);
		return;
	}
	if (strcmp(word, "BDAT") == 0) {
		command_bdat(c, line); /* its bytes follow whatever the answer is */
		return;
	}
	sim_trace("relay connection %u hears %.*s", c->number, line.len < 40 ? (int)line.len : 40,
	    line.ptr);
	if (errs(c, word))
		return;
	if (strcmp(word, "EHLO") == 0) {
		say(c,
		    (sim.seed & 1) != 0
			? "250-relay\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-"
			  "CHUNKING\r\n250 8BITMIME\r\n"
			: "250-relay\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250 DSN\r\n");
	} else if (strcmp(word, "MAIL") == 0) {
		command_mail(c, line);
	} else if (strcmp(word, "RCPT") == 0) {
		command_rcpt(c);
	} else if (strcmp(word, "DATA") == 0) {
		if (!c->has_recipient) {
			say(c, "503 5.5.1 No valid recipients\r\n");
			return;
		}
		say(c, "354 Go on\r\n");
		c->reading = DATA;
		c->dot = 2;
	} else if (strcmp(word, "RSET") == 0 || strcmp(word, "NOOP") == 0) {
		c->has_mail = c->has_recipient = false;
		say(c, "250 2.0.0 Ok\r\n");
	} else {
		say(c, "500 5.5.2 What?\r\n");
	}
}

static void
read_data(struct sim_connection *c, char byte)
{
	static const char end[] = "\r\n.\r\n";

	if (byte == end[c->dot])
		c->dot++;
	else
		c->dot = byte == '\r' ? 1 : 0;
	if (c->dot < 5)
		return;
	c->reading = COMMANDS;
	end_of_data(c);
}

static void
end_of_chunk(struct sim_connection *c)
{
	c->reading = COMMANDS;
	if (!c->has_recipient)
		say(c, "503 5.5.1 No valid recipients\r\n");
	else if (c->last)
		end_of_data(c);
	else if (!errs(c, "BDAT"))
		say(c, "250 2.0.0 Ok\r\n");
	else
		c->has_recipient = false;
}

static void
read_command(struct sim_connection *c, char byte)
{
	if (byte == '\n') {
		size_t n = c->line_len > 0 && c->line[c->line_len - 1] == '\r' ? c->line_len - 1
									       : c->line_len;

		c->line[n] = '\0';
		c->line_len = 0;
		command(c, slice_make(c->line, n));
		if (c->reading == BDAT && c->left == 0)
			end_of_chunk(c);
	} else if (c->line_len < LINE_MAX_BYTES - 1) {
		c->line[c->line_len++] = byte;
	}
}

/* ---- from the client ---- */

static void
on_bytes(void *ctx, uint64_t number)
{
	struct chunk *k = ctx;
	struct sim_connection *c = k->c;

	(void)number;
	for (size_t i = 0; i < k->len && !c->closed; i++) {
		if (++c->seen == c->cut_at) {
			sim_fault("relay cuts a connection");
			hang_up(c, sim_chance(500000));
			return;
		}
		if (c->reading == DATA) {
			read_data(c, k->bytes[i]);
		} else if (c->reading == BDAT) {
			if (--c->left == 0)
				end_of_chunk(c);
		} else {
			read_command(c, k->bytes[i]);
		}
	}
	sim_free(k->bytes);
	sim_free(k);
}

void
sim_relay_write(struct sim_connection *c, const char *bytes, size_t n)
{
	int64_t at = sim.now + sim_random(3000);

	c->arrives = at > c->arrives ? at : c->arrives;
	sim_after(NULL, c->arrives - sim.now, on_bytes, chunk_new(c, bytes, n), 0);
}

static void
on_last_byte(void *ctx, uint64_t number)
{
	struct sim_connection *c = ctx;

	(void)number;
	c->closed = true;
}

void
sim_relay_close(struct sim_connection *c)
{
	c->client_gone = true;
	/* what the kernel has may arrive behind the end of its writer, or not */
	if (sim_chance(300000))
		c->closed = true;
	else
		sim_after(NULL, (c->arrives > sim.now ? c->arrives - sim.now : 0) + 1, on_last_byte,
		    c, 0);
}

void
sim_relay_client_gone(struct sim_process *p)
{
	for (struct sim_connection *c = all; c != NULL; c = c->next)
		if (c->process == p && !c->client_gone)
			sim_relay_close(c);
}

struct sim_connection *
sim_relay_connect(struct sim_process *p, struct sim_handle *handle)
{
	struct sim_connection *c = sim_alloc(sizeof(*c));

	*c = (struct sim_connection){ .next = all,
		.number = all != NULL ? all->number + 1 : 1,
		.process = p,
		.handle = handle };
	all = c;
	if (sim_chance(sim.faults.relay_cut))
		c->cut_at = 1 + sim_random(6000);
	if (!errs(c, "a connection"))
		say(c, "220 relay ready\r\n");
	return c;
}
