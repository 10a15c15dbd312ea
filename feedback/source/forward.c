/* SPDX-License-Identifier: Apache-2.0 */
/* forward: see forward.h. Everything but its making runs in the thread of its pull. */
#include "forward.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "curl_transfer.h"
#include "log.h"
#include "pull.h"

#define LOOK_MS 5000
#define CONNECT_S 30L
#define WHOLE_S 600L

struct forward {
	const struct config *config;
	const struct keep *keep;
	struct buf raw, mail;
};

void
forward_lines(struct buf *out, struct slice text)
{
	size_t start = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '\r' && text.ptr[i] != '\n')
			continue;
		buf_append(out, text.ptr + start, i - start);
		buf_append_str(out, "\r\n");
		if (text.ptr[i] == '\r' && i + 1 < text.len && text.ptr[i + 1] == '\n')
			i++;
		start = i + 1;
	}
	if (start < text.len) {
		buf_append(out, text.ptr + start, text.len - start);
		buf_append_str(out, "\r\n");
	}
}

static int
read_file(struct forward *f, const char *name, struct err *err)
{
	char path[PATH_MAX];
	ssize_t n = -1;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/new/%s", f->keep->path, name);
	buf_reset(&f->raw);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, "cannot open a kept mail: %s", strerror(errno));
	while (buf_reserve(&f->raw, 65536) && (n = read(fd, f->raw.data + f->raw.len, 65536)) > 0)
		buf_commit(&f->raw, (size_t)n);
	(void)close(fd);
	if (n < 0 || buf_failed(&f->raw))
		return err_set(err, "cannot read a kept mail");
	buf_reset(&f->mail);
	forward_lines(&f->mail, buf_slice(&f->raw));
	return buf_failed(&f->mail) ? err_set(err, "no memory for a kept mail") : 0;
}

static void
set_options(CURL *curl, const struct forward *f, struct pull *pull, const struct curl_slist *to,
    struct slice *rest)
{
	const struct config *c = f->config;

	(void)curl_easy_setopt(curl, CURLOPT_URL, c->reply_relay);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	(void)curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY);
	if (c->reply_ca_file[0] != '\0')
		(void)curl_easy_setopt(curl, CURLOPT_CAINFO, c->reply_ca_file);
	(void)curl_easy_setopt(curl, CURLOPT_MAIL_FROM, "");
	(void)curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
	curl_transfer_gives(curl, rest);
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, WHOLE_S);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_transfer_stops(curl, pull_stop_flag(pull));
}

/* 0 taken, 1 refused for good, -1 with err: not now. */
static int
send_mail(struct forward *f, struct pull *pull, struct err *err)
{
	struct slice rest = buf_slice(&f->mail);
	struct curl_slist *to = curl_slist_append(NULL, f->config->reply_forward_to);
	CURL *curl = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	long reply = 0;

	if (curl != NULL && to != NULL) {
		set_options(curl, f, pull, to, &rest);
		code = curl_easy_perform(curl);
		(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply);
	}
	curl_easy_cleanup(curl);
	curl_slist_free_all(to);
	if (code == CURLE_OK)
		return 0;
	(void)err_set(err, "reply.relay does not take a mail: %s, reply %ld",
	    curl_easy_strerror(code), reply);
	return reply >= 500 && reply < 600 ? 1 : -1;
}

static int
forward_one(struct forward *f, struct pull *pull, const char *name, struct err *err)
{
	int status;

	if (read_file(f, name, err) < 0)
		return -1;
	source_received(pull_source(pull), 1);
	status = send_mail(f, pull, err);
	if (status < 0)
		return -1;
	if (status > 0) {
		log_error("%s; it stays in reply.maildir", err->msg);
		source_left(pull_source(pull));
	} else {
		source_committed(pull_source(pull), 1);
	}
	return keep_done(f->keep, name, err);
}

static enum pull_verdict
run_round(void *ctx, struct pull *pull, struct err *err)
{
	struct forward *f = ctx;
	enum pull_verdict verdict = PULL_NOTHING;
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *folder;

	(void)snprintf(path, sizeof(path), "%s/new", f->keep->path);
	folder = opendir(path);
	if (folder == NULL) {
		(void)err_set(err, "cannot read reply.maildir: %s", strerror(errno));
		return PULL_FAILED;
	}
	while (
	    verdict == PULL_NOTHING && !pull_is_stopping(pull) && (entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.' && forward_one(f, pull, entry->d_name, err) < 0)
			verdict = PULL_FAILED;
	(void)closedir(folder);
	if (verdict == PULL_NOTHING)
		source_up(pull_source(pull), true);
	return verdict;
}

static void
release(void *ctx)
{
	struct forward *f = ctx;

	buf_release(&f->raw);
	buf_release(&f->mail);
	free(f);
}

static int
check(const struct config *c, const struct keep *keep, struct err *err)
{
	struct addr to;
	struct err why = { 0 };

	if (keep == NULL)
		return err_set(err, "reply.forward_to needs reply.maildir, where mails wait");
	if (addr_parse(&to, slice_str(c->reply_forward_to), &why) < 0)
		return err_set(err, "reply.forward_to: %s", why.msg);
	if (slice_equal_nocase(addr_domain(&to), slice_str(c->feedback_domain)))
		return err_set(err, "reply.forward_to is at feedback.domain: mail would come back");
	if (strncmp(c->reply_relay, "smtp://", 7) != 0 &&
	    strncmp(c->reply_relay, "smtps://", 8) != 0)
		return err_set(err, "reply.relay must be like smtp://127.0.0.1:25");
	return 0;
}

struct source *
forward_new(uv_loop_t *loop, const struct config *config, const struct keep *keep,
    struct intake *intake, struct err *err)
{
	struct forward *f;

	if (check(config, keep, err) < 0)
		return NULL;
	f = calloc(1, sizeof(*f));
	if (f == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	f->config = config;
	f->keep = keep;
	buf_init(&f->raw, FORWARD_MAIL_MAX);
	buf_init(&f->mail, FORWARD_MAIL_MAX * 2);
	return pull_new(loop,
	    &(struct pull_config){ .name = "forward",
		.ctx = f,
		.round = run_round,
		.release = release,
		.poll_ms = LOOK_MS,
		.intake = intake },
	    err);
}
