/* SPDX-License-Identifier: Apache-2.0 */
/* sts_cache: see sts_cache.h. */
#include "sts_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The next word behind a blank; empty at the end. */
static struct slice
take_word(struct slice *line)
{
	const char *blank = memchr(line->ptr, ' ', line->len);
	size_t n = blank != NULL ? (size_t)(blank - line->ptr) : line->len;
	struct slice word = slice_make(line->ptr, n);

	n += blank != NULL;
	*line = slice_make(line->ptr + n, line->len - n);
	return word;
}

static bool
take_text(struct slice *line, char *dst, size_t size)
{
	struct slice word = take_word(line);

	if (word.len == 0 || word.len >= size || memchr(word.ptr, '\0', word.len) != NULL)
		return false;
	memcpy(dst, word.ptr, word.len);
	dst[word.len] = '\0';
	return true;
}

static bool
take_number(struct slice *line, int64_t *value)
{
	struct slice word = take_word(line);

	*value = 0;
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] < '0' || word.ptr[i] > '9')
			return false;
		*value = *value * 10 + (word.ptr[i] - '0');
	}
	return word.len > 0 && word.len <= 15;
}

bool
sts_cache_read_line(struct slice line, int64_t now_s, struct sts_cached *c)
{
	int64_t mode, age;

	*c = (struct sts_cached){ 0 };
	if (!take_text(&line, c->domain, sizeof(c->domain)) ||
	    !take_text(&line, c->id, sizeof(c->id)) || !take_number(&line, &mode) ||
	    !take_number(&line, &c->until_s) || !take_number(&line, &age) ||
	    (mode != MTA_STS_TESTING && mode != MTA_STS_ENFORCE) || age > MTA_STS_AGE_MAX_S ||
	    c->until_s <= now_s || c->until_s - now_s > age)
		return false;
	c->policy.mode = (enum mta_sts_mode)mode;
	c->policy.max_age_s = (unsigned)age;
	while (line.len > 0 && c->policy.host_count < MTA_STS_HOSTS_MAX)
		if (!take_text(
			&line, c->policy.hosts[c->policy.host_count++], sizeof(c->policy.hosts[0])))
			return false;
	return line.len == 0 && c->policy.host_count > 0;
}

void
sts_cache_put_line(struct buf *out, const struct sts_cached *c)
{
	buf_printf(out, "%s %s %d %" PRId64 " %u", c->domain, c->id, (int)c->policy.mode,
	    c->until_s, c->policy.max_age_s);
	for (size_t i = 0; i < c->policy.host_count; i++)
		buf_printf(out, " %s", c->policy.hosts[i]);
	buf_append_char(out, '\n');
}

/* The whole file. */
static int
read_all(int fd, struct buf *text, struct err *err)
{
	char bytes[16384];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		buf_append(text, bytes, (size_t)n);
	if (n < 0)
		return err_set(err, "%s", strerror(errno));
	return buf_failed(text) ? err_set(err, "it is too large") : 0;
}

int
sts_cache_load(const char *path, int64_t now_s, void (*each)(void *ctx, const struct sts_cached *c),
    void *ctx, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), result;
	struct sts_cached *c;
	struct buf text;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(err, "%s", strerror(errno));
	buf_init(&text, STS_CACHE_BYTES_MAX);
	c = malloc(sizeof(*c));
	result = c != NULL ? read_all(fd, &text, err) : err_set(err, "no memory");
	(void)close(fd);
	for (struct slice rest = buf_slice(&text); result == 0 && rest.len > 0;) {
		const char *end = memchr(rest.ptr, '\n', rest.len);
		size_t n;

		if (end == NULL)
			break; /* not written to its end */
		n = (size_t)(end - rest.ptr);
		if (sts_cache_read_line(slice_make(rest.ptr, n), now_s, c))
			each(ctx, c);
		rest = slice_make(end + 1, rest.len - n - 1);
	}
	free(c);
	buf_release(&text);
	return result;
}

int
sts_cache_save(const char *path, struct slice text, struct err *err)
{
	char fresh[4096];
	int fd, n = snprintf(fresh, sizeof(fresh), "%s.new", path);

	if (n < 0 || n >= (int)sizeof(fresh))
		return err_set(err, "the path is too long");
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, "%s", strerror(errno));
	while (text.len > 0) {
		ssize_t wrote = write(fd, text.ptr, text.len);

		if (wrote < 0) {
			(void)err_set(err, "%s", strerror(errno));
			(void)close(fd);
			return -1;
		}
		text = slice_make(text.ptr + wrote, text.len - (size_t)wrote);
	}
	if (close(fd) < 0 || rename(fresh, path) < 0)
		return err_set(err, "%s", strerror(errno));
	return 0;
}
